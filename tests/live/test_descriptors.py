# SPDX-License-Identifier: Apache-2.0
"""A process that has run out of file descriptors: it waits, without spinning, and then
continues."""

import time

import pytest
from harness import procs, wait_for
from harness.drive import Conns

LIMIT = 80


@pytest.fixture
def scarce(serve):
    """A server of one process that may open LIMIT files."""
    return serve(processes=1, threads=200, nofile=LIMIT, directives="AcceptFilter http none")


@pytest.mark.stm_only  # event gives up the process and starts another
def test_out_of_descriptors_backs_off_and_recovers(scarce):
    pid = scarce.children()[0]
    with Conns(scarce.port, mode="new") as crowd:
        crowd.open(300)
        wait_for(lambda: len(procs.fds(pid)) >= LIMIT - 1, "the last descriptor taken")
        scarce.wait_log(r"(?i)too many open files")
        before = procs.stat(pid).cpu
        time.sleep(2)
        used = procs.stat(pid).cpu - before
        lines = len(scarce.error_log().splitlines())
        assert used < 0.4, f"{used} s of CPU in 2 s"
        assert lines < 200, "the error log fills up"
    assert scarce.get("/").status == 200
    for _ in range(50):
        assert scarce.get("/").status == 200
    assert scarce.children() == [pid]


@pytest.mark.stm_only
def test_established_connections_are_served_meanwhile(scarce):
    pid = scarce.children()[0]
    with scarce.connect() as kept, Conns(scarce.port, mode="new") as crowd:
        assert kept.get("/missing").status == 404
        crowd.open(300)
        wait_for(lambda: len(procs.fds(pid)) >= LIMIT - 1, "the last descriptor taken")
        for _ in range(20):
            assert kept.get("/missing").status == 404  # needs no descriptor
    assert scarce.get("/").status == 200
    assert scarce.children() == [pid]


def test_low_limit_for_the_whole_server(serve):
    """ulimit -n 128 before the start: everyone is served in the end, whatever the MPM does."""
    server = serve(processes=1, threads=64, nofile=128)
    with Conns(server.port, path="/") as crowd:
        crowd.send(200)
    wait_for(lambda: _answers(server), "an answer")
    server.allowed.append("AH00052")


def _answers(server):
    try:
        return server.get("/").status == 200
    except OSError:
        return False


def test_programs_get_the_limit_that_httpd_was_started_with(serve):
    """A VP may open as many files as the hard limit allows; its programs may not, as with event."""
    server = serve.make(processes=1, modules=("cgi",), nofile=(900, 3000),
                        directives="ScriptAlias /cgi @ROOT@/cgi/")
    (server.root / "cgi").mkdir()
    program = server.root / "cgi/limit"
    program.write_text("#!/bin/sh\nprintf 'Content-Type: text/plain\\r\\n\\r\\n'\n"
                       "ulimit -Sn\nulimit -Hn\n")
    program.chmod(0o755)
    server.start()
    assert server.get("/cgi/limit").text.split() == ["900", "3000"]


LUA = """
function handle(r)
    local file = os.tmpname()
    local pipe = io.popen("ulimit -Sn; ulimit -Hn")
    os.execute("ulimit -Sn > " .. file .. "; ulimit -Hn >> " .. file)
    local seen = io.open(file)
    r.content_type = "text/plain"
    r:puts(pipe:read("*a"), seen:read("*a"))
    seen:close()
    os.remove(file)
    r:puts(tostring(pipe:close()))
    return apache2.OK
end
"""


def test_so_do_those_of_popen_and_system(serve):
    """glibc starts these without fork(), so that no handler of pthread_atfork() is called."""
    server = serve.make(processes=1, modules=("lua",), nofile=(900, 3000),
                        directives="LuaMapHandler /limits @ROOT@/limits.lua")
    (server.root / "limits.lua").write_text(LUA)
    server.start()
    for _ in range(3):
        assert server.get("/limits").text.split() == ["900", "3000"] * 2 + ["true"]
