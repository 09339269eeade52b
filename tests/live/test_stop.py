# SPDX-License-Identifier: Apache-2.0
"""Start and stop: promptly, in order, with requests in flight, and leaving nothing behind."""

import os
import signal

import pytest
from harness import MPM, procs, tool, wait_for
from harness.drive import Conns, Load
from harness.scoreboard import total

from .thirdparty.pair import needs

PROBE = "<Location /probe>\nSetHandler probe\n</Location>\n"


@pytest.fixture
def stopped(serve):
    """Stops a server that is busy. Event has to kill processes with requests in flight."""
    def stop(server):
        if MPM != "stm":
            server.allowed.append("AH0004[56]")
        server.stop()
    return stop


def test_with_every_kind_of_connection_in_flight(serve, stopped):
    """SIGTERM ends them all: no process has to be killed (AH00045, AH00046 are alarms)."""
    server = serve.make(tls=True, modules=("reflector", "http2", "socache_shmcb"), directives="""
        Protocols h2c http/1.1
        SSLSessionCache shmcb:@ROOT@/run/ssl(512000)
        <Location /echo>
            SetHandler reflector
        </Location>
        """)
    server.page("big.bin", b"0" * 20_000_000)
    server.start()
    with Conns(server.port) as idle, Conns(server.port, mode="part") as part:
        idle.open(100)
        part.open(50)
        conns = [server.connect(rcvbuf=16384) for _ in range(20)]
        for conn in conns[:10]:
            conn.ask("/big.bin")
            conn.head()
        for conn in conns[10:]:
            conn.ask("/echo", method="POST", headers=["Content-Length: 1000"])
            conn.send(b"half of it")
        with server.connect_tls() as tls, Load(server.port, connections=8) as load:
            tls.get("/")
            wait_for(lambda: load.tally().ok > 100, "some requests")
            stopped(server)
        for conn in conns:
            conn.close()
    assert server.exit_status == 0


@pytest.mark.stm_only
def test_a_kernel_thread_that_crashes_at_the_end_harms_no_cleanup(serve):
    """A kernel thread serves a request that cannot be ended, while cleanups free its module's
    data."""
    server = serve.make(processes=1, modules=[tool("mod_probe.so")], directives=PROBE + """
        ProbeExitLog @ROOT@/exits/log
        <Location /probe>
            RunOn kernel
        </Location>
        ScoreboardDir scoreboards
        """)
    server.private_folder("exits")
    server.start()
    vp = server.children()[0]
    with server.connect() as conn:
        conn.ask("/probe?crash-at-end")
        wait_for(lambda: total(server, "kernel_busy") == 1, "the request on its kernel thread")
        server.stop()
    assert (server.root / "exits/log").read_text() == f"{vp}\n"
    assert "exit signal" not in server.error_log()


def test_with_sleeping_handlers(serve, stopped):
    server = serve(processes=2, modules=[tool("mod_probe.so")], directives=PROBE)
    with Conns(server.port, path="/probe?sleep=60000") as conns:
        conns.send(4)
        stopped(server)


def test_child_pools_are_destroyed_in_order(serve):
    """Each process runs its exit cleanups, as modules that save state or flush logs need it."""
    server = serve.make(processes=3, modules=[tool("mod_probe.so")],
                        directives="ProbeExitLog @ROOT@/exits/log\n")
    server.private_folder("exits")
    server.start()
    with Conns(server.port) as conns:
        conns.open(100)
        pids = server.children()
        server.stop()
    noted = (server.root / "exits/log").read_text().split()
    assert sorted(noted) == sorted(str(pid) for pid in pids)


LUA = """
function handle(r)
    r:puts("begun")
    os.execute("echo > @ROOT@/exits/begun; exec sleep 6")
    return apache2.OK
end
"""


@needs("lua")
def test_buffered_log_lines_are_kept(serve, stopped):
    """Also if a request cannot be ended: those that were finished have their lines, and each
    process has run its cleanups."""
    server = serve.make(processes=2, modules=["lua", tool("mod_probe.so")], directives="""
        BufferedLogs On
        ProbeExitLog @ROOT@/exits/log
        LuaMapHandler ^/lua @ROOT@/wait.lua handle
        """)
    (server.root / "wait.lua").write_text(LUA.replace("@ROOT@", str(server.root)))
    begun = server.private_folder("exits") / "begun"
    server.start()
    pids = server.children()
    for i in range(50):
        assert server.get(f"/?{i}").status == 200
    with server.connect() as conn:
        conn.ask("/lua")
        wait_for(begun.exists, "a program that runs")
        stopped(server)
    for i in range(50):
        assert sum(f"/?{i} " in line for line in server.access_log()) == 1
    noted = (server.root / "exits/log").read_text().split()
    assert sorted(noted) == sorted(str(pid) for pid in pids)


def test_twice_sigterm(serve):
    server = serve()
    with Conns(server.port) as conns:
        conns.open(50)
        server.signal(signal.SIGTERM)
        try:
            server.signal(signal.SIGTERM)
        except ProcessLookupError:
            pass
        server.wait_gone()


def test_the_control_command_stops_it(serve):
    server = serve()
    run = server.control("-k", "stop")
    assert run.returncode == 0, run.stderr
    server.wait_gone()


@pytest.mark.stm_only  # event's serve on, SIGTERM or not
def test_children_end_after_the_master_was_killed(serve):
    """kill -9 of the master: nobody is left to stop its children, so SIGTERM must end each of
    them."""
    server = serve(processes=2)
    pids = server.children()
    os.kill(server.master, signal.SIGKILL)
    for pid in pids:
        try:
            os.kill(pid, signal.SIGTERM)
        except ProcessLookupError:
            pass
    wait_for(lambda: not server.running(), "the end of its children")
    (server.root / "run/httpd.pid").unlink()
    server.wait_gone()


@pytest.mark.parametrize("form", ["-X", "-DFOREGROUND", "-DNO_DETACH"])
def test_attached_forms(serve, form):
    """The process that was started is the server; SIGTERM ends it with status 0."""
    server = serve.make(processes=2)
    server.start_attached(form)
    count = 0 if form == "-X" else 2
    wait_for(lambda: len(server.children()) == count, f"{count} children")
    with server.connect() as conn:
        for _ in range(20):
            assert conn.get("/").status == 200
    server.stop()
    assert server.exit_status == 0


def test_one_process_serves_all_kinds(serve):
    """-X: works even with many connections, and a slow reader."""
    server = serve.make(processes=2, threads=256)
    server.page("big.bin", b"0" * 5_000_000)
    server.start_attached("-X")
    with Conns(server.port) as conns, server.connect(rcvbuf=16384) as slow:
        slow.ask("/big.bin")
        slow.head()
        assert conns.open(100) == (100, 100, 0, 0)
        assert len(slow.exactly(5_000_000)) == 5_000_000
    assert server.children() == []


def test_restart_after_stop_on_the_same_port(serve):
    """Its listeners are free at once, also with connections in TIME_WAIT."""
    server = serve()
    port = server.port
    for _ in range(3):
        for _ in range(10):
            server.get("/", headers=["Connection: close"])
        server.stop()
        server.start()
        assert server.port == port


def test_100_cycles_leave_nothing(serve):
    """Processes, shared memory and the pid file are checked by each stop()."""
    server = serve.make(processes=2)
    before = procs.fds(os.getpid())
    if MPM == "event":
        server.allowed.append("AH00052")  # in a few of a thousand of its stops
    for _ in range(100):
        server.start()
        assert server.get("/").status == 200
        server.stop()
        (server.root / "logs/error.log").unlink()
    assert procs.fds(os.getpid()).keys() == before.keys()
