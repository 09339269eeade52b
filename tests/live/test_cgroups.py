# SPDX-License-Identifier: Apache-2.0
"""Control groups, as containers have them: CPU quotas and affinity for NumVPs auto, and limits of
memory, which stm has to meet as event does."""

import os

import pytest
from harness import wait_for
from harness.cgroup import Group, Unavailable
from harness.client import Closed
from harness.drive import SlowBackend
from harness.stm import dump

MB = 1024 * 1024
pytestmark = pytest.mark.needs_root


@pytest.fixture(name="group")
def _group(serve):
    """A factory of groups, which are removed once the test's servers have ended."""
    made = []

    def make(controller):
        try:
            made.append(Group(controller))
        except Unavailable as reason:
            pytest.skip(str(reason))
        return made[-1]

    yield make
    serve.end()
    for one in made:
        one.remove()


def vps(serve, launcher):
    """What NumVPs auto comes to for a server that is started that way."""
    server = serve.make(directives="NumVPs auto", sized=False)
    server.launcher = launcher
    return int(dump(server)["NumVPs"][0])


@pytest.mark.stm_only
def test_auto_follows_a_quota(serve, group):
    cpus = len(os.sched_getaffinity(0))
    limited = group("cpu")
    for quota, expected in ((0.5, 1), (1, 1), (1.5, min(2, cpus)), (64, cpus)):
        limited.cpus(quota)
        assert vps(serve, limited.launcher) == expected, quota


@pytest.mark.stm_only
def test_auto_follows_the_affinity(serve):
    allowed = sorted(os.sched_getaffinity(0))
    assert vps(serve, ["taskset", "-c", str(allowed[0])]) == 1
    assert vps(serve, []) <= len(allowed)


def test_many_requests_fit_into_little_memory(serve, group):
    """Stacks and pools count only as far as they are used: 300 requests, all of which wait for a
    backend at once, in a group of 128 MB."""
    limited = group("memory")
    limited.memory(128 * MB)
    with SlowBackend(3000) as backend:
        server = serve.make(processes=1, threads=400, modules=("proxy", "proxy_http"),
                            directives=f"ProxyPass / http://127.0.0.1:{backend.port}/")
        server.launcher = limited.launcher
        server.start()
        conns = [server.connect() for _ in range(300)]
        for conn in conns:
            conn.ask("/")
        assert [conn.response().status for conn in conns] == [200] * len(conns)
    assert limited.peak() <= 128 * MB
    server.stop()
    assert not server.alarms()


def test_a_handler_that_takes_too_much_costs_one_process(serve, group):
    """The kernel kills the process that has most; the master, which lives, replaces it."""
    limited = group("memory")
    limited.memory(128 * MB)
    server = serve.make(processes=2, threads=16, modules=("lua",),
                        directives="AddHandler lua-script .lua")
    server.allowed.append(r"exit signal Killed")
    server.page("hog.lua", """
        function handle(r)
            local kept = {}
            for i = 1, 4096 do kept[i] = string.rep(tostring(i), 262144) end
            r:puts(#kept)
        end
        """)
    server.launcher = limited.launcher
    server.start()
    master, before = server.master, set(server.children())
    with server.connect() as conn, pytest.raises((Closed, OSError)):
        conn.get("/hog.lua")
    wait_for(lambda: before - set(server.children()), "a process is gone")
    assert len(before & set(server.children())) == 1
    assert server.get("/index.html").status == 200
    assert server.pid_in_file() == master
