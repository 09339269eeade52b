# SPDX-License-Identifier: Apache-2.0
#
# How memory, system calls and CPU time grow with connections, requests in flight, and VPs:
# `make bench-growth` writes GROWTH_OUT; docs/bench/growth.md is a copy. GROWTH passes options on:
#   make bench-growth GROWTH='--connections 1,1000 --vps 1,8'

GROWTH_OUT ?= $(BUILD)/bench/growth.md

.PHONY: bench-growth
bench-growth: ## measure how costs grow with connections and VPs; GROWTH=
bench-growth: live-tools $(BUILD)/mod_mpm_stm.so
	@scripts/deps.sh run bench
	@STM_TEST_BUILD=$(BUILD) PYTHONDONTWRITEBYTECODE=1 exec $(PYTHON) -m bench.growth.growth \
	    --out $(GROWTH_OUT) $(GROWTH)
