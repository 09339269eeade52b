# SPDX-License-Identifier: Apache-2.0
"""Proxied requests that wait for their backend: HTTP, SCGI, uwsgi, AJP, tunnels, WebSockets."""

import asyncio
import time

import pytest
import websockets

from harness.drive import Conns, SlowBackend

from .backends import Ajp, Echo, Http, Scgi, Uwsgi, WebSockets
from .inflight import prove, quick

MODULES = ("proxy", "proxy_http", "proxy_scgi", "proxy_uwsgi", "proxy_ajp", "proxy_connect",
           "proxy_wstunnel", "slotmem_shm")


class World:
    """The backends, and the server in front of them."""

    def __init__(self, serve, backend):
        self.http, self.few, self.self_ = (backend(Http) for _ in range(3))
        self.scgi, self.uwsgi, self.ajp = backend(Scgi), backend(Uwsgi), backend(Ajp)
        self.echo, self.sockets = backend(Echo), backend(WebSockets)
        self.slow = SlowBackend(1000)
        at = "127.0.0.1"
        # The backlog: a client whose SYN is dropped tries again only after a second.
        self.server = serve(processes=1, threads=2500, ports=2, modules=MODULES, directives=f"""
            ListenBacklog 4096
            ProxyPass /http/ http://{at}:{self.http.port}/
            ProxyPass /slow/ http://{at}:{self.slow.port}/
            ProxyPass /few/ http://{at}:{self.few.port}/ max=5
            ProxyPass /self/ http://{at}:@PORT@/inner/
            ProxyPass /inner/ http://{at}:{self.self_.port}/
            ProxyPass /scgi/ scgi://{at}:{self.scgi.port}/
            ProxyPass /uwsgi/ uwsgi://{at}:{self.uwsgi.port}/
            ProxyPass /ajp/ ajp://{at}:{self.ajp.port}/
            ProxyPass /ws/ ws://{at}:{self.sockets.port}/
            ProxyPass /upgrade/ http://{at}:{self.sockets.port}/ upgrade=websocket
            <VirtualHost *:@PORT2@>
                ProxyRequests On
                AllowCONNECT {self.echo.port}
            </VirtualHost>
            """)


@pytest.fixture(scope="module")
def world(serve_module, backend):
    made = World(serve_module, backend)
    yield made
    made.slow.close()


def numbered(folder, count):
    """Paths that differ, so that a mix-up would show."""
    return [f"/{folder}/{n}" for n in range(count)]


def same(got, paths):
    """Checks that each response belongs to its own request."""
    for response, path in zip(got, paths):
        assert response.text.split()[-1].rsplit("/", 1)[1] == path.rsplit("/", 1)[1]


def test_2000_http_held(world):
    paths = numbered("http", 2000)
    got = prove(world.server, world.http.gate, paths)
    same(got, paths)
    assert world.http.gate.most == 2000


def timed_quick(server):
    """Sends a quick request. Returns how long it took, in ms."""
    asked = time.monotonic()
    quick(server, 1)
    return (time.monotonic() - asked) * 1000


def test_2000_http_one_second(world, record_property):
    """One after the other they would take 2,000 s."""
    begun = time.monotonic()
    with Conns(world.server.port, path="/slow/x") as conns:
        conns.send(2000)
        behind = timed_quick(world.server)  # in the accept queue, behind all of them
        beside = []
        while conns.report().answered + conns.report().failed < 2000:
            beside.append(timed_quick(world.server))
            time.sleep(0.01)
        took = time.monotonic() - begun
        assert conns.report() == (2000, 2000, 0, 0)
    figures = {"seconds": took, "quick one behind them, ms": behind,
               "slowest quick one beside them, ms": max(beside)}
    for name, figure in figures.items():
        record_property(name, figure)
    print(", ".join(f"{name}: {figure:.2f}" for name, figure in figures.items()))
    assert took < 200


def test_pool_of_five(world):
    """A reslist with max=5: 35 of the 40 wait for its condition variable."""
    paths = numbered("few", 40)
    got = prove(world.server, world.few.gate, paths, held=5)
    same(got, paths)
    assert world.few.gate.most == 5


def test_to_itself(world):
    paths = numbered("self", 100)
    same(prove(world.server, world.self_.gate, paths), paths)


@pytest.mark.parametrize("kind", ["scgi", "uwsgi", "ajp"])
def test_other_protocols(world, kind):
    paths = numbered(kind, 100)
    got = prove(world.server, getattr(world, kind).gate, paths)
    same(got, paths)


def test_100_connect_tunnels(world):
    port = world.server.ports[1]
    tunnels = [world.server.connect(port=port) for _ in range(100)]
    for conn in tunnels:
        conn.send(f"CONNECT 127.0.0.1:{world.echo.port} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    for conn in tunnels:
        assert conn.head().status == 200
    for turn in range(3):
        quick(world.server)
        for number, conn in enumerate(tunnels):
            conn.send(f"{turn} of {number}\n".encode())
        for number, conn in enumerate(tunnels):
            line = f"{turn} of {number}\n".encode()
            assert conn.exactly(len(line)) == line
    assert world.echo.connections == 100
    for conn in tunnels:
        conn.half_close()
    for conn in tunnels:
        assert conn.ended()
        conn.close()


class Crowd:
    """Many WebSocket clients on the loop."""

    def __init__(self, loop, uri):
        self.loop, self.uri, self.sockets = loop, uri, []

    def open(self, count):
        """Opens that many."""
        async def all_of_them():
            limit = asyncio.Semaphore(50)

            async def one():
                async with limit:
                    return await websockets.connect(self.uri, open_timeout=60, compression=None,
                                                    ping_interval=None, max_queue=4)
            self.sockets = await asyncio.gather(*(one() for _ in range(count)))
        self.loop.run(all_of_them())

    def echo(self, gate=None):
        """Each sends its number, and gets it back; if there is a gate, it opens in between."""
        async def one(number, socket):
            await socket.send(f"I am {number}")
            if gate:
                await gate.wait()
            return await socket.recv()

        async def all_of_them():
            return await asyncio.gather(*(one(*pair) for pair in enumerate(self.sockets)))
        got = self.loop.run(all_of_them())
        assert got == [f"I am {n}" for n in range(len(self.sockets))]

    def close(self):
        """Closes all of them."""
        async def all_of_them():
            await asyncio.gather(*(socket.close() for socket in self.sockets))
        self.loop.run(all_of_them())


@pytest.mark.parametrize("way", ["ws", "upgrade"])
def test_500_web_sockets(world, loop, way):
    crowd = Crowd(loop, f"ws://127.0.0.1:{world.server.port}/{way}/")
    crowd.open(500)
    assert world.sockets.connections == 500
    quick(world.server)
    for _ in range(3):
        crowd.echo()
        quick(world.server, 1)
    assert world.sockets.connections == 500
    crowd.close()
