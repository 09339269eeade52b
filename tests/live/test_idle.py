# SPDX-License-Identifier: Apache-2.0
"""Idle connections fall asleep: their conn_rec is freed, and nobody can tell when it is recreated.

None sleeps within its first idle second, so most tests share one scene: connections of all kinds
that idle at the same time.
"""

import signal
import time
from types import SimpleNamespace

import pytest

from harness import MPM, tool, wait_for
from harness.client import request
from harness.drive import Load
from harness.scoreboard import rows, scores, total

from .waits.h2client import H2

pytestmark = pytest.mark.skipif(MPM != "stm", reason="STM's own connection records")

MODULES = ("http2", "reqtimeout", "remoteip", "reflector")
DIRECTIVES = """
ScoreboardDir scoreboards
Protocols h2c http/1.1
ErrorLogFormat "[%{c}L] %M"
LogFormat "%U %k %{c}L %{remote}p %a %I %h" idle
CustomLog logs/idle.log idle
<Location /named>
    HostnameLookups On
</Location>
<Location /echo>
    SetHandler reflector
</Location>
<VirtualHost *:@PORT2@>
    MaxKeepAliveRequests 1
    CustomLog logs/other.log idle
</VirtualHost>
<VirtualHost *:@PORT3@>
    KeepAliveTimeout 5
    CustomLog logs/other.log idle
</VirtualHost>
<VirtualHost *:@PORT4@>
    RemoteIPProxyProtocol On
    CustomLog logs/idle.log idle
</VirtualHost>
"""


def asleep(server, count):
    """Waits until that many connections have fallen asleep."""
    wait_for(lambda: total(server, "sleeps") == count, f"{count} sleeping connections")


def logged(server, path):
    """The two log lines of a path, as lists of words."""
    def look():
        lines = (server.root / "logs/idle.log").read_text().splitlines()
        found = [line.split()[1:] for line in lines if line.split()[0] == path]
        return found if len(found) == 2 else None
    return wait_for(look, f"two log lines of {path}")


def pieces_of_work(server):
    """How many times state threads have been given a connection."""
    return sum(thread["wakeups"] for vp in scores(server)["vps"] for thread in vp["threads"])


def asked(conn, path):
    """The connection, after one request that leaves it open."""
    assert conn.get(path).keeps
    return conn


@pytest.fixture(scope="module", name="busy")
def _busy(serve_module):
    """Clients that ask, pause for more than a second, and ask again, while other tests run."""
    server = serve_module(name="idle_busy", directives="ScoreboardDir scoreboards\n")
    with Load(server.port, connections=200, gap_ms=1300) as load:
        yield SimpleNamespace(server=server, load=load)


@pytest.fixture(scope="module", name="scene")
def _scene(serve_module, busy):
    """Connections of all kinds, each after its first request. Those in `idle` sleep."""
    assert busy.load
    server = serve_module(name="idle_scene", ports=4, tls=True, modules=MODULES,
                          directives=DIRECTIVES)
    server.page("page.txt", "x" * 100)
    idle = {name: asked(server.connect(), f"/{name}") for name in
            ("again", "split", "gone", "reset", "half", "row1", "row2", "pipe", "post")}
    idle["last"] = asked(server.connect(port=server.ports[1]), "/page.txt")
    since = time.monotonic()
    idle["timeout"] = asked(server.connect(port=server.ports[2]), "/page.txt")
    whole = {"proxied": server.connect(port=server.ports[3]), "begun": server.connect(),
             "named": asked(server.connect(), "/named"), "tls": asked(server.connect_tls(), "/tls")}
    whole["proxied"].send(b"PROXY TCP4 192.0.2.7 192.0.2.8 1111 80\r\n")
    asked(whole["proxied"], "/proxied")
    whole["begun"].send(request("/begun") + request("/page.txt")[:20])
    assert whole["begun"].response().status == 404
    h2 = H2(server.port)
    h2.get("/page.txt")
    assert [stream.status for stream in h2.finish()] == [200]
    idle["control"] = asked(server.connect(), "/page.txt")
    asleep(server, len(idle))
    yield SimpleNamespace(server=server, idle=idle, whole=whole, h2=h2, since=since)
    for conn in [*idle.values(), *whole.values(), h2.sock]:
        conn.close()


def test_same_connection_in_the_logs(scene):
    """Number of requests, log ID, port, addresses; mod_logio's bytes, as for one that never
    slept."""
    assert scene.idle["again"].get("/again").status == 404
    assert scene.whole["named"].get("/named").status == 404
    first, second = logged(scene.server, "/again")
    assert [first[0], second[0]] == ["0", "1"]
    assert len(first[1]) > 5
    assert first[1:4] == second[1:4]
    assert [first[4], second[4]] == [line[4] for line in logged(scene.server, "/named")]


def test_max_keep_alive_requests_counts_on(scene):
    conn = scene.idle["last"]
    assert not conn.get("/page.txt").keeps
    assert conn.ended()


def test_rows_stay(scene):
    """The scoreboard shows the last request of a sleeping connection."""
    mine = [row for row in rows(scene.server) if "/row" in row["Request"]]
    assert sorted(row["Request"].split()[1] for row in mine) == ["/row1", "/row2"]
    assert {row["Status"] for row in mine} == {"Keepalive"}
    assert scene.idle["row1"].get("/page.txt").status == 200


def test_clients_that_leave_wake_nobody(scene):
    before, work = total(scene.server, "conns"), pieces_of_work(scene.server)
    scene.idle["gone"].close()
    scene.idle["reset"].reset()
    wait_for(lambda: total(scene.server, "conns") <= before - 2, "their end")
    assert pieces_of_work(scene.server) == work


def test_request_and_fin(scene):
    conn = scene.idle["half"]
    conn.ask("/page.txt")
    conn.half_close()
    assert conn.response().body == b"x" * 100
    assert conn.ended()


def test_request_in_two_pieces(scene):
    conn = scene.idle["split"]
    conn.send(request("/page.txt")[:20])
    wait_for(lambda: [row for row in rows(scene.server) if "/split" in row["Request"]
                      and row["Status"] == "Reading"], "its waking")
    conn.send(request("/page.txt")[20:])
    assert conn.response().body == b"x" * 100


def test_pipelined_requests(scene):
    conn = scene.idle["pipe"]
    conn.send(request("/page.txt") * 3)
    assert [conn.response().status for _ in range(3)] == [200] * 3


def test_large_body(scene):
    body = b"0123456789abcdef" * 65536
    assert scene.idle["post"].get("/echo", method="POST", body=body).body == body


def test_those_with_state_stay_whole(scene):
    """TLS, HTTP/2, a PROXY header, a looked-up name, half a request. The scene has counted them."""
    assert scene.whole["tls"].get("/page.txt").status == 200
    assert scene.whole["named"].get("/page.txt").status == 200
    assert scene.whole["proxied"].get("/proxied").status == 404
    assert [line[3] for line in logged(scene.server, "/proxied")] == ["192.0.2.7"] * 2
    scene.h2.get("/page.txt")
    assert [stream.status for stream in scene.h2.finish()] == [200, 200]
    scene.whole["begun"].send(request("/page.txt")[20:])
    assert scene.whole["begun"].response().body == b"x" * 100


def test_keep_alive_timeout_goes_on(scene):
    """It counts from the last answer, not from the sleep, and needs no state thread."""
    work = pieces_of_work(scene.server)
    assert scene.idle["timeout"].ended()
    assert time.monotonic() - scene.since >= 4.9
    assert pieces_of_work(scene.server) == work


def test_a_sweep_loses_nothing(busy):
    wait_for(lambda: total(busy.server, "sleeps") > 0, "sleep between two requests")
    tally = busy.load.finish()
    assert tally.ok >= 200
    assert (tally.refused, tally.reset, tally.empty, tally.partial, tally.bad) == (0,) * 5


def test_restart_and_stop(serve):
    """A leaving process wakes its sleepers for their last request; a stopping one ends them."""
    server = serve(directives="ScoreboardDir scoreboards\n")
    conns = [asked(server.connect(), "/") for _ in range(8)]
    asleep(server, len(conns))
    server.restart()
    response = conns[0].get("/")
    assert (response.status, response.keeps) == (200, False)
    wait_for(lambda: total(server, "conns_asleep") == len(conns) - 1, "the others' sleep")
    server.signal(signal.SIGTERM)
    assert all(conn.ended() for conn in conns[1:])
    server.wait_gone()


def test_unknown_module_keeps_all_whole(serve):
    server = serve(modules=[tool("mod_probe.so")])
    server.wait_log("idle connections keep all of their memory, because mod_probe.c")
