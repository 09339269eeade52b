# SPDX-License-Identifier: Apache-2.0
"""A limit that makes requests wait is logged once, as event logs AH00484, and again only after the
VP has been well below it. (HelperThreads: waits/test_wait_helpers.py.)"""

import time
from contextlib import ExitStack

import pytest
from harness import MPM, tool
from harness.client import request

EVENT = pytest.mark.skipif(MPM != "stm", reason="beside stm only")
BOTH = pytest.mark.parametrize("mpm", ["stm", pytest.param("event", marks=EVENT)])
AH00484 = "AH00484: server reached MaxRequestWorkers setting"
MAX_THREADS = r"STM0022: VP 0 has reached MaxThreads \(4\): new connections wait; "
KERNEL_THREADS = r"STM0098: VP 0 has reached KernelThreads \(2\): requests that need a kernel "


class Begun:
    """Connections with incomplete requests: each that has got a thread keeps it."""

    def __init__(self, server, count=12):
        whole = request("/", headers=["Connection: close"])
        self.stack, self.rest = ExitStack(), whole[-2:]
        self.conns = [self.stack.enter_context(server.connect()) for _ in range(count)]
        for conn in self.conns:
            conn.send(whole[:-2])

    def finish(self):
        """Sends the rest of the requests, and waits for the responses."""
        for conn in self.conns:
            conn.send(self.rest)
        assert [conn.response().status for conn in self.conns] == [200] * len(self.conns)
        self.stack.close()


@BOTH
def test_max_threads_is_logged_once(serve, mpm):
    server = serve(mpm=mpm, processes=1, threads=4)
    said = MAX_THREADS if mpm == "stm" else AH00484
    begun = Begun(server)
    server.wait_log(said)
    more = Begun(server, 12 if mpm == "stm" else 0)  # take their place: still the same state
    begun.finish()
    more.finish()
    assert server.error_log().count(said.partition(":")[0]) == 1


@pytest.mark.stm_only
def test_max_threads_is_logged_again_after_it_had_room(serve):
    server = serve(processes=1, threads=4)
    begun = Begun(server)
    server.wait_log(MAX_THREADS)
    begun.finish()
    for pause in (3, 6, 12, 24, 48):  # usually the first is enough
        time.sleep(pause)
        begun = Begun(server)
        end = time.monotonic() + 5
        while server.error_log().count("STM0022") < 2 and time.monotonic() < end:
            time.sleep(0.1)
        begun.finish()
        if server.error_log().count("STM0022") == 2:
            return
    pytest.fail("MaxThreads was not logged again")


@BOTH
def test_kernel_threads_are_logged_once(serve, mpm):
    """More computing handlers than may run: one line is logged, and other requests are served."""
    run_on = "RunOn kernel\nKernelThreads 2\n" if mpm == "stm" else ""
    server = serve(mpm=mpm, processes=1, threads=8 if mpm == "stm" else 2,
                   modules=[tool("mod_where.so")],
                   directives=f"{run_on}<Location /compute>\nSetHandler where\n</Location>\n")
    conns = [server.connect() for _ in range(6)]
    for conn in conns:
        conn.send(request("/compute?until=go"))
    server.wait_log(KERNEL_THREADS if mpm == "stm" else AH00484)
    (server.root / "go").touch()
    assert [conn.response().status for conn in conns] == [200] * 6
    for conn in conns:
        conn.close()
    assert server.error_log().count("STM0098" if mpm == "stm" else "AH00484") == 1
    assert "STM0022" not in server.error_log()
