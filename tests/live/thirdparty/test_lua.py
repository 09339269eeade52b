# SPDX-License-Identifier: Apache-2.0
"""mod_lua: an interpreter's state belongs to one request (connection, thread) at a time."""

import hashlib

import pytest

from tests.live.waits.inflight import InFlight, quick

from .pair import CLIENTS, Pair, needs

pytestmark = needs("lua")

ROUNDS = 3


@pytest.fixture(name="pair", scope="module", params=["once", "request", "conn", "thread"])
def _pair(serve_module, request):
    return Pair(serve_module, ["waits.lua"], modules=("lua",), name=f"lua_{request.param}",
                directives=f"""
        LuaScope {request.param}
        LuaMapHandler ^/lua @ROOT@/app/waits.lua handle
        """)


def expected(number, body):
    """What the handler returns if everything that it used was its own."""
    return (f"{number}, local {number}, {body}, false thrown by {number}, kept {number}, "
            f"<{number}><{number}><{number}>, {hashlib.md5(str(number).encode()).hexdigest()}, "
            f"client {number}, global\n")


def test_states_are_kept_apart(pair):
    """All headers have been sent, and the handlers wait for the bodies, which arrive in reverse
    order."""
    def scene(server):
        texts = []
        with InFlight(server, []) as flight:
            flight.conns += [server.connect() for _ in range(CLIENTS)]
            for round_ in range(ROUNDS):
                bodies = [f"body {round_} {n}" for n in range(CLIENTS)]
                for n, conn in enumerate(flight.conns):
                    conn.ask(f"/lua?{n}", method="POST", headers=[
                        f"Content-Length: {len(bodies[n])}", f"X-Client: client {n}"])
                quick(server, 2)
                assert flight.answered() == 0
                for conn, body in reversed(list(zip(flight.conns, bodies))):
                    conn.send(body.encode())
                texts += [got.text for got in flight.finish()]
        return texts
    assert pair.compare(scene) == [expected(n, f"body {round_} {n}") for round_ in range(ROUNDS)
                                   for n in range(CLIENTS)]
