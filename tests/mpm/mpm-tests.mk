# SPDX-License-Identifier: Apache-2.0
#
# Unit tests of the MPM's own rules: each is linked with the module's objects, and httpd.c stands in
# for as much of httpd as they reach. The linker leaves out the rest of the module.
# fuzz_directives.c is built by tests/fuzz/fuzz.mk.
#   test-mpm       as shipped
#   test-mpm-asan  AddressSanitizer and UndefinedBehaviorSanitizer

MPM_TESTS    := $(BUILD)/tests/mpm
MPM_SUBJECTS := $(sort $(patsubst tests/mpm/test_%.c,%,$(wildcard tests/mpm/test_*.c)))
MPM_PROGRAMS := $(MPM_SUBJECTS:%=$(MPM_TESTS)/test_%)
# All objects except the one that makes it a module.
MPM_TESTED   := $(patsubst %.c,$(MPM_TESTS)/lib/%.o,$(wildcard mpm/*/*.c))
MPM_TEST_CFLAGS = $(TEST_INCLUDE) $(OWN_CFLAGS) $(APACHE_CFLAGS) -ffunction-sections -fdata-sections
MPM_TEST_LIBS   = $(shell $(PKG_CONFIG) --libs apr-1 apr-util-1 2>/dev/null)

$(MPM_TESTS)/lib/%.o: %.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(QCC) $(CPPFLAGS) $(CFLAGS) $(MPM_TEST_CFLAGS) -MMD -MP -c -o $@ $<

$(MPM_TESTS)/%.o: tests/mpm/%.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(QCC) $(CPPFLAGS) $(CFLAGS) $(MPM_TEST_CFLAGS) -MMD -MP -c -o $@ $<

$(MPM_TESTS)/libmodule.a: $(MPM_TESTED)
	@rm -f $@
	$(QAR) rcs $@ $^

# A function of the module for which a test has its own version is not linked.
$(MPM_TESTS)/test_%: $(MPM_TESTS)/test_%.o $(MPM_TESTS)/httpd.o $(TEST_HARNESS) \
                     $(MPM_TESTS)/libmodule.a $(SCORE_OBJECTS) $(BUILD)/libstiol.a $(BUILD)/libst.a
	$(QLD) $(CFLAGS) $(LDFLAGS) -Wl,--gc-sections,--allow-multiple-definition -o $@ $^ \
	    $(TEST_CMOCKA) $(MPM_TEST_LIBS) -ldl -lpthread

.PRECIOUS: $(MPM_TESTS)/%.o $(MPM_TESTS)/lib/%.o
-include $(wildcard $(MPM_TESTS)/*.d $(MPM_TESTS)/lib/mpm/*/*.d)

.PHONY: mpm-programs mpm-run test-mpm test-mpm-asan
mpm-programs: $(MPM_PROGRAMS)
mpm-run: mpm-programs
	@tests/run.sh $(MPM_PROGRAMS)

test-mpm: need-cmocka ## run the unit tests of the MPM's own rules
	@$(TEST_MAKE) mpm-run

test-mpm-asan: need-cmocka ## the same under AddressSanitizer and UBSan
	@ASAN_OPTIONS=detect_leaks=0 $(ASAN_MAKE) mpm-run

SANITIZE_PARTS += mpm-asan
