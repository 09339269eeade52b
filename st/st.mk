# SPDX-License-Identifier: Apache-2.0
#
# libst: the static library that the module links, the shared library, and the AArch64 smoke test.
# Included by the root Makefile; works from any makefile that sets BUILD, CC and OWN_CFLAGS.

BUILD ?= build

ST_SOURCES := $(sort $(wildcard st/*.c st/*.S))
ST_OBJECTS := $(addprefix $(BUILD)/,$(addsuffix .o,$(basename $(ST_SOURCES))))

PRODUCTS += $(BUILD)/libst.a $(BUILD)/libst.so.2

$(BUILD)/st/%.o: st/%.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(OWN_CFLAGS) -fvisibility=hidden $(CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/st/%.o: st/%.S
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/libst.a: $(ST_OBJECTS)
	@rm -f $@
	$(AR) rcs $@ $^

$(BUILD)/libst.so.2: $(ST_OBJECTS)
	$(CC) $(CFLAGS) $(LDFLAGS) -shared -pthread -Wl,-soname,libst.so.2 -o $@ $^

-include $(ST_OBJECTS:.o=.d)
