# SPDX-License-Identifier: Apache-2.0
"""mod_wsgi in embedded mode: Python's threads, locks and imports."""

import pytest

from tests.live.waits.backends import Http
from tests.live.waits.inflight import InFlight, quick

from .pair import CLIENTS, Pair, needs

pytestmark = needs("wsgi")

DIRECTIVES = """
    WSGIPythonPath @ROOT@/app
    WSGIScriptAlias /wsgi @ROOT@/app/waits_wsgi.py
    WSGIApplicationGroup %{GLOBAL}
    <IfModule mpm_stm_module>
        StackSize 8388608
    </IfModule>
    """


@pytest.fixture(name="pair", scope="module")
def _pair(serve_module):
    return Pair(serve_module, ["waits_wsgi.py", "slow_import.py"], modules=("wsgi",),
                directives=DIRECTIVES)


def test_what_a_thread_has_of_its_own(pair, backend):
    http = backend(Http)
    got = pair.held(http.gate, f"/wsgi/own?{{}},{http.port}")
    assert got == [f"{n} {n} {n} {n} True\n" for n in range(CLIENTS)]


def test_threads_have_an_identity_each(pair, backend):
    http = backend(Http)

    def scene(server):
        http.gate.close()
        texts = [f"/wsgi/ident?{n},{http.port}" for n in range(CLIENTS)]
        with InFlight(server, texts) as flight:
            http.gate.wait_held(CLIENTS)
            quick(server)
            http.gate.open()
            pairs = [got.text.split() for got in flight.finish()]
        return len({first for first, _ in pairs}), all(a == b for a, b in pairs)
    assert pair.compare(scene) == (CLIENTS, True)


@pytest.mark.parametrize("page, answer", [
    ("recursive", "1 {}"), ("plain", "1"), ("semaphore", "True"), ("meet", "True"),
    ("imported", "42 1"), ("workers", "[('{0}', 'worker-{0}')] False"), ("handed", "True"),
    ("recursion", "RecursionError")])
def test_threads_share(pair, page, answer):
    """Locks of all kinds, a module that all import at once, threads of their own, a queue."""
    def scene(server):
        with InFlight(server, [f"/wsgi/{page}?{n},0" for n in range(CLIENTS)]) as flight:
            quick(server)
            return [got.text.strip() for got in flight.finish()]
    assert pair.compare(scene) == [answer.format(n) for n in range(CLIENTS)]


def test_programs(pair):
    """subprocess: input, output, status and the limit of open files, all at the same time."""
    def scene(server):
        with InFlight(server, [f"/wsgi/program?{n},0" for n in range(CLIENTS)]) as flight:
            quick(server)
            texts = [got.text.strip() for got in flight.finish()]
        limits = {text.split("'")[1] for text in texts}
        return limits, [text.split(", ", 1)[1] for text in texts]
    limits, texts = pair.compare(scene)
    assert len(limits) == 1
    assert texts == [f"'to {n} {n}', 3, '/nowhere']" for n in range(CLIENTS)]
