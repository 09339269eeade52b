# SPDX-License-Identifier: Apache-2.0
"""bench/httpd: medians, ratios, targets, tables, plots of made-up results; noted failures."""

import json
import signal
import time
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field

import pytest

from bench.httpd import compare, plots, report
from bench.httpd.scenarios import CURVE, SCENARIOS, Run, Target
from bench.httpd.servers import KINDS, PREFORK_LIMIT, Need, sizes
from bench.httpd.tails import CLIENTS as TAILS
from harness.figures import shown

MACHINE = {"cpu": "A <CPU> & more", "cpus": 2, "memory": "4 GB", "kernel": "Linux 6.1 x86_64",
           "system": "Debian", "versions": {"wrk": "4.1"}}
FIGURES = ("requests/s", "CPU us/request", "p50 us", "p99 us", "client CPUs", "failed")
DOWNLOAD = ("CPU s/GB", "GB/s", "failed")
BESIDE = ("p99 us alone", "p99 us beside", "requests/s beside", "p99 beside/alone",
          "files being read", "failed")
HOLDUPS = {"disk": BESIDE, "compute": (*BESIDE, "handlers/s", "handlers/s beside"),
           "reads": ("files being read", "kernel threads", "PSS bytes/request", "failed"),
           "names": ("seconds", "failed"), "programs": ("seconds", "failed")}
SPECIAL = {
    "slow": ("p50 ms", "p99 ms", "PSS bytes/request", "kernel threads", "connections",
             "in flight", "failed"),
    "hanging": ("p99 us alone", "p99 us beside", "p99 beside/alone", "failed"),
    "idle": ("PSS bytes/connection", "connections", "failed"),
    **{f"idle-{kind}": ("PSS bytes/connection", "connections")
       for kind in ("tls", "http2", "http2-tls")},
    **{f"streams-{mode}": ("PSS bytes/stream", "PSS MB", "CPU us/message", "messages/s",
                           "connections", "failed") for mode in ("websocket", "events")},
    **{f"tails-{count}": (*FIGURES, "p99.9 us", "longest us") for count in TAILS},
    "download": DOWNLOAD, "download-sendfile": DOWNLOAD,
    **{f"curve-{count}": ("requests/s", "PSS MB", "p99 us", "failed") for count in CURVE},
    **{f"{name}-{count}vp": figures for name, figures in HOLDUPS.items() for count in (1, 2)},
}


def entry(title, rounds, failures=None):
    """One scenario's part of the results."""
    return {"title": title, "seconds": 2, "rounds": rounds, "failures": failures or {}}


def made_up():
    """Results of all scenarios and servers; prefork fails where it cannot."""
    scenarios = {}
    for scenario in SCENARIOS:
        rounds, failures = {}, dict(scenario.without)
        for number, kind in enumerate(KINDS):
            if kind not in failures:
                rounds[kind] = [{figure: (number + 1) * 100.0 + turn
                                 for figure in SPECIAL.get(scenario.name, FIGURES)}
                                for turn in range(3)]
        scenarios[scenario.name] = entry(scenario.title, rounds, failures)
    return {"machine": MACHINE, "scenarios": scenarios}


def test_medians():
    """Of each figure over the rounds; an outlier does not matter."""
    rounds = {"stm": [{"a": 1, "b": 9}, {"a": 1000, "b": 7}, {"a": 2, "b": 8}],
              "event": [{"a": 3, "b": 1}, {"a": 5, "b": 1}]}
    got = report.medians(entry("", rounds))
    assert got == {"stm": {"a": 2, "b": 8}, "event": {"a": 4, "b": 1}}


@pytest.mark.parametrize("values, against, wanted", [
    ({"stm": {"a": 6}, "event": {"a": 4}}, "event", 1.5),
    ({"stm": {"a": 0}, "event": {"a": 4}}, "event", 0),
    ({"stm": {"a": 6}, "event": {"a": 0}}, "event", None),
    ({"stm": {"a": 6}, "event": {"a": 4}}, "nginx", None),
    ({"event": {"a": 4}}, "event", None),
])
def test_ratio(values, against, wanted):
    """None where one of the two was not measured, or is 0."""
    assert report.ratio(values, "a", against) == wanted


@pytest.mark.parametrize("target, measured, verdict", [
    (Target("rate", "event", at_least=1.5), "1.5", "met"),
    (Target("rate", "event", at_least=1.6), "1.5", "not met"),
    (Target("cpu", "event", at_most=0.5), "0.5", "met"),
    (Target("cpu", "event", at_most=0.4), "0.5", "not met"),
    (Target("cpu", "event", at_most=0.4, stretch=True), "0.5", "not met (stretch)"),
    (Target("cpu", "nginx", at_most=0.4), "", report.NOT_MEASURED),
    (Target("rate", at_most=6), "6", "met"),
    (Target("failed", at_most=0), "0", "met"),
    (Target("rate", at_most=5), "6", "not met"),
    (Target("missing", at_most=5), "", report.NOT_MEASURED),
])
def test_judge(target, measured, verdict):
    """Bounds belong to what is good, for ratios and for figures themselves."""
    values = {"stm": {"rate": 6.0, "cpu": 2.0, "failed": 0}, "event": {"rate": 4.0, "cpu": 4.0}}
    got = report.judge(target, "title", values)
    assert (got.measured, got.verdict) == (measured, verdict)


def test_who_fails_does_not_meet_a_target():
    """A server that hangs in a scenario has no figures, and must not be mistaken for unmeasured."""
    scenario = SCENARIOS[0]
    data = {"scenarios": {scenario.name: entry("", {"event": [dict.fromkeys(FIGURES, 1.0)]},
                                               {"stm": "Overrun: not done after 75 s"})}}
    verdicts = report.verdicts(data, [scenario])
    assert verdicts and all(each.verdict == "not met" and each.measured == "" for each in verdicts)


def test_targets_name_figures():
    """A target that names a figure which no scenario has would never be judged."""
    for verdict in report.verdicts(made_up()):
        assert verdict.verdict != report.NOT_MEASURED, verdict


@pytest.mark.parametrize("value, text", [
    (0, "0"), (0.1234, "0.123"), (12.34, "12.3"), (999.4, "999"), (1234.5, "1,234"),
    (1234567, "1,234,567")])
def test_shown(value, text):
    """Three digits, or all before the point."""
    assert shown(value) == text


def rows(markdown):
    """The cells of all tables' rows, by the first cell."""
    lines = [line for line in markdown.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_table():
    """Every table's rows are as wide as its head; ratios are there, failures said."""
    text = report.text(made_up(), ["static.svg"])
    for block in text.split("\n\n"):
        widths = {len(row) for row in rows(block)}
        assert len(widths) <= 1, block
        assert len({len(line) for line in block.splitlines() if line.startswith("|")}) <= 1, block
    assert ["requests/s", "101", "201", "301", "401", "501", "0.50", "0.20"] in rows(text)
    assert "prefork: mod_http2 does not work under prefork." in text
    assert "![static](static.svg)" in text
    assert MACHINE["cpu"] in text


def test_nothing_measured():
    """An interrupted run has a report, too."""
    text = report.text({"machine": MACHINE, "scenarios": {}}, ())
    assert "# Results" in text
    assert not plots.draw({"machine": MACHINE, "scenarios": {}})


def inside(picture):
    """Whether every box, line and dot lies within the picture."""
    root = ET.fromstring(str(picture))
    width, height = float(root.get("width")), float(root.get("height"))
    for element in root.iter():
        tag = element.tag.rsplit("}", 1)[-1]
        if tag == "rect":
            assert 0 <= float(element.get("x")) <= width - float(element.get("width"))
        for name, limit in (("x1", width), ("x2", width), ("cx", width), ("x", width),
                            ("y1", height), ("y2", height), ("cy", height), ("y", height)):
            assert 0 <= float(element.get(name, 0)) <= limit, ET.tostring(element)
    return root


def test_pictures(folder):
    """Well-formed; all servers in each; nothing outside the picture; both colour schemes."""
    data = made_up()
    report.write(data, folder)
    names = {path.name for path in folder.glob("*.svg")}
    assert names == {f"{chart.name}.svg" for chart in plots.CHARTS} | {
        "curve-throughput.svg", "curve-memory.svg"}
    for name, picture in plots.draw(data).items():
        root = inside(picture)
        texts = "".join(root.itertext())
        assert all(kind in texts for kind in KINDS), name
        assert "prefers-color-scheme: dark" in texts
        assert (folder / name).read_text() == str(picture)
        assert name in (folder / "results.md").read_text()


def test_picture_of_part():
    """One scenario of one server is drawn; what is missing is said."""
    data = {"machine": MACHINE, "scenarios": {
        "small": entry("", {"stm": [{"requests/s": 5.0, "CPU us/request": 1.0}]},
                       {"nginx": "it broke & <went>"})}}
    pictures = plots.draw(data)
    assert list(pictures) == ["static.svg"]
    texts = "".join(inside(pictures["static.svg"]).itertext())
    assert "it broke & <went>" in texts and "not measured" in texts


@pytest.mark.parametrize("highest", [1.0, 9.9, 58.0, 101.0, 99_999.0, 100_000.0])
@pytest.mark.parametrize("logarithmic", [False, True])
def test_axes(highest, logarithmic):
    """All values lie between the first and the last of a handful of lines."""
    axes = plots.Axes([0.7, highest], logarithmic)
    assert axes.ticks()[0] <= 0.7 and axes.ticks()[-1] >= highest
    assert 2 <= len(axes.ticks()) <= 8
    assert axes.top <= axes.y(highest) <= axes.y(0.7) <= axes.bottom


def test_labels_apart():
    """The labels of lines that end close together keep their order and do not overlap."""
    placed = plots.apart([(100, "b"), (98, "a"), (101, "c"), (200, "d")])
    assert [label for _, label in placed] == ["a", "b", "c", "d"]
    assert all(lower - upper >= 15 for (upper, _), (lower, _) in zip(placed, placed[1:]))


def test_machines():
    """Merged results say what was measured where."""
    data = made_up()
    assert report.machines_text(data) == report.machine_text(MACHINE)
    other = {**MACHINE, "cpu": "Another CPU"}
    data["scenarios"]["small"]["machine"] = other
    here, there = report.machines_text(data).split("\n\n")
    assert here.startswith(report.machine_text(MACHINE))
    assert there.startswith(report.machine_text(other))
    small = data["scenarios"]["small"]["title"]
    assert small in there and small not in here


def test_merging(tmp_path, monkeypatch):
    """What another machine measured keeps that machine's description."""
    file = tmp_path / "results.json"
    file.write_text(json.dumps({"machine": MACHINE, "scenarios": {"small": entry("", {})}}))
    assert "machine" not in start_on(MACHINE, file, monkeypatch)["scenarios"]["small"]
    data = start_on({**MACHINE, "cpu": "Another CPU"}, file, monkeypatch)
    assert data["machine"]["cpu"] == "Another CPU"
    assert data["scenarios"]["small"]["machine"] == MACHINE


def start_on(machine, file, monkeypatch):
    """What a merging run on that machine starts with."""
    monkeypatch.setattr(compare, "describe", lambda: machine)
    return compare.start_of(file, True)


# --- the run -------------------------------------------------------------------------------------

@dataclass
class Fake:
    """What the run asks of a scenario."""

    name: str
    title: str = "title"
    rounds: int = 0
    about: float = 1
    bound: int = 0
    without: dict = field(default_factory=dict)


def test_plan():
    """Servers alternate; a scenario's own limit holds; bystanders have fewer rounds."""
    steps = [(s.name, n, k) for s, n, k in compare.plan([Fake("a", rounds=2), Fake("b")],
                                                        ["stm", "worker"], 4)]
    assert steps == [("a", 0, "stm"), ("a", 0, "worker"), ("a", 1, "stm"), ("a", 1, "worker"),
                     ("b", 0, "stm"), ("b", 0, "worker"), ("b", 1, "stm"), ("b", 1, "worker"),
                     ("b", 2, "stm"), ("b", 2, "worker"), ("b", 3, "stm")]


def test_failures_are_noted(monkeypatch, capsys):
    """A server that fails, one that hangs and one that cannot: the others' figures are there."""
    calls = []

    def measured(_scenario, kind, _run):
        calls.append(kind)
        if kind == "event":
            raise RuntimeError("first line\nit broke")
        if kind == "worker":
            time.sleep(60)
        return {"a": 1.0}

    monkeypatch.setattr(compare, "measure", measured)
    monkeypatch.setattr(compare, "STEP_BOUND", 1)
    before = signal.signal(signal.SIGALRM, compare.overrun)
    data, saved = {"scenarios": {}}, []
    scenario = Fake("a", without={"prefork": "cannot"})
    try:
        compare.take(data, list(compare.plan([scenario, Fake("b")], KINDS[:1], 1))
                     + list(compare.plan([scenario], KINDS, 2)), Run(), lambda: saved.append(1))
    finally:
        signal.signal(signal.SIGALRM, before)
    got = data["scenarios"]["a"]
    assert got["rounds"] == {"stm": [{"a": 1.0}] * 2, "nginx": [{"a": 1.0}] * 2}
    assert got["failures"] == {"event": "RuntimeError: it broke", "prefork": "cannot",
                               "worker": "Overrun: not done after 1 s"}
    assert calls.count("event") == calls.count("worker") == 1
    assert len(saved) == 3
    assert "a: stm, round 2" in capsys.readouterr().err
    json.dumps(data)


def test_time_left():
    """Known steps count as they took, others by the pace so far."""
    first, second = Fake("a", about=2), Fake("b", about=4)
    steps = [(first, 0, "stm"), (first, 1, "stm"), (second, 0, "stm")]
    clock = compare.Clock(steps)
    assert clock.remaining() == 8
    clock.done(steps[0], 3.0)
    assert clock.remaining() == 3 + 6


@pytest.mark.parametrize("kind, need, wanted", [
    ("event", Need(64), "64"), ("event", Need(1000, 800), "500"), ("event", Need(10_000), "64"),
    ("worker", Need(10_000), "6250"), ("event", Need(1000, 800, processes=1), "1000"),
])
def test_sizes(kind, need, wanted):
    """Threads by what waits, or by connections where those hold one."""
    settings, _ = sizes(kind, need)
    assert settings == {"processes": need.processes, "threads": int(wanted)}


def test_sizes_of_the_others():
    """stm's are as shipped; prefork's end at its limit."""
    settings, text = sizes("stm", Need(10_000))
    assert settings == {"sized": False} and text.endswith("NumVPs 2\n") and "MaxThreads" in text
    assert f"MaxRequestWorkers {PREFORK_LIMIT}\n" in sizes("prefork", Need(10_000))[1]
