# SPDX-License-Identifier: Apache-2.0
"""What the tests of the scripts share: their own checkout, and a server that ends with its test.

Nothing here touches the checkout's own build/run: a server that the developer is running stays up.
"""

import os
import shutil
import signal
import subprocess
import urllib.request
from pathlib import Path

from harness.net import free_ports
from harness.waiting import wait_for

TOP = Path(__file__).resolve().parents[2]
BUILD = TOP / os.environ.get("STM_TEST_BUILD", "build")
MODULE = BUILD / "mod_mpm_stm.so"
PAGE = "<html><body><h1>It works!</h1></body></html>\n"
IS_ROOT = os.geteuid() == 0

__all__ = ["free_ports", "wait_for"]


def run(command, **options):
    """A finished process, its output as text. A hang is a failure, not a long wait."""
    options.setdefault("timeout", 120)
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


class Checkout:
    """A copy of the scripts in a folder, as if it were a checkout that has just been built."""

    def __init__(self, folder, owner=None):
        self.top = folder
        self.build = folder / "build"
        self.root = self.build / "run"
        self.port = free_ports(1)[0]
        self.prefix = []
        for part in ("scripts", "conf"):
            shutil.copytree(TOP / part, folder / part)
        self.build.mkdir()
        if MODULE.exists():
            shutil.copy(MODULE, self.build)
        if owner:
            subprocess.run(["chown", "-R", f"{owner.pw_uid}:{owner.pw_gid}", folder], check=True)
            self.prefix = ["setpriv", f"--reuid={owner.pw_uid}", f"--regid={owner.pw_gid}",
                           "--clear-groups", "--"]

    def script(self, action, mpm="event", **settings):
        """Runs scripts/run.sh."""
        environment = dict(os.environ, MPM=mpm, PORT=str(self.port))
        for name in ("BUILD", "ADDRESS", "HTTPD", "APXS", "MAKEFLAGS"):
            environment.pop(name, None)
        environment.update({name: str(value) for name, value in settings.items()})
        return run([*self.prefix, self.top / "scripts/run.sh", action], env=environment)

    def page(self):
        """The page that the server sends."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/", timeout=20) as answer:
            return answer.read().decode()

    def end(self):
        """Whatever the test did, and however it was started: nothing of it keeps running."""
        self.prefix = []
        self.script("stop", STOP_WAIT=1)
        for pid in self.processes():
            os.kill(pid, signal.SIGKILL)

    def pid(self):
        """The master's process, by the pid file."""
        return int((self.root / "logs/httpd.pid").read_text())

    def processes(self):
        """Living processes that were started with this checkout's configuration."""
        conf = str(self.root.resolve() / "conf/httpd.conf").encode()
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                arguments = (folder / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if conf in arguments:
                found.append(int(folder.name))
        return found
