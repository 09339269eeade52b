# SPDX-License-Identifier: Apache-2.0
"""The live view in a terminal of its own: what it shows of sample files, at any size.
tests/live/test_live_view.py shows it a server."""

import os
import re
import shutil
import signal
import time

import pytest

from .test_stmstat import STMSTAT, own_master, patched, put, sample

terminal = pytest.importorskip("harness.terminal", reason="python3-pyte is not installed")
SIZES = [(80, 24), (40, 10), (200, 60), (20, 5), (12, 3), (5, 2), (1, 1)]


@pytest.fixture(name="directory")
def _directory(tmp_path):
    put(tmp_path, 0, own_master(sample()))
    return tmp_path


def many(directory, vps=64):
    """Scoreboards of many VPs."""
    for ordinal in range(vps):
        put(directory, ordinal, own_master(sample(ordinal)))


def view(directory, *arguments, **size):
    """The live view in a terminal."""
    return terminal.Terminal([STMSTAT, "-d", directory, "-n", "0.2", *arguments], **size)


def foot(seen):
    """The first and last line shown, and how many there are."""
    found = re.search(r" (\d+)-(\d+)/(\d+) ", seen.lines[-1])
    return tuple(map(int, found.groups())) if found else None


def whole(columns):
    """Whether title, sums and foot are in place: nothing has wrapped or scrolled."""
    def look(seen):
        lines = seen.lines
        starts = {0: "stmstat", 1: "conns ", len(lines) - 1: "? help  q quit"}
        if len(lines) < 3:
            del starts[1]
        if len(lines) == 1:
            return True  # it has survived that
        return all(lines[at].startswith(text[:columns].rstrip()) for at, text in starts.items())
    return look


@pytest.mark.parametrize("columns, lines", SIZES)
@pytest.mark.parametrize("vps", [1, 64])
def test_every_size(directory, columns, lines, vps):
    """Every pane, with its last page and the help: the frame stays intact."""
    many(directory, vps)
    with view(directory, columns=columns, lines=lines) as seen:
        for key in ("d", "end", "p", "home", "c", "page down", "r", "s", "right", "d", "v", "up"):
            name = {"p": "VPs by", "c": "conn", "d": "coun"}.get(key, "")
            seen.press(key)
            seen.wait(lambda at, word=name: whole(columns)(at) and
                      (columns < 40 or word in at.lines[-1]), "a frame")
        seen.press("?")
        seen.wait(lambda at: at.lines[-1].startswith(("any", "arr")[lines < 13][:columns]),
                  "the help")
        seen.press("x", "q")
        assert seen.finish() == 0


def test_what_is_shown_at_80_by_24(directory):
    with view(directory) as seen:
        seen.wait("all.connections", "the counters")
        assert re.match(r"stmstat \d\d:\d\d:\d\d  ", seen.lines[0])
        assert seen.lines[1].startswith("conns 3  busy 0/0  0.0 req/s  queued 0  sent 0B/s")
        assert sorted(seen.lines[2].removeprefix("busy: ").rstrip().split(", ")) == [
            "1 lock", "1 reading from"]
        assert seen.lines[3].split()[:5] == ["VP", "state", "busy/thrds", "conns", "req/s"]
        assert seen.lines[4].split()[:4] == ["0", "running", "0/0", "3"]
        head = next(line for line in seen.lines if line.startswith("name"))
        assert head.split() == ["name", "value", "now", "10", "s"]
        seen.press("v")
        seen.wait("counters by table, detail", "the next level")
        seen.press("end")
        last = seen.wait(lambda at: foot(at) and foot(at)[1] == foot(at)[2] and foot(at),
                         "the last page")
        assert last[0] == last[2] - (last[1] - last[0])
        assert "accept_queue_limit" in seen.text
        seen.press("home")
        seen.wait(lambda at: foot(at)[0] == 1, "the first page")


def test_paging_goes_through_all(directory):
    """Each line is shown, and none twice except the one that overlaps."""
    with view(directory) as seen:
        seen.wait(foot, "the list")
        names = []
        while True:
            first, last, count = foot(seen)
            names += [line.split()[0] for line in seen.lines if re.match(r"(all|vp)\.", line)]
            if last == count:
                break
            seen.press("page down")
            seen.wait(lambda at, was=first: foot(at) and foot(at)[0] > was, "the next page")
        assert len(set(names)) == count and len(names) >= count
        seen.press("page up")
        seen.wait(lambda at: foot(at)[1] < count, "the page before")


def test_units_for_people(directory):
    with view(directory, "-f", "vp.0.*time*", "-f", "vp.0.longest*", "-f", "vp.0.state",
              "-f", "vp.0.cpu", "-f", "*stack_high*") as seen:
        seen.wait("vp.0.cpu", "the counters")
        seen.press("v")
        seen.wait("stack_high", "details")
        values = dict(re.findall(r"^(vp\.0\.\w+) +(\S+(?: [a-z]\S*)*)", seen.text, re.M))
        assert (values["vp.0.state"], values["vp.0.cpu"]) == ("running", "none")
        assert values["vp.0.longest_turn_seconds"] == "1.5 s"
        assert values["vp.0.start_time_seconds"] == "never"
        assert re.match(r".* ago$", values["vp.0.heartbeat_time_seconds"])


def test_sorting(directory):
    for ordinal in (1, 2):
        put(directory, ordinal, own_master(sample(ordinal)))
    with view(directory) as seen:
        seen.wait("counters by table", "the counters")
        seen.press("s", "s")
        seen.wait("counters by value", "by value")
        shown = [line.split()[0] for line in seen.lines if re.match(r"(all|vp)\.", line)]
        assert shown[0] == "all.longest_turn_seconds" and "all.connections" in shown
        seen.press("s", "s", "p", "r")
        seen.wait(lambda at: [line.split()[0] for line in at.lines
                              if " running " in line] == ["2", "1", "0"], "VPs backwards")
        seen.press("c", "s")
        seen.wait("connections by Status", "by a key")
        states = [line.split()[2] for line in seen.lines if re.match(r" +\d+ +\d+  ", line)]
        assert states == ["Keepalive"] * 3 + ["Writing"] * 3


def test_connections_in_columns(directory):
    with view(directory) as seen:
        seen.press("c")
        seen.wait("Keepalive", "the connections")
        head = next(line for line in seen.lines if line.startswith(" VP"))
        row = next(line for line in seen.lines if "Writing" in line)
        assert head.index("Status") == row.index("Writing")
        assert head.index("Request") == row.index("GET")
        assert 'GET /"quoted\\?[31m? HTTP/1.1' in row  # a client's escape sequences are dropped
        seen.press("right")
        seen.wait(lambda at: any(line.startswith("conn") for line in at.lines), "columns further")


@pytest.mark.parametrize("to", [(40, 10), (200, 60), (20, 5), (81, 25)])
def test_another_size_in_the_middle(directory, to):
    many(directory)
    with view(directory, "-n", "600") as seen:  # only the new size makes it redraw
        seen.wait("and 59 more", "the table, cut")
        seen.press("end")
        seen.wait(lambda at: foot(at) and foot(at)[1] == foot(at)[2], "the last page")
        for columns, lines in (to, (80, 24)):
            seen.resize(columns, lines)
            seen.wait(whole(columns), "the new frame")
        seen.wait("and 59 more", "the table again")


def test_environment_does_not_fix_the_size(directory):
    with view(directory, env={"LINES": "24", "COLUMNS": "80"}) as seen:
        seen.wait(foot, "the list")
        seen.resize(60, 12)
        seen.wait(lambda at: at.lines[-1].startswith("? help"), "the foot at the new bottom")


def test_64_vps_at_80_by_24(directory):
    """The table of VPs leaves room for the counters; p shows all VPs."""
    many(directory)
    with view(directory) as seen:
        seen.wait("and 59 more: p shows them", "the table, cut")
        first, last, _ = seen.wait(foot, "the counters")
        assert last - first >= 8
        seen.press("p", "end")
        seen.wait(lambda at: re.search("^ 63 running", at.text, re.M) and foot(at) and
                  foot(at)[1:] == (64, 64), "the last VP")


# --- the truth in words --------------------------------------------------------------------------

def test_directory_that_appears_is_emptied_and_disappears(tmp_path):
    place = tmp_path / "scoreboards"
    with view(place) as seen:
        seen.wait("No such file or directory", "what is missing")
        seen.press("c", "s", "d", "end", "home", "?", "x")  # with nothing to act upon
        place.mkdir()
        seen.wait("there are no scoreboards", "an empty directory")
        put(place, 0, own_master(sample()))
        seen.wait("all.connections", "the counters")
        for path in place.iterdir():
            path.unlink()
        seen.wait(lambda at: "there are no scoreboards" in at.words and
                  "all.connections" not in at.text, "an emptied directory")
        shutil.rmtree(place)
        seen.wait("No such file or directory", "a directory that is gone")
        seen.press("q")
        assert seen.finish() == 0


def test_stopped_dead_and_silent(directory):
    with view(directory) as seen:
        seen.wait(" running ", "a VP")
        put(directory, 0, own_master(sample(beat=time.time() - 75)))
        seen.wait("no heartbeat for 1m", "a silent VP")
        seen.wait("0 silent ", "its state")
        put(directory, 0, patched(own_master(sample()), "<Q", current=0))
        seen.wait("VP 0: no process holds its seat now", "an empty seat")
        put(directory, 0, patched(sample(beat=time.time() - 75), "<Q", running=0))
        seen.wait("the server has stopped; the last heartbeat was 1m", "a stopped server")
        put(directory, 0, own_master(sample()))
        seen.wait(lambda at: "has stopped" not in at.text and " running " in at.text,
                  "another server")


def test_filter_without_a_match(directory):
    with view(directory, "-f", "nonsense") as seen:
        seen.wait("no value matches the filter (-f)", "the reason")


def test_bad_file_beside_a_good_one(directory):
    put(directory, 1, b"nonsense" * 1000)
    with view(directory) as seen:
        seen.wait("/1 is not an STM scoreboard file", "what is wrong")
        seen.wait("1 unreadable is not an STM", "its line")
        seen.wait("all.connections 137 ", "the other's values")


# --- its end -------------------------------------------------------------------------------------

@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_end_it(directory, number):
    with view(directory, "-n", "600") as seen:
        seen.wait(foot, "the list")
        os.kill(seen.pid, number)
        assert seen.finish() == 0


def test_unknown_terminal(directory):
    with view(directory, env={"TERM": "nonsense"}) as seen:
        seen.wait("cannot use this terminal", "the reason")
        assert seen.finish() == 2
