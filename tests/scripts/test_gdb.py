# SPDX-License-Identifier: Apache-2.0
"""dev/gdb/st.py on a program that uses only libst: here, and on AArch64 under emulation."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from .checkout import BUILD, TOP, free_ports, run, wait_for

SCRIPT = TOP / "dev/gdb/st.py"
SMOKE = TOP / "st/smoke/smoke.c"
# Where the smoke program's 100 threads have yielded once or twice each.
STOP = f"tbreak smoke.c:{SMOKE.read_text().split('sum += 0.5;')[0].count(chr(10)) + 1}" \
    " if *(int *)arg == 150"


def built(program):
    """A program below the build folder, built if necessary."""
    path = BUILD / program
    made = run(["make", "-s", f"BUILD={BUILD.relative_to(TOP)}", path.relative_to(TOP)], cwd=TOP)
    assert made.returncode == 0, made.stderr
    return path


def listens(port):
    """Whether anybody listens there. Connecting would use up the only connection, which is for the
    debugger."""
    return f":{port:04X} 00000000:0000 0A" in Path("/proc/net/tcp").read_text()


def gdb(debugger, program, *commands):
    """What it prints."""
    options = [word for command in (f"source {SCRIPT}", *commands) for word in ("-ex", command)]
    done = run(["env", "LC_ALL=C.UTF-8", debugger, "-q", "-nx", "-batch", *options, program])
    said = done.stdout + done.stderr
    if "ptrace: " in said or "Operation not permitted" in said:
        pytest.skip(f"gdb may not trace here: {said.strip().splitlines()[-1]}")
    assert "Traceback" not in said and "Python Exception" not in said, said
    return said


def check(said):
    """100 threads in count(): one has just come there, the others have yielded there."""
    rows = re.findall(r"^ +(\d+) 0x\w+ (\w+) +(\w+) *(.*)$", said, re.M)
    assert len(rows) == 101, said
    assert rows[0][1:3] == ("waiting", "check_threads"), said
    assert rows[0][3].startswith("the end of thread "), said
    assert {row[1:] for row in rows[1:]} == {("ready", "count", ""), ("running", "count", "")}
    assert [row[1] for row in rows].count("running") == 1
    traces = re.split(r"^state thread \d+ ", said, flags=re.M)[1:]
    assert len(traces) == 101
    for trace in traces[1:]:
        names = re.findall(r"^#\d+ +0x\w+ in (\w+) ", trace, re.M)
        assert "count" in names and names[-2:] == ["st__thread_main", "st__thread_start"], trace
    assert "#0 " in traces[0] and " in main (" in traces[0]


@pytest.mark.skipif(shutil.which("gdb") is None, reason="no gdb")
def test_here():
    check(gdb("gdb", built("st/smoke"), STOP, "run", "st threads", "st bt all", "kill"))


REQUEST = r"""
struct request { const char *the_request; } request =
    {"GET /\033]0;a\007\302\233b\342\200\256\377/\303\244"};
struct conn { struct request *request; } conn = {&request};
int main(void) { return 0; }
"""


@pytest.mark.skipif(shutil.which("gdb") is None, reason="no gdb")
def test_a_request_is_no_command_to_the_terminal(tmp_path):
    """Control characters (C0 and C1), a right-to-left override, and what is no UTF-8."""
    program = tmp_path / "request"
    subprocess.run(["cc", "-g", "-no-pie", "-o", program, "-xc", "-"], input=REQUEST.encode(),
                   check=True)
    said = gdb("gdb", program, "python print(ascii(request(gdb.parse_and_eval('conn'))))")
    assert ascii("GET /\\x1b]0;a\\x07\\x9bb\\u202e\\xff/ä") in said


@pytest.mark.skipif(not all(map(shutil.which, ("gdb-multiarch", "qemu-aarch64",
                                               "aarch64-linux-gnu-gcc"))),
                    reason="needs gdb-multiarch, qemu-user and gcc-aarch64-linux-gnu")
def test_aarch64():
    program = built("aarch64/smoke")
    port = free_ports(1)[0]
    with subprocess.Popen(["qemu-aarch64", "-g", str(port), program],
                          stderr=subprocess.DEVNULL) as emulator:
        try:
            wait_for(lambda: listens(port), "the emulator to listen")
            check(gdb("gdb-multiarch", program, f"target remote 127.0.0.1:{port}", STOP,
                      "continue", "st threads", "st bt all", "kill"))
        finally:
            emulator.kill()
