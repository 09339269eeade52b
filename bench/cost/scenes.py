# SPDX-License-Identifier: Apache-2.0
"""The scenes of `make bench-count`: what one client does, again and again, and the small backends
that answer it. All scenes share one server, which is started once for each way of counting.
"""

import socket
import struct
from contextlib import closing

from harness import wait_for
from harness.scoreboard import total

WEBSOCKET = (b"GET /socket HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n"
             b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
             b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n")
MESSAGE = b"\x82\x20" + bytes(32)
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 45\r\nContent-Type: text/plain\r\n\r\n" + b"x" * 45
MODULES = ("setenvif", "ssl", "http2", "proxy", "proxy_http", "proxy_fcgi",
           "proxy_wstunnel")
DIRECTIVES = """
    LogLevel warn
    ScoreboardDir @ROOT@/scoreboards
    KernelThreads 0
    StallWarning 0
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


def http(conn, file):
    """A response for each request."""
    while line := file.readline():
        if line == b"\r\n":
            conn.sendall(ANSWER)


def websocket(conn, file):
    """Echoes messages of MESSAGE's length; the client's and the backend's are alike."""
    while file.readline() not in (b"\r\n", b""):
        pass
    conn.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
                 b"Upgrade: websocket\r\n\r\n")
    while message := file.read(len(MESSAGE)):
        conn.sendall(message)


def fcgi(conn, file):
    """A response for each request; the connection is kept."""
    body = b"Content-Type: text/plain\r\n\r\n" + b"x" * 45
    while head := file.read(8):
        _, kind, number, length, padding, _ = struct.unpack("!BBHHBB", head)
        file.read(length + padding)
        if kind == 5 and length == 0:  # the end of the request's body
            conn.sendall(struct.pack("!BBHHBB", 1, 6, number, len(body), 0, 0) + body +
                         struct.pack("!BBHHBB", 1, 3, number, 8, 0, 0) + bytes(8))


BACKENDS = {"http": http, "websocket": websocket, "fcgi": fcgi}


def _asked(path, tls=False):
    """Requests on one connection."""
    def run(server):
        with (server.connect_tls() if tls else server.connect()) as conn:
            while True:
                got = conn.get(path)
                assert got.status == 200, got
                yield
    return run


def _connected(server):
    """A connection for each request."""
    while True:
        with server.connect() as conn:
            assert conn.get("/45.txt", headers=["Connection: close"]).status == 200
            assert conn.ended()
        yield


def _frame(kind, flags, stream, payload=b""):
    return struct.pack("!I", len(payload))[1:] + struct.pack("!BBI", kind, flags, stream) + payload


def _http2(server):
    """Streams of one connection, one after the other."""
    block = b"\x82\x86\x04\x07/45.txt\x41\x09localhost"
    with closing(socket.create_connection(("127.0.0.1", server.port))) as conn, \
            conn.makefile("rb") as file:
        conn.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _frame(4, 0, 0))
        for stream in range(1, 1 << 30, 2):
            conn.sendall(_frame(1, 5, stream, block))
            while True:
                head = file.read(9)
                length, (kind, flags) = int.from_bytes(head[:3], "big"), head[3:5]
                payload = file.read(length)
                assert kind not in (3, 7), payload  # RST_STREAM, GOAWAY
                if kind in (0, 1) and flags & 1:
                    break
            yield


def _messages(server):
    """Messages through a tunnel, and back."""
    with closing(socket.create_connection(("127.0.0.1", server.port))) as conn, \
            conn.makefile("rb") as file:
        conn.sendall(WEBSOCKET)
        assert b" 101 " in file.readline()
        while file.readline() != b"\r\n":
            pass
        while True:
            conn.sendall(MESSAGE)
            assert file.read(len(MESSAGE)) == MESSAGE
            yield


SLEEPERS = 40


def _sleepers(server):
    """Connections that fall asleep, each after a request, and are woken by the next one."""
    conns = [server.connect() for _ in range(SLEEPERS)]
    try:
        while True:
            for conn in conns:
                assert conn.get("/45.txt").status == 200
            wait_for(lambda: total(server, "conns_asleep") >= SLEEPERS, "their sleep")
            yield
    finally:
        for conn in conns:
            conn.close()


SCENES = {
    "small": _asked("/45.txt"),
    "10k": _asked("/10k.bin"),
    "connection": _connected,
    "tls": _asked("/10k.bin", tls=True),
    "h2": _http2,
    "proxy": _asked("/proxy/x"),
    "fcgi": _asked("/fcgi/x"),
    "websocket": _messages,
    "idle": _sleepers,
    "log": _asked("/logged.txt"),
}
# How many requests a step of a scene makes.
REQUESTS = {"idle": SLEEPERS}
