# SPDX-License-Identifier: Apache-2.0
"""The module's file is replaced under a running server, as a package's upgrade does; then restarts.

Other builds: upgrade-layout.so retains other data, upgrade-handover.so cannot take over at all.
"""

import os
import pathlib
import shutil
import signal

import pytest
from harness import places, procs, tool, wait_for
from harness.drive import Load
from harness.stm import owner, probed

pytestmark = pytest.mark.stm_only

BOTH = pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGHUP],
                               ids=["graceful", "hard"])


def put(server, build):
    """Replaces the module's file atomically: running processes keep the old one."""
    new = server.root / "mod_mpm_stm.so.new"
    shutil.copy(build, new)
    os.rename(new, server.root / "mod_mpm_stm.so")


@pytest.fixture
def installed(serve):
    """A factory of servers (started) that have a copy of the module to themselves."""
    def make(directives="", **options):
        server = probed(serve, directives, **options)
        server.page("big.bin", b"0123456789abcdef" * 2_000_000)
        put(server, places.STM_MODULE)
        server.start()
        text = server.conf.read_text()
        assert str(places.STM_MODULE) in text
        server.conf.write_text(text.replace(str(places.STM_MODULE),
                                            str(server.root / "mod_mpm_stm.so")))
        server.restart()
        wait_for(lambda: len(server.children()) == 2, "the end of the first generation")
        return server
    return make


def uses(pid, server):
    """Whether a process has mapped the module's present file, and not an earlier one."""
    inode = os.stat(server.root / "mod_mpm_stm.so").st_ino
    return any(line.split()[4] == str(inode) for line in
               open(f"/proc/{pid}/maps", encoding="utf-8") if "mod_mpm_stm.so" in line)


@BOTH
@pytest.mark.parametrize("build", ["same", "layout"])
def test_another_build_takes_over(installed, build, number):
    """Nothing is lost in a graceful restart; the previous VPs end with their connections."""
    server = installed("ScoreboardDir scoreboards\n")
    before, fds = server.children(), len(procs.fds(server.master))
    put(server, places.STM_MODULE if build == "same" else tool(f"upgrade-{build}.so"))
    with Load(server.port, connections=4, keep=False) as load, server.connect() as idle:
        assert owner(idle) in before
        server.restart(number)
        if number == signal.SIGUSR1:
            assert owner(idle) in before
            idle.close()
        wait_for(lambda: len(server.children()) == 2 and not set(before) & set(server.children()),
                 "the new generation alone")
        tally = load.finish()
    if number == signal.SIGUSR1:
        assert tally[1:6] == (0, 0, 0, 0, 0)
    assert all(uses(pid, server) for pid in [server.master, *server.children()])
    taken_over = ("a different build of the module takes over from the one that was running: "
                  "2 VPs leave")
    assert (taken_over in server.error_log()) == (build == "layout" and number == signal.SIGUSR1)
    for _ in range(3):  # and repeatedly
        server.restart(number)
    wait_for(lambda: len(server.children()) == 2, "the end of the old generations")
    wait_for(lambda: len(procs.fds(server.master)) <= fds + 2, f"about {fds} descriptors")
    directories = [path for path in procs.fds(server.master).values() if path.endswith("boards")]
    assert len(directories) == 1


def memory(server):
    """(mappings, bytes that are no file's) of the master, when the earlier generation is gone."""
    wait_for(lambda: len(server.children()) == 2, "the end of the old generation")
    maps = pathlib.Path(f"/proc/{server.master}/maps").read_text()
    return maps.count("\n"), procs.anonymous(server.master)


@BOTH
@pytest.mark.parametrize("files", ["", "ScoreboardDir scoreboards\n"], ids=["memory", "files"])
def test_the_master_keeps_nothing_of_earlier_builds(installed, files, number):
    server = installed(files)
    builds = [tool("upgrade-layout.so"), places.STM_MODULE] * 3
    for count, build in enumerate(builds):
        put(server, build)
        server.restart(number)
        if count == 1:
            maps, data = memory(server)
    assert server.error_log().count("different build of the module takes over") == len(builds)
    more_maps, more_data = (after - before for after, before in zip(memory(server), (maps, data)))
    assert more_maps < 16  # one build's are about 50
    assert more_data < 100 << 10  # one build's are 40 KB, and four have been replaced


def test_a_stop_ends_the_vps_that_were_taken_over(installed):
    """One of them has a client that reads slowly."""
    server = installed()
    conn = server.connect(rcvbuf=16384)
    pid = owner(conn)
    conn.ask("/big.bin")
    conn.head()
    put(server, tool("upgrade-layout.so"))
    server.restart()
    wait_for(lambda: len(server.children()) == 3, "the VPs without connections to end")
    assert pid in server.children()
    server.stop()
    conn.close()


def test_graceful_shutdown_timeout_counts_for_them(installed):
    server = installed("GracefulShutdownTimeout 1\n")
    with server.connect(rcvbuf=16384) as conn:
        pid = owner(conn)
        conn.ask("/big.bin")
        conn.head()
        put(server, tool("upgrade-layout.so"))
        server.restart()
        wait_for(lambda: pid not in server.children(), "the end of the old VP")


@BOTH
def test_a_build_that_cannot_take_over_is_refused(installed, number):
    """The server keeps running the old module, and says what to do; a stop and a start help."""
    server = installed()
    before = server.children()
    put(server, tool("upgrade-handover.so"))
    server.signal(number)
    server.wait_log("new configuration has an error; the server keeps running .*"
                    "was upgraded to a build that cannot take over the running server: "
                    "restart needed")
    assert server.children() == before
    assert server.get("/").status == 200
    assert not any(uses(pid, server) for pid in [server.master, *before])
    server.stop()
    path = server.root / "mod_mpm_stm.so"
    assert server.control("-k", "start").returncode == 0
    server.master = wait_for(server.pid_in_file, "the pid file")
    server.wait_ready()
    assert uses(server.master, server), path


def test_a_build_that_cannot_take_over_and_came_too_late_to_be_tested(installed):
    """It is put in place while the configuration is tested with the previous one: the server
    continues."""
    server = installed()
    server.allowed.append("cannot take over from the one that was running")
    before = server.children()
    new, path = server.root / "late.so", server.root / "mod_mpm_stm.so"
    shutil.copy(tool("upgrade-handover.so"), new)
    server.conf.write_text(server.conf.read_text() + "ProbeRun \"test -z \\\"$STM_CONFIG_TEST\\\" "
                           f"|| mv {new} {path}\"\n")
    server.restart()
    server.wait_log("alert.*cannot take over from the one that was running: .* stop and start "
                    "the server")
    assert uses(server.master, server)
    for _ in range(10):
        assert server.get("/").status == 200
    assert set(before) < set(server.children())
    server.stop()
