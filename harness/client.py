# SPDX-License-Identifier: Apache-2.0
"""A raw HTTP/1.x client: the test controls every byte sent, and sees every byte received.

http.client is not used: it hides early closes, repairs headers and reads ahead.
"""

import socket
from dataclasses import dataclass, field

PATIENCE = 30.0  # seconds until a read gives up; ends a hang, decides nothing


class Closed(Exception):
    """The server closed (or reset) the connection when more was expected."""


@dataclass
class Response:
    """One response. Header names are in lower case."""

    status: int
    version: str
    headers: dict = field(default_factory=dict)
    body: bytes = b""

    @property
    def text(self):
        """The body as text."""
        return self.body.decode()

    @property
    def keeps(self):
        """Whether the server intends to keep the connection open."""
        said = [token.strip() for token in self.headers.get("connection", "").lower().split(",")]
        return "close" not in said if self.version == "HTTP/1.1" else "keep-alive" in said


def request(path="/", method="GET", headers=(), body=b"", version="HTTP/1.1"):
    """The bytes of one request; adds Host, and Content-Length if there is a body."""
    lines = [f"{method} {path} {version}", "Host: localhost", *headers]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class Conn:
    """One connection to a server."""

    def __init__(self, port, host="127.0.0.1", tls=None, rcvbuf=None, source=None):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.sock = socket.socket(family, socket.SOCK_STREAM)
        self.sock.settimeout(PATIENCE)
        if rcvbuf:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        if source:
            self.sock.bind((source, 0))
        self._buffer = b""
        try:
            self.sock.connect((host, port))
            if tls:
                self.sock = tls.wrap_socket(self.sock, server_hostname="localhost")
        except BaseException:
            self.sock.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def close(self):
        """Closes the socket."""
        self.sock.close()

    def half_close(self):
        """Sends FIN; the other direction stays open."""
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self):
        """Closes with RST instead of FIN."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.sock.close()

    def send(self, data):
        """Sends all of `data`."""
        self.sock.sendall(data)

    def ask(self, path="/", **more):
        """Sends one request."""
        self.send(request(path, **more))

    def get(self, path="/", **more):
        """Sends one request and reads its response."""
        self.ask(path, **more)
        return self.response(more.get("method", "GET"))

    def _more(self):
        """Reads what is available into the buffer; False at the end."""
        try:
            data = self.sock.recv(65536)
        except ConnectionResetError as error:
            raise Closed("connection reset") from error
        self._buffer += data
        return bool(data)

    def _until(self, mark):
        while mark not in self._buffer:
            if not self._more():
                raise Closed(f"closed after {self._buffer[:200]!r}")
        head, self._buffer = self._buffer.split(mark, 1)
        return head

    def exactly(self, count):
        """Reads `count` bytes."""
        parts = [self._buffer[:count]]
        have = len(parts[0])
        self._buffer = self._buffer[count:]
        while have < count:
            try:
                data = self.sock.recv(min(1 << 20, count - have))
            except ConnectionResetError as error:
                raise Closed(f"connection reset {count - have} bytes short") from error
            if not data:
                raise Closed(f"closed {count - have} bytes short")
            parts.append(data)
            have += len(data)
        return b"".join(parts)

    def rest(self):
        """Reads until the server closes."""
        while self._more():
            pass
        data, self._buffer = self._buffer, b""
        return data

    def ended(self):
        """Waits for the server's next move; True if that is an orderly close."""
        return not self._buffer and not self._more()

    def head(self):
        """Reads a status line and headers."""
        lines = self._until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        version, status = lines[0].split(" ", 2)[:2]
        pairs = (line.split(":", 1) for line in lines[1:])
        return Response(int(status), version, {k.lower(): v.strip() for k, v in pairs})

    def response(self, method="GET"):
        """Reads one response with its body. Interim (1xx) responses are left to the caller:
        head()."""
        got = self.head()
        if method == "HEAD" or got.status in (204, 304) or got.status < 200:
            return got
        if got.headers.get("transfer-encoding", "").lower() == "chunked":
            got.body = self._chunks()
        elif "content-length" in got.headers:
            got.body = self.exactly(int(got.headers["content-length"]))
        else:
            got.body = self.rest()
        return got

    def _chunks(self):
        body = b""
        while True:
            size = int(self._until(b"\r\n").split(b";")[0], 16)
            body += self.exactly(size)
            if self.exactly(2) != b"\r\n":
                raise AssertionError("a chunk does not end with CRLF")
            if size == 0:
                return body
