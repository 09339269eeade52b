# SPDX-License-Identifier: Apache-2.0
"""HTTP/2 connections of VPs that leave: GOAWAY says which requests will be answered, and they are.

mod_http2 alone, when told that its process is stopping, drops a connection at the next request.
"""

import contextlib
import signal
import threading
import time

import pytest

from harness import wait_for
from harness.scoreboard import scores

from .backends import Http
from .h2client import Streams

pytestmark = pytest.mark.stm_only


@pytest.fixture(name="held")
def _held(backend):
    """The backend behind /held/, which answers once its gate is open."""
    return backend(Http)


@pytest.fixture(name="server")
def _server(serve, held):
    return serve(modules=("http2", "proxy", "proxy_http"), processes=1, directives=f"""
        Protocols h2c http/1.1
        KeepAliveTimeout 100
        ScoreboardDir scoreboards
        ProxyPass /held/ http://127.0.0.1:{held.port}/
        """)


def leave(server):
    """Restarts gracefully, and waits until the first generation's VP has left its seat and knows
    it."""
    server.signal(signal.SIGUSR1)
    wait_for(lambda: scores(server)["vps"][0]["counters"]["generation"] == 1, "the successor")
    wait_for(lambda: scores(server)["vps"][0]["leaving"] == 1 and "resuming" in
             server.error_log(), "the VP that leaves")


def ended(conn):
    """Waits until the server has closed the connection, without an error and with no response
    due."""
    conn.until(lambda: conn.closed, "the end of the connection")
    assert conn.goaway and not conn.due() and conn.error == 0


def test_an_idle_connection_ends_at_once(server):
    with Streams(server.port) as conn:
        conn.round(["/"])
        server.signal(signal.SIGUSR1)
        ended(conn)
        assert conn.last == 1


def test_one_in_use_goes_on_until_it_is_idle(server, held):
    with Streams(server.port) as conn:
        conn.get("/held/")
        held.gate.wait_held(1)
        leave(server)
        for _ in range(3):
            new = [conn.get("/"), conn.get("/")]
            conn.until(lambda now=new: all(stream.ended for stream in now), "their answers")
        assert not conn.goaway
        held.gate.open()
        ended(conn)
        assert [stream.status for stream in conn.streams.values()] == [200] * 7


def test_one_that_is_never_idle_is_told(server, held):
    """mod_http2 ends it after some seconds; what it has begun to answer is answered all the
    same."""
    with Streams(server.port) as conn:
        stream = conn.get("/held/")
        held.gate.wait_held(1)
        leave(server)

        def told():
            conn.ping()
            return conn.goaway
        wait_for(told, "a GOAWAY", step=0.1)
        assert not stream.ended
        held.gate.open()
        ended(conn)
        assert stream.status == 200


class Eager(threading.Thread):
    """Sends a request 5 ms after each response, on one connection, until a GOAWAY or its end."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.conn, self.ending = Streams(port), threading.Event()
        self.rounds, self.pause = 0, 0.0  # the longest pause between a response and a request

    def run(self):
        while not self.conn.goaway and not self.ending.is_set():
            self.conn.round(["/", "/"])
            answered = time.monotonic()
            self.rounds += 1
            time.sleep(0.005)
            self.pause = max(self.pause, time.monotonic() - answered)


def asks_on(server):
    """Whether an eager client got no GOAWAY during 50 rounds with a leaving VP; the one that comes
    later must lose none of its requests. None: the machine froze, so the trial proves nothing."""
    client = Eager(server.port)
    client.start()
    wait_for(lambda: client.rounds, "a first answer")
    begun = time.monotonic()
    server.restart()
    wait_for(lambda: scores(server)["vps"][0]["leaving"] or client.conn.goaway, "a VP that leaves")
    before = client.rounds
    wait_for(lambda: client.rounds > before + 50 or client.conn.goaway, "50 rounds")
    spared = not client.conn.goaway
    client.ending.set()
    client.join()
    with client.conn as conn:
        conn.until(lambda: conn.closed, "the end of the connection")
        assert not conn.due() and conn.last == max(conn.streams)
    return spared if client.pause < 0.05 and time.monotonic() - begun < 4 else spared or None


def test_a_client_that_asks_soon_gets_no_goaway(server):
    assert next(found for found in (asks_on(server) for _ in range(20)) if found is not None)


class Client(threading.Thread):
    """Opens one connection after another, each until a GOAWAY."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.port, self.ending = port, threading.Event()
        self.answered, self.losses = 0, []

    def run(self):
        while not self.ending.is_set():
            try:
                with Streams(self.port) as conn:
                    while not conn.goaway and not self.ending.is_set():
                        conn.round(["/", "/held/free", "/"])
                        self.answered += sum(stream.ended for stream in conn.streams.values())
                        conn.streams.clear()
                        time.sleep(0.01)
            except (AssertionError, OSError) as error:
                self.losses.append(f"{type(error).__name__}: {error}")


def test_graceful_restarts_lose_nothing(server):
    clients = [Client(server.port) for _ in range(6)]
    with contextlib.ExitStack() as stack:
        for client in clients:
            client.start()
            stack.callback(client.ending.set)
        for _ in range(10):
            server.restart()
            before = [client.answered for client in clients]
            wait_for(lambda b=before: all(client.answered > n for client, n in zip(clients, b)),
                     "answers to each of them")
    for client in clients:
        client.join(60)
        assert not client.is_alive() and client.losses == []
