# SPDX-License-Identifier: Apache-2.0
"""How a large file is sent: by sendfile() where that is safe, but otherwise as the configuration
says; the bytes are the same, and a file that shrinks meanwhile ends no process."""

import gzip
import re

import pytest

from harness import MPM, procs, wait_for
from harness.client import Closed
from harness.strace import Trace

from .tracing import skipped_if_forbidden
from .waits.h2client import H2

SMALL, MEGABYTE = 32768, 1 << 20
BODY = (bytes(n * 7 % 251 for n in range(251)) * (3 * MEGABYTE // 251 + 1))[:3 * MEGABYTE]
HUGE = 64 * MEGABYTE  # more than the sockets between server and client hold
BOTH = pytest.mark.parametrize("mpm", sorted({"event", MPM}))
# The directives, and with which call a large file is sent: by stm, by another MPM.
SAID = {
    "": ("sendfile", "mmap"),
    "EnableSendfile On": ("sendfile", "sendfile"),
    "EnableSendfile Off": ("mmap", "mmap"),
    "EnableMMAP On": ("mmap", "mmap"),
    "EnableMMAP Off": ("read", "read"),
    "EnableSendfile Off\nEnableMMAP Off": ("read", "read"),
    "EnableSendfile On\nEnableMMAP Off": ("sendfile", "sendfile"),
}


def server_of(serve, mpm, directives="", **options):
    """A server of one process with the files that the tests ask for."""
    server = serve(mpm=mpm, processes=1, directives=directives, **options)
    server.page("large.bin", BODY)
    server.page("edge.bin", BODY[:SMALL])
    server.page("over.bin", BODY[:SMALL + 1])
    return server


def calls_of(server, ask):
    """How the only process sent what `ask()` requested: "sendfile", "mmap" or "read", each with its
    number of calls for a file."""
    with skipped_if_forbidden():
        tracer = Trace(server.children(), server.root / "strace.out",
                       "sendfile,mmap,read,pread64,preadv2")
    try:
        ask()
    finally:
        trace = tracer.end()
    mapped = re.findall(r"mmap\(NULL, (?!.*MAP_ANONYMOUS).*MAP_SHARED", trace)
    read = re.findall(r"(?:read|pread64|preadv2)\(.*\) += (\d+)", trace)
    return {"sendfile": trace.count("sendfile("), "mmap": len(mapped),
            "read": sum(int(size) >= 8000 for size in read)}


def way_of(server, path="/large.bin", body=BODY):
    """With which call the server sends that file; and the bytes are right."""
    with server.connect() as conn:
        assert conn.get("/edge.bin").body == BODY[:SMALL]

        def ask():
            assert conn.get(path).body == body
        calls = calls_of(server, ask)
    return next((way for way in ("sendfile", "mmap", "read") if calls[way]), None)


@BOTH
@pytest.mark.parametrize("directives", SAID)
def test_what_is_said_is_done(serve, mpm, directives):
    server = server_of(serve, mpm, directives).start()
    assert way_of(server) == SAID[directives][mpm != "stm"]


@BOTH
def test_sections_and_htaccess_have_their_say(serve, mpm):
    """The closest one counts, as ever."""
    server = server_of(serve, mpm, """
        <Directory @ROOT@/htdocs>
            AllowOverride FileInfo
        </Directory>
        <Directory @ROOT@/htdocs/off>
            EnableSendfile Off
        </Directory>
        """)
    for folder in ("off", "file"):
        server.page(f"{folder}/large.bin", BODY)
    server.page("file/.htaccess", "EnableSendfile Off\n")
    server.start()
    assert way_of(server, "/off/large.bin") == "mmap"
    assert way_of(server, "/file/large.bin") == "mmap"
    assert way_of(server) == ("sendfile" if mpm == "stm" else "mmap")


@pytest.mark.stm_only
def test_only_large_files(serve):
    server = server_of(serve, "stm").start()
    with server.connect() as conn:
        calls = calls_of(server, lambda: conn.get("/edge.bin"))
        assert calls["sendfile"] == calls["mmap"] == 0 < calls["read"]
        calls = calls_of(server, lambda: conn.get("/over.bin"))
        assert calls["sendfile"] == 1


@pytest.mark.stm_only
def test_a_large_file_takes_few_calls(serve):
    """One for each megabyte, and one for each time that the socket is full."""
    server = server_of(serve, "stm").start()
    with server.connect(rcvbuf=8 * MEGABYTE) as conn:
        calls = calls_of(server, lambda: conn.get("/large.bin"))
    assert calls["mmap"] == 0 and 1 <= calls["sendfile"] <= 300, calls


@BOTH
@pytest.mark.parametrize("asked, first, last", [
    ("0-0", 0, 0), ("1-", 1, len(BODY) - 1), ("-5", len(BODY) - 5, len(BODY) - 1),
    ("100-1048700", 100, 1048700), ("40000-40255", 40000, 40255)])
def test_ranges(serve, mpm, asked, first, last):
    server = server_of(serve, mpm).start()
    with server.connect() as conn:
        for _ in range(2):
            got = conn.get("/large.bin", headers=[f"Range: bytes={asked}"])
            assert got.status == 206
            assert got.headers["content-range"] == f"bytes {first}-{last}/{len(BODY)}"
            assert got.body == BODY[first:last + 1]


@BOTH
def test_several_ranges_head_and_pipelined(serve, mpm):
    server = server_of(serve, mpm).start()
    with server.connect() as conn:
        got = conn.get("/large.bin", headers=["Range: bytes=5-40004,1000000-2000000"])
        assert got.status == 206
        assert BODY[5:40005] in got.body and BODY[1000000:2000001] in got.body
        head = conn.get("/large.bin", method="HEAD")
        assert (head.status, head.headers["content-length"]) == (200, str(len(BODY)))
        for path in ("/large.bin", "/edge.bin", "/over.bin", "/large.bin"):
            conn.ask(path)
        for size in (len(BODY), SMALL, SMALL + 1, len(BODY)):
            assert conn.response().body == BODY[:size]


@BOTH
def test_filters_get_the_file_as_ever(serve, mpm):
    server = server_of(serve, mpm, """
        SetOutputFilter DEFLATE
        """, modules=("deflate", "filter")).start()

    def ask():
        got = server.get("/large.bin", headers=["Accept-Encoding: gzip"])
        assert got.headers["content-encoding"] == "gzip"
        assert gzip.decompress(got.body) == BODY
    assert calls_of(server, ask)["sendfile"] == 0


@BOTH
def test_tls_and_http2_read_what_they_send(serve, mpm):
    server = server_of(serve, mpm, "Protocols h2c http/1.1", tls=True, modules=("http2",)).start()

    def ask():
        with server.connect_tls() as conn:
            assert conn.get("/large.bin").body == BODY
            assert conn.get("/large.bin", headers=["Range: bytes=-70000"]).body == BODY[-70000:]
        with H2(server.port) as client:
            client.get("/large.bin")
            assert client.finish()[0].body == BODY
    assert calls_of(server, ask)["sendfile"] == 0


@pytest.mark.parametrize("mpm, directives", [
    (mpm, directives) for mpm in sorted({"event", MPM}) for directives in ("", "EnableSendfile On")
    if mpm != "event" or directives])
def test_a_file_that_shrinks_ends_its_response_only(serve, mpm, directives):
    """Half of it goes away while the client has not yet read. The client sees that the response is
    not whole; the process serves on. By default event maps the file; with sendfile() it takes its
    Timeout to notice, computing."""
    server = server_of(serve, mpm, f"{directives}\nTimeout 3")
    server.page("shrinks.bin", b"")
    path = server.root / "htdocs/shrinks.bin"
    with path.open("r+b") as file:
        file.truncate(HUGE)
    server.start()
    before = server.children()
    with server.connect(rcvbuf=65536) as conn:
        conn.ask("/shrinks.bin")
        assert int(conn.head().headers["content-length"]) == HUGE
        assert conn.exactly(MEGABYTE) == bytes(MEGABYTE)
        with path.open("r+b") as file:
            file.truncate(HUGE // 2)
        try:
            rest = len(conn.rest())
        except Closed:
            rest = 0  # the connection was reset
        assert rest < HUGE - MEGABYTE
    assert server.get("/large.bin").body == BODY
    assert server.children() == before


@pytest.mark.stm_only
def test_a_file_that_grows_keeps_its_length(serve):
    server = server_of(serve, "stm").start()
    path = server.root / "htdocs/large.bin"
    with server.connect(rcvbuf=65536) as conn:
        conn.ask("/large.bin")
        assert int(conn.head().headers["content-length"]) == len(BODY)
        with path.open("ab") as file:
            file.write(BODY)
        assert conn.exactly(len(BODY)) == BODY
        assert conn.get("/edge.bin").body == BODY[:SMALL]


@pytest.mark.stm_only
def test_file_systems_of_others_are_not_trusted(serve, slow_fs):
    """A program serves this one, as another machine serves NFS. What is said is done there too."""
    slow = slow_fs(f"large.bin:{MEGABYTE}")
    server = server_of(serve, "stm", f"""
        Alias /slow/ {slow.path}/
        Alias /said/ {slow.path}/
        <Location /said/>
            EnableSendfile On
        </Location>
        """).start()
    body = server.get("/slow/large.bin").body
    assert len(body) == MEGABYTE
    assert way_of(server, "/slow/large.bin", body) != "sendfile"
    assert way_of(server, "/said/large.bin", body) == "sendfile"


@pytest.mark.stm_only
def test_many_slow_downloads_beside_small_files(serve):
    """Clients that do not read hold descriptors and buffers, not the process: no thread either."""
    server = server_of(serve, "stm").start()
    conns = [server.connect(rcvbuf=65536) for _ in range(20)]
    try:
        for conn in conns:
            conn.ask("/large.bin")
        assert server.get("/edge.bin").body == BODY[:SMALL]
        assert all(conn.response().body == BODY for conn in conns)
    finally:
        for conn in conns:
            conn.close()
    child, = server.children()
    wait_for(lambda: not any("large.bin" in name for name in procs.fds(child).values()),
             "files to be closed")
