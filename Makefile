# SPDX-License-Identifier: Apache-2.0
#
# STM, state threads for Apache httpd: the one Makefile. Each part brings its own fragment (st/st.mk, stiol/stiol.mk,
# mpm/mpm.mk, ...), which says what the part is made of, and adds to these lists:
#   PRODUCTS    what `make` builds            UNIT_TESTS  test targets that need no server, run by `make test`
# A variant is built into another folder: make BUILD=build/debug CPPFLAGS="-DSTM_DEBUG -DSTIOL_DEBUG"

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules
.SUFFIXES:

BUILD   ?= build
VERSION := 0.1.0

# --- the user's: CC, CPPFLAGS, CFLAGS, LDFLAGS -----------------------------------------------------------------------
ifeq ($(origin CC),default)
CC := gcc
endif
CFLAGS ?= -O2 -g

# --- the project's ---------------------------------------------------------------------------------------------------
WARNINGS := -Wall -Wextra -Wshadow -Wconversion -Werror
# "_GNU_SOURCE=" and not "_GNU_SOURCE": a file that defines it itself then says the same thing.
OWN_CFLAGS := -std=gnu11 $(WARNINGS) -fPIC -fno-strict-aliasing -pthread -D_GNU_SOURCE= -Iinclude -Ist -Istiol

# Apache's and APR's headers are not ours to warn about: -isystem. Empty while apache2-dev is missing.
APXS          ?= apxs
PKG_CONFIG    ?= pkg-config
APACHE_CFLAGS := $(patsubst -I%,-isystem %,$(filter-out -D_GNU_SOURCE%,\
                   $(addprefix -I,$(shell $(APXS) -q INCLUDEDIR 2>/dev/null)) \
                   $(shell $(APXS) -q EXTRA_CPPFLAGS 2>/dev/null) \
                   $(shell $(PKG_CONFIG) --cflags apr-1 apr-util-1 2>/dev/null)))
APACHE_MODULES := $(shell $(APXS) -q LIBEXECDIR 2>/dev/null)
HTTPD         ?= $(firstword $(wildcard /usr/sbin/apache2 /usr/sbin/httpd))

PRODUCTS   :=
UNIT_TESTS :=

-include st/st.mk
-include stiol/stiol.mk
-include mpm/mpm.mk
-include stmstat/stmstat.mk
-include tests/unit/unit.mk
-include tests/stiol/stiol-tests.mk
-include bench/micro/micro.mk
-include bench/httpd/httpd.mk

.PHONY: all
all: $(PRODUCTS)

# Objects are made again when the flags change.
SOURCES := $(wildcard st/*.[cS] stiol/*.[cS] mpm/*.[cS] stmstat/*.[cS])
$(addprefix $(BUILD)/,$(addsuffix .o,$(basename $(SOURCES)))): $(BUILD)/flags
.PHONY: force
$(BUILD)/flags: force
	@mkdir -p $(@D)
	@echo '$(subst ','\'',$(CC) $(CPPFLAGS) $(CFLAGS) $(OWN_CFLAGS) $(APACHE_CFLAGS))' | cmp -s - $@ || \
	    echo '$(subst ','\'',$(CC) $(CPPFLAGS) $(CFLAGS) $(OWN_CFLAGS) $(APACHE_CFLAGS))' > $@

.PHONY: clean
clean:
	rm -rf $(BUILD)
