# SPDX-License-Identifier: Apache-2.0
#
# stmstat: reads the scoreboards. Of the module it shares the layout and the table of counters,
# which need the C library only. `make stmstat-man` writes the manual page from the tables.

BINDIR ?= $(PREFIX)/bin

STMSTAT_SOURCES := $(wildcard stmstat/*.c)
STMSTAT_SHARED  := $(addprefix $(BUILD)/mpm/,score_fields.o score_view.o score_text.o)
STMSTAT_OBJECTS := $(STMSTAT_SOURCES:%.c=$(BUILD)/%.o)

$(STMSTAT_OBJECTS): $(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(OWN_CFLAGS) -Impm -DSTM_VERSION='"$(VERSION)"' $(CPPFLAGS) $(HARDENING) $(CFLAGS) \
	    -MMD -MP -c -o $@ $<

$(BUILD)/stmstat/stmstat: $(STMSTAT_OBJECTS) $(STMSTAT_SHARED)
	$(CC) $(CFLAGS) $(LDHARDEN) $(LDFLAGS) -o $@ $^ -lncurses -ltinfo

PRODUCTS += $(BUILD)/stmstat/stmstat
-include $(STMSTAT_OBJECTS:.o=.d)

.PHONY: stmstat-man install-stmstat
stmstat-man: $(BUILD)/stmstat/stmstat
	$< --manual > docs/man/stmstat.1

install: install-stmstat
install-stmstat: $(BUILD)/stmstat/stmstat
	install -d '$(DESTDIR)$(BINDIR)'
	install -m 755 $< '$(DESTDIR)$(BINDIR)/stmstat'

# The dashboard's page is part of the object.
$(BUILD)/mpm/dashboard.o: mpm/dashboard.html

# The live tests read the scoreboards with it, in each build.
live-tools: $(BUILD)/stmstat/stmstat
