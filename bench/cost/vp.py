# SPDX-License-Identifier: Apache-2.0
"""A VP whose counts the machine's load does not change: its clocks stand still, and its clients can
wait until it sleeps.
"""

import os
import platform
import struct
from functools import partial
from pathlib import Path

from harness import tool, wait_for
from harness.backend import Backend

# epoll_wait, epoll_pwait, epoll_pwait2
EPOLL = {"x86_64": {"232", "281", "441"}, "aarch64": {"22", "441"}}.get(platform.machine(), set())
SECOND = 10 ** 9


class Vp:
    """The only VP of a server."""

    def __init__(self):
        self.server = None
        self.pid = 0
        self._clock = None
        self._time = 0

    def backend(self, talk):
        """A Backend that knows it: `talk(vp, connection, file)`."""
        return Backend(partial(talk, self))

    def start(self, server):
        """Starts its server."""
        self.server = server
        self._clock = server.private_folder("clock") / "time"
        self.later(0)
        self._clock.chmod(0o644)
        server.preload(tool("stopped_clock.so"), {"STOPPED_CLOCK": str(self._clock)})
        server.start()
        self.pid, = server.children()

    def later(self, seconds):
        """Sets its clocks forward, for the next time it looks at them: when something happens."""
        self._time += int(seconds * SECOND)
        with self._clock.open("r+b" if self._clock.exists() else "wb") as file:
            file.write(struct.pack("l", self._time))

    def _sleeps(self):
        try:
            return self._all_sleep()
        except (FileNotFoundError, ProcessLookupError):  # a kernel thread has ended
            return False

    def _all_sleep(self):
        for task in os.listdir(f"/proc/{self.pid}/task"):
            stat = Path(f"/proc/{self.pid}/task/{task}/stat").read_text()
            if stat[stat.rindex(")") + 2] != "S":
                return False
        try:
            call = Path(f"/proc/{self.pid}/syscall").read_text().split()[0]
        except PermissionError:  # like strace's; then this is less certain
            return True
        return call in EPOLL

    def settle(self):
        """Waits until it has done all that it can, and waits for events."""
        wait_for(self._sleeps, "the VP to sleep", step=0.0005)
