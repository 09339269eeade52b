# SPDX-License-Identifier: Apache-2.0
"""A virtual processor that dies: only its own connections are lost, and it is replaced."""

import os
import re
import signal
import time
from pathlib import Path

import pytest
from harness import MPM, procs, tool, wait_for
from harness.client import Closed
from harness.drive import Conns, Load

PROBE = "<Location /probe>\nSetHandler probe\n</Location>\n"


@pytest.fixture
def probed(serve):
    """A factory of servers with the probe module, whose children are expected to die."""
    def make(directives="", **options):
        server = serve.make(modules=[tool("mod_probe.so"), *options.pop("modules", ())],
                            directives=PROBE + directives, **options)
        server.allowed.append(r"AH00052|exit signal|AH0005[01]")
        return server
    return make


def owner(conn):
    """The process that serves a connection."""
    return int(conn.get("/probe?pid").text.split()[0])


def test_only_its_own_connections_are_lost(probed):
    server = probed(processes=3).start()
    conns = [(server.connect(), None) for _ in range(60)]
    conns = [(conn, owner(conn)) for conn, _ in conns]
    victim = conns[0][1]
    others = [pid for pid in server.children() if pid != victim]
    os.kill(victim, signal.SIGKILL)
    for conn, pid in conns:
        if pid == victim:
            with pytest.raises((Closed, OSError)):
                conn.get("/")
        else:
            assert owner(conn) == pid
        conn.close()
    wait_for(lambda: len(server.children()) == 3, "a replacement")
    assert set(others) <= set(server.children())


def test_kill_under_load(probed):
    """Each of the other process's idle connections still answers; new ones never fail for long."""
    server = probed(processes=2).start()
    with Load(server.port, connections=16) as load, Conns(server.port) as idle:
        idle.open(200)
        wait_for(lambda: load.tally().ok > 500, "some requests")
        for _ in range(5):
            pid = server.children()[0]
            os.kill(pid, signal.SIGKILL)
            wait_for(lambda: pid not in server.children() and len(server.children()) == 2,
                     "a replacement")
            before = load.tally().ok
            wait_for(lambda: load.tally().ok > before + 200, "requests after the death")
        tally = load.finish()
    assert (tally.bad, tally.refused) == (0, 0), tally
    assert len(server.children()) == 2


@pytest.mark.parametrize("kind", ["crash", "abort"])
def test_crash_in_a_handler(probed, kind):
    server = probed(processes=2).start()
    conns = [server.connect() for _ in range(40)]
    owners = [owner(conn) for conn in conns]
    conns[0].ask(f"/probe?{kind}")
    with pytest.raises(Closed):
        conns[0].response()
    for conn, pid in zip(conns, owners):
        if pid != owners[0]:
            assert owner(conn) == pid
        conn.close()
    wait_for(lambda: len(server.children()) == 2 and owners[0] not in server.children(),
             "a replacement")
    server.wait_log(r"exit signal (Segmentation fault|Abort)")


def test_exit_in_a_handler(probed):
    server = probed(processes=2).start()
    before = server.children()
    with server.connect() as conn:
        conn.ask("/probe?exit")
        with pytest.raises(Closed):
            conn.response()
    wait_for(lambda: len(server.children()) == 2 and server.children() != before, "a replacement")
    assert server.get("/").status == 200


@pytest.mark.stm_only  # event starts none for a while, and says so
def test_all_die_at_once(probed):
    server = probed(processes=4).start()
    before = set(server.children())
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: len(server.children()) == 4 and not before & set(server.children()),
             "four replacements")
    assert server.get("/").status == 200


def test_descriptors_of_the_master_stay_the_same(probed):
    server = probed(processes=2).start()
    before = len(procs.fds(server.master))
    for _ in range(5):
        gone = server.children()
        for pid in gone:
            os.kill(pid, signal.SIGKILL)
        wait_for(lambda: len(server.children()) == 2 and not set(gone) & set(server.children()),
                 "replacements")
    # Not ==: at the first look the master may have just been starting the second of the two.
    wait_for(lambda: len(procs.fds(server.master)) <= before, f"{before} descriptors")


def test_no_fork_storm_from_a_process_that_dies_at_start(probed):
    """For three seconds each new process dies at once: there may be some tens, not thousands.

    When the cause goes away, the server comes back by itself.
    """
    server = probed("ProbeCrashFile @ROOT@/crash\n", processes=2).start()
    (server.root / "crash").touch()
    for pid in server.children():
        os.kill(pid, signal.SIGKILL)
    used = procs.stat(server.master).cpu
    time.sleep(3)
    (server.root / "crash").unlink()
    deaths = len(re.findall("exit signal Segmentation fault", server.error_log()))
    assert 1 <= deaths <= 100
    assert procs.stat(server.master).cpu - used < 1.5
    server.wait_ready()
    wait_for(lambda: len(server.children()) == 2, "both processes")


def test_stop_while_processes_die_at_start(probed):
    server = probed("ProbeCrashFile @ROOT@/crash\n", processes=2).start()
    (server.root / "crash").touch()
    for pid in server.children():
        os.kill(pid, signal.SIGKILL)
    server.wait_log("exit signal Segmentation fault", count=1 if MPM == "event" else 2)
    server.stop()


@pytest.mark.stm_only
def test_a_starter_that_ignores_sigchld(serve):
    """The kernel reaps the children of who ignores it, so that pids on record become others'.
    Neither the master in a restart nor its VPs inherit that."""
    server = serve.make(processes=1)
    server.ignored = [signal.SIGCHLD]
    server.start()
    for _ in range(2):
        pid = server.children()[0]
        ignored = int(re.search(r"SigIgn:\s*(\w+)", Path(f"/proc/{pid}/status").read_text())[1], 16)
        assert not ignored >> (signal.SIGCHLD - 1) & 1
        server.restart()
        wait_for(lambda old=pid: old not in server.children(), "a new VP")
