# SPDX-License-Identifier: Apache-2.0
"""The scenarios of idle connections with TLS 1.3, with HTTP/2, and with both. Each connection has
had one request for a small file and then does nothing. (HTTP/1.1 in the clear is a scenario of
scenarios.py, with more connections.)
"""

import socket
import ssl
import time

from .measure import memory
from .scenario import Scenario, Target
from .servers import Need

COUNT, WARM = 1_000, 200
SETTLE, SETTLED = 4, 30  # seconds: when memory is first looked at, and last
PATH = b"/45.txt"
# SETTINGS; then HEADERS: GET, http, the path, authority x
HEADERS_FRAME = b"\x82\x86\x44" + bytes([len(PATH)]) + PATH + b"\x41\x01x"
PREFACE = (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" b"\0\0\0\x04\0\0\0\0\0"
           + len(HEADERS_FRAME).to_bytes(3, "big") + b"\x01\x05\0\0\0\x01" + HEADERS_FRAME)
END_STREAM, DATA, HEADERS = 1, 0, 1
STATUS_200 = b"\x88"


def exactly(conn, count):
    """So many bytes."""
    data = b""
    while len(data) < count:
        more = conn.recv(count - len(data))
        assert more, "the server has closed the connection"
        data += more
    return data


def ask_http1(conn):
    """One request; reads the answer whole."""
    conn.sendall(b"GET " + PATH + b" HTTP/1.1\r\nHost: x\r\n\r\n")
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += exactly(conn, 1)
    assert b" 200 " in head.split(b"\r\n")[0], head
    length, = (line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    exactly(conn, int(length.split(b":")[1]))


def ask_http2(conn):
    """The preface and one request, until its stream ends."""
    conn.sendall(PREFACE)
    while True:
        head = exactly(conn, 9)
        payload = exactly(conn, int.from_bytes(head[:3], "big"))
        assert head[3] != HEADERS or STATUS_200 in payload[:4], payload
        if head[3] in (DATA, HEADERS) and head[4] & END_STREAM:
            return


def connection(server, tls, http2):
    """One that has had its answer."""
    conn = socket.create_connection(("127.0.0.1", server.tls_port if tls else server.port), 20)
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_alpn_protocols(["h2" if http2 else "http/1.1"])
        conn = context.wrap_socket(conn)
        assert not http2 or conn.selected_alpn_protocol() == "h2"
    (ask_http2 if http2 else ask_http1)(conn)
    return conn


def at_rest(server):
    """Bytes that the server takes once it has given back what it will: the sweeps that put
    connections to sleep take longer on a busy machine."""
    time.sleep(SETTLE)
    taken = memory(server)
    for _ in range(SETTLED - SETTLE):
        time.sleep(1)
        before, taken = taken, memory(server)
        if taken > before * 0.999:
            break
    return taken


def idle(tls, http2, count=COUNT):
    """What `count` connections of that kind cost."""
    def measure(server, _run):
        for conn in [connection(server, tls, http2) for _ in range(WARM)]:
            conn.close()
        time.sleep(1)
        before = memory(server)
        conns = [connection(server, tls, http2) for _ in range(count)]
        try:
            taken = at_rest(server) - before
        finally:
            for conn in conns:
                conn.close()
        return {"PSS bytes/connection": taken / count, "connections": count}
    return measure


def scene(name, what, tls, http2):
    """One of the scenarios. The targets are hoped for: mod_ssl and mod_http2 are httpd's own."""
    return Scenario(name, f"{COUNT:,} idle connections, {what}", idle(tls, http2),
                    Need(COUNT + WARM, tls=tls, http2=http2),
                    [Target("PSS bytes/connection", "nginx", at_most=1.5 if http2 else 1,
                            stretch=True)], rounds=3, about=12,
                    without={"prefork": "needs a process for each connection"})


IDLE = [scene("idle-tls", "TLS 1.3", True, False),
        scene("idle-http2", "HTTP/2", False, True),
        scene("idle-http2-tls", "HTTP/2 over TLS 1.3", True, True)]
