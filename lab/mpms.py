# SPDX-License-Identifier: Apache-2.0
"""The lab's servers: one httpd under each MPM with the settings of lab/mpm.conf.

Used by tour.py and by tests/live/lab. The servers are the harness's.
"""

import re
import subprocess
from pathlib import Path

from harness import Server, procs, wait_for
from harness.scoreboard import scores

LAB = Path(__file__).resolve().parent
MPMS = ("prefork", "worker", "event", "stm")
SETTINGS = (LAB / "mpm.conf").read_text()

DIRECTIVES = SETTINGS + """
<IfModule mpm_stm_module>
    ScoreboardDir @ROOT@/scoreboards
</IfModule>
"""
# How Debian's MPMs sometimes end, and what is done to the servers here.
EXPECTED = r"AH0004[56]|AH0005[012]|exit signal"


def make(mpm, name="lab", directives=DIRECTIVES, **options):
    """A server that has not been started. `sized` (see Server) uses the harness's own settings."""
    options.setdefault("sized", False)
    server = Server(f"{name}-{mpm}", mpm=mpm, directives=directives, **options)
    server.mpm = mpm
    server.allowed.append(EXPECTED)
    return server


def start(server):
    """Starts it and waits for all of its initial processes."""
    server.start()
    if server.mpm != "prefork":
        wait_for(lambda: len(server.children()) >= 2, "the processes")
    return server


def threads(pid):
    """Kernel threads of a process; 0 if it is gone."""
    stat = procs.stat(pid)
    return stat.threads if stat and stat.state not in "ZX" else 0


def owners(server):
    """{pid: how many established connections it holds}, as the kernel knows."""
    run = subprocess.run(["ss", "-tnpH", "state", "established", f"( sport = :{server.port} )"],
                         capture_output=True, text=True, check=True)
    held = {}
    for pid in re.findall(r"pid=(\d+)", run.stdout):
        held[int(pid)] = held.get(int(pid), 0) + 1
    return held


def state_threads(server):
    """[{"pid", "threads", "busy", "spare"}] for each virtual processor; up to a second old."""
    return [{"pid": vp["counters"]["pid"], "threads": vp["counters"]["threads"],
             "busy": vp["counters"]["threads_busy"],
             "spare": sum(each["threads_spare"] for each in vp["listeners"])}
            for vp in scores(server)["vps"]]
