# SPDX-License-Identifier: Apache-2.0
#
# How deeply modules use a state thread's stack: `make bench-census`; CENSUS passes options on.

.PHONY: bench-census
bench-census: ## measure how deeply modules use a state thread's stack; CENSUS=
bench-census: live-tools $(BUILD)/mod_mpm_stm.so
	@scripts/deps.sh run test
	@STM_TEST_BUILD=$(BUILD) PYTHONDONTWRITEBYTECODE=1 $(PYTHON) -m bench.census.census $(CENSUS)
