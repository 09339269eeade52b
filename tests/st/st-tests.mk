# SPDX-License-Identifier: Apache-2.0
#
# The unit tests of libst. Each variant of libst is built, with the same test programs, into its own
# BUILD by calling make again:
#   test-st            as shipped; debug build with fault injection; a random order of threads;
#                      and the tests themselves against State Threads 1.9
#   test-st-asan       AddressSanitizer and UndefinedBehaviorSanitizer
#   test-st-valgrind   memcheck, with smaller counts
#   test-st-aarch64    cross-compiled, under qemu

ST_TESTS    := $(BUILD)/tests/st
ST_SUBJECTS := $(sort $(patsubst tests/st/test_%.c,%,$(wildcard tests/st/test_*.c)))
# Tests that need more than State Threads 1.9 has, and tests that need a build with -DST_FAULTS.
ST_BEYOND_19 := bigpages describe destroy exchange faults fdwait fork many observe park remote \
                 rest reuse shuffle stack stats timer watch
ST_UNFAULTED := $(if $(findstring -DST_FAULTS,$(CPPFLAGS)),,faults)
# Tests that need a build with -DST_SHUFFLE, in which the others would fail, as they rely on the
# order.
ST_SHUFFLED  := shuffle

st_programs   = $(addprefix $(1)/test_,$(2))
ST_PROGRAMS  := $(call st_programs,$(ST_TESTS),\
                  $(filter-out $(ST_UNFAULTED) $(ST_SHUFFLED),$(ST_SUBJECTS)) compat)
ST19_PROGRAMS := $(addprefix $(ST_TESTS)/test19_,$(filter-out $(ST_BEYOND_19),$(ST_SUBJECTS)))

# State Threads 1.9 as Debian has it. Its header must be found before ours.
ST19_HEADER := $(wildcard /usr/include/st.h)
ST19_CFLAGS  = -O2 -g $(filter-out -Iinclude,$(OWN_CFLAGS)) -DTEST_ST19

ST_TEST_CFLAGS = $(TEST_INCLUDE) $(OWN_CFLAGS)
ST_TEST_LIBS   = $(TEST_CMOCKA) -lm -lpthread

$(ST_TESTS)/%.o: tests/st/%.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(QCC) $(CPPFLAGS) $(CFLAGS) $(ST_TEST_CFLAGS) -MMD -MP -c -o $@ $<

$(ST_TESTS)/test_%: $(ST_TESTS)/test_%.o $(TEST_HARNESS) $(BUILD)/libst.a
	$(QLD) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(ST_TEST_LIBS)

# It reads libst's structures as stmstat does.
$(ST_TESTS)/test_describe: $(BUILD)/stmstat/walk.o

# Links functions that simulate a kernel with larger pages.
comma := ,
$(ST_TESTS)/test_bigpages: ST_TEST_LIBS += \
    $(addprefix -Wl$(comma)--wrap=,mprotect madvise mincore sysconf mmap munmap)

$(ST_TESTS)/test19_%: tests/st/test_%.c tests/harness.c tests/vp.c tests/harness.h tests/vp.h
	@mkdir -p $(@D)
	$(QCC) $(ST19_CFLAGS) -o $@ $(filter %.c,$^) -lst -lcmocka

# One program, two libraries, the same output.
$(ST_TESTS)/test_compat: tests/st/compat/compat.sh $(ST_TESTS)/every_call \
                         $(if $(TEST_SHIM),,$(if $(ST19_HEADER),$(ST_TESTS)/every_call_st19))
	$(call quiet,GEN)install -m 755 $< $@
$(ST_TESTS)/every_call: tests/st/compat/every_call.c $(BUILD)/libst.a
	@mkdir -p $(@D)
	$(QLD) $(CPPFLAGS) $(CFLAGS) $(OWN_CFLAGS) $(LDFLAGS) -o $@ $^ -lpthread
$(ST_TESTS)/every_call_st19: tests/st/compat/every_call.c
	@mkdir -p $(@D)
	$(QCC) $(ST19_CFLAGS) -o $@ $< -lst

# Checks that no call is left untested.
$(ST_TESTS)/test_cover: tests/st/cover.sh
	@mkdir -p $(@D)
	$(call quiet,GEN)install -m 755 $< $@

.PRECIOUS: $(ST_TESTS)/%.o
-include $(wildcard $(ST_TESTS)/*.d)

.PHONY: st-shuffle
st-shuffle: $(call st_programs,$(ST_TESTS),$(ST_SHUFFLED))

.PHONY: st-programs st-19-programs st-run
st-programs: $(ST_PROGRAMS)
st-19-programs: $(ST19_PROGRAMS)
st-run: st-programs
	@tests/run.sh $(ST_PROGRAMS)

# --- the variants ---------------------------------------------------------------------------------
ST_TEST_DEBUG := -DST_FAULTS -DST_DEBUG -DSTM_DEBUG

.PHONY: test-st test-st-asan test-st-valgrind test-st-aarch64
test-st: need-cmocka ## test libst as shipped, with faults and shuffled; the tests also on 1.9
	@$(TEST_MAKE) st-programs $(ST_TESTS)/test_cover
	@$(TEST_MAKE) BUILD=$(BUILD)/faults CPPFLAGS='$(CPPFLAGS) $(ST_TEST_DEBUG)' st-programs
	@$(TEST_MAKE) BUILD=$(BUILD)/shuffle CPPFLAGS='$(CPPFLAGS) -DST_SHUFFLE -DST_DEBUG' st-shuffle
ifneq ($(ST19_HEADER),)
	@$(TEST_MAKE) st-19-programs
else
	@echo "State Threads 1.9 (package libst-dev) is missing: the tests are not run against it" >&2
endif
	@tests/run.sh $(ST_TESTS)/test_cover $(ST_PROGRAMS) \
	    $(if $(ST19_HEADER),$(ST19_PROGRAMS)) \
	    $(call st_programs,$(BUILD)/faults/tests/st, \
	        $(filter-out $(ST_SHUFFLED),$(ST_SUBJECTS))) \
	    $(call st_programs,$(BUILD)/shuffle/tests/st,$(ST_SHUFFLED))

test-st-asan: need-cmocka ## the same under AddressSanitizer and UBSan
	@ASAN_OPTIONS=detect_stack_use_after_return=1:detect_leaks=1 TEST_SCALE=10 \
	    $(ASAN_MAKE) $(CHECKS) st-run

# Leaks are left to test-st-asan. The debug build tells Valgrind about stacks.
test-st-valgrind: need-cmocka ## the same under memcheck
	@command -v valgrind >/dev/null || { echo "valgrind is missing" >&2; exit 1; }
	@TEST_WRAP='valgrind -q --error-exitcode=99' \
	    TEST_VALGRIND=1 TEST_SCALE=100 \
	    $(TEST_MAKE) BUILD=$(BUILD)/faults CPPFLAGS='$(CPPFLAGS) $(ST_TEST_DEBUG)' st-run

test-st-aarch64: ## the same, cross-compiled, under qemu
ifeq ($(CAN_CROSS),yes)
	@TEST_SCALE=50 $(CROSS_MAKE) CPPFLAGS='$(CPPFLAGS) $(ST_TEST_DEBUG)' st-run
else
	@echo "$(CROSS_MISSING)"
endif

SANITIZE_PARTS += st-asan $(if $(shell command -v valgrind),st-valgrind) \
                  $(if $(CAN_CROSS),st-aarch64)
