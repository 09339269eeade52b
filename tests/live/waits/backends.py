# SPDX-License-Identifier: Apache-2.0
"""Backends that speak HTTP, SCGI, uwsgi, AJP and WebSocket, and a valve for others' protocols.

All of them run on a gates.Loop, and hold each request at their gate before they answer it.
"""

import asyncio
import contextlib
import struct

import websockets

from .gates import Gate

BACKLOG = 4096


class Backend:
    """Listens on a loopback port. A subclass's talk() conducts the conversation."""

    def __init__(self, loop):
        self.loop, self.gate = loop, Gate(loop)
        self.connections = 0  # currently open
        self._server = loop.run(self._listen())
        self.port = self._server.sockets[0].getsockname()[1]

    async def _listen(self):
        return await asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=BACKLOG)

    async def _serve(self, reader, writer):
        self.connections += 1
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await self.talk(reader, writer)
        finally:
            self.connections -= 1
            writer.close()

    async def talk(self, reader, writer):
        """One connection."""
        raise NotImplementedError

    def end(self):
        """Stops listening."""
        self.loop.loop.call_soon_threadsafe(self._server.close)


class Http(Backend):
    """Answers "held PATH"; holds all but /free at the gate. `headers` go into each response."""

    def __init__(self, loop, headers=""):
        self.headers, self.asked = headers, []
        super().__init__(loop)

    async def talk(self, reader, writer):
        while head := await reader.readuntil(b"\r\n\r\n"):
            path = head.split(b" ", 2)[1].decode()
            self.asked.append(path)
            if not path.startswith("/free"):
                await self._hold(reader)
            body = f"held {path}\n"
            writer.write(f"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n{self.headers}"
                         f"Content-Length: {len(body)}\r\n\r\n{body}".encode())
            await writer.drain()

    async def _hold(self, reader):
        """Waits at the gate, or until the peer goes away."""
        gate = asyncio.ensure_future(self.gate.wait())
        gone = asyncio.ensure_future(reader.read(1))  # nothing more arrives before the response
        try:
            await asyncio.wait([gate, gone], return_when=asyncio.FIRST_COMPLETED)
            if not gate.done():
                raise ConnectionError("the peer has gone")
        finally:
            gate.cancel()
            gone.cancel()
            await asyncio.gather(gate, gone, return_exceptions=True)


class Events(Backend):
    """Server-sent events: the first at once, then one for each send(), on any number of streams."""

    def __init__(self, loop):
        self.streams = set()
        super().__init__(loop)

    async def talk(self, reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                     b"Connection: close\r\n\r\ndata: hello\n\n")
        await writer.drain()
        self.streams.add(writer)
        try:
            await reader.read(1)  # until the peer closes
        finally:
            self.streams.discard(writer)

    def send(self, text):
        """Sends one more event on all streams."""
        async def write():
            for writer in self.streams:
                writer.write(f"data: {text}\n\n".encode())
        self.loop.run(write())


class Echo(Backend):
    """Echoes what arrives until the peer closes."""

    async def talk(self, reader, writer):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()


class Scgi(Backend):
    """SCGI: a netstring of variables."""

    async def talk(self, reader, writer):
        size = int((await reader.readuntil(b":"))[:-1])
        fields = (await reader.readexactly(size + 1))[:-1].split(b"\0")
        names = dict(zip(fields[::2], fields[1::2]))
        await self.gate.wait()
        writer.write(b"Status: 200 OK\r\nContent-Type: text/plain\r\n\r\nheld "
                     + names[b"REQUEST_URI"])
        await writer.drain()


class Uwsgi(Backend):
    """uwsgi: a block of variables, and HTTP back."""

    async def talk(self, reader, writer):
        _, size, _ = struct.unpack("<BHB", await reader.readexactly(4))
        block, names = await reader.readexactly(size), {}
        while block:
            pair = []
            for _ in range(2):
                length, = struct.unpack_from("<H", block)
                pair.append(block[2:2 + length])
                block = block[2 + length:]
            names[pair[0]] = pair[1]
        await self.gate.wait()
        writer.write(b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nheld "
                     + names[b"REQUEST_URI"])
        await writer.drain()


class Ajp(Backend):
    """AJP 1.3: receives forwarded requests, sends back headers, a chunk and the end; many on each
    connection."""

    async def talk(self, reader, writer):
        while True:
            magic, size = struct.unpack(">HH", await reader.readexactly(4))
            assert magic == 0x1234
            packet = await reader.readexactly(size)
            if packet[0] == 10:  # CPing
                writer.write(b"AB\0\1\x09")
                continue
            length, = struct.unpack_from(">H", packet, 2)  # code, method, then the protocol
            at = 4 + length + 1
            length, = struct.unpack_from(">H", packet, at)
            body = b"held " + packet[at + 2:at + 2 + length]
            await self.gate.wait()
            self._send(writer, b"\4" + struct.pack(">H", 200) + _string(b"OK") +
                       struct.pack(">H", 1) + b"\xa0\x01" + _string(b"text/plain"))
            self._send(writer, b"\3" + struct.pack(">H", len(body)) + body + b"\0")
            self._send(writer, b"\5\1")
            await writer.drain()

    @staticmethod
    def _send(writer, payload):
        writer.write(b"AB" + struct.pack(">H", len(payload)) + payload)


def _string(text):
    return struct.pack(">H", len(text)) + text + b"\0"


class WebSockets(Backend):
    """Echoes each message."""

    async def _listen(self):
        return await websockets.serve(self._echo, "127.0.0.1", 0, backlog=BACKLOG,
                                      ping_interval=None, compression=None, max_queue=4)

    async def _echo(self, socket, *_):
        self.connections += 1
        try:
            async for message in socket:
                await socket.send(message)
        except websockets.ConnectionClosed:
            pass
        finally:
            self.connections -= 1


class Valve(Backend):
    """Forwards connections to another port; while it is shut, nothing comes back from there.

    It makes third-party servers slow for as long as a test wants. The gate holds what they send;
    what is sent to them passes.
    """

    def __init__(self, loop, target):
        self._target = target
        super().__init__(loop)

    async def talk(self, reader, writer):
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", self._target)
        ways = [asyncio.ensure_future(self._pass_on(reader, inner_writer, None)),
                asyncio.ensure_future(self._pass_on(inner_reader, writer, self.gate))]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            inner_writer.close()

    @staticmethod
    async def _pass_on(reader, writer, gate):
        while data := await reader.read(65536):
            if gate:
                await gate.wait()
            writer.write(data)
            await writer.drain()
