# SPDX-License-Identifier: Apache-2.0
"""Tests with strace: skipped if the machine does not let it attach."""

from contextlib import contextmanager

import pytest

from harness.strace import NotPermitted


@contextmanager
def skipped_if_forbidden():
    """For code that attaches strace to a process."""
    try:
        yield
    except NotPermitted as reason:
        pytest.skip(f"strace may not attach: {reason}")
