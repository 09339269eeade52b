# SPDX-License-Identifier: Apache-2.0
"""mod_status's page: STM's section, and the keys that have always been there."""

import html
import re
import signal

import pytest
from harness import MPM, tool, wait_for
from harness.drive import Conns
from harness.scoreboard import scores, total

pytestmark = pytest.mark.skipif(MPM != "stm", reason="STM's own section")

STATUS = """
    ScoreboardDir scoreboards
    ExtendedStatus On
    <Location /status>
        SetHandler server-status
    </Location>
    <Location /probe>
        SetHandler probe
    </Location>
    """


@pytest.fixture(name="server")
def _server(serve):
    return serve(modules=("status", tool("mod_probe.so")), processes=2, directives=STATUS)


def auto(server):
    """?auto as a dictionary. A key that comes twice would be lost: it must not."""
    pairs = [line.split(": ", 1) for line in server.get("/status?auto").text.splitlines()
             if ": " in line]
    values = dict(pairs)
    assert len(values) == len(pairs)
    return values


def quiet(server):
    """Waits until the asking connection is the only one."""
    return wait_for(lambda: (lambda v: v if v["ConnsTotal"] == "1" else None)(auto(server)),
                    "a quiet server")


def test_old_keys_stay_true(server):
    before = quiet(server)
    for _ in range(20):
        server.get("/")
    after = quiet(server)
    # Each look at the page is a request too, and is counted after it was made.
    asked = int(after["StmConnections"]) - int(before["StmConnections"])
    assert asked >= 21
    assert int(after["Total Accesses"]) - int(before["Total Accesses"]) == asked
    assert int(after["StmRequests"]) - int(before["StmRequests"]) == asked
    assert after["Processes"] == "2"
    assert (after["BusyWorkers"], after["StmThreadsBusy"]) == ("1", "1")
    assert int(after["BusyWorkers"]) + int(after["IdleWorkers"]) == int(after["StmThreads"])
    board = after["Scoreboard"]
    assert (board.count("W"), board.count("_")) == (1, int(after["IdleWorkers"]))


def test_idle_connections_hold_no_slot(server):
    quiet(server)
    with Conns(server.port) as idle:
        idle.open(500)

        def look():
            found = auto(server)
            return found if found["ConnsAsyncKeepAlive"] == "500" else None
        found = wait_for(look, "500 idle connections")
        assert found["ConnsTotal"] == "501"
        assert (found["StmConns"], found["StmConnsKeepalive"]) == ("501", "500")
        assert found["BusyWorkers"] == "1"
        assert found["Scoreboard"].count("K") == 0


def test_busy_threads_hold_slots(server):
    quiet(server)
    conns = [server.connect() for _ in range(5)]
    for conn in conns:
        conn.ask("/probe?sleep=20000")

    def look():
        found = auto(server)
        counts = [found[name] for name in ("StmThreadsBusy", "StmConnsWriting", "BusyWorkers")]
        return found["Scoreboard"].count("W") == 6 and counts == ["6"] * 3
    wait_for(look, "five busy threads and the one that answers, in each of the counts")
    for conn in conns:
        conn.close()


def test_section(server):
    with server.connect() as conn:
        conn.get("/?<script>alert(1)</script>")

        def look():
            # The answer may be here before its VP has put the connection away.
            text = server.get("/status").text
            return text if "Keepalive" in text[text.index("<h2>State threads"):] else None
        page = wait_for(look, "an idle connection")
    section = page[page.index("<h2>State threads"):]
    for heading in ("all virtual processors", "Virtual processors", "Listeners", "Threads",
                    "Connections"):
        assert heading in section
    assert "Connection -1" not in page
    assert f"127.0.0.1:{server.port}" in section
    assert "Most threads used at once" in section and "Connections served, prior" in section
    assert "<script>" in html.unescape(section) and "<script>" not in section


def test_many_connections(server):
    """The page bounds itself: its size does not grow with the connections."""
    with Conns(server.port) as idle:
        idle.open(1500)
        page = server.get("/status").text
    assert len(page) < 1_000_000
    assert page.rstrip().endswith("</html>")
    section = page[page.index("<h2>Connections"):]
    assert 1 <= len(re.findall("<td>Keepalive</td>", section)) <= 1000


def test_more_threads_than_slots(serve):
    """While a predecessor still holds the slots, its successor's threads have none: they serve."""
    server = serve(modules=("status", tool("mod_probe.so")), processes=1, threads=4,
                   directives=STATUS)
    conns = [server.connect() for _ in range(4)]
    for conn in conns:
        conn.ask("/probe?sleep=20000")
    wait_for(lambda: scores(server)["all"]["conns_writing"] == 4, "four busy threads")
    server.signal(signal.SIGUSR1)
    wait_for(lambda: scores(server)["vps"][0]["counters"]["generation"] == 1, "the successor")
    assert scores(server)["vps"][0]["leaving"] == 1
    with server.connect() as conn:
        for _ in range(50):
            assert conn.get("/").status == 200
    wait_for(lambda: total(server, "requests") >= 50, "the requests")
    found = auto(server)
    assert (found["Processes"], found["StmVp0Generation"]) == ("1", "1")
    for conn in conns:
        conn.close()
