# SPDX-License-Identifier: Apache-2.0
"""stmstat dump: backtraces of a VP's state threads, from outside its process."""

import fcntl
import os
import pwd
import random
import re
import shutil
import signal
import struct
import subprocess

import pytest
from harness import places, wait_for
from harness.drive import Load
from harness.places import tool
from harness.scoreboard import STMSTAT, stmstat
from harness.stm import probed
from harness.strace import NotPermitted, Trace

from .stripped import start_stripped

pytestmark = pytest.mark.stm_only

FILES = "ScoreboardDir scoreboards\n"
GOOD, PART, NONE = range(3)  # exit status
SLEEP = "/probe?sleep=600000"


def can_dump():
    """Whether this build has it, and this machine permits it."""
    said = stmstat("dump", "0", "-d", "/nowhere", check=False).stderr
    return "without libdw" not in said


if not can_dump():
    pytestmark = [pytestmark, pytest.mark.skip(reason="stmstat was built without libdw")]


class Dump:
    """What stmstat dump prints about a server's first VP."""

    def __init__(self, server, status=GOOD):
        run = stmstat("-d", server.root / "scoreboards", "dump", "0", check=False)
        if "not permitted" in run.stderr:
            pytest.skip(f"this machine does not permit it: {run.stderr}")
        assert run.returncode == status, run.stderr + run.stdout
        assert re.fullmatch(r"[\n -~]*", run.stdout)
        self.text, self.said = run.stdout, run.stderr
        self.head, *blocks = re.split(r"^(?=state thread |kernel thread )", run.stdout, flags=re.M)
        self.state = [b for b in blocks if b.startswith("state")]
        self.kernel = [b for b in blocks if b.startswith("kernel")]

    def of(self, function):
        """The only thread that has this function in its backtrace."""
        found = [b for b in self.state + self.kernel if function in frames(b)]
        assert len(found) == 1, self.text
        return found[0]

    def at(self, request):
        """The state thread that serves this request."""
        found = [b for b in self.state if b.splitlines()[0].endswith(f": GET {request} HTTP/1.1")]
        assert len(found) == 1, self.text
        return found[0]


def frames(block):
    """The functions of a backtrace, innermost first."""
    return re.findall(r"^#\d+ +0x\w+ in (\S+) ", block, re.M)


@pytest.fixture(name="server")
def _server(serve):
    return probed(serve, FILES, processes=1).start()


def test_threads_that_wait(server):
    """Shows the request, the client and their ages, and all frames from the wait to the first."""
    with server.connect() as conn:
        conn.ask(SLEEP)
        wait_for(lambda: "apr_sleep" in Dump(server).text, "the handler")
        dump = Dump(server)
        block = dump.at(SLEEP)
        names = frames(block)
        assert names.index("apr_sleep") < names.index("handler") < \
            names.index("ap_run_process_connection") < names.index("stm_conn_serve"), block
        assert names[-1] == "st__thread_start", block
        assert re.match(r"state thread \d+ \(0x\w+\), (waiting|idle), client 127\.0\.0\.1:\d+, "
                        r"connected for \S+ m?u?s, request for \S+ m?u?s: GET ", block), block
        assert "main" in frames(dump.state[0]), dump.text  # the primordial thread's
        assert re.search(r", stopped for \S+ [mu]?s\n", dump.head), dump.head


def test_a_thread_that_runs(server):
    """A handler that never yields is shown where it is; afterwards, the VP continues to serve."""
    with server.connect() as conn:
        for _ in range(20):  # a machine that freezes may miss one
            conn.ask("/probe?spin=2000")
            dump = Dump(server)
            if ", running, client" in dump.text:
                break
            conn.response()
        block = dump.of("handler")
        assert block.splitlines()[0].endswith("GET /probe?spin=2000 HTTP/1.1")
        assert ", running, client" in block and frames(block)[-1] == "st__thread_start", block
        assert conn.response().status == 200
        assert conn.get("/").status == 200


def test_a_stripped_module(serve):
    """Everything is found; frames without a name are shown with their object."""
    server = probed(serve, FILES, processes=1)
    start_stripped(server)
    with server.connect() as conn:
        conn.ask(SLEEP)
        wait_for(lambda: SLEEP in Dump(server).text, "the handler")
        block = Dump(server).at(SLEEP)
        names = frames(block)
        assert names.index("apr_sleep") < names.index("ap_run_process_connection"), block
        assert re.search(r"in \?\? from \S*/module/mod_mpm_stm\.so\+0x\w+$", block, re.M), block
        assert "mpm/conn/conn.c" not in block


def test_a_look_up_by_a_helper(serve):
    """The state thread is parked in the look-up; the kernel thread that makes it is shown too."""
    server = probed(serve, FILES + "ProxyPass /named http://somebody.slow:9/ disablereuse=on",
                    processes=1, modules=[tool("mod_probe.so"), "proxy", "proxy_http"])
    folder = server.private_folder("gate")
    gate, arrivals = folder / "gate", folder / "arrivals"
    for path in gate, arrivals:
        path.touch()
        path.chmod(0o666)
    server.preload(tool("slow_names.so"), {"SLOW_NAMES_ARRIVALS": str(arrivals),
                                           "SLOW_NAMES_LOCK": str(gate)})
    server.allowed.append("AH00957|AH01114|AH00898")
    with open(gate, "rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        server.start()
        with server.connect() as conn:
            conn.ask("/named")
            wait_for(arrivals.read_bytes, "a look-up")
            dump = Dump(server)
            asks, works = dump.at("/named"), dump.of("wait_at_gate")
            assert "ap_proxy_determine_address" in frames(asks), dump.text
            number, = re.findall(r"^state thread (\d+) ", asks)
            tid, = re.findall(rf"^kernel thread (\d+) .*, works for state thread {number}$", works,
                              re.M)
            assert f", kernel thread {tid} works for it, client" in asks, dump.text
            fcntl.flock(lock, fcntl.LOCK_UN)
            assert conn.response().status in (500, 502, 503)


def test_a_request_on_a_kernel_thread(serve):
    """The state thread has the request, the kernel thread the frames of the handler."""
    server = probed(serve, FILES + "<Location /probe>\nRunOn kernel\n</Location>",
                    processes=1).start()
    with server.connect() as conn:
        conn.ask("/probe?sleep=5000")
        wait_for(lambda: "handler" in frames(Dump(server).text), "the handler")
        dump = Dump(server)
        owner, works = dump.at("/probe?sleep=5000"), dump.of("handler")
        number, = re.findall(r"^state thread (\d+) ", owner)
        assert re.search(rf"^kernel thread \d+ .*, works for state thread {number}$", works, re.M)
        assert ", request on a kernel thread, kernel thread " in owner, dump.text
        assert conn.response().status == 200
        # Once it is idle, the kernel thread works for nobody, and so nothing is said.
        assert "works for" not in Dump(server).text


def test_hundreds_of_threads_under_load(serve):
    """Shows all of them, and no request fails meanwhile."""
    count = 300
    server = probed(serve, FILES, processes=1, threads=count + 50).start()
    conns = [server.connect() for _ in range(count)]
    for conn in conns:
        conn.ask(SLEEP)
    wait_for(lambda: Dump(server).text.count(f"GET {SLEEP}") == count, "the handlers")
    load = Load(server.port)
    for _ in range(5):
        dump = Dump(server)
        sleeping = [b for b in dump.state if f"GET {SLEEP} " in b]
        assert len(sleeping) == count
        for block in sleeping:
            assert {"apr_sleep", "handler", "st__thread_start"} <= set(frames(block)), block
    tally = load.finish()
    assert tally.ok > 0 and tally[1:6] == (0, 0, 0, 0, 0), tally
    for conn in conns:
        conn.close()


def test_a_process_that_another_tool_traces(server, tmp_path):
    """It cannot be stopped, and a message says so; parked threads are shown all the same."""
    with server.connect() as conn:
        conn.ask(SLEEP)
        with server.connect() as other:
            other.ask("/probe?sleep=600001")
            wait_for(lambda: Dump(server).text.count("GET /probe") == 2, "the handlers")
            try:
                trace = Trace(server.children(), tmp_path / "trace", "none")
            except NotPermitted as refused:
                pytest.skip(f"strace may not attach here: {refused}")
            try:
                dump = Dump(server, PART)
            finally:
                trace.end()
            assert "; not stopped: ptrace is not permitted, or another tool" in dump.head
            asleep = [b for b in dump.state if "apr_sleep" in frames(b)]
            assert asleep, dump.text
            assert "threads have no backtrace" in dump.said
            assert "it is running, and the process could not be stopped" in dump.text
            assert Dump(server).text.count("GET /probe") == 2


@pytest.mark.skipif(os.geteuid() != 0, reason="takes root to become others")
def test_who_may_not_see_the_process(server):
    """Users without the right, the server's own among them, are told what they would need."""
    folder = server.root / "copy"
    shutil.copytree(server.root / "scoreboards", folder)
    for path in folder, *folder.iterdir():
        path.chmod(0o755)
    for user in "nobody", places.CHILD_USER:
        ids = pwd.getpwnam(user)
        run = subprocess.run([STMSTAT, "-d", folder, "dump", "0"], capture_output=True, text=True,
                             user=ids.pw_uid, group=ids.pw_gid, extra_groups=(), timeout=60,
                             check=False)
        assert run.returncode == NONE and not run.stdout, run.stderr
        assert re.search(r"not permitted to look into process \d+ .*CAP_SYS_PTRACE", run.stderr)


@pytest.mark.skipif(os.geteuid() != 0, reason="takes root to change another process's memory")
def test_damaged_structures(server):
    """With random bytes in the state threads and on their stacks, it ends properly, and prints
    nothing that would control a terminal."""
    conns = [server.connect() for _ in range(20)]
    for conn in conns:
        conn.ask(SLEEP)
    wait_for(lambda: Dump(server).text.count("GET /probe") == 20, "the handlers")
    pid, = server.children()
    places_ = [int(at, 16) for at in re.findall(r"state thread \d+ \((0x\w+)\)",
                                                Dump(server).text)]
    server.allowed.append("AH00052|signal|AH00050|AH00051|SIGKILL|killed")
    os.kill(pid, signal.SIGSTOP)
    draw = random.Random(1)
    statuses = set()
    try:
        for i in range(30):
            with open(f"/proc/{pid}/mem", "r+b", buffering=0) as memory:
                at = draw.choice(places_) - draw.choice((0, 0, 0, 1 << draw.randrange(12)))
                size = 1 << draw.randrange(8)
                try:
                    os.pwrite(memory.fileno(), draw.randbytes(size), at & ~7)
                except OSError:
                    pass
            run = stmstat("-d", server.root / "scoreboards", "dump", "0", check=False)
            assert run.returncode in (GOOD, PART, NONE), (i, run.stderr)
            assert re.fullmatch(r"[\n -~]*", run.stdout + run.stderr)
            statuses.add(run.returncode)
    finally:
        os.kill(pid, signal.SIGKILL)
        for conn in conns:
            conn.close()
    assert PART in statuses or NONE in statuses
    wait_for(lambda: server.children() not in ([], [pid]), "the successor")


def test_wrong_arguments(server):
    """Each gets a message that says what is wrong, and status 2."""
    directory = server.root / "scoreboards"
    for arguments, answer in (((), "give the number"), (("x",), "give the number"),
                              (("1", "2"), "give the number"), (("7",), "there is no VP 7")):
        run = stmstat("-d", directory, "dump", *arguments, check=False)
        assert run.returncode == NONE and answer in run.stderr and not run.stdout, run.stderr


def test_a_process_that_is_not_the_servers(server, tmp_path):
    """A VP writes its own process ID: another process is not examined."""
    shutil.copytree(server.root / "scoreboards", tmp_path / "copy")
    block = tmp_path / "copy/0.0.block"
    pid, = server.children()
    content = block.read_bytes()
    assert struct.pack("<Q", pid) in content
    block.write_bytes(content.replace(struct.pack("<Q", pid), struct.pack("<Q", os.getpid())))
    run = stmstat("-d", tmp_path / "copy", "dump", "0", check=False)
    assert run.returncode == NONE and not run.stdout
    assert f"process {os.getpid()} does not belong to the master" in run.stderr
