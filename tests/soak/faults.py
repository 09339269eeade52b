# SPDX-License-Identifier: Apache-2.0
"""What the soak does to the server, every few seconds, and which processes that has cost."""

import os
import random
import re
import signal
import threading
import time
from collections import Counter, namedtuple

from harness import procs, wait_for
from harness.client import Closed

PATIENCE = 60.0  # seconds
RESUMED = "resuming normal operations"

# A VP that was ended on purpose. begun: when; alive: when it was last seen; gone: when it was not.
Victim = namedtuple("Victim", "how pid begun alive gone")


def is_gone(pid):
    """Whether a process has ended."""
    stat = procs.stat(pid)
    return stat is None or stat.state in "ZX"


def overwrite(pid):
    """Writes random bytes over this MPM's memory that a process shares with others and may write.

    Not over httpd's own and its modules' memory: other processes die of what is in there.
    """
    with open(f"/proc/{pid}/maps", encoding="utf-8") as maps, \
            open(f"/proc/{pid}/mem", "r+b", buffering=0) as memory:
        for line in maps:
            if " rw-s " not in line or not re.search(r"/memfd:stm-|/scoreboards/", line):
                continue
            start, end = (int(part, 16) for part in line.split()[0].split("-"))
            for _ in range(200):
                memory.seek(random.randrange(start, end - 64))
                try:
                    memory.write(random.randbytes(random.randint(1, 64)))
                except OSError:  # no page is there
                    pass


class Faults:
    """The faults, by name. Each is over when the server is complete again."""

    def __init__(self, site, only=None):
        self.site, self.server = site, site.server
        self.victims, self.done, self.problems = [], Counter(), []
        self.builds = 0
        self.kinds = {"killed": 4, "stopped": 2, "hung-computing": 2, "hung-waiting": 2,
                      "crashed": 3, "exited": 1, "restart": 4, "upgrade": 2, "broken": 2,
                      "other-mpm": 1, "overwritten": 2}
        if only:
            self.kinds = {kind: 1 for kind in only}

    def one(self, kind=None):
        """One of them, by chance or by name."""
        kind = kind or random.choices(list(self.kinds), self.kinds.values())[0]
        try:
            getattr(self, "do_" + kind.replace("-", "_"))()
        except (AssertionError, OSError, Closed) as error:
            self.problems.append(f"{kind}: {type(error).__name__}: {error}")
        self.done[kind] += 1
        return kind

    # --- a VP ends -------------------------------------------------------------------------------
    def _watch_end(self, how, pid, begun):
        alive = time.monotonic()
        while not is_gone(pid):
            alive = time.monotonic()
            if alive - begun > PATIENCE:
                raise AssertionError(f"VP {pid} is still there {PATIENCE:.0f} s after")
            time.sleep(0.01)
        self.victims.append(Victim(how, pid, begun, alive, time.monotonic()))
        wait_for(lambda: len(self.server.children()) >= self.site.processes, "a replacement",
                 PATIENCE)
        self._answers()

    def _answers(self):
        def answers():
            try:
                return self.server.get("/").status == 200
            except (OSError, Closed):  # the VP that took it may be the next victim of chance
                return False
        wait_for(answers, "an answer", PATIENCE)

    def _end_vp(self, how, act):
        pid, conn = self.site.some_vp()
        with conn:
            begun = time.monotonic()
            act(pid, conn)
            self._watch_end(how, pid, begun)

    def do_killed(self):
        """SIGKILL."""
        self._end_vp("killed", lambda pid, conn: os.kill(pid, signal.SIGKILL))

    def do_stopped(self):
        """SIGSTOP, until HangTimeout."""
        self._end_vp("stopped", lambda pid, conn: os.kill(pid, signal.SIGSTOP))

    def do_hung_computing(self):
        """A handler that loops."""
        self._end_vp("hung", lambda pid, conn: conn.ask("/probe?loop"))

    def do_hung_waiting(self):
        """A handler that waits where no other state thread can run."""
        self._end_vp("hung", lambda pid, conn: conn.ask("/probe?wait"))

    def do_crashed(self):
        """SIGSEGV."""
        self._end_vp("crashed", lambda pid, conn: conn.ask("/probe?die"))

    def do_exited(self):
        """A handler that exits."""
        self._end_vp("exited", lambda pid, conn: conn.ask("/probe?exit"))

    def do_overwritten(self):
        """Random bytes over all of ours that the VP can write; it serves on like that a while."""
        def scribble(pid, _):
            overwrite(pid)
            time.sleep(1)
            if not is_gone(pid):
                os.kill(pid, signal.SIGKILL)
        self._end_vp("overwritten", scribble)

    # --- the server restarts, or not -------------------------------------------------------------
    def _restart(self):
        before = self.site.log().count(RESUMED)
        self.server.signal(signal.SIGUSR1)
        wait_for(lambda: self.site.log().count(RESUMED) > before, "the end of a restart", PATIENCE)
        self._answers()

    def do_restart(self):
        """A graceful restart."""
        self._restart()

    def do_upgrade(self):
        """Another build of the module, or a new file of the same, and a graceful restart."""
        self.builds += 1
        self.site.put_module("layout" if self.builds % 2 else "same")
        self._restart()

    def _refused(self, text, complaint):
        size = len(self.site.log())
        self.server.conf.write_text(text)
        try:
            self.server.signal(random.choice([signal.SIGUSR1, signal.SIGHUP]))
            wait_for(lambda: complaint in self.site.log()[size:], "the complaint", PATIENCE)
        finally:
            self.server.conf.write_text(self.site.good)
        self._answers()

    def do_broken(self):
        """A restart with a configuration that has an error."""
        self._refused(self.site.good + "NoSuchDirective at-all\n", "NoSuchDirective")

    def do_other_mpm(self):
        """A restart with a configuration that loads event."""
        lines = [line for line in self.site.good.splitlines() if "mpm_stm_module" not in line and
                 not line.startswith(("NumVPs", "MaxThreads", "StartThreads", "MinSpare", "StackSi",
                                      "MaxSpare", "HangTim", "ConfigTest", "VPConn", "Scoreboard"))]
        event = f"LoadModule mpm_event_module {self.site.event_module}"
        self._refused("\n".join([event, *lines, ""]), "loads an MPM other than stm")


class Chaos(threading.Thread):
    """One fault after another until told to stop."""

    def __init__(self, faults, pause):
        super().__init__(daemon=True)
        self.faults, self.pause = faults, pause
        self.allowed, self.ending = threading.Event(), threading.Event()
        self.idle = threading.Event()

    def run(self):
        while not self.ending.is_set():
            self.idle.set()
            if not self.allowed.wait(0.2):
                continue
            self.idle.clear()
            self.faults.one()
            self.ending.wait(self.pause * (0.5 + random.random()))
