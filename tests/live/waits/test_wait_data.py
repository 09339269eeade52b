# SPDX-License-Identifier: Apache-2.0
"""Waits for data: caches and their locks, memcached, redis, PostgreSQL, SQLite, LDAP, DAV, Lua."""

import base64
import sqlite3
import time

import pytest

from harness.client import request

from .backends import Http, Valve
from .daemons import memcached, postgres, redis, slapd, sql
from .inflight import InFlight, prove, quick

FRESH = "Cache-Control: max-age=600\r\n"
SHORT = "Cache-Control: max-age=1\r\n"


def login(name, word):
    """The header for basic authentication."""
    return "Authorization: Basic " + base64.b64encode(f"{name}:{word}".encode()).decode()


# --- caches --------------------------------------------------------------------------------------

@pytest.mark.parametrize("kind", [memcached, redis])
def test_shared_cache_that_is_slow(serve, backend, kind):
    """All requests look up the page in the cache, whose server does not respond for a while."""
    http = backend(Http, FRESH)
    name = {memcached: "memcache"}.get(kind, kind.__name__)
    server = serve.make(processes=1, threads=100, modules=(
        "cache", f"socache_{name}", "cache_socache", "proxy", "proxy_http"))
    with kind(server.private_folder("daemon")) as port:
        valve = backend(Valve, port)
        valve.gate.open()
        server.configure(f"""
            ProxyPass /free http://127.0.0.1:{http.port}/free
            CacheEnable socache /free
            CacheSocache {name}:127.0.0.1:{valve.port}
            """)
        server.start()
        for _ in range(3):
            assert server.get("/free/page").text == "held /free/page\n"
        assert http.asked == ["/free/page"]  # the others were answered from the cache
        valve.gate.close()
        got = prove(server, valve.gate, ["/free/page"] * 40)
        assert all(response.text == "held /free/page\n" for response in got)
        assert http.asked == ["/free/page"]
        server.stop()


@pytest.mark.parametrize("kind", ["disk", "socache"])
def test_thundering_herd(serve, backend, kind):
    """CacheLock: one request renews the stale page; meanwhile the others get it stale."""
    http = backend(Http, SHORT)
    server = serve.make(processes=1, threads=100, modules=(
        "cache", "socache_shmcb", f"cache_{kind}", "proxy", "proxy_http"), directives=f"""
        ProxyPass /page http://127.0.0.1:{http.port}/page
        CacheEnable {kind} /page
        {"CacheRoot @ROOT@/cache" if kind == "disk" else "CacheSocache shmcb:@ROOT@/run/cache"}
        CacheLock on
        CacheLockPath @ROOT@/locks
        CacheLockMaxAge 60
        """)
    server.private_folder("cache")
    server.private_folder("locks")
    server.start()
    http.gate.open()
    assert server.get("/page").status == 200
    time.sleep(2.1)  # until it is stale; waiting longer does no harm
    http.gate.close()
    with InFlight(server, ["/page"]) as first:
        http.gate.wait_held(1)
        with InFlight(server, ["/page"] * 40) as others:
            assert all(response.text == "held /page\n" for response in others.finish())
        quick(server)
        assert first.answered() == 0
        assert http.asked == ["/page"] * 2
        http.gate.open()
        assert first.finish()[0].text == "held /page\n"


# --- databases -----------------------------------------------------------------------------------

PROTECTED = """
    Alias /private @ROOT@/htdocs
    <Location /private>
        AuthType Basic
        AuthName test
        AuthBasicProvider {provider}
        Require valid-user
        {more}
    </Location>
    """
DBD = PROTECTED.format(provider="dbd", more='AuthDBDUserPWQuery '
                       '"SELECT password FROM users WHERE name = %s"')
AUTH = ("auth_basic", "authn_core", "authz_user")
SHA = "{SHA}C+7Hteo/D9vJXQ3UfzxbwnXaijM="  # of "foo"


def test_postgresql(serve, backend):
    """One request queries, a second one opens a connection and holds the pool's mutex, 38 wait."""
    server = serve.make(processes=1, threads=100, modules=("dbd", "authn_dbd", *AUTH))
    with postgres(server.private_folder("daemon")) as port:
        sql(port, "CREATE TABLE users (name text PRIMARY KEY, password text);"
                  f"INSERT INTO users VALUES ('anna', '{SHA}');")
        valve = backend(Valve, port)
        valve.gate.open()
        server.configure(f"""
            DBDriver pgsql
            DBDParams "host=127.0.0.1 port={valve.port} user=stm dbname=postgres sslmode=disable"
            DBDMin 1
            DBDKeep 4
            DBDMax 4
            {DBD}
            """)
        server.start()
        assert server.get("/private/index.html", headers=[login("anna", "foo")]).status == 200
        assert server.get("/private/index.html", headers=[login("anna", "bar")]).status == 401
        valve.gate.close()
        prove(server, valve.gate, ["/private/index.html"] * 40, held=2,
              headers=[login("anna", "foo")])
        server.stop()


def test_sqlite_that_is_locked(serve):
    """Another process has locked the database; the driver sleeps and tries again, for at most 1.6
    s."""
    server = serve.make(processes=1, modules=("dbd", "authn_dbd", *AUTH), directives=f"""
        DBDriver sqlite3
        DBDParams @ROOT@/data/users
        DBDMin 20
        DBDKeep 20
        DBDMax 20
        {DBD}
        """)
    path = server.private_folder("data") / "users"
    with sqlite3.connect(path) as data:
        data.execute("CREATE TABLE users (name text PRIMARY KEY, password text)")
        data.execute("INSERT INTO users VALUES ('anna', ?)", (SHA,))
    data.close()
    server.start()
    for _ in range(20):
        data = sqlite3.connect(path, isolation_level=None)
        data.execute("BEGIN EXCLUSIVE")
        begun = time.monotonic()
        with InFlight(server, ["/private/index.html"] * 20,
                      headers=[login("anna", "foo")]) as flight:
            quick(server)
            answered = flight.answered()
            data.execute("COMMIT")
            data.close()
            held = time.monotonic() - begun
            got = flight.finish()
        if held < 1.0:  # otherwise the driver may have given up, on a busy machine
            break
    assert answered == 0
    assert all(response.status == 200 for response in got)


def test_ldap(serve, backend):
    server = serve.make(processes=1, threads=100, modules=("ldap", "authnz_ldap", *AUTH))
    with slapd(server.private_folder("daemon")) as port:
        valve = backend(Valve, port)
        valve.gate.open()
        url = f"ldap://127.0.0.1:{valve.port}/dc=test?cn"
        server.configure("LDAPCacheEntries 0\nLDAPOpCacheEntries 0\nLDAPTimeout 60\n" +
                         PROTECTED.format(provider="ldap", more=f"AuthLDAPURL {url}"))
        server.start()
        path = "/private/index.html"
        assert server.get(path, headers=[login("user1", "word1")]).status == 200
        assert server.get(path, headers=[login("user1", "word2")]).status == 401
        valve.gate.close()
        flights = [InFlight(server, [path], headers=[login(f"user{n}", f"word{n if n % 4 else 0}")])
                   for n in range(40)]
        valve.gate.wait_held(40)
        quick(server)
        assert sum(flight.answered() for flight in flights) == 0
        valve.gate.open()
        got = [flight.finish()[0].status for flight in flights]
        assert got == [200 if n % 4 or n == 0 else 401 for n in range(40)]
        for flight in flights:
            flight.close()
        server.stop()


# --- DAV and Lua ---------------------------------------------------------------------------------

LOCK = b"""<?xml version="1.0"?><D:lockinfo xmlns:D="DAV:"><D:lockscope><D:exclusive/></D:lockscope>
<D:locktype><D:write/></D:locktype></D:lockinfo>"""


def test_lua_that_sleeps(serve, file_gate):
    server = serve.make(processes=1, threads=100, modules=("lua",), directives="""
        LuaMapHandler ^/sleeps @ROOT@/sleeps.lua
        """)
    folder = server.private_folder("gate")
    gate = file_gate(folder)
    (server.root / "sleeps.lua").write_text(f"""
        function handle(r)
            local arrivals = io.open("{gate.arrivals}", "a")
            arrivals:write("x")
            arrivals:close()
            while not r:stat("{folder}/open") do
                r.usleep(20000)
            end
            r.content_type = "text/plain"
            r:puts("slept " .. r.args)
            return apache2.OK
        end
        """)
    server.start()
    with InFlight(server, [f"/sleeps?{n}" for n in range(50)]) as flight:
        gate.wait_held(50)
        quick(server)
        assert flight.answered() == 0
        (folder / "open").touch()
        assert [got.text for got in flight.finish()] == [f"slept {n}" for n in range(50)]


@pytest.fixture
def dav(serve):
    """A server with a folder for DAV."""
    server = serve.make(processes=1, threads=100, modules=("dav", "dav_fs", "dav_lock"),
                        directives="""
        DavLockDB @ROOT@/dav/locks
        Alias /dav @ROOT@/dav/files
        <Location /dav>
            Dav On
        </Location>
        """)
    for name in ("dav", "dav/files"):
        server.private_folder(name)
    return server.start()


def lock(conn, path):
    """Sends a LOCK request. Returns the token, or None if another client holds the lock."""
    got = conn.get(path, method="LOCK", body=LOCK)
    assert got.status in (200, 201, 423)
    return got.headers.get("lock-token")


def test_a_dav_lock_has_one_holder(dav):
    """A resource is locked, refused to another client, written, read and unlocked; then the other
    client locks it. (One client at a time: mod_dav_fs has no lock around its database, and many
    clients at once lose locks under every MPM with threads.)"""
    with dav.connect() as one, dav.connect() as two:
        token = lock(one, "/dav/shared")
        assert token and not lock(two, "/dav/shared")
        assert two.get("/dav/shared", method="PUT", body=b"not mine").status == 423
        assert one.get("/dav/shared", method="PUT", body=b"mine",
                       headers=[f"If: ({token})"]).status in (201, 204)
        assert two.get("/dav/shared").body == b"mine"
        assert one.get("/dav/shared", method="UNLOCK",
                       headers=[f"Lock-Token: {token}"]).status == 204
        assert lock(two, "/dav/shared")


def test_dav_uploads_that_stop_half_way(dav):
    """40 locked resources, each of which has received half of its new text."""
    body = b"0123456789abcdef" * 4096
    conns = [dav.connect() for _ in range(40)]
    tokens = [lock(conn, f"/dav/{n}") for n, conn in enumerate(conns)]
    for n, conn in enumerate(conns):
        whole = request(f"/dav/{n}", method="PUT", body=body, headers=[f"If: ({tokens[n]})"])
        conn.send(whole[:len(whole) // 2])
    quick(dav)
    assert dav.get("/dav/0", method="PUT", body=b"not mine").status == 423
    for n, conn in enumerate(conns):
        whole = request(f"/dav/{n}", method="PUT", body=body, headers=[f"If: ({tokens[n]})"])
        conn.send(whole[len(whole) // 2:])
        assert conn.response().status in (201, 204)
        assert conn.get(f"/dav/{n}").body == body
        conn.close()
