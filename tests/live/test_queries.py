# SPDX-License-Identifier: Apache-2.0
"""What modules do with the MPM's answers (docs/internals/queries.md)."""

import pytest
from harness import wait_for
from harness.scoreboard import total

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
