# SPDX-License-Identifier: Apache-2.0
"""A server for each MPM, which ends with its test file."""

import pytest

from harness import wait_for
from lab import mpms

# As many processes at rest as are allowed: their number stays the same, and each is replaced.
PREFORK = "StartServers 8\nMinSpareServers 8\nMaxSpareServers 9\n"


@pytest.fixture(scope="module", params=mpms.MPMS)
def each_mpm(request):
    """One server per MPM: three processes (prefork: eight), each of which is replaced if it
    dies."""
    prefork = request.param == "prefork"
    server = mpms.make(request.param, "lab-each", sized=True, processes=1 if prefork else 3,
                          threads=8, directives=PREFORK if prefork else "")
    mpms.start(server)
    wait_for(lambda: len(server.children()) == (8 if prefork else 3), "all processes", 90.0)
    yield server
    server.stop()
