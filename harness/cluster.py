# SPDX-License-Identifier: Apache-2.0
"""The machines of scripts/cluster.sh, driven by a test: network namespaces with a front server,
three backends, and an application server that answers when it is told to."""

import contextlib
import ctypes
import itertools
import os
import re
import socket
import subprocess
import threading
from collections import Counter

from . import places, procs
from .backend import Backend
from .client import Closed, Conn
from .waiting import wait_for

SCRIPT = places.ROOT / "scripts/cluster.sh"
FRONT, APP = "198.18.77.10", "198.18.77.30"
CLONE_NEWNET = 0x40000000
NO_NAMESPACES = 77
_libc = ctypes.CDLL(None, use_errno=True)
_serial = itertools.count(1)


class Unavailable(Exception):
    """This system allows no network namespaces."""


@contextlib.contextmanager
def inside(namespace):
    """The sockets that the calling thread creates meanwhile are in that network namespace."""
    def enter(path):
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if _libc.setns(fd, CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), f"setns {path}")
        finally:
            os.close(fd)
    own = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        enter(f"/run/netns/{namespace}")
        yield
    finally:
        enter(f"/proc/self/fd/{own}")
        os.close(own)


class App(Backend):
    """The application server: answers at once, but /held only after release()."""

    def __init__(self, namespace):
        with inside(namespace):
            listening = socket.create_server((APP, 8000), backlog=1000)
        self._lock = threading.Lock()
        self._released = threading.Event()
        self.begun = 0  # requests that have begun to wait
        super().__init__(self._serve_client, listening)

    def _serve_client(self, conn, file):
        held = False
        while line := file.readline():
            held = held or line.startswith(b"GET /held")
            if line == b"\r\n":
                if held:
                    self._hold()
                held = False
                conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfine\n")

    def _hold(self):
        with self._lock:
            released = self._released
            self.begun += 1
        released.wait()

    def release(self):
        """Answers what is held now."""
        with self._lock:
            self._released.set()
            self._released = threading.Event()

    def close(self):
        """Ends it."""
        self.release()
        super().close()


class Cluster:
    """See scripts/cluster.sh."""

    def __init__(self, mpm):
        self.name = f"t{os.getpid()}x{next(_serial)}"
        self.root = places.BUILD / f"cluster-{self.name}"
        self._env = {**os.environ, "BUILD": str(places.BUILD), "CLUSTER": self.name, "MPM": mpm,
                     "HTTPD": str(places.HTTPD), "LANG": "C"}
        run = self.script("start", check=False)
        if run.returncode == NO_NAMESPACES:
            raise Unavailable(run.stderr.strip())
        assert run.returncode == 0, run.stdout + run.stderr
        self.app = App(f"{self.name}-app")

    def script(self, *arguments, check=True):
        """Runs it."""
        run = subprocess.run([SCRIPT, *arguments], env=self._env, capture_output=True, text=True,
                             stdin=subprocess.DEVNULL, timeout=120, check=False)
        assert not check or run.returncode == 0, run.stdout + run.stderr
        return run

    def stop(self):
        """Ends everything."""
        self.app.close()
        self.script("stop")

    def connect(self, port=80, host=FRONT):
        """A client's connection."""
        with inside(f"{self.name}-host"):
            return Conn(port, host)

    def get(self, path="/", port=80, **more):
        """One request of a client's of its own."""
        with self.connect(port) as conn:
            return conn.get(path, **more)

    def backend(self, path="/", port=80, **more):
        """The backend that answers."""
        got = self.get(path, port, **more)
        assert got.status == 200, got
        return got.headers["x-backend"]

    def spread(self, count, path="/", port=80):
        """How many of so many requests, each of a new client's, each backend answers."""
        return Counter(self.backend(path, port) for _ in range(count))

    def kill(self, name):
        """The machine's processes end at once."""
        run = subprocess.run(["ip", "netns", "pids", f"{self.name}-{name}"], capture_output=True,
                             text=True, check=True)
        pids = [int(pid) for pid in run.stdout.split()]
        procs.kill(pids)

        def gone():  # orphans are ours; a zombie's pid would still look like a running server's
            for pid in pids:
                procs.reap(pid)
            return not any(procs.stat(pid) for pid in pids)
        wait_for(gone, f"the end of {name}")

    def cable(self, name, state):
        """Pulls a machine's cable ("down"), or plugs it in ("up")."""
        subprocess.run(["ip", "-n", f"{self.name}-net", "link", "set", name, state], check=True)

    def error_log(self, name):
        """A server's error log."""
        return (self.root / name / "logs/error.log").read_text(errors="replace")

    def restart(self, name):
        """Restarts a server gracefully, and waits until that is done."""
        before = self.error_log(name).count("resuming normal operations")
        self.script("httpd", name, "-k", "graceful")
        wait_for(lambda: self.error_log(name).count("resuming normal operations") > before,
                 f"the end of {name}'s restart")

    def manage(self, **changes):
        """Uses the balancer manager."""
        page = self.get("/balancer-manager").text
        nonce = re.search(r"nonce=([0-9a-f-]+)", page)[1]
        form = "&".join(f"{key}={value}" for key, value in
                        {"b": "app", "nonce": nonce, **changes}.items()).encode()
        got = self.get("/balancer-manager", method="POST", body=form, headers=(
            "Referer: http://localhost/balancer-manager", "Origin: http://localhost",
            "Content-Type: application/x-www-form-urlencoded"))
        assert got.status == 200, got

    def state(self, address):
        """A backend's status in the balancer manager: "Init Ok", "Init Err" ..."""
        page = self.get("/balancer-manager").text
        row = re.search(rf">http://{re.escape(address)}</a></td>(.*?)</tr>", page, re.DOTALL)[1]
        return re.findall(r"<td>(.*?)</td>", row)[4].strip()

    @contextlib.contextmanager
    def load(self, clients=8, port=80, path="/app/x"):
        """So many clients that ask without a pause, meanwhile, on connections that they keep.
        Yields a Load."""
        load = Load(self, port, path)
        threads = [threading.Thread(target=load.run) for _ in range(clients)]
        for thread in threads:
            thread.start()
        try:
            yield load
        finally:
            load.over = True
            for thread in threads:
                thread.join()


class Load:
    """What the clients have seen."""

    def __init__(self, cluster, port, path):
        self._cluster, self._port, self._path = cluster, port, path
        self._lock = threading.Lock()
        self.over = False
        self.answers = Counter()  # by status, or by what was wrong
        self.backends = Counter()  # who answered with 200

    def run(self):
        """A client."""
        conn = None
        while not self.over:
            try:
                conn = conn or self._cluster.connect(self._port)
                got = conn.get(self._path)
                self._note(got.status, got.headers.get("x-backend"))
                kept = got.keeps
            except (OSError, Closed) as error:
                self._note(f"{type(error).__name__}: {error}")
                kept = False
            if not kept and conn:
                conn.close()
                conn = None
        if conn:
            conn.close()

    def _note(self, answer, backend=None):
        with self._lock:
            self.answers[answer] += 1
            if answer == 200:
                self.backends[backend] += 1

    def wait_more(self, count=100, backend=None):
        """Waits until so many more requests have been answered, by anyone or by one backend."""
        def good():
            return self.backends[backend] if backend else self.backends.total()
        enough = good() + count
        wait_for(lambda: good() >= enough, f"{count} more answers")

    @property
    def lost(self):
        """All that is no answer of a backend's."""
        return {answer: count for answer, count in self.answers.items() if answer != 200}
