# SPDX-License-Identifier: Apache-2.0
#
# Live tests: pytest against the stock httpd, and the small programs they use. `make test-live`;
# PYTEST_ARGS selects tests, STM_TEST_MPM=event runs them against another MPM.

# What starts whole clusters has a target of its own.
PYTEST_ARGS ?= tests/live --ignore tests/live/test_cluster.py

LIVE_TOOLS := $(addprefix $(BUILD)/tests/,conns load closed slowbackend refuse mod_probe.so \
                mod_frames.so mod_locals.so mod_calls.so mod_cxx.so mod_vandal.so mod_where.so \
                mod_asks.so slow_names.so unbindable.so libnss_slow.so.2 other_libc.so \
                vgpreload_bigpages.so clock_step.so stopped_clock.so \
                upgrade-layout.so upgrade-handover.so older-headers.so)
LIVE_CXX    ?= g++
LIVE_CFLAGS = $(CPPFLAGS) $(CFLAGS) $(OWN_CFLAGS)

$(BUILD)/tests/%: tests/live/tools/%.c $(wildcard tests/live/tools/*.h)
	@mkdir -p $(@D)
	$(QCC) $(LIVE_CFLAGS) -o $@ $(filter %.c,$^) $(LDFLAGS)

$(addprefix $(BUILD)/tests/,conns load closed): tests/live/tools/response.c
$(addprefix $(BUILD)/tests/,conns load closed slowbackend): lab/dial.c lab/dial.h

$(BUILD)/tests/mod_%.so: tests/live/modules/mod_%.c
	@mkdir -p $(@D)
	$(QCC) $(LIVE_CFLAGS) $(APACHE_CFLAGS) -shared -o $@ $< $(LDFLAGS)

$(BUILD)/tests/mod_%.so: tests/live/modules/mod_%.cpp
	@mkdir -p $(@D)
	$(call quiet,CXX)$(LIVE_CXX) $(CPPFLAGS) -O2 -g -std=gnu++20 -Wall -Wextra -Werror -fPIC -pthread \
	    $(APACHE_CFLAGS) -shared -o $@ $< $(LDFLAGS)

# For the httpd that APXS= names, like the module.
$(filter $(BUILD)/tests/mod_%.so,$(LIVE_TOOLS)): $(BUILD)/flags
$(BUILD)/tests/mod_locals.so $(BUILD)/tests/mod_where.so: tests/live/modules/current_thread.h

$(BUILD)/tests/%.so: tests/live/waits/%.c
	@mkdir -p $(@D)
	$(QCC) $(LIVE_CFLAGS) -shared -o $@ $< $(LDFLAGS)

$(BUILD)/tests/vgpreload_bigpages.so: tests/live/tools/bigpages.c
$(BUILD)/tests/other_libc.so: tests/live/tools/other_libc.c
$(addprefix $(BUILD)/tests/,vgpreload_bigpages.so other_libc.so):
	@mkdir -p $(@D)
	$(QCC) $(LIVE_CFLAGS) -shared -o $@ $< $(LDFLAGS)

$(BUILD)/tests/clock_step.so: tests/live/tools/clock_step.c
$(BUILD)/tests/stopped_clock.so: tests/live/tools/stopped_clock.c
$(addprefix $(BUILD)/tests/,clock_step.so stopped_clock.so):
	@mkdir -p $(@D)
	$(QCC) $(LIVE_CFLAGS) -shared -o $@ $< $(LDFLAGS)

$(BUILD)/tests/libnss_slow.so.2: tests/stiol/objects/nss_slow.c
	@mkdir -p $(@D)
	$(QCC) $(LIVE_CFLAGS) -shared -Wl,-soname,$(@F) -o $@ $< $(LDFLAGS)

$(addprefix $(BUILD)/tests/,slow_names.so libnss_slow.so.2): tests/stiol/objects/gate.h

# Its reference to poll() is a text relocation.
$(BUILD)/tests/unbindable.so: tests/stiol/objects/unbindable.c
	@mkdir -p $(@D)
	$(QCC) -O1 -std=gnu11 -fPIC -shared -Wl,-z,notext -w -o $@ $<

# Other builds of the module, for upgrades: one with another layout of what a master retains, one
# with another way of handing over.
UPGRADE_FLAGS_layout   := -DSTM_LAYOUT=1000
UPGRADE_FLAGS_handover := -DSTM_LAYOUT=1000 -DSTM_HANDOVER=1000
UPGRADE_CHANGED := stamp configtest
UPGRADE_MODULE   = $(MPM_OBJECTS) $(SCORE_OBJECTS) $(BUILD)/libstiol.a $(BUILD)/libst.a

$(BUILD)/tests/upgrade-%.so: $(UPGRADE_MODULE)
	@mkdir -p $(@D)
	$(Q)$(foreach name,$(UPGRADE_CHANGED),$(CC) $(MPM_CFLAGS) $(UPGRADE_FLAGS_$*) -c \
	    -o $(BUILD)/tests/$*-$(name).o mpm/process/$(name).c &&) true
	$(QLD) $(CFLAGS) $(LDFLAGS) $(MPM_LDFLAGS) -o $@ $(UPGRADE_CHANGED:%=$(BUILD)/tests/$*-%.o) \
	    $(filter-out $(UPGRADE_CHANGED:%=$(BUILD)/mpm/process/%.o),$^) -ldl -lpthread

# The module as the headers of 2.4.58 make it: an httpd that is newer may load it. Its scoreboard
# has longer rows than those headers say.
OLDER_HEADERS := $(BUILD)/tests/older-headers
OLDER_CHANGED := conn/conn conn/hooks conn/known_modules conn/record process/children process/fit \
                 process/query process/retained process/vp

$(BUILD)/tests/older-headers.so: $(UPGRADE_MODULE)
	@rm -rf $(OLDER_HEADERS) && mkdir -p $(OLDER_HEADERS)
	@cp -r '$(shell $(APXS) -q INCLUDEDIR)/.' $(OLDER_HEADERS)
	@sed -i -E 's/^(#define MODULE_MAGIC_NUMBER_MINOR) .*/\1 129/' $(OLDER_HEADERS)/ap_mmn.h
	@sed -i '/^ *apr_uint32_t wait_io;/d' $(OLDER_HEADERS)/scoreboard.h
	$(Q)$(foreach name,$(OLDER_CHANGED),$(CC) -isystem $(OLDER_HEADERS) $(MPM_CFLAGS) -c \
	    -o $(OLDER_HEADERS)/$(notdir $(name)).o mpm/$(name).c &&) true
	$(QLD) $(CFLAGS) $(LDFLAGS) $(MPM_LDFLAGS) -o $@ \
	    $(foreach name,$(OLDER_CHANGED),$(OLDER_HEADERS)/$(notdir $(name)).o) \
	    $(filter-out $(OLDER_CHANGED:%=$(BUILD)/mpm/%.o),$^) -ldl -lpthread

.PHONY: test-live live-tools
live-tools: $(LIVE_TOOLS) slowfs

test-live: ## test with the stock httpd; PYTEST_ARGS='tests/live/test_x.py -k name'
test-live: live-tools $(BUILD)/mod_mpm_stm.so
	$(Q)$(if $(filter file,$(origin APXS)),,STM_TEST_APXS='$(APXS)' STM_TEST_HTTPD='$(HTTPD)') \
	    $(PYTEST_SHARED) $(PYTEST_ARGS)

.PHONY: test-cluster
test-cluster: ## test a front server with its backends, in network namespaces; as root
test-cluster: live-tools $(BUILD)/mod_mpm_stm.so
	@scripts/deps.sh run test
	$(Q)$(PYTEST) tests/live/test_cluster.py
