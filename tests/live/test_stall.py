# SPDX-License-Identifier: Apache-2.0
"""StallWarning: a virtual processor that is held up is logged, with the request and its call
stack."""

import re
import time

import pytest
from harness import wait_for
from harness.stm import probed

pytestmark = pytest.mark.stm_only


def test_request_and_call_stack_are_logged(serve):
    """A machine that freezes holds up a VP too; then the next report is 10 s away. Time for which
    others had the CPU does not count."""
    server = probed(serve, "StallWarning 200\nKernelThreads 0", processes=1).start()

    def reported():
        assert server.get("/probe?spin=900").status == 200
        assert server.get("/").status == 200  # the turn is over
        log = server.error_log()
        report = re.search(r"VP 0 was held up for (\d+) ms \(StallWarning 200\) in the request "
                           r'"GET /probe\?spin=900 HTTP/1.1"', log)
        return report if report and "mod_probe.so" in log and "ap_run_handler" in log else None
    assert int(wait_for(reported, "a report with the calls of the handler", 90)[1]) >= 200


def test_at_most_one_report_in_ten_seconds(serve):
    start = time.monotonic()
    server = probed(serve, "StallWarning 100", processes=1).start()
    for _ in range(4):
        assert server.get("/probe?spin=300").status == 200
    assert server.get("/").status == 200
    server.wait_log("was held up for")
    count = server.error_log().count("was held up for")
    assert count <= 1 + (time.monotonic() - start) // 10


def test_waiting_is_no_stall(serve):
    """A request that sleeps gives up the VP: nothing is logged, however long it takes."""
    server = probed(serve, "StallWarning 800", processes=1).start()
    assert server.get("/probe?sleep=1000").status == 200
    assert server.get("/").status == 200
    assert not re.search("was held up for .* in the request", server.error_log())


def test_zero_is_off(serve):
    server = probed(serve, "StallWarning 0", processes=1).start()
    assert server.get("/probe?spin=700").status == 200
    assert server.get("/").status == 200
    assert "was held up for" not in server.error_log()
