# SPDX-License-Identifier: Apache-2.0
#
# The lab: make_conn, which opens many connections to watch what a server does with them.

MAKE_CONN_SOURCES := lab/make_conn.c lab/target.c lab/clients.c lab/dial.c

$(BUILD)/make_conn: $(MAKE_CONN_SOURCES) lab/make_conn.h lab/dial.h $(BUILD)/flags
	$(QCC) $(CPPFLAGS) $(HARDENING) $(CFLAGS) $(OWN_CFLAGS) -o $@ $(filter %.c,$^) $(LDHARDEN) \
	    $(LDFLAGS)

PRODUCTS += $(BUILD)/make_conn

# In each build, the live tests of the lab use it.
live-tools: $(BUILD)/make_conn

# A tour of all MPMs, unattended; LAB_MPMS selects some of them.
LAB_MPMS ?= prefork worker event stm

.PHONY: lab lab-tour deps-lab
deps-lab:
	@scripts/deps.sh run lab
lab: deps-lab ## tour prefork, worker, event and stm, with pictures; LAB_MPMS=...
	@$(MAKE) --no-print-directory lab-tour
lab-tour: $(PRODUCTS) $(BUILD)/tests/load
	@STM_TEST_BUILD='$(BUILD)' PYTHONDONTWRITEBYTECODE=1 $(PYTHON) -m lab.tour --mpms '$(LAB_MPMS)'

# The table of docs/which-mpm.md, from what `make bench` has measured.
WHICH_MPM         := docs/which-mpm.md
WHICH_MPM_RESULTS ?= docs/bench/results.json

.PHONY: which-mpm
which-mpm: ## write the results of make bench into docs/which-mpm.md
	$(Q)$(call say,GEN,docs/which-mpm.md)$(PYTHON) -m lab.figures $(WHICH_MPM_RESULTS) $(WHICH_MPM)
