# SPDX-License-Identifier: Apache-2.0
"""State threads that wait for long in mod_proxy rest: their stacks are packed, and nobody can tell.

A response, a message either way, a time limit, the end of either side or of the VP: each finds
everything where it was. In a debug build the pages of a resting stack are inaccessible.
"""

import signal
import socket
from types import SimpleNamespace

import pytest
import websockets

from harness import MPM, wait_for
from harness.scoreboard import stmstat, total

from .waits.backends import Ajp, Echo, Events, Http, WebSockets
from .waits.fixtures import backend, loop  # noqa: F401 (used by name)
from .waits.h2client import H2
from .waits.inflight import InFlight, quick

pytestmark = pytest.mark.skipif(MPM != "stm", reason="STM's state threads")

MODULES = ("http2", "proxy", "proxy_http", "proxy_ajp", "proxy_connect", "proxy_wstunnel",
           "slotmem_shm")
COUNT = 40


def resting(server, count):
    """Waits until so many threads rest."""
    wait_for(lambda: total(server, "waits_resting") == count, f"{count} threads at rest")


def world(serve, backend, **options):
    """A server in front of backends of several kinds."""
    http, short, ajp, events = backend(Http), backend(Http), backend(Ajp), backend(Events)
    sockets, echo = backend(WebSockets), backend(Echo)
    given = {"processes": 1, "threads": 400, "modules": MODULES, **options}
    server = serve(**given, directives=f"""
        ScoreboardDir scoreboards
        Protocols h2c http/1.1
        ProxyPass /http/ http://127.0.0.1:{http.port}/
        ProxyPass /short/ http://127.0.0.1:{short.port}/ timeout=4
        ProxyPass /ajp/ ajp://127.0.0.1:{ajp.port}/
        ProxyPass /events/ http://127.0.0.1:{events.port}/ flushpackets=on
        ProxyPass /ws/ ws://127.0.0.1:{sockets.port}/
        ProxyPass /upgrade/ http://127.0.0.1:{sockets.port}/ upgrade=websocket
        ProxyRequests On
        AllowCONNECT {echo.port}
        """)
    return SimpleNamespace(server=server, http=http, short=short, ajp=ajp, events=events,
                           sockets=sockets, echo=echo)


@pytest.fixture(name="scene", scope="module")
def _scene(serve_module, backend):
    return world(serve_module, backend)


@pytest.mark.parametrize("kind", ["http", "ajp"])
def test_responses(scene, kind):
    """With a body to send, too: it has been sent, but not answered."""
    gate = getattr(scene, kind).gate
    paths = [f"/{kind}/{n}" for n in range(COUNT)]
    for _ in range(2):
        gate.close()
        rests = total(scene.server, "wait_rests")
        with InFlight(scene.server, paths) as flight:
            gate.wait_held(COUNT)
            resting(scene.server, COUNT)
            quick(scene.server)
            assert flight.answered() == 0
            gate.open()
            got = flight.finish()
            assert [response.status for response in got] == [200] * COUNT
            assert [response.text.split() for response in got] == \
                [["held", f"/{n}"] for n in range(COUNT)]
        assert total(scene.server, "waits_resting") == 0
        assert total(scene.server, "wait_rests") >= rests + COUNT


def test_time_limit(scene):
    scene.short.gate.close()
    with InFlight(scene.server, ["/short/limit"]) as flight:
        resting(scene.server, 1)
        assert flight.finish()[0].status in (502, 504)
    scene.short.gate.open()
    assert total(scene.server, "waits_resting") == 0


@pytest.mark.parametrize("folder", ["ws", "upgrade"])
def test_websockets(scene, loop, folder):
    """Each direction wakes both; some end at either side while they rest."""
    uri = f"ws://127.0.0.1:{scene.server.port}/{folder}/"

    async def opened():
        return await websockets.connect(uri, compression=None, ping_interval=None)

    async def echo(client, text):
        await client.send(text)
        return await client.recv()
    clients = [loop.run(opened()) for _ in range(10)]
    for lap in range(3):
        for number, client in enumerate(clients):
            text = f"{number} in {lap}" * (1 if lap < 2 else 5000)
            assert loop.run(echo(client, text)) == text
        resting(scene.server, len(clients))
    clients[0].transport.abort()
    for client in clients[1:]:
        loop.run(client.close())
    resting(scene.server, 0)
    quick(scene.server)


def test_events(scene):
    with InFlight(scene.server, [f"/events/{n}" for n in range(COUNT)]) as flight:
        wait_for(lambda: len(scene.events.streams) == COUNT, "the streams")
        for text in ("hello", "again", "and again"):
            if text != "hello":
                scene.events.send(text)
            wait_for(lambda: flight.answered() == COUNT, "an event on each")
            for conn in flight.conns:
                got = b""
                while f"data: {text}\n\n".encode() not in got:
                    got += conn.sock.recv(4096)
            resting(scene.server, COUNT)
    wait_for(lambda: scene.events.send("bye") or not scene.events.streams, "the end")
    resting(scene.server, 0)


def test_connect(scene):
    """mod_proxy_connect's tunnel."""
    with socket.create_connection(("127.0.0.1", scene.server.port)) as conn:
        conn.sendall(f"CONNECT 127.0.0.1:{scene.echo.port} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert b" 200 " in conn.recv(1000)
        for text in (b"one", b"two"):
            conn.sendall(text)
            assert conn.recv(100) == text
            resting(scene.server, 1)
    resting(scene.server, 0)


def test_streams_do_not_rest(scene):
    """Nor does the session of HTTP/2: other threads use what is on their stacks."""
    scene.http.gate.close()
    h2 = H2(scene.server.port)
    h2.get("/http/stream")
    scene.http.gate.wait_held(1)
    with InFlight(scene.server, ["/http/plain"]) as flight:  # which is examined later
        resting(scene.server, 1)
        scene.http.gate.open()
        assert flight.finish()[0].text == "held /plain\n"
    assert [stream.body for stream in h2.finish()] == [b"held /stream\n"]
    h2.sock.close()


def test_dump(scene):
    """stmstat dump shows what a resting stack will hold."""
    if "without libdw" in stmstat("dump", "0", "-d", "/nowhere", check=False).stderr:
        pytest.skip("stmstat was built without libdw")
    scene.http.gate.close()
    with InFlight(scene.server, ["/http/dumped"]) as flight:
        resting(scene.server, 1)
        shown = stmstat("-d", scene.server.root / "scoreboards", "dump", "0", check=False)
        if "not permitted" in shown.stderr:
            pytest.skip(f"this machine does not permit it: {shown.stderr}")
        block = next(b for b in shown.stdout.split("\n\n") if "GET /http/dumped" in b)
        for function in ("network_read", "proxy_run_scheme_handler", "st__thread_start"):
            assert f" in {function} " in block, shown.stdout
        assert total(scene.server, "waits_resting") == 1
        scene.http.gate.open()
        assert flight.finish()[0].text == "held /dumped\n"


def test_unknown_modules(serve, backend):
    """With a module that nobody has read, none rests."""
    http = backend(Http)
    server = serve(name="unknown", processes=1, modules=("proxy", "proxy_http", "lua"),
                   directives=f"""
        ScoreboardDir scoreboards
        ProxyPass /http/ http://127.0.0.1:{http.port}/ timeout=4
        """)
    http.gate.close()
    with InFlight(server, ["/http/x"]) as flight:
        assert flight.finish()[0].status in (502, 504)
    assert total(server, "wait_rests") == 0
    http.gate.open()


def test_restart_and_stop(serve, backend):
    """A leaving VP answers; a stopping one ends all."""
    made = world(serve, backend, name="rest_ends")
    server, gate = made.server, made.http.gate
    gate.close()
    with InFlight(server, [f"/http/{n}" for n in range(COUNT)]) as flight:
        resting(server, COUNT)
        server.restart()
        gate.open()
        assert [got.text for got in flight.finish()] == [f"held /{n}\n" for n in range(COUNT)]
    gate.close()
    with InFlight(server, [f"/http/{n}" for n in range(COUNT)]) as flight:
        resting(server, COUNT)
        server.signal(signal.SIGTERM)
        server.wait_gone()
        assert all(conn.ended() for conn in flight.conns)
    gate.open()
