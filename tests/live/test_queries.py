# SPDX-License-Identifier: Apache-2.0
"""What modules do with the MPM's answers (docs/internals/queries.md)."""

import re

import pytest
from harness import tool, wait_for
from harness.scoreboard import total

from tests.live.thirdparty.pair import needs

pytestmark = pytest.mark.stm_only

# mod_http2 starts 128 workers in advance in each VP; the VP's own threads come on top.
MOST_STACKS = 170


def test_http2_does_not_start_a_worker_for_each_thread(serve):
    """MaxThreads 2,000 must not become 2,000 workers of mod_http2, nor be one."""
    server = serve(processes=1, threads=2000, modules=("http2",),
                   directives="Protocols h2c http/1.1\nScoreboardDir @ROOT@/scoreboards")
    assert server.get("/").status == 200
    stacks = wait_for(lambda: total(server, "stacks_peak"), "the stacks' number")
    assert 128 <= stacks <= MOST_STACKS


def test_http2_in_the_server_itself_is_known_by_its_functions(serve):
    """Where mod_http2 is linked into httpd, there is no file of its name."""
    server = serve(processes=1, threads=2000, modules=(tool("mod_asks.so"),))
    assert server.wait_log(r"asks: h2 (\d+), others (\d+)")[0] == ("128", "2000")


@needs("rivet")
@pytest.mark.parametrize("threads, interpreters", [(2000, 128), (16, 16)])
def test_rivet_does_not_start_an_interpreter_for_each_thread(serve, threads, interpreters):
    """It says how many it starts; then a page in Tcl is served."""
    server = serve(processes=1, threads=threads, modules=("rivet",),
                   directives="AddType application/x-httpd-rivet .rvt")
    server.page("page.rvt", b'<? puts "the answer is [expr 6 * 7]" ?>')
    assert b"the answer is 42" in server.get("/page.rvt").body
    told = re.findall(r"starting (\d+) Tcl threads", server.error_log())
    assert told and set(told) == {str(interpreters)}
