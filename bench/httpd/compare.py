#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Compares MPMs side by side on this machine: alternating rounds, medians, ratios.

Run by `make bench-httpd` and `make bench-quick`. Every server has two processes and the same
configuration; one runs at a time, fresh for each measurement.
"""

import argparse
import json
import os
import resource
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests/live"))

from harness import Server, procs  # noqa: E402
from scenarios import DIRECTIVES, SCENARIOS, prepare  # noqa: E402

PROCESSES = 2


def measure(scenario, mpm, seconds):
    """One round of a scenario on a fresh server."""
    server = Server(f"bench-{scenario.name}-{mpm}", mpm=mpm, processes=PROCESSES,
                    threads=scenario.threads, directives=DIRECTIVES + scenario.directives)
    if mpm != "stm":
        server.allowed.append("AH0004[56]|AH00052")  # how Debian's MPMs end now and then
    prepare(server)
    server.start()
    try:
        return scenario.measure(server, seconds)
    finally:
        server.stop()


def plan(scenarios, mpms, rounds):
    """The order of measurements: servers alternate within each round."""
    for scenario in scenarios:
        for number in range(min(rounds, scenario.rounds or rounds)):
            for mpm in mpms:
                yield scenario, number, mpm


def run(steps, seconds):
    """Takes all measurements: {scenario: {mpm: {figure: [value of each round]}}}."""
    results = {}
    start = time.monotonic()
    for done, (scenario, number, mpm) in enumerate(steps):
        left = (time.monotonic() - start) / done * (len(steps) - done) if done else 0
        about = f", about {left:.0f} s left" if done else ""
        print(f"[{done + 1}/{len(steps)}] {scenario.name}: {mpm}, round {number + 1}{about}",
              file=sys.stderr, flush=True)
        figures = results.setdefault(scenario.name, {}).setdefault(mpm, {})
        for name, value in measure(scenario, mpm, seconds).items():
            figures.setdefault(name, []).append(value)
    return results


def shown(value):
    """A figure in few digits."""
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value else "0"


def report(scenarios, results, mpms):
    """Prints medians, and each figure's ratio of the first server to the others."""
    first, others = mpms[0], mpms[1:]
    for scenario in scenarios:
        print(f"\n{scenario.title}")
        print("  " + f"{'':<22}" + "".join(f"{mpm:>12}" for mpm in mpms)
              + "".join(f"{first + '/' + mpm:>14}" for mpm in others))
        for figure, values in results[scenario.name][first].items():
            medians = {mpm: statistics.median(results[scenario.name][mpm][figure])
                       for mpm in mpms}
            ratios = ["" if not medians[mpm] else f"{medians[first] / medians[mpm]:.2f}"
                      for mpm in others]
            print("  " + f"{figure:<22}" + "".join(f"{shown(medians[mpm]):>12}" for mpm in mpms)
                  + "".join(f"{ratio:>14}" for ratio in ratios))


def arguments():
    """The command line."""
    known = [scenario.name for scenario in SCENARIOS]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mpms", default="stm,event", help="to compare; the first is the subject")
    parser.add_argument("--scenarios", default=",".join(known))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=6, help="of load in a round")
    parser.add_argument("--json", type=Path, help="where the values of all rounds go")
    options = parser.parse_args()
    for name in options.scenarios.split(","):
        if name not in known:
            parser.error(f"no scenario {name}: there are {', '.join(known)}")
    return options


def main():
    """Measures, prints, writes."""
    options = arguments()
    mpms = options.mpms.split(",")
    scenarios = [s for s in SCENARIOS if s.name in options.scenarios.split(",")]
    procs.adopt_orphans()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    results = run(list(plan(scenarios, mpms, options.rounds)), options.seconds)
    print(f"{os.cpu_count()} CPUs, medians of {options.rounds} rounds of {options.seconds} s")
    report(scenarios, results, mpms)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
