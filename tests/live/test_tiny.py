# SPDX-License-Identifier: Apache-2.0
"""The build with tiny limits: 2 listeners, 8 state threads, 2 VPs. Run by `make test-tiny`."""

import pytest
from harness import net, wait_for
from harness.drive import Conns, Load
from harness.scoreboard import scores

pytestmark = [pytest.mark.stm_only, pytest.mark.tiny]


@pytest.fixture
def asked(serve):
    """Runs httpd with an argument on a plain configuration."""
    def ask(*arguments, **options):
        server = serve.make(**{"threads": 8, **options})
        server.configure()
        return server.control(*arguments)
    return ask


@pytest.fixture
def server(serve):
    """Both VPs, all their threads, both sockets."""
    return serve(processes=2, threads=8, ports=2)


def test_serves_on_both_sockets(server):
    for port in server.ports:
        with server.connect(port=port) as conn:
            for _ in range(5):
                assert conn.get("/").status == 200


def test_more_connections_than_threads(server):
    """500 connections over 16 state threads: those that are idle hold none."""
    with Conns(server.port) as conns:
        assert conns.open(500).open == 500
        with server.connect() as conn:
            assert conn.get("/").status == 200


def test_load_and_restarts(server):
    with Load(server.port, connections=20) as keep, \
            Load(server.port, connections=10, keep=False) as fresh:
        for number in range(5):
            wait_for(lambda: keep.tally().ok > 200 * (number + 1), "some requests")
            server.restart()
        for load in (keep, fresh):
            tally = load.finish()
            assert tally.ok > 0
            assert tally.refused == tally.reset == tally.empty == tally.partial == tally.bad == 0


@pytest.mark.parametrize("line, most", [("NumVPs 3", 2), ("MaxThreads 9", 8), ("StartThreads 9", 8),
                                        ("MinSpareThreads 9", 8), ("MaxSpareThreads 9", 8)])
def test_limits_are_named(asked, line, most):
    run = asked("-t", directives=line)
    name, value = line.split()
    assert run.returncode != 0
    assert f"{name}: {value} is out of range: must be between 1 and {most}" in run.stderr


def test_third_listener_is_refused(asked):
    run = asked("-t", directives="Listen 127.0.0.1:65533\nListen 127.0.0.1:65534")
    assert run.returncode != 0
    assert "3 listening sockets exceed STM_LISTENER_LIMIT (2)" in run.stderr


def test_third_vp_listen_address_is_refused(asked):
    run = asked("-t", listen=False, directives="\n".join(
        ["NumVPs 1", *(f"VPListen 0 127.0.0.1:{port}" for port in (65532, 65533, 65534))]))
    assert run.returncode != 0
    assert "127.0.0.1:65534 is one more than STM_LISTENER_LIMIT (2)" in run.stderr


def test_defaults_fit_the_limits(asked):
    """Without any directive nothing is out of range, and nothing is warned of."""
    run = asked("-t", "-D", "DUMP_STM", sized=False)
    assert run.returncode == 0, run.stderr
    assert "NumVPs 2\n" in run.stdout and "MaxThreads 8\n" in run.stdout
    assert "WARNING" not in run.stderr


def test_addresses_that_restarts_replace_are_counted(serve):
    """The scoreboard has room for two: listeners that are gone make room for the present ones."""
    server = serve(processes=2, threads=8, directives="ScoreboardDir scoreboards")
    for _ in range(4):
        server.ports = net.free_ports(2)
        server.configure()
        server.restart()
        for port in server.ports:
            with server.connect(port=port) as conn:
                assert conn.get("/").status == 200
        wanted = {f"127.0.0.1:{port}" for port in server.ports}
        wait_for(lambda now=wanted: now == {
            each["address"] for vp in scores(server)["vps"] for each in vp["listeners"]
            if each["connections"] > 0 and each["address"] in now}, "both addresses")
