# SPDX-License-Identifier: Apache-2.0
"""bench/cost/count.py: what exceeds a budget, and the file of budgets. tests/budgets compares."""

from bench.cost import count, scenes

ONE = {"instructions": 1000.0, "allocations": 1.0, "calls": 50.0, "futexes": 0.0}


def test_each_scene_has_all_budgets():
    """And no other has."""
    made_with, budgets = count.read_budgets()
    assert made_with
    assert set(budgets) == set(scenes.SCENES)
    assert all(set(kinds) == set(count.KINDS) for kinds in budgets.values())


def test_what_exceeds_a_budget():
    """Two per cent more is tolerated; what could not be counted is not compared."""
    def found(**counts):
        return count.exceeded({"small": {**ONE, **counts}}, {"small": ONE, "tls": ONE})

    assert found() == found(instructions=1020.0, calls=51.0) == []
    assert found(instructions=1021.0) == \
        ["small: 1,021.00 instructions per request; the budget is 1,000.00"]
    assert found(calls=52.0, futexes=1.0) == \
        ["small: 52.00 calls per request; the budget is 50.00",
         "small: 1.00 futexes per request; the budget is 0.00"]
    assert count.exceeded({"small": {"instructions": 2000.0}}, {"small": ONE}) != []
    assert count.exceeded({"small": {"instructions": 1000.0}}, {"small": ONE}) == []


def test_budgets_are_read_as_they_were_written(tmp_path):
    """With the versions; others are named."""
    path = tmp_path / "budgets.txt"
    count.write_budgets({"small": ONE, "tls": dict.fromkeys(count.KINDS, 7.0)}, path)
    made_with, budgets = count.read_budgets(path)
    assert budgets == {"small": ONE, "tls": dict.fromkeys(count.KINDS, 7.0)}
    assert count.other_versions(made_with, "tls") == ""
    gone = made_with.pop()
    assert count.other_versions([*made_with, "libx 1"], "tls") == f"budgets: libx 1; here: {gone}"


def test_a_library_of_one_scene():
    """Another OpenSSL does not keep the other scenes from being compared."""
    made_with = ["libssl3 0 amd64" if line.startswith("libssl3 ") else line
                 for line in count.versions()]
    assert "budgets: libssl3 0 amd64" in count.other_versions(made_with, "tls")
    assert count.other_versions(made_with, "small") == ""


def test_what_comes_now_and_then_is_not_counted():
    """Nor is a step that cost less than all the others."""
    assert count.quartile([5, 7, 7, 9, 7, 900, 7, 8]) == 7
