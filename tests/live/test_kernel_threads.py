# SPDX-License-Identifier: Apache-2.0
"""Requests on kernel threads (KernelThreads, RunOn): handlers that compute hold up no other
request, and they see the same as under event."""

import re
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from harness import MPM, tool, wait_for
from harness.client import Closed
from harness.scoreboard import rows, scores

from .thirdparty.pair import needs

EVENT = pytest.mark.skipif(MPM != "stm", reason="beside stm only")
BOTH = pytest.mark.parametrize("mpm", ["stm", pytest.param("event", marks=EVENT)])
WHERE = tool("mod_where.so")
SCORES = "ScoreboardDir scoreboards\n"
SECTIONS = """
    <Location /early>
        SetHandler where
        {run_on}
    </Location>
    <Directory @ROOT@/htdocs/late>
        SetHandler where
        {run_on}
    </Directory>
    <Location /state>
        SetHandler where
    </Location>
    <Location /state2>
        SetHandler where
    </Location>
    """


def sections(mpm, more=""):
    """Sections whose requests go to kernel threads, if the MPM has the directive."""
    return SECTIONS.format(run_on="RunOn kernel" if mpm == "stm" else "") + more


def served(serve, mpm="stm", directives="", modules=(), **options):
    """A server (started) of one process with the sections and the module that reports threads."""
    options.setdefault("processes", 1)
    server = serve.make(mpm=mpm, modules=[WHERE, *modules],
                        directives=sections(mpm, directives), **options)
    server.page("late/page.html", "a page")
    if mpm == "event":  # whose process may crash when it is stopped while threads are busy
        server.allowed.append("AH00052: child pid .* exit signal Segmentation fault")
    return server.start()


@pytest.fixture(scope="module")
def shared(serve_module):
    """The server of that MPM for tests that need no further directives."""
    servers = {}

    def get(mpm):
        if mpm not in servers:
            servers[mpm] = served(serve_module, mpm, modules=["rewrite"])
        return servers[mpm]
    return get


def go(server, name="go"):
    """Lets handlers end that wait for it."""
    (server.root / name).touch()


def everywhere(mpm, stm_says):
    """Under event each step runs on a kernel thread."""
    return stm_says if mpm == "stm" else "kernel kernel\n"


# --- where requests run ---

@BOTH
def test_sections_choose_the_thread(shared, mpm):
    server = shared(mpm)
    with server.connect() as conn:
        for _ in range(3):
            assert conn.get("/early").text == "kernel kernel\n"
            assert conn.get("/late/page.html").text == everywhere(mpm, "state kernel\n")
            assert conn.get("/state").text == everywhere(mpm, "state state\n")


@pytest.mark.stm_only
@pytest.mark.parametrize("directives, expected", [
    ("RunOn kernel", {"/state": "kernel kernel"}),
    ("RunOn kernel where", {"/state": "state kernel"}),
    ("RunOn kernel other where-2", {"/state": "state state"}),
    ("RunOn kernel\nRunOn state where", {"/state": "kernel kernel"}),
    ("RunOn kernel\n<Location /state>\nRunOn state\n</Location>",
     {"/state": "state state", "/else": "kernel kernel"}),
    ("RunOn kernel where\n<Location /state>\nRunOn auto\n</Location>",
     {"/state": "state state", "/else": "state kernel"}),
    ("<LocationMatch ^/(a|b)/c$>\nRunOn kernel\nSetHandler where\n</LocationMatch>",
     {"/a/c": "kernel kernel", "/x/../b/%63": "kernel kernel", "/state": "state state"}),
    ("<Files *.where>\nSetHandler where\nRunOn kernel\n</Files>",
     {"/one.where": "state kernel", "/state": "state state"}),
    ("<If \"%{HTTP_HOST} == 'localhost'\">\nRunOn kernel\n</If>", {"/state": "state kernel"}),
    ("KernelThreads 0\nRunOn kernel", {"/state": "state state"}),
])
def test_scopes(serve, directives, expected):
    server = serve.make(processes=1, modules=[WHERE], directives=f"""
        <Location /state>
            SetHandler where
        </Location>
        <Location /else>
            SetHandler where
        </Location>
        {directives}
        """)
    server.page("one.where", "a file")
    server.start()
    with server.connect() as conn:
        for path, text in expected.items():
            assert conn.get(path).text == text + "\n"


@pytest.mark.stm_only
def test_a_virtual_host_chooses(serve):
    server = serve(processes=1, modules=[WHERE], directives="""
        <Location />
            SetHandler where
        </Location>
        <VirtualHost *:@PORT@>
            ServerName first
        </VirtualHost>
        <VirtualHost *:@PORT@>
            ServerName second
            RunOn kernel
        </VirtualHost>
        """)
    with server.connect() as conn:
        for name, text in (("first", "state state\n"), ("second", "kernel kernel\n")) * 2:
            conn.send(f"GET / HTTP/1.1\r\nHost: {name}\r\n\r\n".encode())
            assert conn.response().text == text


@pytest.mark.stm_only
@pytest.mark.parametrize("directive, error", [
    ("KernelThreads -1", "KernelThreads: -1 is out of range: must be between 0 and 1000"),
    ("KernelThreads many", "KernelThreads: many is not a number: must be between 0 and 1000"),
    ("RunOn process", "RunOn: process is not a kind of thread: must be state, kernel or auto"),
    ("RunOn", "RunOn: "),
    ("<Directory />\nKernelThreads 5\n</Directory>", "KernelThreads not allowed"),
])
def test_wrong_values(serve, directive, error):
    server = serve.make(directives=directive)
    server.configure()
    run = server.control("-t")
    assert run.returncode != 0 and error in run.stderr


@pytest.mark.stm_only
def test_not_in_htaccess(serve):
    server = serve.make(directives="<Directory @ROOT@/htdocs>\nAllowOverride All\n</Directory>")
    server.page(".htaccess", "RunOn kernel\n")
    server.start()
    assert server.get("/index.html").status == 500
    server.allowed.append("RunOn not allowed here")
    server.wait_log("RunOn not allowed here")


# --- nobody is held up ---

@BOTH
@pytest.mark.parametrize("path", ["/early", "/late/page.html"])
def test_static_requests_go_on(shared, mpm, path):
    """Static requests are answered while handlers compute, which end only afterwards."""
    server = shared(mpm)
    name = "go" + path.replace("/", "-")
    busy = [server.connect() for _ in range(3)]
    for conn in busy:
        conn.ask(f"{path}?until={name}")
    with server.connect() as conn:
        for _ in range(20):
            assert conn.get("/index.html").status == 200
    go(server, name)
    for conn in busy:
        assert conn.response().text.endswith("kernel\n")
        assert conn.get("/index.html").status == 200
        conn.close()


@pytest.mark.stm_only
def test_more_than_kernel_threads_stand_in_line(serve):
    server = served(serve, directives=f"KernelThreads 4\n{SCORES}", threads=128)
    conns = [server.connect() for _ in range(60)]
    for conn in conns:
        conn.ask("/late/page.html?until=go")
    wait_for(lambda: scores(server)["all"]["kernel_queue"] == 56, "a line")
    vp = scores(server)["all"]
    assert vp["kernel_threads"] == vp["kernel_busy"] == 4
    assert server.get("/index.html").status == 200
    go(server)
    for conn in conns:
        assert conn.response().text == "state kernel\n"
        conn.close()
    wait_for(lambda: scores(server)["all"]["kernel_requests"] == 60, "all to be counted")
    vp = scores(server)["all"]
    assert vp["kernel_threads"] <= 4 and vp["kernel_queue"] == 0


@pytest.mark.stm_only
def test_the_kind_is_shown(serve):
    server = served(serve, directives=SCORES)
    with server.connect() as conn:
        conn.ask("/late/page.html?until=go")
        wait_for(lambda: any(row.get("Status") == "Kernel" for row in rows(server)), "its row")
        go(server)
        assert conn.response().text == "state kernel\n"
        wait_for(lambda: any(row.get("Status") == "Keepalive" for row in rows(server)), "its row")


# --- what a request has, it has there ---

def at_once(server, count, path, clients=20, row=3):
    """The answers to `row` requests on each of so many connections, `clients` at a time."""
    def ask(_):
        with server.connect() as conn:
            return [conn.get(path) for _ in range(row)]
    with ThreadPoolExecutor(clients) as pool:
        return [got for three in pool.map(ask, range(count)) for got in three]


@BOTH
@pytest.mark.parametrize("path", ["/early", "/late/page.html"])
def test_it_is_the_same_thread(shared, mpm, path):
    """Thread-local variables, keys, identity, the current thread: before, in and after."""
    server = shared(mpm)
    assert {got.status for got in at_once(server, 40, path + "?spin=2")} == {200}
    assert {got.status for got in at_once(server, 40, "/state")} == {200}
    assert server.get(path + "?wrong").text == "0\n"


@BOTH
def test_keep_alive_and_pipelining(shared, mpm):
    server = shared(mpm)
    paths = ["/early", "/index.html", "/late/page.html", "/state", "/early?big=100", "/early"] * 5
    with server.connect() as conn:
        single = [conn.get(path).body for path in paths]
        for path in paths:
            conn.ask(path)
        assert [conn.response().body for _ in paths] == single
        assert conn.get("/index.html").status == 200


@pytest.mark.stm_only
def test_an_idle_connection_holds_no_thread(serve):
    """After a kernel thread has received behind the VP's back, the VP waits as usual."""
    server = served(serve, directives=SCORES)
    conns = [server.connect() for _ in range(20)]
    for conn in conns:
        assert conn.get("/late/page.html").status == 200
        assert conn.get("/early", method="POST", body=b"x" * 5000).status == 200
    wait_for(lambda: scores(server)["all"]["conns_keepalive"] == 20, "idle connections")
    wait_for(lambda: scores(server)["all"]["threads_busy"] == 0, "idle threads")
    for conn in conns:
        assert conn.get("/index.html").status == 200
        conn.close()


@BOTH
@pytest.mark.parametrize("path", ["/early", "/late/page.html"])
@pytest.mark.parametrize("how", ["whole", "pieces", "chunked", "expect"])
def test_request_bodies(shared, mpm, path, how):
    body = bytes(range(256)) * 2000
    said = f"{len(body)} bytes, sum {sum(body)}, kernel\n"
    server = shared(mpm)
    with server.connect() as conn:
        for _ in range(2):
            if how == "whole":
                conn.ask(path, method="POST", body=body)
            elif how == "chunked":
                conn.ask(path, method="POST", headers=["Transfer-Encoding: chunked"])
                for at in range(0, len(body), 50_000):
                    piece = body[at:at + 50_000]
                    conn.send(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
                conn.send(b"0\r\n\r\n")
            else:
                headers = [f"Content-Length: {len(body)}"]
                headers += ["Expect: 100-continue"] if how == "expect" else []
                conn.ask(path, method="POST", headers=headers)
                if how == "expect":
                    assert conn.head().status == 100
                for at in range(0, len(body), 200_000):
                    assert server.get("/index.html").status == 200
                    conn.send(body[at:at + 200_000])
            assert conn.response("POST").text == said
            assert conn.get("/index.html").status == 200


@BOTH
def test_a_body_that_does_not_come(serve, mpm):
    """Timeout counts on a kernel thread as well."""
    server = served(serve, mpm, "Timeout 1\n")
    with server.connect() as conn:
        conn.ask("/late/page.html", method="POST", headers=["Content-Length: 10"])
        assert conn.response("POST").status in (400, 408)


@BOTH
@pytest.mark.parametrize("path", ["/early", "/late/page.html"])
def test_large_responses_to_slow_clients(shared, mpm, path):
    server = shared(mpm)
    line = b"x" * 1023 + b"\n"
    with server.connect(rcvbuf=8192) as slow:
        slow.ask(path + "?big=3000")
        for _ in range(5):
            assert server.get("/index.html").status == 200
        assert slow.response().body == line * 3000
        assert slow.get("/index.html").status == 200


@BOTH
def test_clients_that_go(serve, mpm):
    server = served(serve, mpm, SCORES if mpm == "stm" else "")
    for path in ("/early?big=20000", "/late/page.html?big=20000", "/early?until=go"):
        for n in range(6):
            conn = server.connect(rcvbuf=8192)
            conn.ask(path)
            if "big" in path:
                conn.exactly(1000)
            (conn.reset if n % 2 else conn.close)()
    go(server)
    assert server.get("/late/page.html").status == 200
    if mpm == "stm":
        wait_for(lambda: scores(server)["all"]["kernel_busy"] == 0, "idle kernel threads")
        wait_for(lambda: scores(server)["all"]["conns"] == 0, "the end of connections")


@BOTH
def test_tls(serve, mpm):
    server = served(serve, mpm, tls=True)
    body = b"abc" * 100_000
    for _ in range(3):
        with server.connect_tls() as conn:
            assert conn.get("/early").text == "kernel kernel\n"
            assert conn.get("/index.html").status == 200
            assert conn.get("/late/page.html", method="POST", body=body).text == \
                f"{len(body)} bytes, sum {sum(body)}, kernel\n"
            assert len(conn.get("/late/page.html?big=500").body) == 500 * 1024
            conn.ask("/early")
            conn.ask("/state")
            assert [conn.response().status for _ in range(2)] == [200, 200]


@BOTH
def test_http2_streams(serve, mpm):
    server = served(serve, mpm, "Protocols h2c http/1.1\n", modules=["http2"])
    base = f"http://127.0.0.1:{server.port}"
    for path, text in (("/early", "kernel kernel\n"),
                       ("/late/page.html", everywhere(mpm, "state kernel\n"))):
        urls = [f"{base}{path}?spin={n}" for n in range(8)]
        run = subprocess.run(["nghttp", *urls], capture_output=True, text=True, timeout=60,
                             check=True)
        assert run.stdout == text * 8
        body = server.root / "body"
        body.write_bytes(b"abc" * 100_000)
        run = subprocess.run(["nghttp", "-d", body, f"{base}{path}"], capture_output=True,
                             text=True, timeout=60, check=True)
        assert run.stdout == f"300000 bytes, sum {sum(b'abc' * 100_000)}, kernel\n"
        load = subprocess.run(["h2load", "-n200", "-c5", "-m10", f"{base}{path}?spin=1"],
                              capture_output=True, text=True, timeout=60, check=True)
        assert re.search(r"status codes: 200 2xx", load.stdout), load.stdout
    # The upgrade begins on the VP, whatever its path.
    run = subprocess.run(["nghttp", "-u", f"{base}/early"], capture_output=True, text=True,
                         timeout=60, check=True)
    assert run.stdout.endswith("kernel\n")


@BOTH
def test_subrequests_and_redirects(serve, mpm):
    server = served(serve, mpm, """
        <Directory @ROOT@/htdocs>
            Options +Includes
            AddOutputFilter INCLUDES .shtml
        </Directory>
        ErrorDocument 404 /early
        ErrorDocument 403 /late/page.html
        RewriteEngine On
        RewriteRule ^/rewritten/(.*)$ /late/page.html [PT]
        RewriteRule ^/early/to/page$ /index.html
        """, modules=["include", "rewrite"])
    server.page("all.shtml", "".join(f'<!--#include virtual="{path}" -->' for path in (
        "/early", "/late/page.html", "/state", "/index.html")))
    server.page("late/all.shtml", "")
    with server.connect() as conn:
        for _ in range(2):
            assert conn.get("/all.shtml").text.startswith(
                everywhere(mpm, "state kernel\n") + everywhere(mpm, "state kernel\n") +
                everywhere(mpm, "state state\n"))
            got = conn.get("/nothing")
            assert got.status == 404 and got.text == "kernel kernel\n"
            got = conn.get("/state?status=403")
            assert got.status == 403 and got.text == everywhere(mpm, "state kernel\n")
            got = conn.get("/early?status=403")
            assert got.status == 403
            assert conn.get("/rewritten/x").text == everywhere(mpm, "state kernel\n")
            assert conn.get("/early/to/page").status == 200


@BOTH
def test_handlers_that_decline(shared, mpm):
    server = shared(mpm)
    with server.connect() as conn:
        for _ in range(2):
            assert conn.get("/late/page.html?decline").text == "a page"
            assert conn.get("/early?decline").status == 404
            assert conn.get("/late/page.html?decline", method="PUT", body=b"x").status == 405


@pytest.mark.stm_only
@pytest.mark.parametrize("path", ["/early", "/late/page.html"])
def test_handlers_that_suspend(shared, path):
    """(Under event 2.4 a module has no way to give such a connection back.)"""
    server = shared("stm")
    conns = [server.connect() for _ in range(8)]
    for conn in conns:
        conn.ask(path + "?suspend=50")
    for conn in conns:
        assert conn.response().body.startswith(b"late")
        conn.close()


@BOTH
def test_programs_and_backends(serve, mpm):
    """A program run by a kernel thread; a backend's connections used from both kinds."""
    kernel = "RunOn kernel" if mpm == "stm" else ""
    server = served(serve, mpm, f"""
        <Directory @ROOT@/htdocs/cgi>
            Options +ExecCGI
            SetHandler cgi-script
            {kernel}
        </Directory>
        ProxyPass /from-state http://127.0.0.1:@PORT@/backend
        <Location /from-kernel>
            {kernel}
            ProxyPass http://127.0.0.1:@PORT@/backend
        </Location>
        <Location /backend>
            SetHandler where
        </Location>
        """, modules=["cgi", "proxy", "proxy_http"])
    program = server.page("cgi/program", "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\n'\n"
                          "cat\nkill -TERM $$\n")
    program.chmod(0o755)
    body = b"x" * 100_000
    with server.connect() as conn:
        for n in range(10):
            assert conn.get("/cgi/program", method="POST", body=body).body == body
            path = ("/from-state", "/from-kernel")[n % 2]
            assert conn.get(path).text == everywhere(mpm, "state state\n")
            assert conn.get(path + "?big=300").body.count(b"\n") == 300
    assert {got.body.count(b"\n") for path in ("/from-state", "/from-kernel") for got in
            at_once(server, 30, path + "?big=20", clients=10)} == {20}


@pytest.mark.parametrize("mpm, directives", [
    ("stm", ""), ("stm", "SmallPools Off\n"), pytest.param("event", "", marks=EVENT)])
def test_many_of_both_kinds(serve, mpm, directives):
    """Kernel threads and the VP at work at once, on what connections share."""
    server = served(serve, mpm, directives)
    paths = ("/early?big=40", "/late/page.html?big=40", "/state?big=40", "/index.html",
             "/early?spin=1", "/late/page.html?spin=1")
    with ThreadPoolExecutor(len(paths)) as pool:
        runs = list(pool.map(lambda path: at_once(server, 50, path, clients=4), paths))
    for path, answers in zip(paths, runs):
        assert {got.status for got in answers} == {200}
        if "big" in path:
            assert {len(got.body) for got in answers} == {40 * 1024}
    assert server.get("/state?wrong").text == "0\n"


# --- ends ---

@pytest.mark.stm_only
def test_graceful_restart_while_handlers_compute(serve):
    server = served(serve)
    conns = [server.connect() for _ in range(3)]
    for conn in conns:
        conn.ask("/late/page.html?until=go")
    old = server.children()
    server.restart()
    assert server.get("/index.html").status == 200
    go(server)
    for conn in conns:
        assert conn.response().text.endswith("kernel\n")
        conn.close()
    wait_for(lambda: not set(old) & set(server.children()), "the end of the old processes")


@BOTH
def test_graceful_stop_while_handlers_compute(serve, mpm):
    server = served(serve, mpm)
    conn = server.connect()
    conn.ask("/late/page.html?until=go")
    with server.connect() as other: # the request has been read, too
        assert other.get("/late/page.html?spin=1").status == 200
    server.signal(signal.SIGWINCH)
    go(server)
    assert conn.response().text.endswith("kernel\n")
    server.wait_gone()


@pytest.mark.stm_only
def test_hard_stop_while_handlers_compute(serve):
    """It takes less time than under event, whose process httpd kills after some 10 s."""
    server = served(serve, directives="KernelThreads 2\n")
    conns = [server.connect() for _ in range(6)]
    for conn in conns:
        conn.ask("/late/page.html?until=never")
    assert server.get("/index.html").status == 200
    start = time.monotonic()
    server.allowed.append("AH00045")
    server.stop()
    assert time.monotonic() - start < 10
    assert "AH00046" not in server.error_log() # SIGKILL


@pytest.mark.stm_only
def test_a_crash_names_its_request(serve):
    server = served(serve, processes=2)
    server.allowed.append("signal|crashed|AH00052|crit")
    old = set(server.children())
    with pytest.raises((Closed, OSError)):
        server.get("/late/page.html?crash")
    server.wait_log(r'a kernel thread of VP \d crashed \(signal 11\) in the request '
                    r'"GET /late/page.html\?crash HTTP/1.1"')
    wait_for(lambda: len(old & set(server.children())) == 1 and len(server.children()) == 2,
             "a successor")
    wait_for(lambda: server.get("/late/page.html").status == 200, "service")


@pytest.mark.stm_only
def test_vp_connections_and_max_threads(serve):
    """Successors come, and what waits for a kernel thread holds a state thread."""
    server = served(serve, directives="VPConnections 20\nKernelThreads 2\n", threads=8)
    for path in ("/late/page.html?spin=2", "/early?spin=2"):
        assert {got.status for got in at_once(server, 60, path, clients=16, row=1)} == {200}


@pytest.mark.stm_only
def test_idle_ones_end_and_a_busy_one_is_no_hang(serve):
    """Idle kernel threads end after 10 s; one that computes for so long is no hang of its VP, which
    would be told after 2 s, and ended."""
    server = served(serve, directives=SCORES + "HangTimeout 3\n")
    old = server.children()
    with server.connect() as conn:
        conn.ask("/late/page.html?until=go")
        wait_for(lambda: scores(server)["all"]["kernel_busy"] == 1, "a busy kernel thread")
        started = time.monotonic()
        at_once(server, 10, "/late/page.html?spin=5", clients=10)
        wait_for(lambda: scores(server)["all"]["kernel_threads"] > 1, "more kernel threads")
        wait_for(lambda: scores(server)["all"]["kernel_threads"] == 1, "the idle ones' end", 40)
        assert time.monotonic() - started > 5
        go(server)
        assert conn.response().text == "state kernel\n"
    assert server.children() == old and "hangs" not in server.error_log()
    assert server.get("/early").text == "kernel kernel\n"


@needs("lua")
@BOTH
def test_lua(serve, mpm):
    """mod_lua's handlers compute beside static requests."""
    server = served(serve, mpm, f"""
        LuaMapHandler ^/lua @ROOT@/compute.lua handle
        {"RunOn kernel lua-map-handler" if mpm == "stm" else ""}
        """, modules=["lua"])
    (server.root / "compute.lua").write_text("""
        function handle(r)
            local sum = 0
            for i = 1, 1500000 do sum = (sum + i * i) % 1000003 end
            r:puts(string.format("%d %s", sum, r.args or ""))
            return apache2.OK
        end
        """)
    with ThreadPoolExecutor(6) as pool:
        asked = [pool.submit(server.get, f"/lua?{n}") for n in range(12)]
        for _ in range(20):
            assert server.get("/index.html").status == 200
        texts = [one.result().text for one in asked]
    assert texts == [f"{texts[0].split()[0]} {n}" for n in range(12)]


# --- auto ---

def until_moved(ask, expected):
    """Asks until the answer says so: the machine may be too busy to tell what holds up the VP."""
    wait_for(lambda: ask() == expected, "a move")


@pytest.mark.stm_only
@pytest.mark.parametrize("protocol", ["http", "h2"])
def test_auto_moves_what_holds_up_the_vp(serve, protocol):
    server = served(serve, directives=SCORES + "Protocols h2c http/1.1\n", modules=["http2"])
    url = f"http://127.0.0.1:{server.port}/state?spin=80"

    def ask():
        if protocol == "http":
            return server.get("/state?spin=80").text
        return subprocess.run(["nghttp", url], capture_output=True, text=True, timeout=60,
                              check=True).stdout
    until_moved(ask, "state kernel\n")
    assert server.get("/state").text == "state kernel\n"
    assert server.get("/state/below").text == "state kernel\n"
    assert server.get("/state2").text == "state state\n"
    wait_for(lambda: scores(server)["all"]["kernel_moves"] == 1, "the move to be counted")
    logged = [line for line in server.error_log().splitlines() if "has held up VP" in line]
    assert len(logged) == 1 and logged[0].endswith(
        'to make that permanent: <Location "/state"> RunOn kernel where </Location>')


@pytest.mark.stm_only
def test_auto_moves_what_comes_before_the_handler(serve):
    server = served(serve)
    until_moved(lambda: server.get("/state/app?early=80").text, "kernel kernel\n")
    assert server.get("/state/other").text == "kernel kernel\n"  # in the same folder
    assert server.get("/state2").text == "state state\n"
    assert ('to make that permanent: <Location "/state/"> RunOn kernel </Location>'
            in server.error_log())


@pytest.mark.stm_only
def test_auto_comes_back(serve):
    server = served(serve, env={"STM_AUTO_SECONDS": "1"})
    until_moved(lambda: server.get("/state?spin=80").text, "state kernel\n")
    wait_for(lambda: server.get("/state").text == "state state\n", "its return", step=0.2)
    until_moved(lambda: server.get("/state?spin=80").text, "state kernel\n")
    assert server.error_log().count("has held up VP") == 1


@pytest.mark.stm_only
def test_auto_leaves_alone_what_is_told(serve):
    server = served(serve, directives="""
        <Location /state>
            RunOn state
        </Location>
        <Location /state2>
            RunOn state where
        </Location>
        """)
    for _ in range(4):
        for path in ("/state", "/state2"):
            assert server.get(path + "?spin=70").text == "state state\n"
    assert "has held up VP" not in server.error_log()


@pytest.mark.stm_only
def test_the_stall_report_names_the_remedy(serve):
    server = served(serve, directives="StallWarning 200\n", env={"STM_AUTO_SECONDS": "1"})

    def told():  # reports come at most every 10 s, and may be about something else
        server.get("/state?spin=300")
        return 'keep it off the VP: <Location "/state"> RunOn kernel where </Location>' in \
            server.error_log()
    wait_for(told, "a report", 120)


@pytest.mark.stm_only
def test_auto_is_for_who_holds_it_up_alone(serve):
    """Many small requests make long turns, too: none of them is moved."""
    server = served(serve, directives=SCORES, threads=256)
    at_once(server, 60, "/state?spin=3", clients=30)
    assert "has held up VP" not in server.error_log()
    assert scores(server)["all"]["kernel_requests"] == 0


@pytest.mark.stm_only
def test_auto_tells_pipelined_requests_apart(serve):
    """One client's small requests, all in one turn: each has the memory of the one before."""
    server = served(serve, directives=SCORES + "MaxKeepAliveRequests 0\n")
    with server.connect() as conn:
        for _ in range(3):
            for _ in range(60):
                conn.ask("/state?spin=2")
            assert {conn.response().text for _ in range(60)} == {"state state\n"}
    assert "has held up VP" not in server.error_log()
    assert scores(server)["all"]["kernel_requests"] == 0
