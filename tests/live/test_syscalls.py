# SPDX-License-Identifier: Apache-2.0
"""The system calls that a connection costs, and their order."""

import re

import pytest

from harness import wait_for
from harness.strace import Trace

from .tracing import skipped_if_forbidden

pytestmark = pytest.mark.stm_only

COUNT = 10
PAGE = "/?asked"
CLOSE = ["Connection: close"]


def traced(server, calls, ask):
    """The trace of the only VP while `ask()` runs, one call per line."""
    with skipped_if_forbidden():
        tracer = Trace(server.children(), server.root / "strace.out", calls)
    try:
        ask()
    finally:
        trace = tracer.end()
    return trace.splitlines()


def asked(server):
    """Requests of ask_each_on_a_new_connection() that are logged."""
    return sum(PAGE in line for line in server.access_log())


def ask_each_on_a_new_connection(server):
    """COUNT requests whose connections end with them, until all are logged."""
    before = asked(server)
    for _ in range(COUNT):
        with server.connect() as conn:
            assert conn.get(PAGE, headers=CLOSE).status == 200
            assert conn.ended()
    wait_for(lambda: asked(server) == before + COUNT, "the last line of the log")


def endings(lines):
    """Responses that the kernel was told to hold for what follows, and what followed."""
    held = re.compile(r"sendmsg\((\d+), .*MSG_MORE")
    found = [(match.group(1), after) for line, after in zip(lines, lines[1:])
             if (match := held.search(line))]
    return [f"shutdown({fd}, SHUT_WR)" in after for fd, after in found]


def test_the_fin_goes_out_with_the_last_bytes(serve):
    """Nothing comes in between, not even the log's line, or else the client would wait for it."""
    server = serve(processes=1)
    lines = traced(server, "sendmsg,writev,write,shutdown",
                   lambda: ask_each_on_a_new_connection(server))
    assert endings(lines) == [True] * COUNT, lines
    assert sum("shutdown(" in line for line in lines) == COUNT, lines
    assert not any("writev(" in line for line in lines), lines


def test_a_new_connection_is_read_from_once(serve):
    """It comes with its request (TCP_DEFER_ACCEPT), which one call takes. Another looks for the
    client's FIN, later."""
    server = serve(processes=1)
    ask_each_on_a_new_connection(server)
    lines = traced(server, "accept4,recvfrom,recvmsg,read",
                   lambda: ask_each_on_a_new_connection(server))
    requests = [line for line in lines if f'"GET {PAGE} HTTP' in line]
    assert len(requests) == COUNT, lines
    assert not any("MSG_PEEK" in line for line in lines), lines


def test_a_kept_connection_holds_nothing_back(serve):
    server = serve(processes=1)

    def ask():
        with server.connect() as conn:
            for _ in range(COUNT):
                assert conn.get("/").status == 200

    assert not endings(traced(server, "sendmsg,writev,shutdown", ask))


def test_of_pipelined_requests_the_last_ends_the_connection(serve):
    """They may be answered in one write: the first's end is not the connection's."""
    server = serve(processes=1)
    with server.connect() as conn:
        conn.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" * 3 +
                  b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert [conn.response().status for _ in range(4)] == [200] * 4
        assert conn.ended()


def test_tls_says_goodbye_before_the_fin(serve):
    """close_notify comes after the response."""
    server = serve(processes=1, tls=True)
    for _ in range(3):
        with server.connect_tls() as conn:
            assert conn.get("/", headers=CLOSE).status == 200
            conn.sock.unwrap().close()  # raises at a FIN without it
