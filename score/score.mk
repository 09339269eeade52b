# SPDX-License-Identifier: Apache-2.0
#
# The scoreboards' format: their layout, the table of counters, and the reader. Linked into the
# module, which writes scoreboards, and into stmstat, which reads them. Needs only the C library.

SCORE_SOURCES := $(wildcard score/*.c)
SCORE_OBJECTS := $(SCORE_SOURCES:%.c=$(BUILD)/%.o)

$(SCORE_OBJECTS): $(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(QCC) $(CPPFLAGS) $(OWN_CFLAGS) -fvisibility=hidden $(HARDENING) $(CFLAGS) -MMD -MP -c -o $@ $<

-include $(SCORE_OBJECTS:.o=.d)
