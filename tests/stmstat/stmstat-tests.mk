# SPDX-License-Identifier: Apache-2.0
#
# The tests of stmstat: `make test-stmstat`; STMSTAT_ARGS choose among them. They show it the sample
# of the reader's tests, too.

.PHONY: test-stmstat
test-stmstat: $(SCORE_TESTS)/sample $(BUILD)/stmstat/stmstat
	$(PYTEST) tests/stmstat $(STMSTAT_ARGS)
