# SPDX-License-Identifier: Apache-2.0
"""Hundreds of Listen lines: served as under event, added and removed by restarts, and counted."""

import re

import pytest
from harness import MPM, net, wait_for
from harness.client import Closed, Conn
from harness.scoreboard import scores, stmstat

BOTH = pytest.mark.parametrize("mpm", ["event", "stm"])
SIZES = "NumVPs 3\nStackSize 131072\nScoreboardDir scoreboards\n"  # MaxThreads is the default


def answers(port):
    """Whether a request on that port is answered."""
    with Conn(port) as conn:
        return conn.get("/").status == 200


def refuses(port):
    """Whether nobody listens on that port any more."""
    try:
        answers(port)
    except ConnectionRefusedError:
        return True
    except (OSError, Closed):
        pass
    return False


def many(serve, mpm, count):
    """A started server with that many Listen lines."""
    more = {"sized": False, "directives": SIZES} if mpm == "stm" else {"threads": 25}
    return serve(mpm=mpm, ports=count, **more)


def relisten(server, ports):
    """A graceful restart with these ports instead."""
    server.ports = ports
    server.configure()
    server.restart()


def counted(server):
    """The connections of each address, over all VPs."""
    sums = {}
    for vp in scores(server)["vps"]:
        for listener in vp["listeners"]:
            sums.setdefault(listener["address"], 0)
            sums[listener["address"]] += listener["connections"]
    return sums


@BOTH
@pytest.mark.parametrize("count", [200, 1000])
def test_each_is_served(serve, mpm, count):
    server = many(serve, mpm, count)
    assert all(answers(port) for port in server.ports)


@BOTH
def test_restarts_add_and_remove(serve, mpm):
    """From 1 to 1,000, then to 200 others, and back."""
    server = many(serve, mpm, 1)
    first = list(server.ports)
    others = net.free_ports(1100)
    for ports in (first + others[:999], first + others[900:], first):
        gone = set(server.ports) - set(ports)
        relisten(server, list(ports))
        assert all(answers(port) for port in ports)
        for port in list(gone)[::20]:
            wait_for(lambda port=port: refuses(port), "the end of those that still listen there")


@pytest.mark.skipif(MPM != "stm", reason="STM's own scoreboards")
def test_all_of_them_are_counted(serve):
    """By stmstat, in the metrics and on the status page, including those that a restart has
    added."""
    server = many(serve, "stm", 1)
    server.configure(modules=("status",), directives=SIZES + """
        ExtendedStatus On
        <Location /status>
        SetHandler server-status
        </Location>
        <Location /metrics>
        SetHandler stm-metrics
        </Location>
        """)
    ports = server.ports + net.free_ports(299)
    relisten(server, ports)
    for port in ports:
        assert answers(port)
    addresses = {f"127.0.0.1:{port}" for port in ports}
    wait_for(lambda: addresses <= {name for name, count in counted(server).items() if count > 0},
             "a connection of each")
    status, metrics = server.get("/status").text, server.get("/metrics").text
    shown = stmstat("-d", server.root / "scoreboards", "-1").stdout
    for text in (status, metrics, shown):
        assert addresses <= set(re.findall(r"127\.0\.0\.1:\d+", text))
    assert server.warnings() == [] or "scoreboard" not in str(server.warnings())
