# SPDX-License-Identifier: Apache-2.0
"""Kills one serving process and checks which connections suffer, and how soon it is replaced.

Used by tour.py and by tests/live/lab.
"""

import os
import signal
import time
from dataclasses import dataclass, field

from harness import wait_for
from harness.client import Closed
from harness.drive import Load

from . import mpms
from .clients import Kept

VISITORS = 8         # clients that come and go after the crash
VISITORS_GAP_MS = 5
GROWTH_BOUND = 90.0  # seconds: prefork starts a process for each of them
PATIENCE = 5.0       # seconds that a replacement may take before it is reported missing


@dataclass
class Outcome:
    """The outcome. Times are seconds after the kill; None: not within PATIENCE."""

    held: dict                  # {pid: connections} before
    victim: int
    lost: int = 0               # connections that the server closed, all without an answer
    answered: int = 0           # connections that were served to the end
    survivors: set = field(default_factory=set)  # earlier processes that are still there at the end
    first_answer: float = None  # a new connection is answered, by any process
    replaced: float = None      # a new process is there
    serves: float = None        # a new process has answered
    lines: list = field(default_factory=list)  # what make_conn printed


def serving(server):
    """Processes that have answered so far, by the access log."""
    return {int(line.split()[0]) for line in server.access_log()}


def answers(server):
    """Whether a new connection is answered."""
    try:
        return server.get("/").status == 200
    except (Closed, OSError):
        return False


def seconds_until(condition, start):
    """Seconds from `start` until `condition` is true; None if that takes longer than PATIENCE."""
    while time.monotonic() - start < PATIENCE:
        if condition():
            return time.monotonic() - start
        time.sleep(0.005)
    return None


def held_by(server, count):
    """The processes' connections, once all `count` are with one."""
    def look():
        held = mpms.owners(server)
        return held if sum(held.values()) == count else None
    return wait_for(look, f"{count} connections in the processes' hands", GROWTH_BOUND)


def crash(server, count, settle=lambda: None):
    """Sends SIGSEGV to the process that holds the most of `count` connections with half a request
    each.

    settle() returns when the server has adapted to the connections.
    """
    with Kept("--finish", "127.0.0.1", server.port, count) as kept:
        held_by(server, count)
        settle()
        outcome = Outcome(held := held_by(server, count), max(held, key=held.get))
        before = set(server.children())
        os.kill(outcome.victim, signal.SIGSEGV)
        start = time.monotonic()
        outcome.first_answer = seconds_until(lambda: answers(server), start)
        # Clients that lost a connection come back, and others come too, so that spare threads do
        # not suffice. One stays away: the new process may get all that come, and needs a thread to
        # answer.
        with Kept("127.0.0.1", server.port, max(1, held[outcome.victim] - 1)), \
                Load(server.port, VISITORS, keep=False, gap_ms=VISITORS_GAP_MS):
            outcome.replaced = seconds_until(lambda: set(server.children()) - before, start)
            outcome.serves = seconds_until(lambda: serving(server) - before, start)
        kept.until_closed(held[outcome.victim])
        last = kept.end()
    outcome.answered = last.get("answered", 0)
    outcome.lost = last["closed"]
    outcome.survivors = before & set(server.children())
    outcome.lines = kept.lines
    return outcome
