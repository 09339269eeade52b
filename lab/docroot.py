# SPDX-License-Identifier: Apache-2.0
"""Finds a server's document root with strace, from outside. Used by tour.py and tests/live/lab."""

import re

from harness.strace import Trace


def opened(trace):
    """Paths of the files that were opened, in order: a call of openat may be split over two
    lines."""
    return re.findall(r'openat2?\(AT_FDCWD, "([^"]+)", (?:\{flags=)?O_RDONLY', trace)


def document_root(trace, page="/index.html"):
    """The folder that holds `page`, or None if no such file was opened."""
    found = [path for path in opened(trace) if path.endswith(page)]
    return found[-1][:-len(page)] if found else None


def find(server, output):
    """Attaches to all processes that serve, asks for the page, and returns (command, trace)."""
    tracer = Trace(server.children(), output, "openat,openat2")
    try:
        server.get("/")
    finally:
        trace = tracer.end()
    return tracer.command, trace
