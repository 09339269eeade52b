# SPDX-License-Identifier: Apache-2.0
"""Long runs say what is done and what is left."""

import re

import pytest
from harness import progress

from .checkout import TOP


@pytest.fixture
def clock(monkeypatch):
    """Time that passes when told to."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_steps_say_what_is_left(clock, capsys):
    seen = []
    for name in progress.steps(["one", "two", "three"]):
        seen.append(name)
        clock[0] += 90
    assert seen == ["one", "two", "three"]
    assert capsys.readouterr().err.splitlines() == [
        "[1/3] one", "[2/3] two, about 3:00 left", "[3/3] three, about 1:30 left"]


def test_on_a_terminal_a_line_replaces_the_last(clock, capsys, monkeypatch):
    monkeypatch.setattr(progress.sys.stderr, "isatty", lambda: True, raising=False)
    list(progress.steps(["one", "two"]))
    assert capsys.readouterr().err == "\r\033[K[1/2] one\r\033[K\r\033[K[2/2] two, " \
        "about 0:00 left\r\033[K"
    list(progress.steps(["one"], whole=True))
    assert capsys.readouterr().err == "\r\033[K[1/1] one\n"


@pytest.mark.parametrize("program", ["lab/tour.py", "bench/census/census.py", "bench/cost/cost.py",
                                     "bench/helpers/helpers.py", "bench/micro/run.py"])
def test_long_runs_use_it(program):
    assert re.search(r"\bin progress\.steps\(|, progress\.steps\(", (TOP / program).read_text())
