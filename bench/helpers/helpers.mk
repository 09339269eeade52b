# SPDX-License-Identifier: Apache-2.0
#
# The memory of look-ups that wait, stm beside event: `make bench-helpers`, half a minute, as root.

.PHONY: bench-helpers
bench-helpers: $(BUILD)/mod_mpm_stm.so ## the memory of look-ups that wait; as root
	@STM_TEST_BUILD=$(BUILD) PYTHONDONTWRITEBYTECODE=1 $(PYTHON) -m bench.helpers.helpers
