# SPDX-License-Identifier: Apache-2.0
"""mod_status's page: STM's section, and the keys that have always been there."""

import html
import re
import signal

import pytest
from harness import MPM, places, tool, wait_for
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
    """?auto as a dictionary. A key that appears twice would be lost: that must not happen. But
    httpd 2.4.52's mod_status itself says some things twice, under each MPM."""
    pairs = [tuple(line.split(": ", 1)) for line in server.get("/status?auto").text.splitlines()
             if ": " in line]
    values = dict(pairs)
    if "/2.4.52 " in values["ServerVersion"]:
        pairs = set(pairs)
    assert len(values) == len(pairs)
    return values


def quiet(server):
    """Waits until the requesting connection is the only one."""
    return wait_for(lambda: (lambda v: v if v["ConnsTotal"] == "1" else None)(auto(server)),
                    "a quiet server")


def workers_agree(found, busy=1):
    """Whether httpd's slots and STM's counters agree on the threads, that many of them busy."""
    board, idle = found["Scoreboard"], int(found["IdleWorkers"])
    return (found["BusyWorkers"] == found["StmThreadsBusy"] == str(busy) and
            busy + idle == int(found["StmThreads"]) and
            (board.count("W"), board.count("_")) == (busy, idle))


COUNTS = ("StmConnections", "StmRequests", "Total Accesses")


def settled(server):
    """COUNTS of a page that nothing but its own request came before or changed as it was made.

    Each page is a request too, which is counted after the page was made.
    """
    def look():
        first, second = quiet(server), auto(server)
        grown = {int(second[name]) - int(first[name]) for name in COUNTS}
        return second if grown == {1} and second["ConnsTotal"] == "1" else None
    found = wait_for(look, "settled counts")
    return [int(found[name]) for name in COUNTS]


def test_old_keys_stay_true(server):
    before = settled(server)
    for _ in range(20):
        server.get("/")
    asked = [after - then for after, then in zip(settled(server), before)]
    assert asked[0] >= 22 and asked == asked[:1] * 3
    assert auto(server)["Processes"] == "2"
    # The VP that does not write the page may just be starting, calling or resting a thread.
    wait_for(lambda: workers_agree(auto(server)), "slots and counters that agree")


def test_thread_that_has_not_run(serve):
    """The page's own request may start a spare thread, which runs later: it counts as idle."""
    server = serve(modules=("status", tool("mod_probe.so")), processes=1, directives=STATUS)
    quiet(server)
    conns = [server.connect() for _ in range(4)]
    for busy, conn in enumerate(conns, 1):
        conn.ask("/probe?sleep=20000")
        wait_for(lambda n=busy: (lambda of: of["threads_busy"] == of["conns_writing"] == n)(
            scores(server)["all"]), f"{busy} busy threads")
        found = auto(server)
        assert workers_agree(found, busy + 1), found
    for conn in conns:
        conn.close()


def test_idle_connections_hold_no_slot(server):
    quiet(server)
    with Conns(server.port) as idle:
        idle.open(500)

        def look():
            found = auto(server)
            return [found[name] for name in (
                "ConnsAsyncKeepAlive", "ConnsTotal", "StmConns", "StmConnsKeepalive",
                "BusyWorkers")] == ["500", "501", "501", "500", "1"] and \
                found["Scoreboard"].count("K") == 0
        wait_for(look, "500 idle connections that hold no slot")


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
            # The answer may arrive before its VP has put the connection away.
            text = server.get("/status").text
            return text if "Keepalive" in text[text.index("<h2>State threads"):] else None
        page = wait_for(look, "an idle connection")
    section = page[page.index("<h2>State threads"):]
    for heading in ("all virtual processors", "Virtual processors", "Listeners", "Threads",
                    "Connections"):
        assert heading in section
    assert "Connection -1" not in page
    assert f"127.0.0.1:{server.port}" in section
    assert "Maximum threads at once" in section and "Connections served, prior" in section
    assert "<script>" in html.unescape(section) and "<script>" not in section


def test_a_build_with_older_headers(serve):
    """httpd's rows have become longer since: each VP's is where httpd looks for it."""
    server = serve(modules=("status",), processes=3, directives=STATUS)

    def rows_are_right():
        """Whether the page lists the processes that there are."""
        rows = re.findall(r"<tr><td>\d+</td><td>(\d+)</td><td>(?:yes|no)",
                          server.get("/status").text)
        return len(rows) == 3 and {int(pid) for pid in rows} == set(server.children())
    wait_for(rows_are_right, "three rows")
    text = server.conf.read_text()
    assert str(places.STM_MODULE) in text
    server.conf.write_text(text.replace(str(places.STM_MODULE), str(tool("older-headers.so"))))
    for _ in range(2):
        server.restart()
        wait_for(rows_are_right, "the new ones")


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
    """While a predecessor still holds the slots, its successor's threads have none, but serve."""
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
