# SPDX-License-Identifier: Apache-2.0
"""How far a long run is, on stderr: a line for each step, which on a terminal replaces the last."""

import sys
import time


def show(text):
    """Shows the line."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)
    else:
        print(text, file=sys.stderr, flush=True)


def clear():
    """Removes the line from a terminal."""
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr, flush=True)


def minutes(seconds):
    """As 12:05."""
    seconds = round(seconds)
    return f"{seconds // 60}:{seconds % 60:02}"


def steps(names, whole=False):
    """Yields the names one after another, and says which one is in progress and how much is left,
    assuming that all take equally long. `whole`: each step prints more than a line, so that this
    one must stay on a line of its own."""
    names = list(names)
    began = time.monotonic()
    for number, name in enumerate(names):
        spent = time.monotonic() - began
        left = f", about {minutes(spent / number * (len(names) - number))} left" if number else ""
        show(f"[{number + 1}/{len(names)}] {name}{left}" + ("\n" * (whole and sys.stderr.isatty())))
        yield name
        if not whole:
            clear()
