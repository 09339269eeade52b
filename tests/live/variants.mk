# SPDX-License-Identifier: Apache-2.0
#
# The live tests on other builds. debug: with every internal check and USE_ST_TIME, and its threads
# give way in each rebound call and run in a random order, which follows from STM_SEED; tiny: with
# the smallest limits that make sense.
#   make test-debug STM_SEED=12345    runs the same lots once more

VARIANT_FLAGS_debug := -DSTM_DEBUG -DSTIOL_DEBUG -DUSE_ST_TIME -DST_SHUFFLE
VARIANT_FLAGS_tiny  := -DSTM_LISTENER_LIMIT=2 -DSTM_ST_LIMIT=8 -DSTM_VP_LIMIT=2

# What the debug build runs: all but the waits, which take longest and have checks of their own, and
# the lab, which is about what a user sees.
VARIANT_TESTS_debug ?= tests/live --ignore tests/live/waits --ignore tests/live/lab
VARIANT_TESTS_tiny  := tests/live/test_tiny.py

ifndef STM_SEED
STM_SEED := $(shell date +%s)
endif
test-debug: export STM_SEED := $(STM_SEED)

.PHONY: test-debug test-tiny
test-debug test-tiny: test-%:
	@$(MAKE) --no-print-directory BUILD=$(BUILD)/$* CPPFLAGS='$(CPPFLAGS) $(VARIANT_FLAGS_$*)' \
	    all live-tools
	@$(if $(filter debug,$*),echo "threads run in a random order: STM_SEED=$(STM_SEED)")
	$(if $(filter tiny,$*),STM_TEST_TINY=1) STM_TEST_BUILD=$(BUILD)/$* PYTHONDONTWRITEBYTECODE=1 \
	    $(PYTHON) -m pytest -q -p no:cacheprovider $(VARIANT_TESTS_$*)
