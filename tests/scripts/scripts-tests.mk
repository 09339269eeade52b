# SPDX-License-Identifier: Apache-2.0
#
# Tests of the scripts that build, start, stop, install and count: `make test-scripts`. SCRIPTS_ARGS
# selects some of them.

.PHONY: test-scripts
test-scripts: $(PRODUCTS) ## test scripts, makefiles and packaging; SCRIPTS_ARGS=
	$(Q)$(PYTEST_SHARED) tests/scripts $(SCRIPTS_ARGS)
