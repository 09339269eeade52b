# SPDX-License-Identifier: Apache-2.0
"""One private httpd: written, started, watched and ended by a test.

A server's processes are recognized by a mark in their environment, which all of them inherit, so
that none of them is overlooked and no other process is touched.
"""

import itertools
import os
import re
import resource
import signal
import subprocess

from . import config, net, places, procs
from .client import Closed, Conn
from .waiting import wait_for

# What must not be in an error log unless the test expects it.
ALARMS = re.compile(r":(emerg|alert|crit)\]|AH00052: child pid|exit signal|[Aa]ssertion|"
                    r"Sanitizer|runtime error:|AH00045|AH00046|double free|corrupt")
RESUMED = "resuming normal operations"
GRACEFUL = signal.SIGUSR1
STOP_BOUND = 20.0  # seconds
_serial = itertools.count(1)


class StartError(AssertionError):
    """The server refused to start; `output` is what it printed."""

    def __init__(self, output):
        super().__init__(output)
        self.output = output


class Server:
    """A private httpd. See __init__ for what can be chosen."""

    def __init__(self, name="server", *, mpm=None, processes=2, threads=64, modules=(),
                 directives="", tls=False, ports=1, listen=True, sized=True, env=None,
                 nofile=None, root=None):
        """Creates only the ServerRoot, or makes an empty folder, `root`, one.

        processes, threads: the MPM's (threads a process); modules: names without mod_ and .so, or
        paths, in loading order; tls: True, or the kind of key, "ec" or "rsa"; directives: text at
        the end of the configuration (@PORT@, @PORT2@, @TLS_PORT@, @ROOT@ are filled in); ports: how
        many; listen=False: `directives` has the Listen lines; sized=False: none of the MPM's
        directives either; nofile: limit of open files, or a soft and a hard one; env: further
        environment variables.
        """
        self.root = root or places.new_root(f"{name}-{next(_serial)}")
        self.name = name
        self.allowed = []   # regular expressions of alarming log lines that the test expects
        self.ignored = []   # signals that its parent ignores
        self.master = None
        self.exit_status = None  # the master's, as returned by wait()
        self.launcher = []  # a command that starts the command after it, perhaps in a namespace
        self.one_process = False  # httpd -X: it leaves files behind with every MPM
        self._settings = {"mpm": mpm, "processes": processes, "threads": threads,
                          "modules": modules, "directives": directives, "listen": listen,
                          "sized": sized}
        self._port_count, self._tls = ports, "ec" if tls is True else tls
        self.ports, self.tls_port = [], None
        self._mark = f"STM_TEST_SERVER={os.getpid()}-{self.root.name}"
        self._env = {k: v for k, v in os.environ.items()
                     if not k.startswith(("STM_", "STIOL_")) or k == "STM_SEED"}
        self._env.pop("ONE_PROCESS", None)
        self._env.update({"LANG": "C", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **(env or {})})
        self._env.update([self._mark.split("=", 1)])
        if "STM_TEST_PRELOAD" in os.environ:  # a sanitizer's run-time library
            self._env["LD_PRELOAD"] = os.environ["STM_TEST_PRELOAD"]
        self._nofile = nofile
        self._pids, self._shm = set(), set()
        self._others_shm = set(procs.sysv_shm())  # of processes whose pids ours may be given
        for folder in ("htdocs", "logs", "run", "scoreboards"):
            (self.root / folder).mkdir()
        (self.root / "mime.types").write_text("text/html html\ntext/plain txt\n")
        self.page("index.html", "<html><body><h1>It works!</h1></body></html>\n")

    # --- files -----------------------------------------------------------------------------------
    @property
    def conf(self):
        """Path of the configuration."""
        return self.root / "httpd.conf"

    @property
    def port(self):
        """The first plain port."""
        return self.ports[0]

    def page(self, name, content):
        """Writes a file below the document root."""
        path = self.root / "htdocs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def private_folder(self, name):
        """A folder that the children may write."""
        path = self.root / name
        path.mkdir(exist_ok=True)
        if os.geteuid() == 0:
            import pwd
            user = pwd.getpwnam(places.CHILD_USER)
            os.chown(path, user.pw_uid, user.pw_gid)
        return path

    def configure(self, directives=None, **settings):
        """Writes the configuration, with `settings` and `directives` changed first."""
        if directives is not None:
            settings["directives"] = directives
        self._settings.update(settings)
        if not self.ports:
            self._choose_ports()
        self.conf.write_text(config.render(
            self.root, ports=self.ports, tls_port=self.tls_port,
            certificate=net.certificate(self._tls) if self._tls else None, **self._settings))

    def preload(self, library, variables):
        """Starts with `library` preloaded, and further environment variables."""
        others = [self._env["LD_PRELOAD"]] if "LD_PRELOAD" in self._env else []
        self._env.update({"LD_PRELOAD": ":".join([*others, str(library)]), **variables})

    @property
    def environment(self):
        """The variables that the server starts with."""
        return self._env

    def _choose_ports(self):
        chosen = net.free_ports(self._port_count + (1 if self._tls else 0))
        self.ports = chosen[:self._port_count]
        self.tls_port = chosen[-1] if self._tls else None

    def error_log(self):
        """The error log so far."""
        path = self.root / "logs/error.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def access_log(self):
        """The access log's complete lines so far: "pid status connection-status request-line"."""
        path = self.root / "logs/access.log"
        return path.read_text(errors="replace").splitlines() if path.exists() else []

    def wait_log(self, pattern, count=1):
        """Waits until `pattern` is in the error log (`count` times); returns the matches."""
        def look():
            found = re.findall(pattern, self.error_log())
            return found if len(found) >= count else None
        return wait_for(look, f"{pattern!r} in {self.root}/logs/error.log")

    # --- start and stop --------------------------------------------------------------------------
    def control(self, *arguments):
        """Runs httpd on this server's configuration (-t, -M, -k graceful ...)."""
        command = [*self.launcher, places.HTTPD, "-f", self.conf, *arguments]
        return subprocess.run(command, env=self._env,
                              cwd=self.root, capture_output=True, text=True, timeout=180,
                              preexec_fn=self._before_exec(), check=False)

    def _before_exec(self):
        """What the child does first, or None: without it, the child is made by vfork()."""
        return self._limit if self.ignored or self._nofile else None

    def _limit(self):
        for number in self.ignored:
            signal.signal(number, signal.SIG_IGN)
        if self._nofile:
            pair = self._nofile if isinstance(self._nofile, tuple) else (self._nofile,) * 2
            resource.setrlimit(resource.RLIMIT_NOFILE, pair)

    def start(self, *arguments):
        """Starts the daemon and waits until it answers. StartError if it refuses."""
        for _ in range(5):
            self.configure()
            run = self.control(*arguments, "-k", "start")
            if run.returncode == 0:
                break
            if "Address already in use" not in run.stderr:
                raise StartError(run.stdout + run.stderr)
            self._choose_ports()
        else:
            raise StartError(run.stdout + run.stderr)
        self.master = wait_for(self.pid_in_file, f"{self.root}/run/httpd.pid")
        self.wait_ready()
        self._wait_for_all_vps()
        return self

    def start_attached(self, *arguments):
        """Starts httpd as a child that does not detach (-X, -D FOREGROUND)."""
        self.configure()
        with open(self.root / "logs/output.log", "wb") as output:
            run = subprocess.Popen([*self.launcher, places.HTTPD, "-f", self.conf, *arguments],
                                   env=self._env, cwd=self.root, stdin=subprocess.DEVNULL,
                                   stdout=output, stderr=output,
                                   preexec_fn=self._before_exec())
        self.one_process = "-X" in arguments
        run.returncode = 0  # its status is collected here, not by Popen
        self.master = run.pid
        self.wait_ready()
        return self

    def output(self):
        """What an attached server printed."""
        return (self.root / "logs/output.log").read_text(errors="replace")

    def pid_in_file(self):
        """The master's pid according to the PidFile, or None."""
        path = self.root / "run/httpd.pid"
        text = path.read_text().strip() if path.exists() else ""
        return int(text) if text else None

    def _wait_for_all_vps(self):
        """The first VP may answer when the last one has not been forked yet, or is not ready to
        accept."""
        chosen = self._settings
        if (chosen["mpm"] or places.MPM) != "stm" or "ONE_PROCESS" in self._env:
            return
        known = chosen["sized"] and "NumVPs" not in chosen["directives"]
        listening = {name for name in procs.fds(self.master).values() if name[:7] == "socket:"}

        def all_accept():
            accepting = sum(procs.watches(pid, listening) for pid in self.children())
            return accepting >= (chosen["processes"] if known else 1)
        wait_for(all_accept, "all VPs")

    def wait_ready(self):
        """Waits until the server answers a request."""
        def answers():
            if not procs.stat(self.master) or procs.stat(self.master).state in "ZX":
                raise StartError(f"the master is gone:\n{self.error_log()[-3000:]}")
            try:
                with self.connect() as conn:
                    return conn.get(version="HTTP/1.0").status
            except (OSError, Closed):
                return None
        wait_for(answers, f"an answer on port {self.port}")
        self._note()

    def signal(self, number):
        """Sends the master a signal."""
        os.kill(self.master, number)

    def restart(self, number=GRACEFUL):
        """Restarts it (gracefully, or at once with SIGHUP) and waits until that is done."""
        self._note()
        before = self.error_log().count(RESUMED)
        self.signal(number)
        wait_for(lambda: self.error_log().count(RESUMED) > before, "the end of a restart")
        self._note()

    def running(self):
        """Living processes of this server."""
        return procs.marked(self._mark)

    def stop(self, check=True):
        """Sends SIGTERM to the master; waits until every process is gone; then checks for
        leftovers."""
        if self.master is None:
            return
        self._note()
        try:
            self.signal(signal.SIGTERM)
        except ProcessLookupError:
            pass
        self.wait_gone(check)

    def wait_gone(self, check=True):
        """Waits until the server has ended, for whatever reason, and checks what it left behind."""
        problems = []
        try:
            wait_for(self._gone, f"end of master {self.master}", STOP_BOUND)
            wait_for(lambda: not self.running(), "end of all processes", STOP_BOUND)
        except AssertionError as error:
            problems.append(f"{error}: " + "; ".join(
                f"{pid} {procs.command(pid)}" for pid in self.running()))
            self.kill()
        master, self.master = self.master, None
        if check:
            problems += self._left_over(master)
            assert not problems, f"{self.root}: " + "\n".join(problems)

    def _gone(self):
        left = procs.stat(self.master)  # before it is reaped, or else it may end in between
        if self.exit_status is None:
            self.exit_status = procs.reap(self.master)
        for pid in self._pids - {self.master}:  # orphans, adopted by us
            procs.reap(pid)
        # It cannot be reaped before its last thread has ended, even if it is a zombie by then.
        return left is None or left.state == "X" or (left.state == "Z" and left.threads <= 1)

    def kill(self):
        """Sends SIGKILL to every process of this server, by pid."""
        procs.kill(self.running())
        wait_for(lambda: not self.running(), "end of killed processes")

    def _left_over(self, master):
        problems = []
        if self.pid_in_file() and not self.one_process:
            problems.append("the pid file is left over")
        ids = {segment for segment, maker in procs.sysv_shm().items()
               if maker in self._pids | {master} and segment not in self._others_shm}
        problems += [f"System V shared memory segments left over: {ids}"] if ids else []
        left = [path for path in self._shm if os.path.exists(path) and not self.one_process]
        problems += [f"POSIX shared memory left over: {left}"] if left else []
        return problems + [f"in the error log: {line}" for line in self.alarms()]

    def warnings(self):
        """The master's warnings. VPs also warn of stalls, which the machine can cause."""
        return [line for line in self.error_log().splitlines()
                if "warn]" in line and f"[pid {self.master}:" in line]

    def alarms(self):
        """Lines of the error log that must not be there."""
        return [line for line in self.error_log().splitlines() if ALARMS.search(line)
                and not any(re.search(allowed, line) for allowed in self.allowed)]

    # --- processes -------------------------------------------------------------------------------
    def children(self):
        """Pids of the serving processes (an MPM's children; not piped loggers and the like)."""
        httpd = procs.program(self.master)
        return [pid for pid in procs.children(self.master) if procs.program(pid) == httpd]

    def _note(self):
        self._pids |= {self.master, *self.children()}
        self._shm |= procs.posix_shm(self.master)

    def cpu(self):
        """CPU seconds of all living processes of this server."""
        stats = (procs.stat(pid) for pid in self.running())
        return sum(stat.cpu for stat in stats if stat)

    # --- clients ---------------------------------------------------------------------------------
    def connect(self, **options):
        """A connection to the first port (see Conn), or to options' `port`."""
        return Conn(options.pop("port", None) or self.port, **options)

    def connect_tls(self, version=None, context=None):
        """A TLS connection."""
        return Conn(self.tls_port, tls=context or net.tls_context(version))

    def get(self, path="/", **more):
        """Makes one request on its own connection."""
        with self.connect() as conn:
            return conn.get(path, **more)
