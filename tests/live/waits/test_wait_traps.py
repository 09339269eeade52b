# SPDX-License-Identifier: Apache-2.0
"""Traps for code that was not written for state threads, as an httpd module would fall into
them."""

import signal

import pytest

from harness import stm

from .inflight import InFlight, quick

pytestmark = pytest.mark.stm_only


@pytest.fixture(name="server", scope="module")
def one_vp(serve_module):
    """One VP with the probe module."""
    return stm.probed(serve_module, processes=1, threads=100).start()


def test_a_modules_kernel_threads_may_use_its_requests_pool(server):
    """Trap 7: the allocator shared by all connections of the VP gets a mutex in time."""
    with InFlight(server, ["/probe?threads=2"] * 4) as flight:
        while not flight.answered():
            quick(server, 20)  # each allocates and frees memory of the same allocator
        got = flight.finish()
    assert [response.text.split("\n")[0] for response in got] == ["is"] * 4
    quick(server)


@pytest.mark.parametrize("name", ["SIGHUP", "SIGUSR1", "SIGWINCH", "SIGVTALRM"])
def test_signals_need_no_room_on_a_small_stack(server, name):
    """Trap 9: signals that a VP catches are handled on a stack of their own."""
    got = server.get(f"/probe?signal={getattr(signal, name):d}")
    assert got.text.split("\n")[0] == "0"
    quick(server)


def test_code_is_never_interrupted_between_two_waits(server):
    """Trap 10: until its next wait, code that is not thread-safe has its globals to itself."""
    with InFlight(server, ["/probe?kept=20"] * 20) as flight:
        got = flight.finish()
    assert [response.text.split("\n")[0] for response in got] == ["kept"] * 20


def test_over_a_wait_a_global_is_everyones(serve):
    """Trap 10, the rest of it: nothing keeps the globals of state threads apart."""
    server = stm.probed(serve, processes=1, threads=100).start()
    with InFlight(server, ["/probe?kept-by-one-of=20"] * 20) as flight:
        got = flight.finish()
    assert sorted(response.text.split("\n")[0] for response in got) == ["kept"] + ["lost"] * 19
