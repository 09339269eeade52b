# SPDX-License-Identifier: Apache-2.0
"""What belongs to a thread under event belongs to a state thread here: thread-local variables,
httpd's current thread, and what is stored with it. Also with other allocators than the C
library's."""

import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from harness import MPM, tool, wait_for
from harness.scoreboard import scores

LOCALS = """
    <Location /locals>
        SetHandler locals
    </Location>
    """
# Every request goes through regular expressions, whose match data httpd keeps with its current
# thread.
EXPRESSIONS = """
    SetEnvIf Request_URI ^/(x)(y)?(.)(.)(.)(.)(.)(.)(.) seen=$1
    RewriteEngine On
    RewriteRule ^/(x)(y)?(z)?(.*)$ /index.html
    <FilesMatch "^(in)(de)(x)[.](h)(t)(m)(l)$">
        Header set Matched yes
    </FilesMatch>
    """
# While a worker of mod_http2 joins those that have ended it gives up its lock; a request that comes
# then is forgotten if no worker is free to be started (activate_slot() in h2_workers.c), under each
# MPM. So there are more workers than requests in progress, and some are always free.
HTTP2 = f"""
    {LOCALS}
    {EXPRESSIONS}
    Protocols h2c http/1.1
    H2MinWorkers 1
    H2MaxWorkers 300
    H2MaxWorkerIdleSeconds 1
    """
MODULES = ("http2", "setenvif", "rewrite", "headers", tool("mod_locals.so"))
EVENT = pytest.mark.skipif(MPM != "stm", reason="beside stm only")
BOTH = pytest.mark.parametrize("mpm", ["stm", pytest.param("event", marks=EVENT)])
ALLOCATORS = ("libjemalloc.so.2", "libtcmalloc_minimal.so.4")


def answers(server, count, path, at_once=40):
    """The texts of that many answers, to requests that are in progress at the same time."""
    def ask(_):
        with server.connect() as conn:
            return conn.get(path).text
    with ThreadPoolExecutor(at_once) as clients:
        return list(clients.map(ask, range(count)))


def h2load(server, path, *options):
    """How many requests had a status 2xx."""
    run = subprocess.run(["h2load", *map(str, options), f"http://127.0.0.1:{server.port}{path}"],
                         capture_output=True, text=True, timeout=60, check=True)
    return int(re.search(r"status codes: (\d+) 2xx", run.stdout).group(1))


@BOTH
def test_requests_have_their_threads_own(serve, mpm):
    server = serve(mpm=mpm, processes=1, directives=HTTP2, modules=MODULES)
    for _ in range(3):
        assert answers(server, 120, "/locals?50") == ["right"] * 120
    # Workers of HTTP/2 are threads that a module has made.
    for _ in range(3):
        with ThreadPoolExecutor(20) as clients:
            urls = [f"http://127.0.0.1:{server.port}/locals?{50 + n}" for n in range(5)]
            runs = list(clients.map(lambda _: subprocess.run(
                ["nghttp", *urls], capture_output=True, text=True, timeout=60, check=True).stdout,
                range(20)))
        assert runs == ["right" * 5] * 20


def workers(server):
    """State threads that are not the MPM's."""
    counts = scores(server)["all"]
    return counts["stacks"] - counts["threads"]


@pytest.mark.stm_only
def test_workers_that_have_ended_leave_nothing_behind(serve):
    """HTTP/2's workers come and go; nobody else uses what they had."""
    server = serve(processes=1, directives=f"ScoreboardDir scoreboards\n{HTTP2}", modules=MODULES)
    vp = server.children()
    for number in range(10):
        assert h2load(server, "/xindex", "-c", 8, "-m", 16, "-n", 400) == 400
        wait_for(lambda: workers(server) <= 3, "the workers' end")
        assert h2load(server, "/xindex", "-c", 1, "-n", 2) == 2
        with server.connect() as conn:
            for path in ("/xyz", f"/x{number}", "/locals?0"):
                answer = conn.get(path)
                assert answer.status == 200
        assert answer.text == "right"
    assert server.children() == vp  # none has died


@pytest.mark.stm_only
@pytest.mark.parametrize("name", ALLOCATORS, ids=lambda name: name.split(".")[0])
def test_an_allocator_in_the_c_librarys_place(serve, name):
    """What it keeps per thread belongs to the kernel thread, as with malloc() itself."""
    library, = Path("/usr/lib").glob(f"*-linux-gnu/{name}")
    server = serve.make(processes=1, directives=HTTP2, modules=MODULES)
    server.preload(library, {})
    server.start()
    vp, = server.children()
    assert name in Path(f"/proc/{vp}/maps").read_text()
    assert answers(server, 120, "/locals?50") == ["right"] * 120
    assert h2load(server, "/xindex", "-c", 8, "-m", 16, "-n", 2000) == 2000
    assert server.children() == [vp]
