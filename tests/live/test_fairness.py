# SPDX-License-Identifier: Apache-2.0
"""A closed system, in which every connection always has one request outstanding: none fails, and
the order in which they are served gives each its share. What is compared is counts: while one
connection has got so many answers, how many have the others? The time that it takes does not
matter."""

import pytest
from bench.httpd.tails import owners
from harness import MPM
from harness.drive import Closed
from harness.stm import probed

LONG = 120_000  # ms: bounds a run that is to end by its counts
PATIENCE = 120  # s: what has no answer then has failed
# Of stm, threads that must suffice. Event closes kept-alive connections while it has too few.
FEW = 64 if MPM == "stm" else 1600


def many(*numbers):
    """Of stm only: event leaves some of a thousand busy connections behind, new ones outside."""
    return pytest.param(*numbers, marks=pytest.mark.stm_only)


@pytest.fixture
def closed(serve):
    """A factory of servers, and of clients for them."""
    made = []

    def make(processes, path="/", threads=FEW):
        server = probed(serve, processes=processes, threads=threads)
        if MPM == "event":  # crashes at times when it stops with thousands of connections
            server.allowed.append("AH00052")
        made.append(Closed(server.start().port, path, patience=PATIENCE))
        return server, made[-1]
    yield make
    for each in made:
        each.close()


@pytest.mark.parametrize("count, each", [(64, 400), many(1000, 30)])
def test_connections_of_one_process_are_served_in_turn(closed, count, each):
    """One that has got its answer asks again, and then all others are before it. A connection is
    behind the busiest by less than a quarter: events that come together are taken together."""
    _, clients = closed(1)
    assert clients.open(count) == (count, 0)
    got = clients.run(LONG, each)
    assert got.failed == 0 and got.open == count, got
    answers = clients.each().values()
    assert len(answers) == count
    assert max(answers) == each
    assert min(answers) >= each * 3 // 4


@pytest.mark.stm_only
def test_10000_clients_of_two_vps(closed):
    """None of their requests fails. Each VP has its part of the connections, and serves them in
    turn: how fast a VP is may depend on the kernel's scheduler, but not what is whose share."""
    server, clients = closed(2)
    assert clients.open(10_000) == (10_000, 0)
    got = clients.run(LONG, 8)
    assert got.failed == 0 and got.open == 10_000, got
    answers, owner = clients.each(), owners(server)
    of_each = [[count for client, count in answers.items() if owner[client] == pid]
               for pid in server.children()]
    assert len(of_each) == 2 and min(map(len, of_each)) >= 4_000, list(map(len, of_each))
    for answers in of_each:
        assert min(answers) >= max(answers) - 3, (min(answers), max(answers))


@pytest.mark.parametrize("busy, new", [(64, 200), many(1000, 200)])
def test_new_connections_are_not_behind_old_ones(closed, busy, new):
    """So many come at once, while every old one keeps asking. A VP accepts one or more of them each
    time that it has served the old ones once."""
    _, clients = closed(1)
    assert clients.open(busy) == (busy, 0)
    got = clients.fresh(new)
    assert got.failed == 0 and got.open == busy + new, got
    assert got.most <= 2 * new, got


@pytest.mark.stm_only
def test_new_connections_get_in_while_all_threads_wait(closed):
    """Five times as many requests as MaxThreads wait in a module at any moment, so that there is
    always somebody in the queue for a thread. New connections have their turn all the same."""
    busy, new = 40, 20
    _, clients = closed(1, "/probe?sleep=10", threads=8)
    assert clients.open(busy) == (busy, 0)
    got = clients.fresh(new)
    assert got.failed == 0 and got.open == busy + new, got
    assert got.most <= 4 * new, got
