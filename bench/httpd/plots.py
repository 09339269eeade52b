# SPDX-License-Identifier: Apache-2.0
"""The plots of docs/bench: bars for each family of scenarios, curves over the connections.

draw() returns {file name: picture} for what compare.py measured; report.py writes them.
"""

import math
import statistics
from dataclasses import dataclass

from harness.svg import Picture

from .scenarios import CURVE, SCENARIOS
from .servers import KINDS

WIDTH, EDGE = 880, 28
NAMES = 62        # room for the servers' names
BAR, STEP = 13, 19
ROW = STEP * len(KINDS) + 66
LETTER = 6.8      # the widest that a letter of a label is on average, bold
SUBJECT = "stm"


@dataclass
class Panel:
    """One group of bars: one figure of a scenario, for each server."""

    scenario: str
    figure: str
    head: str
    factor: float = 1.0   # from the figure's unit to the plotted one


@dataclass
class Row:
    """Panels side by side."""

    title: str
    panels: list
    shared: bool = False  # all on one scale


@dataclass
class Chart:
    """A picture of bars."""

    name: str
    title: str
    rows: list


def rates(*names):
    """Rows with requests and CPU time."""
    titles = {scenario.name: scenario.title for scenario in SCENARIOS}
    return [Row(titles[name], [Panel(name, "requests/s", "requests/s, more is better"),
                               Panel(name, "CPU us/request", "CPU µs per request, less is better")])
            for name in names]


CHARTS = [
    Chart("static", "Static files", rates("small", "10k", "clients", "connect")),
    Chart("protocols", "TLS, HTTP/2, reverse proxy", rates("tls", "http2", "proxy")),
    Chart("waiting", "While many requests wait for a backend", [
        Row("5,000 requests at once to a backend that takes 1 s",
            [Panel("slow", "p99 ms", "p99 of the time to the answer, ms"),
             Panel("slow", "kernel threads", "kernel threads of the server meanwhile")]),
        Row("Requests for a 45-byte file: p99 in ms, without and with 2,000 hanging requests",
            [Panel("hanging", "p99 us alone", "without", 1e-3),
             Panel("hanging", "p99 us beside", "with", 1e-3)], shared=True)]),
    Chart("memory", "Memory for one more", [
        Row("PSS in KB, less is better",
            [Panel("idle", "PSS bytes/connection", "an idle connection, plain HTTP/1.1", 1e-3),
             Panel("slow", "PSS bytes/request", "a request that waits for its backend", 1e-3)]),
        Row("Idle connections, PSS in KB",
            [Panel("idle-tls", "PSS bytes/connection", "HTTP/1.1 over TLS 1.3", 1e-3),
             Panel("idle-http2-tls", "PSS bytes/connection", "HTTP/2 over TLS 1.3", 1e-3)])]),
    Chart("download", "50 MB downloads", [
        Row("8 clients over loopback",
            [Panel("download", "CPU s/GB", "CPU seconds per GB, less is better"),
             Panel("download", "GB/s", "GB/s, more is better")]),
        Row("The same with EnableSendfile On",
            [Panel("download-sendfile", "CPU s/GB", "CPU seconds per GB, less is better"),
             Panel("download-sendfile", "GB/s", "GB/s, more is better")])]),
]


def brief(value):
    """A value at the end of a bar."""
    if value >= 1000:
        return f"{value:,.0f}"
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.3g}" if value else "0"


def values_of(data, panel):
    """{server: values of its rounds}, in the plotted unit."""
    rounds = data["scenarios"].get(panel.scenario, {}).get("rounds", {})
    found = {}
    for kind in KINDS:
        if kind in rounds:
            found[kind] = [each[panel.figure] * panel.factor for each in rounds[kind]]
    return found


def goal(panel, values):
    """Where the subject's bar should at least, or at most, end; None if there is no target."""
    for scenario in SCENARIOS:
        for target in scenario.targets if scenario.name == panel.scenario else []:
            if target.figure != panel.figure or target.stretch or SUBJECT not in values:
                continue
            bound = target.at_least or target.at_most
            if not target.against:
                return bound * panel.factor
            if target.against in values:
                return bound * statistics.median(values[target.against])
    return None


# --- bars ----------------------------------------------------------------------------------------

class Group:
    """What one panel shows of what was measured."""

    def __init__(self, data, panel):
        self.panel = panel
        self.values = values_of(data, panel)
        self.wanted = goal(panel, self.values)
        self._entry = data["scenarios"].get(panel.scenario, {"rounds": {}, "failures": {}})

    def most(self):
        """The largest value of all."""
        return max([max(each) for each in self.values.values()] + [self.wanted or 0]) or 1

    def remark(self, kind):
        """Why there is no bar, or with how many connections it was measured, if fewer than all."""
        if kind not in self.values:
            why = self._entry["failures"].get(kind, "not measured")
            return why if len(why) < 44 else "failed"
        counts = {each: rounds[0].get("connections", 0)
                  for each, rounds in self._entry["rounds"].items()}
        return "" if counts[kind] == max(counts.values()) else f"  with {counts[kind]:,} only"


    def label(self, kind):
        """What stands at the end of a bar."""
        return brief(statistics.median(self.values[kind])) + self.remark(kind)

    def scale(self, width, most):
        """Pixels of one unit, so that the longest bar and its label, and every shorter one with a
        longer label, end within `width`."""
        scales = [width / most]
        for kind, values in self.values.items():
            end = max(values)
            if kind == SUBJECT and self.wanted:
                end = max(end, self.wanted)
            room = width - 7 - LETTER * len(self.label(kind))
            scales.append(room / end if end else width / most)
        return max(0.0, min(scales))


def draw_bar(picture, x, top, group, kind, scale):
    """One bar, the range of its rounds and its value; a mark shows where the subject's should
    end."""
    values = group.values[kind]
    middle, low, high = statistics.median(values), min(values), max(values)
    end = middle
    picture.rect(x, top, middle * scale, BAR, f"f-{kind}", radius=2)
    if (high - low) * scale > 3:
        end = high
        picture.line(x + low * scale, top + BAR / 2, x + high * scale, top + BAR / 2,
                     "whisker s-ink")
    if kind == SUBJECT and group.wanted:
        mark = x + group.wanted * scale
        end = max(end, group.wanted)
        picture.line(mark, top - 2.5, mark, top + BAR + 2.5, "mark s-ink")
    weight = "bold " if kind == SUBJECT else ""
    picture.text(x + end * scale + 7, top + BAR - 2.5, group.label(kind), f"{weight}f-ink")


def draw_bars(picture, x, y, group, scale):
    """The bars of one panel, one for each server."""
    picture.text(x, y - 12, group.panel.head, "f-soft")
    for row, kind in enumerate(KINDS):
        if kind in group.values:
            draw_bar(picture, x, y + row * STEP, group, kind, scale)
        else:
            picture.text(x + 7, y + row * STEP + BAR - 2.5, group.remark(kind), "f-soft")
    picture.line(x, y - 4, x, y + STEP * len(KINDS), "thin s-edge")


def draw_names(picture, x, y):
    """The servers' names, beside the bars."""
    for row, kind in enumerate(KINDS):
        weight = "bold " if kind == SUBJECT else ""
        picture.text(x, y + row * STEP + BAR - 2.5, kind, f"end {weight}f-ink")


def bar_chart(data, chart):
    """The picture of one family; None if nothing of it was measured."""
    rows = [(row, [Group(data, panel) for panel in row.panels]) for row in chart.rows]
    rows = [(row, groups) for row, groups in rows if any(group.values for group in groups)]
    if not rows:
        return None
    picture = Picture(WIDTH, 66 + len(rows) * ROW, chart.title)
    picture.text(EDGE, 38, chart.title, "title f-ink")
    marked = any(group.wanted for _, groups in rows for group in groups)
    picture.text(WIDTH - EDGE, 38, "medians, and the range of the rounds"
                 + (";  ❙ target for stm" if marked else ""), "end f-soft")
    left = EDGE + NAMES
    width = (WIDTH - left - EDGE) / 2
    for number, (row, groups) in enumerate(rows):
        y = 66 + number * ROW
        picture.line(EDGE, y - 8, WIDTH - EDGE, y - 8, "thin s-grid")
        picture.text(EDGE, y + 14, row.title, "head f-ink")
        draw_names(picture, left - 10, y + 46)
        most = max(group.most() for group in groups)
        scales = [group.scale(width - 8, most if row.shared else group.most())
                  for group in groups]
        for column, group in enumerate(groups):
            draw_bars(picture, left + column * (width + 8), y + 46, group,
                      min(scales) if row.shared else scales[column])
    return picture


# --- curves --------------------------------------------------------------------------------------

class Axes:
    """Maps numbers of connections and values to positions; the connection axis is always
    logarithmic."""

    left, right, top, bottom = 84, WIDTH - 110, 76, 416

    def __init__(self, values, logarithmic):
        self.log = logarithmic
        if logarithmic:
            self.low = 10 ** math.floor(math.log10(min(values)))
            self.high = 10 ** math.ceil(math.log10(max(values)))
        else:
            step = 10 ** math.floor(math.log10(max(values)))
            self.step = next(s for s in (step / 5, step / 2, step, 2 * step)
                             if max(values) / s <= 6)
            self.low, self.high = 0, math.ceil(max(values) / self.step) * self.step

    def x(self, count):
        """The position of a number of connections."""
        first, last = math.log10(CURVE[0]), math.log10(CURVE[-1])
        return self.left + (math.log10(count) - first) / (last - first) * (self.right - self.left)

    def y(self, value):
        """The position of a value."""
        if self.log:
            span = math.log10(self.high / self.low)
            part = math.log10(value / self.low) / span
        else:
            part = value / self.high
        return self.bottom - part * (self.bottom - self.top)

    def ticks(self):
        """The values that get a grid line."""
        if self.log:
            powers = round(math.log10(self.high / self.low))
            return [self.low * 10 ** power for power in range(powers + 1)]
        return [self.step * n for n in range(round(self.high / self.step) + 1)]


def apart(labels, gap=15.0):
    """Moves the labels (y, text) of one column apart, keeping their order and approximate
    places."""
    placed = []
    for y, content in sorted(labels):
        placed.append([max(y, placed[-1][0] + gap) if placed else y, content])
    overlap = sum(new[0] - old[0] for new, old in zip(placed, sorted(labels)))
    shift = overlap / len(placed) if placed else 0
    return [(y - shift, content) for y, content in placed]


def draw_grid(picture, axes):
    """Lines and their labels."""
    for value in axes.ticks():
        y = axes.y(value)
        picture.line(axes.left, y, axes.right, y, "thin s-grid")
        picture.text(axes.left - 10, y + 4, brief(value), "end f-soft")
    for count in CURVE:
        x = axes.x(count)
        picture.line(x, axes.bottom, x, axes.bottom + 5, "thin s-soft")
        picture.text(x, axes.bottom + 21, f"{count:,}", "middle f-soft")
    picture.line(axes.left, axes.bottom, axes.right, axes.bottom, "thin s-soft")
    picture.text((axes.left + axes.right) / 2, axes.bottom + 42, "keep-alive connections",
                 "middle f-soft")


def curve_chart(data, figure, title, unit, logarithmic):
    """One picture of curves; None if nothing of it was measured."""
    lines = {}
    for count in CURVE:
        for kind, values in values_of(data, Panel(f"curve-{count}", figure, "")).items():
            lines.setdefault(kind, []).append((count, statistics.median(values)))
    if not lines:
        return None
    axes = Axes([value for points in lines.values() for _, value in points], logarithmic)
    picture = Picture(WIDTH, 480, title)
    picture.text(EDGE, 38, title, "title f-ink")
    picture.text(EDGE, 58, unit, "f-soft")
    draw_grid(picture, axes)
    ends = {}
    for kind in reversed([kind for kind in KINDS if kind in lines]):
        points = [(axes.x(count), axes.y(value)) for count, value in lines[kind]]
        picture.path(points, f"line s-{kind}")
        for x, y in points:
            picture.dot(x, y, 3.5, f"f-{kind}")
        ends.setdefault(points[-1][0], []).append((points[-1][1], kind))
    for x, labels in ends.items():
        for y, kind in apart(labels):
            picture.text(x + 11, y + 4, kind, f"bold halo s-card f-{kind}")
    return picture


def draw(data):
    """{file name: picture} of everything that was measured."""
    pictures = {chart.name: bar_chart(data, chart) for chart in CHARTS}
    pictures["curve-throughput"] = curve_chart(data, "requests/s", "Throughput",
                                               "requests/s for a 45-byte file", False)
    pictures["curve-memory"] = curve_chart(data, "PSS MB", "Memory",
                                           "PSS of all processes, MB (logarithmic)", True)
    return {f"{name}.svg": picture for name, picture in pictures.items() if picture}
