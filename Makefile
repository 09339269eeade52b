# SPDX-License-Identifier: Apache-2.0
#
# STM, state threads for Apache httpd: the one Makefile. Each part has its own fragment (st/st.mk,
# stiol/stiol.mk, mpm/mpm.mk, tests/st/st-tests.mk, ...), which lists the part's sources and adds
# what `make` builds to PRODUCTS. A variant is built into another folder:
#   make BUILD=build/debug CPPFLAGS="-DSTM_DEBUG -DSTIOL_DEBUG"

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules

BUILD   ?= build
VERSION := 0.1.0
# libst's own version, which continues State Threads 1.9.
LIBST_VERSION := $(shell sed -n 's/^.define ST_VERSION  *"\(.*\)"$$/\1/p' include/st.h)

# --- the user's: CC, CPPFLAGS, CFLAGS, LDFLAGS, and where to install -----------------------------
ifeq ($(origin CC),default)
CC := gcc
endif
CFLAGS       ?= -O2 -g
APXS         ?= apxs
PKG_CONFIG   ?= pkg-config
# An apxs that was named stands for its httpd: /usr/local/apache2/bin/apxs.
HTTPD        ?= $(if $(filter file,$(origin APXS)),$(firstword $(wildcard /usr/sbin/apache2 \
                    /usr/sbin/httpd)),$(shell $(APXS) -q SBINDIR 2>/dev/null)/$(shell \
                    $(APXS) -q PROGNAME 2>/dev/null))
# The distribution's own Python, for which its packages provide pytest.
PYTHON       ?= /usr/bin/python3
PREFIX       ?= /usr/local
LIBDIR       ?= $(PREFIX)/lib
INCLUDEDIR   ?= $(PREFIX)/include
PKGCONFIGDIR ?= $(LIBDIR)/pkgconfig
MANDIR       ?= $(PREFIX)/share/man
# Where httpd looks for modules and configuration, whatever PREFIX says.
MODULEDIR    ?= $(APACHE_MODULES)
SYSCONFDIR   ?= $(shell $(APXS) -q SYSCONFDIR 2>/dev/null)
MODS_AVAILABLE = $(SYSCONFDIR)/mods-available

# --- the project's -------------------------------------------------------------------------------
WARNINGS := -Wall -Wextra -Wshadow -Wconversion -Werror
# "_GNU_SOURCE=" and not "_GNU_SOURCE": a file that defines it itself then gives the same
# definition.
OWN_CFLAGS := -std=gnu11 $(WARNINGS) -fPIC -fno-strict-aliasing -pthread -D_GNU_SOURCE= \
              -Iinclude -I.

# Recipes print what they make (`CC mpm/conn/record.o`); V=1 shows the commands, and make -s prints
# nothing. Every makefile uses $(QCC) instead of $(CC) and the like, $(call quiet,GEN) before other
# kinds of command, $(Q)$(call say,INST,NAME) where the name is not the target's, and $(Q) before a
# command that has output of its own. Names are given without the build folder.
V     ?=
Q     := $(if $(filter-out 0,$(V)),,@)
SILENT = $(findstring s,$(firstword -$(MAKEFLAGS)))
say    = $(if $(Q),$(if $(SILENT),,printf '  %-4s %s\n' '$(1)' '$(2)';))
quiet  = $(Q)$(call say,$(1),$(@:build/%=%))
QCC    = $(call quiet,CC)$(CC)
QCXX   = $(call quiet,CXX)$(CXX)
QAS    = $(call quiet,AS)$(CC)
QLD    = $(call quiet,LD)$(CC)
QAR    = $(call quiet,AR)$(AR)

# The options of Debian's packages, and probes that keep frames from stepping over a guard page. Set
# HARDENING to empty for none of them. FORTIFY needs optimization, and hides from sanitizers what it
# checks itself. There is no -fcf-protection: the context switch does not support shadow stacks
# (st/switch_x86_64.S).
OPTIMIZED := $(filter-out -O0,$(lastword $(filter -O%,$(CFLAGS))))
FORTIFY   := $(if $(OPTIMIZED),$(if $(filter -fsanitize=%,$(CFLAGS))$(findstring \
                 _FORTIFY_SOURCE,$(CPPFLAGS) $(CFLAGS)),,-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2))
HARDENING ?= -fstack-protector-strong -fstack-clash-protection $(FORTIFY)
LDHARDEN  ?= -Wl,-z,relro,-z,now

# -isystem, for no warnings about Apache's and APR's headers. Empty without apache2-dev.
APACHE_CFLAGS := $(addprefix -I,$(shell $(APXS) -q INCLUDEDIR 2>/dev/null)) \
                 $(shell $(APXS) -q EXTRA_CPPFLAGS 2>/dev/null) \
                 $(if $(filter file,$(origin APXS)),,$(addprefix -I,\
                     $(shell $(APXS) -q APR_INCLUDEDIR 2>/dev/null) \
                     $(shell $(APXS) -q APU_INCLUDEDIR 2>/dev/null))) \
                 $(shell $(PKG_CONFIG) --cflags apr-1 apr-util-1 2>/dev/null)
APACHE_CFLAGS := $(patsubst -I%,-isystem %,$(filter-out -D_GNU_SOURCE%,$(APACHE_CFLAGS)))
APACHE_MODULES := $(shell $(APXS) -q LIBEXECDIR 2>/dev/null)

# --- the parts -----------------------------------------------------------------------------------
PRODUCTS :=

-include st/st.mk
-include stiol/stiol.mk
-include score/score.mk
-include mpm/mpm.mk
-include stmstat/stmstat.mk
-include lab/lab.mk
include tests/tests.mk
# STIOL's tests come first: those of the small pools depend on them.
include tests/stiol/stiol-tests.mk
include $(filter-out tests/stiol/%,$(sort $(wildcard tests/*/*.mk bench/*/*.mk)))

.PHONY: all
all: $(PRODUCTS) ## build libst, the module, stmstat and make_conn; V=1 shows the commands

# Objects are rebuilt when the compiler or its flags change.
SOURCES := $(wildcard st/*.[cS] stiol/*.[cS] aprmem/*.[cS] mpm/*.[cS] mpm/*/*.[cS] \
             score/*.[cS] stmstat/*.[cS])
OBJECTS := $(addprefix $(BUILD)/,$(addsuffix .o,$(basename $(SOURCES))))
$(OBJECTS): $(BUILD)/flags
FLAGS := $(CC) $(CPPFLAGS) $(HARDENING) $(CFLAGS) $(OWN_CFLAGS) $(APACHE_CFLAGS) $(STMSTAT_CFLAGS)
.PHONY: force
$(BUILD)/flags: force
	@mkdir -p $(@D)
	@echo '$(subst ','\'',$(FLAGS))' | cmp -s - $@ || echo '$(subst ','\'',$(FLAGS))' > $@

# Without httpd's headers, libst and STIOL can be built, but not the module: say so only then.
ifeq ($(and $(APACHE_MODULES),$(filter -isystem,$(APACHE_CFLAGS))),)
$(filter $(BUILD)/mpm/% $(BUILD)/aprmem/%,$(OBJECTS)): need-apache
.PHONY: need-apache
need-apache:
	@echo "httpd's headers are missing (APXS=$(APXS): $(APXS) -q INCLUDEDIR prints nothing)." >&2
	@echo "On Debian and Ubuntu, they are in the package apache2-dev; scripts/deps.sh run" >&2
	@echo "installs everything needed to build and run." >&2
	@false
endif

# --- run -----------------------------------------------------------------------------------------
MPM     ?= stm
PORT    ?= 8080
ADDRESS ?= 127.0.0.1
RUN     := BUILD='$(BUILD)' MPM='$(MPM)' PORT='$(PORT)' ADDRESS='$(ADDRESS)' HTTPD='$(HTTPD)' \
           APXS='$(APXS)' MPM_CONF='$(MPM_CONF)' scripts/run.sh

# What was missing when this Makefile was read (apxs) may have been installed since, hence $(MAKE).
.PHONY: run stop status deps-run
deps-run:
	@scripts/deps.sh run
run: deps-run ## start httpd; MPM=stm|event|worker|prefork PORT=8080 ADDRESS= APXS=
	@[ '$(MPM)' != stm ] || $(MAKE) --no-print-directory all
	@$(MAKE) --no-print-directory start-server
.PHONY: start-server
start-server:
	@$(RUN) start
# As root: its machines are network namespaces.
.PHONY: cluster
cluster: deps-run ## start a front server and three backends, as root; MPM=stm|event
	@$(MAKE) --no-print-directory all '$(BUILD)/tests/slowbackend'
	@BUILD='$(BUILD)' MPM='$(MPM)' HTTPD='$(HTTPD)' scripts/cluster.sh start
stop: ## stop what make run and make cluster started
	@$(RUN) stop
	@[ ! -e '$(BUILD)/cluster' ] || BUILD='$(BUILD)' scripts/cluster.sh stop
status: ## show the processes of that server
	@$(RUN) status

# --- test, bench, lint ---------------------------------------------------------------------------
# The parts of `make test` in order; each is a target test-PART. A failure does not keep the rest
# from running. The two lists run in parallel: the first mostly waits, the second mostly computes.
# Parts of one list may share a build folder; what both lists use is built first.
TEST_PARTS ?= live tiny -- st stiol aprmem score mpm stmstat budgets fuzz scripts
# The same tests on builds that check more: they take longer, and are run before a release.
test-long: TEST_PARTS = debug -- sanitize

.PHONY: test test-long
test: ## install missing packages, build, run the tests of all parts
test-long: ## the same with sanitizers, memcheck, assertions, random order of threads
test test-long:
	@scripts/deps.sh run test
	@$(MAKE) --no-print-directory $(if $(filter -j%,$(MAKEFLAGS)),,-j$$(nproc)) all live-tools
	@BUILD='$(BUILD)' scripts/test.sh $(TEST_PARTS)

.PHONY: bench deps-bench
deps-bench:
	@scripts/deps.sh run bench
bench: deps-bench ## compare stm with event, worker, prefork, nginx; QUICK=1: five minutes
	@$(MAKE) --no-print-directory bench-micro
	@$(MAKE) --no-print-directory bench-httpd

.PHONY: lint format
lint: ## check the form of all files and analyse the C sources
	@scripts/deps.sh run lint
	@$(MAKE) --no-print-directory lint-now
.PHONY: lint-now
lint-now:
	@OWN_CFLAGS='$(OWN_CFLAGS)' APACHE_CFLAGS='$(APACHE_CFLAGS)' scripts/lint.sh
.PHONY: hooks
hooks: ## make git check the form of what you commit (dev/pre-commit)
	@git config core.hooksPath dev
format: ## let clang-format rewrite the C sources
	@scripts/lint.sh --format

# --- install -------------------------------------------------------------------------------------
.PHONY: install install-lib install-module install-man
install: install-lib install-module install-man ## install everything; DESTDIR= PREFIX=/usr/local

# $(call put,FILE,DESTINATION[,MODE]) installs a file below DESTDIR.
put = $(Q)$(call say,INST,$(DESTDIR)$(2))install -D -m $(or $(3),644) '$(1)' '$(DESTDIR)$(2)'
# $(call fill,TEMPLATE,DESTINATION,SED-SCRIPT) installs what sed makes of a template.
fill = $(Q)$(call say,INST,$(DESTDIR)$(2))install -D -m 644 /dev/null '$(DESTDIR)$(2)' && \
       sed '$(3)' '$(1)' > '$(DESTDIR)$(2)'

install-lib: $(BUILD)/libst.a $(BUILD)/libst.so.2
	$(call put,$(BUILD)/libst.a,$(LIBDIR)/libst.a)
	$(call put,$(BUILD)/libst.so.2,$(LIBDIR)/libst.so.2)
	$(Q)$(call say,INST,$(DESTDIR)$(LIBDIR)/libst.so)ln -sf libst.so.2 '$(DESTDIR)$(LIBDIR)/libst.so'
	$(call put,include/st.h,$(INCLUDEDIR)/st.h)
	$(call fill,conf/st.pc.in,$(PKGCONFIGDIR)/st.pc,s|@PREFIX@|$(PREFIX)|; s|@LIBDIR@|$(LIBDIR)|; \
	    s|@INCLUDEDIR@|$(INCLUDEDIR)|; s|@VERSION@|$(LIBST_VERSION)|)

# A configuration file that the administrator has changed is kept, and the new one put beside it.
install-module: $(BUILD)/mod_mpm_stm.so
	@[ -n '$(MODULEDIR)' ] && [ -n '$(SYSCONFDIR)' ] || { \
	    echo "apxs (package apache2-dev) is missing: give MODULEDIR= SYSCONFDIR=" >&2; exit 1; }
	$(call put,$(BUILD)/mod_mpm_stm.so,$(MODULEDIR)/mod_mpm_stm.so)
	$(call fill,conf/mpm_stm.load.in,$(MODS_AVAILABLE)/mpm_stm.load,s|@MODULEDIR@|$(MODULEDIR)|)
	$(Q)conf='$(DESTDIR)$(MODS_AVAILABLE)/mpm_stm.conf'; \
	if [ -e "$$conf" ] && ! cmp -s conf/mpm_stm.conf "$$conf"; then \
	    echo "$$conf has been changed and is kept; the new one is $$conf.new"; \
	    conf=$$conf.new; fi; \
	$(call say,INST,'"$$conf"')install -D -m 644 conf/mpm_stm.conf "$$conf"

# One manual page for each call of st.h, generated from its comments.
$(BUILD)/man/libst.3: include/st.h scripts/man.awk
	@mkdir -p $(@D) && rm -f $(@D)/*.3
	$(call quiet,GEN)awk -v out=$(@D) -v version=$(LIBST_VERSION) -f scripts/man.awk include/st.h

install-man: $(BUILD)/man/libst.3
	$(Q)$(call say,INST,$(DESTDIR)$(MANDIR)/man*) \
	for page in $(wildcard docs/man/*.[1-8]) $(BUILD)/man/*.3; do \
	    install -D -m 644 $$page '$(DESTDIR)$(MANDIR)'/man$${page##*.}/$${page##*/} || exit 1; done

.PHONY: deb
deb: ## build the Debian packages in build/deb
	@scripts/deps.sh run deb
	@BUILD='$(BUILD)' scripts/deb.sh

.PHONY: clean help
clean: ## remove what was built
	@BUILD='$(BUILD)' scripts/run.sh clean
	$(Q)rm -rf '$(BUILD)'
help: ## print this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' \
	    Makefile $(filter-out Makefile,$(wildcard */*.mk */*/*.mk))
