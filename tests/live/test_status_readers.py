# SPDX-License-Identifier: Apache-2.0
"""mod_status's page as programs read it: everything in the scoreboards, in lines that fit the
readers' buffers; and as people read it: what is in use, not what is unused."""

import re
import subprocess

import pytest
from harness import tool, wait_for
from harness.scoreboard import STMSTAT, scores

STATUS = """
    ScoreboardDir scoreboards
    <Location /status>
        SetHandler server-status
    </Location>
    <Location /probe>
        SetHandler probe
    </Location>
    """
MODULES = ("status", tool("mod_probe.so"))
LONGEST = 64 * 1024  # Go's bufio.Scanner, which Telegraf uses, gives up on longer lines

# What ?auto has without STM, in the order of its lines.
OLD_KEYS = ("ServerVersion", "ServerMPM", "Server Built", "CurrentTime", "RestartTime",
            "ParentServerConfigGeneration", "ParentServerMPMGeneration", "ServerUptimeSeconds",
            "ServerUptime", "Load1", "Load5", "Load15", "Total Accesses", "Total kBytes",
            "Total Duration", "CPUUser", "CPUSystem", "CPUChildrenUser", "CPUChildrenSystem",
            "CPULoad", "Uptime", "ReqPerSec", "BytesPerSec", "BytesPerReq", "DurationPerReq",
            "BusyWorkers", "GracefulWorkers", "IdleWorkers", "Processes", "Stopping", "ConnsTotal",
            "ConnsAsyncWaitIO", "ConnsAsyncWriting", "ConnsAsyncKeepAlive", "ConnsAsyncClosing",
            "Scoreboard")


def read(page):
    """?auto, read by the rules of the programs that use it: a key and a value in each line, no key
    twice, and no line longer than their buffers."""
    values = {}
    for number, line in enumerate(page.split("\n")[:-1]):
        assert len(line) < LONGEST
        key, colon, value = line.partition(":")
        if number == 0:
            assert not colon  # the server's name
            continue
        assert colon and key not in values, line
        values[key] = value.strip()
    return values


def auto(server):
    """The page's keys and values."""
    return read(server.get("/status?auto").text)


@pytest.mark.parametrize("mpm", [None, "event"])
def test_old_keys_come_first(serve, mpm):
    """httpd's own keys are in their usual order."""
    server = serve(mpm=mpm, modules=MODULES, directives=STATUS if not mpm else
                   STATUS.replace("ScoreboardDir scoreboards\n", ""))
    for _ in range(3):
        server.get("/")
    found = [key for key in wait_for(lambda: (lambda of: of if "BytesPerReq" in of else None)(
        auto(server)), "a request") if not key.startswith(("Stm", "TLS"))]
    assert found == [key for key in OLD_KEYS if key in found]
    assert set(OLD_KEYS) - set(found) <= {"CPULoad", "ReqPerSec", "BytesPerSec"}


def key_of(name):
    """vp.0.turn_seconds.under_64_us is Vp0TurnSecondsUnder64Us."""
    return "".join(word[:1].upper() + word[1:] for word in re.split(r"[._]", name))


@pytest.mark.stm_only
def test_all_counters_are_there(serve):
    """Each value that stmstat prints for VPs and listeners, and for all VPs together."""
    server = serve(modules=MODULES, directives=STATUS)
    run = subprocess.run([STMSTAT, "-d", server.root / "scoreboards", "-c"], capture_output=True,
                         text=True, check=True)
    names = [line.split(",")[0] for line in run.stdout.splitlines()[1:]]
    found = auto(server)
    listeners = [found[f"StmListener{n}Vp"] for n in range(2)]
    assert sorted(listeners) == ["0", "1"]
    for name in names:
        if ".thread." in name:
            continue
        part = re.fullmatch(r"vp\.(\d+)\.listener\.(.*)\.(\w+)", name)
        if part:
            vp, address, counter = part.groups()
            number = listeners.index(vp)
            assert found[f"StmListener{number}Address"] == address
            assert f"StmListener{number}{key_of(counter)}" in found
        else:
            key = key_of(name)
            assert "Stm" + key.removeprefix("All") in found, name
    assert found["StmVp0Up"] == found["StmVp1Up"] == "1"
    assert (found["StmVp0Silent"], found["StmVp0Leaving"], found["StmVp0Unread"]) == ("0",) * 3
    assert "StmPid" not in found and "StmVp0Pid" in found


@pytest.mark.stm_only
@pytest.mark.parametrize("vps, limits", [
    (8, ""), (2, "ServerLimit 256\n"), (2, "ThreadLimit 65536\n")])
def test_lines_are_short_with_all_limits_at_their_maximum(serve, vps, limits):
    """As many slots as there may be, but no more than a line holds; threads without one serve,
    too."""
    server = serve(modules=MODULES, processes=vps, threads=65536, directives=STATUS + limits)
    found = auto(server)
    board = found["Scoreboard"]
    assert set(board) <= set("_WSKRLCGI.")
    assert len(board) > 200
    assert board.count("W") == 1 and board.count("_") == int(found["IdleWorkers"])
    conns = [server.connect() for _ in range(10)]
    for conn in conns:
        assert conn.get("/").status == 200
        conn.ask("/probe?sleep=20000")

    def look():
        now = auto(server)
        return now["StmThreadsBusy"] == now["BusyWorkers"] == "11"
    wait_for(look, "busy threads in slots")
    for conn in conns:
        conn.close()


@pytest.mark.stm_only
def test_threads_without_a_slot_serve(serve):
    """With up to 256 seats, each has 253 slots; threads beyond those are still counted by STM."""
    server = serve(modules=MODULES, processes=1, threads=1000,
                   directives=STATUS + "ServerLimit 256\n")
    conns = [server.connect() for _ in range(300)]
    for conn in conns:
        conn.ask("/probe?sleep=30000")
    wait_for(lambda: scores(server)["all"]["conns_writing"] == 300, "300 busy threads")
    found = auto(server)
    assert found["StmThreadsBusy"] == "301"
    board = found["Scoreboard"]
    assert len(board) == int(found["BusyWorkers"]) + int(found["IdleWorkers"]) == 253
    assert board.count("W") >= 200  # the rest belong to spare threads
    for conn in conns:
        conn.close()


@pytest.mark.stm_only
@pytest.mark.parametrize("query", ["", "?notable", "?refresh=5"])
def test_open_slots_are_a_number(serve, query):
    """The page for people: the slots in use, in lines of 64, and how many are open."""
    server = serve(modules=MODULES, threads=2000, directives=STATUS)
    conns = [server.connect() for _ in range(100)]
    for conn in conns:
        conn.ask("/probe?sleep=30000")
    wait_for(lambda: scores(server)["all"]["conns_writing"] == 100, "100 busy threads")
    page = server.get(f"/status{query}").text
    lines = re.search("<pre>(.*?)</pre>", page, re.S).group(1).split("\n")
    count = int(re.fullmatch(r"and (\d+) open slots", lines.pop()).group(1))
    assert [len(line) for line in lines[:-1]] == [64] * (len(lines) - 1)
    board = "".join(lines)
    assert board.count("W") == 101 and not set(board) - set("W_")
    assert len(board) + count == 2 * 2000
    assert page.index("requests currently being processed") < page.index("<pre>")
    assert page.rstrip().endswith("</html>")
    for conn in conns:
        conn.close()


@pytest.mark.stm_only
def test_few_dots_stay(serve):
    """With the usual limits, the page is as it has always been: lines of 64 for each VP."""
    server = serve(modules=MODULES, directives=STATUS)
    lines = re.search("<pre>(.*?)</pre>", server.get("/status").text, re.S).group(1).split()
    assert [len(line) for line in lines] == [64, 64]
    assert "".join(lines).count(".") + sum(
        vp["counters"]["threads"] for vp in scores(server)["vps"]) == 128
