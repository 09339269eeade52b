# SPDX-License-Identifier: Apache-2.0
#
# The tests of stmstat: `make test-stmstat`; STMSTAT_ARGS selects some of them. They also run it on
# the sample of the reader's tests.

.PHONY: test-stmstat
test-stmstat: ## test stmstat and the scoreboards' reader; STMSTAT_ARGS=
test-stmstat: $(SCORE_TESTS)/sample $(BUILD)/stmstat/stmstat
	$(Q)$(PYTEST_SHARED) tests/stmstat $(STMSTAT_ARGS)
