# SPDX-License-Identifier: Apache-2.0
"""The plots: no label is cut off or runs into the neighbouring panel, and stm has one colour."""

import json
import re
import xml.etree.ElementTree as ET

import pytest

from bench.httpd import plots
from harness.svg import COLOURS

from .checkout import TOP

SIZES = {"title": 18, "head": 13.5, "small": 11.5}
NAME = "{http://www.w3.org/2000/svg}"
DATA = json.loads((TOP / "docs/bench/results.json").read_text())
PUBLISHED = sorted(TOP.glob("docs/bench/*.svg"))


def texts(picture):
    """(left end, right end, line, text) of each text; a letter is taken as 0.53 of its size wide,
    as the fonts of the style sheet have them on average."""
    for each in ET.fromstring(picture).iter(f"{NAME}text"):
        classes = each.get("class").split()
        size = next((SIZES[name] for name in classes if name in SIZES), 12)
        width = len(each.text) * size * (0.57 if "bold" in classes else 0.53)
        x = float(each.get("x"))
        left = x - (width if "end" in classes else width / 2 if "middle" in classes else 0)
        yield left, left + width, each.get("y"), each.text


def cut_off(picture):
    """Texts that go beyond the picture."""
    width = float(ET.fromstring(picture).get("width"))
    return [text for left, right, _, text in texts(picture) if left < 0 or right > width]


def overlapping(picture):
    """Pairs of texts of one line that do."""
    rows = {}
    for left, right, y, text in texts(picture):
        rows.setdefault(y, []).append((left, right, text))
    found = []
    for row in rows.values():
        row.sort()
        found += [(one[2], other[2]) for one, other in zip(row, row[1:]) if one[1] > other[0]]
    return found


@pytest.mark.parametrize("name", sorted(plots.draw(DATA)))
def test_labels_have_room(name):
    picture = str(plots.draw(DATA)[name])
    assert not cut_off(picture)
    if not name.startswith("curve"):
        assert not overlapping(picture)


def test_long_labels_have_room():
    """A server that was measured with fewer connections, and whose bar is the longest."""
    data = json.loads(json.dumps(DATA))
    for scenario in data["scenarios"].values():
        for number, rounds in enumerate(scenario["rounds"].values()):
            for each in rounds:
                each["connections"] = 10_000 - number
                for figure in each:
                    if figure != "connections":
                        each[figure] = 1234.5 + number
    for picture in plots.draw(data).values():
        assert not cut_off(str(picture))


@pytest.mark.parametrize("path", PUBLISHED, ids=lambda path: path.name)
def test_published(path):
    """What the pages show."""
    picture = path.read_text()
    assert not cut_off(picture)
    light, dark = COLOURS["stm"]
    assert re.findall(r"\.f-stm \{ fill: (#\w+)", picture) == [light, dark]
