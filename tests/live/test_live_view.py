# SPDX-License-Identifier: Apache-2.0
"""stmstat's live view of a server: many VPs and connections, and a stop, a kill and another start
while it is running; and what stmstat's exit status says about each."""

import os
import re
import signal

import pytest
from harness import MPM, tool, wait_for
from harness.drive import Conns
from harness.scoreboard import STMSTAT, scores, stmstat

terminal = pytest.importorskip("harness.terminal", reason="python3-pyte is not installed")
pytestmark = pytest.mark.skipif(MPM != "stm", reason="STM's own scoreboards")
GOOD, STOPPED, HELD = 0, 3, 4

FILES = """
    ScoreboardDir scoreboards
    <Location /probe>
        SetHandler probe
    </Location>
    """


def view(server, *arguments, **size):
    """The live view of the server."""
    return terminal.Terminal([STMSTAT, "-d", server.root / "scoreboards", "-n", "0.2", *arguments],
                             **size)


def verdict(server):
    """The exit status, and what is printed."""
    run = stmstat("-d", server.root / "scoreboards", "-c", "-f", "all.requests", check=False)
    return run.returncode, run.stderr


def test_64_vps_and_hundreds_of_connections(serve):
    # A VP has as many rows as threads.
    server = serve(processes=64, threads=64, directives=FILES)
    with Conns(server.port) as idle, view(server) as seen:
        idle.open(400)
        seen.wait(lambda at: re.match(r"conns 400 ", at.lines[1]), "the sum of connections")
        seen.press("c")
        seen.wait(lambda at: re.search(r" 1-\d+/400 connections", at.lines[-1]), "their rows")
        seen.press("end")
        seen.wait(lambda at: re.search(r"-400/400 ", at.lines[-1]) and
                  at.text.count("Keepalive") > 15, "the last of them")
        seen.resize(40, 10)
        seen.wait(lambda at: re.search(r"-400/400 ", at.lines[-1]), "the last ones, in 40 columns")
        seen.resize(200, 60)
        seen.wait(lambda at: re.search(r"/400 connections by VP", at.lines[-1]) and
                  "Request" in at.text, "a page of them")
        seen.press("p", "home")
        seen.wait(lambda at: re.search(r" 1-5\d/64 VPs", at.lines[-1]), "the VPs")
        states = {line.split()[1] for line in seen.lines if re.match(r" *\d+ [a-z]", line)}
        assert states == {"running"}
        seen.press("q")
        assert seen.finish() == GOOD


def test_rates_and_averages(serve):
    server = serve(processes=1, directives=FILES)
    with view(server, "-f", "all.requests", "-f", "all.threads_limit") as seen:
        def look(at):
            for _ in range(20):
                server.get("/")
            row = re.search(r"^all\.requests +\d+ +([\d.]+)k? +([\d.]+)k?", at.text, re.M)
            return row and float(row[1]) > 0 and float(row[2]) > 0
        seen.wait(look, "a rate and its average")
        seen.wait("all.threads_limit 64 64.0", "a gauge's average")


def test_a_server_comes_and_goes(serve):
    """No server, a server, its stop, the next one, its death, and another that takes its place."""
    server = serve.make(processes=2, directives=FILES)
    server.allowed.append("AH00052|stale|not owned|overwritten|unclean")
    with view(server) as seen:
        seen.wait("there are no scoreboards", "an empty directory")
        assert verdict(server)[0] == 2
        server.start()
        seen.wait("0 running ", "the VPs")
        assert wait_for(lambda: verdict(server) == (GOOD, ""), "a server that is well")
        server.stop()
        seen.wait("the server has stopped", "a stop")
        status, words = verdict(server)
        assert status == STOPPED and words == "stmstat: the server has stopped\n"
        server.start()
        seen.wait(lambda at: "has stopped" not in at.words and "0 running " in at.words, "the next")
        server.restart()
        wait_for(lambda: verdict(server) == (GOOD, ""), "a server that is well again")
        server.kill()
        seen.wait("the server has died: its processes are gone", "its death")
        assert verdict(server)[0] == STOPPED
        (server.root / "run/httpd.pid").unlink()
        server.start()
        seen.wait(lambda at: "has died" not in at.words and "1 running " in at.words, "another")
        seen.press("q")
        assert seen.finish() == GOOD


def test_held_vps(serve):
    """A VP that is stopped has a word in its line, and an exit status of its own."""
    server = serve(processes=2, directives=FILES)
    pid = scores(server)["vps"][1]["counters"]["pid"]
    with view(server) as seen:
        try:
            os.kill(pid, signal.SIGSTOP)
            seen.wait("1 silent ", "its state")
            seen.wait(f"VP 1 (pid {pid}): no heartbeat for ", "the words")
            assert verdict(server)[0] == HELD
        finally:
            os.kill(pid, signal.SIGCONT)
        seen.wait("1 running ", "a heartbeat")
        wait_for(lambda: verdict(server) == (GOOD, ""), "all is well")


def test_fewer_vps_after_a_restart(serve):
    """Seats that nobody holds any more are not a fault."""
    server = serve(processes=3, directives=FILES)
    server.configure(processes=1)
    server.restart()
    wait_for(lambda: [vp["present"] for vp in scores(server)["vps"]] == [True, False, False],
             "one VP")
    wait_for(lambda: verdict(server) == (GOOD, ""), "a server that is well")
    with view(server) as seen:
        seen.wait("2 not in use ", "the word for it")


def test_read_while_it_starts(serve):
    """No reader in the middle of a start or a restart finds a VP silent since 1970."""
    server = serve.make(processes=4, modules=(tool("mod_probe.so"),), directives=FILES).start()
    for _ in range(3):
        server.signal(signal.SIGUSR1)
        generation = scores(server)["vps"][0]["counters"]["generation"]

        def renewed(was=generation):
            status, words = verdict(server)
            assert "no heartbeat" not in words and status in (GOOD, HELD)
            return all(vp["counters"]["generation"] > was for vp in scores(server)["vps"])
        wait_for(renewed, "the next generation")
