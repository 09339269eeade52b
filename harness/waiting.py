# SPDX-License-Identifier: Apache-2.0
"""Waiting for a condition, bounded in time.

The bound is far above what is expected: it ends a test that hangs, but never decides a result.
"""

import time

BOUND = 30.0  # seconds
STEP = 0.01


def wait_for(condition, what, bound=BOUND, step=STEP):
    """Calls `condition` until it returns something true, and returns that."""
    end = time.monotonic() + bound
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"waited {bound:.0f} s in vain: {what}")
        time.sleep(step)
