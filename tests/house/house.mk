# SPDX-License-Identifier: Apache-2.0
#
# Tests of the scripts that build, start, stop, install and count: `make test-house`. HOUSE_ARGS
# choose among them.

.PHONY: test-house
test-house: $(PRODUCTS)
	STM_TEST_BUILD='$(BUILD)' PYTHONDONTWRITEBYTECODE=1 \
	    $(PYTHON) -m pytest -q -p no:cacheprovider tests/house $(HOUSE_ARGS)
