# SPDX-License-Identifier: Apache-2.0
"""What container/ does, without an engine: the shipped configuration, served by process 1 of a
chroot with a read-only root, Docker's capabilities or none, and its seccomp profile's refusals."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import time

import pytest
from harness import MODULES, MPM, ROOT, Conn, places, procs, tool, wait_for
from harness.client import Closed
from harness.config import mpm_module
from harness.net import free_ports

pytestmark = pytest.mark.needs_root

# What Docker leaves to a container's root user.
DOCKER = ("chown,dac_override,fowner,fsetid,kill,setgid,setuid,setpcap,net_bind_service,net_raw,"
          "sys_chroot,mknod,audit_write,setfcap")
REFUSED = ("add_key bpf get_mempolicy io_uring_enter io_uring_register io_uring_setup kcmp keyctl "
           "mbind mount open_by_handle_at perf_event_open pidfd_getfd process_vm_readv "
           "process_vm_writev ptrace request_key set_mempolicy setns unshare userfaultfd").split()
USERS = {
    "user": ["--reuid=www-data", "--regid=www-data", "--clear-groups", "--bounding-set=-all"],
    "root": ["--bounding-set=-all," + ",".join(f"+{name}" for name in DOCKER.split(","))],
}


class Container:
    """The server of container/httpd.conf as process 1."""

    def __init__(self, name, user, extra=""):
        self.root = places.new_root(name)
        self.image = self.root / "apache2"
        self.port, self.status = free_ports(2)
        self._build(extra)
        # The container's output: in Docker a pipe that its user may open.
        self._log = open(self.root / "output.log", "wb")
        os.fchmod(self._log.fileno(), 0o666)
        script = ROOT / "tests/live/tools/contain.sh"
        shutil.copy(tool("refuse"), self.image)
        command = ["unshare", "--mount", "--pid", "--fork", "--kill-child", script, self.image,
                   "setpriv", "--no-new-privs", "--inh-caps=-all", *USERS[user],
                   "/usr/local/apache2/refuse", "EPERM", *REFUSED, "--",
                   places.HTTPD, "-d", "/usr/local/apache2", "-f", "conf/httpd.conf",
                   "-D", "FOREGROUND"]
        self._run = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self._log,
                                     stderr=self._log)
        self.init = None

    def _build(self, extra):
        for folder in ("conf", "htdocs", "modules", "cgi"):
            (self.image / folder).mkdir(parents=True)
        for module in MODULES.glob("mod_*.so"):
            (self.image / "modules" / module.name).symlink_to(module)
        text = (ROOT / "container/httpd.conf").read_text()
        for port, ours in ((8080, self.port), (8081, self.status)):
            text, count = re.subn(rf"^(Listen +){port}$", rf"\g<1>127.0.0.1:{ours}", text,
                                  flags=re.M)
            assert count == 1
            text = text.replace(f"<VirtualHost *:{port}>", f"<VirtualHost *:{ours}>")
        if MPM == "stm":
            shutil.copy(places.STM_MODULE, self.image / "modules/mod_mpm_stm.so")
        else:
            text = re.sub(r"^LoadModule mpm_stm.*$", mpm_module(MPM), text, flags=re.M)
            text = re.sub(r"^(NumVPs|MaxThreads|St\w+|M\w+SpareThreads) .*$", "", text, flags=re.M)
            text = text.replace("stm-metrics\n        Require", "server-status\n        Require")
            text = text.replace("SetHandler stm-metrics", "SetHandler server-status")
        (self.image / "conf/httpd.conf").write_text(text + extra)
        (self.image / "conf/mime.types").write_text("text/html html\n")
        (self.image / "htdocs/index.html").write_text("It works!\n")

    def start(self):
        """Waits until it serves."""
        def serving():
            assert self._run.poll() is None, self.output()
            with contextlib.suppress(OSError, Closed):
                return self.get("/").status == 200
            return False
        wait_for(serving, "the container serves")
        self.init = procs.children(self._run.pid)[0]
        return self

    def get(self, path, port=None):
        """One request on its own connection."""
        with Conn(port or self.port) as conn:
            return conn.get(path)

    def output(self):
        """What the container has printed: its logs."""
        return (self.root / "output.log").read_text(errors="replace")

    def children(self):
        """The server's processes but process 1."""
        return procs.children(self.init)

    def wait_end(self):
        """The exit status of process 1."""
        return self._run.wait(30)

    def remove(self):
        """Ends it, however it is."""
        if self._run.poll() is None:
            os.kill(self.init or self._run.pid, signal.SIGKILL)
            self._run.wait(30)
        self._log.close()


@pytest.fixture(name="container")
def _container(request):
    made = []

    def make(user="user", extra=""):
        probe = subprocess.run(["unshare", "--mount", "--pid", "--fork", "true"], check=False,
                               capture_output=True, text=True)
        if probe.returncode != 0:
            pytest.skip(f"no namespaces can be made here: {probe.stderr.strip()}")
        name = "container_" + re.sub(r"\W+", "_", request.node.name.removeprefix("test_"))
        made.append(Container(name, user, extra))
        return made[-1].start()

    yield make
    for one in made:
        one.remove()


def status_of(pid, name):
    """A field of /proc/PID/status."""
    return re.search(rf"^{name}:\s*(.*)$", (places.Path(f"/proc/{pid}/status")).read_text(),
                     re.M).group(1)


@pytest.mark.parametrize("user", USERS)
def test_serves_as_process_1(container, user):
    """With the capabilities it is given, and no complaint about what it may not do."""
    server = container(user)
    assert status_of(server.init, "NSpid").split()[-1] == "1"
    assert (status_of(server.init, "CapEff") == "0" * 16) == (user == "user")
    for child in server.children():
        assert status_of(child, "CapEff") == "0" * 16
        assert status_of(child, "Seccomp") == "2" and status_of(child, "NoNewPrivs") == "1"
    for _ in range(20):
        assert server.get("/").text == "It works!\n"
    assert server.get("/server-status?auto", server.status).status == 200
    assert server.get("/stm-metrics", server.status).status == 200
    assert server.get("/stm-metrics").status == 404  # not on the public port
    assert "GET / HTTP/1.1" in server.output()
    assert not re.search(r":(warn|error|crit|alert|emerg)\]", server.output()), server.output()


@pytest.mark.parametrize("user", USERS)
def test_a_graceful_stop_answers_what_is_in_progress(container, user):
    """STOPSIGNAL, and what preStop sends: the request is answered, then the container ends."""
    server = container(user)
    with Conn(server.port) as conn:
        conn.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n")
        wait_for(lambda: "R" in scoreboard(server), "the request is being read")
        os.kill(server.init, signal.SIGWINCH)
        wait_for(lambda: refused(server.port), "the listener is closed")
        conn.send(b"\r\n")
        assert conn.response().text == "It works!\n"
    assert server.wait_end() == 0


def scoreboard(server):
    """The characters of the slots."""
    return server.get("/server-status?auto", server.status).text.partition("Scoreboard: ")[2]


def refused(port):
    """Whether nobody listens there any more."""
    try:
        Conn(port).close()
    except OSError:
        return True
    return False


def test_a_term_ends_it_at_once(container):
    server = container()
    begin = time.monotonic()
    os.kill(server.init, signal.SIGTERM)
    assert server.wait_end() == 0
    assert time.monotonic() - begin < 10  # what `docker stop` allows


def test_a_reload_and_a_dead_process(container):
    """Process 1 replaces what dies, and a graceful restart works on a read-only root."""
    server = container()
    victim = server.children()[0]
    os.kill(victim, signal.SIGKILL)
    wait_for(lambda: victim not in server.children() and server.get("/").status == 200,
             "the process is replaced")
    before = set(server.children())
    os.kill(server.init, signal.SIGUSR1)
    wait_for(lambda: server.children() and not before & set(server.children()),
             "all processes are new")
    assert server.get("/").status == 200


def test_orphans_are_reaped(container):
    """What a CGI program leaves behind becomes a child of process 1."""
    extra = """
LoadModule alias_module modules/mod_alias.so
LoadModule cgi_module modules/mod_cgi.so
ScriptAlias /cgi/ /usr/local/apache2/cgi/
<Directory /usr/local/apache2/cgi>
    Require all granted
</Directory>
"""
    server = container(extra=extra)
    script = server.image / "cgi/orphan"
    script.write_text("#!/bin/sh\n(setsid sleep 0.2 >/dev/null 2>&1 &)\n"
                      "echo Content-Type: text/plain\necho\necho ok\n")
    script.chmod(0o755)
    for _ in range(5):
        assert server.get("/cgi/orphan").text == "ok\n"
    own = set(server.children())

    def gone():
        return not [one for one in procs.all_stats() if one.ppid == server.init
                    and (one.state == "Z" or one.pid not in own)]
    wait_for(gone, "process 1 has no finished children")
