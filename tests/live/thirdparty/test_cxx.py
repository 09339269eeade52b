# SPDX-License-Identifier: Apache-2.0
"""A module in C++ (tests/live/modules/mod_cxx.cpp): exceptions, statics, thread_local objects, and
threads, futures and locks of the standard library.
"""

import pytest

from harness import tool
from tests.live.waits.gates import FileGate
from tests.live.waits.inflight import InFlight, quick

from .pair import CLIENTS, Pair, hold

HELD = {
    "caught": "{0} inner {0} {0} 0 none",
    "unwound": "{0} 1 0",
    "carried": "carried {0}",
    "thread_local_kept": "{0} {0} {0} {0} 1 there",
    "thread_local_ends": "new 7 0 {0}",
    "thread_joined": "{0}.0 {0}.1 {0}.2 different",
    "future_got": "promised {0} async {0} waited",
    "asked_of_a_thread": "served {0}",
}
TOGETHER = {
    "static_made_after_failures": "3 of 3",
    "called_once": "1",
    "locked": "1 1 read had",
    "atomic_waited": "let go",
}


@pytest.fixture(name="pair", scope="module")
def _pair(serve_module):
    def prepare(server):
        server.gate = FileGate(server.private_folder("gate"))
    pair = Pair(serve_module, (), prepare, modules=(tool("mod_cxx.so"),), directives="""
        CxxGate @ROOT@/gate
        <LocationMatch "^/[a-z_]+$">
            SetHandler cxx
        </LocationMatch>
        """)
    yield pair
    for server in pair.servers:
        server.gate.open()
        server.gate.end()


@pytest.mark.parametrize("scene", HELD)
def test_held(pair, scene):
    """All of them are in the middle of it at the same time."""
    got = pair.compare(lambda server: hold(server, server.gate, f"/{scene}?{{}}"))
    assert got == [HELD[scene].format(n) + "\n" for n in range(CLIENTS)]
    if scene == "thread_local_ends":
        assert pair.compare(lambda server: server.get("/thread_locals_alive").text) == "0\n"


def test_a_static_whose_constructor_waits(pair):
    """One initializes it, and the others wait for that."""
    got = pair.compare(lambda server: hold(server, server.gate, "/static_made_once?{}", held=1))
    assert got == ["1 of 1\n"] * CLIENTS


@pytest.mark.parametrize("scene", TOGETHER)
def test_together(pair, scene):
    """All at the same time, each at its own speed."""
    def play(server):
        with InFlight(server, [f"/{scene}?{n}" for n in range(CLIENTS)]) as flight:
            quick(server)
            return [got.text for got in flight.finish()]
    assert pair.compare(play) == [TOGETHER[scene] + "\n"] * CLIENTS
