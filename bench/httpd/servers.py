# SPDX-License-Identifier: Apache-2.0
"""The servers compared: httpd under each MPM, and nginx; private ones, under the build folder.

make() returns one that has not been started yet. All have two serving processes, or as many as the
Need says (prefork has what it needs, up to PREFORK_LIMIT), write an access log of the same form,
and are sized as an administrator would size them for the scenario's Need: every server gets the
threads that it needs.
"""

import math
import os
import resource
import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

from harness import Server, net, places, procs, wait_for

PROCESSES = 2
PREFORK_LIMIT = 1000  # processes; each is one connection
THREADS = 64          # per process, of event and worker, unless a scenario needs more
SLACK = 1.25          # threads beyond the need: processes do not share evenly
KINDS = ("stm", "event", "worker", "prefork", "nginx")

HTTPD = """
LogLevel warn
LogFormat "%h %l %u %t \\"%r\\" %>s %b" test
KeepAliveTimeout 120
AsyncRequestWorkerFactor 400
"""
HTTPD_TLS = "SSLProtocol TLSv1.3\n"
HTTPD_FULL = "SSLSessionTickets off\nSSLSessionCache none\n"
HTTPD_H2 = "Protocols h2 h2c http/1.1\n"
HTTPD_SENDFILE = "EnableSendfile On\n"
HTTPD_PROXY = "ProxyPass /proxy/ http://127.0.0.1:{backend}/delay/\n"
# The slow disk of the scenarios in holdups.py, their handlers, and names to look up.
HTTPD_DISK = "Alias /slow/ {path}/\n"
HTTPD_LUA = """
LuaMapHandler /compute @ROOT@/handlers.lua compute
LuaMapHandler /program @ROOT@/handlers.lua program
"""
LUA = """\
function compute(r)
    local sum = 0
    for i = 1, tonumber(r.args) do sum = sum + i % 7 end
    r:puts(sum)
    return apache2.OK
end

function program(r)
    os.execute("exec sleep " .. r.args)
    r:puts("done")
    return apache2.OK
end
"""
HTTPD_NAMES = """\
Alias /named @ROOT@/htdocs/45.txt
<Location /named>
    <RequireAny>
        Require forward-dns "host%{QUERY_STRING}.example"
        Require all granted
    </RequireAny>
</Location>
"""
# A file in place of /etc/resolv.conf, only for what the command starts.
WITH_RESOLV_CONF = ("unshare", "--mount", "--propagation", "private", "sh", "-c",
                    'mount --bind "$0" /etc/resolv.conf && exec "$@"')
HTTPD_STREAMS = """
ProxyPass /websocket/{part}/ http://127.0.0.1:{port}/ upgrade=websocket timeout=300
ProxyPass /events/{part}/ http://127.0.0.1:{port}/events timeout=300
"""
STM_STREAMS = "MaxThreads 16384\n"
# An httpd without that directive keeps its limit.
STM_HELPERS = "<IfDirective HelperThreads>\nHelperThreads {threads}\n</IfDirective>\n"

NGINX = """\
daemon off;
{user}
worker_processes {processes};
worker_rlimit_nofile {files};
{pool}
pid run/nginx.pid;
error_log logs/error.log warn;
events {{
    worker_connections {connections};
}}
http {{
    log_format test '$remote_addr - $remote_user [$time_local] "$request" $status '
                    '$body_bytes_sent';
    access_log logs/access.log test;
    types {{ text/plain txt; }}
    default_type application/octet-stream;
    sendfile on;
    tcp_nopush on;
    keepalive_timeout 120;
    keepalive_requests 1000000000;
    client_body_temp_path run/body;
    proxy_temp_path run/proxy;
    fastcgi_temp_path run/fastcgi;
    uwsgi_temp_path run/uwsgi;
    scgi_temp_path run/scgi;
    upstream backend {{
        server 127.0.0.1:{backend};
        keepalive 64;
    }}
    server {{
        listen 127.0.0.1:{port}{http2}{reuseport};
        {tls}
        root htdocs;
        location /proxy/ {{
            proxy_pass http://backend/delay/;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
        }}
        {disk}
        {streams}
    }}
}}
"""
NGINX_TLS = """listen 127.0.0.1:{port} ssl{http2};
        ssl_certificate {certificate};
        ssl_certificate_key {certificate};
        ssl_protocols TLSv1.3;"""
NGINX_FULL = """
        ssl_session_tickets off;
        ssl_session_cache off;"""
NGINX_POOL = "thread_pool default threads={threads} max_queue=65536;"
NGINX_DISK = """location /slow/ {{
            alias {path}/;
            aio threads;
        }}"""


NGINX_STREAMS = """
        location /websocket/{part}/ {{
            proxy_pass http://127.0.0.1:{port}/;
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection "upgrade";
            proxy_read_timeout 300;
        }}
        location /events/{part}/ {{
            proxy_pass http://127.0.0.1:{port}/events;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffering off;
            proxy_read_timeout 300;
        }}"""


@dataclass
class Need:
    """What a scenario asks of a server."""

    clients: int         # concurrent connections
    waiting: int = 0     # how many of these wait inside a request, each on a thread of event
    tls: bool = False
    key: str = "ec"      # with tls: "ec", P-256, or "rsa", 2048 bits
    resumes: bool = True  # with tls: sessions may be resumed, as is the default
    http2: bool = False  # in the clear with prior knowledge; with tls, by ALPN
    sendfile: bool = False  # EnableSendfile On; nginx always uses sendfile()
    backend: int = 0     # port that /proxy/MS is forwarded to
    processes: int = PROCESSES
    lua: bool = False    # the handlers /compute?TURNS and /program?SECONDS
    helpers: bool = False  # stm needs more helper threads than it has by default
    disk: object = None  # a SlowFS, at /slow/
    names: object = None  # a name server that /named?NAME asks
    streams: object = None  # backends of /websocket/N/ and /events/N/
    more: str = ""       # further directives for httpd


def each_part(template, need):
    """The configuration of all backends of streams."""
    return "".join(template.format(part=part, port=port)
                   for part, port in enumerate(need.streams.ports if need.streams else ()))


def share(count, processes=PROCESSES):
    """Threads per process, so that all processes together serve `count` at the same time."""
    return max(THREADS, math.ceil(count * SLACK / processes))


def sizes(kind, need):
    """The harness's settings for an MPM, and what else goes into its configuration."""
    if kind == "stm":  # as shipped, except for the number of processes
        shipped = (places.ROOT / "conf/mpm_stm.conf").read_text()
        # The limit is each VP's, and threads start on demand: clients may be divided unevenly.
        helpers = STM_HELPERS.format(threads=share(need.waiting, 1))
        more = (helpers if need.helpers else "") + (STM_STREAMS if need.streams else "")
        return {"sized": False}, f"{shipped}\n{more}NumVPs {need.processes}\n"
    if kind == "prefork":
        count = min(PREFORK_LIMIT, need.clients + 8)
        return {"sized": False}, (f"ServerLimit {count}\nMaxRequestWorkers {count}\n"
                                  f"StartServers {count}\nMaxSpareServers {count + 1}\n")
    threads = share(need.clients if kind == "worker" else need.waiting, need.processes)
    return {"processes": need.processes, "threads": threads}, ""


class Httpd(Server):
    """httpd under one MPM."""

    def __init__(self, name, kind, need):
        settings, own = sizes(kind, need)
        modules, text = [], HTTPD
        if need.tls:
            text += HTTPD_TLS + ("" if need.resumes else HTTPD_FULL)
        if need.sendfile:
            text += HTTPD_SENDFILE
        if need.http2:
            modules, text = ["http2"], text + HTTPD_H2
        if need.backend:
            modules, text = ["proxy", "proxy_http"], text + HTTPD_PROXY.format_map(vars(need))
        if need.disk:
            text += HTTPD_DISK.format(path=need.disk.path)
        if need.lua:
            modules, text = ["lua"], text + HTTPD_LUA
        if need.streams:
            modules, text = ["proxy", "proxy_http"], text + each_part(HTTPD_STREAMS, need)
        if need.names:
            modules, text = ["authz_host"], text + HTTPD_NAMES
        if kind in ("worker", "prefork"):
            text = text.replace("AsyncRequestWorkerFactor 400\n", "")
        super().__init__(name, mpm=kind, modules=modules, directives=text + own + need.more,
                         tls=need.key if need.tls else False, **settings)
        self.kind, self.need = kind, need
        (self.root / "handlers.lua").write_text(LUA)
        if need.names:
            (self.root / "resolv.conf").write_text(need.names.resolv_conf)
            self.launcher = [*WITH_RESOLV_CONF, self.root / "resolv.conf"]
        self.capacity = PREFORK_LIMIT if kind == "prefork" else need.clients
        if kind != "stm":
            self.allowed.append("AH0004[56]|AH00052")  # how Debian's MPMs sometimes end

    def start(self, *arguments):
        super().start(*arguments)
        if self.kind == "stm":
            wait_for(lambda: len(self.children()) >= self.need.processes, "all VPs")
        return self


class Nginx:
    """nginx with its own prefix; what the scenarios use has the same names as in Server."""

    kind = "nginx"

    def __init__(self, name, need):
        self.root = places.new_root(name)
        self.need, self.capacity = need, need.clients
        self.port, self.tls_port = net.free_ports(2)
        self.master = None
        self._run = None
        for folder in ("htdocs", "logs", "run"):
            (self.root / folder).mkdir()

    def page(self, name, content):
        """Writes a file below the document root."""
        (self.root / "htdocs" / name).write_bytes(
            content.encode() if isinstance(content, str) else content)

    def _configure(self):
        need = self.need
        # Each proxied request takes two; workers do not share evenly, so one may get them all.
        connections = max(768, need.clients * (2 if need.backend else 1) + 64)
        if need.streams:  # they do, with a socket of its own for each
            connections = share(2 * need.clients, need.processes)
        tls = NGINX_TLS.format(port=self.tls_port, certificate=net.certificate(need.key),
                               http2=" http2" if need.http2 else "")
        tls += "" if need.resumes else NGINX_FULL
        pool = NGINX_POOL.format(threads=share(need.waiting, need.processes))
        (self.root / "nginx.conf").write_text(NGINX.format(
            user=f"user {places.CHILD_USER};" if os.geteuid() == 0 else "",
            processes=need.processes, pool=pool if need.disk else "",
            disk=NGINX_DISK.format(path=need.disk.path) if need.disk else "",
            connections=connections, files=min(2 * connections + 64, file_limit()),
            backend=need.backend or 9,
            port=self.port, http2=" http2" if need.http2 else "", tls=tls if need.tls else "",
            reuseport=" reuseport" if need.streams else "",
            streams=each_part(NGINX_STREAMS, need)))

    def start(self):
        """Starts it and waits until it answers."""
        program = shutil.which("nginx", path="/usr/sbin:/usr/bin:/sbin")
        assert program, "nginx is not installed"
        for _ in range(3):
            self._configure()
            with open(self.root / "logs/output.log", "wb") as output:
                self._run = subprocess.Popen(
                    [program, "-p", self.root, "-c", "nginx.conf", "-e", "logs/error.log"],
                    stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                    start_new_session=True)
            self.master = self._run.pid
            if wait_for(self._settled, f"start of nginx in {self.root}") == "serves":
                return self
            self.port, self.tls_port = net.free_ports(2)  # another server took one of them
        raise AssertionError((self.root / "logs/output.log").read_text()[-2000:])

    def _settled(self):
        if self._run.poll() is not None:
            return "ended"
        listening = net_listens(self.port)
        return "serves" if listening and len(self.children()) >= self.need.processes else None

    def children(self):
        """The workers."""
        return procs.children(self.master)

    def running(self):
        """Living processes. (nginx overwrites its environment, so it has no mark.)"""
        return [self.master, *self.children()] if self._run.poll() is None else []

    def stop(self):
        """Sends SIGTERM to the master, which ends the workers."""
        if self._run is None:
            return
        self._run.send_signal(signal.SIGTERM)
        try:
            self._run.wait(20)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self):
        """Sends SIGKILL to every process, by pid."""
        procs.kill(self.running())
        self._run.wait(20)

    def error_log(self):
        """The error log so far."""
        return (self.root / "logs/error.log").read_text(errors="replace")


def file_limit():
    """How many files a process may have open."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[1]


def net_listens(port):
    """Whether a socket on loopback listens on `port`."""
    want = f"0100007F:{port:04X}"
    rows = Path("/proc/net/tcp").read_text().splitlines()[1:]
    return any(row.split()[1] == want and row.split()[3] == "0A" for row in rows)


def make(kind, name, need):
    """A server of the given kind, ready to be started."""
    return Nginx(name, need) if kind == "nginx" else Httpd(name, kind, need)
