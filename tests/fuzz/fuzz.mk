# SPDX-License-Identifier: Apache-2.0
#
# Fuzzers that use libFuzzer: each tests/PART/fuzz_NAME.c is one, and its corpus is in
# tests/PART/corpus/NAME. This file has what they share.
#   make fuzz            all of them, DURATION seconds each
#   make fuzz-NAME       one of them
#   make test-fuzz       the corpora, and a few thousand more inputs, the same each time

FUZZ_DIR   := $(BUILD)/tests/fuzz
FUZZERS    := $(wildcard tests/*/fuzz_*.c)
FUZZ_NAMES := $(patsubst fuzz_%.c,%,$(notdir $(FUZZERS)))
fuzz_part   = $(patsubst tests/%/fuzz_$(1).c,%,$(filter tests/%/fuzz_$(1).c,$(FUZZERS)))
fuzz_corpus = tests/$(call fuzz_part,$(1))/corpus/$(1)
FUZZ_DURATION := $(or $(DURATION),60)

FUZZ_OF_directives := mpm/config/directives.c mpm/config/config.c mpm/config/migrate.c \
                      mpm/config/run_on.c mpm/config/listens.c mpm/conn/first_byte.c \
                      mpm/config/cpus.c tests/mpm/httpd.c
FUZZ_APRMEM        := tests/aprmem/small.c $(wildcard aprmem/*.c stiol/*.c st/*.c st/*.S)
FUZZ_OF_pools      := $(FUZZ_APRMEM)
FUZZ_OF_tables     := $(FUZZ_APRMEM)
FUZZ_OF_view       := tests/score/sample.c $(SCORE_SOURCES)
FUZZ_RUNS_directives := 10000
FUZZ_RUNS_pools      := 400
FUZZ_RUNS_tables     := 1000
FUZZ_RUNS_view       := 5000

FUZZ_LENGTH      := 2048
FUZZ_LENGTH_view := 16384
# A program that writes an input as the current sources define it; one that was kept may be
# outdated.
FUZZ_SEED_view   := $(BUILD)/tests/score/sample

# aprmem/ finds APR's libraries itself. httpd.c need not provide what directives do not reach.
FUZZ_LIBS     := -Wl,--gc-sections -Wl,--no-as-needed $(STIOL_LDFLAGS) \
                 $(shell $(PKG_CONFIG) --libs apr-1 apr-util-1 2>/dev/null) -ldl -lpthread
FUZZ_CFLAGS    = $(CPPFLAGS) $(OWN_CFLAGS) $(APACHE_CFLAGS) -O1 -g \
                 -ffunction-sections
fuzz_options   = -max_len=$(or $(FUZZ_LENGTH_$(1)),$(FUZZ_LENGTH)) -rss_limit_mb=1024 -timeout=20 \
                 -artifact_prefix=$(FUZZ_DIR)/

# With assertions, and with memory overwritten when it is freed.
FUZZ_DEBUGGED := aprmem/% stiol/% st/%

# Objects compiled by clang for libFuzzer are in clang/, those of the ordinary compiler without it
# in plain/.
FUZZ_OBJECT = $(call quiet,CC)mkdir -p $(@D); $(1) $(FUZZ_CFLAGS) $(SANITIZE) $(2) \
    $(if $(filter $(FUZZ_DEBUGGED),$<),-DSTM_DEBUG) -MMD -MP -c -o $@ $<
$(FUZZ_DIR)/clang/%.o: %.c
	$(call FUZZ_OBJECT,clang,-fsanitize=fuzzer-no-link)
$(FUZZ_DIR)/clang/%.o: %.S
	$(call FUZZ_OBJECT,clang)
$(FUZZ_DIR)/plain/%.o: %.c
	$(call FUZZ_OBJECT,$(CC))
$(FUZZ_DIR)/plain/%.o: %.S
	$(call FUZZ_OBJECT,$(CC))
.PRECIOUS: $(FUZZ_DIR)/clang/%.o $(FUZZ_DIR)/plain/%.o
-include $(shell [ ! -d $(FUZZ_DIR) ] || find $(FUZZ_DIR) -name '*.d')

fuzz_objects = $(patsubst %,$(FUZZ_DIR)/$(1)/%.o,\
    $(basename tests/$(call fuzz_part,$(2))/fuzz_$(2).c $(FUZZ_OF_$(2))))

define fuzz_program
$(FUZZ_DIR)/$(1): $(call fuzz_objects,clang,$(1))
	$$(call quiet,LD)clang -fsanitize=fuzzer $(SANITIZE) -o $$@ $$^ $(FUZZ_LIBS)
$(FUZZ_DIR)/replay_$(1): $(call fuzz_objects,plain,$(1)) $(FUZZ_DIR)/plain/tests/fuzz/replay.o
	$$(QLD) $(SANITIZE) -o $$@ $$^ $(FUZZ_LIBS)

.PHONY: fuzz-$(1) fuzz-$(1)-briefly fuzz-$(1)-replay
fuzz-$(1): $(FUZZ_DIR)/$(1) $(FUZZ_SEED_$(1))
	@mkdir -p $(FUZZ_DIR)/found/$(1)
	$(if $(FUZZ_SEED_$(1)),$(FUZZ_SEED_$(1)) 0 > $(FUZZ_DIR)/found/$(1)/seed)
	$(FUZZ_DIR)/$(1) $(call fuzz_options,$(1)) -max_total_time=$(FUZZ_DURATION) \
	    $(FUZZ_DIR)/found/$(1) $(call fuzz_corpus,$(1))
# The same inputs each time, so without those that earlier runs have found or that depend on
# addresses.
fuzz-$(1)-briefly: $(FUZZ_DIR)/$(1) $(FUZZ_SEED_$(1))
	@rm -rf $(FUZZ_DIR)/brief-$(1) && mkdir -p $(FUZZ_DIR)/brief-$(1)
	@$(if $(FUZZ_SEED_$(1)),$(FUZZ_SEED_$(1)) 0 > $(FUZZ_DIR)/brief-$(1)/seed)
	@$(FUZZ_DIR)/$(1) $(call fuzz_options,$(1)) -runs=$(FUZZ_RUNS_$(1)) -seed=1 -use_cmp=0 \
	    $(FUZZ_DIR)/brief-$(1) $(call fuzz_corpus,$(1)) \
	    > $(FUZZ_DIR)/$(1).log 2>&1 || \
	    { cat $(FUZZ_DIR)/$(1).log; false; }
	@echo "$(1): $$$$(tail -n 1 $(FUZZ_DIR)/$(1).log)"
fuzz-$(1)-replay: $(FUZZ_DIR)/replay_$(1)
	@echo "$(1): $$$$($(FUZZ_DIR)/replay_$(1) $(call fuzz_corpus,$(1))/*)"
endef
$(foreach name,$(FUZZ_NAMES),$(eval $(call fuzz_program,$(name))))

.PHONY: fuzz test-fuzz
fuzz: $(addprefix fuzz-,$(FUZZ_NAMES)) ## run all fuzzers; DURATION=60 seconds each

# Whether clang can build a fuzzer: not every clang has the library.
FUZZ_PROBE := int LLVMFuzzerTestOneInput(const char *data, unsigned long size); \
              int LLVMFuzzerTestOneInput(const char *data, unsigned long size) \
              { return !data && size; }

# Without libFuzzer, only the corpora can be run.
test-fuzz: ## run the fuzzers' corpora, and a few thousand more inputs
	@mkdir -p $(FUZZ_DIR)
	@if echo '$(FUZZ_PROBE)' | \
	    clang -x c -fsanitize=fuzzer,address -o $(FUZZ_DIR)/probe - 2>/dev/null; then \
	    $(TEST_MAKE) $(FUZZ_NAMES:%=fuzz-%-briefly); \
	else \
	    echo "skipped: the fuzzers need clang and its libFuzzer (package clang)"; \
	    $(MAKE) --no-print-directory $(FUZZ_NAMES:%=fuzz-%-replay); \
	fi
	@echo "$(words $(FUZZ_NAMES)) passed"
