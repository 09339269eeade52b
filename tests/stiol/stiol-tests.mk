# SPDX-License-Identifier: Apache-2.0
#
# The tests of STIOL. Included by the root Makefile. STIOL is built for them once more, with the
# switches that take the remedies away (STIOL_TESTING); the code under test makes its calls from
# shared objects of its own.
#   test-stiol          as shipped, and the debug build
#   test-stiol-asan     AddressSanitizer and UndefinedBehaviorSanitizer
#   test-stiol-aarch64  cross-compiled, under qemu
#   bench-stiol         nanoseconds of the hot calls

STIOL_TESTS := $(BUILD)/tests/stiol
STIOL_SUBJECTS := $(sort $(patsubst tests/stiol/test_%.c,%,$(wildcard tests/stiol/test_*.c)))
# A cross build has neither the real libraries nor cmocka: UNIT_SHIM takes the unit tests' stand-in.
ifeq ($(origin CXX),default)
CXX := $(CC:%gcc=%g++)
endif
ifdef UNIT_SHIM
STIOL_SUBJECTS := $(filter-out apr aprmem aprtable curl cxx glib openssl,$(STIOL_SUBJECTS))
endif
# Without a C++ compiler, nothing to test.
ifeq ($(shell command -v $(CXX)),)
STIOL_SUBJECTS := $(filter-out cxx,$(STIOL_SUBJECTS))
endif
STIOL_PROGRAMS := $(STIOL_SUBJECTS:%=$(STIOL_TESTS)/test_%)
STIOL_LIBRARY  := $(STIOL_SOURCES:stiol/%.c=$(STIOL_TESTS)/lib/%.o)
STIOL_LINKED   := $(addprefix $(STIOL_TESTS)/lib,table.so threads.so now.so lazy.so noplt.so)
STIOL_LATE     := $(addprefix $(STIOL_TESTS)/lib,late.so own.so unbindable.so)
# Objects with thread-local variables: linked, and loaded later.
STIOL_LOCALS      := $(addprefix $(STIOL_TESTS)/lib,linked_tls.so static_tls.so)
STIOL_LOCALS_LATE := $(addprefix $(STIOL_TESTS)/lib,late_tls.so late_tls2.so late_tls3.so \
                       farewells.so)

STIOL_TEST_CFLAGS = $(if $(UNIT_SHIM),-Itests/unit/shim) $(OWN_CFLAGS) -DSTIOL_TESTING \
    -Itests/stiol -DOBJECTS='"$(abspath $(STIOL_TESTS))"' \
    -DMANUAL='"$(abspath docs/internals/stiol.md)"'

$(STIOL_TESTS)/lib/%.o: stiol/%.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) $(STIOL_TEST_CFLAGS) -MMD -MP -c -o $@ $<

$(STIOL_TESTS)/%.o: tests/stiol/%.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) $(STIOL_TEST_CFLAGS) -MMD -MP -c -o $@ $<

# --- the objects that make the calls ---

STIOL_OBJECT_CC = @mkdir -p $(@D); $(CC) $(CPPFLAGS) $(CFLAGS) $(OWN_CFLAGS) -Wno-shadow -shared \
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
# C++ with its own runtime.
$(STIOL_TESTS)/libcxx.so: tests/stiol/objects/cxx.cc tests/stiol/objects/cxx.h $(BUILD)/flags
	@mkdir -p $(@D)
	$(CXX) $(CPPFLAGS) $(CFLAGS) -std=c++20 -Wall -Wextra -Werror -fPIC -shared \
	    -Wl,-soname,$(notdir $@) -o $@ $<
$(STIOL_TESTS)/libcleanup.so: tests/stiol/objects/cleanup.c $(BUILD)/flags
	$(STIOL_OBJECT_CC)
# C++'s threads.
$(STIOL_TESTS)/libcxx_threads.so: tests/stiol/objects/cxx_threads.cc $(BUILD)/flags
	@mkdir -p $(@D)
	$(CXX) $(CPPFLAGS) $(CFLAGS) -std=c++17 -Wall -Wextra -Werror -fPIC -pthread -shared \
	    -Wl,-soname,$(notdir $@) -MMD -o $@ $<
# Its reference to poll() is in its code.
$(STIOL_TESTS)/libunbindable.so: tests/stiol/objects/unbindable.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(CC) -O1 -std=gnu11 -fPIC -shared -Wl,-z,notext -w -o $@ $<

$(STIOL_TESTS)/liblinked_tls.so: tests/stiol/objects/locals.c $(BUILD)/flags
	$(STIOL_OBJECT_CC) -DWHERE=linked_locals -DNUMBER=1 -DSIZE=1
$(STIOL_TESTS)/libstatic_tls.so: tests/stiol/objects/locals.c $(BUILD)/flags
	$(STIOL_OBJECT_CC) -DWHERE=static_locals -DNUMBER=2 -DSIZE=13 -ftls-model=initial-exec
$(STIOL_TESTS)/libpointer_tls.so: tests/stiol/objects/pointer.c $(BUILD)/flags
	$(STIOL_OBJECT_CC)
$(STIOL_TESTS)/liblate_tls.so: tests/stiol/objects/locals.c $(BUILD)/flags
	$(STIOL_OBJECT_CC) -DWHERE=late_locals -DNUMBER=3 -DSIZE=77
# Descriptors, which are what aarch64 has always.
STIOL_GNU2 := $(if $(findstring x86_64,$(shell $(CC) -dumpmachine)),-mtls-dialect=gnu2)
$(STIOL_TESTS)/liblate_tls2.so: tests/stiol/objects/locals.c $(BUILD)/flags
	$(STIOL_OBJECT_CC) -DWHERE=late_locals -DNUMBER=4 -DSIZE=3001 $(STIOL_GNU2)
$(STIOL_TESTS)/liblate_tls3.so: tests/stiol/objects/locals.c $(BUILD)/flags
	$(STIOL_OBJECT_CC) -DWHERE=late_locals -DNUMBER=5 -DSIZE=9 -ftls-model=initial-exec
$(STIOL_TESTS)/libfarewells.so: tests/stiol/objects/farewells.cpp $(BUILD)/flags
	@mkdir -p $(@D)
	$(CXX) $(CPPFLAGS) $(CFLAGS) -Wall -Wextra -Werror -fPIC -shared -o $@ $<

# --- the programs ---

$(STIOL_TESTS)/test_%: $(STIOL_TESTS)/test_%.o $(STIOL_TESTS)/harness.o $(STIOL_LIBRARY) \
                       $(BUILD)/libst.a $(STIOL_LINKED) | $(STIOL_LATE)
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ -Wl,-rpath,'$$ORIGIN' -Wl,--no-as-needed \
	    $(if $(UNIT_SHIM),,-lcmocka $(STIOL_TEST_LIBS)) -ldl -lpthread

# STIOL in an object of its own, so that the program is one like any other.
$(STIOL_TESTS)/libsubject.so: $(STIOL_TESTS)/harness.o $(STIOL_LIBRARY) $(BUILD)/libst.a
	$(CC) $(CFLAGS) $(LDFLAGS) -shared -Wl,-soname,$(@F) -o $@ \
	    -Wl,--whole-archive $^ -Wl,--no-whole-archive -ldl -lpthread
$(STIOL_TESTS)/test_tls: $(STIOL_TESTS)/test_tls.o $(STIOL_TESTS)/libsubject.so $(STIOL_LINKED) \
                         $(STIOL_LOCALS) | $(STIOL_LOCALS_LATE)
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ -Wl,-rpath,'$$ORIGIN' -Wl,--no-as-needed \
	    $(if $(UNIT_SHIM),,-lcmocka) -ldl -lpthread

# The real libraries, where their headers are.
$(STIOL_TESTS)/test_apr.o: STIOL_TEST_CFLAGS += $(APACHE_CFLAGS)
$(STIOL_TESTS)/test_apr: STIOL_TEST_LIBS = $(shell $(PKG_CONFIG) --libs apr-1 2>/dev/null)
# Small pools, where APR's headers are.
ifneq ($(filter -isystem,$(APACHE_CFLAGS)),)
APRMEM_TESTED := $(patsubst aprmem/%.c,$(STIOL_TESTS)/aprmem/%.o,$(wildcard aprmem/*.c))
endif
$(STIOL_TESTS)/aprmem/%.o: aprmem/%.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) $(STIOL_TEST_CFLAGS) $(APACHE_CFLAGS) -MMD -MP -c -o $@ $<
APRMEM_PROGRAMS := $(STIOL_TESTS)/test_aprmem $(STIOL_TESTS)/test_aprtable
$(APRMEM_PROGRAMS:%=%.o): STIOL_TEST_CFLAGS += $(APACHE_CFLAGS)
$(APRMEM_PROGRAMS): $(APRMEM_TESTED)
$(APRMEM_PROGRAMS): STIOL_TEST_LIBS = $(shell $(PKG_CONFIG) --libs apr-1 apr-util-1 2>/dev/null)
$(STIOL_TESTS)/test_cxx: $(STIOL_TESTS)/libcxx.so
$(STIOL_TESTS)/test_glib.o: STIOL_TEST_CFLAGS += $(patsubst -I%,-isystem %,\
    $(shell $(PKG_CONFIG) --cflags glib-2.0 2>/dev/null))
$(STIOL_TESTS)/test_glib: STIOL_TEST_LIBS = $(shell $(PKG_CONFIG) --libs glib-2.0 2>/dev/null)
$(STIOL_TESTS)/test_openssl: STIOL_TEST_LIBS = \
    $(shell $(PKG_CONFIG) --libs libssl libcrypto 2>/dev/null)

ifneq ($(if $(UNIT_SHIM),,$(shell command -v $(CXX))),)
CXX_TESTS := $(STIOL_TESTS)/test_join $(STIOL_TESTS)/test_cancel
$(CXX_TESTS:%=%.o): STIOL_TEST_CFLAGS += -DHAVE_CXX
$(CXX_TESTS): $(STIOL_TESTS)/libcxx_threads.so
endif
$(STIOL_TESTS)/test_cancel: $(STIOL_TESTS)/libcleanup.so

$(STIOL_TESTS)/bench: $(STIOL_TESTS)/bench.o $(STIOL_OBJECTS) $(BUILD)/libst.a \
                      $(addprefix $(STIOL_TESTS)/lib,table.so linked_tls.so pointer_tls.so)
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ -Wl,-rpath,'$$ORIGIN' -ldl -lpthread

.PRECIOUS: $(STIOL_TESTS)/%.o $(STIOL_TESTS)/lib/%.o $(STIOL_TESTS)/aprmem/%.o
-include $(wildcard $(STIOL_TESTS)/*.d $(STIOL_TESTS)/lib/*.d $(STIOL_TESTS)/aprmem/*.d)

# --- the variants ---

STIOL_DEBUG_BUILD := -DSTIOL_DEBUG -DSTM_DEBUG
STIOL_SANITIZE    := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
STIOL_MAKE        := $(MAKE) --no-print-directory -s
STIOL_CROSS       := aarch64-linux-gnu-
STIOL_QEMU        := qemu-aarch64
STIOL_CAN_CROSS   := $(and $(shell command -v $(STIOL_CROSS)gcc),\
                       $(shell command -v $(STIOL_QEMU)),yes)

.PHONY: stiol-programs stiol-run test-stiol test-stiol-asan test-stiol-aarch64 bench-stiol
stiol-programs: $(STIOL_PROGRAMS)
stiol-run: stiol-programs
	@UNIT_TIMEOUT=$${UNIT_TIMEOUT:-120} tests/unit/run.sh $(STIOL_PROGRAMS)

test-stiol: need-cmocka
	@$(STIOL_MAKE) stiol-programs
	@$(STIOL_MAKE) BUILD=$(BUILD)/debug CPPFLAGS='$(CPPFLAGS) $(STIOL_DEBUG_BUILD)' stiol-programs
	@UNIT_TIMEOUT=120 tests/unit/run.sh $(STIOL_PROGRAMS) \
	    $(STIOL_SUBJECTS:%=$(BUILD)/debug/tests/stiol/test_%)

test-stiol-asan: need-cmocka
	@ASAN_OPTIONS=detect_leaks=1:detect_stack_use_after_return=0 \
	    UBSAN_OPTIONS=print_stacktrace=1 $(STIOL_MAKE) BUILD=$(BUILD)/asan \
	    CPPFLAGS='$(CPPFLAGS) $(STIOL_DEBUG_BUILD)' CFLAGS='-O1 -g $(STIOL_SANITIZE)' stiol-run

test-stiol-aarch64:
ifeq ($(STIOL_CAN_CROSS),yes)
	@UNIT_WRAP='$(STIOL_QEMU) -L /usr/aarch64-linux-gnu' UNIT_TIMEOUT=300 \
	    $(STIOL_MAKE) BUILD=$(BUILD)/aarch64 CC=$(STIOL_CROSS)gcc AR=$(STIOL_CROSS)ar \
	    UNIT_SHIM=1 CPPFLAGS='$(CPPFLAGS) $(STIOL_DEBUG_BUILD)' stiol-run
else
	@echo "skipped: aarch64 needs $(STIOL_CROSS)gcc and $(STIOL_QEMU)"
endif

bench-stiol: $(STIOL_TESTS)/bench
	$<

UNIT_TESTS += test-stiol
SANITIZE_PARTS += stiol-asan $(if $(STIOL_CAN_CROSS),stiol-aarch64)
