# SPDX-License-Identifier: Apache-2.0
#
# STIOL: libstiol.a, which the module is linked with. Included by the root Makefile.

STIOL_SOURCES := $(wildcard stiol/*.c)
STIOL_OBJECTS := $(STIOL_SOURCES:%.c=$(BUILD)/%.o)

# loader.c is found by name, also in programs.
STIOL_LDFLAGS := -Wl,--export-dynamic-symbol=stiol__loader_locked

PRODUCTS += $(BUILD)/libstiol.a

$(BUILD)/libstiol.a: $(STIOL_OBJECTS)
	@rm -f $@
	$(QAR) rcs $@ $^

$(BUILD)/stiol/%.o: stiol/%.c
	@mkdir -p $(@D)
	$(QCC) $(CPPFLAGS) $(OWN_CFLAGS) $(HARDENING) $(CFLAGS) -fvisibility=hidden -MMD -MP -c -o $@ $<

-include $(STIOL_OBJECTS:.o=.d)
