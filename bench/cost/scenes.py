# SPDX-License-Identifier: Apache-2.0
"""The scenes of `make bench-count`: what one client does, again and again, and the small backends
that answer it. All scenes share one server, which is started once for each way of counting.

Client, VP and backend work in turns: whoever is about to send something that the VP has to read
waits until the VP has done all it can (`settle()`), so that its counts do not depend on who is
quicker. A scene yields after each step how many requests that was; 0: not to be counted.
"""

import socket
import struct
from contextlib import ExitStack, closing

from harness import wait_for
from harness.scoreboard import total

WEBSOCKET = (b"GET /socket HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n"
             b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
             b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n")
MESSAGE = b"\x82\x20" + bytes(32)
MESSAGES = 10  # in a step: one costs so little that the mark beside it would weigh too much
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 45\r\nContent-Type: text/plain\r\n\r\n" + b"x" * 45
MODULES = ("setenvif", "ssl", "http2", "proxy", "proxy_http", "proxy_fcgi",
           "proxy_wstunnel")
DIRECTIVES = """
    LogLevel warn
    ScoreboardDir @ROOT@/scoreboards
    KernelThreads 0
    StallWarning 0
    HangTimeout 0
    KeepAliveTimeout 300
    Protocols h2c http/1.1
    H2MinWorkers 1
    H2MaxWorkers 1
    ProxyPass /proxy/ http://127.0.0.1:{http}/ timeout=300
    ProxyPass /socket ws://127.0.0.1:{websocket}/ timeout=300
    ProxyPassMatch ^/fcgi fcgi://127.0.0.1:{fcgi}/ enablereuse=on timeout=300
    <Location /mark>
        SetHandler stm-dashboard
    </Location>
    SetEnvIf Request_URI ^/logged logged
    CustomLog @ROOT@/logs/second.log "%h %l %u %t \\"%r\\" %>s %b %D %{{User-Agent}}i" env=logged
    """


def http(vp, conn, file):
    """A response for each request."""
    while line := file.readline():
        if line == b"\r\n":
            vp.settle()
            conn.sendall(ANSWER)


def websocket(vp, conn, file):
    """Echoes messages of MESSAGE's length; the client's and the backend's are alike."""
    while file.readline() not in (b"\r\n", b""):
        pass
    vp.settle()
    conn.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
                 b"Upgrade: websocket\r\n\r\n")
    while message := file.read(len(MESSAGE)):
        vp.settle()
        conn.sendall(message)


def fcgi(vp, conn, file):
    """A response for each request; the connection is kept."""
    body = b"Content-Type: text/plain\r\n\r\n" + b"x" * 45
    while head := file.read(8):
        _, kind, number, length, padding, _ = struct.unpack("!BBHHBB", head)
        file.read(length + padding)
        if kind == 5 and length == 0:  # the end of the request's body
            vp.settle()
            conn.sendall(struct.pack("!BBHHBB", 1, 6, number, len(body), 0, 0) + body +
                         struct.pack("!BBHHBB", 1, 3, number, 8, 0, 0) + bytes(8))


BACKENDS = {"http": http, "websocket": websocket, "fcgi": fcgi}


def _ask(vp, conn, path="/45.txt", **more):
    got = conn.get(path, **more)
    assert got.status == 200, got
    vp.settle()


def _asked(path, tls=False):
    """Requests on one connection."""
    def run(vp):
        with (vp.server.connect_tls() if tls else vp.server.connect()) as conn:
            while True:
                _ask(vp, conn, path)
                yield 1
    return run


def _connected(vp):
    """A connection for each request."""
    while True:
        with vp.server.connect() as conn:
            vp.settle()
            _ask(vp, conn, headers=["Connection: close"])
            assert conn.ended()
        vp.settle()
        yield 1


def _frame(kind, flags, stream, payload=b""):
    return struct.pack("!I", len(payload))[1:] + struct.pack("!BBI", kind, flags, stream) + payload


def _http2(vp):
    """Streams of one connection, one after the other."""
    block = b"\x82\x86\x04\x07/45.txt\x41\x09localhost"
    with closing(socket.create_connection(("127.0.0.1", vp.server.port))) as conn, \
            conn.makefile("rb") as file:
        conn.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _frame(4, 0, 0))
        for stream in range(1, 1 << 30, 2):
            vp.settle()
            conn.sendall(_frame(1, 5, stream, block))
            while True:
                head = file.read(9)
                length, (kind, flags) = int.from_bytes(head[:3], "big"), head[3:5]
                payload = file.read(length)
                assert kind not in (3, 7), payload  # RST_STREAM, GOAWAY
                if kind in (0, 1) and flags & 1:
                    break
            vp.settle()
            yield 1


def _messages(vp):
    """Messages through a tunnel, and back."""
    with closing(socket.create_connection(("127.0.0.1", vp.server.port))) as conn, \
            conn.makefile("rb") as file:
        conn.sendall(WEBSOCKET)
        assert b" 101 " in file.readline()
        while file.readline() != b"\r\n":
            pass
        while True:
            for _ in range(MESSAGES):
                vp.settle()
                conn.sendall(MESSAGE)
                assert file.read(len(MESSAGE)) == MESSAGE
            vp.settle()
            yield MESSAGES


SLEEPERS = 30


def _sleepers(vp):
    """Connections that are woken by a request, one after the other, and then all fall asleep."""
    def sleep():
        vp.later(2.1)  # more than a connection's first two naps
        with vp.server.connect():
            pass
        wait_for(lambda: total(vp.server, "conns_asleep") >= SLEEPERS, "their sleep")
        vp.settle()

    with ExitStack() as stack:
        conns = [stack.enter_context(vp.server.connect()) for _ in range(SLEEPERS)]
        for conn in conns:
            _ask(vp, conn)
        sleep()
        yield 0
        for conn in conns:
            _ask(vp, conn)
            yield 1
        sleep()
        yield SLEEPERS


SCENES = {
    "small": _asked("/45.txt"),
    "10k": _asked("/10k.bin"),
    "connection": _connected,
    "tls": _asked("/10k.bin", tls=True),
    "h2": _http2,
    "proxy": _asked("/proxy/x"),
    "fcgi": _asked("/fcgi/x"),
    "websocket": _messages,
    "log": _asked("/logged.txt"),
    "idle": _sleepers,
}
