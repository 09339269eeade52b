# SPDX-License-Identifier: Apache-2.0
#
# The memory of idle connections, by protocol, stm beside event and nginx: `make bench-idle`; takes
# two minutes.

.PHONY: bench-idle
bench-idle: $(BUILD)/mod_mpm_stm.so ## measure the memory of idle connections: plain, TLS, HTTP/2
	@STM_TEST_BUILD=$(BUILD) PYTHONDONTWRITEBYTECODE=1 $(PYTHON) -m bench.idle.idle
