# SPDX-License-Identifier: Apache-2.0
#
# The tests of STIOL. Included by the root Makefile. STIOL is built for them once more, with the switches that take the
# remedies away (STIOL_TESTING); the code under test makes its calls from shared objects of its own.
#   test-stiol          as shipped, and the debug build
#   test-stiol-aarch64  cross-compiled, under qemu
#   test-stiol-asan     AddressSanitizer and UndefinedBehaviorSanitizer
#   bench-stiol         nanoseconds of the hot calls

STIOL_TEST_DIR := $(BUILD)/tests/stiol
STIOL_TEST_SUBJECTS := $(sort $(patsubst tests/stiol/test_%.c,%,$(wildcard tests/stiol/test_*.c)))
ifdef UNIT_SHIM
STIOL_TEST_SUBJECTS := $(filter-out apr openssl,$(STIOL_TEST_SUBJECTS))
endif
STIOL_TEST_PROGRAMS := $(STIOL_TEST_SUBJECTS:%=$(STIOL_TEST_DIR)/test_%)
STIOL_TEST_LIBRARY  := $(STIOL_SOURCES:stiol/%.c=$(STIOL_TEST_DIR)/lib/%.o)
STIOL_TEST_OBJECTS  := $(addprefix $(STIOL_TEST_DIR)/lib,table.so threads.so now.so lazy.so noplt.so)
STIOL_LATE_OBJECTS  := $(addprefix $(STIOL_TEST_DIR)/lib,late.so own.so unbindable.so)
# A cross build has no cmocka: UNIT_SHIM takes the unit tests' stand-in.
STIOL_TEST_CFLAGS   = $(if $(UNIT_SHIM),-Itests/unit/shim) $(OWN_CFLAGS) -DSTIOL_TESTING -Itests/stiol -DOBJECTS='"$(abspath $(STIOL_TEST_DIR))"' \
    -DMANUAL='"$(abspath docs/internals/stiol.md)"'

$(STIOL_TEST_DIR)/lib/%.o: stiol/%.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) $(STIOL_TEST_CFLAGS) -MMD -MP -c -o $@ $<

$(STIOL_TEST_DIR)/%.o: tests/stiol/%.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) $(STIOL_TEST_CFLAGS) -MMD -MP -c -o $@ $<

STIOL_OBJECT_CC = @mkdir -p $(@D); $(CC) $(CPPFLAGS) $(CFLAGS) $(OWN_CFLAGS) -Wno-shadow -shared -Wl,-soname,$(notdir $@) -MMD -o $@ $<
$(STIOL_TEST_DIR)/libtable.so: tests/stiol/objects/table.c $(BUILD)/flags
	$(STIOL_OBJECT_CC) -DTABLE=table_any -Wl,-z,relro,-z,now
$(STIOL_TEST_DIR)/libthreads.so: tests/stiol/objects/table.c $(BUILD)/flags
	$(STIOL_OBJECT_CC) -DTABLE=table_threads -Wl,-z,relro,-z,now
$(STIOL_TEST_DIR)/libnow.so: tests/stiol/objects/plain.c $(BUILD)/flags
	$(STIOL_OBJECT_CC) -DPREFIX=now -fplt -Wl,-z,relro,-z,now
$(STIOL_TEST_DIR)/liblazy.so: tests/stiol/objects/plain.c $(BUILD)/flags
	$(STIOL_OBJECT_CC) -DPREFIX=lazy -fplt -Wl,-z,lazy,-z,norelro
$(STIOL_TEST_DIR)/libnoplt.so: tests/stiol/objects/plain.c $(BUILD)/flags
	$(STIOL_OBJECT_CC) -DPREFIX=noplt -fno-plt -Wl,-z,relro,-z,now
$(STIOL_TEST_DIR)/liblate.so: tests/stiol/objects/plain.c $(BUILD)/flags
	$(STIOL_OBJECT_CC) -DPREFIX=late -fplt -Wl,-z,relro,-z,now
$(STIOL_TEST_DIR)/libown.so: tests/stiol/objects/plain.c $(BUILD)/flags
	$(STIOL_OBJECT_CC) -DPREFIX=own -DOWN_FLOCK -fplt -Wl,-z,relro,-z,now
# Its reference to poll() is in its code.
$(STIOL_TEST_DIR)/libunbindable.so: tests/stiol/objects/unbindable.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(CC) -O1 -std=gnu11 -fPIC -shared -Wl,-z,notext -w -o $@ $<

$(STIOL_TEST_DIR)/test_%: $(STIOL_TEST_DIR)/test_%.o $(STIOL_TEST_DIR)/harness.o $(STIOL_TEST_LIBRARY) \
                          $(BUILD)/libst.a $(STIOL_TEST_OBJECTS) | $(STIOL_LATE_OBJECTS)
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ -Wl,-rpath,'$$ORIGIN' -Wl,--no-as-needed $(if $(UNIT_SHIM),,-lcmocka $(STIOL_TEST_LIBS)) -ldl -lpthread

# The real libraries, where their headers are.
$(STIOL_TEST_DIR)/test_apr.o: STIOL_TEST_CFLAGS += $(APACHE_CFLAGS)
$(STIOL_TEST_DIR)/test_apr: STIOL_TEST_LIBS = $(shell $(PKG_CONFIG) --libs apr-1 2>/dev/null)
$(STIOL_TEST_DIR)/test_openssl: STIOL_TEST_LIBS = $(shell $(PKG_CONFIG) --libs libssl libcrypto 2>/dev/null)

$(STIOL_TEST_DIR)/bench: $(STIOL_TEST_DIR)/bench.o $(STIOL_OBJECTS) $(BUILD)/libst.a $(STIOL_TEST_DIR)/libtable.so
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ -Wl,-rpath,'$$ORIGIN' -ldl -lpthread

.PRECIOUS: $(STIOL_TEST_DIR)/%.o $(STIOL_TEST_DIR)/lib/%.o
-include $(wildcard $(STIOL_TEST_DIR)/*.d $(STIOL_TEST_DIR)/lib/*.d)

STIOL_DEBUG_BUILD := -DSTIOL_DEBUG -DSTM_DEBUG
STIOL_SANITIZE    := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
STIOL_MAKE = $(MAKE) --no-print-directory -s

# Cross-compiled, under qemu; the variables are those of tests/unit/unit.mk.
STIOL_CAN_CROSS := $(and $(shell command -v aarch64-linux-gnu-gcc),$(shell command -v qemu-aarch64),yes)

.PHONY: test-stiol-aarch64 stiol-programs stiol-run test-stiol test-stiol-asan bench-stiol
stiol-programs: $(STIOL_TEST_PROGRAMS)
stiol-run: stiol-programs
	@UNIT_TIMEOUT=120 tests/unit/run.sh $(STIOL_TEST_PROGRAMS)

test-stiol: need-cmocka
	@$(STIOL_MAKE) stiol-programs
	@$(STIOL_MAKE) BUILD=$(BUILD)/debug CPPFLAGS='$(CPPFLAGS) $(STIOL_DEBUG_BUILD)' stiol-programs
	@UNIT_TIMEOUT=120 tests/unit/run.sh $(STIOL_TEST_PROGRAMS) \
	    $(STIOL_TEST_SUBJECTS:%=$(BUILD)/debug/tests/stiol/test_%)

test-stiol-asan: need-cmocka
	@ASAN_OPTIONS=detect_leaks=1:detect_stack_use_after_return=0 UBSAN_OPTIONS=print_stacktrace=1 \
	    $(STIOL_MAKE) BUILD=$(BUILD)/asan CPPFLAGS='$(CPPFLAGS) $(STIOL_DEBUG_BUILD)' CFLAGS='-O1 -g $(STIOL_SANITIZE)' \
	    stiol-run

test-stiol-aarch64:
ifeq ($(STIOL_CAN_CROSS),yes)
	@UNIT_WRAP='$(UNIT_QEMU) -L /usr/aarch64-linux-gnu' UNIT_TIMEOUT=300 \
	    $(STIOL_MAKE) BUILD=$(BUILD)/aarch64 CC=$(UNIT_CROSS)gcc AR=$(UNIT_CROSS)ar UNIT_SHIM=1 \
	    CPPFLAGS='$(CPPFLAGS) $(STIOL_DEBUG_BUILD)' stiol-run
else
	@echo "skipped: aarch64 needs $(UNIT_CROSS)gcc and $(UNIT_QEMU)"
endif

bench-stiol: $(STIOL_TEST_DIR)/bench
	$<

UNIT_TESTS += test-stiol
SANITIZE_PARTS += stiol-asan $(if $(STIOL_CAN_CROSS),stiol-aarch64)
