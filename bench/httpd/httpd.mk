# SPDX-License-Identifier: Apache-2.0
#
# httpd under load: stm beside the other MPMs and nginx. `make bench-httpd` measures everything,
# with QUICK=1 in one short round; HTTPD_BENCH passes options on (--help):
#   make bench-httpd HTTPD_BENCH='--scenarios small,idle --servers stm,event --rounds 3'
# Results go to BENCH_OUT; `make bench-publish` copies them to docs/bench.

BENCH_OUT ?= $(BUILD)/bench
HTTPD_COMPARE = STM_TEST_BUILD=$(BUILD) PYTHONDONTWRITEBYTECODE=1 exec $(PYTHON) \
    -m bench.httpd.compare --out $(BENCH_OUT)

.PHONY: bench-httpd bench-publish
bench-httpd: live-tools $(BUILD)/mod_mpm_stm.so
	@$(HTTPD_COMPARE) $(if $(QUICK),--quick) $(HTTPD_BENCH)

bench-publish: ## copy the results of bench-httpd to docs/bench
	@mkdir -p docs/bench
	$(Q)$(call say,GEN,docs/bench)cp $(BENCH_OUT)/results.md $(BENCH_OUT)/results.json \
	    $(BENCH_OUT)/*.svg docs/bench/

# A few minutes. The results have a folder of their own, and publishing them is `--merge` of the
# above.
.PHONY: bench-idle
bench-idle: live-tools $(BUILD)/mod_mpm_stm.so ## measure the memory of idle connections by protocol
	@$(HTTPD_COMPARE)-idle --scenarios 'idle*' --servers stm,event,nginx --rounds 1

# About ten minutes; likewise.
.PHONY: bench-tails
bench-tails: live-tools $(BUILD)/mod_mpm_stm.so ## measure tails, fairness and TLS handshakes
	@$(HTTPD_COMPARE)-tails --scenarios 'tails-*,handshake-*' --servers stm,event,nginx $(HTTPD_BENCH)

# Takes a few minutes, for a first look at the effect of a change.
.PHONY: bench-quick
bench-quick: QUICK := 1
bench-quick: bench-httpd ## measure httpd under load, in five minutes
