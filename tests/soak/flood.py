# SPDX-License-Identifier: Apache-2.0
"""A flood of requests that crash their process, beside one good request every 150 ms.

    make flood [MPM=stm|event] [PROCESSES=2] [GAP=0.02] [GONE=1]

GAP: seconds between two of them; GONE=1: their clients do not wait for an answer. Prints how many
of 40 good requests were answered within a second, and for how long nobody was after the flood.
"""

import argparse
import socket
import threading
import time

from harness import Server, procs, tool

GOOD = 40
PROBE = "<Location /probe>\nSetHandler probe\n</Location>\n"


def ask(port, path, patience):
    """The first bytes of the answer; empty if none arrives in time."""
    try:
        with socket.create_connection(("127.0.0.1", port), 1) as client:
            client.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
            client.settimeout(patience or 1)
            return client.recv(100) if patience else b""
    except OSError:
        return b""


class Flood(threading.Thread):
    """The crashing requests."""

    def __init__(self, port, gap, gone):
        super().__init__(daemon=True)
        self.port, self.gap, self.patience = port, gap, 0 if gone else 1
        self.ending, self.sent = threading.Event(), 0

    def run(self):
        while not self.ending.wait(self.gap):
            threading.Thread(target=ask, args=(self.port, "/probe?die", self.patience),
                             daemon=True).start()
            self.sent += 1


def answered(port):
    """How long a good request took, in ms; None: it was not answered."""
    begun = time.monotonic()
    if not ask(port, "/", 1).startswith(b"HTTP/1.1 200"):
        return None
    return 1000 * (time.monotonic() - begun)


def main():
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mpm", default="stm")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--gap", type=float, default=0.2)
    parser.add_argument("--gone", action="store_true")
    options = parser.parse_args()
    procs.adopt_orphans()
    server = Server("flood", mpm=options.mpm, processes=options.processes, directives=PROBE,
                    modules=[tool("mod_probe.so")]).start()
    flood = Flood(server.port, options.gap, options.gone)
    flood.start()
    times = []
    for _ in range(GOOD):
        times.append(answered(server.port))
        time.sleep(0.15)
    flood.ending.set()
    flood.join()
    begun = time.monotonic()
    while answered(server.port) is None:
        time.sleep(0.05)
    outage = 1000 * (time.monotonic() - begun)
    good = [took for took in times if took is not None]
    deaths = server.error_log().count("exit signal Segmentation fault")
    print(f"{options.mpm}, {options.processes} processes: {flood.sent} sent, {deaths} deaths; "
          f"{len(good)} of {GOOD} good requests answered, the slowest after "
          f"{max(good, default=0):.0f} ms; first answer after the flood: {outage:.0f} ms")
    server.stop(check=False)


if __name__ == "__main__":
    main()
