# SPDX-License-Identifier: Apache-2.0
#
# The tests of stmstat and of the scoreboards' reader: `make test-stmstat`. The reader's own run
# under the sanitizers; what the fuzzer has found worth keeping is in corpus/, and each run of the
# tests tries a few thousand inputs more. `make fuzz-stmstat` searches on (FUZZ_SECONDS).

STMSTAT_TEST_DIR := $(BUILD)/tests/stmstat
STMSTAT_READER   := $(wildcard score/*.c)
STMSTAT_HEADERS  := $(wildcard score/*.h) score/score.def tests/stmstat/sample.h
STMSTAT_TEST_CFLAGS = $(CPPFLAGS) $(OWN_CFLAGS) -Itests/stmstat -O1 -g
STMSTAT_SANITIZE := -fsanitize=address,undefined -fno-sanitize-recover=all
STMSTAT_CORPUS   := tests/stmstat/corpus
FUZZ_SECONDS     ?= 60
FUZZ_RUNS        := 5000
FUZZ              = $(STMSTAT_TEST_DIR)/fuzz -max_len=16384 -rss_limit_mb=1024 \
                    -artifact_prefix=$(STMSTAT_TEST_DIR)/

$(STMSTAT_TEST_DIR)/sample: tests/stmstat/sample.c score/fields.c $(STMSTAT_HEADERS)
	@mkdir -p $(@D)
	$(CC) $(STMSTAT_TEST_CFLAGS) -DSAMPLE_MAIN -o $@ tests/stmstat/sample.c score/fields.c

$(STMSTAT_TEST_DIR)/test_view: tests/stmstat/test_view.c tests/stmstat/sample.c $(STMSTAT_READER) \
                               $(STMSTAT_HEADERS)
	@mkdir -p $(@D)
	$(CC) $(STMSTAT_TEST_CFLAGS) $(STMSTAT_SANITIZE) -o $@ $(filter %.c,$^) -lcmocka -lpthread

$(STMSTAT_TEST_DIR)/replay: tests/stmstat/fuzz_view.c tests/stmstat/sample.c $(STMSTAT_READER) \
                            $(STMSTAT_HEADERS)
	@mkdir -p $(@D)
	$(CC) $(STMSTAT_TEST_CFLAGS) $(STMSTAT_SANITIZE) -DREPLAY -o $@ $(filter %.c,$^)

$(STMSTAT_TEST_DIR)/fuzz: tests/stmstat/fuzz_view.c tests/stmstat/sample.c $(STMSTAT_READER) \
                          $(STMSTAT_HEADERS)
	@mkdir -p $(@D)
	clang $(STMSTAT_TEST_CFLAGS) -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all \
	    -o $@ $(filter %.c,$^)

# What clang makes a fuzzer of; not every clang has the library.
FUZZ_PROBE := int LLVMFuzzerTestOneInput(const char *data, unsigned long size); \
              int LLVMFuzzerTestOneInput(const char *data, unsigned long size) \
              { return !data && size; }

.PHONY: test-stmstat fuzz-stmstat fuzz-stmstat-briefly
test-stmstat: $(addprefix $(STMSTAT_TEST_DIR)/,sample test_view replay) $(BUILD)/stmstat/stmstat
	$(STMSTAT_TEST_DIR)/test_view
	$(STMSTAT_TEST_DIR)/replay $(STMSTAT_CORPUS)/*
	@if echo '$(FUZZ_PROBE)' | \
	    clang -x c -fsanitize=fuzzer,address -o $(STMSTAT_TEST_DIR)/probe - 2>/dev/null; then \
	    $(MAKE) --no-print-directory fuzz-stmstat-briefly; \
	else \
	    echo "skipped: the fuzzer needs clang and its libFuzzer (package clang)"; \
	fi
	STM_TEST_BUILD=$(BUILD) PYTHONDONTWRITEBYTECODE=1 \
	    $(PYTHON) -m pytest -q -p no:cacheprovider tests/stmstat $(STMSTAT_ARGS)

# The same inputs each time: without what earlier runs have found, and what depends on addresses.
fuzz-stmstat-briefly: $(STMSTAT_TEST_DIR)/fuzz $(STMSTAT_TEST_DIR)/sample
	@rm -rf $(STMSTAT_TEST_DIR)/brief && mkdir -p $(STMSTAT_TEST_DIR)/brief
	@$(STMSTAT_TEST_DIR)/sample 0 > $(STMSTAT_TEST_DIR)/brief/sample
	@$(FUZZ) -runs=$(FUZZ_RUNS) -seed=1 -use_cmp=0 $(STMSTAT_TEST_DIR)/brief $(STMSTAT_CORPUS) \
	    > $(STMSTAT_TEST_DIR)/fuzz.log 2>&1 || { cat $(STMSTAT_TEST_DIR)/fuzz.log; false; }
	@tail -n 1 $(STMSTAT_TEST_DIR)/fuzz.log

fuzz-stmstat: $(STMSTAT_TEST_DIR)/fuzz $(STMSTAT_TEST_DIR)/sample
	@mkdir -p $(STMSTAT_TEST_DIR)/found
	$(STMSTAT_TEST_DIR)/sample 0 > $(STMSTAT_TEST_DIR)/found/sample
	$(FUZZ) -max_total_time=$(FUZZ_SECONDS) $(STMSTAT_TEST_DIR)/found $(STMSTAT_CORPUS)
