# SPDX-License-Identifier: Apache-2.0
"""The TLS records that a response comes in, and the writes: header and body share them."""

import queue
import re
import socket
import ssl
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest
from harness import Conn
from harness.client import request
from harness.net import tls_context
from harness.strace import Trace

from .tracing import skipped_if_forbidden

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
BIG, HUGE = 4_000_000, 100_000_000  # files, bytes; sockets' buffers take a few MB
RECORD = 16_384      # bytes of plaintext that a record takes
DATA = 23            # type of a record with application data
# What a record has besides plaintext: version 1.2 with AES-GCM a nonce and a tag; 1.3 the type and
# a tag.
AROUND = {ssl.TLSVersion.TLSv1_2: 8 + 16, ssl.TLSVersion.TLSv1_3: 1 + 16}
SIZES = [0, 1, 100, 4_000, 7_900, 8_191, 8_192, 8_193, 10_240, 16_000, 16_384, 16_385, 20_000,
         32_768, 32_769, 40_000, 65_536, 102_400]


def content(size):
    """So many bytes; each stretch of 7 tells where it is from."""
    return b"".join(b"%06d\n" % n for n in range(size // 7 + 1))[:size]


class Records:
    """A TLS client that sees the records: what arrives, and in which pieces."""

    def __init__(self, server, version=ssl.TLSVersion.TLSv1_3):
        context = tls_context(version)
        if version == ssl.TLSVersion.TLSv1_2:
            context.set_ciphers("ECDHE+AESGCM")
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out, server_hostname="localhost")
        self._sock = socket.create_connection(("127.0.0.1", server.tls_port), 30)
        self._around, self._raw = AROUND[version], b""
        self.lengths = []  # plaintext of each record with application data
        self._until(self._tls.do_handshake)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self._sock.close()

    def _until(self, call):
        """Calls until it wants no more records."""
        while True:
            try:
                return call()
            except ssl.SSLWantReadError:
                self._sock.sendall(self._out.read())
                self._record()
            finally:
                if self._out.pending:
                    self._sock.sendall(self._out.read())

    def _exactly(self, count):
        while len(self._raw) < count:
            more = self._sock.recv(65_536)
            assert more, "the server has closed the connection"
            self._raw += more
        data, self._raw = self._raw[:count], self._raw[count:]
        return data

    def _record(self):
        head = self._exactly(5)
        length = int.from_bytes(head[3:], "big")
        if head[0] == DATA:
            self.lengths.append(length - self._around)
        self._in.write(head + self._exactly(length))

    def send(self, data):
        """Sends."""
        self._tls.write(data)
        self._sock.sendall(self._out.read())

    def until(self, count):
        """Responses whose bodies have `count` bytes in all."""
        data = b""
        while len(re.sub(rb"HTTP/1.1 [\0-\xff]*?\r\n\r\n", b"", data)) < count:
            data += self._until(lambda: self._tls.read(65_536))
        return data

    def get(self, path, **more):
        """Header, body, and the plaintext of each record that they came in."""
        self.send(request(path, **more))
        return self.answer()

    def answer(self):
        """The next response, which has a Content-Length."""
        self.lengths = []
        data = b""
        while b"\r\n\r\n" not in data:
            data += self._until(lambda: self._tls.read(65_536))
        head, data = data.split(b"\r\n\r\n", 1)
        length = int(re.search(rb"(?i)content-length: (\d+)", head).group(1))
        while len(data) < length:
            data += self._until(lambda: self._tls.read(65_536))
        assert len(data) == length
        return head.decode(), data, list(self.lengths)


@contextmanager
def records(server, version):
    """A client that has had a first response, and with it the session tickets."""
    with Records(server, version) as client:
        client.get("/0.bin")
        yield client


@pytest.fixture(scope="module")
def server(serve_module):
    made = serve_module.make(tls=True, processes=1, modules=("include",), directives="""
        <Location /unmapped/>
            EnableMMAP Off
        </Location>
        <Location /sendfile/>
            EnableSendfile On
        </Location>
        AddOutputFilter INCLUDES .shtml
        <Directory @ROOT@/htdocs>
            Options +Includes
        </Directory>
        """)
    for folder in ("", "unmapped/", "sendfile/"):
        made.page(f"{folder}big.bin", content(BIG))
        for size in SIZES:
            made.page(f"{folder}{size}.bin", content(size))
    with open(made.root / "htdocs/huge.bin", "wb") as file:
        file.truncate(HUGE)
    made.page("many.shtml", '<!--#include virtual="100.bin" -->' * 300)
    return made.start()


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("folder", ["", "unmapped/", "sendfile/"])
def test_every_size_arrives_as_it_is(server, version, folder):
    with records(server, version) as client:
        for size in SIZES + SIZES[::-1]:
            assert client.get(f"/{folder}{size}.bin")[1] == content(size), size


@pytest.mark.stm_only
@pytest.mark.parametrize("version", VERSIONS)
def test_header_and_body_share_a_record(server, version):
    """Any response that fits comes in one; of a larger one all records but the last are full."""
    with records(server, version) as client:
        for size in SIZES:
            head, body, lengths = client.get(f"/{size}.bin")
            whole = len(head) + 4 + len(body)
            assert sum(lengths) == whole
            assert lengths[:-1] == [RECORD] * ((whole - 1) // RECORD), (size, lengths)


@pytest.mark.stm_only
def test_one_record_is_one_write(server):
    with records(server, ssl.TLSVersion.TLSv1_3) as client:
        with skipped_if_forbidden():
            tracer = Trace(server.children(), server.root / "strace.out",
                           "write,writev,sendmsg,sendto")
        try:
            for _ in range(10):
                assert client.get("/10240.bin")[1] == content(10_240)
        finally:
            lines = tracer.end().splitlines()
    sent = [line for line in lines if re.search(r"\\27\\3\\3", line)]
    assert len(sent) == 10, lines


def test_pipelined_responses_keep_their_order(server):
    with records(server, ssl.TLSVersion.TLSv1_3) as client:
        wanted = [100, 10_240, 0, 40_000, 1, 8_192]
        client.send(b"".join(request(f"/{size}.bin") for size in wanted))
        got = client.until(sum(wanted))
    for size in wanted:
        head, got = got.split(b"\r\n\r\n", 1)
        assert head.startswith(b"HTTP/1.1 200 ")
        assert got[:size] == content(size)
        got = got[size:]
    assert got == b""


@pytest.mark.parametrize("version", VERSIONS)
def test_many_small_pieces(server, version):
    """mod_include passes on some hundred buckets, and the response is chunked."""
    with server.connect_tls(version) as conn:
        for _ in range(3):
            assert conn.get("/many.shtml").body == content(100) * 300


def test_without_a_body(server):
    with server.connect_tls() as conn:
        for _ in range(3):
            assert conn.get("/10240.bin", method="HEAD").headers["content-length"] == "10240"
            assert conn.get("/nothing").status == 404
            tag = conn.get("/10240.bin").headers["etag"]
            assert conn.get("/10240.bin", headers=[f"If-None-Match: {tag}"]).status == 304
            got = conn.get("/102400.bin", headers=["Range: bytes=5-50004"])
            assert got.status == 206 and got.body == content(102_400)[5:50_005]


def test_last_response_of_a_connection(server):
    """It is whole, and the TLS connection is closed in order."""
    for size in SIZES:
        with server.connect_tls() as conn:
            got = conn.get(f"/{size}.bin", headers=["Connection: close"])
            assert got.body == content(size)
            assert conn.ended()


def test_client_that_leaves_early(server):
    for size in (100, 10_240, 102_400) * 10:
        with server.connect_tls() as conn:
            conn.send(request(f"/{size}.bin"))
    with server.connect_tls() as conn:
        assert conn.get("/10240.bin").body == content(10_240)


@pytest.mark.parametrize("path", ["/big.bin", "/unmapped/big.bin", "/sendfile/big.bin"])
def test_client_that_reads_slowly(server, path):
    """Its socket's buffer is full most of the time; others are served meanwhile."""
    with Conn(server.tls_port, rcvbuf=4096, tls=tls_context()) as slow:
        slow.send(request(path))
        for _ in range(20):
            slow.sock.recv(1000)
            with server.connect_tls() as conn:
                assert conn.get("/10240.bin").body == content(10_240)
    with Conn(server.tls_port, rcvbuf=4096, tls=tls_context()) as slow:
        assert slow.get(path).body == content(BIG)


@pytest.mark.stm_only
def test_large_file_is_not_read_ahead(server):
    """If the client reads nothing, the server reads no more than sockets take."""
    vp, = server.children()
    with Conn(server.tls_port, rcvbuf=4096, tls=tls_context()) as conn:
        before = bytes_read(vp)
        conn.send(request("/big.bin"))
        conn.sock.recv(1000)
        with server.connect_tls() as other:  # the first one has its turn before this one
            assert other.get("/0.bin").status == 200
        assert bytes_read(vp) - before < HUGE // 4


def bytes_read(pid):
    """What the process has read with read() and the like."""
    return int(re.search(r"rchar: (\d+)", Path(f"/proc/{pid}/io").read_text()).group(1))


class Prompter(threading.Thread):
    """A backend that sends each next piece of its one response when it is told to."""

    def __init__(self):
        super().__init__(daemon=True)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.pieces = queue.Queue()

    def run(self):
        conn, _ = self._listener.accept()
        with conn, self._listener:
            conn.recv(65_536)
            conn.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
            while piece := self.pieces.get(timeout=30):
                conn.sendall(piece)


def test_what_a_backend_has_sent_is_not_held_back(serve):
    """Each piece arrives before the backend sends the next one."""
    backend = Prompter()
    server = serve(tls=True, modules=("proxy", "proxy_http"),
                   directives=f"ProxyPass /proxy/ http://127.0.0.1:{backend.port}/\n")
    backend.start()
    with server.connect_tls() as conn:
        conn.send(request("/proxy/", version="HTTP/1.0"))
        got = wanted = b""
        for size in (1, 100, 8_192, 20_000, 3):
            backend.pieces.put(content(size))
            wanted += content(size)
            while not got.endswith(b"\r\n\r\n" + wanted):
                more = conn.sock.recv(65_536)
                assert more
                got += more
        backend.pieces.put(b"")
        assert conn.rest() == b""
