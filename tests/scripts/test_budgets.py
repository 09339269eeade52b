# SPDX-License-Identifier: Apache-2.0
"""bench/cost/count.py: what exceeds a budget, and the file of budgets."""

from bench.cost import count, scenes


def test_each_scene_has_budgets():
    """All scenes are in the file, and each has at least one."""
    _, budgets = count.read_budgets()
    assert set(budgets) == set(scenes.SCENES)
    assert all(budgets.values())


def test_what_exceeds_a_budget():
    """Two per cent more is tolerated; what is not in the budget is not compared."""
    budgets = {"small": {"instructions": 1000.0, "calls": 5.0}}
    counts = {"instructions": 1020.0, "allocations": 99.0, "calls": 5.1, "futexes": 1.0}
    assert count.exceeded({"small": counts}, budgets) == []
    assert count.exceeded({"small": {**counts, "instructions": 1021.0}}, budgets) == \
        ["small: 1,021.00 instructions per request; the budget is 1,000.00"]
    assert count.exceeded({"small": {**counts, "calls": 5.2}}, budgets) == \
        ["small: 5.20 calls per request; the budget is 5.00"]


def test_budgets_are_read_as_they_were_written(tmp_path):
    """With the versions, and without what is left out."""
    counts = {"small": dict.fromkeys(count.KINDS, 2.5), "tls": dict.fromkeys(count.KINDS, 7.0)}
    path = tmp_path / "budgets.txt"
    count.write_budgets(counts, {("tls", "futexes")}, path)
    del counts["tls"]["futexes"]
    assert count.read_budgets(path) == (count.versions(), counts)
