# SPDX-License-Identifier: Apache-2.0
"""Restarts that lose nothing, and those that may."""

import re
import signal
import subprocess
import time

import pytest
from harness import procs, wait_for
from harness.client import Closed
from harness.drive import Conns, Load
from harness.stm import lost, owner, probed

pytestmark = pytest.mark.stm_only

HUNG = "/probe?sleep=3000"


@pytest.fixture
def downloads(serve):
    """A factory of servers (not started) with a file that takes a slow reader a while."""
    def make(directives="", **options):
        server = probed(serve, directives, **options)
        server.page("big.bin", b"0123456789abcdef" * 2_000_000)
        return server
    return make


def begin_download(server):
    """A client that has read a little of a large file."""
    conn = server.connect(rcvbuf=16384)
    conn.ask("/big.bin")
    length = int(conn.head().headers["content-length"])
    conn.exactly(100_000)
    return conn, length - 100_000


def flawless(tally):
    """Whether no request was refused, reset, truncated or answered badly."""
    return tally[1:6] == (0, 0, 0, 0, 0)


def test_100_graceful_restarts_lose_nothing(downloads):
    """Under keep-alive clients, hurried and slow, new connections, and a download."""
    server = downloads(processes=2).start()
    with Load(server.port, connections=8) as kept, \
            Load(server.port, connections=8, gap_ms=40) as slow, \
            Load(server.port, connections=8, keep=False) as new:
        download, left = begin_download(server)
        hanging = server.connect()
        hanging.ask(HUNG)
        for number in range(100):
            before = [load.tally().ok for load in (kept, slow, new)]
            server.restart()
            if number % 10 == 0:  # each kind of client is sure to meet several generations
                wait_for(lambda: all(load.tally().ok > ok for load, ok in
                                     zip((kept, slow, new), before)), "requests in between")
        assert hanging.response().status == 200
        assert len(download.exactly(left)) == left
        hanging.close()  # both said keep-alive: their VPs would stay for them
        download.close()
        tallies = [load.finish() for load in (kept, slow, new)]
    assert all(map(flawless, tallies)), tallies
    wait_for(lambda: len(server.children()) == 2, "the end of all old generations")


def test_graceful_restart_replaces_every_vp(serve):
    server = serve(processes=3)
    before = server.children()
    server.restart()
    wait_for(lambda: len(server.children()) == 3, "the end of the old generation")
    assert not set(before) & set(server.children())


def test_descriptors_of_the_master_stay_the_same(serve):
    server = serve(processes=2, tls=True, modules=("socache_shmcb",), directives="""
        SSLSessionCache shmcb:@ROOT@/run/ssl(512000)
        """)
    server.restart()
    wait_for(lambda: len(server.children()) == 2, "the end of the old generation")
    before = len(procs.fds(server.master))
    for _ in range(10):
        server.restart()
    wait_for(lambda: len(server.children()) == 2, "the end of the old generations")
    # Not ==: the master may just have been starting the second VP when we looked first.
    wait_for(lambda: len(procs.fds(server.master)) <= before, f"{before} descriptors")


def test_idle_connection_is_answered_and_then_closed(serve):
    """A request on an old VP's idle connection gets its answer, with Connection: close."""
    server = serve(processes=2)
    conns = [server.connect() for _ in range(50)]
    for conn in conns:
        assert conn.get("/").keeps
    server.restart()
    for conn in conns:
        got = conn.get("/")
        assert (got.status, got.keeps) == (200, False)
        assert conn.ended()
        conn.close()
    wait_for(lambda: len(server.children()) == 2, "the end of the old generation")


def test_idle_connection_stays_until_its_timeout(serve):
    """The old VP ends with its last idle connection, at KeepAliveTimeout and not before."""
    server = serve(processes=1, directives="KeepAliveTimeout 2")
    with server.connect() as conn:
        start = time.monotonic()
        assert conn.get("/").status == 200
        server.restart()
        assert conn.ended()
        assert time.monotonic() - start >= 1.8
    wait_for(lambda: len(server.children()) == 1, "the end of the old VP")


def test_many_generations_at_once(downloads):
    """Each of 30 generations has a long-lived connection; none blocks a new generation."""
    server = downloads(processes=2).start()
    held = []
    for _ in range(30):
        held.append(begin_download(server))
        server.restart()
        assert server.get("/").status == 200
    assert len(server.children()) >= 30
    assert "scoreboard is full" not in server.error_log()
    for conn, left in held:
        assert len(conn.exactly(left)) == left
        conn.close()
    wait_for(lambda: len(server.children()) == 2, "the end of the old generations")


def test_graceful_shutdown_timeout_ends_old_generations(downloads):
    server = downloads("GracefulShutdownTimeout 1\n", processes=1).start()
    conn, left = begin_download(server)
    old = server.children()
    since = time.monotonic()
    server.restart()
    wait_for(lambda: not set(old) & set(server.children()), "the end of the old VP")
    assert time.monotonic() - since >= 0.9
    with pytest.raises(Closed):
        conn.exactly(left)


def test_broken_configuration_keeps_the_old_server(serve):
    """With SIGUSR1 and with SIGHUP; and once it is fixed, the next restart uses it."""
    server = serve(processes=2, directives="")
    children = server.children()
    with server.connect() as conn:
        assert conn.get("/").status == 200
        good = server.conf.read_text()
        for number in (signal.SIGUSR1, signal.SIGHUP):
            size = len(server.error_log())
            server.conf.write_text(good + "NoSuchDirective at-all\n")
            server.signal(number)
            wait_for(lambda: "NoSuchDirective" in server.error_log()[size:], "the complaint")
            assert server.children() == children
            assert conn.get("/").status == 200
            assert server.get("/").status == 200
        server.conf.write_text(good)
    server.restart()
    wait_for(lambda: not set(children) & set(server.children()), "the end of the old VPs")
    assert server.get("/").status == 200


def test_missing_module_keeps_the_old_server(serve):
    server = serve(processes=2)
    children = server.children()
    good = server.conf.read_text()
    server.conf.write_text(good + "LoadModule nowhere_module /nonexistent/mod_nowhere.so\n")
    size = len(server.error_log())
    server.signal(signal.SIGUSR1)
    wait_for(lambda: "nowhere" in server.error_log()[size:], "the complaint")
    assert server.children() == children
    assert server.get("/").status == 200
    server.conf.write_text(good)


# --- what changes --------------------------------------------------------------------------------

@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGHUP], ids=["graceful", "hard"])
def test_number_of_vps_changes(serve, number):
    server = serve(processes=2)
    for count in (3, 1, 2):
        server.configure(processes=count)
        server.restart(number)
        wait_for(lambda count=count: len(server.children()) == count, f"{count} VPs")
        assert server.get("/").status == 200


def test_more_vps_than_the_scoreboard_has_room_for(serve):
    """They start, or a warning says why not: never silence."""
    server = serve(processes=1)
    server.configure(processes=40)
    server.restart()
    wait_for(lambda: len(server.children()) > 1, "more VPs")
    assert len(server.children()) == 40 or re.search(r"warn\].*NumVPs", server.error_log())
    assert server.get("/").status == 200


def test_max_threads_changes(serve):
    """More concurrent requests than the old MaxThreads allowed."""
    server = serve(processes=1, threads=4, directives="ThreadLimit 64")
    server.configure(threads=60)
    server.restart()
    with Conns(server.port, mode="part") as conns:
        conns.open(20)
        assert server.get("/").status == 200


def test_more_threads_than_the_scoreboard_has_room_for(serve):
    """Without ThreadLimit, the room reserved at the start may not suffice: they work, or a warning
    says so."""
    server = serve(processes=1, threads=4)
    server.configure(threads=60)
    server.restart()
    if not re.search(r"warn\].*MaxThreads", server.error_log()):
        with Conns(server.port, mode="part") as conns:
            conns.open(20)
            assert server.get("/").status == 200


def test_listeners_come_and_go(serve):
    server = serve(processes=2, ports=3, listen=False, directives="Listen 127.0.0.1:@PORT@")
    server.configure("Listen 127.0.0.1:@PORT@\nListen 127.0.0.1:@PORT2@\n"
                     "Listen 127.0.0.1:@PORT3@")
    server.restart()
    for port in server.ports:
        with server.connect(port=port) as conn:
            assert conn.get("/").status == 200
    server.configure("Listen 127.0.0.1:@PORT@\nListen 127.0.0.1:@PORT3@")
    server.restart()
    wait_for(lambda: len(server.children()) == 2, "the end of the old generation")
    with pytest.raises(ConnectionRefusedError):
        server.connect(port=server.ports[1])
    for port in (server.ports[0], server.ports[2]):
        with server.connect(port=port) as conn:
            assert conn.get("/").status == 200


def test_vplisten_changes(serve):
    server = probed(serve, "VPListen 0 127.0.0.1:@PORT@\nVPListen 1 127.0.0.1:@PORT2@\n",
                    processes=2, ports=2, listen=False).start()
    text = server.conf.read_text().replace("VPListen 0", "VPListen x").replace(
        "VPListen 1", "VPListen 0").replace("VPListen x", "VPListen 1")
    server.conf.write_text(text)
    server.restart()
    owners = []
    for port in server.ports:
        with server.connect(port=port) as conn:
            owners.append(owner(conn))
    assert owners[0] != owners[1]
    wait_for(lambda: sorted(owners) == server.children(), "the end of the old generation")


# --- SIGHUP, SIGWINCH, SIGTERM -------------------------------------------------------------------

def test_sighup_restarts_at_once(downloads):
    server = downloads(processes=2).start()
    before = server.children()
    conn, left = begin_download(server)
    server.restart(signal.SIGHUP)
    with pytest.raises(Closed):
        conn.exactly(left)
    assert not set(before) & set(server.children())
    assert server.get("/").status == 200


def test_20_hard_restarts(serve):
    server = serve(processes=2)
    for _ in range(20):
        server.restart(signal.SIGHUP)
        assert server.get("/").status == 200


def test_sigwinch_finishes_what_is_in_progress(downloads):
    server = downloads(processes=2).start()
    conn, left = begin_download(server)
    server.signal(signal.SIGWINCH)
    wait_for(lambda: _refused(server), "the end of its listeners")
    assert len(conn.exactly(left)) == left
    conn.close()
    server.wait_gone()
    assert server.exit_status == 0


def _refused(server):
    try:
        server.connect().close()
    except ConnectionRefusedError:
        return True
    return False


def test_sigwinch_within_graceful_shutdown_timeout(downloads):
    server = downloads("GracefulShutdownTimeout 1\n", processes=2).start()
    conn, left = begin_download(server)
    server.signal(signal.SIGWINCH)
    server.wait_gone()
    with pytest.raises(Closed):
        conn.exactly(left)


def test_control_command_graceful_stop(serve):
    server = serve(processes=2)
    assert server.control("-k", "graceful-stop").returncode == 0
    server.wait_gone()


@pytest.mark.parametrize("pause", [0, 0.0005, 0.002, 0.02])
@pytest.mark.parametrize("first", [signal.SIGUSR1, signal.SIGHUP, signal.SIGWINCH])
def test_sigterm_during(downloads, first, pause):
    """SIGTERM right after another signal, with old generations alive: the server ends at once."""
    server = downloads(processes=2).start()
    conns = [begin_download(server)[0]]
    server.restart()
    conns.append(begin_download(server)[0])
    server.signal(first)
    time.sleep(pause)
    try:
        server.signal(signal.SIGTERM)
    except ProcessLookupError:
        pass
    server.wait_gone()
    for conn in conns:
        conn.close()


def test_signals_in_a_flood(serve):
    """Fifty graceful restarts requested faster than they can be done; then one is seen to work."""
    server = serve(processes=2)
    for _ in range(50):
        server.signal(signal.SIGUSR1)
        time.sleep(0.005)
    wait_for(lambda: len(server.children()) == 2, "the end of the old generations")
    server.restart()
    assert server.get("/").status == 200


# --- logs ----------------------------------------------------------------------------------------

def test_log_rotation(downloads):
    """After a graceful restart, all new lines go to the new files, and none is lost."""
    server = downloads(processes=2).start()
    conn, left = begin_download(server)
    logs = server.root / "logs"
    with Load(server.port, connections=4, path="/?counted", keep=False) as load:
        for number in range(5):
            wait_for(lambda: load.tally().ok > 100 * (number + 1), "some requests")
            (logs / "access.log").rename(logs / f"access.{number}")
            server.restart()
        tally = load.finish()
    assert flawless(tally)
    assert len(conn.exactly(left)) == left
    conn.close()
    wait_for(lambda: len(server.children()) == 2, "the end of the old generations")

    def lines():
        return sum(path.read_text().count("/?counted") for path in logs.glob("access.*"))
    wait_for(lambda: lines() >= tally.ok, "the last lines")  # an answer precedes its line
    assert lines() == tally.ok


def test_piped_logs(serve):
    """None of a logger's lines is lost across restarts and the stop.

    httpd sends a logger SIGTERM at each restart: this one ignores it, and ends with its input.
    """
    server = serve.make(processes=2, directives="""
        CustomLog "|/bin/sh -c 'trap \\"\\" TERM; exec cat >> @ROOT@/logs/piped'" "%r"
        """)
    server.start()
    with Load(server.port, connections=4, path="/?counted") as load:
        for number in range(5):
            wait_for(lambda: load.tally().ok > 100 * (number + 1), "some requests")
            server.restart()
        tally = load.finish()
    assert flawless(tally)
    server.stop()
    assert (server.root / "logs/piped").read_text().count("/?counted") == tally.ok


def test_piped_error_log(serve):
    server = serve.make(processes=2)
    server.configure("ErrorLog \"|/bin/sh -c 'exec cat >> @ROOT@/logs/error.log'\"")
    server.start()
    server.restart()
    assert server.get("/").status == 200


def test_apachectl_graceful_checks_first(serve):
    """-k graceful with a broken configuration fails in the control program; nothing restarts."""
    server = serve(processes=2)
    good = server.conf.read_text()
    server.conf.write_text(good + "NoSuchDirective\n")
    run = server.control("-k", "graceful")
    server.conf.write_text(good)
    assert run.returncode != 0
    assert server.get("/").status == 200
    assert isinstance(run, subprocess.CompletedProcess) and not lost(server.connect())
