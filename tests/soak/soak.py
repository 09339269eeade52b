# SPDX-License-Identifier: Apache-2.0
"""Soak: all kinds of real load on one server, with something going wrong every few seconds.

    make soak [DURATION=7200] [PAUSE=3] [SEED=N] [ONLY=killed,restart]

Fails (exit status 1) if a request was lost without a VP that was ended on purpose, if a process
ended on its own, if something leaks, or if the server did not do what it was told to. docs/soak.md
says what is counted, and how.
"""

import argparse
import json
import os
import random
import re
import sys
import time
from collections import Counter
from pathlib import Path

from harness import procs, wait_for
from harness.places import BUILD
from harness.server import ALARMS

from .clients import MIX, Tally
from .faults import Chaos, Faults
from .leaks import MB, Leaks
from .server import Site

# A client may see the end of its connection so long after (or before) the VP's end was seen, s.
# Wide enough for a busy machine: losses that cannot be excused happen in calm phases, too.
EARLY, LATE = 0.3, 2.5
CALM = 0.25       # of each round
EXPECTED = re.compile(r"AH00052: child pid|exit signal|AH0005[01]|died of signal")


def excused(loss, victims):
    """How the VP that took this request with it was ended; None: nothing explains the loss."""
    for victim in victims:
        if loss.pid == victim.pid and loss.failed >= victim.begun - EARLY:
            return victim.how
        damaged = victim.begun if victim.how == "overwritten" else victim.alive
        if loss.pid is None and damaged - EARLY <= loss.failed <= victim.gone + LATE and \
                loss.begun <= victim.gone + EARLY:
            return victim.how
    return None


class Soak:
    """One run."""

    def __init__(self, options):
        self.options = options
        self.site = Site(options.processes)
        self.tally = Tally()
        self.clients = [kind(self.site, self.tally) for kind, count in MIX.items()
                        for _ in range(count)]
        self.faults = Faults(self.site, options.only.split(",") if options.only else None)
        self.chaos = Chaos(self.faults, options.pause)
        self.leaks = Leaks(self.site.server)
        self.start, self.last_line = time.monotonic(), 0.0

    def restarts(self):
        """How often the server has restarted."""
        return sum(self.faults.done[kind] for kind in ("restart", "upgrade"))

    def line(self):
        """A line of progress, once a minute."""
        if time.monotonic() - self.last_line < 60:
            return
        self.last_line = time.monotonic()
        print(f"{time.monotonic() - self.start:7.0f} of {self.options.duration:.0f} s  "
              f"{sum(self.tally.answered.values())} answered, {len(self.tally.losses)} lost, "
              f"{sum(self.faults.done.values())} faults, "
              f"{len(self.faults.problems)} problems", flush=True)

    def phase(self, seconds, calm):
        """Load for the given time, with or without faults."""
        end = time.monotonic() + seconds
        if calm:
            self.chaos.allowed.clear()
            self.chaos.idle.wait()
            self.leaks.begin_calm()
        else:
            self.chaos.allowed.set()
        while time.monotonic() < end:
            time.sleep(min(5.0, max(0.5, seconds / 20), max(0.0, end - time.monotonic())))
            self.line()
            if calm:
                self.leaks.look_at_vps()
            self.leaks.look_at_master(self.restarts())

    def rounds(self):
        """Rounds of faults, then calm, of at most ten minutes."""
        end = self.start + self.options.duration
        count = max(1, round(self.options.duration / 600))
        each = self.options.duration / count
        for _ in range(count):
            self.phase(each * (1 - CALM), calm=False)
            self.phase(min(each * CALM, max(2.0, end - time.monotonic())), calm=True)

    def every_fault_once(self):
        """So that a short run has them all; then by chance."""
        for kind in self.faults.kinds:
            self.faults.one(kind)
            self.line()

    def go(self):
        """Runs it all; the figures."""
        for client in self.clients:
            client.start()
        self.chaos.start()
        if self.options.each:
            self.every_fault_once()
        self.rounds()
        self.chaos.ending.set()
        self.chaos.allowed.set()
        self.chaos.join()
        for client in self.clients:
            client.ending.set()
        for client in self.clients:
            client.join(90)
        stuck = [client.kind for client in self.clients if client.is_alive()]
        if stuck:
            self.faults.problems.append(f"clients whose request has no end: {stuck}")
        self.at_rest()
        return self.figures()

    def at_rest(self):
        """When all clients have gone, no connection is left."""
        server = self.site.server

        def quiet():
            left = [line for pid in server.children() for line in sockets(pid, server.ports)]
            return not left
        try:
            wait_for(quiet, "the end of all connections", 90)
        except AssertionError as error:
            self.faults.problems.append(str(error))

    def own_ends(self):
        """Lines of the log about processes that ended without having been ended by us."""
        known = {victim.pid for victim in self.faults.victims}
        lines = []
        for line in self.site.log().splitlines():
            pid = re.search(r"child pid (\d+) exit|pid (\d+)\) died of", line)
            if pid and int(pid[1] or pid[2]) not in known:
                lines.append(line)
            elif ALARMS.search(line) and not EXPECTED.search(line):
                lines.append(line)
        return lines

    def figures(self):
        """The result of the run."""
        causes, unexplained = Counter(), []
        for loss in self.tally.losses:
            how = excused(loss, self.faults.victims)
            if how:
                causes[how] += 1
            else:
                unexplained.append(loss._asdict() | {"begun": round(loss.begun - self.start, 2),
                                                     "failed": round(loss.failed - self.start, 2)})
        pss, fds, _ = self.leaks.growth_of_master() if self.leaks.master else (0, 0, 0)
        vp_pss, vp_fds = self.leaks.growth_of_vps()
        return {
            "seconds": round(time.monotonic() - self.start),
            "seed": self.options.seed,
            "answered": dict(self.tally.answered),
            "faults": dict(self.faults.done),
            "lost with a VP": dict(causes),
            "lost without a cause": unexplained,
            "ended on their own": self.own_ends(),
            "problems": self.faults.problems,
            "master": {"grown MB": round(pss / MB, 2), "descriptors more": fds,
                       "restarts": self.restarts()},
            "VPs in calm phases": {"grown MB, most": round(vp_pss / MB, 2),
                                   "descriptors more, most": vp_fds},
            "leaks": self.leaks.problems(),
        }


def sockets(pid, ports):
    """The process's established connections to these ports, as lines of /proc/PID/net/tcp."""
    try:
        inodes = {name[8:-1] for name in procs.fds(pid).values() if name.startswith("socket:[")}
        rows = [row.split() for row in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [row for row in rows if row[9] in inodes and row[3] == "01" and
            int(row[1].split(":")[1], 16) in ports]


def report(figures, path):
    """Prints them; returns whether all is well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(figures, indent=1) + "\n")
    shown = dict(figures, **{"lost without a cause": figures["lost without a cause"][:10],
                             "ended on their own": figures["ended on their own"][:10]})
    for name, value in shown.items():
        print(f"{name}: {value}")
    bad = [name for name in ("lost without a cause", "ended on their own", "problems", "leaks")
           if figures[name]]
    print(f"whole figures: {path}")
    print("soak: " + ("all is well" if not bad else "FAILED: " + ", ".join(
        f"{len(figures[name])} {name}" for name in bad)))
    return not bad


def main():
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--duration", type=float, default=7200, help="seconds of load")
    parser.add_argument("--pause", type=float, default=3, help="seconds between faults, about")
    parser.add_argument("--processes", type=int, default=3, help="NumVPs")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--only", default="", help="these faults alone, with commas")
    parser.add_argument("--each", action="store_true", help="each fault once, at first")
    options = parser.parse_args()
    random.seed(options.seed)
    os.nice(5)
    procs.adopt_orphans()
    soak = Soak(options)
    try:
        figures = soak.go()
    finally:
        try:
            soak.site.end()
        except AssertionError as error:
            soak.faults.problems.append(f"at the end: {error}"[:2000])
    figures["problems"] = soak.faults.problems
    sys.exit(0 if report(figures, BUILD / "soak/result.json") else 1)


if __name__ == "__main__":
    main()
