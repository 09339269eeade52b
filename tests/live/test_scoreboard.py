# SPDX-License-Identifier: Apache-2.0
"""The scoreboards: exact for known traffic, across deaths and restarts, and when read while being
written."""

import os
import re
import signal
import stat
import subprocess

import pytest
from harness import MPM, StartError, tool, wait_for
from harness.client import Closed
from harness.drive import Conns, Load
from harness.scoreboard import rows, scores, stmstat, total

pytestmark = pytest.mark.skipif(MPM != "stm", reason="STM's own scoreboards")

FILES = "ScoreboardDir scoreboards\n"


@pytest.fixture(name="scored")
def _scored(serve):
    """A factory of servers with scoreboard files."""
    def make(directives="", **options):
        return serve.make(directives=FILES + directives, **options)
    return make


def settled(server, connections=0):
    """Waits until no more than `connections` are open; returns the scores at that moment."""
    wait_for(lambda: total(server, "conns") <= connections, "connections to end")
    return scores(server)  # counters that were read before `conns` may have been older than it


def kill_one(server, ordinal):
    """Sends SIGKILL to a VP and waits for its successor; returns the killed process's pid."""
    before = scores(server)["vps"][ordinal]["counters"]
    os.kill(before["pid"], signal.SIGKILL)
    wait_for(lambda: scores(server)["vps"][ordinal]["counters"]["incarnation"] >
             before["incarnation"] and scores(server)["vps"][ordinal]["present"], "a successor")
    return before["pid"]


def test_counts_are_exact(scored):
    server = scored(processes=3).start()
    server.page("ten.txt", "0123456789")
    before = settled(server)["all"]
    logged = len(server.access_log())
    for _ in range(7):
        with server.connect() as conn:
            for _ in range(5):
                assert conn.get("/ten.txt").status == 200
            assert conn.get("/missing").status == 404
            sent = conn.get("/ten.txt", headers=["If-None-Match: x"]).status
            assert sent == 200
    after = settled(server)
    grown = {name: after["all"][name] - before[name] for name in
             ("connections", "requests", "responses_2xx", "responses_3xx", "responses_4xx",
              "responses_5xx")}
    assert grown == {"connections": 7, "requests": 49, "responses_2xx": 42, "responses_3xx": 0,
                     "responses_4xx": 7, "responses_5xx": 0}
    assert len(server.access_log()) - logged == 49
    assert sum(vp["counters"]["connections"] for vp in after["vps"]) == after["all"]["connections"]
    for vp in after["vps"]:
        count = vp["counters"]["connections"]
        assert [listener["connections"] for listener in vp["listeners"]] == [count]
        assert sum(thread["connections"] for thread in vp["threads"]) == count
        assert vp["listeners"][0]["address"] == f"127.0.0.1:{server.port}"


def test_bytes_are_exact(scored):
    server = scored().start()
    server.page("some.txt", "x" * 12345)
    before = settled(server)["all"]
    request = b"GET /some.txt HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with server.connect() as conn:
        for _ in range(10):
            conn.send(request)
            assert len(conn.response().body) == 12345
    after = settled(server)["all"]
    assert after["sent_bytes"] - before["sent_bytes"] == 123450
    assert after["received_bytes"] - before["received_bytes"] == 10 * len(request)


def test_http2_requests_are_exact(scored):
    server = scored("Protocols h2c http/1.1\n", modules=("http2",)).start()
    before = settled(server)["all"]
    run = subprocess.run(["h2load", "-n", "100", "-c", "4", "-m", "5",
                          f"http://127.0.0.1:{server.port}/"], capture_output=True, text=True,
                         timeout=60, check=True)
    assert "100 succeeded" in run.stdout
    after = settled(server)["all"]
    assert (after["requests"] - before["requests"],
            after["connections"] - before["connections"]) == (100, 4)


def test_states_of_connections(scored):
    """Each connection is counted where it is, even while the VP sleeps."""
    server = scored("AcceptFilter http none\n").start()  # else the kernel holds back quiet ones
    settled(server)
    quiet = [server.connect() for _ in range(3)]
    kept = [server.connect() for _ in range(4)]
    for conn in kept:
        conn.get("/")
    partial = server.connect()
    partial.send(b"GET / HTTP/1.1\r\nHo")
    closing = server.connect()
    closing.get("/", headers=["Connection: close"])

    def as_expected():
        now = scores(server)["all"]
        return (now["conns"], now["conns_first_byte"], now["conns_keepalive"],
                now["conns_reading"], now["conns_closing"]) == (9, 3, 4, 1, 1)
    wait_for(as_expected, "the states")
    for conn in [*quiet, *kept, partial, closing]:
        conn.close()
    settled(server)


def test_stack_high_water(scored):
    """Without a census: the deepest use by any request so far, in whole pages."""
    server = scored("<Location /probe>\nSetHandler probe\n</Location>\n", processes=1,
                    modules=(tool("mod_probe.so"),)).start()
    page = os.sysconf("SC_PAGE_SIZE")

    def mark():
        found = total(server, "stack_high_water_bytes")
        assert found % page == 0
        return found
    plain = wait_for(mark, "a mark")
    assert plain < 80 << 10
    assert server.get("/probe?depth=100").status == 200
    deep = wait_for(lambda: (lambda now: now if now > 100 << 10 else 0)(mark()), "a deeper one")
    assert deep < 128 << 10
    server.get("/")
    assert mark() == deep


def test_helper_calls_are_exact(scored):
    """Clients' names are looked up once per connection, by a helper kernel thread."""
    server = scored('HostnameLookups On\nCustomLog logs/names.log "%h"\n', processes=1).start()
    for _ in range(7):
        server.get("/")
    count = settled(server)["all"]["requests"]
    assert count >= 7
    names = ("helper_calls", "helped_resolve", "helped_process", "helped_sem")

    def helped():
        now = scores(server)["all"]
        return [now[name] for name in names]
    wait_for(lambda: helped() == [count, count, 0, 0], "the look-ups")


def test_a_killed_vps_counts_are_kept(scored):
    server = scored(processes=2)
    server.allowed.append(r"AH00052|died of signal")
    server.start()
    settled(server)
    start, done = total(server), 0
    for round_number in range(6):
        for _ in range(10):
            server.get("/")
            done += 1
        settled(server)
        kill_one(server, round_number % 2)
        assert total(server) - start == done
        assert total(server, "requests") == total(server)
    for ordinal, vp in enumerate(scores(server)["vps"]):
        assert (vp["vp"], vp["counters"]["incarnation"]) == (ordinal, 4)
        assert vp["connections_prior"] + vp["this_incarnation"]["connections"] == \
            vp["counters"]["connections"]


def test_graceful_restart_keeps_the_sums(scored):
    server = scored(processes=2).start()
    kept = server.connect()
    kept.get("/")
    for _ in range(9):
        server.get("/")
    settled(server, 1)
    before = total(server)
    pids = set(server.children())
    server.signal(signal.SIGUSR1)
    wait_for(lambda: all(vp["counters"]["generation"] == 1 and vp["present"]
                         for vp in scores(server)["vps"]), "the new generation")
    assert total(server) == before
    # The old process still serves; what it does there still counts.
    requests = total(server, "requests")
    assert sum(vp["leaving"] for vp in scores(server)["vps"]) >= 1
    kept.get("/")
    wait_for(lambda: total(server, "requests") == requests + 1, "the request")
    kept.close()
    wait_for(lambda: not pids & set(server.children()), "the old processes' end")
    wait_for(lambda: not any(vp["leaving"] for vp in scores(server)["vps"]), "their blocks")
    assert (total(server), total(server, "requests")) == (before, requests + 1)


def test_vp_connections_and_prior_incarnations(scored):
    server = scored("VPConnections 5\n", processes=1).start()
    settled(server)
    start = total(server)
    for _ in range(23):
        server.get("/")
    wait_for(lambda: settled(server)["vps"][0]["counters"]["incarnation"] == 1 + (start + 23) // 5,
             "the last incarnation")
    found = settled(server)["vps"][0]
    assert found["counters"]["connections"] - start == 23
    assert found["this_incarnation"]["connections"] <= 5


def test_connection_rows(scored):
    server = scored(processes=1).start()
    settled(server)
    conn = server.connect()
    conn.get("/index.html", headers=["X-A: b"])
    row = wait_for(lambda: [row for row in rows(server) if row["Status"] == "Keepalive"],
                   "an idle connection")[0]
    assert {key: row[key] for key in ("Method", "Protocol", "Client", "Host", "Request")} == {
        "Method": "GET", "Protocol": "HTTP/1.1", "Client": "127.0.0.1", "Host": "localhost",
        "Request": "GET /index.html HTTP/1.1"}
    assert int(row["Bytes"]) == len((server.root / "htdocs/index.html").read_bytes())
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", row["Since"])
    conn.send(b"GET / HTTP/1.1\r\n")  # a request in the middle
    wait_for(lambda: [row["Status"] for row in rows(server)] == ["Reading"], "the request")
    conn.send(b"Host: " + b"h" * 60 + b"\r\n\r\n")
    conn.response()
    wait_for(lambda: [row["Host"] for row in rows(server)] == ["h" * 47], "a value cut off")
    conn.send(b'GET /"<\\\xff HTTP/1.1\r\nHost: localhost\r\n\r\n')
    conn.response()
    wait_for(lambda: [row["Request"] for row in rows(server)] == ['GET /"<\\\xff HTTP/1.1'],
             "a request with what JSON has to escape")
    conn.close()
    wait_for(lambda: rows(server) == [], "the row's end")


def test_rows_are_for_the_busy_ones_first(scored):
    """There are MaxThreads rows: idle connections give up theirs, busy ones always have one."""
    server = scored(processes=1, threads=8).start()
    settled(server)
    limit = scores(server)["all"]["threads_limit"]
    with Conns(server.port) as idle:
        assert idle.open(limit + 20).failed == 0

        def as_expected():
            now = scores(server)["all"]
            return ((now["score_rows"], now["conns"]) == (limit, limit + 20) and
                    now["score_rows_lost"] >= 20)
        wait_for(as_expected, "rows taken away")
        with server.connect() as conn:
            conn.get("/", headers=["Host: latest"])
            wait_for(lambda: any(row["Host"] in ("latest", "localhost") for row in rows(server)),
                     "the latest connection's row")
    wait_for(lambda: scores(server)["all"]["score_rows"] == 0, "no rows left")


def test_connection_status_off(scored):
    server = scored("ConnectionStatus Off\n", processes=1).start()
    with server.connect() as conn:
        conn.get("/")
        found = scores(server)
        assert found["all"]["conns"] >= 1
        assert (found["all"]["score_rows"], rows(server)) == (0, [])


def test_read_while_written(scored):
    """A row never mixes two requests, and sums never shrink, while VPs serve and die."""
    server = scored(processes=2)
    server.allowed.append(r"AH00052|died of signal")
    server.start()
    names = [f"client-{number}" for number in range(6)]
    seen = 0
    last = 0
    conns = {}
    for round_number in range(120):
        for name in names:
            if name not in conns:
                conns[name] = server.connect()
            try:
                conns[name].ask(f"/{name}-{round_number % 10}", headers=[f"X-Name: {name}"])
            except OSError:
                conns.pop(name).close()
        found = scores(server)
        assert not any(vp["torn"] for vp in found["vps"])
        assert found["all"]["connections"] >= last
        last = found["all"]["connections"]
        for row in (row for vp in found["vps"] for row in vp["connections"]):
            if row["Request"]:
                assert re.fullmatch(r"GET /(client-\d-\d)? HTTP/1\.[01]", row["Request"]), row
                assert (row["Method"], row["Client"]) == ("GET", "127.0.0.1")
                seen += 1
        for name in list(conns):
            try:
                conns[name].response()
            except (Closed, OSError):
                conns.pop(name).close()
        if round_number % 40 == 20:
            kill_one(server, round_number // 40 % 2)
    assert seen > 100
    for conn in conns.values():
        conn.close()


def test_load_and_reader(scored):
    """stmstat reads continuously under load; in the end everything has been counted."""
    server = scored(processes=2).start()
    start = settled(server)["all"]["requests"]
    with Load(server.port, connections=8) as load:
        previous = 0
        while previous < 3000:
            now = scores(server)["all"]["requests"]
            assert now >= previous
            previous = now
        tally = load.finish()
    assert (tally.bad, tally.reset) == (0, 0)
    assert settled(server)["all"]["requests"] - start == tally.ok


def test_stopped_vps_are_readable(scored):
    server = scored(processes=2).start()
    pids = server.children()
    try:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        run = wait_for(lambda: (lambda run: run if run.stderr.count("no heartbeat") == 2 else None)(
            stmstat("-d", server.root / "scoreboards", "-1")), "old heartbeats")
        assert len(re.findall(r"VP [01] \(pid \d+\): no heartbeat for [\d.]+ s", run.stderr)) == 2
        assert re.search(r"^vp\.1\.connections +\d+ ", run.stdout, re.M)
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def test_without_a_directory_nothing_is_written(serve):
    server = serve.make(modules=("status",), directives="""
        <Location /status>
            SetHandler server-status
        </Location>""").start()
    assert list((server.root / "scoreboards").iterdir()) == []
    assert "StmRequests: " in server.get("/status?auto").text


def test_after_the_end_the_sums_stay(scored):
    server = scored(processes=2).start()
    for _ in range(5):
        server.get("/")
    count = settled(server)["all"]["connections"]
    server.stop()
    run = stmstat("-d", server.root / "scoreboards", "-c", "-f", "all.connections", check=False)
    assert run.returncode == 3
    assert run.stdout.splitlines()[1] == f"all.connections,{count},,counter"
    assert run.stderr.count("the server has stopped") == 1
    server.start()  # and the next server begins anew
    assert settled(server)["all"]["connections"] < count


def test_one_process(scored):
    server = scored().start_attached("-X")
    server.get("/")
    found = settled(server)["vps"]
    assert len(found) == 1 and found[0]["counters"]["pid"] == server.master
    assert found[0]["counters"]["requests"] == 2  # wait_ready's, and ours


# --- the directory -------------------------------------------------------------------------------

def test_permissions(scored):
    server = scored(processes=1).start()
    info = os.stat(server.root / "scoreboards/0")
    assert stat.S_IMODE(info.st_mode) & ~0o644 == 0
    assert info.st_uid == os.geteuid()


def make_symlink(path, victim):
    path.symlink_to(victim)


def make_hard_link(path, victim):
    os.link(victim, path)


def make_fifo(path, _victim):
    os.mkfifo(path)


def make_foreign(path, _victim):
    path.write_text("somebody's notes\n")


@pytest.mark.parametrize("trap, message", [
    (make_symlink, "is a symbolic link, which is refused"),
    (make_hard_link, "is not a regular file, or has another hard link"),
    (make_fifo, "is not a regular file"),
    (make_foreign, "is not an STM scoreboard file, and is left alone"),
])
def test_traps_are_refused(scored, trap, message):
    server = scored(processes=2)
    victim = server.root / "victim"
    victim.write_text("precious\n")
    trap(server.root / "scoreboards/1", victim)
    with pytest.raises(StartError, match=f"ScoreboardDir: .*/scoreboards/1: {message}"):
        server.start()
    assert victim.read_text() == "precious\n"


def test_world_writable_directory_is_refused(scored):
    server = scored(processes=1)
    (server.root / "scoreboards").chmod(0o777)
    with pytest.raises(StartError, match="everyone may write to this directory"):
        server.start()


def test_missing_directory_is_refused(scored):
    server = scored()
    (server.root / "scoreboards").rmdir()
    with pytest.raises(StartError, match="ScoreboardDir: .* is not an existing directory"):
        server.start()
