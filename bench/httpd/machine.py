# SPDX-License-Identifier: Apache-2.0
"""Describes the machine and the software that the figures were measured with; no host names."""

import os
import platform
import re
import subprocess
from pathlib import Path

PACKAGES = ("apache2-bin", "nginx", "wrk", "nghttp2-client", "libc6", "libssl3")


def _first(path, pattern):
    try:
        found = re.search(pattern, Path(path).read_text(), re.M)
    except OSError:
        return "unknown"
    return found.group(1).strip() if found else "unknown"


def _versions():
    """Versions of the Debian packages involved; empty on other distributions."""
    try:
        run = subprocess.run(["dpkg-query", "-W", "-f", "${Package} ${Version}\n", *PACKAGES],
                             capture_output=True, text=True, check=False)
    except OSError:
        return {}
    return dict(line.split() for line in run.stdout.splitlines() if len(line.split()) == 2)


def describe():
    """CPU, memory, kernel, distribution, versions."""
    memory = _first("/proc/meminfo", r"^MemTotal:\s+(\d+)")
    return {
        "cpu": _first("/proc/cpuinfo", r"^model name\s*:\s*(.*)$"),
        "cpus": os.cpu_count(),
        "memory": f"{int(memory) / (1 << 20):.0f} GB" if memory.isdigit() else memory,
        "kernel": f"{platform.system()} {platform.release().split('-')[0]} {platform.machine()}",
        "system": _first("/etc/os-release", r'^PRETTY_NAME="?([^"\n]*)'),
        "versions": _versions(),
    }
