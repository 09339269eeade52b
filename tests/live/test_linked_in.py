# SPDX-License-Identifier: Apache-2.0
"""Where libapr and mod_http2 are: in files of their own, as distributions have them, or linked into
httpd. `make test-httpd APXS=` runs this with an httpd that has them linked in."""

import re
import subprocess

import pytest
from harness import procs, wait_for
from harness.places import HTTPD, compiled_in
from harness.scoreboard import total

from tests.live.waits.h2client import H2

pytestmark = pytest.mark.stm_only

BODY = bytes(range(256)) * 1000
STREAMS = 10
# The backends are the server itself; one is asked by HTTP/2, with prior knowledge.
DIRECTIVES = """
    Protocols h2c http/1.1
    ScoreboardDir @ROOT@/scoreboards
    ProxyPass /proxied/ http://127.0.0.1:@PORT2@/
    ProxyPass /h2/ h2c://127.0.0.1:@PORT2@/
    """


def has_apr_linked_in():
    """Whether httpd itself defines libapr's functions, for its modules."""
    said = subprocess.run(["nm", "-D", "--defined-only", HTTPD], capture_output=True, text=True,
                          check=True)
    return re.search(r" T apr_thread_create$", said.stdout, re.M) is not None


@pytest.fixture(name="server")
def _server(serve):
    made = serve.make(processes=1, threads=2000, ports=2, directives=DIRECTIVES,
                      modules=("http2", "proxy", "proxy_http", "proxy_http2"))
    made.page("body.bin", BODY)
    made.configure()
    return made


def test_the_dump_says_where_libapr_is(server):
    said = server.control("-t", "-D", "DUMP_STM")
    assert said.returncode == 0, said.stderr
    makers = re.findall(r"^threads that (.*) makes are state threads$", said.stdout, re.M)
    pools, = re.findall(r"^SmallPools (.*)$", said.stdout, re.M)
    if has_apr_linked_in():
        assert makers == ["the server itself"]
        assert pools == ("On, without effect: APR is no shared library here (linked into the "
                         "server?)")
    else:
        assert len(makers) == 1 and re.search(r"/libapr-\d\.so", makers[0]), makers
        assert pools == "On"


def test_the_dump_without_rebound_calls(server):
    """StateThreadedIO Off: nothing is a state thread that the MPM did not make."""
    server.conf.write_text(server.conf.read_text() + "StateThreadedIO Off\n")
    said = server.control("-t", "-D", "DUMP_STM").stdout
    assert "SmallPools On, without effect: StateThreadedIO is Off\n" in said
    assert "no object makes state threads\n" in said and "makes are" not in said


def test_threads_of_mod_http2_are_state_threads(server):
    """Neither thousands of kernel threads, nor thousands of workers."""
    server.start()
    assert server.get("/body.bin").body == BODY
    stacks = wait_for(lambda: total(server, "stacks_peak"), "the stacks' number")
    assert 128 <= stacks <= 170
    vp, = server.children()
    assert procs.stat(vp).threads <= 8


@pytest.mark.parametrize("folder", ["", "proxied/", "h2/"])
def test_http2(server, folder):
    """Streams side by side: of files, of a backend, and of a backend that is asked by HTTP/2."""
    server.start()
    with H2(server.port) as client:
        for number in range(STREAMS):
            client.get(f"/{folder}body.bin?{number}")
        answers = client.finish()
    assert [(one.status, one.body == BODY) for one in answers] == [(200, True)] * STREAMS


def test_the_log_says_what_cannot_be_had(server):
    """Pools of APR that is linked in are APR's own; it works without."""
    server.start()
    server.get("/body.bin")
    server.stop()
    said = "uses APR's own pools: APR is no shared library here" in server.error_log()
    assert said == has_apr_linked_in()


def test_this_httpd_as_it_is(server):
    """What is linked in is not loaded: the test's server is that of its name."""
    loaded = re.findall(r"^LoadModule (\w+)_module", server.conf.read_text(), re.M)
    assert ("http2" in loaded) != ("http2" in compiled_in())
