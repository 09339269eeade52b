# SPDX-License-Identifier: Apache-2.0
"""Draws what a Watch has seen as SVG: one row per figure, time from left to right.

Used by tour.py.
"""

from harness.svg import Picture

LEFT, RIGHT, TOP, BOTTOM = 178, 60, 92, 40  # margins
WIDTH, ROW, GAP = 900, 74, 20

# A figure's attribute, name, unit, and what it counts.
FIGURES = [
    ("connections", "Connections", "open at the server"),
    ("processes", "Processes", "that serve"),
    ("kernel_threads", "Kernel threads", "of these processes"),
    ("state_threads", "State threads", "in user mode"),
    ("memory", "Memory, MB", "not shared with others"),
]

def number(value):
    """A figure, formatted for the reader."""
    return f"{value:,.1f}" if isinstance(value, float) and value < 100 else f"{value:,.0f}"


def ceiling(value):
    """The end of an axis: a round number not below `value`."""
    step = 1
    while True:
        for factor in (1, 1.5, 2, 3, 4, 5, 6, 8):
            if step * factor >= value:
                return step * factor
        step *= 10


class Canvas(Picture):
    """Rows that share one axis of time."""

    def __init__(self, title, subtitle, rows, end, alternative):
        self.bottom = TOP + rows * (ROW + GAP)
        self.end = max(end, 1.0)
        super().__init__(WIDTH, self.bottom + BOTTOM, alternative)
        self.text(24, 36, title, "title f-ink")
        self.text(24, 58, subtitle, "f-soft")

    def x(self, at):
        """The x coordinate of a time."""
        return LEFT + (WIDTH - LEFT - RIGHT) * min(at, self.end) / self.end

    @staticmethod
    def top(row):
        """The y coordinate of a row."""
        return TOP + row * (ROW + GAP)

    def y(self, row, value, limit):
        """The y coordinate of a value in a row."""
        return self.top(row) + ROW * (1 - value / limit)

    def frame(self, phases):
        """Bands for every other phase, their names, the grid, and the seconds."""
        ends = [at for at, _ in phases[1:]] + [self.end]
        for place, ((at, name), end) in enumerate(zip(phases, ends)):
            left, right = self.x(at), self.x(end)
            if place % 2:
                self.rect(left, TOP - 22, right - left, self.bottom - TOP + 22, "f-band")
            self.text(left + 5, TOP - 8, name, "small f-soft")
        step = next(s for s in (1, 2, 5, 10, 20, 60) if self.end / s <= 14)
        for second in range(0, int(self.end) + 1, step):
            x = self.x(second)
            self.line(x, TOP, x, self.bottom, "thin s-grid")
            self.text(x, self.bottom + 18, f"{second} s", "small middle f-soft")

    def axis(self, row, name, what, limit):
        """A row's name, its base line and the end of its axis."""
        top, base = self.top(row), self.top(row) + ROW
        self.text(24, top + 30, name, "bold f-ink")
        self.text(24, top + 47, what, "small f-soft")
        self.line(LEFT, base, WIDTH - RIGHT, base, "thin s-edge")
        self.line(LEFT, top, WIDTH - RIGHT, top, "thin s-grid")
        self.text(LEFT - 7, top + 5, number(limit), "small end f-soft")
        self.text(LEFT - 7, base + 1, "0", "small end f-soft")

    def curve(self, row, points, limit, colour, area=True):
        """A stepped line: between two samples, no change is known."""
        steps = [(self.x(points[0][0]), self.y(row, points[0][1], limit))]
        for at, value in points[1:]:
            steps += [(self.x(at), steps[-1][1]), (self.x(at), self.y(row, value, limit))]
        base = self.top(row) + ROW
        if area:
            self.area([*steps, (steps[-1][0], base), (steps[0][0], base)], f"area f-{colour}")
        self.path(steps, f"line s-{colour}")

    def spot(self, point, row, limit, colour):
        """A dot; returns its position."""
        x, y = self.x(point[0]), self.y(row, point[1], limit)
        self.dot(x, y, 4, f"f-{colour}")
        return x, y

    def mark(self, row, point, limit, colour, last=False):
        """A dot with the value beside it: below to the right, or at the end of the line."""
        x, y = self.spot(point, row, limit, colour)
        self.text(x + (9 if last else 7), y + (4 if last else 18), number(point[1]), "bold f-ink")


def figures_of(mpm):
    """The figures that a server of this MPM has."""
    return [each for each in FIGURES if mpm == "stm" or each[0] != "state_threads"]


def one(mpm, watch, subtitle):
    """One MPM: how its figures change with the connections."""
    rows = figures_of(mpm)
    said = ", ".join(f"{name} up to {number(watch.peak(attribute))}"
                     for attribute, name, _ in rows)
    canvas = Canvas(f"{mpm}: a hundred connections come and go", subtitle, len(rows),
                    watch.samples[-1].at, f"{mpm}: {said}")
    canvas.frame(watch.phases)
    for row, (attribute, name, what) in enumerate(rows):
        points = [(each.at, getattr(each, attribute)) for each in watch.samples]
        peak = max(points, key=lambda point: point[1])
        limit = ceiling(max(1, peak[1] * 1.05))
        colour = "soft" if attribute == "connections" else mpm
        canvas.axis(row, name, what, limit)
        canvas.curve(row, points, limit, colour)
        if peak[1] > points[-1][1]:
            canvas.mark(row, peak, limit, colour)
        canvas.mark(row, points[-1], limit, colour, last=True)
    return str(canvas)


def together(watches, subtitle):
    """All MPMs on the same axes; the connections arrive at the same point."""
    come = max(watch.phases[1][0] for watch in watches.values())
    late = {mpm: come - watch.phases[1][0] for mpm, watch in watches.items()}
    end = max(watch.samples[-1].at + late[mpm] for mpm, watch in watches.items())
    canvas = Canvas("The MPMs side by side", subtitle, len(FIGURES) - 1, end,
                    "processes, kernel threads, state threads and memory of the MPMs: "
                    + ", ".join(watches))
    canvas.frame([(0.0, "at rest"), (come, "the connections come, stay for a while, and go")])
    x = LEFT + 300
    for mpm in watches:
        canvas.rect(x, 26, 14, 4, f"f-{mpm}", radius=2)
        canvas.text(x + 20, 33, mpm, "f-ink")
        x += 90
    for row, (attribute, name, what) in enumerate(FIGURES[1:]):
        limit = ceiling(1.05 * max(1, *(watch.peak(attribute) for watch in watches.values())))
        canvas.axis(row, name, what, limit)
        for mpm, watch in watches.items():
            points = [(each.at + late[mpm], getattr(each, attribute)) for each in watch.samples]
            if any(value for _, value in points):
                canvas.curve(row, points, limit, mpm, area=False)
                canvas.spot(points[-1], row, limit, mpm)
    return str(canvas)
