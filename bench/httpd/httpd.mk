# SPDX-License-Identifier: Apache-2.0
#
# httpd under load, MPM beside MPM. `make bench-quick` takes about a minute, `make bench-httpd`
# some more; HTTPD_BENCH passes options on (bench/httpd/compare.py --help).

HTTPD_COMPARE = STM_TEST_BUILD=$(BUILD) PYTHONDONTWRITEBYTECODE=1 $(PYTHON) \
    bench/httpd/compare.py --json $(BUILD)/bench/httpd.json

.PHONY: bench-httpd bench-quick
bench-httpd: live-tools $(BUILD)/mod_mpm_stm.so
	@$(HTTPD_COMPARE) $(if $(QUICK),--rounds 3 --seconds 3) $(HTTPD_BENCH)

bench-quick: QUICK := 1
bench-quick: bench-httpd
