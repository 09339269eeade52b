# SPDX-License-Identifier: Apache-2.0
"""HTTP/2: waiting streams beside PING, flow control and other requests; and HTTP/2 to the backend.

At first, mod_http2 serves only a few streams of a connection at once, so there are several
connections.
"""

import contextlib

import pytest

from harness import wait_for

from .backends import Events, Http
from .h2client import H2
from .inflight import prove, quick

CONNECTIONS, STREAMS = 20, 5
BIG = b"0123456789abcdef" * 64 * 1024  # 1 MB


class World:
    """The backends, and the server in front of them."""

    def __init__(self, serve, backend):
        self.http, self.events, self.h2 = backend(Http), backend(Events), backend(Http)
        self.server = serve.make(
            processes=1, threads=400, ports=2, modules=("http2", "proxy", "proxy_http",
                                                        "proxy_http2"),
            directives=f"""
            Protocols h2c http/1.1
            ProxyPass /held/ http://127.0.0.1:{self.http.port}/
            ProxyPass /events http://127.0.0.1:{self.events.port}/ flushpackets=on
            ProxyPass /h2/ h2c://127.0.0.1:@PORT2@/inner/
            ProxyPass /inner/ http://127.0.0.1:{self.h2.port}/
            """)
        self.server.page("big.bin", BIG)
        self.server.start()


@pytest.fixture(scope="module")
def world(serve_module, backend):
    return World(serve_module, backend)


@contextlib.contextmanager
def connected(world):
    """CONNECTIONS clients."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(H2(world.server.port)) for _ in range(CONNECTIONS)]


@pytest.fixture
def clients(world):
    """CONNECTIONS clients, for a test."""
    with connected(world) as made:
        yield made


def test_100_streams_of_a_slow_backend(world, clients):
    for number, client in enumerate(clients):
        for turn in range(STREAMS):
            client.get(f"/held/{number}.{turn}")
    world.http.gate.wait_held(CONNECTIONS * STREAMS)
    quick(world.server)
    for client in clients:
        client.ping()
        page = client.get("/")  # the sixth stream of this connection
        client.until(lambda page=page: page.ended, "a page beside the streams that wait")
        assert b"It works!" in page.body
    assert world.http.gate.held == CONNECTIONS * STREAMS
    world.http.gate.open()
    for number, client in enumerate(clients):
        for turn, stream in enumerate(client.finish()[:STREAMS]):
            assert (stream.status, stream.body) == (200, f"held /{number}.{turn}\n".encode())
    world.http.gate.close()


def test_flow_control_goes_on(world):
    """A client that stops reading a large response holds up neither its other streams nor
    others."""
    with H2(world.server.port, hold_back=True) as client:
        large = [client.get("/big.bin") for _ in range(3)]
        client.until(lambda: client.link.inbound_flow_control_window == 0, "a used-up window")
        stuck = sum(len(stream.body) for stream in large)
        assert 0 < stuck < len(BIG)
        client.ping()
        quick(world.server)
        assert sum(len(stream.body) for stream in large) == stuck
        client.catch_up()
        client.finish()
        assert all(stream.body == BIG for stream in large)


def test_server_sent_events_of_100_streams(world, clients):
    count = CONNECTIONS * STREAMS
    streams = [(client, client.get("/events")) for client in clients for _ in range(STREAMS)]
    wait_for(lambda: len(world.events.streams) == count, "100 streams at the backend")
    for turn in range(3):
        world.events.send(f"turn {turn}")
        quick(world.server, 2)
        said = f"data: turn {turn}\n\n".encode()
        for client, stream in streams:
            client.until(lambda s=stream, said=said: s.body.endswith(said), f"event {turn}")
            assert not stream.ended
        for client in clients:
            client.ping()
    for client in clients:
        client.cancel_all()
    # Each is freed at the next event, and so is the connection to the backend.
    def gone():
        world.events.send("for nobody")
        return not world.events.streams
    wait_for(gone, "the end of the cancelled streams", step=0.1)


def page_of(client):
    """Requests a page on this connection."""
    page = client.get("/")
    client.until(lambda: page.ended, "a page after the cancelled streams")
    assert page.status == 200


def test_cancelled_streams_free_themselves(world):
    """Cancelled streams end when the backend responds. Three times 100 of them, with 192 workers.

    mod_http2 throttles a connection on which many streams were cancelled, so each time there are
    new connections.
    """
    for _ in range(3):
        with connected(world) as clients:
            for client in clients:
                for turn in range(STREAMS):
                    client.get(f"/held/{turn}")
            world.http.gate.wait_held(CONNECTIONS * STREAMS)
            for client in clients:
                client.cancel_all()
                client.ping()
            quick(world.server)
            with H2(world.server.port) as other:
                page_of(other)
            world.http.gate.open()
            wait_for(lambda: world.http.gate.held == 0, "the end of the cancelled streams")
            world.http.gate.close()
            for client in clients:
                page_of(client)


def test_proxy_to_an_http2_backend(world):
    got = prove(world.server, world.h2.gate, [f"/h2/{n}" for n in range(60)])
    assert [response.text for response in got] == [f"held /{n}\n" for n in range(60)]
