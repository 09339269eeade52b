# SPDX-License-Identifier: Apache-2.0
"""Reads a test server's scoreboards with stmstat."""

import json
import subprocess

from .places import BUILD

STMSTAT = BUILD / "stmstat/stmstat"


def stmstat(*arguments, check=True):
    """Runs stmstat; returns what it printed."""
    assert STMSTAT.exists(), f"{STMSTAT} is missing: make builds it"
    run = subprocess.run([STMSTAT, *map(str, arguments)], capture_output=True, text=True,
                         timeout=30, check=False)
    if check:  # everything was read, even if the server has stopped or its VPs are silent
        assert run.returncode in (0, 3, 4), run.stderr
    return run


def scores(server):
    """All scoreboards of the server, as stmstat -j gives them."""
    return json.loads(stmstat("-d", server.root / "scoreboards", "-j").stdout)


def total(server, name="connections"):
    """A counter's sum over all VPs and incarnations."""
    return scores(server)["all"][name]


def rows(server):
    """All connections' keys and values."""
    return [row for vp in scores(server)["vps"] for row in vp["connections"]]
