# SPDX-License-Identifier: Apache-2.0
"""The lab's pages: the figures are filled in from results, and what they refer to exists."""

import re

import pytest

from harness import ROOT
from lab import figures

DATA = {
    "machine": {"cpu": "Some CPU", "cpus": 2, "system": "Some Linux"},
    "scenarios": {
        "small": {"title": "small file", "seconds": 6, "failures": {"nginx": "no nginx here"},
                  "rounds": {"stm": [{"requests/s": 30000.0, "CPU us/request": 20.0},
                                     {"requests/s": 50000.0, "CPU us/request": 24.0},
                                     {"requests/s": 40000.0, "CPU us/request": 22.0}],
                             "event": [{"requests/s": 20000.0, "CPU us/request": 50.25}] * 3}},
        "idle": {"title": "idle", "seconds": 6, "failures": {},
                 "rounds": {"stm": [{"PSS bytes/connection": 0.0}]}}}}
PAGE = f"before\n{figures.BEGIN}\nold\n{figures.END}\nafter\n"


def test_figures_are_put_between_the_marks():
    page = figures.fill(PAGE, figures.text(DATA))
    cells = [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("| ")]
    rows = {title: values for title, *values in cells}
    speed = rows["small file, kept connections: requests/s"]
    assert speed == ["–", "–", "20,000", "40,000", "–"]
    assert rows["the same: CPU µs per request"] == ["–", "–", "50.2", "22", "–"]
    assert rows["10,000 idle connections, plain HTTP/1.1: bytes each"] == ["–", "–", "–", "0", "–"]
    assert "- nginx, small file: no nginx here." in page
    assert "medians of 1 to 3 rounds with 6 s of load" in page
    assert page.startswith("before\n") and page.endswith("\nafter\n") and "old" not in page
    assert figures.fill(page, figures.text(DATA)) == page


def test_the_page_has_marks():
    page = (ROOT / "docs/which-mpm.md").read_text(encoding="utf-8")
    assert "what was measured" in figures.fill(page, "what was measured")


@pytest.mark.parametrize("name", ["docs/lab.md", "docs/which-mpm.md", "README.md"])
def test_links_lead_somewhere(name):
    page = ROOT / name
    links = re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8"))
    assert links
    assert [link for link in links if not (page.parent / link).exists()] == []
