# SPDX-License-Identifier: Apache-2.0
"""Calls that wait inside the C library, under stm and event: seconds until all are answered, and
the memory that each takes meanwhile. Needs root: a name server and a mount namespace.

  python3 -m bench.helpers.helpers
"""

import time

from harness import Server, procs
from harness.nameserver import NameServer, with_names

PATIENT = 60  # seconds, of a client
MPMS = ("event", "stm")
BY_NAME = "RewriteEngine On\nRewriteRule ^/to/([^/]+) http://$1:9/ [P]\n"
PROGRAM = """
function handle(r)
    os.execute("sleep 2")
    return apache2.OK
end
"""


def ask(server, paths):
    """A request for each path, on a connection of its own."""
    conns = [server.connect() for _ in paths]
    for conn, path in zip(conns, paths):
        conn.sock.settimeout(PATIENT)
        conn.ask(path)
    return conns


def seconds(server, paths):
    """From the first request to the last answer."""
    start = time.monotonic()
    for conn in ask(server, paths):
        conn.response()
        conn.close()
    return time.monotonic() - start


def proxy(mpm, name_server, requests, options, more=""):
    """A server that looks up the name of each request."""
    server = Server(f"bench-{mpm}", mpm=mpm, processes=1, threads=requests + 50,
                    modules=("proxy", "proxy_http", "rewrite"), directives=BY_NAME + more)
    return with_names(server, name_server, options=options).start()


def names(mpm):
    """60 different names, and a name server that answers none; the resolver's usual patience."""
    name_server = NameServer()
    server = proxy(mpm, name_server, 60, "timeout:5 attempts:2")
    took = seconds(server, [f"/to/host{n}.example.dead" for n in range(60)])
    server.stop()
    name_server.end()
    return took


def programs(mpm):
    """40 programs of 2 s, by system()."""
    server = Server(f"bench-{mpm}", mpm=mpm, processes=1, threads=90, modules=("lua",),
                    directives="LuaMapHandler ^/run @ROOT@/run.lua handle\n")
    (server.root / "run.lua").write_text(PROGRAM)
    server.start()
    took = seconds(server, ["/run"] * 40)
    server.stop()
    return took


def memory(mpm, count=500):
    """KB of the serving process for each look-up that waits, its connection and request included."""
    name_server = NameServer()
    limit = "HelperThreads 1024\n" if mpm == "stm" else ""
    server = proxy(mpm, name_server, count, "timeout:30 attempts:1", limit)
    name_server.open()
    seconds(server, [f"/to/host{n}.example" for n in range(count)])
    time.sleep(6)  # helpers leave
    pid, = server.children()
    before = procs.pss(pid)
    conns = ask(server, [f"/to/host{n}.zone{n}.dead" for n in range(count)])
    name_server.wait_asked(2 * count)
    taken = procs.pss(pid) - before
    for conn in conns:
        conn.close()
    name_server.open(dead=True)
    server.stop()
    name_server.end()
    return taken / count / 1024


def main():
    """Runs the scenes and prints the table."""
    procs.adopt_orphans()
    print(f"{'':<44}" + "".join(f"{mpm:>10}" for mpm in MPMS))
    for title, scene in (("60 look-ups of a silent name server, s", names),
                         ("40 programs of 2 s, s", programs),
                         ("500 look-ups that wait, KB each", memory)):
        print(f"{title:<44}" + "".join(f"{scene(mpm):>10.2f}" for mpm in MPMS), flush=True)


if __name__ == "__main__":
    main()
