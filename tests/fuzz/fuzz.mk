# SPDX-License-Identifier: Apache-2.0
#
# Fuzzers, by libFuzzer: each fuzz_NAME.c here is one, and tests/stmstat/fuzz_view.c, the
# scoreboards' reader, is the first of the kind. What they have found worth keeping is in corpus/.
#   make fuzz            all of them, DURATION seconds each
#   make fuzz-NAME       one of them
#   make test-fuzz       the corpora, and some thousand inputs more that are the same each time

FUZZ_DIR   := $(BUILD)/tests/fuzz
FUZZ_NAMES := $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
FUZZ_DURATION := $(or $(DURATION),60)

FUZZ_OF_directives := mpm/config/directives.c mpm/config/config.c mpm/config/migrate.c \
                      mpm/process/cpu_binding.c mpm/accept/sockets.c mpm/conn/first_byte.c \
                      tests/fuzz/httpd.c
FUZZ_APRMEM        := tests/fuzz/small.c $(wildcard aprmem/*.c stiol/*.c st/*.c st/*.S)
FUZZ_OF_pools      := $(FUZZ_APRMEM)
FUZZ_OF_tables     := $(FUZZ_APRMEM)
FUZZ_RUNS_directives := 10000
FUZZ_RUNS_pools      := 400
FUZZ_RUNS_tables     := 1000

# aprmem/ looks for APR's libraries itself. What directives do not reach, httpd.c need not have.
FUZZ_LIBS     := -Wl,--gc-sections -Wl,--no-as-needed \
                 $(shell $(PKG_CONFIG) --libs apr-1 apr-util-1 2>/dev/null) -ldl -lpthread
FUZZ_CFLAGS    = $(CPPFLAGS) $(OWN_CFLAGS) -Itests/fuzz $(APACHE_CFLAGS) -O1 -g \
                 -fno-omit-frame-pointer -ffunction-sections
FUZZ_SANITIZE := -fsanitize=address,undefined -fno-sanitize-recover=all
FUZZ_OPTIONS   = -max_len=2048 -rss_limit_mb=1024 -timeout=20 -artifact_prefix=$(FUZZ_DIR)/

# With assertions; and what was given back to a pool is overwritten.
FUZZ_DEBUGGED := aprmem/% stiol/% st/%

# Objects by clang for libFuzzer in clang/, by the ordinary compiler without it in plain/.
FUZZ_OBJECT = @mkdir -p $(@D); $(1) $(FUZZ_CFLAGS) $(FUZZ_SANITIZE) $(2) \
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

fuzz_objects = $(patsubst %,$(FUZZ_DIR)/$(1)/%.o,$(basename tests/fuzz/fuzz_$(2).c $(FUZZ_OF_$(2))))

define fuzz_program
$(FUZZ_DIR)/$(1): $(call fuzz_objects,clang,$(1))
	clang -fsanitize=fuzzer $(FUZZ_SANITIZE) -o $$@ $$^ $(FUZZ_LIBS)
$(FUZZ_DIR)/replay_$(1): $(call fuzz_objects,plain,$(1)) $(FUZZ_DIR)/plain/tests/fuzz/replay.o
	$$(CC) $(FUZZ_SANITIZE) -o $$@ $$^ $(FUZZ_LIBS)

.PHONY: fuzz-$(1) fuzz-$(1)-briefly fuzz-$(1)-replay
fuzz-$(1): $(FUZZ_DIR)/$(1)
	@mkdir -p $(FUZZ_DIR)/found/$(1)
	$(FUZZ_DIR)/$(1) $$(FUZZ_OPTIONS) -max_total_time=$(FUZZ_DURATION) $(FUZZ_DIR)/found/$(1) \
	    tests/fuzz/corpus/$(1)
# The same inputs each time: without what earlier runs have found, and what depends on addresses.
fuzz-$(1)-briefly: $(FUZZ_DIR)/$(1)
	@rm -rf $(FUZZ_DIR)/brief-$(1) && mkdir -p $(FUZZ_DIR)/brief-$(1)
	@$(FUZZ_DIR)/$(1) $$(FUZZ_OPTIONS) -runs=$(FUZZ_RUNS_$(1)) -seed=1 -use_cmp=0 \
	    $(FUZZ_DIR)/brief-$(1) tests/fuzz/corpus/$(1) > $(FUZZ_DIR)/$(1).log 2>&1 || \
	    { cat $(FUZZ_DIR)/$(1).log; false; }
	@echo "$(1): $$$$(tail -n 1 $(FUZZ_DIR)/$(1).log)"
fuzz-$(1)-replay: $(FUZZ_DIR)/replay_$(1)
	@echo "$(1): $$$$($(FUZZ_DIR)/replay_$(1) tests/fuzz/corpus/$(1)/*)"
endef
$(foreach name,$(FUZZ_NAMES),$(eval $(call fuzz_program,$(name))))

.PHONY: fuzz test-fuzz
fuzz: $(addprefix fuzz-,$(FUZZ_NAMES)) ## all fuzzers, DURATION=60 seconds each
	@$(MAKE) --no-print-directory fuzz-stmstat FUZZ_SECONDS=$(FUZZ_DURATION)

# Without libFuzzer the corpora are all there is.
test-fuzz:
	@mkdir -p $(FUZZ_DIR)
	@if echo '$(FUZZ_PROBE)' | \
	    clang -x c -fsanitize=fuzzer,address -o $(FUZZ_DIR)/probe - 2>/dev/null; then \
	    $(MAKE) --no-print-directory -s $(FUZZ_NAMES:%=fuzz-%-briefly); \
	else \
	    echo "skipped: the fuzzers need clang and its libFuzzer (package clang)"; \
	    $(MAKE) --no-print-directory -s $(FUZZ_NAMES:%=fuzz-%-replay); \
	fi
	@echo "$(words $(FUZZ_NAMES)) passed"
