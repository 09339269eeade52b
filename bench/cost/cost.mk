# SPDX-License-Identifier: Apache-2.0
#
# What a request costs in user instructions (valgrind) and system calls (strace): counts, which do
# not depend on how busy the machine is. BEFORE=FILE is another build of the module to compare with:
#   make bench-cost BEFORE=../before/build/mod_mpm_stm.so COST='--scenes small,10k --mpms stm,event'

.PHONY: bench-cost
bench-cost: live-tools $(BUILD)/mod_mpm_stm.so ## count instructions and system calls per request
	@scripts/deps.sh run bench
	@STM_TEST_BUILD=$(BUILD) PYTHONDONTWRITEBYTECODE=1 exec $(PYTHON) -m bench.cost.cost \
	    $(if $(BEFORE),--before '$(BEFORE)') $(COST)

# What a request costs in ten scenes, compared with bench/cost/budgets.txt, which COUNT=--update
# rewrites; the commit says why.
.PHONY: bench-count
bench-count: ## compare what a request costs with the budgets; COUNT=--update
bench-count: live-tools $(BUILD)/mod_mpm_stm.so $(BUILD)/stmstat/stmstat
	@scripts/deps.sh run bench
	@STM_TEST_BUILD=$(BUILD) PYTHONDONTWRITEBYTECODE=1 exec $(PYTHON) -m bench.cost.count $(COUNT)
