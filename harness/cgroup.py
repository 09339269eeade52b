# SPDX-License-Identifier: Apache-2.0
"""Control groups of a test's own, v1 or v2: limits of CPU time and memory for a server."""

import contextlib
import os
import time
from pathlib import Path

MOUNTS = Path("/proc/self/mountinfo")
PERIOD = 100_000  # us


class Unavailable(Exception):
    """No such group can be made here; the text says why."""


def _hierarchies():
    """(mount point, whether it is v2, options) of each mounted hierarchy."""
    for line in MOUNTS.read_text().splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = after.split(" ", 2)
        if kind in ("cgroup", "cgroup2"):
            yield Path(before.split()[4]), kind == "cgroup2", options.split(",")


def _place_for(controller):
    for mount, unified, options in _hierarchies():
        if not unified and controller in options:
            return mount, False
        if unified and controller in (mount / "cgroup.controllers").read_text().split():
            return mount, True
    raise Unavailable(f"no control groups for {controller} are mounted")


class Group:
    """A group of one hierarchy, without processes yet."""

    def __init__(self, controller):
        self._mount, self.unified = _place_for(controller)
        self.path = self._mount / f"stm-test-{os.getpid()}-{controller}"
        try:
            if self.unified:
                (self._mount / "cgroup.subtree_control").write_text(f"+{controller}")
            self.path.mkdir()
        except OSError as error:
            raise Unavailable(f"no control group can be made: {error}") from error

    def write(self, name, value):
        """Sets a file of the group."""
        try:
            (self.path / name).write_text(str(value))
        except OSError as error:
            raise Unavailable(f"{name} cannot be set: {error}") from error

    def cpus(self, number):
        """Sets a quota of so many CPUs."""
        quota = int(number * PERIOD)
        if self.unified:
            self.write("cpu.max", f"{quota} {PERIOD}")
        else:
            self.write("cpu.cfs_period_us", PERIOD)
            self.write("cpu.cfs_quota_us", quota)

    def memory(self, size):
        """Sets a limit of so many bytes."""
        self.write("memory.max" if self.unified else "memory.limit_in_bytes", size)

    def peak(self):
        """The most that was in use, bytes; 0 where the kernel does not say."""
        path = self.path / ("memory.peak" if self.unified else "memory.max_usage_in_bytes")
        return int(path.read_text()) if path.exists() else 0

    @property
    def launcher(self):
        """A command that joins the group and runs what follows it."""
        return ["/bin/sh", "-c", f'echo $$ > "{self.path}/cgroup.procs" && exec "$@"', "sh"]

    def remove(self):
        """Its processes must have ended; the kernel may take a moment to forget them."""
        for _ in range(200):
            with contextlib.suppress(FileNotFoundError):
                try:
                    self.path.rmdir()
                except OSError:
                    time.sleep(0.05)
                    continue
            return
        raise AssertionError(f"{self.path} still has processes")
