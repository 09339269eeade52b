# SPDX-License-Identifier: Apache-2.0
"""Counts what a request costs a VP, in ten scenes, and compares with bench/cost/budgets.txt: user
instructions and allocations (callgrind), system calls and futexes among them (strace). Run
by `make bench-count`.
"""

import argparse
import math
import os
import platform
import re
import signal
import subprocess
import sys
from collections import defaultdict
from contextlib import ExitStack, closing
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from textwrap import wrap

from bench.cost import scenes
from bench.cost.vp import Vp
from harness import Server, places, procs
from harness.strace import NotPermitted, Trace, called

BUDGETS = Path(__file__).with_name("budgets.txt")
TOLERANCE = 0.02
WARM_UP, STEPS = 20, 12  # steps of a scene: not counted, and counted
VALGRIND = ("valgrind", "--tool=callgrind", "--trace-children=yes", "--compress-strings=no",
            "--compress-pos=no", "--dump-before=stm_about")
HOW = ("If that is meant: `make bench-count COUNT=--update` writes bench/cost/budgets.txt; commit "
       "it with the change, and say why.")
ONLY = {"libssl3": "tls", "libnghttp2-14": "h2"}  # the only scene that a library matters for
KINDS = ("instructions", "allocations", "calls", "futexes")
# glibc and OpenSSL choose functions by the CPU. These take the same ones on each x86-64 of the last
# ten years: glibc's for SSE2, OpenSSL's for SSE2, SSSE3, PCLMULQDQ and AES.
SAME_CPU = {
    "GLIBC_TUNABLES": "glibc.cpu.hwcaps=" + ",".join(
        f"-{name}" for name in ("AVX512F", "AVX512VL", "AVX512BW", "AVX512CD", "AVX512ER",
                                "AVX2", "AVX", "ERMS", "FSRM", "BMI1", "BMI2", "LZCNT", "MOVBE",
                                "RTM", "SSE4_2", "SSE4_1", "SSSE3", "POPCNT", "FMA", "FMA4",
                                "AVX_Fast_Unaligned_Load")),
    "OPENSSL_ia32cap": "0x%x:0x0" % sum(1 << bit for bit in (4, 24, 25, 26, 33, 41, 57)),
}


def versions():
    """What the counts depend on, beside this tree: builds of the programs and libraries, the
    compiler's options, and the CPU that valgrind shows."""
    packages = ("apache2-bin", "libapr1", "libaprutil1", "libc6", "libssl3", "libnghttp2-14", "gcc",
                "valgrind")
    run = subprocess.run(["dpkg-query", "-W", "-f=${Package} ${Version} ${Architecture}\n",
                          *packages], capture_output=True, text=True, check=False)
    flags = places.BUILD / "flags"
    options = re.findall(r" (-[^WIi]\S+)", flags.read_text()) if flags.exists() else ["none"]
    flags = re.search(r"^flags\s*: (.*)", Path("/proc/cpuinfo").read_text(), re.M)
    avx2 = "with AVX2" if flags and "avx2" in flags.group(1).split() else "without AVX2"
    return [*sorted(run.stdout.splitlines()), *wrap("options " + " ".join(options), 80,
                                                    break_on_hyphens=False),
            f"CPU {platform.machine()} {avx2}"]


def quartile(counts):
    """The count that a quarter of them do not reach."""
    return sorted(counts)[len(counts) // 4]


class Counting:
    """A server of one VP, for all scenes."""

    def __init__(self, stack, launcher=()):
        self.vp = Vp()
        ports = {}
        for name, talk in scenes.BACKENDS.items():
            ports[name] = stack.enter_context(closing(self.vp.backend(talk))).port
        # The length of a file's name decides too, so that of the checkout does not matter.
        root = Path(stack.enter_context(TemporaryDirectory(prefix="stm-", dir="/var/tmp")))
        root.chmod(0o755)
        server = Server("count", mpm="stm", processes=1, threads=16, tls=True, root=root,
                        modules=scenes.MODULES, env=SAME_CPU,
                        directives=scenes.DIRECTIVES.format(**ports))
        server.launcher = [part.format(root=server.root) for part in launcher]
        for name, size in (("45.txt", 45), ("logged.txt", 45), ("10k.bin", 10_240)):
            server.page(name, bytes(size))
        (server.root / "run").chmod(0o777)  # where the VP writes its counts
        stack.callback(server.stop, check=False)
        self.vp.start(server)

    def count(self, name, read):
        """Counts per request in a scene: lower quartiles of the steps, because what comes now and
        then only adds. `read()` gives the counts since it was last called."""
        found = defaultdict(list)
        with closing(scenes.SCENES[name](self.vp)) as scene:
            for step, requests in enumerate(islice(scene, WARM_UP + STEPS)):
                counts = read() if step >= WARM_UP - 1 else None
                if requests and step >= WARM_UP:
                    found[requests].append(counts)
        return [sum(each) for each in zip(*([quartile(kind) / requests for kind in zip(*counts)]
                                            for requests, counts in found.items()))]


def _counts_of(dump):
    """Instructions and allocations in a file of callgrind's."""
    text = dump.read_text(errors="replace")
    calls = re.findall(r"^cfn=(?:malloc|calloc|realloc|memalign|posix_memalign)\ncalls=(\d+)",
                       text, re.M)
    return int(re.search(r"^(?:totals|summary): (\d+)", text, re.M).group(1)), sum(map(int, calls))


class Marks:
    """Requests for a page that nothing else asks for: callgrind writes a file at each, and begins
    to count anew."""

    def __init__(self, vp, conn):
        self._vp, self._conn, self._serial = vp, conn, 0
        own = [self._since() for _ in range(WARM_UP + STEPS)][WARM_UP:]
        self._own = [quartile(kind) for kind in zip(*own)]

    def _since(self):
        assert self._conn.get("/mark?about").status == 200
        self._vp.settle()
        self._serial += 1
        return _counts_of(self._vp.server.root / f"run/count.{self._vp.pid}.{self._serial}")

    def since(self):
        """Counts since the last mark, without the marks' own."""
        return [count - own for count, own in zip(self._since(), self._own)]


def count_instructions(names):
    """Instructions and allocations per request, by scene."""
    with ExitStack() as stack:
        counting = Counting(stack, [*VALGRIND, "--callgrind-out-file={root}/run/count.%p",
                                    "--log-file={root}/run/valgrind.%p"])
        marks = Marks(counting.vp, stack.enter_context(counting.vp.server.connect()))
        return {name: dict(zip(KINDS, counting.count(name, marks.since))) for name in names}


class Calls:
    """The VP's system calls. strace writes a line when a call has ended."""

    def __init__(self, vp):
        path = vp.server.root / "strace.out"
        self._trace = Trace([vp.pid], path, "all")
        self._file = path.open()

    def since(self):
        """How many there were since the last time, and how many of them for a futex."""
        calls = called(self._file.read())
        return len(calls), calls.count("futex")

    def close(self):
        """No more."""
        self._file.close()
        self._trace.end()


def count_calls(names):
    """System calls per request, by scene; none where strace is not permitted."""
    with ExitStack() as stack:
        counting = Counting(stack)
        try:
            calls = stack.enter_context(closing(Calls(counting.vp)))
        except NotPermitted:
            return {name: {} for name in names}
        return {name: dict(zip(KINDS[2:], counting.count(name, calls.since))) for name in names}


def counted(names):
    """All counts, by scene."""
    instructions, calls = count_instructions(names), count_calls(names)
    return {name: {**instructions[name], **calls[name]} for name in names}


def read_budgets(path=BUDGETS):
    """(versions, {scene: {kind: budget}})"""
    made_with, budgets = [], {}
    for line in path.read_text().splitlines():
        if line.startswith("# with "):
            made_with.append(line[7:])
        elif line and not line.startswith("#"):
            name, *values = line.split()
            budgets[name] = {kind: float(value) for kind, value in zip(KINDS, values)}
    return made_with, budgets


def exceeded(counts, budgets):
    """A line for each count above its budget; what could not be counted is not compared."""
    return [f"{name}: {count:,.2f} {kind} per request; the budget is {budgets[name][kind]:,.2f}"
            for name, kinds in counts.items()
            for kind, count in kinds.items()
            if count > budgets[name][kind] * (1 + TOLERANCE)]


def other_versions(made_with, name):
    """Which versions are not those of the budgets, so that there is nothing to compare a scene
    with; "" if all are."""
    def concern(lines):
        return [line for line in lines if ONLY.get(line.split()[0], name) == name]

    here, there = concern(versions()), concern(made_with)
    return "; ".join([*(f"budgets: {line}" for line in there if line not in here),
                      *(f"here: {line}" for line in here if line not in there)])


def write_budgets(counts, path=BUDGETS):
    """Makes these counts the budgets."""
    lines = ["# SPDX-License-Identifier: Apache-2.0",
             "# What a request may cost a VP, and 2 % more. `make bench-count COUNT=--update`",
             "# writes this file (docs/bench/README.md). It holds for",
             *(f"# with {version}" for version in versions()),
             f"# {'scene':10} " + " ".join(f"{kind:>13}" for kind in KINDS)]
    for name, kinds in counts.items():
        lines.append(f"{name:12} " + " ".join(f"{kinds[kind]:13.2f}" for kind in KINDS))
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
    counts = counted(options.scenes.split(","))
    print(f"{'scene':12} " + " ".join(f"{kind:>13}" for kind in KINDS))
    for name, kinds in counts.items():
        print(f"{name:12} " + " ".join(f"{kinds.get(kind, math.nan):13,.2f}" for kind in KINDS))
    if options.update:
        if any(set(kinds) != set(KINDS) for kinds in counts.values()):
            return "strace is not permitted here: these counts would be half of the budgets"
        if set(counts) != set(scenes.SCENES):
            return "--update needs all scenes"
        write_budgets(counts)
        return 0
    made_with, budgets = read_budgets()
    others = {name: other_versions(made_with, name) for name in counts}
    for name, versions_of in others.items():
        if versions_of:
            print(f"{name}: nothing to compare with: {versions_of}")
    found = exceeded({name: counts[name] for name in counts if not others[name]}, budgets)
    print("\n".join([*found, HOW] if found else ["within the budgets"]))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
