# SPDX-License-Identifier: Apache-2.0
"""Scenarios of what holds a server up: slow disks, handlers that compute, name servers that do not
answer, programs. The question is how much all other requests are affected. Part of
scenarios.SCENARIOS.
"""

import os
import socket
import time

from harness import wait_for
from harness.client import Conn
from harness.drive import Conns, Load
from harness.slowfs import SlowFS

from .measure import kernel_threads, memory, settled, wrk
from .scenario import Scenario, Target
from .servers import Need

CLIENTS = 64         # of the small file
READERS = 64         # of cold files
READ_MS = 1_000      # how long one read of the slow disk takes
MANY = 1_000         # concurrent cold reads
NAMES, PROGRAMS = 60, 40
HANDLER_MS = 200     # of computing
LEARNING = 3         # seconds that a server has for finding out that handlers compute
PROBE_TURNS = 1_000_000
SOURCES = 8
PATH = "/45.txt"


class SilentNames:
    """A name server that never answers. Needs root."""

    def __init__(self):
        self.address = "127.0.9.53"
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            self._socket.bind((self.address, 53))
        except OSError:
            self._socket.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def close(self):
        """Frees the port."""
        self._socket.close()

    @property
    def resolv_conf(self):
        """A look-up gives up after two seconds instead of ten, the default."""
        return f"nameserver {self.address}\noptions timeout:1 attempts:2\n"


def ask_for_each(conns, paths):
    """Opens a connection for each path, and sends a request on it."""
    for path in paths:
        conns.path(path)
        conns.send(1)


def beside(server, run):
    """Requests for a small file while something else is going on."""
    got = wrk(f"http://127.0.0.1:{server.port}{PATH}", run.seconds, CLIENTS)
    unanswered = run.seconds * 1e6  # or longer: every request waited at least that long
    return {"p99 us beside": got.p99_us if got.requests else unanswered,
            "requests/s beside": got.requests / got.seconds, "failed": got.failed}


def alone(server, run):
    """The same with nothing else going on."""
    url = f"http://127.0.0.1:{server.port}{PATH}"
    wrk(url, run.warm_up, CLIENTS)
    return wrk(url, run.seconds, CLIENTS)


def cold_readers(server, run):
    """A small file, alone and beside clients whose files come from the slow disk. These are so
    large that none is finished within the measurement."""
    disk = server.things["disk"]
    quiet = alone(server, run)
    disk.delay("read", READ_MS)
    with Conns(server.port, sources=SOURCES, batch=READERS, limit=10) as conns:
        ask_for_each(conns, (f"/slow/cold{n}.bin" for n in range(READERS)))
        reading = settled(lambda: disk.calls("read").files, READERS)
        got = beside(server, run)
    return {"p99 us alone": quiet.p99_us, **got,
            "p99 beside/alone": got["p99 us beside"] / quiet.p99_us, "files being read": reading,
            "failed": quiet.failed + got["failed"]}


def many_cold_reads(count):
    """How many of `count` clients' files are being read at the same time."""
    def measure(server, _run):
        disk, before = server.things["disk"], memory(server)
        with Conns(server.port, sources=SOURCES, batch=64, limit=20) as conns:
            disk.hold("read")
            ask_for_each(conns, (f"/slow/cold{n}.bin" for n in range(count)))
            reading = settled(lambda: disk.calls("read").files, count)
            threads, used = kernel_threads(server), memory(server) - before
            disk.release("read")
            conns.wait()
            answered = conns.times().count
        return {"files being read": reading, "kernel threads": threads,
                "PSS bytes/request": used / max(1, reading), "failed": count - answered}
    return measure


# --- handlers that compute -----------------------------------------------------------------------

_turns = []  # of the handler's loop, in HANDLER_MS: the same for all servers


def turns(server):
    """How many iterations of the handler's loop take HANDLER_MS of CPU time; measured once."""
    if not _turns:
        took = []
        with Conn(server.port) as conn:
            for _ in range(10):
                start = time.monotonic()
                assert conn.get(f"/compute?{PROBE_TURNS}").status == 200
                took.append(time.monotonic() - start)
        _turns.append(round(PROBE_TURNS * HANDLER_MS / 1e3 / min(took)))
    return _turns[0]


class Pace:
    """How many of a load's requests are answered per second, measured from the end of one to the
    end of another, since there are few."""

    def __init__(self, load):
        self._load = load
        self._start = self._next()

    def _next(self):
        before = self._load.tally().ok
        count = wait_for(lambda: (now := self._load.tally().ok) > before and now, "an answer",
                         step=0.001)
        return count, time.monotonic()

    def so_far(self):
        """Answers per second since the start."""
        (first, start), (last, end) = self._start, self._next()
        return (last - first) / (end - start)


def computing(server, run):
    """One handler per CPU that does nothing but compute, alone and beside requests for a small
    file."""
    quiet, path = alone(server, run), f"/compute?{turns(server)}"
    with Load(server.port, connections=os.cpu_count(), path=path) as load:
        time.sleep(max(run.warm_up, LEARNING))
        pace = Pace(load)
        time.sleep(run.seconds)
        handlers = pace.so_far()
        pace = Pace(load)
        got = beside(server, run)
        handlers_beside = pace.so_far()
    return {"p99 us alone": quiet.p99_us, **got, "handlers/s": handlers,
            "handlers/s beside": handlers_beside, "failed": quiet.failed + got["failed"]}


# --- name servers and programs -------------------------------------------------------------------

def all_at_once(paths):
    """Requests all paths at the same time and waits until each has an answer of any kind."""
    def measure(server, _run):
        with Conns(server.port, path=PATH, batch=len(paths), limit=60) as conns:
            start = time.monotonic()
            ask_for_each(conns, paths)
            got = conns.wait()
            took = time.monotonic() - start
        return {"seconds": took, "failed": len(paths) - got.answered}
    return measure


# --- the table -----------------------------------------------------------------------------------

NO_LUA = "runs no handlers of mod_lua"
NO_NAMES = "asks name servers in its own way and gives up by its own rules"
PREFORK = "has a process for each of them, as for everything"


def scenes(processes):
    """All scenarios, for servers with the given number of processes."""
    what = "1 process" if processes == 1 else f"{processes} processes"
    to_names = [f"/named?{n}" for n in range(NAMES)]

    def scene(name, title, measure, need, targets, about, nginx="", **more):
        need.processes = processes
        without = {"prefork": PREFORK, **({"nginx": nginx} if nginx else {})}
        return Scenario(f"{name}-{processes}vp", f"{title}; {what}", measure, need, targets,
                        rounds=3, about=about, without=without, **more)
    return [
        scene("disk", f"Small file beside {READERS} clients that read cold files", cold_readers,
              Need(CLIENTS + READERS, CLIENTS + READERS),
              [Target("p99 beside/alone", at_most=1.2),
               Target("p99 us beside", "event", at_most=1)], 9,
              things={"disk": lambda: SlowFS(f"cold#.bin:{8 << 20}:{READERS}")}),
        scene("reads", f"{MANY:,} cold files at once", many_cold_reads(MANY),
              Need(MANY, MANY, helpers=True), [Target("files being read", at_least=MANY),
                                               Target("failed", at_most=0)], 6,
              things={"disk": lambda: SlowFS(f"cold#.bin:{64 << 10}:{MANY}")}),
        scene("compute",
              f"Small file beside handlers that compute for {HANDLER_MS} ms, one per CPU",
              computing, Need(CLIENTS + 8, CLIENTS + 8, lua=True),
              [Target("p99 us beside", "event", at_most=1.2),
               Target("handlers/s", "event", at_least=0.95),
               Target("handlers/s beside", "event", at_least=0.95)], 14, NO_LUA),
        scene("names", f"{NAMES} look-ups of a name server that does not answer",
              all_at_once(to_names), Need(NAMES, NAMES),
              [Target("seconds", "event", at_most=1.1), Target("failed", at_most=0)], 4, NO_NAMES,
              things={"names": SilentNames}),
        scene("programs", f"{PROGRAMS} programs that take 2 s",
              all_at_once(["/program?2"] * PROGRAMS), Need(PROGRAMS, PROGRAMS, lua=True),
              [Target("seconds", "event", at_most=1.1), Target("failed", at_most=0)], 4, NO_LUA),
    ]


HOLDUPS = [*scenes(1), *scenes(2)]
