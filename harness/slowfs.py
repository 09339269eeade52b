# SPDX-License-Identifier: Apache-2.0
"""A slow file system, mounted in its own folder for as long as a test needs it.

The program is in tests/slowfs, which says what it can do.
"""

import contextlib
import shutil
import subprocess
import tempfile
from collections import namedtuple
from pathlib import Path

from .drive import Program, counts
from .places import BUILD
from .waiting import wait_for

Calls = namedtuple("Calls", "in_flight peak total held files")

CANNOT = 77  # the program's exit status if nothing can be mounted
LIFETIME = 600  # seconds after which it ends in any case
PERIOD = 251


class Unavailable(Exception):
    """This machine cannot mount such a file system; the text says why."""


def content(size):
    """The contents of a generated file of that size."""
    return (bytes(range(PERIOD)) * (size // PERIOD + 1))[:size]


class SlowFS(Program):
    """A mounted slow file system; `path` is where. Use it as a context manager.

    files: what it starts with, as "NAME:SIZE[:COUNT]" ('#' in NAME becomes a number from 0). More
    can be written there as in any folder. Kinds of calls are named as in tests/slowfs/slowfs.h
    ("read", "open,lookup", "all"). Raises Unavailable if the machine does not let us mount it.
    """

    def __init__(self, *files, lifetime=LIFETIME):
        if not (BUILD / "tests/slowfs").exists():
            raise Unavailable("build/tests/slowfs was not built: libfuse3-dev is missing")
        self._folder = Path(tempfile.mkdtemp(prefix="stm-slowfs-", dir="/var/tmp"))
        self._folder.chmod(0o755)
        self.path = self._folder / "slow"
        self.path.mkdir()
        options = [word for each in files for word in ("-f", each)]
        super().__init__("slowfs", *options, "-t", lifetime, self.path, stderr=subprocess.PIPE)
        line = self._run.stdout.readline()
        if line != "ready\n":
            said, status = self._run.stderr.read().strip(), self._run.wait(10)
            self.close()
            assert status == CANNOT, f"slowfs has ended with status {status}: {said}"
            raise Unavailable(f"no file system can be mounted here: {said}")

    def _order(self, line):
        self._say(line)
        answer = self._line().strip()
        assert answer == "ok", f"slowfs was told {line!r} and said {answer!r}"

    def delay(self, kinds, ms):
        """From now on, such calls take that long; 0: no delay."""
        self._order(f"delay {kinds} {ms}")

    def hold(self, kinds, names="*"):
        """From now on, such calls wait for release(), if the file's name matches."""
        self._order(f"hold {kinds} {names}")

    def release(self, kinds="all"):
        """Releases the calls that are held."""
        self._order(f"release {kinds}")

    @contextlib.contextmanager
    def holding(self, kinds, names="*"):
        """hold() while the block runs, release() however it ends."""
        self.hold(kinds, names)
        try:
            yield self
        finally:
            self.release(kinds)

    def option(self, name, value):
        """Options: direct (no page cache), keep (the page cache survives a close), timeout (seconds
        for which the kernel caches names), interruptible (signals end waits)."""
        self._order(f"set {name} {int(value)}")

    def calls(self, kind="all"):
        """How many are in flight, the maximum and the total so far, and how many are held; and how
        many files those in flight belong to."""
        self._say(f"counts {kind}")
        return counts(Calls, self._line())

    def reset(self):
        """Resets the counts."""
        self._order("reset")

    def wait_held(self, kind, count=1):
        """Waits until this many calls are held."""
        wait_for(lambda: self.calls(kind).held >= count, f"{count} held calls of kind {kind}")

    def write(self, name, text, mode=0o666):
        """Writes a small file there, without delay. Must not be called while calls are held."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
        return path

    def mounted(self):
        """Whether the mount is there, dead or alive."""
        return f" {self.path} " in Path("/proc/self/mounts").read_text()

    def signal(self, number):
        """Sends the program a signal."""
        self._run.send_signal(number)

    def hang_up(self):
        """Ends its input, as the end of this process would."""
        self._run.stdin.close()

    def close(self):
        """Releases everything and unmounts; harmless if already done."""
        super().close()
        self._run.stderr.close()
        wait_for(lambda: not self.mounted(), f"{self.path} to be unmounted")
        shutil.rmtree(self._folder, ignore_errors=True)
