# SPDX-License-Identifier: Apache-2.0
"""What each busy state thread waits for, as shown by stmstat threads, its JSON and the page; and
where a request's time went, as shown in the log."""

import contextlib
import fcntl
import json
import os
import re
import signal
import socket
from pathlib import Path

import pytest

from harness import MPM, tool, wait_for
from harness.nameserver import Unavailable, in_namespace
from harness.scoreboard import stmstat

from .backends import Http
from .h2client import H2
from .inflight import InFlight
from .test_wait_programs import script

pytestmark = pytest.mark.skipif(MPM != "stm", reason="state threads")

DIRECTIVES = """
    ScoreboardDir @ROOT@/scoreboards
    RequestReadTimeout header=600 body=600
    Timeout 600
    Mutex flock:@ROOT@/locks rewrite-map
    RewriteEngine On
    RewriteMap slow prg:@ROOT@/map
    RewriteRule ^/mapped/(.*)$ /${slow:$1} [L]
    RewriteRule ^/named/(.*)$ http://host$1.slow:%(silent)d/free/$1 [P]
    ProxyPass /silent http://127.0.0.1:%(silent)d/held
    ProxyPass /full http://127.0.0.1:%(full)d/
    ScriptAlias /cgi @ROOT@/cgi/
    Alias /slow/ %(slow)s/
    <Location /probe>
        SetHandler probe
    </Location>
    <Location /kernel>
        SetHandler probe
        RunOn kernel
    </Location>
    <Location /threads>
        SetHandler stm-threads
    </Location>
    <Location /status>
        SetHandler server-status
    </Location>
    <Location /redirected>
        ErrorDocument 404 /probe?sleep=600000
    </Location>
    """


@contextlib.contextmanager
def full_backend():
    """The port of a backend whose listen queue is full, so that connecting to it waits."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        port = listener.getsockname()[1]
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        yield port


def threads(server):
    """The output of stmstat threads -j."""
    return json.loads(stmstat("threads", "-j", "-d", server.root / "scoreboards").stdout)


def find(shown, path):
    """The threads that serve a request for this path."""
    return [each for each in shown["threads"]
            if each["request"].split(" ")[1:2] == [path]]


def expect(server, path, kind, name="", holder=""):
    """Waits until a thread that serves the path is shown as expected, and returns its entry."""
    def is_shown():
        return [each for each in find(threads(server), path) if each["waits_for"] == kind and
                re.search(name, each["name"]) and re.search(holder, each["holder"])]
    try:
        return wait_for(is_shown, f"{path}: {kind} {name} {holder}", 30)[0]
    except AssertionError as error:
        raise AssertionError(f"{error}: {json.dumps(threads(server), indent=1)}") from None


def hold_lock(server, stack):
    """Holds the rewrite map's lock until the returned function is called."""
    path, = (server.root / "locks").glob("rewrite-map*")
    file = stack.enter_context(path.open("rb"))
    fcntl.flock(file, fcntl.LOCK_EX)
    return lambda: fcntl.flock(file, fcntl.LOCK_UN)


@pytest.fixture(name="site")
def _site(serve, file_gate, backend, slow_fs):
    """A server on which everything can be waited for; its gates; the slow file system."""
    http, slow = backend(Http), slow_fs("file.bin:100000")
    with full_backend() as full:
        server = serve.make(processes=1, threads=100, modules=(
            "proxy", "proxy_http", "rewrite", "cgi", "status", "reqtimeout",
            tool("mod_probe.so")),
            directives=DIRECTIVES % {"silent": http.port, "full": full, "slow": slow.path})
        server.private_folder("locks")
        (server.root / "scoreboards").mkdir(exist_ok=True)
        gate, names = (file_gate(server.private_folder(each)) for each in ("gate", "names"))
        names.open()
        server.preload(tool("slow_names.so"), {"SLOW_NAMES_ARRIVALS": str(names.arrivals),
                                               "SLOW_NAMES_LOCK": str(names.lock)})
        (server.root / "cgi").mkdir()
        script(server.root / "cgi/held", f"""#!/bin/sh
            {gate.shell}
            printf 'Content-Type: text/plain\\r\\n\\r\\nheld\\n'
            """)
        script(server.root / "cgi/much", """#!/bin/sh
            printf 'Content-Type: text/plain\\r\\n\\r\\n'
            head -c 16000000 /dev/zero
            """)
        script(server.root / "map", f"""#!/bin/sh
            while read -r name; do
                {gate.shell}
                echo "$name.html"
            done
            """)
        server.start()
        names.close()
        yield server, slow, http.port, full


def test_every_kind_of_wait(site):
    server, slow, silent, full = site
    paths = ["/silent", "/full", "/cgi/held", "/mapped/index", "/named/1", "/slow/file.bin",
             "/probe?sleep=600000", "/kernel?sleep=600000", "/redirected"]
    with contextlib.ExitStack() as stack:
        unlock = hold_lock(server, stack)
        stack.enter_context(slow.holding("open", "*"))
        stack.enter_context(InFlight(server, paths))
        reader = stack.enter_context(server.connect(rcvbuf=4096))
        reader.ask("/cgi/much")
        poster = stack.enter_context(server.connect())
        poster.send(b"POST /silent/post HTTP/1.1\r\nHost: x.example\r\n"
                    b"Content-Length: 9\r\n\r\nabc")
        expect(server, "/mapped/index", "file_lock", "locks/rewrite-map",
               f"process {os.getpid()} ")
        unlock()
        first = expect(server, "/mapped/index", "program")
        stack.enter_context(InFlight(server, ["/mapped/other"]))
        expect(server, "/mapped/other", "lock", "mutex", r"^connection \d+: GET /mapped/index")
        expect(server, "/silent", "backend_read", f"^127.0.0.1:{silent}$")
        expect(server, "/full", "backend_connect", f"^127.0.0.1:{full}$")
        expect(server, "/cgi/held", "program", r"^\d+ \(\w+\)$")
        expect(server, "/named/1", "name", r"^host1\.slow$")
        expect(server, "/slow/file.bin", "disk", f"^{slow.path}/file.bin$")
        shown = expect(server, "/probe?sleep=600000", "sleep")
        assert (shown["handler"], shown["client"], shown["vp"]) == ("probe", "127.0.0.1", 0)
        assert shown["vhost"] and shown["pid"] in server.children()
        expect(server, "/kernel?sleep=600000", "kernel")
        assert expect(server, "/redirected", "sleep")["handler"] == "probe"
        expect(server, "/cgi/much", "client_write")
        expect(server, "/silent/post", "client_read")
        assert find(threads(server), "/mapped/index")[0]["age"] >= first["age"]
        shown_everywhere(server, paths, silent)


def shown_everywhere(server, paths, silent):
    """The table, the page and its JSON agree; the oldest request comes first."""
    found = threads(server)
    ages = [each["age"] for each in found["threads"]]
    assert ages == sorted(ages, reverse=True)
    kinds = {each["waits_for"]: each["threads"] for each in found["kinds"]}
    assert kinds["kernel"] == kinds["disk"] == 1 and kinds["sleep"] == 2 and kinds["program"] >= 2
    assert {"backend": f"127.0.0.1:{silent}", "threads": 1} in [
        {name: each[name] for name in ("backend", "threads")} for each in found["backends"]]
    table = stmstat("threads", "-d", server.root / "scoreboards").stdout
    page = server.get("/threads").text
    of_page = json.loads(server.get("/threads?json").text)
    for path in paths:
        assert f"GET {path}" in table and f"GET {path}" in page
    assert f"reading from 127.0.0.1:{silent}" in table and f"127.0.0.1:{silent}" in page
    own = find(of_page, "/threads?json") or [each for each in of_page["threads"]
                                              if each["waits_for"] == "running"]
    assert own and {each["waits_for"] for each in of_page["threads"]} >= {
        "sleep", "kernel", "disk", "name", "lock"}


def test_more_locks_than_are_looked_through(serve):
    server = serve.make(processes=1, modules=("rewrite",), directives="""
        ScoreboardDir @ROOT@/scoreboards
        Mutex flock:@ROOT@/locks rewrite-map
        RewriteEngine On
        RewriteMap map prg:/bin/cat
        RewriteRule ^/mapped/(.*)$ /${map:$1}
        """)
    server.private_folder("locks")
    (server.root / "scoreboards").mkdir(exist_ok=True)
    of_others = server.root / "of-others"
    of_others.write_text("".join(f"{n}: FLOCK  ADVISORY  WRITE 1 00:00:{n} 0 EOF\n"
                                 for n in range(1, 4200)))
    try:
        in_namespace(server, "mount --bind $1 /proc/locks", of_others)
    except Unavailable as reason:
        pytest.skip(str(reason))
    server.start()
    with contextlib.ExitStack() as stack:
        unlock = hold_lock(server, stack)
        stack.enter_context(InFlight(server, ["/mapped/index.html"]))
        expect(server, "/mapped/index.html", "file_lock", "locks/rewrite-map",
               r"^unknown \(the machine has too many file locks\)$")
        unlock()


def test_seen_while_the_vp_hangs(site):
    """The scoreboard is read even while the VP is busy: a request that computes is running."""
    server = site[0]
    child, = server.children()
    with InFlight(server, ["/probe?loop"]):
        shown = expect(server, "/probe?loop", "running")
        assert (shown["pid"], shown["handler"], shown["name"]) == (child, "probe", "")
        os.kill(child, signal.SIGKILL)


# --- the notes for the log ---

CLASSES = ["cpu", "client", "backend", "lock", "disk", "name", "program", "sleep", "kernel",
           "other", "queue"]
NOTES = " ".join(f"{name}=%{{stm:{name}}}n" for name in [*CLASSES, "wait", "total"])
# waits.log has the format from the manual, times.log has all notes.
MONITORING = Path(__file__).parents[3] / "docs/monitoring.md"
MANUAL = next(line.strip() for line in MONITORING.read_text().splitlines()
              if line.strip().startswith("LogFormat"))
LOGGED = f"""
    ScoreboardDir @ROOT@/scoreboards
    Protocols h2c http/1.1
    {MANUAL}
    CustomLog logs/waits.log waits
    CustomLog logs/times.log "%U {NOTES}"
    ProxyPass /silent http://127.0.0.1:@SILENT@/held
    <Location /probe>
        SetHandler probe
    </Location>
    <Location /kernel>
        SetHandler probe
        RunOn kernel
    </Location>
    """


def logged(server, path):
    """Waits for the log line of the only request for this path; returns its numbers."""
    log = server.root / "logs/times.log"
    line = wait_for(lambda: re.findall(rf"^{path} (.*)\n", log.read_text(), re.M), path)[0]
    values = {name: int(value) for name, value in (each.split("=") for each in line.split())}
    assert set(values) == {"wait", "total", *CLASSES}
    waited = sum(values[name] for name in CLASSES if name not in ("cpu", "queue"))
    assert values["wait"] == waited
    assert sum(values[name] for name in CLASSES) == pytest.approx(values["total"], rel=0.05,
                                                                  abs=20000)
    return values


@pytest.fixture(name="logging")
def _logging(serve, backend):
    http = backend(Http)
    server = serve.make(processes=1, threads=50, modules=("proxy", "proxy_http", "http2",
                                                          tool("mod_probe.so")),
                        directives=LOGGED.replace("@SILENT@", str(http.port)))
    (server.root / "scoreboards").mkdir(exist_ok=True)
    server.start()
    return server, http


def test_where_the_time_went(logging):
    server, http = logging
    with InFlight(server, ["/silent"]):
        http.gate.wait_held(1)
        assert server.get("/probe?sleep=300").status == 200
        http.gate.open()
        assert logged(server, "/silent")["backend"] >= 300000
    assert logged(server, "/probe")["sleep"] >= 300000
    manual = server.root / "logs/waits.log"
    form = r'"GET /silent .* backend=(\d+) lock=\d+ disk=\d+$'
    backend = wait_for(lambda: re.findall(form, manual.read_text(), re.M), "the manual's line")
    assert int(backend[0]) >= 300000
    assert server.get("/kernel?sleep=300").status == 200
    assert logged(server, "/kernel")["kernel"] >= 300000


def test_computing_is_no_wait(logging):
    server = logging[0]
    assert server.get("/probe?spin=200").status == 200
    found = logged(server, "/probe")
    assert found["cpu"] >= 190000 and found["wait"] < found["cpu"]


def test_waiting_for_the_client(logging):
    """The end of a long response is sent after the connection has given up its thread."""
    server = logging[0]
    (server.root / "htdocs/long.bin").write_bytes(bytes(8_000_000))
    with server.connect(rcvbuf=4096) as client:
        client.ask("/long.bin")
        assert server.get("/probe?sleep=300").status == 200
        assert len(client.response().body) == 8_000_000
    assert logged(server, "/long.bin")["client"] >= 250000


def test_streams_of_http2(logging):
    server = logging[0]
    with H2(server.port) as client:
        stream = client.get("/probe?sleep=300")
        client.until(lambda: stream.ended, "the stream's end")
        assert logged(server, "/probe")["sleep"] >= 300000
        assert not find(threads(server), "/probe?sleep=300")
        for path, kind in (("/probe?sleep=600000", "sleep"), ("/kernel?sleep=600000", "kernel")):
            client.get(path)
            shown = expect(server, path, kind)
            assert (shown["handler"], shown["client"]) == ("probe", "127.0.0.1")
        os.kill(shown["pid"], signal.SIGKILL)  # or its end would wait for the kernel thread

