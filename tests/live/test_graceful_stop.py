# SPDX-License-Identifier: Apache-2.0
"""A graceful stop (SIGWINCH): what is in progress is finished, and nobody waits for idle clients.

Clients keep their sockets open to the end. Left to themselves, idle connections would stay for
KeepAliveTimeout (60 s) and lingering ones for 30 s; a server is gone within STOP_BOUND (20 s).
"""

import os
import signal

import pytest
from harness import MPM, procs, tool, wait_for
from harness.server import STOP_BOUND
from harness.scoreboard import total

from .waits.h2client import Streams

PROBE = "<Location /probe>\nSetHandler probe\n</Location>\n"
ROOM = {"processes": 2, "threads": 16}


def http(server):
    """An idle connection."""
    conn = server.connect()
    assert conn.get("/").keeps
    return conn


def https(server):
    """An idle connection with TLS."""
    conn = server.connect_tls()
    assert conn.get("/").keeps
    return conn


def stopping(server):
    """Waits until the port is closed."""
    server.wait_log("shutting down gracefully")


@pytest.mark.parametrize("kind", [http, https])
def test_idle_connections_end_at_once(serve, kind):
    server = serve(tls=True, **ROOM)
    conns = [kind(server) for _ in range(4)]
    server.signal(signal.SIGWINCH)
    assert all(conn.ended() for conn in conns)
    server.wait_gone()
    for conn in conns:
        conn.close()


@pytest.mark.stm_only  # event waits for Timeout
def test_unused_connections_end_soon(serve):
    """Clients that have connected and not asked yet."""
    server = serve(directives="AcceptFilter http none\nScoreboardDir scoreboards\n", **ROOM)
    conns = [server.connect() for _ in range(4)]
    wait_for(lambda: total(server, "conns_first_byte") == 4, "four unused connections")
    server.signal(signal.SIGWINCH)
    server.wait_gone()
    for conn in conns:
        conn.close()


@pytest.mark.stm_only  # nobody else lets connections sleep
def test_sleeping_connections_end_at_once(serve):
    server = serve(directives="ScoreboardDir scoreboards\n", **ROOM)
    conns = [http(server) for _ in range(4)]
    wait_for(lambda: total(server, "sleeps") == 4, "four sleeping connections")
    server.signal(signal.SIGWINCH)
    assert all(conn.ended() for conn in conns)
    server.wait_gone()
    for conn in conns:
        conn.close()


def test_idle_http2_connections_get_goaway(serve):
    server = serve(modules=("http2",), directives="Protocols h2c http/1.1\n", **ROOM)
    with Streams(server.port) as conn:
        conn.round(["/"])
        server.signal(signal.SIGWINCH)
        conn.until(lambda: conn.closed, "the end of the connection")
        assert conn.goaway and not conn.due()
        server.wait_gone()


@pytest.mark.parametrize("way", [signal.SIGWINCH, signal.SIGUSR1], ids=["stop", "restart"])
def test_lingering_connections_end_soon(serve, way):
    """They have their response; the client has not closed its side."""
    server = serve(**ROOM)
    old = server.children()
    conns = [server.connect() for _ in range(4)]
    for conn in conns:
        assert not conn.get("/", headers=["Connection: close"]).keeps
        assert conn.ended()
    server.signal(way)
    if way == signal.SIGWINCH:
        server.wait_gone()
    else:
        wait_for(lambda: not set(old) & set(server.children()), "the end of the old processes",
                 STOP_BOUND)
    for conn in conns:
        conn.close()


def test_requests_that_have_arrived_are_answered(serve):
    """Those that came while the processes were frozen, before they heard of the stop. Event does
    not say that it closes the connection."""
    server = serve(**ROOM)
    conns = [http(server) for _ in range(8)]
    pids = server.children()
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    wait_for(lambda: all(procs.stat(pid).state == "T" for pid in pids), "processes that stand")
    for conn in conns:
        conn.ask("/")
    server.signal(signal.SIGWINCH)
    stopping(server)
    for pid in pids:
        os.kill(pid, signal.SIGCONT)
    for conn in conns:
        response = conn.response()
        assert response.status == 200 and (MPM != "stm" or not response.keeps)
        assert conn.ended()
    server.wait_gone()
    for conn in conns:
        conn.close()


def test_requests_in_progress_are_finished(serve):
    server = serve(modules=[tool("mod_probe.so")], directives=PROBE, **ROOM)
    with http(server) as busy, http(server) as idle:
        busy.ask("/probe?sleep=3000")
        server.signal(signal.SIGWINCH)
        assert idle.ended()
        assert busy.response().status == 200
        server.wait_gone()


def test_the_shutdown_timeout_ends_what_goes_on(serve):
    server = serve(modules=[tool("mod_probe.so")],
                   directives=PROBE + "GracefulShutdownTimeout 1\n", **ROOM)
    if MPM != "stm":
        server.allowed.append("AH0004[56]")  # it kills them
    with http(server) as busy:
        busy.ask("/probe?sleep=60000")
        server.signal(signal.SIGWINCH)
        server.wait_gone()
