# SPDX-License-Identifier: Apache-2.0
"""Draws what a Watch has seen as SVG: one row for each figure, time from left to right.

Used by tour.py. The pictures follow the reader's light or dark scheme by themselves.
"""

from xml.sax.saxutils import escape

LEFT, RIGHT, TOP, BOTTOM = 178, 60, 92, 40  # margins
WIDTH, ROW, GAP = 900, 74, 20

STYLE = """
text { font: 13px system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif }
.paper { fill: #ffffff } .ink { fill: #1b2430 } .mute { fill: #5d6b7c } .small { font-size: 11.5px }
.title { font-size: 19px; font-weight: 650 } .name { font-weight: 600 } .end { text-anchor: end }
.mid { text-anchor: middle } .grid { stroke: #e4e9f0 } .base { stroke: #aab5c3 }
.held { fill: #f2f5f9 } .line { fill: none; stroke-width: 2; stroke-linejoin: round }
.area { opacity: .16; stroke: none } .dot { stroke: #ffffff; stroke-width: 1.5 }
.c0 { --c: #66758a } .c1 { --c: #b4531f } .c2 { --c: #1f6fb4 } .c3 { --c: #1d8452 }
.c4 { --c: #7a4fb5 } .line { stroke: var(--c) } .area, .dot, .key { fill: var(--c) }
@media (prefers-color-scheme: dark) {
.paper { fill: #12171e } .ink { fill: #e6ebf2 } .mute { fill: #98a6b8 } .grid { stroke: #242d39 }
.base { stroke: #4a5869 } .held { fill: #19212b } .dot { stroke: #12171e } .area { opacity: .22 }
.c0 { --c: #8c9bb0 } .c1 { --c: #f0935a } .c2 { --c: #5cade8 } .c3 { --c: #4fc28a }
.c4 { --c: #b594ea } }
"""

# A figure's attribute, name, unit, and what it counts.
FIGURES = [
    ("connections", "Connections", "open at the server"),
    ("processes", "Processes", "that serve"),
    ("kernel_threads", "Kernel threads", "of these processes"),
    ("state_threads", "State threads", "in user mode"),
    ("memory", "Memory, MB", "not shared with others"),
]
COLOURS = {"prefork": "c1", "worker": "c2", "event": "c4", "stm": "c3"}


def number(value):
    """A figure as the reader wants it."""
    return f"{value:,.1f}" if isinstance(value, float) and value < 100 else f"{value:,.0f}"


def ceiling(value):
    """The end of an axis: a round number not below `value`."""
    step = 1
    while True:
        for factor in (1, 1.5, 2, 3, 4, 5, 6, 8):
            if step * factor >= value:
                return step * factor
        step *= 10


class Canvas:
    """Rows that share one axis of time."""

    def __init__(self, title, subtitle, rows, end):
        self.height = TOP + rows * (ROW + GAP) + BOTTOM
        self.end = max(end, 1.0)
        self.parts = [f'<text x="24" y="36" class="title ink">{escape(title)}</text>',
                      f'<text x="24" y="58" class="mute">{escape(subtitle)}</text>']

    def x(self, at):
        """Where a time is."""
        return LEFT + (WIDTH - LEFT - RIGHT) * min(at, self.end) / self.end

    @staticmethod
    def top(row):
        """Where a row begins."""
        return TOP + row * (ROW + GAP)

    def y(self, row, value, limit):
        """Where a value of a row is."""
        return self.top(row) + ROW * (1 - value / limit)

    def text(self, x, y, classes, text):
        """A text."""
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}" class="{classes}">{escape(text)}</text>')

    def frame(self, phases):
        """Bands for every other phase, their names, the grid, and the seconds."""
        bottom = self.height - BOTTOM
        ends = [at for at, _ in phases[1:]] + [self.end]
        for place, ((at, name), end) in enumerate(zip(phases, ends)):
            left, right = self.x(at), self.x(end)
            if place % 2:
                self.parts.append(f'<rect class="held" x="{left:.1f}" y="{TOP - 22}" '
                                  f'width="{right - left:.1f}" height="{bottom - TOP + 22}"/>')
            self.text(left + 5, TOP - 8, "small mute", name)
        step = next(s for s in (1, 2, 5, 10, 20, 60) if self.end / s <= 14)
        for second in range(0, int(self.end) + 1, step):
            x = self.x(second)
            self.parts.append(f'<path class="grid" d="M{x:.1f} {TOP}V{bottom}"/>')
            self.text(x, bottom + 18, "small mute mid", f"{second} s")

    def axis(self, row, name, what, limit):
        """A row's name, its base line and the end of its axis."""
        top, base = self.top(row), self.top(row) + ROW
        self.text(24, top + 30, "name ink", name)
        self.text(24, top + 47, "small mute", what)
        self.parts.append(f'<path class="base" d="M{LEFT} {base}H{WIDTH - RIGHT}"/>')
        self.parts.append(f'<path class="grid" d="M{LEFT} {top}H{WIDTH - RIGHT}"/>')
        self.text(LEFT - 7, top + 5, "small mute end", number(limit))
        self.text(LEFT - 7, base + 1, "small mute end", "0")

    def curve(self, row, points, limit, colour, area=True):
        """A line of steps: between two looks nothing is known to have changed."""
        path = f"M{self.x(points[0][0]):.1f} {self.y(row, points[0][1], limit):.1f}"
        for at, value in points[1:]:
            path += f"H{self.x(at):.1f}V{self.y(row, value, limit):.1f}"
        base = self.top(row) + ROW
        if area:
            self.parts.append(f'<path class="area {colour}" d="{path}V{base}'
                              f'H{self.x(points[0][0]):.1f}z"/>')
        self.parts.append(f'<path class="line {colour}" d="{path}"/>')

    def dot(self, point, row, limit, colour):
        """A dot; returns where it is."""
        x, y = self.x(point[0]), self.y(row, point[1], limit)
        self.parts.append(f'<circle class="dot {colour}" cx="{x:.1f}" cy="{y:.1f}" r="4"/>')
        return x, y

    def mark(self, row, point, limit, colour, last=False):
        """A dot with the value beside it: below to the right, or at the end of the line."""
        x, y = self.dot(point, row, limit, colour)
        self.text(x + (9 if last else 7), y + (4 if last else 18), "name ink", number(point[1]))

    def svg(self, alternative):
        """The picture."""
        return "\n".join([
            "<!-- SPDX-License-Identifier: Apache-2.0 -->",
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {self.height}" '
            f'role="img" aria-label="{escape(alternative, {chr(34): "&quot;"})}">',
            f"<style>{STYLE}</style>",
            f'<rect class="paper" width="{WIDTH}" height="{self.height}" rx="8"/>',
            *self.parts, "</svg>", ""])


def figures_of(mpm):
    """What a server of this MPM has."""
    return [each for each in FIGURES if mpm == "stm" or each[0] != "state_threads"]


def one(mpm, watch, subtitle):
    """One MPM: how its figures follow the connections."""
    rows = figures_of(mpm)
    canvas = Canvas(f"{mpm}: a hundred connections come and go", subtitle, len(rows),
                    watch.samples[-1].at)
    canvas.frame(watch.phases)
    for row, (attribute, name, what) in enumerate(rows):
        points = [(each.at, getattr(each, attribute)) for each in watch.samples]
        peak = max(points, key=lambda point: point[1])
        limit = ceiling(max(1, peak[1] * 1.05))
        colour = "c0" if attribute == "connections" else COLOURS[mpm]
        canvas.axis(row, name, what, limit)
        canvas.curve(row, points, limit, colour)
        if peak[1] > points[-1][1]:
            canvas.mark(row, peak, limit, colour)
        canvas.mark(row, points[-1], limit, colour, last=True)
    said = ", ".join(f"{name} up to {number(watch.peak(attribute))}"
                     for attribute, name, _ in rows)
    return canvas.svg(f"{mpm}: {said}")


def together(watches, subtitle):
    """All MPMs on the same axes; the connections come at the same place."""
    come = max(watch.phases[1][0] for watch in watches.values())
    late = {mpm: come - watch.phases[1][0] for mpm, watch in watches.items()}
    end = max(watch.samples[-1].at + late[mpm] for mpm, watch in watches.items())
    canvas = Canvas("The MPMs side by side", subtitle, len(FIGURES) - 1, end)
    canvas.frame([(0.0, "at rest"), (come, "the connections come, stay for a while, and go")])
    x = LEFT + 300
    for mpm in watches:
        canvas.parts.append(f'<rect class="key {COLOURS[mpm]}" x="{x}" y="26" width="14" '
                            'height="4" rx="2"/>')
        canvas.text(x + 20, 33, "ink", mpm)
        x += 90
    for row, (attribute, name, what) in enumerate(FIGURES[1:]):
        limit = ceiling(1.05 * max(1, *(watch.peak(attribute) for watch in watches.values())))
        canvas.axis(row, name, what, limit)
        for mpm, watch in watches.items():
            points = [(each.at + late[mpm], getattr(each, attribute)) for each in watch.samples]
            if any(value for _, value in points):
                canvas.curve(row, points, limit, COLOURS[mpm], area=False)
                canvas.dot(points[-1], row, limit, COLOURS[mpm])
    return canvas.svg("processes, kernel threads, state threads and memory of the MPMs: "
                      + ", ".join(watches))
