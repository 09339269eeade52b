# SPDX-License-Identifier: Apache-2.0
"""Stopping while all kinds of waits are in progress, at once and gracefully."""

import contextlib
import signal
import time
from collections import Counter

import pytest

from harness import procs, wait_for

from .backends import Echo, Http, Scgi
from .h2client import H2
from .inflight import InFlight
from .test_wait_programs import script
from .test_wait_tls import CACHE, HalfWay

MODULES = ("proxy", "proxy_http", "proxy_scgi", "proxy_connect", "http2", "cgid", "cgi",
           "rewrite", "ext_filter", "include", "ratelimit", "env", "socache_shmcb", "status")
COUNT = 40


class World:
    """A server with some of each kind of request in progress."""

    def __init__(self, serve, backend, file_gate, more=""):
        self.http, self.few, self.scgi = backend(Http), backend(Http), backend(Scgi)
        self.echo = backend(Echo)
        at = "127.0.0.1"
        self.server = serve.make(
            processes=1, threads=1000, ports=2, tls=True, modules=MODULES, directives=f"""
            {more}
            {CACHE}
            Protocols h2c http/1.1
            Timeout 300
            ProxyPass /http/ http://{at}:{self.http.port}/
            ProxyPass /few/ http://{at}:{self.few.port}/ max=5
            ProxyPass /scgi/ scgi://{at}:{self.scgi.port}/
            ScriptSock @ROOT@/run/cgisock
            ScriptAlias /cgid @ROOT@/cgi/
            ScriptAlias /cgi @ROOT@/cgi/
            <Location /cgi>
                SetHandler cgi-script
            </Location>
            RewriteEngine On
            RewriteMap slow prg:@ROOT@/map
            RewriteRule ^/mapped/(.*)$ /${{slow:$1}} [L]
            ExtFilterDefine slow mode=output cmd="@ROOT@/filter"
            Alias /filtered @ROOT@/htdocs
            <Location /filtered>
                SetOutputFilter slow
            </Location>
            <Location /limited.bin>
                SetOutputFilter RATE_LIMIT
                SetEnv rate-limit 1
            </Location>
            <VirtualHost *:@PORT2@>
                ProxyRequests On
                AllowCONNECT {self.echo.port}
            </VirtualHost>
            """)
        self.gate = file_gate(self.server.private_folder("gate"))
        self._programs()
        self.server.page("limited.bin", b"x" * 100_000)
        self.server.start()

    def _programs(self):
        """Each notes its pid before it waits."""
        root = self.server.root
        (root / "cgi").mkdir()
        self.pids = self.gate.arrivals.with_name("pids")
        self.pids.touch()
        self.pids.chmod(0o666)
        held = f"echo $$ $REQUEST_URI$0 >> {self.pids}; {self.gate.shell}"
        script(root / "cgi/held", f"#!/bin/sh\n{held}\nprintf 'Status: 200\\r\\n\\r\\nheld\\n'\n")
        script(root / "filter", f"#!/bin/sh\n{held}\nexec cat\n")
        script(root / "map", f"#!/bin/sh\nwhile read -r name; do\n{held}\necho x; done\n")

    def programs(self):
        """What is still running: names, and how many of each."""
        pairs = [line.split() for line in self.pids.read_text().splitlines()]
        stats = [(procs.stat(int(pid)), name) for pid, name in pairs]
        return Counter(name for stat, name in stats if stat and stat.state not in "ZX")

    @contextlib.contextmanager
    def busy(self):
        """With COUNT of each in progress."""
        server = self.server
        with contextlib.ExitStack() as stack:
            flights = {name: stack.enter_context(InFlight(server, [path] * COUNT)) for name, path in
                       {"http": "/http/x", "few": "/few/x", "scgi": "/scgi/x",
                        "cgid": "/cgid/held", "cgi": "/cgi/held", "map": "/mapped/x",
                        "filter": "/filtered/index.html", "rate": "/limited.bin"}.items()}
            streams = [stack.enter_context(H2(server.port)) for _ in range(COUNT // 4)]
            for client in streams:
                for n in range(4):
                    client.get(f"/http/{n}")
            halves = [HalfWay(server.tls_port) for _ in range(COUNT)]
            stack.callback(lambda: [half.sock.close() for half in halves])
            tunnels = [stack.enter_context(server.connect(port=server.ports[1]))
                       for _ in range(COUNT)]
            for conn in tunnels:
                conn.send(f"CONNECT 127.0.0.1:{self.echo.port} HTTP/1.1\r\nHost: x\r\n\r\n"
                          .encode())
                assert conn.head().status == 200
            self.http.gate.wait_held(COUNT * 2)
            self.few.gate.wait_held(5)
            self.scgi.gate.wait_held(COUNT)
            self.gate.wait_held(3 * COUNT + 1)
            yield flights


@pytest.mark.parametrize("how", ["TERM", "restart"])
def test_everything_in_progress_then_a_hard_end(serve, backend, file_gate, how, record_property):
    world = World(serve, backend, file_gate)
    server = world.server
    with world.busy():
        old = server.children()
        begun = time.monotonic()
        if how == "TERM":
            server.signal(signal.SIGTERM)
            server.wait_gone()
        else:
            server.signal(signal.SIGHUP)
            wait_for(lambda: not set(old) & set(server.children()), "the end of the old VP")
        took = time.monotonic() - begun
        record_property("seconds", took)
        print(f"{how}: {took:.2f} s")
        assert took < 60, "3 s on an idle machine"
    wait_for(lambda: not world.programs(), "the end of all programs")
    if how == "restart":
        server.wait_ready()
        server.stop()


def test_graceful_stop_with_a_time_limit(serve, backend, file_gate):
    """What finishes before the limit is served to the end; the rest is cut off then."""
    world = World(serve, backend, file_gate, "GracefulShutdownTimeout 5")
    server = world.server
    with world.busy() as flights:
        begun = time.monotonic()
        server.signal(signal.SIGWINCH)
        wait_for(lambda: refused(server), "no more connections")
        world.scgi.gate.open()
        assert [got.text for got in flights["scgi"].finish()] == ["held /scgi/x"] * COUNT
        server.wait_gone()
        took = time.monotonic() - begun
        print(f"graceful: {took:.2f} s")
        assert took >= 5
        for name in ("http", "few", "cgid"):
            assert flights[name].answered() == COUNT  # an error or the end
    wait_for(lambda: not world.programs(), "the end of all programs")


def refused(server):
    """Whether the server has stopped listening."""
    try:
        server.connect().close()
        return False
    except ConnectionRefusedError:
        return True
