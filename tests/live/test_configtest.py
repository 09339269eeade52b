# SPDX-License-Identifier: Apache-2.0
"""The test of the new configuration before a restart: the master does its work meanwhile.

ProbeRun runs a command whenever the configuration is read; only in the test is STM_CONFIG_TEST set.
"""

import os
import re
import signal
import time

import pytest
from harness import procs, wait_for
from harness.stm import probed

pytestmark = pytest.mark.stm_only

IN_TEST = 'ProbeRun "test -z \\"$STM_CONFIG_TEST\\" || {{ {} ; }}"\n'
BOTH = pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGHUP],
                               ids=["graceful", "hard"])


def change(server, directives):
    """Puts them into the configuration; returns the size of the error log so far."""
    server.conf.write_text(server.conf.read_text() + directives)
    return len(server.error_log())


def starts(server):
    """How often the server has started or restarted."""
    return server.error_log().count("resuming normal operations")


def running(server, command):
    """Processes of the server that run a command."""
    return [pid for pid in server.running() if procs.command(pid) == command]


@BOTH
def test_a_program_in_the_background_holds_nothing_up(serve, number):
    """The restart comes though the program keeps the test's output open; it ends with the test."""
    server = probed(serve).start()
    change(server, IN_TEST.format("sleep 1000 & touch @ROOT@/ran").replace(
        "@ROOT@", str(server.root)))
    server.restart(number)
    assert (server.root / "ran").exists()
    wait_for(lambda: not running(server, "sleep 1000"), "the end of the test's program")
    assert server.get("/").status == 200


def test_much_output_holds_nothing_up(serve):
    """More than a pipe holds. Of an error's text, the beginning is logged."""
    server = probed(serve).start()
    good = server.conf.read_text()
    change(server, IN_TEST.format("yes | head -c 300000"))
    server.restart()
    server.conf.write_text(good)
    change(server, IN_TEST.format("echo the-first-words; yes | head -c 300000; false"))
    server.signal(signal.SIGUSR1)
    server.wait_log("new configuration has an error.*the-first-words")
    server.conf.write_text(good)


@pytest.fixture
def testing(serve):
    """A server whose configuration is being tested, which takes longer than anybody waits."""
    server = probed(serve, processes=2).start()
    server.allowed.append(r"AH00052|exit signal|died of signal")
    server.good = server.conf.read_text()
    change(server, IN_TEST.format("sleep 1000"))
    server.signal(signal.SIGUSR1)
    wait_for(lambda: running(server, "sleep 1000"), "the test")
    return server


def test_a_vp_that_dies_meanwhile_is_replaced(testing):
    victim = testing.children()[0]
    os.kill(victim, signal.SIGKILL)
    # httpd that tests is a child, too
    wait_for(lambda: len(testing.children()) == 3 and victim not in testing.children(),
             "a replacement")
    testing.wait_log(r"died of signal 9")
    for _ in range(10):
        assert testing.get("/").status == 200


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGWINCH], ids=["stop", "graceful"])
def test_a_stop_meanwhile_is_obeyed(testing, number):
    testing.signal(number)
    testing.wait_gone()  # of the test's programs too
    assert testing.exit_status == 0


def test_time_limit(serve):
    """The restart is refused, the test's processes are ended, and the next restart works."""
    server = probed(serve, "ConfigTestTimeout 1\n").start()
    children, good = server.children(), server.conf.read_text()
    change(server, IN_TEST.format("sleep 1000"))
    server.signal(signal.SIGUSR1)
    server.wait_log(r"was not read within 1 s \(ConfigTestTimeout\); the server keeps running")
    wait_for(lambda: not running(server, "sleep 1000"), "the end of the test")
    assert server.children() == children
    assert starts(server) == 1
    server.conf.write_text(good)
    server.restart()
    assert starts(server) == 2


def test_signals_in_a_row_are_one_restart_or_two(serve):
    """Those that come during a test ask for one more test, and no more restarts."""
    server = probed(serve).start()
    tests = server.root / "tests"
    change(server, IN_TEST.format(f"echo >> {tests}; while test -e {server.root}/wait; do "
                                  "sleep 0.05; done"))
    (server.root / "wait").touch()
    server.signal(signal.SIGUSR1)
    wait_for(tests.exists, "the first test")
    for number in [signal.SIGUSR1, signal.SIGHUP] * 10:
        server.signal(number)
        time.sleep(0.002)
    (server.root / "wait").unlink()
    wait_for(lambda: starts(server) == 2, "the restart")
    # A restart at once was among what was asked for.
    server.wait_log("SIGHUP received.  Attempting to restart")
    assert tests.read_text() == "\n\n"
    server.restart()
    assert starts(server) == 3


def test_a_configuration_that_was_mended_meanwhile(serve):
    """The error is that of what was there at first: the second signal asks about what is now."""
    server = probed(serve).start()
    good = server.conf.read_text()
    change(server, IN_TEST.format(f"touch {server.root}/seen; while test -e {server.root}/wait; "
                                  "do sleep 0.05; done; false"))
    (server.root / "wait").touch()
    server.signal(signal.SIGUSR1)
    wait_for((server.root / "seen").exists, "the test")
    server.conf.write_text(good)
    server.signal(signal.SIGUSR1)
    procs_before = server.children()
    wait_for(lambda: procs.stat(server.master).state == "S", "a master that waits")
    (server.root / "wait").unlink()
    wait_for(lambda: starts(server) == 2, "the restart")
    wait_for(lambda: not set(procs_before) & set(server.children()), "the new generation")


@BOTH
@pytest.mark.parametrize("mpm", ["event", "prefork"])
def test_another_mpm_is_refused(serve, number, mpm):
    """It takes a stop and a start; until then the server stays."""
    server = serve(processes=2)
    children, good = server.children(), server.conf.read_text()
    with server.connect() as conn:
        assert conn.get("/").status == 200
        server.configure(mpm=mpm)
        assert server.control("-t").returncode == 0
        server.signal(number)
        server.wait_log("loads an MPM other than stm .*restart needed.*; the server keeps running")
        assert conn.get("/").status == 200
        assert server.children() == children
    server.configure(mpm="stm")
    assert server.conf.read_text() == good
    server.restart(number)
    assert not re.search("crit]|alert]|emerg]", server.error_log())


def test_a_test_that_crashes_is_refused(serve):
    server = probed(serve).start()
    good = server.conf.read_text()
    change(server, IN_TEST.format("kill -SEGV $PPID; sleep 5"))
    server.signal(signal.SIGUSR1)
    server.wait_log("test of the new configuration died of a signal; the server keeps running")
    assert server.get("/").status == 200
    server.conf.write_text(good)
