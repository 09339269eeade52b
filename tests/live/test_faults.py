# SPDX-License-Identifier: Apache-2.0
"""Requests that kill one VP after another: the others are answered meanwhile."""

import re
import signal
import socket
import time

import pytest
from harness import MPM, tool, wait_for
from harness.client import Closed
from harness.stm import owner

CRASH = b"GET /probe?die HTTP/1.1\r\nHost: localhost\r\n\r\n"
PROBE = "<Location /probe>\nSetHandler probe\n</Location>\n"
PUT_OFF = "before accepting a connection; next start in"


@pytest.fixture
def crashing(serve):
    """A factory of servers whose children are expected to crash."""
    def make(directives="", **options):
        server = serve.make(modules=[tool("mod_probe.so")], directives=PROBE + directives,
                            **options)
        server.allowed.append(r"AH00052|exit signal|AH0005[01]|died of signal")
        return server.start()
    return make


def deaths(server):
    """How many children have crashed."""
    return server.error_log().count("exit signal Segmentation fault")


def crash(server):
    """A request that kills its process, and the client that waits for its end."""
    with server.connect() as conn:
        conn.ask("/probe?die")
        with pytest.raises((Closed, OSError)):
            conn.response()


def abandoned(server, count):
    """Clients that have requested what crashes, and have gone."""
    for _ in range(count):
        with socket.create_connection(("127.0.0.1", server.port)) as client:
            client.sendall(CRASH)


@pytest.mark.parametrize("processes", [1, 2])
def test_a_good_request_after_each_of_many_crashes(crashing, processes):
    """As good as event or better: each good request is answered, and no start is delayed."""
    server = crashing(processes=processes)
    answered = 0
    for _ in range(15 if MPM == "stm" else 4):
        crash(server)
        answered += server.get("/").status == 200
    assert answered == (15 if MPM == "stm" else 4)
    assert PUT_OFF not in server.error_log()


def is_over(server):
    """Nobody has died for longer than abandoned requests are put off."""
    before = deaths(server)
    time.sleep(1.2)
    return deaths(server) == before


@pytest.mark.stm_only
@pytest.mark.parametrize("processes", [1, 2])
def test_a_flood_of_abandoned_crashers(crashing, processes):
    """They wait in the queue while VPs start. A good request that comes after them is served before
    them, and they do not take it along: it is answered on its first connection, after the deaths of
    those that did not look abandoned yet, and not after forty.
    """
    server = crashing(processes=processes)
    for _ in range(3):  # by now it is a crash loop
        crash(server)
    wait_for(lambda: deaths(server) == 3 and len(server.children()) == processes, "a quiet server")
    for _ in range(3):
        before = deaths(server)
        abandoned(server, 40)
        assert server.get("/").status == 200
        assert deaths(server) - before <= 10
        wait_for(lambda: deaths(server) > before, "a crash")  # in the end they are served
        wait_for(lambda: is_over(server), "the end of the flood")
    assert server.get("/").status == 200
    assert PUT_OFF not in server.error_log()


@pytest.mark.stm_only
def test_a_client_that_closes_its_side_is_answered_in_a_crash_loop(crashing):
    """It is served after others, but it is served."""
    server = crashing(processes=1)
    for _ in range(3):
        crash(server)
    server.wait_log("requests kill one VP after another")
    with socket.create_connection(("127.0.0.1", server.port)) as client:
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        client.shutdown(socket.SHUT_WR)
        client.settimeout(20)
        assert client.recv(100).startswith(b"HTTP/1.1 200")


@pytest.mark.stm_only
def test_an_exit_in_a_handler_is_a_crash(crashing):
    server = crashing(processes=1)
    for _ in range(5):
        with server.connect() as conn:
            conn.ask("/probe?exit")
            with pytest.raises((Closed, OSError)):
                conn.response()
        assert server.get("/").status == 200
    assert PUT_OFF not in server.error_log()


@pytest.mark.stm_only
@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM, signal.SIGWINCH])
def test_who_was_told_to_stop_has_not_crashed(crashing, number):
    """Restarts in quick succession are no crash loop and delay no start; neither do stops."""
    server = crashing(processes=2)
    for _ in range(5):
        pids = set()
        while len(pids) < 2:
            with server.connect() as conn:
                pids.add(owner(conn))
        if number == signal.SIGHUP:
            server.restart(number)
    for _ in range(4 if number == signal.SIGHUP else 0):
        server.restart(number)  # they have not accepted a connection
    server.signal(number)
    if number != signal.SIGHUP:
        server.wait_gone()
    log = server.error_log()
    assert "requests kill one VP after another" not in log
    assert PUT_OFF not in log


@pytest.mark.stm_only
@pytest.mark.parametrize("how", ["crash", "exit"])
def test_what_dies_at_its_start_is_put_off(crashing, how):
    """The delay grows each time, whether it crashes or exits; then it recovers by itself."""
    name = {"crash": "ProbeCrashFile", "exit": "ProbeExitFile"}[how]
    server = crashing(f"{name} @ROOT@/die\n", processes=1)
    (server.root / "die").touch()
    crash(server)
    server.wait_log(f"VP 0 has died 4 times in a row {PUT_OFF} 400 ms")
    (server.root / "die").unlink()
    server.wait_ready()
    found = re.findall(rf"died (\d+) times in a row {PUT_OFF} (\d+) ms", server.error_log())
    assert found[:3] == [("2", "100"), ("3", "200"), ("4", "400")]


@pytest.mark.stm_only
def test_the_log_names_the_limit_that_was_reached(crashing):
    """More waiting requests than MaxThreads: one log line, and all are answered."""
    server = crashing(processes=1, threads=4)
    conns = [server.connect() for _ in range(12)]
    for conn in conns:
        conn.ask("/probe?sleep=300")
    server.wait_log(r"VP 0 has reached MaxThreads \(4\): new connections wait")
    for conn in conns:
        assert conn.response().status == 200
        conn.close()
