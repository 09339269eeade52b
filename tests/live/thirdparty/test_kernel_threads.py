# SPDX-License-Identifier: Apache-2.0
"""Interpreters on kernel threads (RunOn kernel): what they keep per thread goes along."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.live.waits.backends import Http

from . import test_lua, test_perl, test_python
from .pair import Pair

REQUESTS = 40  # on as many connections; as many are in progress at once as there are kernel threads
ON_KERNEL = """
    <IfModule stm.c>
        KernelThreads {threads}
        RunOn {run_on}
    </IfModule>
    """
# Requests that stay on the VP run in between, with the same interpreters.
KINDS = {"all": "kernel", "handlers": "kernel perl-script wsgi-script lua-map-handler"}
BOTH = pytest.mark.parametrize("kind", KINDS)


def pair(serve, kind, apps, module, directives):
    """The pair of servers of that module's own tests, with 8 kernel threads."""
    return Pair(serve, apps, modules=(module,),
                directives=directives + ON_KERNEL.format(threads=8, run_on=KINDS[kind]))


def texts(server, path):
    """The responses to each of the requests, each sent three times in a row on its connection."""
    def ask(number):
        with server.connect() as conn:
            return [conn.get(path.format(number)).text for _ in range(3)]
    with ThreadPoolExecutor(REQUESTS) as clients:
        return list(clients.map(ask, range(REQUESTS)))


@test_perl.pytestmark[0]
@test_perl.pytestmark[1]
@BOTH
def test_perl_interpreters(serve, backend, kind):
    two = pair(serve, kind, ["Waits.pm"], "perl", test_perl.DIRECTIVES)
    http = backend(Http)
    http.gate.open()
    for when in ("after", "before"):
        got = two.compare(lambda server, when=when: texts(
            server, f"/perl?{{}},{http.port},{when}"))
        assert got == [[test_perl.expected(n)] * 3 for n in range(REQUESTS)]


@test_python.pytestmark
@BOTH
def test_python_threads(serve, backend, kind):
    two = pair(serve, kind, ["waits_wsgi.py", "slow_import.py"], "wsgi", test_python.DIRECTIVES)
    http = backend(Http)
    http.gate.open()
    got = two.compare(lambda server: texts(server, f"/wsgi/own?{{}},{http.port}"))
    assert got == [[f"{n} {n} {n} {n} True\n"] * 3 for n in range(REQUESTS)]


@test_lua.pytestmark
@BOTH
@pytest.mark.parametrize("scope", ["once", "thread"])
def test_lua_states(serve, kind, scope):
    two = pair(serve, kind, ["waits.lua"], "lua", f"""
        LuaScope {scope}
        LuaMapHandler ^/lua @ROOT@/app/waits.lua handle
        """)

    def scene(server):
        def ask(number):
            with server.connect() as conn:
                return conn.get(f"/lua?{number}", method="POST", body=b"body",
                                headers=[f"X-Client: client {number}"]).text
        with ThreadPoolExecutor(REQUESTS) as clients:
            return list(clients.map(ask, range(REQUESTS)))
    assert two.compare(scene) == [test_lua.expected(n, "body") for n in range(REQUESTS)]
