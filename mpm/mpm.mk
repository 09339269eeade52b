# SPDX-License-Identifier: Apache-2.0
#
# mod_mpm_stm.so, with libst, STIOL and small pools linked in: one file is all that has to be
# copied.

MPM_SOURCES := $(wildcard mpm/*.c mpm/*/*.c aprmem/*.c)
MPM_OBJECTS := $(MPM_SOURCES:%.c=$(BUILD)/%.o)
MPM_CFLAGS   = $(OWN_CFLAGS) -fvisibility=hidden $(CPPFLAGS) $(APACHE_CFLAGS) $(HARDENING) $(CFLAGS)
# httpd's symbols are resolved when httpd loads the module.
MPM_LDFLAGS := -shared $(LDHARDEN) -Wl,--unresolved-symbols=ignore-all \
               -Wl,--exclude-libs,libst.a

# An APR with pool debugging says so in the flags of apxs.
MPM_POOL_DEBUG = $(filter -DAPR_POOL_DEBUG%,$(APACHE_CFLAGS) $(CPPFLAGS))

# In debug builds, each procedure reports that it begins (mpm/trace.c).
MPM_TRACED := $(if $(findstring -DSTM_DEBUG,$(CPPFLAGS)),-finstrument-functions \
                -finstrument-functions-exclude-file-list=include/)

$(MPM_OBJECTS): $(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(QCC) $(MPM_CFLAGS) $(if $(filter mpm/%,$<),$(MPM_TRACED)) -MMD -MP -c -o $@ $<

$(BUILD)/mod_mpm_stm.so: $(MPM_OBJECTS) $(SCORE_OBJECTS) $(BUILD)/libstiol.a $(BUILD)/libst.a
	$(QLD) $(CFLAGS) $(LDFLAGS) $(MPM_LDFLAGS) -o $@ $^ -ldl -lpthread
	$(if $(MPM_POOL_DEBUG),@echo "  SmallPools will have no effect: this APR debugs its pools" \
	    "(APR_POOL_DEBUG)")

PRODUCTS += $(BUILD)/mod_mpm_stm.so
-include $(MPM_OBJECTS:.o=.d)

# The dashboard's page is embedded in the object.
$(BUILD)/mpm/pages/dashboard.o: mpm/pages/dashboard.html
