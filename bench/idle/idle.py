# SPDX-License-Identifier: Apache-2.0
"""What an idle connection costs the server, by protocol: HTTP/1.1 and HTTP/2, in the clear and
with TLS 1.3. Each connection has had one request for a small file and then does nothing.

  python3 -m bench.idle.idle [KIND...]
"""

import shutil
import socket
import ssl
import sys
import time

from bench.httpd.measure import memory
from bench.httpd.servers import Need, make

KINDS = ("stm", "event", "nginx")
COUNT, WARM = 1_000, 200
SETTLE = 4  # seconds; stm puts connections to sleep after one
PREFACE = (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" b"\0\0\0\x04\0\0\0\0\0"
           b"\0\0\x06\x01\x05\0\0\0\x01" b"\x82\x86\x84\x41\x01x")  # SETTINGS, HEADERS: GET / at x
END_STREAM, DATA, HEADERS = 1, 0, 1
PROTOCOLS = {"HTTP/1.1": (False, False), "HTTP/1.1, TLS": (True, False),
             "HTTP/2": (False, True), "HTTP/2, TLS": (True, True)}


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
    conn.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
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
        exactly(conn, int.from_bytes(head[:3], "big"))
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


def cost(kind, tls, http2):
    """Bytes for each of COUNT connections."""
    server = make(kind, f"idle-{kind}", Need(COUNT + WARM, tls=tls, http2=http2))
    server.page("index.html", b"x" * 45)
    server.start()
    try:
        for conn in [connection(server, tls, http2) for _ in range(WARM)]:
            conn.close()
        time.sleep(1)
        before = memory(server)
        conns = [connection(server, tls, http2) for _ in range(COUNT)]
        time.sleep(SETTLE)
        taken = memory(server) - before
        for conn in conns:
            conn.close()
    finally:
        server.stop()
        shutil.rmtree(server.root, ignore_errors=True)
    return taken / COUNT


def main(kinds):
    """The table."""
    print("KB of PSS for an idle connection", *(f"{kind:>8}" for kind in kinds))
    for name, (tls, http2) in PROTOCOLS.items():
        row = []
        for kind in kinds:
            row.append(f"{cost(kind, tls, http2) / 1e3:8.1f}")
        print(f"{name:32}", *row, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:] or KINDS)
