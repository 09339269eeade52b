# SPDX-License-Identifier: Apache-2.0
"""Many concurrent connections, and what the waiting ones must not hold: threads and turns."""

import pytest
from harness import MPM, procs, wait_for
from harness.drive import Conns, Load

# Threads that must suffice for any number of idle connections. Event sheds idle connections when
# its threads are all busy, so it gets as many as there are connections.
FEW = 8 if MPM == "stm" else 2400


@pytest.fixture
def crowd(serve):
    """A factory of servers with FEW threads."""
    def make(processes, **options):
        server = serve(processes=processes, threads=options.pop("threads", FEW), **options)
        if MPM == "event":  # crashes at times when it stops with thousands of connections
            server.allowed.append("AH00052")
        return server
    return make


def test_2000_concurrent_connections(crowd):
    server = crowd(2)
    with Conns(server.port) as conns:
        got = conns.open(2000)
        assert got == (2000, 2000, 0, 0)
        assert conns.again() == (2000, 4000, 0, 0)
        assert server.get("/").status == 200


def test_2000_connections_with_half_a_request(crowd):
    """Each of them is a request in progress, so it may hold a thread: they fit in MaxThreads."""
    server = crowd(2, threads=1200)
    with Conns(server.port, mode="part") as conns:
        assert conns.open(2000).open == 2000
        for _ in range(20):
            assert server.get("/").status == 200
        assert conns.report() == (2000, 0, 0, 0)


def test_2000_idle_connections_hold_no_thread(crowd):
    server = crowd(1)
    with Conns(server.port) as conns:
        assert conns.open(2000).open == 2000
        for _ in range(20):
            assert server.get("/").status == 200
        assert conns.again().answered == 4000


@pytest.mark.stm_only
def test_2000_connections_without_a_first_byte_hold_no_thread(crowd):
    """AcceptFilter none: the kernel does not wait for the first byte on the server's behalf."""
    server = crowd(1, directives="AcceptFilter http none")
    with Conns(server.port, mode="new") as conns:
        assert conns.open(2000).open == 2000
        for _ in range(20):
            assert server.get("/").status == 200
        assert conns.report() == (2000, 0, 0, 0)


@pytest.mark.stm_only
def test_one_kernel_thread_per_vp(crowd):
    """With 2,000 idle connections and 100 requests in progress. (A helper that a slow machine has
    made necessary ends once it has been idle.)"""
    server = crowd(2, threads=200)
    with Conns(server.port) as idle, Conns(server.port, mode="part") as busy:
        idle.open(2000)
        busy.open(100)
        server.get("/")
        wait_for(lambda: [procs.stat(pid).threads for pid in server.children()] == [1, 1],
                 "one kernel thread per VP")


def test_lingering_closes_hold_no_thread(crowd):
    """The server has closed its side; the clients keep theirs open, so it lingers."""
    server = crowd(1, directives="MaxKeepAliveRequests 1")
    lingering = [server.connect() for _ in range(100)]
    for conn in lingering:
        assert conn.get("/", headers=["Connection: close"]).status == 200
        assert conn.ended()
    for _ in range(20):
        assert server.get("/").status == 200
    for conn in lingering:
        conn.close()


def test_more_requests_than_threads_wait_and_are_served(crowd):
    """At the ceiling, connections wait in the listen queue; none is refused or dropped."""
    server = crowd(1)
    with Conns(server.port) as conns:
        assert conns.open(500) == (500, 500, 0, 0)
    with Load(server.port, connections=100, keep=False) as load:
        wait_for(lambda: load.tally().ok > 2000, "2,000 requests")
        tally = load.finish()
    assert tally[1:6] == (0, 0, 0, 0, 0), tally


def test_descriptors_are_given_back(crowd):
    """After 2,000 connections have come and gone, a process has the same descriptors as before."""
    server = crowd(2)
    [server.get("/") for _ in range(20)]
    before = {pid: len(procs.fds(pid)) for pid in server.children()}
    with Conns(server.port) as conns:
        conns.open(1000)
    with Load(server.port, connections=20, keep=False) as load:
        wait_for(lambda: load.tally().ok > 1000, "1,000 requests")
        load.finish()
    wait_for(lambda: all(len(procs.fds(pid)) <= count + 2 for pid, count in before.items()),
             f"descriptor counts near {before}")
    assert sorted(before) == server.children()


def test_every_process_takes_part(crowd):
    """Under concurrent connections, each of two processes serves some."""
    server = crowd(2)
    with Load(server.port, connections=32, keep=False) as load:
        wait_for(lambda: load.tally().ok > 3000, "3,000 requests")
        load.finish()
    pids = {int(line.split()[0]) for line in server.access_log()}
    assert pids == set(server.children())
