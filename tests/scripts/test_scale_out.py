# SPDX-License-Identifier: Apache-2.0
"""docs/scale-out.md shows the configurations that tests/live/test_cluster.py runs."""

import re

from .checkout import TOP

PAGE = (TOP / "docs/scale-out.md").read_text()
FILES = {path.name: path.read_text() for path in (TOP / "conf/cluster").iterdir()}


def test_what_is_shown_is_what_is_run():
    """Each block is in the file that is named before it, word for word."""
    blocks = re.findall(r"`conf/cluster/([\w.]+)`[^`]*```\n(.*?)```", PAGE, re.DOTALL)
    assert {name for name, _ in blocks} == {"front.conf", "backend.conf", "haproxy.cfg",
                                            "nginx.conf"}
    for name, block in blocks:
        assert block in FILES[name], f"{name} has no\n{block}"
    assert len(blocks) == PAGE.count("```") // 2


def test_addresses_are_those_of_the_script():
    """Those on the page and in the drawing are given by scripts/cluster.sh."""
    script = (TOP / "scripts/cluster.sh").read_text()
    ends = {"1", "10", "21", "22", "23", "24", "30"}
    assert "net=198.18.77\n" in script
    for text in (PAGE, (TOP / "docs/img/scale-out.svg").read_text(), *FILES.values()):
        assert set(re.findall(r"198\.18\.77\.(\d+)(?!\d|/)", text)) <= ends
