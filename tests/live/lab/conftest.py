# SPDX-License-Identifier: Apache-2.0
"""The lab's parts (lab/*.py) can be imported; a server for each MPM, which ends with its file."""

import sys

import pytest
from harness import ROOT

sys.path.append(str(ROOT / "lab"))

import servers  # noqa: E402 (the path comes first)


@pytest.fixture(scope="module", params=servers.MPMS)
def each_mpm(request):
    """One server a MPM: three processes, each of which is replaced when it dies."""
    server = servers.make(request.param, "lab-three", sized=True, processes=3, threads=8,
                          directives="")
    servers.start(server)
    yield server
    server.stop()
