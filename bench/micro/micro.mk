# SPDX-License-Identifier: Apache-2.0
#
# Microbenchmarks of libst's primitives beside those of State Threads 1.9: each source is built
# twice, against Debian's libst and against ours. `make bench-micro` runs both in turn and prints
# medians and ratios. Included by the root Makefile.

MICRO_DIR   := $(BUILD)/bench/micro
MICRO_NAMES := yield create_join mutex cond timer wake
MICRO_OURS  := $(addprefix $(MICRO_DIR)/,$(MICRO_NAMES))
MICRO_ST19  := $(addsuffix .st19,$(MICRO_OURS))
# 1.9's header must be found before ours.
MICRO_ST19_CFLAGS = $(filter-out -Iinclude -I.,$(OWN_CFLAGS)) -DMICRO_ST19

$(MICRO_OURS): $(MICRO_DIR)/%: bench/micro/%.c bench/micro/micro.h $(BUILD)/libst.a
	@mkdir -p $(@D)
	$(QCC) $(CPPFLAGS) $(CFLAGS) $(OWN_CFLAGS) $(LDFLAGS) -o $@ $< $(BUILD)/libst.a

$(MICRO_ST19): $(MICRO_DIR)/%.st19: bench/micro/%.c bench/micro/micro.h | need-st19
	@mkdir -p $(@D)
	$(QCC) $(CFLAGS) $(MICRO_ST19_CFLAGS) $(LDFLAGS) -o $@ $< -lst

.PHONY: need-st19 bench-micro
need-st19:
	@[ -r /usr/include/st.h ] || \
	    { echo "State Threads 1.9 is missing, there is nothing to compare with:" \
	        "install the package libst-dev (or run make bench, which does)" >&2; exit 1; }

# More rounds give steadier figures. The figures go to $(BUILD)/bench/micro.json too.
MICRO_ROUNDS ?= $(if $(QUICK),1,5)
bench-micro: ## compare libst's primitives with State Threads 1.9's; MICRO_ROUNDS=5
bench-micro: need-st19 $(MICRO_OURS) $(MICRO_ST19)
	@PYTHONDONTWRITEBYTECODE=1 $(PYTHON) -m bench.micro.run --rounds $(MICRO_ROUNDS) \
	    --json $(BUILD)/bench/micro.json $(MICRO_OURS)
