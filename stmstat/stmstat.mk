# SPDX-License-Identifier: Apache-2.0
#
# stmstat: reads the scoreboards. It shares score/, the format of the scoreboards and the table of
# counters, with the module. `make stmstat-man` writes the manual page from the tables.

BINDIR ?= $(PREFIX)/bin

# elfutils' libdw makes the backtraces of stmstat dump; without it, the rest is built. LIBDW= leaves
# it out.
LIBDW          ?= $(shell $(PKG_CONFIG) --exists libdw 2>/dev/null && echo yes)
STMSTAT_LIBDW  := $(LIBDW)
# ncurses draws the live view. NCURSES= leaves it out.
NCURSES        ?= $(shell $(PKG_CONFIG) --exists ncurses 2>/dev/null && echo yes)
STMSTAT_CURSES := $(if $(NCURSES),$(or $(shell $(PKG_CONFIG) --libs ncurses tinfo 2>/dev/null),\
                      -lncurses))
STMSTAT_CFLAGS := $(STMSTAT_LIBDW:%=-DSTMSTAT_LIBDW) $(if $(NCURSES),-DSTMSTAT_CURSES)

STMSTAT_SOURCES := $(filter-out $(if $(NCURSES),,stmstat/live%),$(wildcard stmstat/*.c))
STMSTAT_OBJECTS := $(STMSTAT_SOURCES:%.c=$(BUILD)/%.o)

$(STMSTAT_OBJECTS): $(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(QCC) $(OWN_CFLAGS) $(STMSTAT_CFLAGS) -DSTM_VERSION='"$(VERSION)"' $(CPPFLAGS) \
	    $(HARDENING) $(CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/stmstat/stmstat: $(STMSTAT_OBJECTS) $(SCORE_OBJECTS)
	$(QLD) $(CFLAGS) $(LDHARDEN) $(LDFLAGS) -o $@ $^ $(STMSTAT_CURSES) $(STMSTAT_LIBDW:%=-ldw)
	$(if $(STMSTAT_LIBDW),,@echo "  stmstat dump is left out: it needs libdw (libdw-dev)")
	$(if $(NCURSES),,@echo "  stmstat's live view is left out: it needs ncurses (libncurses-dev)")

PRODUCTS += $(BUILD)/stmstat/stmstat
-include $(STMSTAT_OBJECTS:.o=.d)

.PHONY: stmstat-man install-stmstat
stmstat-man: $(BUILD)/stmstat/stmstat ## generate docs/man/stmstat.1 from the table of counters
	$(Q)$(call say,GEN,docs/man/stmstat.1)$< --manual > docs/man/stmstat.1

install: install-stmstat
install-stmstat: $(BUILD)/stmstat/stmstat
	$(call put,$<,$(BINDIR)/stmstat,755)

# In each build, the live tests read the scoreboards with it.
live-tools: $(BUILD)/stmstat/stmstat
