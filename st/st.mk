# SPDX-License-Identifier: Apache-2.0
#
# libst: the static library that the module links, the shared library, and the AArch64 smoke test.
# Included by the root Makefile.

BUILD ?= build

ST_SOURCES := $(sort $(wildcard st/*.c st/*.S))
ST_OBJECTS := $(addprefix $(BUILD)/,$(addsuffix .o,$(basename $(ST_SOURCES))))

PRODUCTS += $(BUILD)/libst.a $(BUILD)/libst.so.2

$(BUILD)/st/%.o: st/%.c
	@mkdir -p $(@D)
	$(QCC) $(CPPFLAGS) $(OWN_CFLAGS) -fvisibility=hidden $(HARDENING) $(CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/st/%.o: st/%.S
	@mkdir -p $(@D)
	$(QAS) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/libst.a: $(ST_OBJECTS)
	@rm -f $@
	$(QAR) rcs $@ $^

$(BUILD)/libst.so.2: $(ST_OBJECTS)
	$(QLD) $(CFLAGS) $(LDHARDEN) $(LDFLAGS) -shared -pthread -Wl,-soname,libst.so.2 -o $@ $^

-include $(ST_OBJECTS:.o=.d)

# --- the smoke program: here, and cross-compiled for AArch64 under emulation ---------------------
ST_CROSS     ?= aarch64-linux-gnu-gcc
ST_EMULATOR  ?= qemu-aarch64
ST_CAN_CROSS := $(and $(shell command -v $(ST_CROSS)),$(shell command -v $(ST_EMULATOR)),yes)

$(BUILD)/st/smoke $(BUILD)/st/footprint: $(BUILD)/st/%: st/smoke/%.c $(BUILD)/libst.a
	$(QLD) $(CPPFLAGS) $(OWN_CFLAGS) $(CFLAGS) $(LDFLAGS) -pthread -o $@ $^ -lm

$(BUILD)/aarch64/smoke: st/smoke/smoke.c $(ST_SOURCES) $(wildcard st/*.h include/st.h)
	@mkdir -p $(@D)
	$(call quiet,CC)$(ST_CROSS) $(CPPFLAGS) $(OWN_CFLAGS) -O2 -g -static -pthread -o $@ \
	    $(filter %.c %.S,$^) -lm

.PHONY: test-smoke footprint test-aarch64
test-smoke: $(BUILD)/st/smoke ## exercise libst briefly without a test library
	$(Q)$(BUILD)/st/smoke
footprint: $(BUILD)/st/footprint ## measure memory, page tables and fork() with many parked threads
	$(Q)$(BUILD)/st/footprint
	$(Q)$(BUILD)/st/footprint 100000 8388608
	$(Q)$(BUILD)/st/footprint 5000 8388608
test-aarch64: ## cross-compile the same program, and run it under qemu
ifeq ($(ST_CAN_CROSS),yes)
	@$(MAKE) --no-print-directory $(BUILD)/aarch64/smoke
	$(Q)$(ST_EMULATOR) $(BUILD)/aarch64/smoke
else
	@echo "skipped: AArch64 needs $(ST_CROSS) and $(ST_EMULATOR)" \
	    "(packages gcc-aarch64-linux-gnu, libc6-dev-arm64-cross, qemu-user)"
endif

# --- the same program with another C library: musl ------------------------------------------------
ST_MUSL := $(shell command -v musl-gcc)

$(BUILD)/musl/smoke: st/smoke/smoke.c $(ST_SOURCES) $(wildcard st/*.h include/st.h)
	@mkdir -p $(@D)
	$(call quiet,CC)musl-gcc $(CPPFLAGS) $(OWN_CFLAGS) -O2 -g -static -no-pie \
	    -idirafter /usr/include -idirafter /usr/include/$(shell $(CC) -print-multiarch) \
	    -o $@ $(filter %.c %.S,$^)

.PHONY: test-musl
test-musl: ## build libst and the smoke program with musl, and run it
ifneq ($(ST_MUSL),)
	@$(MAKE) --no-print-directory $(BUILD)/musl/smoke
	$(Q)$(BUILD)/musl/smoke && echo "1 passed"
else
	@echo "skipped: musl needs musl-gcc (package musl-tools)"
endif

SANITIZE_PARTS += $(if $(ST_MUSL),musl)
