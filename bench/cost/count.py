# SPDX-License-Identifier: Apache-2.0
"""Counts what a request costs a VP, in ten scenes, and compares with bench/cost/budgets.txt: user
instructions and allocations (callgrind), system calls and futexes among them (strace). Run
by `make bench-count`.
"""

import argparse
import os
import re
import signal
import subprocess
import sys
from contextlib import ExitStack, closing
from pathlib import Path

from bench.cost import scenes
from harness import Server, procs
from harness.backend import Backend
from harness.strace import Trace

BUDGETS = Path(__file__).with_name("budgets.txt")
TOLERANCE = 0.02
SLACK = 0.05  # one or two in a round, which are not a request's
WARM_UP = 30
ROUNDS, STEPS = 3, 40  # the cheapest round counts: what comes once a second only ever adds
VALGRIND = ("valgrind", "--tool=callgrind", "--trace-children=yes", "--compress-strings=no",
            "--compress-pos=no", "--dump-before=stm_about")
KINDS = ("instructions", "allocations", "calls", "futexes")
# glibc and OpenSSL choose functions by the CPU. These take the same ones on each x86-64 of the last
# ten years: glibc's for SSE2, OpenSSL's for SSE2, SSSE3, PCLMULQDQ and AES.
SAME_CPU = {
    "GLIBC_TUNABLES": "glibc.cpu.hwcaps=" + ",".join(
        f"-{name}" for name in ("AVX512F", "AVX512VL", "AVX512BW", "AVX512CD", "AVX512ER",
                                "AVX2", "AVX", "ERMS", "FSRM", "BMI1", "BMI2", "LZCNT", "MOVBE",
                                "RTM", "SSE4_2", "SSE4_1", "SSSE3", "POPCNT", "FMA", "FMA4")),
    "OPENSSL_ia32cap": "0x%x:0x0" % sum(1 << bit for bit in (4, 24, 25, 26, 33, 41, 57)),
}


def versions():
    """What the counts depend on, beside this tree: builds of the programs and libraries."""
    packages = ("apache2-bin", "libapr1", "libaprutil1", "libc6", "libssl3", "libnghttp2-14", "gcc")
    run = subprocess.run(["dpkg-query", "-W", "-f=${Package} ${Version} ${Architecture}\n",
                          *packages], capture_output=True, text=True, check=False)
    return sorted(run.stdout.splitlines())


class Counting:
    """A server for all scenes, of one VP."""

    def __init__(self, stack, launcher=()):
        ports = {}
        for name, talk in scenes.BACKENDS.items():
            ports[name] = stack.enter_context(closing(Backend(talk))).port
        self.server = Server("count", mpm="stm", processes=1, threads=16, tls=True,
                             modules=scenes.MODULES, env=SAME_CPU,
                             directives=scenes.DIRECTIVES.format(**ports))
        self.server.launcher = [part.format(root=self.server.root) for part in launcher]
        for name, size in (("45.txt", 45), ("logged.txt", 45), ("10k.bin", 10_240)):
            self.server.page(name, bytes(size))
        (self.server.root / "run").chmod(0o777)  # where the VP writes its counts
        stack.callback(self.server.stop, check=False)
        self.server.start()
        self.child, = self.server.children()

    def rounds(self, name):
        """Warms a scene up, and yields before the first round of it and after each."""
        requests = scenes.REQUESTS.get(name, 1)
        steps = STEPS if requests == 1 else 1
        with closing(scenes.SCENES[name](self.server)) as scene:
            for _ in range(WARM_UP if requests == 1 else 1):
                next(scene)
            yield None
            for _ in range(ROUNDS):
                for _ in range(steps):
                    next(scene)
                yield steps * requests


def _counts_of(dump):
    """Instructions and allocations in a file of callgrind's."""
    text = dump.read_text(errors="replace")
    calls = re.findall(r"^cfn=(?:malloc|calloc|realloc|memalign|posix_memalign)\ncalls=(\d+)",
                       text, re.M)
    return int(re.search(r"^(?:totals|summary): (\d+)", text, re.M).group(1)), sum(map(int, calls))


class Marks:
    """Requests for a page that nothing else asks for: callgrind writes a file at each, and begins
    to count anew."""

    def __init__(self, counting, conn):
        self._counting, self._conn, self._serial = counting, conn, 0
        self.end_round()
        self._own = self.end_round()

    def end_round(self):
        """Counts since the last mark."""
        assert self._conn.get("/mark?about").status == 200
        self._serial += 1
        return _counts_of(self._counting.server.root /
                          f"run/count.{self._counting.child}.{self._serial}")

    def of_round(self, requests):
        """The same, per request, without the marks' own."""
        return [(all_of_it - own) / requests
                for all_of_it, own in zip(self.end_round(), self._own)]


def count_instructions(names):
    """Instructions and allocations per request, by scene."""
    found = {}
    with ExitStack() as stack:
        counting = Counting(stack, [*VALGRIND, "--callgrind-out-file={root}/run/count.%p",
                                    "--log-file={root}/run/valgrind.%p"])
        marks = Marks(counting, stack.enter_context(counting.server.connect()))
        for name in names:
            kept = [marks.of_round(requests or 1) for requests in counting.rounds(name)][1:]
            found[name] = {"instructions": min(count for count, _ in kept),
                           "allocations": min(count for _, count in kept)}
    return found


def count_calls(names):
    """System calls per request, by scene."""
    found = {}
    with ExitStack() as stack:
        counting = Counting(stack)
        for name in names:
            kept = []
            trace = None
            for requests in counting.rounds(name):
                if trace:
                    text = trace.end()
                    calls = re.findall(r"^\d+ +(\w+)\(", text, re.M)
                    kept.append((len(calls) / requests, calls.count("futex") / requests))
                trace = Trace([counting.child], counting.server.root / "strace.out", "all")
            trace.end()
            found[name] = {"calls": min(kept)[0], "futexes": min(futexes for _, futexes in kept)}
    return found


def counted(names):
    """All counts, by scene."""
    instructions, calls = count_instructions(names), count_calls(names)
    return {name: {**instructions[name], **calls[name]} for name in names}


def read_budgets(path=BUDGETS):
    """(versions, {scene: {kind: budget}}); "-": not in the budget."""
    made_with, budgets = [], {}
    for line in path.read_text().splitlines():
        if line.startswith("# with "):
            made_with.append(line[7:])
        elif line and not line.startswith("#"):
            name, *values = line.split()
            budgets[name] = {kind: float(value) for kind, value in zip(KINDS, values)
                             if value != "-"}
    return made_with, budgets


def exceeded(counts, budgets):
    """A line for each count above its budget."""
    return [f"{name}: {counts[name][kind]:,.2f} {kind} per request; the budget is {budget:,.2f}"
            for name, kinds in budgets.items() if name in counts
            for kind, budget in kinds.items()
            if counts[name][kind] > budget * (1 + TOLERANCE) + SLACK]


def write_budgets(counts, left_out=(), path=BUDGETS):
    """Makes these counts the budgets."""
    lines = ["# SPDX-License-Identifier: Apache-2.0",
             "# What a request may cost a VP: `make bench-count` (docs/bench/README.md). 2 % more",
             "# is tolerated. \"-\" is not steady enough for a budget.",
             *(f"# with {version}" for version in versions()),
             f"# {'scene':10} " + " ".join(f"{kind:>13}" for kind in KINDS)]
    for name, kinds in counts.items():
        values = ("-" if (name, kind) in left_out else f"{kinds[kind]:.2f}" for kind in KINDS)
        lines.append(f"{name:12} " + " ".join(f"{value:>13}" for value in values))
    path.write_text("\n".join(lines) + "\n")


def main():
    """Counts and compares."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--update", action="store_true", help="make the counts the budgets")
    parser.add_argument("--scenes", default=",".join(scenes.SCENES))
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    os.umask(0o022)
    procs.adopt_orphans()
    made_with, budgets = read_budgets()
    counts = counted(options.scenes.split(","))
    print(f"{'scene':12} " + " ".join(f"{kind:>13}" for kind in KINDS))
    for name, kinds in counts.items():
        print(f"{name:12} " + " ".join(f"{kinds[kind]:13,.2f}" for kind in KINDS))
    if options.update:
        left_out = {(name, kind) for name, kinds in budgets.items() for kind in KINDS
                    if kind not in kinds}
        write_budgets(counts, left_out)
        return 0
    if made_with != versions():
        print("the budgets were made with other versions: nothing to compare with")
        return 0
    found = exceeded(counts, budgets)
    print("\n".join(found) or "within the budgets")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
