# SPDX-License-Identifier: Apache-2.0
"""Slow disks: a request that waits for one holds up nobody else.

The proof is the order of events: calls to a slow file system are held, each made by a request of
its own; small files from elsewhere are served meanwhile; no call was released; then all requests
are answered.
"""

import contextlib
import re
from dataclasses import dataclass, field

import pytest

from harness import MPM, slowfs, wait_for

from .h2client import H2
from .inflight import InFlight, quick

MEGABYTE = 1 << 20
SOME = 8  # requests in the tests about kinds of calls
BOTH = pytest.mark.parametrize("mpm", sorted({"event", MPM}))


def slow_server(serve, slow, mpm, directives="", **options):
    """A server of one process that serves the slow file system at /slow/."""
    return serve(mpm=mpm, processes=1, threads=128, directives=f"""
        Alias /slow/ {slow.path}/
        {directives}
        """, **options)


def held_up(server, slow, paths, kinds, names="*", enough=None, **more):
    """A request for each path, which waits for held calls of these kinds; meanwhile small files are
    served, and then all requests get their answers, which are returned.

    enough(): whether all of them have reached their wait; by default, once each holds a call.
    """
    paths = list(paths)

    def all_wait():
        return slow.calls().held >= len(paths)

    def until_all_wait():
        try:
            wait_for(enough or all_wait, "requests to wait for the disk")
        except AssertionError as error:
            raise AssertionError(f"{error}; its calls: {slow.calls()}") from None
    with contextlib.ExitStack() as stack:
        stack.enter_context(slow.holding(kinds, names))
        flight = stack.enter_context(InFlight(server, paths, **more))
        until_all_wait()
        before = slow.calls().held
        quick(server)
        assert slow.calls().held >= before, "requests that wait must not have continued"
        slow.release(kinds)
        return flight.finish()


# --- large files ---------------------------------------------------------------------------------

# How httpd sends a file, and whether the kernel has a page cache for it.
SENDS = {
    "mapped": ("EnableMMAP On", 0),
    "read": ("EnableMMAP Off", 0),
    "read-uncached": ("EnableMMAP Off", 1),
    "sendfile": ("EnableSendfile On", 0),
    "sendfile-uncached": ("EnableSendfile On", 1),
}


@BOTH
@pytest.mark.parametrize("send", SENDS)
@pytest.mark.parametrize("count", [4, 64])
def test_cold_files(serve, slow_fs, mpm, send, count):
    """As many files of a megabyte are being read as clients ask for, each by its own wait."""
    directives, direct = SENDS[send]
    slow = slow_fs(f"cold#.bin:{MEGABYTE}:{count}")
    slow.option("direct", direct)
    server = slow_server(serve, slow, mpm, directives)
    got = held_up(server, slow, [f"/slow/cold{n}.bin" for n in range(count)], "read",
                  enough=lambda: slow.calls("read").files == count)
    assert all(each.body == slowfs.content(MEGABYTE) for each in got)


@BOTH
@pytest.mark.parametrize("directive", ["EnableMMAP On", "EnableMMAP Off", "EnableSendfile On"])
def test_cold_files_over_tls(serve, slow_fs, mpm, directive):
    """mod_ssl reads the file that it encrypts."""
    slow = slow_fs(f"cold#.bin:{MEGABYTE}:{SOME}")
    server = slow_server(serve, slow, mpm, directive, tls=True)
    with slow.holding("read"), contextlib.ExitStack() as stack:
        conns = [stack.enter_context(server.connect_tls()) for _ in range(SOME)]
        for number, conn in enumerate(conns):
            conn.ask(f"/slow/cold{number}.bin")
        wait_for(lambda: slow.calls("read").files == SOME, "all files to be read")
        quick(server)
        assert slow.calls("read").files == SOME
        slow.release()
        assert all(conn.response().body == slowfs.content(MEGABYTE) for conn in conns)


@BOTH
def test_cold_files_over_http2(serve, slow_fs, mpm):
    """Each connection waits for its own file; streams of other connections are served."""
    slow = slow_fs(f"cold#.bin:{MEGABYTE}:{SOME}")
    server = slow_server(serve, slow, mpm, "Protocols h2c http/1.1", modules=("http2",))
    with slow.holding("read"), contextlib.ExitStack() as stack:
        clients = [stack.enter_context(H2(server.port)) for _ in range(SOME)]
        for number, client in enumerate(clients):
            client.get(f"/slow/cold{number}.bin")
        wait_for(lambda: slow.calls("read").files == SOME, "all files to be read")
        with H2(server.port) as other:
            other.get("/index.html")
            assert other.finish()[0].status == 200
        assert slow.calls("read").files == SOME
        slow.release()
        assert all(client.finish()[0].body == slowfs.content(MEGABYTE) for client in clients)


# --- what httpd and its modules do with a file system --------------------------------------------

@dataclass
class Scene:
    """A request that uses a slow disk, and which of its calls are held."""

    kinds: str
    names: str = "*"
    path: str = "/slow/d{n}/page.txt"
    status: int = 200
    text: str = ""          # the response contains it; none: anything
    modules: tuple = ()
    directives: str = ""    # @SLOW@ stands for the folder
    files: dict = field(default_factory=dict)  # beside d0/page.txt, d1/page.txt ...
    request: dict = field(default_factory=dict)
    direct: int = 0
    at_once: int = SOME     # how many calls are held, if not one for each request


DAV = {"modules": ("dav", "dav_fs"), "directives": """
    DavLockDB @ROOT@/own/locks
    <Directory @SLOW@>
        Dav On
    </Directory>
    """}
TO_COPY = "Destination: http://localhost/slow/d{n}/copy.txt"
LUA_READS = """
function handle(r)
    local file = io.open("@SLOW@/d" .. r.args .. "/page.txt")
    r:puts(file:read("*l") .. "\\n")
    file:close()
    return apache2.OK
end
"""

SCENES = {
    "stat": Scene("lookup", "page.txt", text="page\n"),
    "open": Scene("open", "page.txt", text="page\n"),
    "close": Scene("flush", "page.txt", text="page\n"),
    "htaccess": Scene("lookup", ".htaccess", text="page\n", directives="""
        <Directory @SLOW@/d*>
            AllowOverride All
        </Directory>
        """),
    "htaccess-read": Scene("open,read", ".htaccess", text="page\n", directives="""
        <Directory @SLOW@/d*>
            AllowOverride All
        </Directory>
        """, files={f"d{n}/.htaccess": "Options None\n" for n in range(SOME)}),
    "symbolic-links": Scene("readlink", "link.txt", path="/slow/d{n}/link.txt", text="page\n"),
    "index": Scene("lookup", "index.html", path="/slow/d{n}/", text="page\n", directives="""
        <Directory @SLOW@>
            DirectoryIndex index.html page.txt
        </Directory>
        """),
    "autoindex": Scene("opendir,readdir", "d*", path="/slow/d{n}/", text="page.txt",
                       modules=("autoindex",), directives="""
        <Directory @SLOW@>
            Options +Indexes
        </Directory>
        """),
    "autoindex-stat": Scene("lookup", "page.txt", path="/slow/d{n}/", text="page.txt",
                            modules=("autoindex",), directives="""
        <Directory @SLOW@>
            Options +Indexes
            IndexOptions FancyIndexing
        </Directory>
        """),
    "multiviews": Scene("opendir,readdir", "d*", path="/slow/d{n}/page", text="page\n",
                        modules=("negotiation",), directives="""
        <Directory @SLOW@>
            Options +MultiViews
        </Directory>
        """),
    "include": Scene("read", "page.txt", path="/slow/d{n}/all.shtml", text="<page\n>",
                     modules=("include",), directives="""
        <Directory @SLOW@>
            Options +Includes
            AddOutputFilter INCLUDES .shtml
        </Directory>
        """, files={f"d{n}/all.shtml": '<<!--#include file="page.txt" -->>' for n in range(SOME)}),
    "passwords": Scene("read", "users", path="/slow/d{n}/page.txt", direct=1, text="page\n",
                       modules=("auth_basic", "authn_core", "authn_file", "authz_user"),
                       directives="""
        <Directory @SLOW@>
            AuthType Basic
            AuthName users
            AuthUserFile @SLOW@/users
            Require valid-user
        </Directory>
        """, files={"users": "me:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=\n"},
                       request={"headers": ["Authorization: Basic bWU6cGFzc3dvcmQ="]}),
    "rewrite-map": Scene("lookup", "map", path="/mapped/{n}", text="page\n",
                         modules=("rewrite",), directives="""
        RewriteEngine On
        RewriteMap numbers txt:@SLOW@/map
        RewriteRule ^/mapped/(.*)$ /slow/d${numbers:$1}/page.txt [PT]
        """, files={"map": "".join(f"{n} {n}\n" for n in range(SOME))}),
    "cgi": Scene("lookup,access,open,read", "script.cgi", path="/slow/d{n}/script.cgi",
                 text="from the script\n", modules=("cgi",), directives="""
        <Directory @SLOW@>
            Options +ExecCGI
            AddHandler cgi-script .cgi
        </Directory>
        """, files={f"d{n}/script.cgi": "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\n'\n"
                    "echo from the script\n" for n in range(SOME)}),
    "lua-reads": Scene("read", "page.txt", path="/lua?{n}", text="page\n", modules=("lua",),
                       directives="LuaMapHandler /lua @SLOW@/reads.lua handle",
                       files={"reads.lua": LUA_READS}),
    "lua-opens": Scene("open", "page.txt", path="/lua?{n}", text="page\n", modules=("lua",),
                       directives="LuaMapHandler /lua @SLOW@/reads.lua handle",
                       files={"reads.lua": LUA_READS}),
    "lua-script": Scene("read", "reads.lua", path="/lua?{n}", text="page\n", modules=("lua",),
                        directives="LuaMapHandler /lua @SLOW@/reads.lua handle",
                        files={"reads.lua": LUA_READS}, direct=1),
    "cache-stores": Scene("create", path="/cached/{n}.txt", text="cached\n",
                          modules=("cache", "cache_disk"), directives="""
        CacheRoot @SLOW@/cache
        CacheEnable disk /cached
        CacheDefaultExpire 3600
        CacheIgnoreNoLastMod On
        """, files={"cache/here": ""}, at_once=1),  # the kernel locks the folder meanwhile
    "dav-put": Scene("create", path="/slow/d{n}/new.txt", status=201, **DAV,
                     request={"method": "PUT", "body": b"new"}),
    "dav-put-write": Scene("write", path="/slow/d{n}/new.txt", status=201, **DAV,
                           request={"method": "PUT", "body": b"new"}),
    "dav-put-rename": Scene("rename", path="/slow/d{n}/new.txt", status=201, **DAV,
                            request={"method": "PUT", "body": b"new"}),
    "dav-propfind": Scene("opendir,readdir", "d*", path="/slow/d{n}/", status=207,
                          text="page.txt", **DAV,
                          request={"method": "PROPFIND", "headers": ["Depth: 1"]}),
    "dav-propfind-stat": Scene("lookup", "page.txt", path="/slow/d{n}/", status=207,
                               text="page.txt", **DAV,
                               request={"method": "PROPFIND", "headers": ["Depth: 1"]}),
    "dav-mkcol": Scene("mkdir", path="/slow/d{n}/new/", status=201, **DAV,
                       request={"method": "MKCOL"}),
    "dav-delete": Scene("unlink", "page.txt", status=204, **DAV, request={"method": "DELETE"}),
    "dav-copy": Scene("read", "page.txt", status=201, **DAV,
                      request={"method": "COPY", "headers": [TO_COPY]}),
    "dav-move": Scene("rename", "page.txt", status=201, **DAV,
                      request={"method": "MOVE", "headers": [TO_COPY]}),
}


def furnish(slow, scene):
    """Writes the scene's files there."""
    for number in range(SOME):
        slow.write(f"d{number}/page.txt", "page\n")
        (slow.path / f"d{number}/link.txt").symlink_to("page.txt")
    for name, text in scene.files.items():
        slow.write(name, text.replace("@SLOW@", str(slow.path)), 0o777)


def flight_of(scene):
    """The scene's paths, and the options of their requests."""
    more = dict(scene.request)
    headers = more.pop("headers", [])
    return ([scene.path.format(n=n) for n in range(SOME)],
            [dict(more, headers=[h.format(n=n) for h in headers]) for n in range(SOME)])


@BOTH
@pytest.mark.parametrize("name", SCENES)
def test_kinds_of_calls(serve, slow_fs, mpm, name):
    """A module's call that waits for a slow disk holds up only the request that made it."""
    scene = SCENES[name]
    slow = slow_fs()
    furnish(slow, scene)
    slow.option("direct", scene.direct)
    server = serve.make(mpm=mpm, processes=1, threads=64, modules=scene.modules,
                        directives=f"Alias /slow/ {slow.path}/\n"
                        + scene.directives.replace("@SLOW@", str(slow.path)))
    for number in range(SOME):
        server.page(f"cached/{number}.txt", "cached\n")
    server.private_folder("own")
    server.start()
    paths, requests = flight_of(scene)
    got = held_up(server, slow, paths, scene.kinds, scene.names, each=requests,
                  enough=lambda: slow.calls().held >= scene.at_once)
    for each in got:
        assert each.status == scene.status and scene.text in each.text, each


# --- logs ----------------------------------------------------------------------------------------

@BOTH
@pytest.mark.parametrize("log", ["CustomLog", "ErrorLog"])
def test_logs(serve, slow_fs, mpm, log):
    """A log on a slow disk holds up only requests that are logged there; its lines stay intact."""
    slow = slow_fs()
    wanted = {"CustomLog": f"CustomLog {slow.path}/log \"%r\"\nLogLevel error",
              "ErrorLog": f"ErrorLog {slow.path}/log"}[log]
    server = serve(mpm=mpm, processes=1, threads=64, ports=2, directives=f"""
        <VirtualHost *:@PORT2@>
            {wanted}
            <Location /denied>
                Require all denied
            </Location>
        </VirtualHost>
        """)
    paths = [f"/denied/{n}" for n in range(SOME)]
    got = held_up(server, slow, paths, "write", "log", port=server.ports[1],
                  enough=lambda: slow.calls("write").held >= 1)
    assert [each.status for each in got] == [403] * SOME
    line = {"CustomLog": r"GET /denied/(\d) HTTP/1.1",
            "ErrorLog": r"\[.*\] AH01630: client denied by server configuration: .*/denied/?(\d*)"}

    def found():
        lines = (slow.path / "log").read_text().splitlines()
        return [re.fullmatch(line[log], each) for each in lines if "denied" in each]
    lines = wait_for(lambda: len(found()) >= SOME and found(), "all lines in the log")
    assert len(lines) == SOME and all(lines), lines


# --- endings -------------------------------------------------------------------------------------

@BOTH
def test_clients_that_go(serve, slow_fs, mpm):
    """Clients leave while their files are being read; what was read for them harms nobody."""
    slow = slow_fs(f"cold#.bin:{MEGABYTE}:{SOME}")
    server = slow_server(serve, slow, mpm)
    paths = [f"/slow/cold{n}.bin" for n in range(SOME)]
    with slow.holding("read"), InFlight(server, paths) as flight:
        wait_for(lambda: slow.calls("read").files == SOME, "all files to be read")
        for conn in flight.conns:
            conn.reset()
        quick(server)
    wait_for(lambda: slow.calls().in_flight == 0, "the end of all reads")
    assert server.get(paths[0]).body == slowfs.content(MEGABYTE)


def test_a_stop_while_a_disk_does_not_answer(serve, slow_fs):
    """SIGTERM ends the server, provided that the kernel lets killed processes end, as on NFS."""
    slow = slow_fs(f"cold#.bin:{MEGABYTE}:{SOME}")
    slow.option("direct", 1)  # with a page cache, reads outlive the process
    slow.option("interruptible", 1)
    server = slow_server(serve, slow, MPM, "EnableMMAP Off")
    server.allowed.append("AH0004[56]|AH00052")  # about children that had to be killed
    with slow.holding("read"), InFlight(server, [f"/slow/cold{n}.bin" for n in range(SOME)]):
        wait_for(lambda: slow.calls("read").files == SOME, "all files to be read")
        server.stop()
