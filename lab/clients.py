# SPDX-License-Identifier: Apache-2.0
"""Runs make_conn and parses its counts. Used by tour.py and by tests/live/lab."""

import re
import select
import subprocess

from harness import BUILD

MAKE_CONN = BUILD / "make_conn"


def counts(line):
    """{"accepted": 100, ...} of a line of counts."""
    return {name.strip(): int(value) for name, value in re.findall(r"([a-z ]+) (\d+)", line)}


class Kept:
    """Connections that stay open until end(); `lines` is what make_conn has printed."""

    def __init__(self, *arguments):
        self.run = subprocess.Popen([MAKE_CONN, *map(str, arguments)], bufsize=0,
                                    stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.lines = []
        self.line()
        self.first = self.next()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.run.kill()
        self.run.wait()
        self.run.stdin.close()
        self.run.stdout.close()

    def line(self, patience=60):
        """The next line; "" at the end."""
        assert select.select([self.run.stdout], [], [], patience)[0], "make_conn says nothing"
        line = self.run.stdout.readline().decode().rstrip("\n")
        self.lines += [line] if line else []
        return line

    def next(self):
        """The next line's counts."""
        return counts(self.line())

    def until_closed(self, count):
        """Waits until it has reported that the server closed `count` connections."""
        seen = counts(self.lines[-1])
        while seen.get("closed", 0) < count:
            line = self.line()
            assert line, f"make_conn has ended: {self.lines}"
            seen = counts(line)
        return seen

    def end(self, text="\n"):
        """Presses Enter (or, with "", ends the input); returns the last line's counts."""
        try:
            self.run.stdin.write(text.encode())
        except BrokenPipeError:
            pass  # it has ended by itself, when the last connection was closed
        self.run.stdin.close()
        while self.line():
            pass
        self.run.wait(30)
        return counts(self.lines[-1])
