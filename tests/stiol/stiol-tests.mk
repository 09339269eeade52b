# SPDX-License-Identifier: Apache-2.0
#
# The tests of STIOL. Included by the root Makefile. STIOL is built for them once more, with
# switches that turn the remedies off (STIOL_TESTING); the code under test makes its calls from
# shared objects of its own.
#   test-stiol          as shipped, and the debug build
#   test-stiol-asan     AddressSanitizer and UndefinedBehaviorSanitizer
#   test-stiol-aarch64  cross-compiled, under qemu
#   bench-stiol         nanoseconds of the hot calls
#   bench-files         a read that waits: on a helper, and with io_uring

STIOL_TESTS := $(BUILD)/tests/stiol
STIOL_SUBJECTS := $(sort $(patsubst tests/stiol/test_%.c,%,$(wildcard tests/stiol/test_*.c)))
# A cross build has neither the real libraries nor cmocka: TEST_SHIM takes the unit tests' stand-in.
ifeq ($(origin CXX),default)
CXX := $(CC:%gcc=%g++)
endif
# The emulator used for cross builds has neither openat2() nor preadv2()'s flags, which the tests of
# files need.
ifdef TEST_SHIM
STIOL_SUBJECTS := $(filter-out apr curl cxx files file_waits glib openssl,$(STIOL_SUBJECTS))
endif
# Without a C++ compiler, there is nothing to test.
ifeq ($(shell command -v $(CXX)),)
STIOL_SUBJECTS := $(filter-out cxx,$(STIOL_SUBJECTS))
endif
STIOL_PROGRAMS := $(STIOL_SUBJECTS:%=$(STIOL_TESTS)/test_%)
STIOL_LIBRARY  := $(STIOL_SOURCES:stiol/%.c=$(STIOL_TESTS)/lib/%.o)
STIOL_HARNESS  := $(TEST_HARNESS) $(STIOL_TESTS)/stiol_vp.o
STIOL_LINKED   := $(addprefix $(STIOL_TESTS)/lib,table.so threads.so now.so lazy.so noplt.so \
                    choice.so)
STIOL_LATE     := $(addprefix $(STIOL_TESTS)/lib,late.so own.so chooser.so unbindable.so)
# Objects with thread-local variables: linked, and loaded later.
STIOL_LOCALS      := $(addprefix $(STIOL_TESTS)/lib,linked_tls.so static_tls.so)
STIOL_LOCALS_LATE := $(addprefix $(STIOL_TESTS)/lib,late_tls.so late_tls2.so late_tls3.so \
                       $(if $(shell command -v $(CXX)),farewells.so))

STIOL_TEST_CFLAGS = $(TEST_INCLUDE) $(OWN_CFLAGS) -DSTIOL_TESTING \
    $(if $(filter -O2 -O3,$(CFLAGS)),-DOPTIMISED) \
    -DOBJECTS='"$(abspath $(STIOL_TESTS))"' -DMANUAL='"$(abspath docs/internals/stiol.md)"'

$(STIOL_TESTS)/lib/%.o: stiol/%.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(QCC) $(CPPFLAGS) $(CFLAGS) $(STIOL_TEST_CFLAGS) -MMD -MP -c -o $@ $<

$(STIOL_TESTS)/%.o: tests/stiol/%.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(QCC) $(CPPFLAGS) $(CFLAGS) $(STIOL_TEST_CFLAGS) -MMD -MP -c -o $@ $<

# --- the objects that make the calls ---

STIOL_OBJECT_CC = $(call quiet,CC)mkdir -p $(@D); \
    $(CC) $(CPPFLAGS) $(CFLAGS) $(OWN_CFLAGS) -Wno-shadow -shared \
    -Wl,-soname,$(notdir $@) -MMD -o $@ $<

$(STIOL_TESTS)/libtable.so: tests/stiol/objects/table.c $(BUILD)/flags
	$(STIOL_OBJECT_CC) -DTABLE=table_any -Wl,-z,relro,-z,now
$(STIOL_TESTS)/libthreads.so: tests/stiol/objects/table.c $(BUILD)/flags
	$(STIOL_OBJECT_CC) -DTABLE=table_threads -Wl,-z,relro,-z,now
$(STIOL_TESTS)/libnow.so: tests/stiol/objects/plain.c $(BUILD)/flags
	$(STIOL_OBJECT_CC) -DPREFIX=now -fplt -Wl,-z,relro,-z,now
$(STIOL_TESTS)/liblazy.so: tests/stiol/objects/plain.c $(BUILD)/flags
	$(STIOL_OBJECT_CC) -DPREFIX=lazy -fplt -Wl,-z,lazy,-z,norelro
$(STIOL_TESTS)/libnoplt.so: tests/stiol/objects/plain.c $(BUILD)/flags
	$(STIOL_OBJECT_CC) -DPREFIX=noplt -fno-plt -Wl,-z,relro,-z,now
$(STIOL_TESTS)/liblate.so: tests/stiol/objects/plain.c $(BUILD)/flags
	$(STIOL_OBJECT_CC) -DPREFIX=late -fplt -Wl,-z,relro,-z,now
$(STIOL_TESTS)/libown.so: tests/stiol/objects/plain.c $(BUILD)/flags
	$(STIOL_OBJECT_CC) -DPREFIX=own -DOWN_FLOCK -fplt -Wl,-z,relro,-z,now
# Relocating the second takes as long as the first wants.
$(STIOL_TESTS)/libchoice.so: tests/stiol/objects/choice.c $(BUILD)/flags
	$(STIOL_OBJECT_CC)
$(STIOL_TESTS)/libchooser.so: tests/stiol/objects/chooser.c $(BUILD)/flags
	$(STIOL_OBJECT_CC) -fplt -Wl,-z,relro,-z,now
# C++ with its own runtime.
$(STIOL_TESTS)/libcxx.so: tests/stiol/objects/cxx.cc tests/stiol/objects/cxx.h $(BUILD)/flags
	@mkdir -p $(@D)
	$(QCXX) $(CPPFLAGS) $(CFLAGS) -I. -std=c++20 -Wall -Wextra -Werror -fPIC -shared \
	    -Wl,-soname,$(notdir $@) -o $@ $<
$(STIOL_TESTS)/libcleanup.so: tests/stiol/objects/cleanup.c $(BUILD)/flags
	$(STIOL_OBJECT_CC)
# C++'s threads.
$(STIOL_TESTS)/libcxx_threads.so: tests/stiol/objects/cxx_threads.cc $(BUILD)/flags
	@mkdir -p $(@D)
	$(QCXX) $(CPPFLAGS) $(CFLAGS) -std=c++17 -Wall -Wextra -Werror -fPIC -pthread -shared \
	    -Wl,-soname,$(notdir $@) -MMD -o $@ $<
# Its reference to poll() is a text relocation.
$(STIOL_TESTS)/libunbindable.so: tests/stiol/objects/unbindable.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(QCC) -O1 -std=gnu11 -fPIC -shared -Wl,-z,notext -w -o $@ $<

$(STIOL_TESTS)/liblinked_tls.so: tests/stiol/objects/locals.c $(BUILD)/flags
	$(STIOL_OBJECT_CC) -DWHERE=linked_locals -DNUMBER=1 -DSIZE=1
$(STIOL_TESTS)/libstatic_tls.so: tests/stiol/objects/locals.c $(BUILD)/flags
	$(STIOL_OBJECT_CC) -DWHERE=static_locals -DNUMBER=2 -DSIZE=13 -ftls-model=initial-exec
$(STIOL_TESTS)/libpointer_tls.so: tests/stiol/objects/pointer.c $(BUILD)/flags
	$(STIOL_OBJECT_CC)
$(STIOL_TESTS)/liblate_tls.so: tests/stiol/objects/locals.c $(BUILD)/flags
	$(STIOL_OBJECT_CC) -DWHERE=late_locals -DNUMBER=3 -DSIZE=77
# TLS descriptors, which aarch64 always uses.
STIOL_GNU2 := $(if $(findstring x86_64,$(shell $(CC) -dumpmachine)),-mtls-dialect=gnu2)
$(STIOL_TESTS)/liblate_tls2.so: tests/stiol/objects/locals.c $(BUILD)/flags
	$(STIOL_OBJECT_CC) -DWHERE=late_locals -DNUMBER=4 -DSIZE=3001 $(STIOL_GNU2)
$(STIOL_TESTS)/liblate_tls3.so: tests/stiol/objects/locals.c $(BUILD)/flags
	$(STIOL_OBJECT_CC) -DWHERE=late_locals -DNUMBER=5 -DSIZE=9 -ftls-model=initial-exec
$(STIOL_TESTS)/libfarewells.so: tests/stiol/objects/farewells.cpp $(BUILD)/flags
	@mkdir -p $(@D)
	$(QCXX) $(CPPFLAGS) $(CFLAGS) -Wall -Wextra -Werror -fPIC -shared -o $@ $<

# A name service, under the name that the C library looks for.
$(STIOL_TESTS)/libnss_slow.so.2: tests/stiol/objects/nss_slow.c $(BUILD)/flags
	$(STIOL_OBJECT_CC)
$(STIOL_TESTS)/test_names: | $(STIOL_TESTS)/libnss_slow.so.2

$(STIOL_TESTS)/libslow_start.so: tests/stiol/objects/slow_start.c $(BUILD)/flags
	$(STIOL_OBJECT_CC)
$(STIOL_TESTS)/test_helper: | $(STIOL_TESTS)/libslow_start.so

# --- the programs ---

$(STIOL_TESTS)/test_%: $(STIOL_TESTS)/test_%.o $(STIOL_HARNESS) $(STIOL_LIBRARY) $(BUILD)/libst.a \
                       $(STIOL_LINKED) | $(STIOL_LATE)
	$(QLD) $(CFLAGS) $(LDFLAGS) $(STIOL_LDFLAGS) -o $@ $^ -Wl,-rpath,'$$ORIGIN' \
	    -Wl,--no-as-needed $(TEST_CMOCKA) $(STIOL_TEST_LIBS) -ldl -lpthread

# STIOL in an object of its own, so that the program is rebound like any other object.
$(STIOL_TESTS)/libsubject.so: $(STIOL_HARNESS) $(STIOL_LIBRARY) $(BUILD)/libst.a
	$(QLD) $(CFLAGS) $(LDFLAGS) -shared -Wl,-soname,$(@F) -o $@ \
	    -Wl,--whole-archive $^ -Wl,--no-whole-archive -ldl -lpthread
$(STIOL_TESTS)/test_tls $(STIOL_TESTS)/test_carry: %: %.o $(STIOL_TESTS)/libsubject.so \
                         $(STIOL_LINKED) $(STIOL_LOCALS) | $(STIOL_LOCALS_LATE)
	$(QLD) $(CFLAGS) $(LDFLAGS) -o $@ $^ -Wl,-rpath,'$$ORIGIN' -Wl,--no-as-needed \
	    $(TEST_CMOCKA) -ldl -lpthread

# The same test with libapr linked into the program, as some build httpd.
STIOL_STATIC_APR := $(wildcard \
    $(shell $(PKG_CONFIG) --variable=libdir apr-1 2>/dev/null)/libapr-1.a)
$(STIOL_TESTS)/test_apr_static: $(STIOL_TESTS)/test_apr.o $(STIOL_TESTS)/libsubject.so \
                                $(STIOL_LINKED) | $(STIOL_LATE)
	$(QLD) $(CFLAGS) $(LDFLAGS) -rdynamic -o $@ $^ -Wl,-rpath,'$$ORIGIN' -Wl,--no-as-needed \
	    $(STIOL_STATIC_APR) $(TEST_CMOCKA) -luuid -lcrypt -ldl -lpthread
ifneq ($(and $(filter apr,$(STIOL_SUBJECTS)),$(STIOL_STATIC_APR)),)
STIOL_PROGRAMS += $(STIOL_TESTS)/test_apr_static
endif

# The real libraries, where their headers are installed.
$(STIOL_TESTS)/test_apr.o: STIOL_TEST_CFLAGS += $(APACHE_CFLAGS)
$(STIOL_TESTS)/test_apr: STIOL_TEST_LIBS = $(shell $(PKG_CONFIG) --libs apr-1 2>/dev/null)
$(STIOL_TESTS)/test_cxx: $(STIOL_TESTS)/libcxx.so
$(STIOL_TESTS)/test_glib.o: STIOL_TEST_CFLAGS += $(patsubst -I%,-isystem %,\
    $(shell $(PKG_CONFIG) --cflags glib-2.0 2>/dev/null))
$(STIOL_TESTS)/test_glib: STIOL_TEST_LIBS = $(shell $(PKG_CONFIG) --libs glib-2.0 2>/dev/null)
$(STIOL_TESTS)/test_openssl: STIOL_TEST_LIBS = \
    $(shell $(PKG_CONFIG) --libs libssl libcrypto 2>/dev/null)

ifneq ($(if $(TEST_SHIM),,$(shell command -v $(CXX))),)
CXX_TESTS := $(STIOL_TESTS)/test_join $(STIOL_TESTS)/test_cancel
$(CXX_TESTS:%=%.o): STIOL_TEST_CFLAGS += -DHAVE_CXX
$(CXX_TESTS): $(STIOL_TESTS)/libcxx_threads.so
endif
$(STIOL_TESTS)/test_cancel: $(STIOL_TESTS)/libcleanup.so
$(STIOL_TESTS)/test_tls.o: STIOL_TEST_CFLAGS += $(if $(shell command -v $(CXX)),-DHAVE_CXX)

$(STIOL_TESTS)/bench: $(STIOL_TESTS)/bench.o $(STIOL_OBJECTS) $(BUILD)/libst.a \
                      $(addprefix $(STIOL_TESTS)/lib,table.so linked_tls.so pointer_tls.so)
	$(QLD) $(CFLAGS) $(LDFLAGS) $(STIOL_LDFLAGS) -o $@ $^ -Wl,-rpath,'$$ORIGIN' -ldl -lpthread

.PRECIOUS: $(STIOL_TESTS)/%.o $(STIOL_TESTS)/lib/%.o
-include $(wildcard $(STIOL_TESTS)/*.d $(STIOL_TESTS)/lib/*.d)

# --- the variants ---

STIOL_DEBUG_BUILD := -DSTIOL_DEBUG -DSTM_DEBUG

.PHONY: stiol-programs stiol-run test-stiol test-stiol-asan test-stiol-aarch64 bench-stiol \
        bench-files
stiol-programs: $(STIOL_PROGRAMS)
stiol-run: stiol-programs
	@tests/run.sh $(STIOL_PROGRAMS)

test-stiol: need-cmocka ## test STIOL, as shipped and with assertions
	@$(TEST_MAKE) stiol-programs
	@$(TEST_MAKE) BUILD=$(BUILD)/debug CPPFLAGS='$(CPPFLAGS) $(STIOL_DEBUG_BUILD)' stiol-programs
	@tests/run.sh $(STIOL_PROGRAMS) \
	    $(STIOL_SUBJECTS:%=$(BUILD)/debug/tests/stiol/test_%)

test-stiol-asan: need-cmocka ## the same under AddressSanitizer and UBSan
	@ASAN_OPTIONS=detect_leaks=1:detect_stack_use_after_return=0 $(ASAN_MAKE) $(CHECKS) stiol-run

test-stiol-aarch64: ## the same, cross-compiled, under qemu
ifeq ($(CAN_CROSS),yes)
	@$(CROSS_MAKE) CPPFLAGS='$(CPPFLAGS) $(STIOL_DEBUG_BUILD)' stiol-run
else
	@echo "$(CROSS_MISSING)"
endif

bench-stiol: $(STIOL_TESTS)/bench ## measure STIOL's hot calls, in nanoseconds
	$<

$(STIOL_TESTS)/bench_files: $(STIOL_TESTS)/bench_files.o
	$(QLD) $(CFLAGS) $(LDFLAGS) -o $@ $^ -lpthread
bench-files: $(STIOL_TESTS)/bench_files ## measure a read that waits, in two ways, in microseconds
	$<

SANITIZE_PARTS += stiol-asan $(if $(CAN_CROSS),stiol-aarch64)
