# SPDX-License-Identifier: Apache-2.0
#
# The tests of the scoreboards' reader, under sanitizers: `make test-score`. Its fuzzer,
# fuzz_view.c, is built by tests/fuzz/fuzz.mk.

SCORE_TESTS       := $(BUILD)/tests/score
SCORE_TEST_CFLAGS  = $(CPPFLAGS) $(OWN_CFLAGS) -O1 -g $(SANITIZE)
SCORE_TESTED      := $(SCORE_SOURCES:score/%.c=$(SCORE_TESTS)/lib/%.o)

$(SCORE_TESTS)/lib/%.o: score/%.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(QCC) $(SCORE_TEST_CFLAGS) -MMD -MP -c -o $@ $<

$(SCORE_TESTS)/%.o: tests/score/%.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(QCC) $(SCORE_TEST_CFLAGS) -MMD -MP -c -o $@ $<

$(SCORE_TESTS)/harness.o: tests/harness.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(QCC) $(SCORE_TEST_CFLAGS) -MMD -MP -c -o $@ $<

$(SCORE_TESTS)/test_view: $(SCORE_TESTS)/test_view.o $(SCORE_TESTS)/harness.o \
                          $(SCORE_TESTS)/sample.o $(SCORE_TESTED)
	$(QLD) $(SANITIZE) -o $@ $^ -lcmocka -lpthread

$(SCORE_TESTS)/test_waits: $(SCORE_TESTS)/test_waits.o $(SCORE_TESTS)/harness.o \
                           $(SCORE_TESTS)/sample.o $(SCORE_TESTED)
	$(QLD) $(SANITIZE) -o $@ $^ -lcmocka -lpthread

# Writes the sample, for the tests of stmstat.
$(SCORE_TESTS)/sample: $(SCORE_TESTS)/print_sample.o $(SCORE_TESTS)/sample.o $(SCORE_TESTED)
	$(QLD) $(SANITIZE) -o $@ $^

.PRECIOUS: $(SCORE_TESTS)/%.o $(SCORE_TESTS)/lib/%.o
-include $(wildcard $(SCORE_TESTS)/*.d $(SCORE_TESTS)/lib/*.d)

.PHONY: test-score
test-score: $(SCORE_TESTS)/test_waits
test-score: need-cmocka $(SCORE_TESTS)/test_view ## test the scoreboards' format and its reader
	@tests/run.sh $(SCORE_TESTS)/test_view $(SCORE_TESTS)/test_waits
