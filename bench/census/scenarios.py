# SPDX-License-Identifier: Apache-2.0
"""The scenarios of the census: what each needs, and the requests that use the stack deeply."""

import base64
import contextlib
import ssl
from dataclasses import dataclass, field

from tests.live.waits.backends import Ajp, Echo, Http, Scgi, Uwsgi, WebSockets
from tests.live.waits.daemons import memcached, postgres, redis, slapd, sql
from tests.live.waits.h2client import H2
from tests.live.waits.test_wait_programs import end, script, start_fpm

ROUNDS = 3


@dataclass
class Scenario:
    """One row of the table."""

    name: str
    title: str
    modules: tuple = ()
    directives: str = ""
    paths: tuple = ("/",)  # each is requested ROUNDS times, unless there is a driver
    tls: bool = False
    backends: dict = field(default_factory=dict)  # {name in directives: kind}
    prepare: object = None  # prepare(server, stack): more directives
    driver: object = None   # driver(server)

    @contextlib.contextmanager
    def prepared(self, server, loop):
        """The directives, with the backends' ports filled in, while those run."""
        text = self.directives
        with contextlib.ExitStack() as stack:
            for name, kind in self.backends.items():
                made = kind(loop)
                stack.callback(made.end)
                made.gate.open()
                text = text.replace(name, f"127.0.0.1:{made.port}")
            if self.prepare:
                text += self.prepare(server, stack) or ""
            yield text

    def drive(self, server):
        """Makes the requests."""
        for _ in range(ROUNDS):
            if self.driver:
                self.driver(server)
            for path in self.paths:
                with server.connect() as conn:
                    got = conn.get(path)
                assert got.status < 500, f"{self.name}: {path}: {got.status}\n{server.error_log()}"


# --- what some of them need ----------------------------------------------------------------------

def over_tls(version=None, path="/"):
    """A driver: requests over TLS."""
    def drive(server):
        with server.connect_tls(version) as conn:
            assert conn.get(path).status == 200
    return drive


def over_http2(*paths):
    """A driver: streams of one connection."""
    def drive(server):
        with H2(server.port) as client:
            for path in paths * 4:
                client.get(path)
            assert all(stream.status == 200 for stream in client.finish())
    return drive


def cgi_programs(server, _):
    """A CGI program that also writes much to stderr."""
    (server.root / "cgi").mkdir()
    script(server.root / "cgi/hello", "#!/bin/sh\necho much >&2\n"
                                      "printf 'Content-Type: text/html\\r\\n\\r\\nhello\\n'\n")
    script(server.root / "filter", "#!/bin/sh\nexec tr a-z A-Z\n")
    script(server.root / "map", "#!/bin/sh\nwhile read -r x; do echo /index.html; done\n")


def nested_includes(server, _):
    """Pages that include each other, ten deep."""
    for n in range(10):
        server.page(f"level{n}.shtml", f'{n} <!--#include virtual="/level{n + 1}.shtml" -->\n')
    server.page("level10.shtml", '<!--#config timefmt="%D" --><!--#flastmod file="index.html" -->'
                '<!--#if expr="\'abc\' =~ /(a|b)(b|c)+/" -->yes<!--#endif -->\n')


def php(server, stack):
    """php-fpm."""
    server.private_folder("fpm")
    server.page("hello.php", "<?php echo str_repeat('hello ', 10000);")
    process = start_fpm(server.root, 2)
    stack.callback(end, process)


def users(server, _):
    """A password file and a DAV folder."""
    (server.root / "users").write_text("anna:{SHA}C+7Hteo/D9vJXQ3UfzxbwnXaijM=\n")


def login(path, name="anna", word="foo"):
    """A driver: a request with basic authentication."""
    header = "Authorization: Basic " + base64.b64encode(f"{name}:{word}".encode()).decode()

    def drive(server):
        with server.connect() as conn:
            assert conn.get(path).status == 401
            assert conn.get(path, headers=[header]).status == 200
    return drive


def with_daemon(kind, text):
    """A daemon of daemons.py, whose port is filled into the directives."""
    def prepare(server, stack):
        port = stack.enter_context(kind(server.private_folder("daemon")))
        if kind is postgres:
            sql(port, "CREATE TABLE users (name text, password text); INSERT INTO users VALUES "
                      "('anna', '{SHA}C+7Hteo/D9vJXQ3UfzxbwnXaijM=');")
        return text.replace("@DAEMON@", f"127.0.0.1:{port}").replace("@DPORT@", str(port))
    return prepare


def lua(server, _):
    """A handler that recurses and matches."""
    (server.root / "deep.lua").write_text("""
        function deep(n) if n == 0 then return 0 end return 1 + deep(n - 1) end
        function handle(r)
            r:puts(tostring(deep(10000)))
            r:puts(string.gsub(string.rep("hello ", 1000), "(%w+) ", "%1-"))
            r:puts(r:escape_html(r:sha1(r.the_request)))
            return apache2.OK
        end
        """)


def dav_folder(server, _):
    """A DAV folder with folders in it."""
    folder = server.private_folder("dav")
    for n in range(8):
        folder = folder / f"sub{n}"
        folder.mkdir()
        (folder / "file.txt").write_text("text")


LOCK = (b'<?xml version="1.0"?><D:lockinfo xmlns:D="DAV:"><D:lockscope><D:exclusive/></D:lockscope>'
        b'<D:locktype><D:write/></D:locktype></D:lockinfo>')


def dav_client(server):
    """All of DAV's methods."""
    with server.connect() as conn:
        for depth in ("1", "infinity"):
            got = conn.get("/dav/", method="PROPFIND", headers=[f"Depth: {depth}"])
            assert got.status == 207
        got = conn.get("/dav/new", method="LOCK", body=LOCK)
        if "lock-token" in got.headers:
            token = got.headers["lock-token"]
            conn.get("/dav/new", method="PUT", body=b"text" * 9999, headers=[f"If: ({token})"])
            conn.get("/dav/new", method="UNLOCK", headers=[f"Lock-Token: {token}"])
        conn.get("/dav/new", method="DELETE")


def tunnel(server):
    """CONNECT, and a few bytes through it."""
    with server.connect(port=server.ports[1]) as conn:
        port = server.conf.read_text().split("# echo ")[1].split()[0].split(":")[1]
        conn.send(f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert conn.head().status == 200
        conn.send(b"hello")
        assert conn.exactly(5) == b"hello"


def web_socket(server):
    """A handshake through the proxy, and the end."""
    with server.connect() as conn:
        got = conn.get("/p/", headers=["Upgrade: websocket", "Connection: Upgrade",
                                       "Sec-WebSocket-Version: 13",
                                       "Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg=="])
        assert got.status == 101


def large_page(server, _):
    """A page that is worth compressing, and has text to substitute."""
    server.page("large.html", "<html><body>" + "hello world, " * 20000 + "</body></html>\n")


def encoded(kind):
    """A driver: a compressed response."""
    def drive(server):
        with server.connect() as conn:
            got = conn.get("/large.html", headers=[f"Accept-Encoding: {kind}"])
            assert got.headers.get("content-encoding") == kind
    return drive


def folder_of_files(server, _):
    """A folder to list."""
    for n in range(50):
        server.page(f"many/file{n}.txt", "text")


PROTECTED = """
    Alias /private @ROOT@/htdocs
    <Location /private>
        AuthType Basic
        AuthName test
        AuthBasicProvider {}
        Require valid-user
        {}
    </Location>
    """
AUTH = ("auth_basic", "authn_core", "authz_user")
PROXY = ("proxy", "proxy_http")
DBD = PROTECTED.format("dbd", 'AuthDBDUserPWQuery "SELECT password FROM users WHERE name = %s"')
REGEX = r"^/((a|b|c|[d-x])*)*/(\d+|\w+)+/((x+x+)+)?$"

ALL = [
    Scenario("static", "static file"),
    Scenario("errors", "errors and redirections", ("alias",), "Redirect /away /\n"
             "ErrorDocument 404 /missing-too\n", ("/missing", "/away", "/%00", "/many/../..")),
    Scenario("tls13", "TLS 1.3", tls=True, driver=over_tls()),
    Scenario("tls12", "TLS 1.2", tls=True, driver=over_tls(ssl.TLSVersion.TLSv1_2)),
    Scenario("sessions", "TLS 1.2, sessions in shmcb", ("socache_shmcb",),
             "SSLSessionCache shmcb:@ROOT@/run/s(512000)\nSSLSessionTickets off\n", tls=True,
             driver=over_tls(ssl.TLSVersion.TLSv1_2)),
    Scenario("listing", "directory listing, negotiation", ("autoindex", "negotiation", "dir"),
             "Options +Indexes +MultiViews\nIndexOptions FancyIndexing\n", ("/many/", "/index"),
             prepare=folder_of_files),
    Scenario("status", "server-status, server-info", ("status", "info"),
             "ExtendedStatus On\n<Location /status>\nSetHandler server-status\n</Location>\n"
             "<Location /info>\nSetHandler server-info\n</Location>\n",
             ("/status", "/status?auto", "/info")),
    Scenario("proxy", "mod_proxy_http", PROXY, "ProxyPass /p/ http://@HTTP@/\n", ("/p/free",),
             backends={"@HTTP@": Http}),
    Scenario("balancer", "balancer, mod_proxy_http", (*PROXY, "proxy_balancer", "slotmem_shm",
             "lbmethod_byrequests", "headers"), "<Proxy balancer://some>\n"
             "BalancerMember http://@HTTP@\n</Proxy>\nProxyPass /p/ balancer://some/\n"
             "ProxyPassReverse /p/ balancer://some/\n", ("/p/free",), backends={"@HTTP@": Http}),
    Scenario("proxytls", "mod_proxy_http to TLS", PROXY, "SSLProxyEngine On\n"
             "SSLProxyVerify none\nSSLProxyCheckPeerName off\nSSLProxyCheckPeerExpire off\n"
             "ProxyPass /p/ https://127.0.0.1:@TLS_PORT@/\n", ("/p/",), tls=True),
    Scenario("scgi", "mod_proxy_scgi", ("proxy", "proxy_scgi"), "ProxyPass /p/ scgi://@SCGI@/\n",
             ("/p/x",), backends={"@SCGI@": Scgi}),
    Scenario("uwsgi", "mod_proxy_uwsgi", ("proxy", "proxy_uwsgi"),
             "ProxyPass /p/ uwsgi://@UWSGI@/\n", ("/p/x",), backends={"@UWSGI@": Uwsgi}),
    Scenario("ajp", "mod_proxy_ajp", ("proxy", "proxy_ajp"), "ProxyPass /p/ ajp://@AJP@/\n",
             ("/p/x",), backends={"@AJP@": Ajp}),
    Scenario("connect", "mod_proxy_connect", ("proxy", "proxy_connect"), "<VirtualHost *:@PORT2@>\n"
             "ProxyRequests On\n# echo @ECHO@\nAllowCONNECT 1-65535\n</VirtualHost>\n", (),
             backends={"@ECHO@": Echo}, driver=tunnel),
    Scenario("websocket", "WebSocket, upgrade=websocket", PROXY,
             "ProxyPass /p/ http://@WS@/ upgrade=websocket\n", (), backends={"@WS@": WebSockets},
             driver=web_socket),
    Scenario("fcgi", "mod_proxy_fcgi, php-fpm", ("proxy", "proxy_fcgi"),
             "ProxyPassMatch ^/(.*\\.php)$ unix:@ROOT@/fpm/socket|fcgi://localhost@ROOT@/htdocs/\n",
             ("/hello.php",), prepare=php),
    Scenario("cgi", "mod_cgi", ("cgi",), "ScriptAlias /cgi @ROOT@/cgi/\n", ("/cgi/hello",),
             prepare=cgi_programs),
    Scenario("cgid", "mod_cgid", ("cgid",), "ScriptAlias /cgi @ROOT@/cgi/\n"
             "ScriptSock @ROOT@/run/cgisock\n", ("/cgi/hello",), prepare=cgi_programs),
    Scenario("extfilter", "mod_ext_filter", ("ext_filter",),
             'ExtFilterDefine up mode=output cmd="@ROOT@/filter"\nSetOutputFilter up\n',
             prepare=cgi_programs),
    Scenario("include", "mod_include, 10 levels", ("include",), "AddOutputFilter INCLUDES .shtml\n"
             "<Directory @ROOT@/htdocs>\nOptions +Includes\n</Directory>\n",
             ("/level0.shtml",), prepare=nested_includes),
    Scenario("includecgi", "mod_include of CGI", ("include", "cgi"),
             "AddOutputFilter INCLUDES .shtml\nScriptAlias /level10.shtml @ROOT@/cgi/hello\n"
             "<Directory @ROOT@/htdocs>\nOptions +Includes\n</Directory>\n", ("/level0.shtml",),
             prepare=lambda server, stack: [nested_includes(server, stack),
                                            cgi_programs(server, stack)] and ""),
    Scenario("rewrite", "mod_rewrite, prg: map", ("rewrite",), "RewriteEngine On\n"
             "RewriteMap to prg:@ROOT@/map\n"
             f"RewriteCond %{{REQUEST_URI}} {REGEX}\nRewriteRule ^ - [L]\n"
             "RewriteRule ^/mapped/(.*)$ ${to:$1} [PT]\n",
             ("/mapped/x", "/abcabcabcabc/1/xxxxxxxx", "/" + "a" * 2000 + "/1/" + "x" * 30),
             prepare=cgi_programs),
    Scenario("substitute", "mod_substitute, mod_sed", ("substitute", "sed", "filter"),
             "AddOutputFilterByType SUBSTITUTE text/html\n"
             'Substitute "s/(h|j)(e|a)l+o (w[a-z]*)/$3 $1/"\n<Location /large.html>\n'
             'AddOutputFilter Sed html\nOutputSed "s/hello/bye/g"\n</Location>\n', ("/large.html",),
             prepare=large_page),
    Scenario("deflate", "mod_deflate", ("deflate", "filter"), "SetOutputFilter DEFLATE\n", (),
             prepare=large_page, driver=encoded("gzip")),
    Scenario("brotli", "mod_brotli", ("brotli", "filter"), "SetOutputFilter BROTLI_COMPRESS\n", (),
             prepare=large_page, driver=encoded("br")),
    Scenario("http2", "mod_http2", ("http2",), "Protocols h2c http/1.1\n", prepare=large_page,
             driver=over_http2("/", "/large.html")),
    Scenario("http2proxy", "mod_http2, mod_proxy_http", ("http2", *PROXY),
             "Protocols h2c http/1.1\nProxyPass /p/ http://@HTTP@/\n", backends={"@HTTP@": Http},
             driver=over_http2("/p/free")),
    Scenario("proxyhttp2", "mod_proxy_http2", ("http2", "proxy", "proxy_http2"),
             "Protocols h2c http/1.1\nProxyPass /p/ h2c://127.0.0.1:@PORT2@/\n", ("/p/",)),
    Scenario("cachedisk", "mod_cache_disk", ("cache", "cache_disk", *PROXY),
             "ProxyPass /p/ http://@HTTP@/\nCacheEnable disk /\nCacheRoot @ROOT@/cache\n"
             "CacheLock on\nCacheLockPath @ROOT@/locks\nCacheIgnoreNoLastMod On\n",
             ("/p/free", "/index.html"), backends={"@HTTP@": Http},
             prepare=lambda server, _: [server.private_folder("cache"),
                                        server.private_folder("locks")] and ""),
    Scenario("memcache", "mod_cache_socache, memcached", ("cache", "socache_memcache",
             "cache_socache"), "CacheEnable socache /\n", ("/index.html",),
             prepare=with_daemon(memcached, "CacheSocache memcache:@DAEMON@\n")),
    Scenario("redis", "mod_cache_socache, redis", ("cache", "socache_redis", "cache_socache"),
             "CacheEnable socache /\n", ("/index.html",),
             prepare=with_daemon(redis, "CacheSocache redis:@DAEMON@\n")),
    Scenario("basic", "basic authentication, file", ("authn_file", *AUTH),
             PROTECTED.format("file", "AuthUserFile @ROOT@/users"), (), prepare=users,
             driver=login("/private/index.html")),
    Scenario("dbd", "mod_authn_dbd, PostgreSQL", ("dbd", "authn_dbd", *AUTH), DBD, (),
             prepare=with_daemon(postgres, "DBDriver pgsql\nDBDMin 0\nDBDKeep 0\nDBDParams "
                                 '"host=127.0.0.1 port=@DPORT@ user=stm dbname=postgres"\n'),
             driver=login("/private/index.html")),
    Scenario("ldap", "mod_authnz_ldap, slapd", ("ldap", "authnz_ldap", *AUTH), "LDAPTimeout 60\n",
             (), prepare=with_daemon(slapd, PROTECTED.format(
                 "ldap", "AuthLDAPURL ldap://@DAEMON@/dc=test?cn")),
             driver=login("/private/index.html", "user1", "word1")),
    Scenario("lua", "mod_lua", ("lua",), "LuaMapHandler ^/deep @ROOT@/deep.lua\n", ("/deep?x",),
             prepare=lua),
    Scenario("dav", "mod_dav", ("dav", "dav_fs", "dav_lock"), "DavLockDB @ROOT@/dav/.locks\n"
             "Alias /dav @ROOT@/dav\n<Location /dav>\nDav On\n</Location>\nDavDepthInfinity On\n",
             (), prepare=dav_folder, driver=dav_client),
]
