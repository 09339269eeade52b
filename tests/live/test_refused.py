# SPDX-License-Identifier: Apache-2.0
"""System calls that a container's seccomp profile refuses: the server does without them."""

import pytest
from harness import MPM, tool
from harness.server import StartError

MODULES = ("cgi", "status", "proxy", "proxy_http")
# What is used if it is there. With each the error that it is refused with.
OPTIONAL = {
    "memfd_create": "EPERM", "eventfd2": "ENOSYS", "prlimit64": "EPERM", "fallocate": "ENOSYS",
    "madvise": "EPERM", "pidfd_open": "EPERM", "epoll_pwait2": "EPERM", "statx": "EPERM",
    "openat2": "EPERM", "preadv2": "EPERM", "cachestat": "EPERM", "timer_create": "EPERM",
    "sched_setaffinity": "EPERM", "pwritev2": "EPERM",
}
ALL = [*OPTIONAL, "close_range", "copy_file_range", "io_uring_setup", "membarrier", "mincore",
       "rseq"]
SAID = set(OPTIONAL) - {"fallocate", "statx", "cachestat"}  # they cost nothing


def refusing(serve, error, *calls):
    """A server, not started yet, to whose processes `calls` are refused."""
    server = serve.make(processes=2, threads=16, modules=MODULES, directives=f"""
        {"ScoreboardDir scoreboards" if MPM == "stm" else ""}
        ProxyPass /proxied http://127.0.0.1:@PORT@/index.html
        ScriptAlias /cgi/ @ROOT@/cgi/
        """)
    server.page("big.bin", b"0" * 1_000_000)
    script = server.page("../cgi/script",
                         "#!/bin/sh\necho Content-Type: text/plain\necho\necho ok\n")
    script.chmod(0o755)
    server.launcher = [tool("refuse"), error, *calls, "--"]
    return server


def serves(server):
    """Files, a program, a backend, and all of it again after a restart."""
    for again in (True, False):
        assert server.get("/big.bin").body == b"0" * 1_000_000
        assert server.get("/cgi/script").body == b"ok\n"
        assert server.get("/proxied").status == 200
        if again:
            server.restart()


@pytest.mark.parametrize("call", OPTIONAL)
def test_one_call_refused(serve, call):
    server = refusing(serve, OPTIONAL[call], call).start()
    serves(server)
    server.stop()
    if MPM == "stm" and call in SAID:
        assert server.error_log().count(f"the system call {call} cannot be used here") == 1


@pytest.mark.stm_only
@pytest.mark.parametrize("error", ["EPERM", "ENOSYS"])
def test_all_of_them_refused(serve, error):
    server = refusing(serve, error, *ALL).start()
    serves(server)
    server.stop()


def test_a_server_that_cannot_run_ends(serve):
    """Without epoll no process can serve: the server says so, and ends."""
    server = refusing(serve, "EPERM", "epoll_create1")
    server.allowed.append(r":(emerg|alert|crit)\]")
    with pytest.raises((AssertionError, StartError)):
        server.start()
    server.wait_log("exiting")
    if server.master:  # event notices before it has made itself a daemon
        (server.root / "run/httpd.pid").unlink(missing_ok=True)  # which stays, with every MPM
        server.wait_gone()
