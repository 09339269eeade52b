# SPDX-License-Identifier: Apache-2.0
"""An HTTP/2 client that sees every frame: many streams of one connection, PING, flow control."""

import select
import socket
import time
from dataclasses import dataclass

import h2.config
import h2.connection
import h2.events

PATIENCE = 60.0  # seconds after which a wait is given up

# The library thinks that nothing may follow a GOAWAY, but the last streams' responses do.
h2.connection.H2ConnectionStateMachine._transitions[
    h2.connection.ConnectionState.CLIENT_OPEN, h2.connection.ConnectionInputs.RECV_GOAWAY
] = (None, h2.connection.ConnectionState.CLIENT_OPEN)  # pylint: disable=protected-access


@dataclass
class Stream:
    """What has arrived on a stream so far."""

    status: int = 0
    body: bytes = b""
    ended: bool = False
    reset: bool = False
    owed: int = 0  # bytes that arrived and were not acknowledged (hold_back)


class H2:
    """One connection: cleartext, with prior knowledge; or with TLS."""

    def __init__(self, port, hold_back=False, tls=None):
        """hold_back: flow control windows are not reopened until catch_up(). tls: a context, which
        offers h2 by ALPN from now on."""
        self.sock = socket.create_connection(("127.0.0.1", port), PATIENCE)
        if tls:
            tls.set_alpn_protocols(["h2"])
            self.sock = tls.wrap_socket(self.sock, server_hostname="localhost")
            assert self.sock.selected_alpn_protocol() == "h2"
        config = h2.config.H2Configuration(client_side=True, header_encoding="utf-8")
        self.link = h2.connection.H2Connection(config)
        self.streams, self.pongs, self.goaway, self.closed = {}, 0, False, False
        self.hold_back = hold_back
        self.link.initiate_connection()
        self._flush()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.sock.close()

    def _flush(self):
        data = self.link.data_to_send()
        if data:
            self.sock.sendall(data)

    def get(self, path):
        """Begins a request, and returns its Stream."""
        number = self.link.get_next_available_stream_id()
        self.streams[number] = Stream()
        self.link.send_headers(number, [(":method", "GET"), (":path", path), (":scheme", "http"),
                                        (":authority", "localhost")], end_stream=True)
        self._flush()
        return self.streams[number]

    def cancel_all(self):
        """Sends RST_STREAM on every stream that has not ended."""
        for number, stream in self.streams.items():
            if not stream.ended:
                self.link.reset_stream(number, 8)  # CANCEL
                stream.ended = True
        self._flush()

    def ping(self):
        """Sends a PING, and waits for the acknowledgement."""
        wanted = self.pongs + 1
        self.link.ping(b"12345678")
        self._flush()
        self.until(lambda: self.pongs >= wanted, "PING's answer")

    def catch_up(self):
        """Reopens all windows."""
        self.hold_back = False
        for number, stream in self.streams.items():
            if stream.owed:
                self.link.acknowledge_received_data(stream.owed, number)
                stream.owed = 0
        self._flush()

    def _take(self, event):
        stream = self.streams.get(getattr(event, "stream_id", None))
        if isinstance(event, h2.events.PingAckReceived):
            self.pongs += 1
        elif isinstance(event, h2.events.ConnectionTerminated):
            self.goaway = True
        elif isinstance(event, h2.events.ResponseReceived):
            stream.status = int(dict(event.headers)[":status"])
        elif isinstance(event, h2.events.DataReceived):
            stream.body += event.data
            if self.hold_back:
                stream.owed += event.flow_controlled_length
            else:
                self.link.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.StreamEnded):
            stream.ended = True
        elif isinstance(event, h2.events.StreamReset):
            stream.ended = stream.reset = True

    def pump(self, timeout):
        """Takes what arrives within `timeout` seconds. False: nothing arrived, or the connection is
        over."""
        pending = getattr(self.sock, "pending", lambda: 0)()
        if not pending and not select.select([self.sock], [], [], timeout)[0]:
            return False
        data = self.sock.recv(1 << 20)
        self.closed = not data
        assert data or self.goaway, "the server closed the connection"
        for event in self.link.receive_data(data):
            self._take(event)
        self._flush()
        return bool(data)

    def until(self, condition, what):
        """Receives frames until the condition holds."""
        end = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < end, f"waited in vain: {what}"
            self.pump(1.0)

    def finish(self):
        """Waits until all streams have ended, and returns them in order."""
        streams = list(self.streams.values())
        self.until(lambda: all(stream.ended for stream in streams), "the end of all streams")
        return streams


class Streams(H2):
    """A connection that knows which streams a GOAWAY has excluded; their requests may be
    repeated."""

    last = (1 << 31) - 1  # the last stream that the server will answer
    error = 0  # of the last GOAWAY

    def _take(self, event):
        super()._take(event)
        if isinstance(event, h2.events.ConnectionTerminated):
            self.last = min(self.last, event.last_stream_id)
            self.error = int(event.error_code)

    def due(self):
        """Streams that will be answered, but have not been yet."""
        return [stream for number, stream in self.streams.items()
                if not stream.ended and number <= self.last]

    def answers(self):
        """Waits for those that are due."""
        end = time.monotonic() + PATIENCE
        while self.due():
            assert not self.closed, "closed before the last answer"
            assert time.monotonic() < end, "a stream without an end"
            self.pump(1.0)

    def round(self, paths):
        """Requests these, and waits for the responses that are due."""
        new = []
        for path in paths:
            if self.goaway:
                break
            new.append(self.get(path))
        self.answers()
        assert all(stream.status == 200 for stream in new if stream.ended), "a bad status"
