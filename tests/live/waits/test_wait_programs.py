# SPDX-License-Identifier: Apache-2.0
"""Waits for programs: CGI of both kinds, external filters, rewrite maps, php-fpm, a piped
logger."""

import glob
import os
import signal
import subprocess

import pytest

from harness import MPM, wait_for
from harness.places import CHILD_USER

from .inflight import MUTEXES, InFlight, mutex_name, prove, quick


def script(path, text):
    """Writes a program."""
    path.write_text(text)
    path.chmod(0o755)
    return path


def end(process):
    """Ends one of the test's processes, by its pid."""
    process.terminate()
    process.wait(30)


@pytest.mark.parametrize("module", ["cgid", "cgi"])
def test_200_cgi_programs(serve, file_gate, module):
    server = serve.make(processes=1, threads=300, modules=(module,), directives="""
        ScriptAlias /cgi @ROOT@/cgi/
        ScriptSock @ROOT@/run/cgisock
        """ if module == "cgid" else "ScriptAlias /cgi @ROOT@/cgi/")
    gate = file_gate(server.private_folder("gate"))
    (server.root / "cgi").mkdir()
    script(server.root / "cgi/held", f"""#!/bin/sh
        {gate.shell}
        printf 'Content-Type: text/plain\\r\\n\\r\\nheld %s\\n' "$QUERY_STRING"
        """)
    server.start()
    paths = [f"/cgi/held?{n}" for n in range(200)]
    got = prove(server, gate, paths)
    assert [response.text.split()[1] for response in got] == [str(n) for n in range(200)]


SHELL = """
function handle(r)
    local ok, why, code = os.execute(r.args == "held" and [[%s]] or "true")
    r:puts(r.args, " ", code, "\\n")
    return apache2.OK
end
"""


@pytest.mark.parametrize("mpm", sorted({"event", MPM}))
def test_40_programs_by_system(serve, file_gate, mpm):
    """None of them occupies a helper, so a program that asks its own server gets an answer."""
    server = serve.make(mpm=mpm, processes=1, threads=100, modules=("lua",),
                        directives="LuaMapHandler ^/run @ROOT@/run.lua handle")
    gate = file_gate(server.private_folder("gate"))
    (server.root / "run.lua").write_text(SHELL % gate.shell)
    server.start()
    with InFlight(server, ["/run?held"] * 40) as flight:
        gate.wait_held(40)
        quick(server)
        assert server.get("/run?true").text == "true 0\n"
        assert flight.answered() == 0
        gate.open()
        assert [got.text for got in flight.finish()] == ["held 0\n"] * 40


def test_cgi_that_reads_and_writes_much(serve):
    """Bodies larger than a socket's buffer, both ways, 20 at a time.

    The program reads everything before it writes, since httpd does not read while it writes either.
    """
    server = serve.make(processes=1, modules=("cgid",), directives="""
        ScriptAlias /cgi @ROOT@/cgi/
        ScriptSock @ROOT@/run/cgisock
        """)
    (server.root / "cgi").mkdir()
    folder = server.private_folder("bodies")
    script(server.root / "cgi/cat", f"""#!/bin/sh
        cat > {folder}/$$
        printf 'Content-Type: text/plain\\r\\n\\r\\n'
        exec cat {folder}/$$
        """)
    server.start()
    body = b"0123456789abcdef" * 20000
    with InFlight(server, ["/cgi/cat"] * 20, method="POST", body=body) as flight:
        quick(server)
        assert all(response.body == body for response in flight.finish())


def test_external_filter(serve, file_gate):
    server = serve.make(processes=1, modules=("ext_filter",), directives="""
        ExtFilterDefine slow mode=output cmd="@ROOT@/filter"
        Alias /filtered @ROOT@/htdocs
        <Location /filtered>
            SetOutputFilter slow
        </Location>
        """)
    gate = file_gate(server.private_folder("gate"))
    script(server.root / "filter", f"#!/bin/sh\n{gate.shell}\nexec tr a-z A-Z\n")
    server.start()
    for response in prove(server, gate, ["/filtered/index.html"] * 40):
        assert "IT WORKS!" in response.text


@pytest.mark.parametrize("mutex", MUTEXES, ids=mutex_name)
def test_rewrite_map_program(serve, file_gate, mutex):
    """One program serves all: one request waits for its answer, the others for the lock.

    With two VPs, all requests in one of them wait for a lock that another process holds.
    """
    server = serve.make(processes=2, modules=("rewrite",), directives=f"""
        Mutex {mutex} rewrite-map
        RewriteEngine On
        RewriteMap slow prg:@ROOT@/map
        RewriteRule ^/mapped/(.*)$ /${{slow:$1}} [L]
        """)
    server.private_folder("locks")
    gate = file_gate(server.private_folder("gate"))
    script(server.root / "map", f"""#!/bin/sh
        while read -r name; do
            {gate.shell}
            echo "$name.html"
        done
        """)
    for n in range(30):
        server.page(f"{n}.html", f"page {n}\n")
    server.start()
    got = prove(server, gate, [f"/mapped/{n}" for n in range(30)], held=1)
    assert [response.text for response in got] == [f"page {n}\n" for n in range(30)]


def test_php_fpm(serve, file_gate):
    server = serve.make(processes=1, modules=("proxy", "proxy_fcgi"), directives="""
        ProxyPassMatch ^/(.*\\.php)$ unix:@ROOT@/fpm/socket|fcgi://localhost@ROOT@/htdocs/
        """)
    folder = server.private_folder("fpm")
    gate = file_gate(folder)
    server.page("held.php", f"""<?php
        file_put_contents('{gate.arrivals}', 'x', FILE_APPEND);
        flock(fopen('{gate.lock}', 'r'), LOCK_SH);
        echo "held ", $_GET['n'];
        """)
    fpm = start_fpm(server.root, 25)
    try:
        server.start()
        got = prove(server, gate, [f"/held.php?n={n}" for n in range(60)], held=25)
        assert [response.text for response in got] == [f"held {n}" for n in range(60)]
        server.stop()
    finally:
        end(fpm)


def start_fpm(root, workers):
    """php-fpm with a socket at root/fpm/socket, as a process of its own in the foreground."""
    user = f"user = {CHILD_USER}\nlisten.owner = {CHILD_USER}" if os.geteuid() == 0 else ""
    (root / "fpm.conf").write_text("\n".join([
        "[global]", f"error_log = {root}/logs/fpm.log", "daemonize = no",
        "[www]", user, f"listen = {root}/fpm/socket", "listen.backlog = 511",
        "pm = static", f"pm.max_children = {workers}", ""]))
    program = sorted(glob.glob("/usr/sbin/php-fpm*"))[-1]
    with open(root / "logs/fpm.out", "wb") as output:
        process = subprocess.Popen([program, "-n", "-F", "-y", root / "fpm.conf"],
                                   stdout=output, stderr=output)
    try:
        wait_for((root / "fpm/socket").exists, "php-fpm's socket")
    except AssertionError:
        end(process)
        raise
    return process


def with_logger(serve, file_gate, signals=""):
    """A server whose second port logs to a program that does not read yet. Also returns the
    program's gate and its log."""
    server = serve.make(processes=1, threads=200, ports=2, directives="""
        <VirtualHost *:@PORT2@>
            CustomLog "|@ROOT@/logger" "%q"
        </VirtualHost>
        """)
    gate = file_gate(server.private_folder("gate"))
    log = server.root / "logs/piped.log"
    script(server.root / "logger",
           f"#!/bin/sh\n{signals}\nexec > {log} 2> /dev/null\n{gate.shell}\nexec cat\n")
    server.start()
    gate.wait_held(1)
    return server, gate, log


def test_slow_piped_logger(serve, file_gate):
    """A logger does not read: the pipe fills up, and requests that are logged there wait."""
    server, gate, log = with_logger(serve, file_gate)
    queries = [f"?{n}." + "x" * 3000 for n in range(100)]
    # A response is sent before its line is written, so each connection sends two requests: only
    # those whose first line fitted into the pipe's 64 KB get the second response.
    with InFlight(server, [f"/index.html{q}" for q in queries], port=server.ports[1]) as flight:
        assert all(response.status == 200 for response in flight.finish())
        for conn in flight.conns:
            conn.ask("/index.html?again")
        wait_for(lambda: flight.answered() >= 15, "answers while there is room in the pipe")
        for _ in range(5):
            quick(server)
            assert flight.answered() < 50
        gate.open()
        assert all(response.status == 200 for response in flight.finish())
    # A line is written after its response is sent.
    wait_for(lambda: log.read_text().count("\n") >= 200, "the last lines")
    assert sorted(log.read_text().splitlines()) == sorted(queries + ["?again"] * 100)


def test_a_hard_stop_loses_no_line_for_a_slow_piped_logger(serve, file_gate):
    """As with event, whose threads wait until there is room in the pipe."""
    server, gate, log = with_logger(serve, file_gate, "trap '' TERM")
    queries = [f"?{n}." + "x" * 3000 for n in range(60)]
    with InFlight(server, [f"/index.html{q}" for q in queries], port=server.ports[1]) as flight:
        assert all(response.status == 200 for response in flight.finish())
        server.signal(signal.SIGTERM)
        wait_for(flight.answered, "the end of those whose line went out")
        gate.open()
        server.wait_gone()
    assert sorted(log.read_text().splitlines()) == sorted(queries)
