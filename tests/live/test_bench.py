# SPDX-License-Identifier: Apache-2.0
"""bench/httpd measures what it claims to: some of its scenarios, smaller, against real servers."""

import socket
import ssl
import subprocess

import pytest

from bench.httpd import compare, holdups, idle, scenarios, servers, streams, tails
from harness import net, slowfs


@pytest.mark.stm_only
def test_slow_backend():
    """All requests wait at the same time, none is answered early, and the server grows with
    each: there are so many that it does not matter with whom it shares libraries meanwhile."""
    small = scenarios.Scenario("test", "", scenarios.slow_backend(400), scenarios.Need(400, 400),
                               backend=True)
    got = compare.measure(small, "stm", scenarios.Run())
    assert got["failed"] == 0
    assert got["in flight"] == got["connections"] == 400
    assert got["p50 ms"] >= 1000
    assert got["PSS bytes/request"] > 4096
    assert got["kernel threads"] >= 3


@pytest.mark.parametrize("server", ["stm", "event"])
@pytest.mark.parametrize("mode", ["websocket", "events"])
def test_streams(mode, server):
    """Each stream gets its messages; event, which has a thread for each, counts the same. Its
    threads and their stacks are there from the beginning, so only stm's memory must grow: by so
    much that it does not matter with whom it shares libraries meanwhile."""
    need = scenarios.Need(600, 600, processes=1)
    small = scenarios.Scenario("test", "", streams.streams(mode, 600, watched=1), need,
                               things={"streams": streams.StreamBackends})
    got = compare.measure(small, server, scenarios.Run())
    assert got["failed"] == 0 and got["connections"] == 600
    assert got["messages/s"] > 0
    assert server == "event" or got["PSS bytes/stream"] > 4096


def test_cold_reads():
    """All files are being read at one time, and by whom; event, whose threads are known."""
    need = scenarios.Need(40, 40, processes=1)
    small = scenarios.Scenario("test", "", holdups.many_cold_reads(40), need,
                               things={"disk": lambda: slowfs.SlowFS("cold#.bin:65536:40")})
    try:
        got = compare.measure(small, "event", scenarios.Run())
    except slowfs.Unavailable as reason:
        pytest.skip(str(reason))
    assert got["failed"] == 0
    assert got["files being read"] == 40
    assert got["kernel threads"] >= 64


def test_programs():
    """They take the time of one if all run at once, and none finishes early."""
    small = scenarios.Scenario("test", "", holdups.all_at_once(["/program?1"] * 8),
                               scenarios.Need(8, 8, processes=1, lua=True))
    got = compare.measure(small, "event", scenarios.Run())
    assert got["failed"] == 0 and got["seconds"] >= 1


@pytest.mark.needs_root
def test_names():
    """The look-ups go to the server that does not answer, and to no other."""
    if subprocess.run(["unshare", "--mount", "true"], check=False).returncode != 0:
        pytest.skip("no mount namespace here, so no resolv.conf of our own")
    need = scenarios.Need(8, 8, processes=1)
    small = scenarios.Scenario("test", "", holdups.all_at_once([f"/named?{n}" for n in range(8)]),
                               need, things={"names": holdups.SilentNames})
    got = compare.measure(small, "event", scenarios.Run())
    assert got["failed"] == 0 and got["seconds"] >= 2


@pytest.mark.parametrize("tls, http2", [(True, False), (False, True), (True, True)])
@pytest.mark.parametrize("kind", [pytest.param("stm", marks=pytest.mark.stm_only), "event"])
def test_idle_connections(kind, tls, http2):
    """All connections have had their answer by the protocol that is meant, and stay open."""
    small = scenarios.Scenario("test", "", idle.idle(tls, http2, 20),
                               scenarios.Need(20 + idle.WARM, tls=tls, http2=http2))
    assert compare.measure(small, kind, scenarios.Run())["connections"] == 20


@pytest.mark.parametrize("kind", [pytest.param("stm", marks=pytest.mark.stm_only), "event"])
def test_tails(kind):
    """All requests are counted, and each connection is found in one of the processes."""
    small = scenarios.Scenario("test", "", tails.tails(40), scenarios.Need(40))
    got = compare.measure(small, kind, scenarios.Run(seconds=1))
    assert got["failed"] == 0 and got["requests/s"] > 0
    assert 0 < got["p50 us"] <= got["p99 us"] <= got["p99.9 us"] <= got["longest us"]
    assert 0 < got["least/most, connections"] <= 1 and 0 < got["Jain, connections"] <= 1


def test_percentiles_and_fairness():
    """Of numbers that are known."""
    assert [tails.at({10: 98, 20: 1, 30: 1}, part) for part in (0.5, 0.98, 0.99, 1)] == [10, 10,
                                                                                         20, 30]
    assert tails.jain([3, 3, 3]) == 1 and tails.jain([4, 0, 0, 0]) == 0.25
    got = tails.shares({"a:1": 8, "a:2": 8, "a:3": 4, "a:4": 2, "a:5": 9},
                       {"a:1": 7, "a:2": 7, "a:3": 8, "a:4": 8})
    assert got == {"least/most, connections": 0.5, "Jain, connections": 0.9,
                   "least/most, processes": 6 / 16, "connections, least/most": 1}


@pytest.mark.parametrize("key", ["ec", "rsa"])
@pytest.mark.parametrize("kind", [pytest.param("stm", marks=pytest.mark.stm_only), "event",
                                  "nginx"])
def test_handshakes_are_full(kind, key):
    """The server has the key that is meant, and resumes no session for a client that offers one."""
    need = scenarios.Need(8, tls=True, key=key, resumes=False)
    server = servers.make(kind, f"handshakes-{kind}-{key}", need)
    server.page("45.txt", "x" * 44 + "\n")
    try:
        server.start()
        context, session = net.tls_context(ssl.TLSVersion.TLSv1_3, key), None
        for _ in range(3):
            with socket.create_connection(("127.0.0.1", server.tls_port), 20) as plain, \
                    context.wrap_socket(plain, server_hostname="localhost",
                                        session=session) as conn:
                assert not conn.session_reused
                assert (b"\x2a\x86\x48\xce\x3d\x02\x01" in conn.getpeercert(True)) == (key == "ec")
                idle.ask_http1(conn)
                session = conn.session
    finally:
        compare.end(server, failed=False)
