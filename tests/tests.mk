# SPDX-License-Identifier: Apache-2.0
#
# What the tests of all parts share; the root Makefile includes it before the parts' own fragments
# (tests/PART/PART-tests.mk). A unit test is a cmocka program that tests/run.sh runs; on a target
# for which there is no cmocka (TEST_SHIM), tests/shim stands in for it.
#   test-sanitize   the variants that the parts name in SANITIZE_PARTS

TEST_INCLUDE = $(if $(TEST_SHIM),-Itests/shim)
TEST_CMOCKA  = $(if $(TEST_SHIM),,-lcmocka)
# A make of its own, which compiles on all CPUs unless -j was given.
TEST_MAKE    = $(MAKE) --no-print-directory $(if $(filter -j%,$(MAKEFLAGS)),,-j$(shell nproc))

# The build under AddressSanitizer and UndefinedBehaviorSanitizer, and what runtime and I/O layer
# check there besides, one set for both.
SANITIZE    := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
CHECKS       = CPPFLAGS='$(CPPFLAGS) -DST_FAULTS -DST_DEBUG -DSTM_DEBUG -DSTIOL_DEBUG'
ASAN_MAKE    = UBSAN_OPTIONS=print_stacktrace=1 $(TEST_MAKE) BUILD=$(BUILD)/asan \
               CFLAGS='-O1 -g $(SANITIZE)'

# The same tests on another, emulated processor.
CROSS_PREFIX := aarch64-linux-gnu-
CROSS_QEMU   := qemu-aarch64
CAN_CROSS    := $(and $(shell command -v $(CROSS_PREFIX)gcc),$(shell command -v $(CROSS_QEMU)),yes)
CROSS_MAKE    = TEST_WRAP='$(CROSS_QEMU) -L /usr/aarch64-linux-gnu' \
                $(TEST_MAKE) BUILD=$(BUILD)/aarch64 CC=$(CROSS_PREFIX)gcc AR=$(CROSS_PREFIX)ar \
                TEST_SHIM=1
CROSS_MISSING = skipped: aarch64 needs $(CROSS_PREFIX)gcc and $(CROSS_QEMU) (packages \
                gcc-aarch64-linux-gnu, libc6-dev-arm64-cross, qemu-user)

# Objects for harness.h, and for vp.h on top of it.
TEST_HARNESS := $(BUILD)/tests/harness.o $(BUILD)/tests/vp.o
$(TEST_HARNESS): $(BUILD)/tests/%.o: tests/%.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(QCC) $(CPPFLAGS) $(CFLAGS) $(TEST_INCLUDE) $(OWN_CFLAGS) -MMD -MP -c -o $@ $<
-include $(TEST_HARNESS:.o=.d)

# Tests what is in $(PYTEST_BUILD).
PYTEST_BUILD = $(BUILD)
PYTEST = STM_TEST_BUILD='$(PYTEST_BUILD)' PYTHONDONTWRITEBYTECODE=1 \
         $(PYTHON) -m pytest -q -p no:cacheprovider

# How many processes share a run of pytest whose tests mostly wait; a file's tests stay together, as
# they share servers. All in one process where there is no pytest-xdist.
PYTEST_JOBS   ?= $(if $(filter 1,$(shell nproc)),2,$(shell nproc))
PYTEST_SHARED  = $(PYTEST) $(if $(shell $(PYTHON) -c 'import xdist; print(1)' 2>/dev/null),\
                     -n $(PYTEST_JOBS) --dist loadfile)

.PHONY: need-cmocka test-sanitize
need-cmocka:
	@printf '#include <%s.h>\n' setjmp stdarg stddef stdint cmocka | \
	    $(CC) -E -x c -o /dev/null - 2>/dev/null || { echo "cmocka is missing: install the" \
	        "package libcmocka-dev (or run make test, which does)" >&2; exit 1; }

test-sanitize: ## run the tests of all parts under sanitizers and memcheck
ifneq ($(CAN_CROSS),yes)
	@echo "$(CROSS_MISSING)"
endif
	@BUILD='$(BUILD)' scripts/test.sh $(SANITIZE_PARTS)
