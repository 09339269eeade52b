# SPDX-License-Identifier: Apache-2.0
"""As many listening sockets as state threads: no socket keeps a thread to itself that another
needs."""

import contextlib

import pytest
from harness import MPM
from harness.client import Conn

from .backends import Http

pytestmark = pytest.mark.skipif(MPM != "stm", reason="only state threads belong to a socket")

THREADS = 40


def ask(stack, port, path="/"):
    """Opens a connection and sends a request."""
    conn = stack.enter_context(Conn(port))
    conn.ask(path)
    return conn


def test_one_socket_gets_the_threads_of_all(serve, backend):
    most, last = backend(Http), backend(Http)
    server = serve(sized=False, ports=THREADS, modules=("proxy", "proxy_http"), directives=f"""
        NumVPs 1
        MaxThreads {THREADS}
        StackSize 131072
        ProxyPass /most/ http://127.0.0.1:{most.port}/ max={THREADS}
        ProxyPass /last/ http://127.0.0.1:{last.port}/ max={THREADS}
        """)
    with contextlib.ExitStack() as stack:
        held = [ask(stack, server.port, "/most/") for _ in range(THREADS - 1)]
        most.gate.wait_held(THREADS - 1)
        for port in server.ports[::7]:  # with the one thread that is left
            assert ask(stack, port).response().status == 200
        slow = ask(stack, server.port, "/last/")
        last.gate.wait_held(1)
        late = [ask(stack, port) for port in server.ports[1:]]
        last.gate.open()
        assert slow.response().status == 200
        assert all(conn.response().status == 200 for conn in late)
        assert most.gate.held == THREADS - 1
        most.gate.open()
        assert all(conn.response().status == 200 for conn in held)
