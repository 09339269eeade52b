# SPDX-License-Identifier: Apache-2.0
#
# The live tests on other builds. debug: with every internal check and USE_ST_TIME; its threads
# yield in each rebound call and run in a random order determined by STM_SEED. tiny: with the
# smallest limits that make sense. h2-asan: threads that come and go, under AddressSanitizer, with
# freed pool memory overwritten.
#   make test-debug STM_SEED=12345    uses another order than the usual one

VARIANT_FLAGS_debug := -DSTM_DEBUG -DSTIOL_DEBUG -DUSE_ST_TIME -DST_SHUFFLE
VARIANT_FLAGS_tiny  := -DSTM_LISTENER_LIMIT=2 -DSTM_ST_LIMIT=8 -DSTM_VP_LIMIT=2

# What the debug build does not run: the waits, which take longest and have checks of their own;
# what a user sees (the lab, the benchmarks, the dashboard, the dumps and the live view of stmstat);
# what happens before there are threads (bad configurations, rehearsals); the soak; the hangs, which
# the master has to notice; the cluster; those of gdb, whose threads must have parked in a certain
# order; and steps of the clock, since the debug build takes the time of day from libst. Nor does it
# run other MPMs.
NOT_IN_DEBUG := waits lab $(patsubst %,test_%.py,bench dashboard dump live_view directives \
                configtest rehearsal soak hang cluster gdb clock_step)
VARIANT_TESTS_debug ?= tests/live $(NOT_IN_DEBUG:%=--ignore tests/live/%)
VARIANT_TESTS_tiny  := tests/live/test_tiny.py

STM_SEED ?= 1
test-debug: export STM_SEED := $(STM_SEED)

test-debug: PYTEST_BUILD = $(BUILD)/debug
test-tiny: PYTEST_BUILD = $(BUILD)/tiny
test-h2-asan: PYTEST_BUILD = $(BUILD)/h2-asan

.PHONY: test-debug test-tiny
test-debug: ## run the live tests with assertions and a random thread order; STM_SEED=1
test-tiny: ## run live tests on a build with the smallest limits
test-debug test-tiny: test-%:
	@$(TEST_MAKE) BUILD=$(BUILD)/$* CPPFLAGS='$(CPPFLAGS) $(VARIANT_FLAGS_$*)' \
	    all live-tools
	@$(if $(filter debug,$*),echo "threads run in a random order: STM_SEED=$(STM_SEED)")
	$(Q)STM_TEST_$(if $(filter tiny,$*),TINY,OWN)=1 $(PYTEST_SHARED) $(VARIANT_TESTS_$*)

# Leaks are not detected: stacks would be reported, and httpd keeps its memory until it exits.
# Valgrind would also see httpd's own accesses, but takes minutes.
H2_ASAN_OPTIONS := detect_leaks=0:detect_stack_use_after_return=0:abort_on_error=1
.PHONY: test-h2-asan
test-h2-asan: ## test HTTP/2, and threads that come and go, under AddressSanitizer
	@$(TEST_MAKE) BUILD=$(BUILD)/h2-asan \
	    CFLAGS='-O1 -g -fno-omit-frame-pointer -fsanitize=address -Wno-format-truncation' \
	    CPPFLAGS='$(CPPFLAGS) -DSTM_DEBUG -DSTIOL_DEBUG' \
	    $(BUILD)/h2-asan/mod_mpm_stm.so $(BUILD)/h2-asan/stmstat/stmstat live-tools
	$(Q)ASAN_OPTIONS=$(H2_ASAN_OPTIONS) STM_TEST_PRELOAD=$$($(CC) -print-file-name=libasan.so) \
	    $(PYTEST) tests/live/test_thread_locals.py -k 'not allocator and not event'

SANITIZE_PARTS += h2-asan
