# SPDX-License-Identifier: Apache-2.0
#
# The tests of small pools, beside APR's own pools, if httpd's and APR's headers are installed. They
# use the STIOL that is built for STIOL's own tests. The fuzzers in this folder are built by
# tests/fuzz/fuzz.mk.
#   test-aprmem       as shipped, and the debug build
#   test-aprmem-asan  AddressSanitizer and UndefinedBehaviorSanitizer

APRMEM_TESTS    := $(BUILD)/tests/aprmem
APRMEM_SUBJECTS := $(sort $(patsubst tests/aprmem/test_%.c,%,$(wildcard tests/aprmem/test_*.c)))
APRMEM_PROGRAMS := $(APRMEM_SUBJECTS:%=$(APRMEM_TESTS)/test_%)
APRMEM_LIBRARY  := $(patsubst aprmem/%.c,$(APRMEM_TESTS)/lib/%.o,$(wildcard aprmem/*.c))
APRMEM_TEST_CFLAGS = $(STIOL_TEST_CFLAGS) $(APACHE_CFLAGS)
APRMEM_TEST_LIBS   = $(shell $(PKG_CONFIG) --libs apr-1 apr-util-1 2>/dev/null)

$(APRMEM_TESTS)/lib/%.o: aprmem/%.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(QCC) $(CPPFLAGS) $(CFLAGS) $(APRMEM_TEST_CFLAGS) -MMD -MP -c -o $@ $<

$(APRMEM_TESTS)/%.o: tests/aprmem/%.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(QCC) $(CPPFLAGS) $(CFLAGS) $(APRMEM_TEST_CFLAGS) -MMD -MP -c -o $@ $<

$(APRMEM_TESTS)/test_%: $(APRMEM_TESTS)/test_%.o $(STIOL_HARNESS) $(APRMEM_LIBRARY) \
                        $(STIOL_LIBRARY) $(BUILD)/libst.a $(STIOL_LINKED)
	$(QLD) $(CFLAGS) $(LDFLAGS) $(STIOL_LDFLAGS) -o $@ $^ \
	    -Wl,-rpath,'$(abspath $(STIOL_TESTS))' \
	    -Wl,--no-as-needed $(TEST_CMOCKA) $(APRMEM_TEST_LIBS) -ldl -lpthread

.PRECIOUS: $(APRMEM_TESTS)/%.o $(APRMEM_TESTS)/lib/%.o
-include $(wildcard $(APRMEM_TESTS)/*.d $(APRMEM_TESTS)/lib/*.d)

.PHONY: aprmem-programs aprmem-run test-aprmem test-aprmem-asan
aprmem-programs: $(APRMEM_PROGRAMS)
aprmem-run: aprmem-programs
	@tests/run.sh $(APRMEM_PROGRAMS)

test-aprmem: need-cmocka ## test small pools
	@$(TEST_MAKE) aprmem-programs
	@$(TEST_MAKE) BUILD=$(BUILD)/debug CPPFLAGS='$(CPPFLAGS) $(STIOL_DEBUG_BUILD)' aprmem-programs
	@tests/run.sh $(APRMEM_PROGRAMS) \
	    $(APRMEM_SUBJECTS:%=$(BUILD)/debug/tests/aprmem/test_%)

test-aprmem-asan: need-cmocka ## the same under AddressSanitizer and UBSan
	@ASAN_OPTIONS=detect_leaks=1:detect_stack_use_after_return=0 $(ASAN_MAKE) $(CHECKS) aprmem-run

SANITIZE_PARTS += aprmem-asan
