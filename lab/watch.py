# SPDX-License-Identifier: Apache-2.0
"""Samples a server a few times a second: connections, processes, threads, memory over time.

Used by tour.py and by tests/live/lab.
"""

import threading
import time
from dataclasses import dataclass
from pathlib import Path

from harness import procs

from . import mpms

HELD = {"01", "08"}  # states of /proc/net/tcp: ESTABLISHED, CLOSE_WAIT


@dataclass
class Sample:
    """The state at one moment. Processes are those that serve, not the master."""

    at: float               # seconds since the watch began
    connections: int = 0    # the server's ends, including those in the listen queue
    processes: int = 0
    kernel_threads: int = 0
    state_threads: int = 0  # 0 with other MPMs
    memory: float = 0       # MB, of all processes, including the master
    pids: tuple = ()
    most_threads: int = 0   # kernel threads of the process that has the most


def connections(port):
    """Connections to a port of this machine, as seen from the server's side."""
    ending, count = f":{port:04X}", 0
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        count += fields[1].endswith(ending) and fields[3] in HELD
    return count


def own_memory(pid):
    """A process's share of memory that is not backed by a file, bytes. 0 if it is gone.

    The program and the libraries, which servers of all MPMs share, are left out.
    """
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return 0
    return sum(int(line.split()[1]) * 1024 for line in text.splitlines()
               if line.startswith(("Pss_Anon:", "Pss_Shmem:")))


def look(server, start=0.0):
    """One sample."""
    pids = [pid for pid in procs.children(server.master) if mpms.threads(pid)]
    counts = [mpms.threads(pid) for pid in pids]
    return Sample(
        at=time.monotonic() - start, connections=connections(server.port), processes=len(pids),
        kernel_threads=sum(counts), most_threads=max(counts, default=0),
        state_threads=sum(vp["threads"] for vp in mpms.state_threads(server))
        if server.mpm == "stm" else 0,
        memory=sum(map(own_memory, [server.master, *pids])) / 1e6, pids=tuple(pids))


class Watch:
    """Takes samples in the background, and records when each phase of the tour begins."""

    def __init__(self, server, every=0.2):
        self.samples, self.phases = [], []  # phases: (at, name)
        self._server, self._every = server, every
        self._start = time.monotonic()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *exc):
        self._ended.set()
        self._thread.join()

    def _run(self):
        while not self._ended.is_set():
            self.samples.append(look(self._server, self._start))
            self._ended.wait(self._every)

    def phase(self, name):
        """A phase begins."""
        self.phases.append((time.monotonic() - self._start, name))

    def look_again(self):
        """Takes a sample now."""
        self.samples.append(look(self._server, self._start))
        return self.samples[-1]

    def last(self):
        """The newest sample."""
        return self.samples[-1] if self.samples else Sample(0.0)

    def peak(self, name):
        """The highest value of one figure."""
        return max(getattr(sample, name) for sample in self.samples)
