# SPDX-License-Identifier: Apache-2.0
"""FIFOs where httpd looks for files: a request that opens one waits for the other end, and holds up
nobody else."""

import contextlib
import errno
import os

import pytest

from harness import MPM, wait_for

from .inflight import InFlight, quick

SOME = 8
BOTH = pytest.mark.parametrize("mpm", sorted({"event", MPM}))

LUA = """
function handle(r)
    local file = io.open("@ROOT@/fifos/" .. r.args)
    r:puts(file:read("*a"))
    file:close()
    return apache2.OK
end
"""


def make_fifos(folder, names):
    """Creates FIFOs with these names, which anyone may use."""
    made = []
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        os.mkfifo(path)
        path.chmod(0o666)
        made.append(path)
    return made


def write(path, text):
    """Writes to a FIFO as soon as it is opened for reading."""
    def opened():
        try:
            return [os.open(path, os.O_WRONLY | os.O_NONBLOCK)]
        except OSError as error:
            assert error.errno == errno.ENXIO
            return None
    descriptor, = wait_for(opened, f"a reader of {path}")
    with contextlib.suppress(BrokenPipeError):
        os.write(descriptor, text)
    os.close(descriptor)


@BOTH
def test_htaccess(serve, mpm):
    """.htaccess is a FIFO, which anyone with write access there can create; in the end httpd
    rejects it."""
    server = serve.make(mpm=mpm, processes=1, threads=64, directives="""
        <Directory @ROOT@/htdocs/own*>
            AllowOverride All
        </Directory>
        """)
    for n in range(SOME):
        server.page(f"own{n}/page.html", "page\n")
    fifos = make_fifos(server.root / "htdocs", [f"own{n}/.htaccess" for n in range(SOME)])
    server.allowed.append("AH00529")
    server.start()
    with InFlight(server, [f"/own{n}/page.html" for n in range(SOME)]) as flight:
        quick(server)
        assert flight.answered() == 0
        for fifo in fifos:
            write(fifo, b"\n")
        assert [got.status for got in flight.finish()] == [403] * SOME


@BOTH
def test_a_module_that_reads_fifos(serve, mpm):
    """Each request gets what is written to its own FIFO."""
    server = serve.make(mpm=mpm, processes=1, threads=64, modules=("lua",),
                        directives="LuaMapHandler ^/read @ROOT@/read.lua handle")
    (server.root / "read.lua").write_text(LUA.replace("@ROOT@", str(server.root)))
    fifos = make_fifos(server.root / "fifos", [str(n) for n in range(SOME)])
    server.start()
    with InFlight(server, [f"/read?{n}" for n in range(SOME)]) as flight:
        quick(server)
        assert flight.answered() == 0
        for n, fifo in reversed(list(enumerate(fifos))):
            write(fifo, b"from %d\n" % n)
        assert [got.text for got in flight.finish()] == [f"from {n}\n" for n in range(SOME)]
