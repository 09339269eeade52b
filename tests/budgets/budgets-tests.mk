# SPDX-License-Identifier: Apache-2.0
#
# What a request costs, compared with the budgets: `make test-budgets`. `make bench-count` prints
# the counts.

.PHONY: test-budgets
test-budgets: live-tools $(BUILD)/mod_mpm_stm.so $(BUILD)/stmstat/stmstat
test-budgets: ## compare what a request costs with bench/cost/budgets.txt
	$(Q)$(PYTEST) -rs tests/budgets
