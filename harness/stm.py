# SPDX-License-Identifier: Apache-2.0
"""What is specific to this MPM: its dump of the configuration, and which VP serves a connection."""

from collections import defaultdict

from .client import Closed
from .places import tool

PROBE = "<Location /probe>\nSetHandler probe\n</Location>\n"


def dump(server):
    """httpd -t -D DUMP_STM as {name: [value of each such line]}; the configuration is written."""
    server.configure()
    run = server.control("-t", "-D", "DUMP_STM")
    assert run.returncode == 0, run.stderr
    found = defaultdict(list)
    for line in run.stdout.splitlines():
        name, _, value = line.partition(" ")
        found[name].append(value)
    return found


def probed(serve, directives="", **options):
    """A server (not started) with the probe module at /probe."""
    modules = [tool("mod_probe.so"), *options.pop("modules", ())]
    return serve.make(modules=modules, directives=PROBE + directives, **options)


def owner(conn):
    """The process that serves a connection."""
    return int(conn.get("/probe?pid").text.split()[0])


def lost(conn):
    """Whether a connection no longer gets answers."""
    try:
        conn.get("/")
    except (Closed, OSError):
        return True
    return False
