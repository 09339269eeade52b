# SPDX-License-Identifier: Apache-2.0
#
# The unit tests of libst. Included by the root Makefile. Each variant of libst is built, with the
# same test programs, into a BUILD of its own by calling make again:
#   test-unit            as shipped; debug build with fault injection; a random order of threads;
#                        and the tests themselves against State Threads 1.9
#   test-unit-asan       AddressSanitizer and UndefinedBehaviorSanitizer
#   test-unit-valgrind   memcheck, with smaller counts
#   test-unit-aarch64    cross-compiled, under qemu
# test-sanitize runs the last three; other parts may add theirs to SANITIZE_PARTS.

UNIT_DIR      := $(BUILD)/tests/unit
UNIT_SUBJECTS := $(sort $(patsubst tests/unit/test_%.c,%,$(wildcard tests/unit/test_*.c)))
# What needs more than State Threads 1.9 has, and what needs a build with -DST_FAULTS.
UNIT_BEYOND_19 := bigpages destroy exchange faults fdwait fork many park remote reuse shuffle \
                  stack stats timer watch
UNIT_FAULTS    := $(if $(findstring -DST_FAULTS,$(CPPFLAGS)),,faults)
# What needs a build with -DST_SHUFFLE, where the others, which know the order, would fail.
UNIT_SHUFFLE   := shuffle

unit_programs = $(addprefix $(1)/test_,$(2))
UNIT_PROGRAMS := $(call unit_programs,$(UNIT_DIR),\
                   $(filter-out $(UNIT_FAULTS) $(UNIT_SHUFFLE),$(UNIT_SUBJECTS)) compat)
UNIT_19_PROGRAMS := $(addprefix $(UNIT_DIR)/test19_,\
                      $(filter-out $(UNIT_BEYOND_19),$(UNIT_SUBJECTS)))

# State Threads 1.9 as Debian has it. Its header must be found before ours.
ST19_HEADER := $(wildcard /usr/include/st.h)
ST19_CFLAGS  = -O2 -g $(filter-out -Iinclude -I.,$(OWN_CFLAGS)) -DUNIT_ST19 -Itests/unit

UNIT_CFLAGS = $(if $(UNIT_SHIM),-Itests/unit/shim) -Itests/unit $(OWN_CFLAGS)
UNIT_LIBS   = $(if $(UNIT_SHIM),,-lcmocka) -lm -lpthread

$(UNIT_DIR)/%.o: tests/unit/%.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) $(UNIT_CFLAGS) -MMD -MP -c -o $@ $<

$(UNIT_DIR)/test_%: $(UNIT_DIR)/test_%.o $(UNIT_DIR)/unit.o $(BUILD)/libst.a
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(UNIT_LIBS)

# A kernel with larger pages is told by these functions.
comma := ,
$(UNIT_DIR)/test_bigpages: UNIT_LIBS += \
    $(addprefix -Wl$(comma)--wrap=,mprotect madvise mincore sysconf mmap munmap)

$(UNIT_DIR)/test19_%: tests/unit/test_%.c tests/unit/unit.c tests/unit/unit.h
	@mkdir -p $(@D)
	$(CC) $(ST19_CFLAGS) -o $@ $(filter %.c,$^) -lst -lcmocka

# One program, two libraries, the same output.
$(UNIT_DIR)/test_compat: tests/unit/compat/compat.sh $(UNIT_DIR)/every_call \
                         $(if $(UNIT_SHIM),,$(if $(ST19_HEADER),$(UNIT_DIR)/every_call_st19))
	install -m 755 $< $@
$(UNIT_DIR)/every_call: tests/unit/compat/every_call.c $(BUILD)/libst.a
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) $(OWN_CFLAGS) $(LDFLAGS) -o $@ $^ -lpthread
$(UNIT_DIR)/every_call_st19: tests/unit/compat/every_call.c
	@mkdir -p $(@D)
	$(CC) $(ST19_CFLAGS) -o $@ $< -lst

# That no call is left untested.
$(UNIT_DIR)/test_cover: tests/unit/cover.sh
	@mkdir -p $(@D)
	install -m 755 $< $@

.PRECIOUS: $(UNIT_DIR)/%.o
-include $(wildcard $(UNIT_DIR)/*.d)

.PHONY: unit-shuffle
unit-shuffle: $(call unit_programs,$(UNIT_DIR),$(UNIT_SHUFFLE))

.PHONY: unit-programs unit-19-programs unit-run need-cmocka
unit-programs: $(UNIT_PROGRAMS)
unit-19-programs: $(UNIT_19_PROGRAMS)
unit-run: unit-programs
	@tests/unit/run.sh $(UNIT_PROGRAMS)

need-cmocka:
	@printf '#include <%s.h>\n' setjmp stdarg stddef stdint cmocka | \
	    $(CC) -E -x c -o /dev/null - 2>/dev/null || { echo "cmocka is missing: install the" \
	        "package libcmocka-dev (or run make test, which does)" >&2; exit 1; }

# --- the variants ---------------------------------------------------------------------------------
UNIT_MAKE     = $(MAKE) --no-print-directory -s
UNIT_DEBUG   := -DST_FAULTS -DST_DEBUG -DSTM_DEBUG
UNIT_SANITIZE := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer

.PHONY: test-unit test-unit-asan test-unit-valgrind test-unit-aarch64 test-sanitize
test-unit: need-cmocka
	@$(UNIT_MAKE) unit-programs $(UNIT_DIR)/test_cover
	@$(UNIT_MAKE) BUILD=$(BUILD)/faults CPPFLAGS='$(CPPFLAGS) $(UNIT_DEBUG)' unit-programs
	@$(UNIT_MAKE) BUILD=$(BUILD)/shuffle CPPFLAGS='$(CPPFLAGS) -DST_SHUFFLE -DST_DEBUG' \
	    unit-shuffle
ifneq ($(ST19_HEADER),)
	@$(UNIT_MAKE) unit-19-programs
else
	@echo "State Threads 1.9 (package libst-dev) is missing: the tests are not run against it" >&2
endif
	@tests/unit/run.sh $(UNIT_DIR)/test_cover $(UNIT_PROGRAMS) \
	    $(if $(ST19_HEADER),$(UNIT_19_PROGRAMS)) \
	    $(call unit_programs,$(BUILD)/faults/tests/unit, \
	        $(filter-out $(UNIT_SHUFFLE),$(UNIT_SUBJECTS))) \
	    $(call unit_programs,$(BUILD)/shuffle/tests/unit,$(UNIT_SHUFFLE))

test-unit-asan: need-cmocka
	@ASAN_OPTIONS=detect_stack_use_after_return=1:detect_leaks=1 \
	    UBSAN_OPTIONS=print_stacktrace=1 UNIT_SCALE=10 UNIT_TIMEOUT=120 \
	    $(UNIT_MAKE) BUILD=$(BUILD)/asan CPPFLAGS='$(CPPFLAGS) $(UNIT_DEBUG)' \
	    CFLAGS='-O1 -g $(UNIT_SANITIZE)' unit-run

# Leaks are test-unit-asan's. The debug build tells Valgrind of the stacks.
test-unit-valgrind: need-cmocka
	@command -v valgrind >/dev/null || { echo "valgrind is missing" >&2; exit 1; }
	@UNIT_WRAP='valgrind -q --error-exitcode=99' \
	    UNIT_VALGRIND=1 UNIT_SCALE=100 UNIT_TIMEOUT=120 \
	    $(UNIT_MAKE) BUILD=$(BUILD)/faults CPPFLAGS='$(CPPFLAGS) $(UNIT_DEBUG)' unit-run

UNIT_CROSS     := aarch64-linux-gnu-
UNIT_QEMU      := qemu-aarch64
UNIT_CAN_CROSS := $(and $(shell command -v $(UNIT_CROSS)gcc),$(shell command -v $(UNIT_QEMU)),yes)
test-unit-aarch64:
ifeq ($(UNIT_CAN_CROSS),yes)
	@UNIT_WRAP='$(UNIT_QEMU) -L /usr/aarch64-linux-gnu' UNIT_SCALE=50 UNIT_TIMEOUT=120 \
	    $(UNIT_MAKE) BUILD=$(BUILD)/aarch64 CC=$(UNIT_CROSS)gcc AR=$(UNIT_CROSS)ar UNIT_SHIM=1 \
	    CPPFLAGS='$(CPPFLAGS) $(UNIT_DEBUG)' unit-run
else
	@echo "skipped: aarch64 needs $(UNIT_CROSS)gcc and $(UNIT_QEMU) (packages" \
	    "gcc-aarch64-linux-gnu, libc6-dev-arm64-cross, qemu-user)"
endif

SANITIZE_PARTS += unit-asan $(if $(shell command -v valgrind),unit-valgrind) \
                  $(if $(UNIT_CAN_CROSS),unit-aarch64)
test-sanitize:
ifneq ($(UNIT_CAN_CROSS),yes)
	@$(UNIT_MAKE) test-unit-aarch64
endif
	@BUILD='$(BUILD)' scripts/test.sh $(SANITIZE_PARTS)
