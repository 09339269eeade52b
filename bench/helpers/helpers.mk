# SPDX-License-Identifier: Apache-2.0
#
# The memory that waiting look-ups cost, stm beside event: `make bench-helpers`; takes half a
# minute, and needs root.

.PHONY: bench-helpers
bench-helpers: $(BUILD)/mod_mpm_stm.so ## measure the memory that waiting look-ups cost; as root
	@STM_TEST_BUILD=$(BUILD) PYTHONDONTWRITEBYTECODE=1 $(PYTHON) -m bench.helpers.helpers
