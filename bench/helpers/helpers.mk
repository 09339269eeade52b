# SPDX-License-Identifier: Apache-2.0
#
# Look-ups and programs that take their time, stm beside event: `make bench-helpers`, a minute.

.PHONY: bench-helpers
bench-helpers: $(BUILD)/mod_mpm_stm.so ## look-ups of a silent name server, programs; as root
	@STM_TEST_BUILD=$(BUILD) PYTHONDONTWRITEBYTECODE=1 $(PYTHON) -m bench.helpers.helpers
