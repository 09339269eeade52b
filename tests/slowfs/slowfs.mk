# SPDX-License-Identifier: Apache-2.0
#
# slowfs, the slow file system of the live tests and of bench/httpd; main.c says what it does. If
# libfuse is missing, it is not built, and what needs it is skipped with a message.

SLOWFS         := $(BUILD)/tests/slowfs
SLOWFS_SOURCES := $(addprefix tests/slowfs/,main.c calls.c control.c gate.c tree.c)
SLOWFS_CFLAGS  := $(patsubst -I%,-isystem %,$(shell $(PKG_CONFIG) --cflags fuse3 2>/dev/null))
SLOWFS_LIBS    := $(shell $(PKG_CONFIG) --libs fuse3 2>/dev/null)

$(SLOWFS): $(SLOWFS_SOURCES) tests/slowfs/slowfs.h
	@mkdir -p $(@D)
	$(QLD) $(CPPFLAGS) $(CFLAGS) $(OWN_CFLAGS) $(SLOWFS_CFLAGS) -o $@ $(SLOWFS_SOURCES) \
	    $(LDFLAGS) $(SLOWFS_LIBS)

.PHONY: slowfs
slowfs: $(if $(SLOWFS_LIBS),$(SLOWFS))
