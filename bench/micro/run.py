# SPDX-License-Identifier: Apache-2.0
"""Runs each microbenchmark in turn with State Threads 1.9 (PROGRAM.st19) and with ours (PROGRAM).

Prints the medians in CPU ns per operation and their ratio, and writes all samples to a JSON file.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys

from harness import progress

TIMEOUT = 120  # seconds for one run; only ends a run that hangs

TITLES = {
    "yield": "yield",
    "create_join": "create + join",
    "mutex": "mutex hand-over",
    "cond": "condition ping-pong",
    "timer": "timer arm/disarm, 100,000 pending",
    "wake": "wake 100 of 10,000 waiting fds",
}


def run(program):
    """One run: CPU ns per operation and the event system."""
    output = subprocess.run(
        [program], stdout=subprocess.PIPE, timeout=TIMEOUT, check=True, text=True
    ).stdout
    fields = output.split()
    return float(fields[0]), fields[-1]


def measure(program, rounds):
    """Alternates between the two libraries, so that a busy moment of the machine affects both."""
    samples = {"st19": [], "ours": []}
    eventsys = {}
    for _ in range(rounds):
        for library, suffix in (("st19", ".st19"), ("ours", "")):
            ns, eventsys[library] = run(program + suffix)
            samples[library].append(ns)
    medians = {library: statistics.median(values) for library, values in samples.items()}
    return {
        "name": os.path.basename(program),
        "st19_ns": medians["st19"],
        "ours_ns": medians["ours"],
        "ratio": medians["st19"] / medians["ours"],
        "eventsys": eventsys,
        "samples": samples,
    }


def spread(values):
    """Half the range, in per cent of the median."""
    return 50 * (max(values) - min(values)) / statistics.median(values)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", metavar="FILE", help="where all samples go")
    parser.add_argument("programs", nargs="+", metavar="PROGRAM")
    args = parser.parse_args()

    rows = []
    print(f"{'CPU ns per operation (median of ' + str(args.rounds) + ')':38}"
          f"{'ST 1.9':>12}{'libst':>12}{'ratio':>9}   spread")
    names = [os.path.basename(program) for program in args.programs]
    for program, _ in zip(args.programs, progress.steps(names)):
        row = measure(program, args.rounds)
        rows.append(row)
        progress.clear()
        print(f"{TITLES.get(row['name'], row['name']):38}{row['st19_ns']:12.1f}"
              f"{row['ours_ns']:12.1f}{row['ratio']:8.1f}x"
              f"   {spread(row['samples']['st19']):.0f}% {spread(row['samples']['ours']):.0f}%",
              flush=True)
    systems = rows[-1]["eventsys"]
    print(f"(ST 1.9: Debian's libst, {systems['st19']}; libst: ours, {systems['ours']})")
    if args.json:
        os.makedirs(os.path.dirname(args.json) or ".", exist_ok=True)
        with open(args.json, "w", encoding="utf-8") as file:
            json.dump({"unit": "CPU ns per operation", "rounds": args.rounds, "rows": rows}, file,
                      indent=1)
            file.write("\n")


if __name__ == "__main__":
    try:
        main()
    except subprocess.CalledProcessError as error:
        sys.exit(f"{error.cmd[0]} failed with {error.returncode}")
    except subprocess.TimeoutExpired as error:
        sys.exit(f"{error.cmd[0]} did not end within {error.timeout} s")
