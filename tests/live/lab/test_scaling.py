# SPDX-License-Identifier: Apache-2.0
"""What grows and shrinks as connections come and go, under each MPM, according to the lab's
figures.

The four servers run side by side, because prefork, worker and event take seconds for it.
"""

from dataclasses import dataclass, field

import pytest

from harness import wait_for
from lab import mpms
from lab.clients import Kept
from lab.watch import Sample, Watch

# Connections: more than are served at rest, and so many that some VP must end spare state threads.
COUNT = {"prefork": 10, "worker": 24, "event": 24, "stm": 40}
MIN_SPARE, MAX_SPARE, VPS = 5, 10, 4  # stm's, from lab/mpm.conf
TEN = 10                              # ThreadsPerChild
BOUND = 90.0  # seconds: masters start processes once a second, and a busy machine is slow


@dataclass
class Seen:
    """What a server did."""

    rest: Sample = None
    full: Sample = None
    after: Sample = None
    samples: list = field(default_factory=list)
    spare_full: list = None   # state threads of each VP, with connections
    spare_after: list = None  # and when they have gone


def spare_of_all(server, busy):
    """[spare state threads of each VP], once `busy` are busy and each VP keeps its limits."""
    def look():
        vps = mpms.state_threads(server)
        settled = all(MIN_SPARE <= vp["spare"] <= MAX_SPARE for vp in vps)
        fits = sum(vp["busy"] for vp in vps) == busy and \
            all(vp["threads"] == vp["busy"] + vp["spare"] for vp in vps)
        return [vp["spare"] for vp in vps] if fits and settled else None
    return wait_for(look, f"{busy} busy state threads, and spare ones within the limits",
                    BOUND, 0.1)


def come_and_go(made, seen):
    """Connections are made to all servers, stay until every one is served, and end."""
    kept = {mpm: Kept("--finish", "127.0.0.1", server.port, COUNT[mpm])
            for mpm, server in made.items()}
    for mpm, server in made.items():
        wait_for(lambda m=mpm, s=server: sum(mpms.owners(s).values()) == COUNT[m],
                 f"{mpm}: a process for each connection", BOUND, 0.1)
        if mpm == "stm":
            seen[mpm].spare_full = spare_of_all(server, COUNT[mpm])
    yield
    for mpm in made:
        with kept[mpm] as each:
            assert each.end()["answered"] == COUNT[mpm]
    yield


@pytest.fixture(scope="module")
def seen():
    """{mpm: Seen} of all servers."""
    made = {mpm: mpms.make(mpm, "lab-scaling") for mpm in mpms.MPMS}
    found = {mpm: Seen() for mpm in made}
    watches = {}
    try:
        for mpm, server in made.items():
            watches[mpm] = Watch(mpms.start(server), 0.4).__enter__()
        wait_for(lambda: all(watch.samples for watch in watches.values()), "the first look")
        steps = come_and_go(made, found)
        next(steps)
        for mpm, watch in watches.items():
            found[mpm].rest, found[mpm].full = watch.samples[0], watch.look_again()
        next(steps)
        found["stm"].spare_after = spare_of_all(made["stm"], 0)
        for mpm, watch in watches.items():
            if mpm != "stm":
                wait_for(lambda w=watch: w.last().processes < w.peak("processes"),
                         f"{mpm}: fewer processes", BOUND)
            found[mpm].after = watch.look_again()
            found[mpm].samples = list(watch.samples)
    finally:
        for watch in watches.values():
            watch.__exit__()
        for server in made.values():
            server.stop(check=False)
    return found


def test_prefork_takes_a_process_for_each_connection(seen):
    got = seen["prefork"]
    assert all(sample.most_threads == 1 for sample in got.samples)
    assert got.rest.processes < COUNT["prefork"] <= got.full.processes
    assert got.full.kernel_threads == got.full.processes
    assert got.after.processes < max(sample.processes for sample in got.samples)


@pytest.mark.parametrize("mpm", ["worker", "event"])
def test_worker_and_event_take_a_thread_for_each_and_so_processes(seen, mpm):
    got = seen[mpm]
    assert got.rest.processes < got.full.processes
    assert got.full.processes * TEN >= COUNT[mpm] + TEN  # MinSpareThreads
    assert got.full.kernel_threads >= got.full.processes * TEN > got.rest.processes * TEN
    assert got.full.most_threads >= TEN
    assert got.after.processes < max(sample.processes for sample in got.samples)
    assert got.after.kernel_threads < max(sample.kernel_threads for sample in got.samples)


def test_stm_takes_state_threads_alone(seen):
    got = seen["stm"]
    assert {sample.pids for sample in got.samples} == {got.rest.pids}
    assert {sample.processes for sample in got.samples} == {VPS}
    assert {sample.kernel_threads for sample in got.samples} == {VPS}
    assert all(MIN_SPARE <= spare <= MAX_SPARE for spare in got.spare_full + got.spare_after)
    peak = max(sample.state_threads for sample in got.samples)
    assert peak >= COUNT["stm"] + VPS * MIN_SPARE
    assert got.after.state_threads == sum(got.spare_after) < peak
