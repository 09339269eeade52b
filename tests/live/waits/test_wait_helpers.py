# SPDX-License-Identifier: Apache-2.0
"""Helpers: as many as there are waits, and waiting for one name or daemon holds up nobody else.

With a real name server, name service and syslog socket, all of them slow.
"""

import shutil
import socket

import pytest

from harness import MPM, tool, wait_for
from harness.nameserver import A, AAAA, NameServer, Unavailable, in_namespace, with_names
from harness.scoreboard import scores

from .backends import Http
from .inflight import InFlight, prove, quick

pytestmark = pytest.mark.needs_root
BOTH = pytest.mark.parametrize("mpm", sorted({"event", MPM}))
stm_only = pytest.mark.stm_only

BY_NAME = """
RewriteEngine On
RewriteRule ^/to/([^/]+)/(.*)$ http://$1:{port}/$2 [P]
"""


@pytest.fixture(autouse=True)
def possible(tmp_path):
    """Skips the tests where namespaces cannot be created."""
    class Nothing:
        root, launcher = tmp_path, []
    try:
        in_namespace(Nothing, "")
    except Unavailable as reason:
        pytest.skip(str(reason))


@pytest.fixture
def name_server():
    """The test's own name server."""
    try:
        made = NameServer()
    except Unavailable as reason:
        pytest.skip(str(reason))
    yield made
    made.end()


@pytest.fixture
def proxy(serve, backend, name_server):
    """proxy(...) makes a server that proxies /to/NAME/PATH, with this name server."""
    http = backend(Http)

    def make(directives="", **options):
        server = serve.make(processes=1, threads=100, modules=("proxy", "proxy_http", "rewrite"),
                            directives=BY_NAME.format(port=http.port) + directives, **options)
        return with_names(server, name_server)
    return make


def names(count, zone):
    """Paths to that many hosts."""
    return [f"/to/host{n}.{zone}/free/{n}" for n in range(count)]


@BOTH
def test_60_names_at_once(proxy, name_server, mpm):
    """None is answered before all have been asked for: each has a helper (under event, a
    worker)."""
    server = proxy(mpm=mpm).start()
    with InFlight(server, names(60, "slow.example")) as flight:
        name_server.wait_asked(60)
        quick(server)
        assert flight.answered() == 0
        name_server.open()
        assert all(response.status == 200 for response in flight.finish())


@BOTH
def test_two_dead_names(proxy, name_server, mpm):
    """A look-up of a name in /etc/hosts does not wait for them."""
    server = proxy(mpm=mpm).start()
    with InFlight(server, names(2, "dead")) as flight:
        name_server.wait_asked(2)
        got = server.get("/to/localhost/free/1")
        assert got.status == 200 and got.text == "held /free/1\n"
        assert flight.answered() == 0
        name_server.open(dead=True)  # event does not end before its look-ups have


@stm_only
def test_known_hosts_at_the_limit(proxy, name_server):
    """All helpers for look-ups wait for dead servers: there is another one for /etc/hosts."""
    server = proxy("HelperThreads 8\nScoreboardDir scoreboards\n").start()
    with InFlight(server, names(20, "dead")) as flight:
        name_server.wait_asked(4)
        server.wait_log(r"STM0027: VP 0 has reached HelperThreads \(8\): .* are queued")
        got = server.get("/to/localhost/free/1")
        assert got.status == 200 and got.text == "held /free/1\n"
        quick(server)
        assert flight.answered() == 0 and len(name_server.names()) == 4
        now = scores(server)["all"]
        assert now["helpers_busy"] == 4 and now["helpers_limit"] == 8, now
        assert now["waiting_names"] == 16 and now["helper_limit_waits"] >= 16, now
    assert server.error_log().count("has reached HelperThreads") == 1


@stm_only
def test_a_dead_domain_leaves_helpers_to_others(proxy, name_server):
    """40 names of one domain, more than there may be helpers; those of another domain are
    answered."""
    server = proxy("HelperThreads 16\n").start()
    name_server.open()
    with InFlight(server, names(40, "zone.dead")) as flight:
        server.wait_log(r"has reached HelperThreads \(16\)")
        for n in range(3):
            got = server.get(f"/to/host{n}.zone.example/free/{n}")
            assert got.status == 200 and got.text == f"held /free/{n}\n"
        assert flight.answered() == 0 and len(name_server.names()) < 16 + 3


@stm_only
def test_one_name_is_asked_for_once(proxy, name_server):
    """20 requests wait for the same name, and each gets the answer."""
    server = proxy("ScoreboardDir scoreboards\n").start()
    with InFlight(server, [f"/to/one.example/free/{n}" for n in range(20)]) as flight:
        name_server.wait_asked(1)
        wait_for(lambda: scores(server)["all"]["threads_busy"] >= 20, "20 requests under way")
        quick(server)
        name_server.open()
        got = flight.finish()
    assert [response.text for response in got] == [f"held /free/{n}\n" for n in range(20)]
    kinds = sorted(kind for name, kind in name_server.asked if name == "one.example")
    assert kinds in ([A, AAAA], [A]), name_server.asked


@stm_only
@pytest.mark.parametrize("how", ["stop", "graceful"])
def test_the_end_does_not_wait_for_a_name_server(proxy, name_server, how):
    """A VP that stops abandons its look-ups; one that leaves serves its requests to the end."""
    server = proxy().start()
    with InFlight(server, names(20, "slow.example")) as flight:
        name_server.wait_asked(20)
        if how == "graceful":
            server.restart()
            quick(server)
            assert flight.answered() == 0
            name_server.open()
            assert all(response.status == 200 for response in flight.finish())
        else:
            server.stop()
    assert "connections still in progress" not in server.error_log()


# --- names and disks at once ---------------------------------------------------------------------
@BOTH
@pytest.mark.parametrize("first", ["names", "files"])
@pytest.mark.parametrize("limit", [None, 16])
def test_names_and_disks_wait_apart(proxy, name_server, slow_fs, mpm, first, limit):
    """A silent name server and a silent disk: small files are served, and requests that wait for
    one are answered while the other is still silent; also with fewer helpers than waits."""
    if limit and mpm == "event":
        pytest.skip("event has no helpers")
    slow = slow_fs("cold#.bin:100000:20")
    server = proxy(f"Alias /slow/ {slow.path}/\n" + (f"HelperThreads {limit}\n" if limit else ""),
                   mpm=mpm).start()
    with slow.holding("read"), InFlight(server, names(30, "slow.example")) as asking, \
            InFlight(server, [f"/slow/cold{n}.bin" for n in range(20)]) as reading:
        name_server.wait_asked(1 if limit else 30)
        wait_for(lambda: slow.calls("read").files >= (1 if limit else 20), "files to be read")
        quick(server)
        assert asking.answered() == 0 and reading.answered() == 0
        waits = {"names": (asking, name_server.open), "files": (reading, slow.release)}
        other = waits["files" if first == "names" else "names"]
        flight, let_go = waits[first]
        let_go()
        assert all(got.status == 200 for got in flight.finish())
        assert other[0].answered() == 0
        other[1]()
        assert all(got.status == 200 for got in other[0].finish())


# --- users ---------------------------------------------------------------------------------------
@BOTH
def test_users_of_a_slow_database(serve, file_gate, mpm):
    """mod_userdir asks for the home directory of a user whom only the test's own name service
    knows."""
    server = serve.make(mpm=mpm, processes=1, threads=100, modules=("userdir",),
                        directives="UserDir public_html\n")
    folder = server.private_folder("gate")
    shutil.copy(tool("libnss_slow.so.2"), folder)
    gate = file_gate(folder)
    server.environment.update({"LD_LIBRARY_PATH": str(folder), "NSS_SLOW_LOCK": str(gate.lock),
                               "NSS_SLOW_ARRIVALS": str(gate.arrivals)})
    with_names(server, services="passwd: files slow\ngroup: files\nhosts: files").start()
    paths = [f"/~slow-{n}/" for n in range(40)]

    def check(response):
        assert response.status in (403, 404), response
    prove(server, gate, paths, check=check)
    log = server.error_log()
    assert gate.arrived >= 40 and "signal" not in log


# --- syslog --------------------------------------------------------------------------------------
# The server has its own /dev, with the test's socket as /dev/log.
OWN_LOG = """
mkdir -p $1/dev; mount --rbind /dev $1/dev; mount -t tmpfs none /dev
for each in null zero random urandom; do : > /dev/$each; mount --bind $1/dev/$each /dev/$each; done
mkdir /dev/shm; mount --bind $1/dev/shm /dev/shm
: > /dev/log; mount --bind $1/log /dev/log
"""


def fill(path):
    """Sends to a datagram socket until it accepts no more."""
    while True:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)
            sender.connect(str(path))
            sent = 0
            try:
                while True:
                    sender.send(b"full")
                    sent += 1
            except BlockingIOError:
                if not sent:
                    return


@pytest.fixture
def syslog():
    """A daemon's socket that nobody reads."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as daemon:
        yield daemon


@BOTH
def test_syslog_that_does_not_read(serve, syslog, mpm):
    """Requests that are logged wait until there is room; the others do not."""
    server = serve.make(mpm=mpm, processes=1, threads=100, directives="""
        ErrorLog syslog:local1
        LogLevel error
        <Location /secret>
            Require all denied
        </Location>
        """)
    syslog.bind(str(server.root / "log"))
    (server.root / "log").chmod(0o666)
    in_namespace(server, OWN_LOG, server.root)
    server.start()
    fill(server.root / "log")
    with InFlight(server, [f"/secret/{n}" for n in range(40)]) as flight:
        quick(server)
        assert flight.answered() == 0
        syslog.settimeout(30)
        lines = []
        while len(lines) < 40:
            line = syslog.recv(4096).decode()
            lines += [line] if "AH01630" in line else []
        assert all(response.status == 403 for response in flight.finish())
