# SPDX-License-Identifier: Apache-2.0
"""Compares stm with httpd's other MPMs and with nginx on this machine: alternating rounds, medians.

Run by `make bench`. Every server has two processes and the same configuration; one runs at a time,
freshly started for each measurement. Results are written to a folder as JSON, table and plots.
"""

import argparse
import fnmatch
import json
import shutil
import signal
import sys
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from harness import BUILD, procs, progress
from harness.drive import SlowBackend

from . import report
from .machine import describe
from .scenarios import SCENARIOS, Run, prepare
from .servers import KINDS, make

STEP_BOUND = 75  # seconds, unless a scenario has its own: ends what hangs
QUICK = Run(seconds=1)
QUICK_ROUNDS, ROUNDS = 1, 5
BYSTANDERS, BYSTANDER_ROUNDS = ("worker", "prefork"), 3  # no target concerns them


class Overrun(Exception):
    """A measurement took too long."""


def overrun(*_):
    """SIGALRM's handler."""
    raise Overrun


def end(server, failed):
    """Stops the server, by force if necessary; its folder is kept only after a failure."""
    try:
        server.stop()
    except (AssertionError, OSError) as error:
        server.kill()
        if not failed:
            print(f"    at its end: {error}", file=sys.stderr)
    if not failed:
        shutil.rmtree(server.root, ignore_errors=True)


def measure(scenario, kind, run):
    """One round of a scenario on a fresh server: figures by name."""
    with ExitStack() as stack:
        need, backend = scenario.need, None
        if scenario.backend:
            backend = stack.enter_context(SlowBackend())
            need = replace(need, backend=backend.port)
        things = {name: stack.enter_context(made()) for name, made in scenario.things.items()}
        server = make(kind, f"bench-{scenario.name}-{kind}", replace(need, **things))
        server.backend, server.things = backend, things
        prepare(server, scenario)
        failed = True
        try:
            server.start()
            figures = scenario.measure(server, run)
            failed = False
        finally:
            signal.alarm(0)
            for each in filter(None, [backend, *things.values()]):
                each.close()  # requests that hang in it must not delay the server's end
            end(server, failed)
        return figures


def attempt(scenario, kind, run):
    """Returns figures and None, or no figures and what went wrong."""
    if kind in scenario.without:
        return {}, scenario.without[kind]
    bound = scenario.bound or STEP_BOUND
    signal.alarm(bound)
    try:
        return measure(scenario, kind, run), None
    except Overrun:
        return {}, f"Overrun: not done after {bound} s"
    except Exception as error:  # pylint: disable=broad-except  # the other measurements continue
        lines = str(error).strip().splitlines()
        return {}, f"{type(error).__name__}: {lines[-1] if lines else ''}"
    finally:
        signal.alarm(0)


def plan(scenarios, kinds, rounds):
    """The order of measurements: servers alternate within each round."""
    for scenario in scenarios:
        for number in range(min(rounds, scenario.rounds or rounds)):
            for kind in kinds:
                if kind not in BYSTANDERS or number < BYSTANDER_ROUNDS:
                    yield scenario, number, kind


class Clock:
    """Estimates the remaining time from what the steps so far took."""

    def __init__(self, steps):
        self.left = list(steps)
        self.took = {}    # by scenario and server, the latest time
        self.guessed = self.spent = 0.0

    def guess(self, step):
        """Seconds of one step."""
        scenario, _, kind = step
        if kind in scenario.without:
            return 0.0
        pace = self.spent / self.guessed if self.guessed else 1.0
        return self.took.get((scenario.name, kind), scenario.about * pace)

    def remaining(self):
        """Seconds."""
        return sum(map(self.guess, self.left))

    def done(self, step, seconds):
        """The first of the remaining steps is done."""
        self.left.pop(0)
        if step[2] not in step[0].without:
            self.spent += seconds
            self.guessed += step[0].about
            self.took[step[0].name, step[2]] = seconds


def tell(number, count, step, left):
    """One line on what is running."""
    scenario, turn, kind = step
    progress.show(f"[{number}/{count}] {scenario.name}: {kind}, round {turn + 1}, "
                  f"about {progress.minutes(left)} left")


def take(data, steps, run, save):
    """Takes all measurements into `data`, and calls save() after each scenario's last."""
    clock = Clock(steps)
    for number, step in enumerate(steps, 1):
        scenario, _, kind = step
        tell(number, len(steps), step, clock.remaining())
        entry = data["scenarios"].setdefault(scenario.name, {})
        if number == 1 or steps[number - 2][0] is not scenario:
            entry.clear()
            entry.update(title=scenario.title, seconds=run.seconds, rounds={}, failures={})
        start = time.monotonic()
        if kind not in entry["failures"]:
            figures, failure = attempt(scenario, kind, run)
            if failure:
                entry["failures"][kind] = failure
                if kind not in scenario.without:
                    print(f"\n    {scenario.name}: {kind} failed: {failure}", file=sys.stderr)
            else:
                entry["rounds"].setdefault(kind, []).append(figures)
        clock.done(step, time.monotonic() - start)
        if number == len(steps) or steps[number][0] is not scenario:
            save()
    progress.clear()


def chosen(text, known, parser, what):
    """The names that match a comma-separated list of patterns, in their original order."""
    found = set()
    for pattern in text.split(","):
        matches = fnmatch.filter(known, pattern)
        if not matches:
            parser.error(f"no {what} {pattern}: there are {', '.join(known)}")
        found.update(matches)
    return [name for name in known if name in found]


def arguments():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--servers", default="*", help=f"of {','.join(KINDS)}; patterns, too")
    parser.add_argument("--scenarios", default="*", help="names or patterns, as curve-*; "
                        "--list shows them")
    parser.add_argument("--list", action="store_true", help="show the scenarios and end")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seconds", type=int, help="of load in a round")
    parser.add_argument("--quick", action="store_true", help="one short round of everything")
    parser.add_argument("--out", type=Path, default=BUILD / "bench", help="folder for the results")
    parser.add_argument("--merge", action="store_true",
                        help="keep what the folder has of other scenarios")
    options = parser.parse_args()
    options.kinds = chosen(options.servers, KINDS, parser, "server")
    names = chosen(options.scenarios, [s.name for s in SCENARIOS], parser, "scenario")
    options.chosen = [s for s in SCENARIOS if s.name in names]
    return options


def start_of(data_file, merge):
    """The structure for the results. Results from another machine, or with other software, keep the
    description of that machine."""
    machine = describe()
    if not merge or not data_file.exists():
        return {"licence": "SPDX-License-Identifier: Apache-2.0", "machine": machine,
                "scenarios": {}}
    data = json.loads(data_file.read_text())
    if data["machine"] != machine:
        for entry in data["scenarios"].values():
            entry.setdefault("machine", data["machine"])
    data["machine"] = machine
    return data


def main():
    """Measures, writes, prints."""
    options = arguments()
    if options.list:
        for scenario in SCENARIOS:
            print(f"{scenario.name:12} {scenario.title}")
        return
    run = QUICK if options.quick else Run()
    run = replace(run, seconds=options.seconds or run.seconds)
    rounds = options.rounds or (QUICK_ROUNDS if options.quick else ROUNDS)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # servers end with us then, too
    signal.signal(signal.SIGALRM, overrun)
    procs.adopt_orphans()
    procs.raise_file_limit()

    options.out.mkdir(parents=True, exist_ok=True)
    data_file = options.out / "results.json"
    data = start_of(data_file, options.merge)

    def save():
        data_file.write_text(json.dumps(data, indent=1) + "\n")

    status = 0
    try:
        take(data, list(plan(options.chosen, options.kinds, rounds)), run, save)
    except KeyboardInterrupt:
        print("\ninterrupted; what was measured so far:", file=sys.stderr)
        status = 130
    save()
    report.write(data, options.out)
    print(report.text(data, pictures=()))
    sys.exit(status)


if __name__ == "__main__":
    main()
