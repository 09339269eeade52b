# SPDX-License-Identifier: Apache-2.0
"""The memory cost of waiting look-ups, under stm and event. Needs root: a name server, and a mount
namespace. How long look-ups take is measured by bench/httpd (names, programs).

  python3 -m bench.helpers.helpers
"""

import time

from harness import Server, procs, progress
from harness.nameserver import NameServer, with_names

PATIENT = 60  # seconds, of a client
COUNT = 500
MPMS = ("event", "stm")
BY_NAME = "RewriteEngine On\nRewriteRule ^/to/([^/]+) http://$1:9/ [P]\n"


def ask(server, paths):
    """Sends a request for each path, each on its own connection."""
    conns = [server.connect() for _ in paths]
    for conn, path in zip(conns, paths):
        conn.sock.settimeout(PATIENT)
        conn.ask(path)
    return conns


def answer(server, paths):
    """The same, then waits until all are answered."""
    for conn in ask(server, paths):
        conn.response()
        conn.close()


def proxy(mpm, name_server, more=""):
    """A server that looks up the name of each request."""
    server = Server(f"bench-{mpm}", mpm=mpm, processes=1, threads=COUNT + 50,
                    modules=("proxy", "proxy_http", "rewrite"), directives=BY_NAME + more)
    return with_names(server, name_server).start()


def memory(mpm):
    """KB of the serving process for each look-up that waits, with its connection and request."""
    name_server = NameServer()
    limit = "HelperThreads 1024\n" if mpm == "stm" else ""
    server = proxy(mpm, name_server, limit)
    name_server.open()
    answer(server, [f"/to/host{n}.example" for n in range(COUNT)])
    time.sleep(6)  # helpers leave
    pid, = server.children()
    before = procs.pss(pid)
    conns = ask(server, [f"/to/host{n}.zone{n}.dead" for n in range(COUNT)])
    name_server.wait_asked(2 * COUNT)
    taken = procs.pss(pid) - before
    for conn in conns:
        conn.close()
    name_server.open(dead=True)
    server.stop(check=False)  # event may crash with requests in progress
    name_server.end()
    return taken / COUNT / 1024


def main():
    """Measures both."""
    procs.adopt_orphans()
    for mpm in progress.steps(MPMS):
        taken = memory(mpm)
        progress.clear()
        print(f"{mpm:<6} {COUNT} look-ups that wait: {taken:.1f} KB each", flush=True)


if __name__ == "__main__":
    main()
