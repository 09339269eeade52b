# SPDX-License-Identifier: Apache-2.0
"""The census of stacks: how deeply a state thread's stack is used, in scenarios for many modules.

Each scenario runs on its own server, once with a quiet error log and once with LogLevel trace8
(ap_log_error() is among the deepest of httpd's functions). STM_CENSUS makes the VP measure. Prints
a table; --markdown: in the form of docs/internals/stacks-census.md.

  python3 -m bench.census.census [--markdown] [SCENARIO...]
"""

import argparse
import re

from harness import Server, procs, progress
from tests.live.waits.gates import Loop

from . import scenarios

STACK = 1 << 20  # bytes: more than any scenario uses
MARK = re.compile(r"the deepest stack had (\d+) bytes")


def run(scenario, level, loop):
    """Bytes of the deepest stack."""
    server = Server(f"census-{scenario.name}", processes=1, threads=200, tls=scenario.tls,
                    modules=scenario.modules, env={"STM_CENSUS": "1"}, ports=2)
    with scenario.prepared(server, loop) as directives:
        server.configure(f"StackSize {STACK}\nLogLevel {level}\n{directives}")
        server.start()
        try:
            scenario.drive(server)
        finally:
            server.stop(check=False)
    found = [int(number) for number in MARK.findall(server.error_log())]
    assert found, f"no figure in {server.root}/logs/error.log"
    return max(found)


def main():
    """Runs the scenarios and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--markdown", action="store_true", help="a table for the manual")
    parser.add_argument("scenario", nargs="*", help="names; default: all")
    chosen = parser.parse_args()
    procs.adopt_orphans()
    loop = Loop()
    form = "| {} | {} | {} |" if chosen.markdown else "{:<34} {:>9} {:>9}"
    print(form.format("scenario", "bytes", "trace8"))
    if chosen.markdown:
        print("|---|--:|--:|")
    deepest = 0
    wanted = {scenario.name: scenario for scenario in scenarios.ALL
              if not chosen.scenario or scenario.name in chosen.scenario}
    for name in progress.steps(wanted):
        scenario = wanted[name]
        figures = [run(scenario, level, loop) for level in ("notice", "trace8")]
        deepest = max(deepest, *figures)
        progress.clear()
        print(form.format(scenario.title, *figures), flush=True)
    if not chosen.markdown:
        print(f"the deepest: {deepest} bytes; with a factor of 2: StackSize {2 * deepest}")
    loop.end()


if __name__ == "__main__":
    main()
