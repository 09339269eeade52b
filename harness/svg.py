# SPDX-License-Identifier: Apache-2.0
"""A picture in SVG, written element by element; readable on light and dark pages.

Used by bench/httpd/plots.py and lab/picture.py. Colours are classes: the style sheet defines them
for light and dark.
"""

from xml.sax.saxutils import escape, quoteattr

# class: (light, dark)
COLOURS = {
    "card": ("#ffffff", "#161b22"),
    "edge": ("#d8dee4", "#30363d"),
    "ink": ("#1f2328", "#e6edf3"),
    "soft": ("#59636e", "#9198a1"),
    "grid": ("#e6e9ed", "#272d35"),
    "band": ("#f3f5f8", "#1c222b"),
    "stm": ("#e8590c", "#ff922b"),
    "event": ("#1971c2", "#4dabf7"),
    "worker": ("#7048e8", "#9d86f7"),
    "prefork": ("#868e96", "#8b949e"),
    "nginx": ("#2f9e44", "#51cf66"),
}
STYLE = """
text { font-family: system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif;
       font-size: 12px; }
.title { font-size: 18px; font-weight: 600; } .head { font-size: 13.5px; font-weight: 600; }
.bold { font-weight: 600; } .end { text-anchor: end; } .middle { text-anchor: middle; }
.line { fill: none; stroke-width: 2.5; stroke-linejoin: round; stroke-linecap: round; }
.thin { fill: none; stroke-width: 1; } .whisker { fill: none; stroke-width: 1.25; opacity: .55; }
.halo { paint-order: stroke; stroke-width: 5px; stroke-linejoin: round; }
.mark { fill: none; stroke-width: 2; } .area { opacity: .18; } .small { font-size: 11.5px; }
"""


def _rules(scheme):
    rules = []
    for name, pair in COLOURS.items():
        rules.append(f".f-{name} {{ fill: {pair[scheme]}; }} "
                     f".s-{name} {{ stroke: {pair[scheme]}; }}")
    return "\n".join(rules)


def number(value):
    """A coordinate."""
    return f"{value:.1f}".rstrip("0").rstrip(".")


def _places(points):
    return " ".join(f"{number(x)},{number(y)}" for x, y in points)


class Picture:
    """Elements in the order of painting; str() is the file."""

    def __init__(self, width, height, title):
        self.width, self.height, self.title = width, height, title
        self._elements = []
        self.rect(0.5, 0.5, width - 1, height - 1, "f-card s-edge", radius=10)

    def _add(self, name, classes, content="", **attributes):
        pairs = ""
        for key, value in attributes.items():
            pairs += f" {key}={quoteattr(value if isinstance(value, str) else number(value))}"
        close = f">{content}</{name}>" if content else "/>"
        self._elements.append(f'<{name} class="{classes}"{pairs}{close}')

    def rect(self, x, y, width, height, classes, radius=0.0):
        """A box."""
        self._add("rect", classes, x=x, y=y, width=max(0.0, width), height=height, rx=radius)

    def line(self, x1, y1, x2, y2, classes):
        """A straight line."""
        self._add("line", classes, x1=x1, y1=y1, x2=x2, y2=y2)

    def path(self, points, classes):
        """Straight lines from point to point."""
        self._add("polyline", classes, points=_places(points))

    def area(self, points, classes):
        """A filled polygon."""
        self._add("polygon", classes, points=_places(points))

    def dot(self, x, y, radius, classes):
        """A filled circle."""
        self._add("circle", classes, cx=x, cy=y, r=radius)

    def text(self, x, y, content, classes):
        """One line of text; y is its base line."""
        self._add("text", classes, escape(content), x=x, y=y)

    def __str__(self):
        return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} '
                f'{number(self.height)}" width="{self.width}" height="{number(self.height)}" '
                f'role="img">\n<!-- SPDX-License-Identifier: Apache-2.0 -->\n'
                f"<title>{escape(self.title)}</title>\n<style>{STYLE}{_rules(0)}\n"
                f"@media (prefers-color-scheme: dark) {{\n{_rules(1)}\n}}\n</style>\n"
                + "\n".join(self._elements) + "\n</svg>\n")
