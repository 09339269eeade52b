# SPDX-License-Identifier: Apache-2.0
"""One process crashes, under each MPM: which connections suffer, and that another one replaces
it."""

from lab import crash


def test_a_crash_is_contained(each_mpm, monkeypatch):
    monkeypatch.setattr(crash, "PATIENCE", 90.0)
    # More than two processes' threads: each of the three has some. prefork has one process each.
    count = 6 if each_mpm.mpm == "prefork" else 20
    outcome = crash.crash(each_mpm, count)
    assert sum(outcome.held.values()) == count
    assert len(outcome.held) == (count if each_mpm.mpm == "prefork" else 3)
    # The connections of the dead process are lost, and only they; all others are served.
    assert outcome.lost == outcome.held[outcome.victim]
    assert outcome.answered == count - outcome.lost
    assert set(outcome.held) - {outcome.victim} <= outcome.survivors
    assert outcome.victim not in outcome.survivors
    # Others serve, and a new process is started and serves too.
    assert outcome.first_answer is not None
    assert outcome.replaced is not None and outcome.serves is not None
    each_mpm.wait_log(rf"child pid {outcome.victim} exit signal Segmentation fault")
