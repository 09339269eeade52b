# SPDX-License-Identifier: Apache-2.0
"""The soak's server: one httpd with everything that is to be mixed, and the backends behind it."""

import asyncio
import hashlib
import os
import random
import shutil
import threading

import websockets
from harness import Server, net, places, tool, wait_for
from harness.client import Conn
from harness.drive import SlowBackend

DIRECTIVES = """
HangTimeout 4
ConfigTestTimeout 30
VPConnections {vp_connections}
ScoreboardDir @ROOT@/scoreboards
ExtendedStatus On
Protocols h2c http/1.1
H2MinWorkers 16
SSLSessionCache shmcb:@ROOT@/run/ssl(512000)
<Location /probe>
SetHandler probe
</Location>
<Location /server-status>
SetHandler server-status
</Location>
ScriptAlias /cgi/ @ROOT@/cgi/
ProxyPass /proxy/ http://127.0.0.1:{backend}/
ProxyPass /ws ws://127.0.0.1:{websocket}/
"""
MODULES = ("status", "cgi", "proxy", "proxy_http", "proxy_wstunnel", "http2", "socache_shmcb")


class Echo(threading.Thread):
    """A WebSocket backend that sends back what comes."""

    def __init__(self):
        super().__init__(daemon=True)
        self.port, self._ready = None, threading.Event()

    def run(self):
        asyncio.run(self._serve())

    async def _serve(self):
        async def echo(link):
            try:
                async for message in link:
                    await link.send(message)
            except websockets.ConnectionClosed:
                pass  # its VP has ended
        async with websockets.serve(echo, "127.0.0.1", 0, ping_interval=None) as server:
            self.port = server.sockets[0].getsockname()[1]
            self._ready.set()
            await asyncio.Future()

    def started(self):
        """Itself, once its port is known."""
        self.start()
        self._ready.wait()
        return self


class Site:
    """The server under soak."""

    def __init__(self, processes):
        self.processes = processes
        self.backend, self.echo = SlowBackend(30), Echo().started()
        self.event_module = places.MODULES / "mod_mpm_event.so"
        self.server = Server("soak", processes=processes, threads=256, tls=True,
                             modules=[tool("mod_probe.so"), *MODULES],
                             directives=DIRECTIVES.format(backend=self.backend.port,
                                                          websocket=self.echo.port,
                                                          vp_connections=4000))
        self._files()
        self.module = self.server.root / "mod_mpm_stm.so"
        self.put_module("same")
        self.server.start()
        text = self.server.conf.read_text().replace(str(places.STM_MODULE), str(self.module))
        self.server.conf.write_text(text)
        self.good = text
        self.server.restart()
        wait_for(lambda: len(self.server.children()) == processes, "the first generation's end")
        self.port, self.tls_port = self.server.port, self.server.tls_port
        self.tls = net.tls_context()

    def _files(self):
        big = random.Random(1).randbytes(3_000_000)
        self.server.page("big.bin", big)
        self.big_digest = hashlib.sha256(big).hexdigest()
        program = self.server.root / "cgi/hello"
        program.parent.mkdir()
        program.write_text("#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\nhello\\n'\n")
        program.chmod(0o755)

    def put_module(self, build):
        """An upgrade of the file: "same" build, or one with another "layout"."""
        source = places.STM_MODULE if build == "same" else tool(f"upgrade-{build}.so")
        new = self.module.with_suffix(".new")
        shutil.copy(source, new)
        os.rename(new, self.module)

    def some_vp(self):
        """The process that serves a new connection now, and the connection."""
        conn = Conn(self.server.port)
        return int(conn.get("/probe?pid").text.split()[0]), conn

    def log(self):
        """The error log so far."""
        return self.server.error_log()

    def end(self):
        """Stops everything; what the server left behind is an AssertionError."""
        self.server.allowed.append(r"AH00052|exit signal|AH0005[01]|died of signal")
        try:
            self.server.stop()
        finally:
            self.backend.close()
