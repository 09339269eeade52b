#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Writes measured figures into docs/which-mpm.md, between its two markers.

Run by `make which-mpm` after `make bench`, whose results.json it reads: medians of all rounds.
"""

import argparse
import json
import statistics
from pathlib import Path

from harness.figures import shown

BEGIN, END = "<!-- figures: written by make which-mpm -->", "<!-- end of figures -->"
SERVERS = ("prefork", "worker", "event", "stm", "nginx")

# A scenario of bench/httpd, one of its figures, and what the page calls the two.
ROWS = [
    ("small", "requests/s", "small file, kept connections: requests/s"),
    ("small", "CPU us/request", "the same: CPU µs per request"),
    ("small", "p99 us", "the same: 99th percentile, µs"),
    ("clients", "requests/s", "the same with 1,000 clients: requests/s"),
    ("connect", "requests/s", "a new connection each time: requests/s"),
    ("tls", "CPU us/request", "TLS 1.3, 10 KB: CPU µs per request"),
    ("http2", "CPU us/request", "HTTP/2: CPU µs per request"),
    ("proxy", "CPU us/request", "reverse proxy: CPU µs per request"),
    ("slow", "in flight", "5,000 requests to a backend that takes 1 s: in progress at once"),
    ("slow", "kernel threads", "the same: kernel threads"),
    ("slow", "PSS bytes/request", "the same: bytes of memory per request"),
    ("idle", "PSS bytes/connection", "10,000 idle connections, plain HTTP/1.1: bytes each"),
    ("idle-tls", "PSS bytes/connection", "1,000 idle connections, TLS 1.3: bytes each"),
    ("idle-http2", "PSS bytes/connection", "1,000 idle connections, HTTP/2: bytes each"),
    ("idle-http2-tls", "PSS bytes/connection",
     "1,000 idle connections, HTTP/2 over TLS: bytes each"),
    ("download", "CPU s/GB", "large files: CPU seconds per GB"),
    ("disk-2vp", "p99 us beside",
     "small file beside 64 reads of a slow disk: 99th percentile, µs"),
    ("reads-2vp", "files being read", "1,000 cold files at once: being read"),
    ("compute-2vp", "p99 us beside",
     "small file beside handlers that compute, one per CPU: 99th percentile, µs"),
    ("compute-2vp", "handlers/s beside", "the same: handlers per second"),
    ("names-2vp", "seconds", "60 look-ups that nobody answers for 2 s: seconds for all"),
    ("programs-2vp", "seconds", "40 programs that take 2 s: seconds for all"),
]


def cell(entry, server, figure):
    """A server's median, or a dash."""
    values = [each[figure] for each in entry["rounds"].get(server, []) if figure in each]
    return shown(statistics.median(values)) if values else "–"


def table(scenarios):
    """The rows that were measured."""
    lines = ["| | " + " | ".join(SERVERS) + " |", "|---|" + "---:|" * len(SERVERS)]
    for name, figure, title in ROWS:
        if name in scenarios:
            cells = [cell(scenarios[name], server, figure) for server in SERVERS]
            lines.append(f"| {title} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def missing(scenarios):
    """Why a server has no figure, if a reason was given."""
    names = dict.fromkeys(name for name, _, _ in ROWS)
    return [f"- {server}, {scenarios[name]['title']}: {why}."
            for name in names if name in scenarios
            for server, why in scenarios[name]["failures"].items()]


def machines(data):
    """The machine measured, or both if some rows were measured on another."""
    known = []
    for name, _, _ in ROWS:
        machine = data["scenarios"].get(name, {}).get("machine", data["machine"])
        if name in data["scenarios"] and machine not in known:
            known.append(machine)
    return "; other rows: ".join(f"{each['cpu']}, {each['cpus']} CPUs, {each['system']}"
                                 for each in known or [data["machine"]])


def text(data):
    """The text between the markers."""
    scenarios = data["scenarios"]
    rounds = {len(each) for entry in scenarios.values() for each in entry["rounds"].values()}
    seconds = {entry["seconds"] for entry in scenarios.values()}

    def span(values):
        return " to ".join(str(each) for each in sorted({min(values), max(values)}))

    measured = "one round" if rounds == {1} else f"medians of {span(rounds)} rounds"
    parts = [f"{machines(data)}; {measured} with {span(seconds)} s of load. "
             "Client and server share the machine; a row's figures are always of one machine.",
             table(scenarios), "\n".join(missing(scenarios))]
    return "\n\n".join(part for part in parts if part)


def fill(page, inside):
    """The page with `inside` between its markers."""
    before, rest = page.split(BEGIN, 1)
    return f"{before}{BEGIN}\n\n{inside}\n\n{END}{rest.split(END, 1)[1]}"


def main():
    """Reads the results, writes the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path)
    parser.add_argument("page", type=Path)
    options = parser.parse_args()
    page = options.page.read_text(encoding="utf-8")
    options.page.write_text(fill(page, text(json.loads(options.results.read_text()))),
                            encoding="utf-8")


if __name__ == "__main__":
    main()
