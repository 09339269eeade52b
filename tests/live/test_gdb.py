# SPDX-License-Identifier: Apache-2.0
"""dev/gdb/st.py: state threads and connections in gdb, in a live VP and in its core."""

import fcntl
import os
import re
import resource
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from harness import places, procs, wait_for
from harness.places import tool
from harness.stm import PROBE, probed
from harness.strace import REFUSED

from .stripped import start_stripped

pytestmark = [pytest.mark.stm_only,
              pytest.mark.skipif(shutil.which("gdb") is None, reason="no gdb")]

SCRIPT = Path(__file__).resolve().parents[2] / "dev/gdb/st.py"
SLEEP = "/probe?sleep=600000"


def refused(said):
    """A machine that does not let us trace is no failure."""
    if REFUSED.search(said) or "ptrace: " in said:
        pytest.skip(f"gdb may not attach here: {said.strip().splitlines()[-1]}")


def gdb(*commands, target=(), timeout=120):
    """What gdb prints."""
    options = [word for command in (f"source {SCRIPT}", *commands) for word in ("-ex", command)]
    run = subprocess.run(["gdb", "-q", "-nx", "-batch", *target, *options], text=True,
                         capture_output=True, stdin=subprocess.DEVNULL, timeout=timeout,
                         check=False)
    said = run.stdout + run.stderr
    refused(said)
    assert "Traceback" not in said and "Python Exception" not in said, said
    return said


class Subject:
    """A VP with a thread that sleeps in a handler, one that waits for a name server, and an idle
    connection."""

    def __init__(self, serve_module):
        server = serve_module.make(
            processes=1, modules=[tool("mod_probe.so"), "proxy", "proxy_http"],
            directives=PROBE + "CoreDumpDirectory @ROOT@/gate\nKeepAliveTimeout 600\n"
            "ProxyPass /named http://somebody.slow:9/ disablereuse=on")
        folder = self.folder = server.private_folder("gate")
        gate, arrivals = folder / "gate", folder / "arrivals"
        for path in gate, arrivals:
            path.touch()
            path.chmod(0o666)
        self.lock = open(gate, "rb")
        fcntl.flock(self.lock, fcntl.LOCK_EX)
        server.preload(tool("slow_names.so"), {"SLOW_NAMES_ARRIVALS": str(arrivals),
                                               "SLOW_NAMES_LOCK": str(gate)})
        server.allowed.append("AH00052|signal|AH00050|AH00051|AH00957|AH01114")
        self.server = server.start()
        self.pid, = server.children()
        self.conns = [server.connect() for _ in range(3)]
        self.idle = self.conns[2]
        self.conns[0].ask(SLEEP)
        self.conns[1].ask("/named")
        wait_for(arrivals.read_bytes, "a look-up")
        # The last thread that has run is neither of these two: the scheduler is on its stack.
        assert self.idle.get("/").status == 200
        wait_for(lambda: procs.stat(self.pid).state == "S", "the VP to wait")
        self.live = ["-p", str(self.pid)]

    def end(self):
        """Lets the look-up continue."""
        self.lock.close()
        for conn in self.conns:
            conn.close()


@pytest.fixture(scope="module", name="subject")
def _subject(serve_module):
    made = Subject(serve_module)
    yield made
    made.end()


@pytest.fixture(scope="module", name="core")
def _core(serve_module):
    """The core that the kernel writes of such a VP. (gdb's own generate-core-file leaves out the
    stacks where guards are no mappings of their own, and takes minutes over the reserved space.)"""
    if Path("/proc/sys/kernel/core_pattern").read_text().startswith(("|", "/")):
        pytest.skip("cores of this machine go somewhere else (core_pattern)")
    unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    before = resource.getrlimit(resource.RLIMIT_CORE)
    if before[1] != resource.RLIM_INFINITY and os.geteuid() != 0:
        pytest.skip("the limit on cores cannot be raised here")
    resource.setrlimit(resource.RLIMIT_CORE, unlimited)
    try:
        made = Subject(serve_module)
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, (before[0], resource.RLIM_INFINITY))
    os.kill(made.pid, signal.SIGABRT)
    wait_for(lambda: made.pid not in made.server.children(), "the VP's end")
    path, = made.folder.glob("core*")
    yield [str(places.HTTPD), str(path)]
    made.end()


def threads(said):
    """{function: (number, address, state, what it waits for)} of `st threads`."""
    rows = re.findall(r"^ +(\d+) (0x\w+) (\w+) +(\S+) *(.*)$", said, re.M)
    return {row[3]: (row[0], row[1], row[2], row[4]) for row in rows}


def frames(said):
    """The functions of the backtraces, innermost first."""
    return re.findall(r"^#\d+ +0x\w+ in (\S+) \(", said, re.M)


class Seen:
    """What gdb says of one target, in two runs: each command's part."""

    def __init__(self, target):
        self.vps, self.all_threads, self.conns, self.traces = self._run(
            target, "st vps", "st threads", "stm conns", "st bt all")
        self.threads = threads(self.all_threads)
        number, address, _, _ = self.threads["apr_sleep"]
        helped = self.threads["ap_proxy_determine_address"][0]
        self.by_number, self.by_address, self.helped, self.there, self.back = self._run(
            target, f"st bt {number}", f"st bt {address}", f"st bt {helped}",
            (f"st thread {number}", "frame function handler", "print r->uri"),
            ("st thread", "bt"))

    @staticmethod
    def _run(target, *parts):
        commands = []
        for part in parts:
            commands += ["echo @part@\\n", *([part] if isinstance(part, str) else part)]
        return gdb(*commands, target=target).split("@part@\n")[1:]


@pytest.fixture(scope="module", name="seen", params=["live", "core"])
def _seen(request, subject):
    return Seen(subject.live if request.param == "live" else request.getfixturevalue("core"))


def test_threads(seen):
    """Each with what it waits for, and the function that does. Which of those that wait has run
    last, and so has the scheduler on its stack ("idle"), is up to the pace of the machine."""
    sleeper, looking_up = seen.threads["apr_sleep"], seen.threads["ap_proxy_determine_address"]
    waits = ("waiting", "idle")
    assert sleeper[2] in waits and re.match(r"until \d+\.\d+ s from", sleeper[3])
    assert looking_up[2] in waits and re.match(r"kernel thread \d+$", looking_up[3])
    assert seen.threads["wait_until_told"][0] == "0"
    assert [row[2] for row in seen.threads.values()].count("idle") <= 1


def test_vps(seen):
    count, = re.findall(r"^VP 0x\w+: kernel thread \d+, (\d+) state threads, 0 ready,", seen.vps,
                        re.M)
    assert int(count) == len(re.findall(r"^ +\d+ 0x", seen.all_threads, re.M))


def test_backtrace_of_a_parked_thread(seen):
    """By its number and by its address: from the wait down to the thread's first frame."""
    names = frames(seen.by_number)
    assert names.index("apr_sleep") < names.index("handler") < \
        names.index("ap_run_process_connection") < names.index("stm_conn_serve"), seen.by_number
    assert names[-1] == "st__thread_start" and "Backtrace stopped" not in seen.by_number
    assert frames(seen.by_address) == names


def test_backtrace_of_all(seen):
    traces = re.split(r"^state thread \d+ ", seen.traces, flags=re.M)[1:]
    assert len(traces) == len(re.findall(r"^ +\d+ 0x", seen.all_threads, re.M))
    assert frames(traces[0])[-1] == "main"  # the primordial thread's
    for trace in traces[1:]:
        assert "st__thread_start" in frames(trace), trace


def test_backtrace_of_one_that_waits_for_a_kernel_thread(seen):
    """Its own, and that of the kernel thread which does its work."""
    own, helper = re.split(r"^which waits for kernel thread \d+:$", seen.helped, flags=re.M)
    assert "ap_proxy_determine_address" in frames(own)
    assert "wait_at_gate" in frames(helper)


def test_connections(seen):
    """With their requests and the state threads that serve them; the connection by which the
    harness saw that the server is ready may still be lingering."""
    rows = re.findall(r"^ +\d+ +\d+ (\w+) +\S+ u?s +(\d*) +127\.0\.0\.1:\d+ *(.*)$", seen.conns,
                      re.M)
    assert sorted(row for row in rows if row[0] != "linger") == sorted([
        ("keepalive", "", ""),
        ("serving", seen.threads["ap_proxy_determine_address"][0], "GET /named HTTP/1.1"),
        ("serving", seen.threads["apr_sleep"][0], f"GET {SLEEP} HTTP/1.1")]), seen.conns


def test_gdbs_own_commands_in_a_parked_thread(seen):
    """`st thread N`, then frames and variables; `st thread` goes back."""
    assert re.search(r'= 0x\w+ "/probe"$', seen.there, re.M), seen.there
    assert "#0 " in seen.back and " in handler (" not in seen.back, seen.back
    assert "wait_until_told" not in seen.back, seen.back


def test_the_process_is_left_as_it_was(subject):
    """After all of these it serves on."""
    assert subject.idle.get("/").status == 200
    assert subject.server.children() == [subject.pid]


def test_a_running_thread(serve):
    """Stopped in a handler: its frames are the kernel thread's; the others are parked."""
    server = probed(serve)
    server.start_attached("-X")
    options = [f"source {SCRIPT}", "break spin", "echo armed\\n", "continue", "st threads",
               "st bt all", "detach"]
    run = subprocess.Popen(["gdb", "-q", "-nx", "-batch", "-p", str(server.master),
                            *(word for option in options for word in ("-ex", option))],
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                           stdin=subprocess.DEVNULL, text=True)
    said = ""
    for line in run.stdout:
        said += line
        if line.startswith("armed"):
            break
    refused(said)
    with server.connect() as conn:
        conn.ask("/probe?spin=1")
        said += run.stdout.read()
        run.wait(60)
        assert conn.response().status == 200
    run.stdout.close()
    assert threads(said)["spin"][2] == "running", said
    assert threads(said)["wait_until_told"][2] == "waiting", said
    running, = re.findall(r"^state thread \d+ \(\w+\), running$(.*?)(?:^state|\Z)", said,
                          re.M | re.S)
    assert frames(running)[0] == "spin" and "st__thread_start" in frames(running), said


def test_a_stripped_module(serve, tmp_path):
    """Without debug information there is a word about where to get it; with it all is there."""
    server = serve.make(processes=1)
    debug = tmp_path / "mod_mpm_stm.so.debug"
    subprocess.run(["objcopy", "--only-keep-debug", places.STM_MODULE, debug], check=True)
    module = start_stripped(server)
    target = ["-p", str(server.children()[0])]
    for command in "st threads", "stm conns":
        said = gdb(command, target=target)
        assert "no debugging information for libst was found" in said and "dbgsym" in said, said
        assert str(module) in said, said
    base = re.search(r"-o (0x\w+)$", said, re.M)[1]
    said = gdb(f"add-symbol-file {debug} -o {base}", "st threads", target=target)
    assert "wait_until_told" in said, said


def test_a_process_that_is_no_vp(subject):
    """httpd's master, and no process at all."""
    assert "no VP in this process" in gdb("st threads", target=["-p", str(subject.server.master)])
    assert "attach to a VP" in gdb("st threads", target=[str(places.HTTPD)])


@pytest.mark.parametrize("command, answer", [
    ("st bt 999", "no state thread 999: there are 0 to"),
    ("st bt", "usage: st bt"),
    ("st thread no_such_thing", "st: No symbol")])
def test_wrong_arguments(subject, command, answer):
    assert answer in gdb(command, target=subject.live)
