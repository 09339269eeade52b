# SPDX-License-Identifier: Apache-2.0
"""make run and make stop: scripts/run.sh."""

import os
import re
import resource
import signal
import socket
import subprocess
import urllib.request

import pytest

from .checkout import MODULE, PAGE, TOP, Checkout, free_ports, run, wait_for

MPMS = ["event", "worker", "prefork",
        pytest.param("stm", marks=pytest.mark.skipif(not MODULE.exists(), reason="not built"))]


def ended(checkout):
    """Nothing of the server is left."""
    return not checkout.processes() and not (checkout.root / "logs/httpd.pid").exists()


def refused(result, *words):
    """Checks that the script failed and gave the reason on stderr, in these words."""
    assert result.returncode == 1, result
    for word in words:
        assert word in result.stderr
    return True


def program(path, text):
    """A shell script."""
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_wrong_paths_are_named(checkout, folder):
    """APXS and HTTPD that are missing, that fail, or that point to nothing."""
    fails = program(folder / "fails", "exit 1")
    lost = program(folder / "lost", "echo /nonexistent/modules")
    assert refused(checkout.script("start", APXS="/nonexistent/apxs"), "APXS=/nonexistent/apxs")
    assert refused(checkout.script("start", APXS=fails), f"APXS={fails} -q LIBEXECDIR fails")
    assert refused(checkout.script("start", APXS=lost), f"APXS={lost}", "/nonexistent/modules")
    assert refused(checkout.script("start", HTTPD="/nonexistent/httpd"), "HTTPD=/nonexistent/httpd")
    assert refused(checkout.script("start", HTTPD="/usr"), "HTTPD=/usr")
    assert refused(checkout.script("start", HTTPD=fails), f"HTTPD={fails}")


def test_make_names_a_wrong_path():
    for what in ("build/mpm/module.o", "start-server MPM=event"):
        said = run(["make", "-s", "-B", "APXS=/nonexistent/apxs", *what.split()])
        assert said.returncode != 0 and "APXS=/nonexistent/apxs" in said.stderr


def test_an_mpm_that_is_compiled_in(checkout, folder):
    static = program(folder / "static", "echo '  core.c'; echo '  event.c'")
    assert refused(checkout.script("start", HTTPD=static), f"HTTPD={static}", "event",
                   "mpms-shared")


def test_modules_where_apxs_says(checkout, folder):
    """Another layout than Debian's: the modules are its own."""
    own = folder / "libexec"
    own.symlink_to(run(["apxs", "-q", "LIBEXECDIR"]).stdout.strip())
    apxs = program(folder / "apxs", f"echo '{own}'")
    started = checkout.script("start", APXS=apxs)
    assert started.returncode == 0, started.stderr
    loaded = re.findall(r"^LoadModule (\w+)_module (\S+)$",
                        (checkout.root / "conf/httpd.conf").read_text(), re.M)
    assert {"mpm_event", "authz_core", "dir", "mime", "status"} <= {name for name, _ in loaded}
    assert all(path.startswith(f"{own}/") for _, path in loaded)
    # Debian's httpd has them compiled in.
    assert not {"unixd", "log_config", "logio"} & {name for name, _ in loaded}
    assert checkout.script("stop").returncode == 0


def test_modules_that_debian_has_compiled_in(checkout, folder):
    """httpd's own build has only these compiled in; what the configuration uses is loaded."""
    bare = program(folder / "bare", "echo '  core.c'; echo '  mod_so.c'; echo '  http_core.c'; "
                                    "[ \"$1\" = -l ]")
    assert refused(checkout.script("start", HTTPD=bare), "httpd did not start")
    conf = (checkout.root / "conf/httpd.conf").read_text()
    loaded = set(re.findall(r"^LoadModule (\w+)_module ", conf, re.M))
    # %O is logio's, User and Group are unixd's.
    assert "%O" in conf and {"log_config", "logio", "unixd"} <= loaded


@pytest.mark.parametrize("mpm", MPMS)
def test_another_httpd(checkout, mpm):
    """STM_TEST_APXS: say, that of httpd's own build in /usr/local/apache2."""
    apxs = os.environ.get("STM_TEST_APXS")
    if not apxs:
        pytest.skip("STM_TEST_APXS names no other httpd's apxs")
    where = [run([apxs, "-q", name]).stdout.strip() for name in ("SBINDIR", "PROGNAME")]
    started = checkout.script("start", mpm, APXS=apxs, HTTPD="/".join(where))
    assert started.returncode == 0, started.stderr
    assert checkout.page() == PAGE
    assert "Stopped" in checkout.script("stop", HTTPD="/".join(where)).stdout


@pytest.mark.parametrize("mpm", MPMS)
def test_cycle(checkout, mpm):
    """Start answers and prints all that is promised; stop leaves nothing behind."""
    started = checkout.script("start", mpm)
    assert started.returncode == 0, started.stderr
    assert checkout.page() == PAGE
    assert f"http://localhost:{checkout.port}/" in started.stdout
    assert f"MPM {mpm}" in started.stdout
    assert "NLWP" in started.stdout
    pages = ["server-status"]
    if mpm == "stm":
        pages += ["stm-dashboard", "stm-threads", "stm-metrics"]
    shown = re.findall(r"^(?:Status|Dashboard|Threads|Metrics): +(http\S+)$", started.stdout, re.M)
    assert shown == [f"http://localhost:{checkout.port}/{page}" for page in pages]
    for address in shown:
        with urllib.request.urlopen(address, timeout=20) as answer:
            assert answer.status == 200
    assert f"{checkout.root}/logs/" in started.stdout
    assert "make stop" in started.stdout
    shown = re.findall(r"^ +(\d+) +\d+ +\S+ +(\d+) +\d+ .*httpd\.conf", started.stdout, re.M)
    assert str(checkout.pid()) in [pid for pid, _ in shown]
    assert len(shown) >= 2
    status = checkout.script("status")
    assert f"MPM {mpm}" in status.stdout
    stopped = checkout.script("stop")
    assert stopped.returncode == 0 and "Stopped" in stopped.stdout
    assert "SIGKILL" not in stopped.stdout
    assert ended(checkout)


def test_unknown_mpm(checkout):
    """Says which there are."""
    assert refused(checkout.script("start", "threads"), "threads", "stm, event, worker or prefork")
    assert ended(checkout)


def test_settings_of_the_users_own(checkout):
    """MPM_CONF replaces the file in conf/; a missing one is named."""
    assert refused(checkout.script("start", MPM_CONF="absent.conf"), "absent.conf")
    settings = checkout.top / "own.conf"
    settings.write_text("StartServers 3\nMinSpareServers 3\nMaxSpareServers 4\n")
    assert checkout.script("start", "prefork", MPM_CONF=settings).returncode == 0
    assert wait_for(lambda: len(checkout.processes()) == 4, "a master and three processes")


@pytest.mark.parametrize("port", ["80", "1023", "0", "65536", "-1", "http", "8080x", "123456789"])
def test_port_out_of_range(checkout, port):
    """Never below 1024, and never anything that is not a port."""
    assert refused(checkout.script("start", PORT=port), f"PORT={port}", "1024 to 65535")
    assert ended(checkout)


def test_port_with_leading_zero_is_decimal(checkout):
    """Bash would take 01024 for octal."""
    assert refused(checkout.script("start", PORT="01000"), "1024 to 65535")


def test_bad_address(checkout):
    """It cannot be used to inject configuration."""
    assert refused(checkout.script("start", ADDRESS="localhost"), "ADDRESS=localhost")


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])
def test_port_in_use(checkout, address):
    """Says by whom."""
    with socket.socket() as other:
        other.bind((address, checkout.port))
        other.listen()
        assert refused(checkout.script("start"), f"port {checkout.port} is in use",
                       f"pid={os.getpid()}")
    assert ended(checkout)


def test_port_in_use_without_ss(checkout, folder):
    """The same refusal where iproute2 is missing."""
    tools = folder / "tools"
    tools.mkdir()
    for path in ("/usr/sbin", "/usr/bin", "/sbin", "/bin"):
        for name in os.listdir(path):
            if name != "ss" and not (tools / name).is_symlink():
                (tools / name).symlink_to(f"{path}/{name}")
    script = (checkout.top / "scripts/run.sh")
    script.write_text(script.read_text().replace("PATH=$PATH:/usr/sbin:/sbin", ""))
    with socket.socket() as other:
        other.bind(("127.0.0.1", checkout.port))
        other.listen()
        assert refused(checkout.script("start", PATH=tools), f"port {checkout.port} is in use")


def test_already_running(checkout):
    """The first one stays as it was."""
    assert checkout.script("start").returncode == 0
    pid = checkout.pid()
    assert refused(checkout.script("start", "worker"), "is already running", str(pid), "event")
    assert checkout.pid() == pid
    assert checkout.page() == PAGE


def test_two_build_folders(checkout):
    """A variant runs beside it, on another port."""
    assert checkout.script("start").returncode == 0
    variant = Checkout.__new__(Checkout)
    vars(variant).update(vars(checkout), root=checkout.build / "debug/run")
    try:
        port = checkout.port
        assert refused(variant.script("start", BUILD="build/debug"), f"port {port} is in use")
        variant.port = port + 1
        started = variant.script("start", BUILD="build/debug")
        assert started.returncode == 0, started.stderr
        assert "make stop BUILD=build/debug" in started.stdout
        assert refused(checkout.script("clean"), "is running from")
        assert checkout.page() == PAGE
    finally:
        assert variant.script("stop", BUILD="build/debug").returncode == 0
    assert ended(variant)
    assert checkout.page() == PAGE


def test_clean_refuses_while_it_runs(checkout):
    """The folder of a running server is not removed."""
    assert checkout.script("start").returncode == 0
    assert refused(checkout.script("clean"), "make stop")
    assert checkout.page() == PAGE
    assert checkout.script("stop").returncode == 0
    assert checkout.script("clean").returncode == 0
    assert not checkout.root.exists()


def test_stop_without_run(checkout):
    """Nothing to do is no failure."""
    stopped = checkout.script("stop")
    assert stopped.returncode == 0
    assert "Nothing to stop" in stopped.stdout


@pytest.mark.parametrize("content", ["bystander", "", "0", "-1", "x", "99999999"])
def test_stale_pid_file(checkout, content):
    """A pid file that an earlier server left, whose number is now another process's: that one
    survives."""
    with subprocess.Popen(["sleep", "1000"], start_new_session=True) as bystander:
        try:
            (checkout.root / "logs").mkdir(parents=True)
            pidfile = checkout.root / "logs/httpd.pid"
            pidfile.write_text(content.replace("bystander", str(bystander.pid)) + "\n")
            stopped = checkout.script("stop")
            assert stopped.returncode == 0
            assert "removed the pid file" in stopped.stdout
            assert not pidfile.exists()
            assert bystander.poll() is None
        finally:
            bystander.kill()


def test_dead_master(checkout):
    """kill -9 of the master leaves event's children, which stop ends."""
    assert checkout.script("start").returncode == 0
    master = checkout.pid()
    os.kill(master, signal.SIGKILL)
    wait_for(lambda: master not in checkout.processes(), "the master's death")
    if checkout.processes():
        assert refused(checkout.script("start"), "is already running")
        stopped = checkout.script("stop", STOP_WAIT=1)
        assert stopped.returncode == 0
        assert "The master" in stopped.stdout
    assert not checkout.processes()


def test_stop_of_a_hanging_server(checkout):
    """A server that ignores SIGTERM gets SIGKILL, and the user is told."""
    assert checkout.script("start").returncode == 0
    os.kill(checkout.pid(), signal.SIGSTOP)
    stopped = checkout.script("stop", STOP_WAIT=1)
    assert stopped.returncode == 0
    assert "SIGKILL" in stopped.stdout
    assert ended(checkout)


def fake_httpd(folder, body):
    """A program in httpd's place."""
    program = folder / "fake-httpd"
    program.write_text(f"#!/bin/sh\n{body}\n")
    program.chmod(0o755)
    return program


def test_httpd_that_fails(checkout, folder):
    """What it said is shown."""
    program = fake_httpd(folder,
                         "[ \"$1\" = -l ] && exit 0; echo 'Syntax error on line 7' >&2; exit 1")
    assert refused(checkout.script("start", HTTPD=program), "Syntax error on line 7",
                   "httpd did not start")


def test_httpd_that_ends_at_once(checkout, folder):
    """It detached itself and was gone: the script does not wait until the time is up."""
    program = fake_httpd(folder, "exit 0")
    assert refused(checkout.script("start", HTTPD=program), "httpd ended before it answered")


def test_no_httpd(checkout):
    """A machine without it."""
    assert refused(checkout.script("start", HTTPD="/nonexistent/httpd"),
                   "HTTPD=/nonexistent/httpd is no program", "apache2-bin")


def test_missing_module(checkout):
    """MPM=stm before make."""
    (checkout.build / "mod_mpm_stm.so").unlink(missing_ok=True)
    assert refused(checkout.script("start", "stm"), "mod_mpm_stm.so is missing")


def test_inherits_nothing(checkout):
    """Neither make's job server nor its flags reach the server."""
    reader, writer = os.pipe()
    try:
        started = run([checkout.top / "scripts/run.sh", "start"], pass_fds=[writer],
                      env=dict(os.environ, MPM="event", PORT=str(checkout.port), MAKEFLAGS="-j"))
        assert started.returncode == 0, started.stderr
        held = os.fstat(writer).st_ino
        pid = checkout.pid()
        for fd in os.listdir(f"/proc/{pid}/fd"):
            assert os.readlink(f"/proc/{pid}/fd/{fd}") != f"pipe:[{held}]"
        with open(f"/proc/{pid}/environ", "rb") as environ:
            assert b"MAKEFLAGS" not in environ.read()
    finally:
        os.close(reader)
        os.close(writer)


def test_descriptors(checkout):
    """Every MPM may open as many as the user may allow it, up to 65536."""
    assert checkout.script("start").returncode == 0
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    limits = resource.prlimit(checkout.pid(), resource.RLIMIT_NOFILE)
    assert limits == (65536 if hard == resource.RLIM_INFINITY else min(hard, 65536), hard)


def test_changed_page_stays(checkout):
    """The user may change the page."""
    assert checkout.script("start").returncode == 0
    (checkout.root / "htdocs/index.html").write_text("mine\n")
    assert checkout.script("stop").returncode == 0
    assert checkout.script("start").returncode == 0
    assert checkout.page() == "mine\n"


@pytest.mark.parametrize("mpm", MPMS[::3])
@pytest.mark.needs_root
def test_folder_that_others_cannot_enter(checkout, mpm):
    """Root's checkout under a folder of mode 0700: www-data's children still serve."""
    (checkout.root / "htdocs").mkdir(parents=True)
    (checkout.root / "htdocs/index.html").write_text("mine\n")
    checkout.top.chmod(0o700)
    started = checkout.script("start", mpm)
    assert started.returncode == 0, started.stderr
    assert checkout.page() == "mine\n"
    assert "link" in started.stdout
    outside = checkout.root.resolve()
    assert checkout.root.is_symlink() and checkout.top not in outside.parents
    assert (outside / "modules/mod_mpm_stm.so").exists() == (mpm == "stm")
    assert checkout.script("stop").returncode == 0
    (checkout.root / "htdocs/index.html").unlink()
    assert checkout.script("start", mpm).returncode == 0
    assert checkout.root.resolve() == outside, "a second run uses the same folder"
    assert checkout.page() == PAGE
    assert checkout.script("stop").returncode == 0
    assert checkout.script("clean").returncode == 0
    assert not outside.exists() and not checkout.root.is_symlink()


@pytest.mark.parametrize("mpm", MPMS)
@pytest.mark.needs_root
def test_ordinary_user(foreign, mpm):
    """Not root: the children are the user's own."""
    started = foreign.script("start", mpm)
    assert started.returncode == 0, started.stderr
    assert foreign.page() == PAGE
    assert {os.stat(f"/proc/{pid}").st_uid for pid in foreign.processes()} == {65534}
    assert foreign.script("stop").returncode == 0
    assert ended(foreign)


@pytest.mark.needs_root
def test_server_of_another_user(foreign):
    """An ordinary user is told that root's server is not his to stop."""
    user, foreign.prefix = foreign.prefix, []
    assert foreign.script("start").returncode == 0
    pid = foreign.pid()
    foreign.prefix = user
    assert refused(foreign.script("stop"), "started by root")
    assert foreign.pid() == pid
    foreign.prefix = []
    assert foreign.script("stop").returncode == 0
    foreign.prefix = user
    assert refused(foreign.script("start"), "belongs to root")


def test_processes_that_come_and_go(checkout, folder):
    """A process on the machine ends while all are being read: cat then fails, but the script does
    not."""
    tools = folder / "tools"
    tools.mkdir()
    (tools / "cat").write_text('#!/bin/sh\n/bin/cat "$@"\ncase $1 in /proc/*) exit 1;; esac\n')
    (tools / "cat").chmod(0o755)
    path = f"{tools}:{os.environ['PATH']}"
    started = checkout.script("start", PATH=path)
    assert started.returncode == 0, started.stderr
    assert "NLWP" in started.stdout
    assert checkout.script("stop", PATH=path).returncode == 0
    assert ended(checkout)


def test_make(folder):
    """The commands of the README, through the Makefile."""
    port = str(free_ports(1)[0])
    settings = [f"BUILD={folder.relative_to(TOP)}", f"PORT={port}", "MPM=event", "DEPS=no"]
    try:
        started = run(["make", "run", *settings], cwd=TOP)
        assert started.returncode == 0, started.stderr
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=20) as answer:
            assert answer.read().decode() == PAGE
        again = run(["make", "run", *settings], cwd=TOP)
        assert again.returncode != 0 and "is already running" in again.stderr
        assert "MPM event" in run(["make", "status", *settings], cwd=TOP).stdout
        unknown = run(["make", "run", *settings, "MPM=threads"], cwd=TOP)
        assert unknown.returncode != 0 and "must be stm, event, worker or prefork" in unknown.stderr
    finally:
        stopped = run(["make", "stop", *settings], cwd=TOP)
    assert stopped.returncode == 0 and "Stopped" in stopped.stdout
