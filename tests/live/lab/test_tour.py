# SPDX-License-Identifier: Apache-2.0
"""The unattended tour: its report, its pictures, and its process viewer."""

import re
import subprocess
from xml.etree import ElementTree

import pytest

from harness import wait_for
from lab import mpms, picture, tour
from lab.watch import Sample

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def short(monkeypatch):
    """A tour that does not linger."""
    for name, value in {"CONNECTIONS": 30, "FRAGILE": 20, "REST": 0.2, "HOLD": 0.2, "DECLINE": 1.0,
                        "STEADY": 0.4, "FRESH": 0.0,
                        "GROWTH_BOUND": 90.0}.items():
        monkeypatch.setattr(tour, name, value)


def test_the_whole_tour_of_stm(short, tmp_path, capsys):
    watch, outcome = tour.tour("stm", tmp_path)
    report = (tmp_path / "stm.txt").read_text()
    assert report in capsys.readouterr().out
    for line in ("Server MPM:     stm", "LoadModule mpm_stm_module", "mpm_stm_module (shared)",
                 "5 processes, 5 kernel threads", "accepted 30, refused 0, closed 0, open 30",
                 f"kill -SEGV {outcome.victim}", "answered 30: 30 with 200"):
        assert line in report, line
    assert re.search(r"^So the document root is /.*/htdocs$|^strace may not attach", report, re.M)
    assert len(re.findall(r"vp\.[0-3]\.threads_busy +\d", report)) == 3 * 4
    assert watch.full.connections >= 30  # those of its start may still be closing
    drawn = ElementTree.parse(tmp_path / "stm.svg").getroot()
    assert [t.text for t in drawn.iter(f"{SVG}text")].count("State threads") == 1


class Past:
    """A Watch of the past."""

    def __init__(self, *state_threads):
        self.samples = [Sample(float(at), at, 4, 4, count, 2.5)
                        for at, count in enumerate(state_threads)]
        self.phases = [(0.0, "at rest"), (1.0, "<many> & more")]

    def peak(self, name):
        """As in Watch."""
        return max(getattr(sample, name) for sample in self.samples)


def test_pictures_show_what_was_seen():
    seen = {"stm": Past(20, 120, 40), "event": Past(0, 0, 0)}
    one = ElementTree.fromstring(picture.one("stm", seen["stm"], "a machine"))
    texts = [text.text for text in one.iter(f"{SVG}text")]
    assert {"120", "40", "State threads", "<many> & more", "a machine"} <= set(texts)
    event = ElementTree.fromstring(picture.one("event", seen["event"], ""))
    assert "State threads" not in [text.text for text in event.iter(f"{SVG}text")]
    both = ElementTree.fromstring(picture.together(seen, ""))
    lines = [path for path in both.iter(f"{SVG}polyline") if "line" in path.get("class")]
    assert len(lines) == 4 + 3  # event has no state threads


@pytest.mark.parametrize("value, end", [(1, 1), (4, 4), (101, 150), (131, 150), (181, 200),
                                        (0.5, 1), (9.9, 10)])
def test_axes_end_with_round_numbers(value, end):
    assert picture.ceiling(value) == end


def viewer(*arguments):
    """Runs lab/procs.sh."""
    return subprocess.run([mpms.LAB / "procs.sh", *map(str, arguments)], capture_output=True,
                          text=True, check=False)


def test_viewer_of_processes(serve):
    server = serve(mpm="worker", processes=2, threads=30)

    def at_rest():
        now = {pid: mpms.threads(pid) for pid in [server.master, *server.children()]}
        return now if sorted(now.values()) == [1, 32, 32] else None
    started = wait_for(at_rest, "all of the workers' threads")
    lines = viewer(server.root / "run/httpd.pid").stdout.splitlines()
    assert lines[0].split() == ["USER", "PID", "PPID", "NLWP", "PSS_KB", "COMMAND"]
    shown = {int(line.split()[1]): int(line.split()[3]) for line in lines[1:-1]}
    assert shown == started
    assert lines[-1] == f"3 processes, {sum(shown.values())} kernel threads"
    every = viewer("-L", server.master).stdout.splitlines()
    assert every[-1] == lines[-1]
    assert len(every) == 1 + 12 + 1 + 8 + 1  # the middle is left out
    assert f"[... {sum(shown.values()) - 20} more lines ...]" in every


def test_viewer_without_a_server(tmp_path):
    for what in (tmp_path / "httpd.pid", 2 ** 22 - 1):
        run = viewer(what)
        assert (run.returncode, run.stdout) == (1, "")
        assert "procs.sh: no " in run.stderr
