# SPDX-License-Identifier: Apache-2.0
#
# make soak: hours of mixed load, with something going wrong every few seconds. docs/soak.md.

# Other targets use DURATION as well, with another default.
SOAK_DURATION := $(or $(DURATION),7200)
PAUSE         ?= 3

.PHONY: soak
soak: live-tools $(BUILD)/mod_mpm_stm.so ## run hours of load with faults; DURATION=7200 PAUSE=3
	$(Q)STM_TEST_BUILD=$(BUILD) PYTHONDONTWRITEBYTECODE=1 nice $(PYTHON) -m tests.soak.soak \
	    --duration $(SOAK_DURATION) --pause $(PAUSE) $(if $(SEED),--seed $(SEED)) \
	    $(if $(ONLY),--only $(ONLY)) --each

PROCESSES ?= 2
GAP       ?= 0.2

.PHONY: flood
flood: live-tools $(BUILD)/mod_mpm_stm.so ## send requests that crash; MPM= PROCESSES= GAP= GONE=
	$(Q)STM_TEST_BUILD=$(BUILD) PYTHONDONTWRITEBYTECODE=1 nice $(PYTHON) -m tests.soak.flood \
	    --mpm $(MPM) --processes $(PROCESSES) --gap $(GAP) $(if $(GONE),--gone)
