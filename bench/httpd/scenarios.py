# SPDX-License-Identifier: Apache-2.0
"""The comparison's table: what is measured, and the project's targets for it.

To add a scenario: a Scenario in SCENARIOS, or in holdups.py. Its `measure(server, run)` returns
figures by name; compare.py repeats it over the servers and rounds, report.py takes medians and
judges the targets.
"""

import time

from harness import wait_for
from harness.drive import Conns, Load

from .holdups import HOLDUPS
from .idle import IDLE as IDLE_SCENARIOS
from .measure import h2load, kernel_threads, memory, server_cpu, settled, under_load, wrk
from .scenario import Run, Scenario, Target
from .servers import PROCESSES, Need
from .streams import STREAMS
from .tails import scenes as tails_scenes

__all__ = ["CURVE", "SCENARIOS", "Run", "Scenario", "Target", "prepare"]

IDLE = 10_000
SLOW = 5_000
HANGING = 2_000
BIG = 50_000_000   # bytes
SETTLE = 4         # seconds until idle connections are measured: stm puts them to sleep
SOURCES = 8        # number of loopback addresses that connections come from
CURVE = (10, 100, 1_000, 10_000)


def goals(rate=0, cpu=0, nginx_rate=0, nginx_cpu=0):
    """The targets of a scenario of requests and CPU time."""
    made = [Target("requests/s", "event", at_least=rate), Target("CPU us/request", "event",
                                                                 at_most=cpu)]
    if nginx_rate:
        made.append(Target("requests/s", "nginx", at_least=nginx_rate, stretch=True))
    if nginx_cpu:
        made.append(Target("CPU us/request", "nginx", at_most=nginx_cpu, stretch=True))
    return made


def busy(clients):
    """How many of event's threads clients that never pause need. With fewer it closes connections
    that are idle for a moment, with more it gets slower; beyond some number the need stays
    constant."""
    return min(clients * 8 // 10, 1_600)


# --- measurements --------------------------------------------------------------------------------

def requests(path, clients, headers=(), tls=False):
    """Requests for one path with wrk, from `clients` clients."""
    def measure(server, run):
        scheme, port = ("https", server.tls_port) if tls else ("http", server.port)
        url = f"{scheme}://127.0.0.1:{port}{path}"
        wrk(url, run.warm_up, clients, headers)
        return under_load(server, lambda: wrk(url, run.seconds, clients, headers))
    return measure


def http2(path, clients, streams):
    """Requests for one path with h2load, in the clear."""
    def measure(server, run):
        url, log = f"http://127.0.0.1:{server.port}{path}", server.root / "h2load.log"
        h2load(url, run.warm_up, clients, streams, log)
        return under_load(server, lambda: h2load(url, run.seconds, clients, streams, log))
    return measure


def warm(server, path, count):
    """Lets the server serve `count` connections at once, and then closes them."""
    with Conns(server.port, path=path, sources=SOURCES, batch=32, limit=20) as conns:
        conns.open(min(count, server.capacity))


def in_flight(server, most):
    """Waits until the backend has `most` requests, or gets no more of them."""
    return settled(server.backend.held, most)


def slow_backend(count):
    """`count` requests at once to a backend that takes one second; then the same with three
    seconds, for what they cost while all of them wait."""
    def measure(server, _run):
        wanted = min(count, server.capacity)
        warm(server, "/proxy/0", 50)
        before = memory(server)
        with Conns(server.port, path="/45.txt", sources=SOURCES, batch=64, limit=20) as conns:
            opened = conns.open(wanted)
            conns.path("/proxy/1000")
            conns.times()
            conns.again()
            times = conns.times()
            conns.path("/proxy/3000")
            conns.fire()
            held = in_flight(server, times.count)
            used, threads = memory(server) - before, kernel_threads(server)
        return {"p50 ms": times.p50 / 1e3, "p99 ms": times.p99 / 1e3,
                "PSS bytes/request": used / max(1, held), "kernel threads": threads,
                "connections": opened.open, "in flight": held, "failed": wanted - times.count}
    return measure


def hanging(count, path, clients):
    """Static requests, alone and beside `count` requests that the backend does not answer."""
    def measure(server, run):
        url = f"http://127.0.0.1:{server.port}{path}"
        wrk(url, run.warm_up, clients)
        alone = wrk(url, run.seconds, clients)
        with Conns(server.port, path="/proxy/60000", sources=SOURCES, batch=64, limit=10) as conns:
            conns.send(count)
            held = in_flight(server, count)
            beside = under_load(server, lambda: wrk(url, run.seconds, clients))
        return {"p99 us alone": alone.p99_us, "p99 us beside": beside["p99 us"],
                "p99 beside/alone": beside["p99 us"] / alone.p99_us,
                "requests/s alone": alone.requests / alone.seconds,
                "requests/s beside": beside["requests/s"], "hanging": held,
                "failed": alone.failed + beside["failed"] + count - held}
    return measure


def idle(count):
    """What `count` keep-alive connections that do nothing cost."""
    def measure(server, _run):
        wanted = min(count, server.capacity)
        warm(server, "/45.txt", 200)
        with Conns(server.port, path="/45.txt", sources=SOURCES, batch=32, limit=30) as conns:
            before = memory(server)
            opened = conns.open(wanted)
            time.sleep(SETTLE)
            used = memory(server) - before
        return {"PSS bytes/connection": used / wanted, "connections": opened.open,
                "failed": wanted - opened.open}
    return measure


def downloads(path, size, clients):
    """Large files."""
    def measure(server, run):
        with Load(server.port, connections=clients, path=path) as load:
            wait_for(lambda: load.tally().ok, "the first download")
        cpu, start = server_cpu(server), time.monotonic()
        with Load(server.port, connections=clients, path=path) as load:
            time.sleep(run.seconds)
            tally = load.finish()
        took, cpu = time.monotonic() - start, server_cpu(server) - cpu
        gigabytes = tally.ok * size / 1e9
        failed = tally.refused + tally.reset + tally.empty + tally.partial + tally.bad
        return {"CPU s/GB": cpu / gigabytes, "GB/s": gigabytes / took, "failed": failed}
    return measure


def curve(clients):
    """One point of the curves: requests, then the memory used with that many connections."""
    def measure(server, run):
        url = f"http://127.0.0.1:{server.port}/45.txt"
        wrk(url, run.warm_up, clients)
        got = under_load(server, lambda: wrk(url, run.seconds, clients))
        with Conns(server.port, path="/45.txt", sources=SOURCES, batch=32, limit=20) as conns:
            opened = conns.open(clients)
            conns.again()
            used = memory(server)
        return {"requests/s": got["requests/s"], "PSS MB": used / 1e6, "p99 us": got["p99 us"],
                "failed": got["failed"] + clients - opened.open}
    return measure


# --- the table -----------------------------------------------------------------------------------

SCENARIOS = [
    Scenario("small", "45-byte file, keep-alive, 64 clients", requests("/45.txt", 64),
             Need(64), goals(1.6, 0.45, 1.0, 1.2)),
    Scenario("10k", "10 KB file, keep-alive, 64 clients", requests("/10k.bin", 64),
             Need(64), goals(1.6, 0.5, 0.9, 1.4)),
    Scenario("clients", "45-byte file, keep-alive, 1,000 clients", requests("/45.txt", 1_000),
             Need(1_000, busy(1_000)), goals(1.6, 0.45, 1.0), about=5),
    Scenario("connect", "45-byte file, a new connection for each request",
             requests("/45.txt", 64, ["Connection: close"]), Need(64), goals(1.5, 0.55)),
    Scenario("tls", "TLS 1.3, 10 KB file, keep-alive, 64 clients",
             requests("/10k.bin", 64, tls=True), Need(64, tls=True), goals(1.3, 0.8, 0.7)),
    *(Scenario(f"handshake-{key}", f"TLS 1.3, a full handshake for each request, {what}",
               requests("/45.txt", 64, ["Connection: close"], tls=True),
               Need(64, tls=True, key=key, resumes=False), goals(1, 1, 0.95, 1.05))
      for key, what in (("ec", "P-256"), ("rsa", "RSA 2048"))),
    Scenario("http2", "HTTP/2, 45-byte file, 32 clients with 10 streams",
             http2("/45.txt", 32, 10), Need(32, http2=True), goals(1.3, 0.6),
             without={"prefork": "mod_http2 does not work under prefork"}),
    Scenario("proxy", "Reverse proxy, immediate backend, 64 clients", requests("/proxy/0", 64),
             Need(64, 64), goals(1.5, 0.6, 0.6), backend=True),
    Scenario("slow", f"{SLOW:,} requests proxied to a backend that takes 1 s", slow_backend(SLOW),
             Need(SLOW, SLOW),
             [Target("failed", at_most=0), Target("p99 ms", at_most=1300),
              Target("PSS bytes/request", "event", at_most=0.5),
              Target("kernel threads", at_most=PROCESSES * 2 + 2)],
             backend=True, rounds=3, about=9),
    Scenario("hanging", f"Static requests beside {HANGING:,} that hang in the backend",
             hanging(HANGING, "/45.txt", 64), Need(HANGING + 64, HANGING + 64),
             [Target("p99 beside/alone", at_most=2)], backend=True, rounds=3, about=8,
             without={"prefork": "needs a process for each of them"}),
    Scenario("idle", f"{IDLE:,} idle connections, HTTP/1.1", idle(IDLE), Need(IDLE),
             [Target("PSS bytes/connection", "event", at_most=0.25),
              Target("PSS bytes/connection", at_most=4096, stretch=True)],
             rounds=3, about=10),
    *IDLE_SCENARIOS,
    *STREAMS,
    Scenario("download", "50 MB downloads, 8 clients", downloads("/50m.bin", BIG, 8), Need(8),
             [Target("CPU s/GB", "event", at_most=1),
              Target("CPU s/GB", "nginx", at_most=1.2, stretch=True)], rounds=3),
    Scenario("download-sendfile", "50 MB downloads, 8 clients, EnableSendfile On",
             downloads("/50m.bin", BIG, 8), Need(8, sendfile=True),
             [Target("CPU s/GB", "event", at_most=1),
              Target("CPU s/GB", "nginx", at_most=1.2, stretch=True)], rounds=3,
             without={"worker": "sends as event does", "prefork": "sends as event does"}),
    *(Scenario(f"curve-{count}", f"{count:,} keep-alive clients", curve(count),
               Need(count, busy(count)), rounds=2, about=5 if count < 10_000 else 11,
               without={"prefork": "needs a process for each connection"} if count > 1_000 else {})
      for count in CURVE),
    *HOLDUPS,
    *tails_scenes(lambda count: busy(count) if count > 64 else 0),
]


def prepare(server, scenario):
    """Puts the files that the scenario requests under the document root."""
    server.page("45.txt", "x" * 44 + "\n")
    server.page("10k.bin", b"0123456789abcdef" * 640)
    if scenario.name.startswith("download"):
        server.page("50m.bin", bytes(BIG))
