# SPDX-License-Identifier: Apache-2.0
"""The debugging aids: environment variables, their modern forms, and gdb."""

import re
import shutil
import subprocess

import pytest
from harness import wait_for
from harness.stm import dump, probed

pytestmark = pytest.mark.stm_only


def test_one_process(serve):
    """ONE_PROCESS overrides NumVPs: the process that was started is the only VP."""
    server = probed(serve, processes=3, env={"ONE_PROCESS": "1"})
    server.start_attached()
    server.one_process = True
    assert server.children() == []
    for _ in range(20):
        assert int(server.get("/probe?pid").text.split()[0]) == server.master


def test_interactive(serve):
    """STM_INTERACTIVE keeps the master attached; it has its VPs."""
    server = serve.make(processes=2, env={"STM_INTERACTIVE": "1"})
    server.start_attached()
    wait_for(lambda: len(server.children()) == 2, "both VPs")
    assert server.get("/").status == 200
    server.stop()
    assert server.exit_status == 0


def test_define_one_process(serve):
    server = serve.make(processes=3)
    server.start_attached("-DONE_PROCESS")
    server.one_process = True
    assert server.children() == []
    assert server.get("/").status == 200


@pytest.mark.parametrize("variable, option", [("STM_TRACE", "STM_DEBUG"),
                                              ("STIOL_TRACE", "STIOL_DEBUG")])
def test_trace(serve, variable, option):
    """Lines on stderr in builds with the option; silence in all others.

    stderr is the terminal until httpd opens its error log, and that file afterwards.
    """
    server = serve.make(processes=1, env={"STM_INTERACTIVE": "1", variable: "1"})
    built = dump(server)[option][0] == "defined"
    server.start_attached()
    for _ in range(5):
        assert server.get("/").status == 200
    said = server.output() + server.error_log()
    lines = re.findall(rf"^{variable.split('_')[0]}\b", said, re.M)
    assert (len(lines) > 20) == built, said[:2000]


def test_the_trace_names_every_procedure(serve):
    """Including those that no other file knows; none is unknown."""
    server = serve.make(processes=1, env={"STM_INTERACTIVE": "1", "STM_TRACE": "1"})
    if dump(server)["STM_DEBUG"] != ["defined"]:
        pytest.skip("not a build with STM_DEBUG")
    server.start_attached()
    assert server.get("/").status == 200
    said = server.output() + server.error_log()
    named = set(re.findall(r"^STM \d+ (\S+)$", said, re.M))
    assert {"stm_config_begin", "on_acceptable", "accept_one", "stm_conn_serve", "next_step",
            "network_read", "complete_writing"} <= named
    assert "?" not in named


def test_a_random_order_can_be_had_again(serve):
    """Each VP of a build that runs its threads in a random order reports the seed."""
    server = serve.make(env={"STM_SEED": "4711"})
    built = dump(server)["ST_SHUFFLE"] == ["defined"]
    server.start()
    assert server.error_log().count("STM_SEED=4711") == (2 if built else 0)


def test_a_lock_that_was_held_across_a_wait_is_reported(serve):
    """In STM_DEBUG builds. mod_rewrite holds its mutex while it waits for the map's program."""
    server = serve.make(processes=1, modules=("rewrite",), directives="""
        LogLevel mpm_stm:debug
        Mutex pthread rewrite-map
        RewriteEngine On
        RewriteMap slow prg:@ROOT@/map
        RewriteRule ^/mapped$ /${slow:x} [L]
        """)
    program = server.root / "map"
    program.write_text("#!/bin/sh\nwhile read -r name; do sleep 0.1; echo index.html; done\n")
    program.chmod(0o755)
    built = dump(server)["STM_DEBUG"][0] == "defined"
    server.start()
    assert "It works!" in server.get("/mapped").text
    found = re.search(r"state thread \S+ parked [1-9]\d* times while it held the mutex \S+ for "
                      r"\d+ us, taken in .* \(.*\)", server.error_log())
    assert (found is not None) == built


def test_backtrace_in_a_state_thread(serve):
    """gdb on httpd -X, stopped in a handler: from the handler down to the thread's first frame."""
    if shutil.which("gdb") is None:
        pytest.skip("no gdb")
    server = probed(serve)
    server.start_attached("-X")
    gdb = subprocess.Popen(["gdb", "-q", "-batch", "-p", str(server.master), "-ex",
                            "break spin", "-ex", "echo armed\\n", "-ex", "continue", "-ex", "bt",
                            "-ex", "detach"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                           stdin=subprocess.DEVNULL, text=True)
    text = ""
    for line in gdb.stdout:
        text += line
        if line.startswith("armed"):
            break
    with server.connect() as conn:
        conn.ask("/probe?spin=1")
        text += gdb.stdout.read()
        gdb.wait(30)
        assert conn.response().status == 200
    gdb.stdout.close()
    frames = re.findall(r"^#\d+ .*", text, re.M)
    assert re.search(r"#0 +spin ", frames[0] + " "), text
    assert any(" ap_run_process_connection" in frame for frame in frames), text
    assert any(" stm_" in frame for frame in frames), text
    assert "Backtrace stopped" not in text, text
    wait_for(lambda: server.get("/").status == 200, "service after gdb")
