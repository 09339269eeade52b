# SPDX-License-Identifier: Apache-2.0
"""The same server twice: with one process of event, and with one VP. Both must serve clients
alike."""

import shutil
import subprocess
from pathlib import Path

import pytest

from harness import MODULES, MPM
from tests.live.waits.inflight import prove

APPS = Path(__file__).parent / "apps"
CLIENTS = 40  # at the same time


def needs(module):
    """Skips the whole file where that httpd module is not installed."""
    return pytest.mark.skipif(not (MODULES / f"mod_{module}.so").exists(),
                              reason=f"mod_{module} is not installed")


def needs_that(command, what):
    """Skips the whole file where a command fails: what the module runs is not installed."""
    run = subprocess.run(command, capture_output=True, check=False)
    return pytest.mark.skipif(run.returncode != 0, reason=f"{what} is not installed")


class Pair:
    """The same server under event and under the MPM of this run."""

    def __init__(self, serve, apps=(), prepare=None, **options):
        """apps: files of apps/ that are copied to the folder app of each; prepare(server) is called
        before it starts; options: as for Server."""
        self._by_mpm = {}
        for mpm in dict.fromkeys(["event", MPM]):
            name = f"{options.get('name', serve.name)}_{mpm}"
            # A locale that is read from a file, not built into the C library: its tables come and
            # go.
            env = {"LC_ALL": "C.UTF-8", **options.get("env", {})}
            server = serve.make(**{"processes": 1, "threads": 64, **options, "mpm": mpm,
                                   "name": name, "env": env})
            (server.root / "app").mkdir()
            for app in apps:
                shutil.copy(APPS / app, server.root / "app")
            if prepare:
                prepare(server)
            self._by_mpm[mpm] = server.start()

    @property
    def servers(self):
        """Both servers; if a test fails, their error logs are shown."""
        return list(self._by_mpm.values())

    def compare(self, scene):
        """Plays scene(server) with both. What it returns must be the same; and one process serves
        from its beginning to its end."""
        got = {}
        for mpm, server in self._by_mpm.items():
            before = server.children()
            got[mpm] = scene(server)
            assert server.children() == before, f"{mpm}: its process was replaced"
            assert server.alarms() == [], mpm
        assert got[MPM] == got["event"]
        return got[MPM]

    def held(self, gate, path, **more):
        """hold() with both: returns all texts, which must be the same under both."""
        return self.compare(lambda server: hold(server, gate, path, **more))


def hold(server, gate, path, count=CLIENTS, **more):
    """Each client's request (path, with its number for {}) waits at the gate while others are
    served; then each gets its response. Returns the texts of all."""
    gate.close()
    return [got.text for got in prove(server, gate, [path.format(n) for n in range(count)], **more)]
