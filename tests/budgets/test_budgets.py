# SPDX-License-Identifier: Apache-2.0
"""What a request costs a VP is within the budgets: bench/cost/budgets.txt."""

import os

import pytest
from bench.cost import count, scenes
from harness import procs


@pytest.fixture(scope="module", name="counts")
def counted():
    """All counts, which share a server."""
    os.umask(0o022)
    procs.adopt_orphans()
    return count.counted(scenes.SCENES)


def test_everything_is_counted(counts):
    """With any versions, each scene runs, and costs something."""
    assert set(counts) == set(scenes.SCENES)
    for name, kinds in counts.items():
        assert kinds["instructions"] > 1000, name
        assert kinds["allocations"] >= 1, name
        assert kinds.get("calls", 1) >= 1, name


@pytest.mark.parametrize("scene", scenes.SCENES)
def test_no_budget_is_exceeded(scene, counts):
    """By more than 2 %."""
    made_with, budgets = count.read_budgets()
    others = count.other_versions(made_with, scene)
    if others:
        pytest.skip(f"the budgets were made with other versions: {others}")
    found = count.exceeded({scene: counts[scene]}, budgets)
    assert not found, "\n".join([*found, count.HOW])
