# SPDX-License-Identifier: Apache-2.0
"""The soak's clients: threads that each use the server in one way, and record what they lose.

A session is one connection. If possible, a client first asks which process serves it, so that a
loss can be attributed to a process that was killed, or not.
"""

import base64
import hashlib
import os
import random
import ssl
import struct
import threading
import time
from collections import Counter, namedtuple

import h2.exceptions

from harness.client import Closed, Conn
from tests.live.waits.h2client import Streams

# kind of client; pid: of the serving process, None if unknown; times: time.monotonic()
Loss = namedtuple("Loss", "kind pid begun failed what")
FAILURES = (OSError, Closed, ssl.SSLError, AssertionError, ValueError,
            h2.exceptions.H2Error)


class Tally:
    """What all clients together have seen."""

    def __init__(self):
        self.lock = threading.Lock()
        self.answered, self.losses = Counter(), []

    def ok(self, kind):
        """A request was answered as it should be."""
        with self.lock:
            self.answered[kind] += 1

    def lost(self, loss):
        """A request was not answered as it should be."""
        with self.lock:
            self.losses.append(loss)


class Client(threading.Thread):
    """Sessions, one after the other, until it is told to stop."""

    kind, requests, pause = "", 20, 0.05

    def __init__(self, site, tally):
        super().__init__(daemon=True)
        self.site, self.tally = site, tally
        self.ending = threading.Event()
        self.pid, self.begun = None, 0.0

    def run(self):
        while not self.ending.is_set():
            self.pid, self.begun = None, time.monotonic()
            try:
                self.session()
            except FAILURES as error:
                self.tally.lost(Loss(self.kind, self.pid, self.begun, time.monotonic(),
                                     f"{type(error).__name__}: {error}"[:160]))
                time.sleep(0.05)

    def one(self, request):
        """A request of the session; request() raises one of FAILURES if it goes wrong."""
        self.begun = time.monotonic()
        value = request()
        self.tally.ok(self.kind)
        self.ending.wait(self.pause * random.random())
        return value

    def session(self):
        """One connection; subclasses say what is done on it."""
        with self.connect() as conn:
            got = good(conn.get("/probe?pid"))
            self.pid = int(got.text.split()[0])
            if not got.keeps:
                return
            for _ in range(random.randint(1, self.requests)):
                got = self.one(lambda: self.request(conn))
                if self.ending.is_set() or not got.keeps:
                    break

    def connect(self):
        """A new connection."""
        return Conn(self.site.port)

    def request(self, conn):
        """One request on it."""
        got = good(conn.get("/"))
        assert b"It works" in got.body, f"a wrong page of {len(got.body)} bytes"
        return got


def good(response):
    """The response, if its status is 200."""
    assert response.status == 200, f"status {response.status}"
    return response


class Fresh(Client):
    """A new connection for each request."""

    kind = "new"

    def session(self):
        with self.connect() as conn:
            self.one(lambda: self.request(conn))


class Keep(Client):
    """Small files on connections that are kept."""

    kind = "keep-alive"


class Idle(Client):
    """The same, but idle in between until the connection falls asleep."""

    kind, requests, pause = "idle", 4, 6.0


class Download(Client):
    """A larger file, byte by byte right, by a client that reads slowly."""

    kind, requests = "download", 2

    def connect(self):
        return Conn(self.site.port, rcvbuf=32768)

    def request(self, conn):
        conn.ask("/big.bin")
        head = good(conn.head())
        left, digest = int(head.headers["content-length"]), hashlib.sha256()
        while left:
            digest.update(conn.exactly(min(left, 65536)))
            left -= min(left, 65536)
            time.sleep(0.005)
        assert digest.hexdigest() == self.site.big_digest, "a download with wrong bytes"
        return head


class Tls(Client):
    """TLS, with a handshake for each session."""

    kind = "tls"

    def connect(self):
        return Conn(self.site.tls_port, tls=self.site.tls)


class Cgi(Client):
    """Programs."""

    kind, requests, pause = "cgi", 5, 0.3

    def request(self, conn):
        got = good(conn.get("/cgi/hello"))
        assert got.body == b"hello\n", f"a program's answer {got.body[:40]!r}"
        return got


class Proxy(Client):
    """A backend that takes its time."""

    kind = "proxy"

    def request(self, conn):
        return good(conn.get("/proxy/"))


class Http2(Client):
    """Several streams of a connection at once: files and the backend."""

    kind, requests, pause = "http/2", 8, 0.1

    def session(self):
        with Streams(self.site.port) as conn:
            for _ in range(random.randint(1, self.requests)):
                self.one(lambda: conn.round(["/", "/proxy/", "/"]))
                if self.ending.is_set() or conn.goaway:
                    break


class WebSocket(Client):
    """Messages through the proxy, each echoed by the backend; raw frames, so nothing is hidden."""

    kind, requests, pause = "websocket", 40, 0.3

    def session(self):
        with self.connect() as conn:
            key = base64.b64encode(os.urandom(16)).decode()
            conn.send(("GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
                       f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\n"
                       "Sec-WebSocket-Version: 13\r\n\r\n").encode())
            head = conn.head()
            assert head.status == 101, f"status {head.status}"
            for _ in range(random.randint(1, self.requests)):
                self.one(lambda: self.echo(conn))
                if self.ending.is_set():
                    break
            conn.send(b"\x88\x80\0\0\0\0")
            conn.exactly(2)

    @staticmethod
    def echo(conn):
        """A text message and its echo."""
        text = os.urandom(20).hex().encode()
        mask = os.urandom(4)
        conn.send(struct.pack("!BB", 0x81, 0x80 | len(text)) + mask +
                  bytes(byte ^ mask[i % 4] for i, byte in enumerate(text)))
        first, length = conn.exactly(2)
        assert (first, length) == (0x81, len(text)), "a frame that is not the echo's"
        assert conn.exactly(length) == text, "an echo with wrong bytes"


# How many threads use the server in each way.
MIX = {Fresh: 2, Keep: 4, Idle: 6, Download: 2, Tls: 3, Cgi: 1, Proxy: 4, Http2: 3, WebSocket: 4}
