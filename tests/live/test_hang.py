# SPDX-License-Identifier: Apache-2.0
"""HangTimeout: a VP that makes no turns is noticed from outside, reported, ended and replaced."""

import ctypes
import os
import re
import signal

import pytest
from harness import procs, wait_for
from harness.client import Closed
from harness.stm import owner, probed

pytestmark = pytest.mark.stm_only

PTRACE_SEIZE, PTRACE_DETACH = 0x4206, 17


@pytest.fixture
def hanging(serve):
    """A factory of servers (started) whose VPs are expected to hang and be ended."""
    def make(timeout=3, directives="", processes=2):
        server = probed(serve, f"HangTimeout {timeout}\n{directives}", processes=processes)
        server.allowed.append(r"AH00052|exit signal|AH0005[01]|died of signal")
        return server.start()
    return make


def hold_up(server, how):
    """Makes one VP hang; returns its pid, and the connection that did it."""
    conn = server.connect()
    pid = owner(conn)
    begin(how, pid, conn)
    return pid, conn


def begin(how, pid, conn):
    """Makes the VP that serves the connection hang."""
    if how == "stopped":
        stop_process(pid)
    else:
        conn.ask(f"/probe?{how}")


def stop_process(pid):
    """SIGSTOP; returns when it has come: until then the process may accept a connection."""
    os.kill(pid, signal.SIGSTOP)
    wait_for(lambda: procs.stat(pid).state == "T", "a stopped process")


def is_gone(pid):
    """Whether a process has ended."""
    stat = procs.stat(pid)
    return stat is None or stat.state in "ZX"


WORDS = {"loop": "it is computing", "deaf": "it is computing",
         # StallWarning's timer wakes it: on a busy machine it may be about to wait again.
         "wait": "it is (?:waiting outside the scheduler|computing)",
         "stopped": "it was stopped by a signal"}


def test_vps_that_hang_are_told_of_and_replaced(hanging):
    """Each in its own way, at once; clients only see that the last one keeps serving."""
    server = hanging(processes=len(WORDS) + 1)
    conns = {}
    while len(conns) < len(WORDS):  # all of them before the first VP hangs
        conn = server.connect()
        conns.setdefault(owner(conn), conn)
    found = {how: (pid, conns[pid]) for how, pid in zip(WORDS, conns)}
    for how, (pid, conn) in found.items():
        begin(how, pid, conn)
    for how, (pid, conn) in found.items():
        server.wait_log(rf"\(incarnation 1, pid {pid}\) hangs: no scheduler turn for \d+ s, "
                        + WORDS[how])
        server.wait_log(rf"\(incarnation 1, pid {pid}\) is terminated: no scheduler turn for \d+ s "
                        r"\(HangTimeout 3\)")
    assert server.get("/").status == 200
    for how, (pid, conn) in found.items():
        with pytest.raises((Closed, OSError)):
            conn.get("/") if how == "stopped" else conn.response()
        wait_for(lambda pid=pid: is_gone(pid), "the end of a VP that hangs")
        last_words = "did not stop: killing it" if how == "deaf" else "died of signal 6"
        server.wait_log(rf"VP \d \((incarnation 1, )?pid {pid}\) {last_words}")
    wait_for(lambda: len(server.children()) == len(WORDS) + 1, "their replacements")
    log = server.error_log()
    for how in ("loop", "wait"):  # they were asked, and have answered
        assert (f'(pid {found[how][0]}) hangs in the request "GET /probe?{how} HTTP/1.1"; '
                "its call stack:") in log
        assert re.search(rf"STM0059:   \S+/mod_probe\.so\(probe_{how}s_for_ever\+0x", log)
    assert re.search(r"STM0059:   \S+\(ap_run_handler\+0x", log)


def test_zero_is_to_tell_and_no_more(hanging):
    """One VP is stopped, another is held up by its request: both are reported, and both continue;
    the request is answered. Meanwhile the third one serves.
    """
    server = hanging(timeout=0, processes=3)
    stopped, _ = hold_up(server, "stopped")
    conn = server.connect()
    held = owner(conn)
    conn.ask("/probe?stall=8000")
    server.wait_log(f"pid {stopped}\\) hangs: no scheduler turn for 5 s, it was stopped by a "
                    "signal")
    for _ in range(20):
        with server.connect() as other:
            assert owner(other) != stopped
    os.kill(stopped, signal.SIGCONT)
    assert conn.response().status == 200
    for pid in (stopped, held):
        server.wait_log(rf"VP \d \(pid {pid}\) is running again after \d+ s without a scheduler "
                        "turn")
        assert not is_gone(pid)
    server.wait_log(rf"pid {held}\) hangs in the request \"GET /probe\?stall=8000 HTTP/1.1\"")
    assert "is terminated" not in server.error_log()


def test_a_stopped_vp_keeps_no_connection_to_itself(hanging):
    """It may be the one that the kernel wakes; another one takes it within a second or so."""
    server = hanging(timeout=0, processes=3)
    for stopped in server.children():
        stop_process(stopped)
        with server.connect() as conn:
            assert owner(conn) != stopped
        os.kill(stopped, signal.SIGCONT)


def test_a_slow_start_is_no_hang(hanging):
    """It may take longer than HangTimeout: a VP that was ended for it would never get ready."""
    server = hanging(directives="ProbeStartFor 7000\n", processes=1)
    assert server.get("/").status == 200
    assert "is terminated" not in server.error_log()
    assert f"pid {server.children()[0]}) hangs" in server.error_log()


def test_time_without_the_master_does_not_count(hanging):
    """The whole server freezes for longer than HangTimeout, as on a suspended machine."""
    server = hanging()
    before = server.children()
    for pid in [server.master, *before]:
        stop_process(pid)
    signal.sigtimedwait([], 5)
    os.kill(server.master, signal.SIGCONT)
    for pid in before:
        os.kill(pid, signal.SIGCONT)
    for _ in range(20):
        assert server.get("/").status == 200
    assert server.children() == before
    assert "is terminated" not in server.error_log()


@pytest.mark.needs_root
def test_a_debugger_may_hold_a_vp(hanging):
    """A VP that is traced stays, while another one that hangs as long is ended."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    server = hanging()
    traced, other = server.children()
    assert libc.ptrace(PTRACE_SEIZE, traced, None, None) == 0, os.strerror(ctypes.get_errno())
    for pid in (traced, other):
        os.kill(pid, signal.SIGSTOP)
    wait_for(lambda: is_gone(other), "the end of the other VP")
    server.wait_log(f"pid {other}\\) is terminated")
    assert not is_gone(traced)
    assert f"pid {traced}) hangs" not in server.error_log()
    os.waitpid(traced, os.WUNTRACED)
    libc.ptrace(PTRACE_DETACH, traced, None, None)
    os.kill(traced, signal.SIGCONT)
    wait_for(lambda: procs.stat(traced).state == "S", "the traced VP")


def test_a_graceful_restart_does_not_wait_for_ever(hanging):
    """Not even with HangTimeout 0."""
    server = hanging(timeout=0)
    pid, _ = hold_up(server, "wait")
    server.restart()
    wait_for(lambda: is_gone(pid), "the end of the VP that hangs")
    wait_for(lambda: len(server.children()) == 2, "the new generation alone")
    assert server.get("/").status == 200


@pytest.mark.parametrize("timeout", [0, 3])
def test_a_graceful_stop_does_not_wait_for_ever(hanging, timeout):
    server = hanging(timeout)
    hold_up(server, "stopped")
    server.signal(signal.SIGWINCH)
    server.wait_gone()
    assert server.exit_status == 0
