# SPDX-License-Identifier: Apache-2.0"""bench/httpd measures what it says: one of its scenarios, smaller, against a real server."""

import pytest

from bench.httpd import compare, scenarios


@pytest.mark.stm_only
def test_slow_backend():
    """All requests wait at one time, none is answered early, and the server grows by each."""
    small = scenarios.Scenario("test", "", scenarios.slow_backend(40), scenarios.Need(40, 40),
                               backend=True)
    got = compare.measure(small, "stm", scenarios.Run())
    assert got["failed"] == 0
    assert got["in flight"] == got["connections"] == 40
    assert got["p50 ms"] >= 1000
    assert got["PSS bytes/request"] > 4096
    assert got["kernel threads"] >= 3
