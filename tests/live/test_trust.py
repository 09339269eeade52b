# SPDX-License-Identifier: Apache-2.0
"""A VP that an attacker has taken over harms only itself, and never becomes root.

The module vandal does what such a process may do (tests/live/modules/mod_vandal.c). What it spoils
in httpd's own scoreboard, which all processes of every MPM may write, is no worse than elsewhere.
"""

import json
import os
import pwd
import re
import signal
import struct
import subprocess
import time
from pathlib import Path

import pytest
from harness import MPM, StartError, places, procs, tool, wait_for
from harness.client import Closed
from harness.drive import Load
from harness.scoreboard import STMSTAT, stmstat

pytestmark = [pytest.mark.skipif(MPM != "stm", reason="STM's shared memory"),
              pytest.mark.needs_root]

PAGES = """
    ExtendedStatus On
    KeepAliveTimeout 60
    <Location /vandal>
        SetHandler vandal
    </Location>
    <Location /status>
        SetHandler server-status
    </Location>
    <Location /metrics>
        SetHandler stm-metrics
    </Location>
    <Location /dashboard>
        SetHandler stm-dashboard
    </Location>
    """
FILES = {"files": "ScoreboardDir scoreboards\n", "memory": ""}


@pytest.fixture(name="spoiled")
def _spoiled(serve):
    """A factory of servers, in which VPs are expected to die."""
    def make(kind="files", directives="", **options):
        server = serve.make(modules=("status", tool("mod_vandal.so"), *options.pop("modules", ())),
                            directives=FILES[kind] + PAGES + directives, **options)
        server.allowed.append(r"AH00052|exit signal|died of signal|no room in the scoreboard")
        return server.start()
    return make


def ask(server, action, tries=100):
    """Lets one VP do it. Returns its pid and what it said; the rest may have died with it."""
    for _ in range(tries):
        try:
            with server.connect() as conn:
                conn.ask(f"/vandal?{action}")
                text = conn.response().text
        except (Closed, OSError):
            continue
        found = re.match(r"pid (\d+) uid (\d+)\n", text)
        assert int(found[2]) == pwd.getpwnam(places.CHILD_USER).pw_uid
        return int(found[1]), text
    raise AssertionError(f"nobody answers to {action}")


def attack(server, action):
    """The same, but the output does not matter."""
    try:
        with server.connect() as conn:
            conn.ask(f"/vandal?{action}")
            conn.response()
    except (Closed, OSError):
        pass


def survives(ask_again, bound=20.0):
    """A page of the server: the VP that is asked may be the spoiled one, and die."""
    end = time.monotonic() + bound
    while True:
        try:
            response = ask_again()
            assert response.status == 200
            return response.body.decode("latin-1")  # httpd's part of the status page
        except (Closed, OSError):
            assert time.monotonic() < end, "no VP answers"


def no_root_but_the_master(server):
    """All VPs run as their user, once they have got so far."""
    user = pwd.getpwnam(places.CHILD_USER).pw_uid

    def dropped(pid):
        try:
            return os.stat(f"/proc/{pid}").st_uid == user
        except FileNotFoundError:
            return True  # it ended just now
    for pid in server.children():
        wait_for(lambda pid=pid: dropped(pid), f"process {pid} to run as its user")


def all_goes_on(server, kind):
    """Master, other VPs, stmstat and the pages."""
    master = server.master
    for _ in range(10):
        assert "It works!" in survives(lambda: server.get("/"))
    no_root_but_the_master(server)
    assert "Virtual processors" in survives(lambda: server.get("/status"))
    assert "StmRequests: " in survives(lambda: server.get("/status?auto"))
    assert "# EOF" in survives(lambda: server.get("/metrics"))
    json.loads(survives(lambda: server.get("/dashboard?json")))
    if kind == "files":
        for form in ("-1", "-c", "-o", "-j"):
            run = stmstat("-d", server.root / "scoreboards", form, check=False)
            assert run.returncode in (0, 1), run
            assert re.fullmatch(r"[\x20-\x7e\n]*", run.stdout), "a byte that a terminal obeys"
        json.loads(run.stdout)
    assert procs.stat(master).state not in "ZX"


def restarts(server):
    """A graceful restart brings new VPs; the old ones may have connections, or be spoiled."""
    before = set(server.children())
    server.restart()
    wait_for(lambda: len(set(server.children()) - before) == 2, "new VPs")
    wait_for(lambda: server.get("/").status == 200, "an answer")
    no_root_but_the_master(server)


# --- what a VP has -------------------------------------------------------------------------------

@pytest.mark.parametrize("kind", FILES)
def test_what_a_vp_may_write(spoiled, kind):
    """Its line, its block, its pulse, httpd's scoreboard, and nothing else at all."""
    server = spoiled(kind, processes=3)
    ask(server, "scribble-ours=0")  # a successor has what the first ones have
    os.kill(server.children()[0], signal.SIGKILL)
    wait_for(lambda: len(server.children()) == 3, "a successor")
    for _ in range(10):
        _, text = ask(server, "look")
        assert re.findall("gained .*", text) == []
        writable = re.findall(r"writable \d+ (.*)", text)
        assert len([name for name in writable if "httpd's scoreboard" in name]) == 1
        ours = [re.sub(r".*/", "", name) for name in writable if "httpd's" not in name]
        block = r"\d\.\d\.block" if kind == "files" else "memfd:stm-scoreboard"
        assert len(ours) == 3, text
        assert any(re.fullmatch(block, name) for name in ours), ours
        assert any("memfd:stm-vp" in name for name in ours), ours
        assert any("memfd:stm-pulse" in name for name in ours), ours


def test_descriptors_of_a_vp(spoiled):
    """Of the control channels it has only its own end, and no end of the master's wake-up pipe."""
    server = spoiled(processes=3)
    masters = set(procs.fds(server.master).values())
    channels = [{name for name in procs.fds(pid).values() if re.match(r"(pipe|socket):", name)}
                for pid in server.children()]
    listening = set.intersection(*channels)
    for mine in channels:
        others = set().union(*(other for other in channels if other is not mine))
        assert (mine & others) <= listening
        assert not any(name.startswith("pipe:") for name in (mine & masters))
    assert len([name for name in listening if name.startswith("socket:")]) == 1


# --- random bytes over all of it -----------------------------------------------------------------

@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("what", ["scribble-ours", "scribble"])
def test_random_bytes(spoiled, kind, what):
    """Meanwhile everything continues, restarts gracefully, and stops."""
    server = spoiled(kind, processes=2)
    kept = [server.connect() for _ in range(8)]
    for conn in kept:
        conn.get("/")
    with Load(server.port, connections=4) as load:
        for seed in range(1, 13):
            attack(server, f"{what}={seed}")
            all_goes_on(server, kind)
            if seed % 4 == 0:
                restarts(server)
        load.finish()
    for conn in kept:
        conn.close()
    all_goes_on(server, kind)
    server.stop()


def test_a_dead_vps_lies_stay_its_own(spoiled):
    """What a process has written is added up when it has ended: its own seat's figures are wrong
    then, the other's are right."""
    server = spoiled(processes=2)
    liar, _ = ask(server, "scribble-ours=5")
    os.kill(liar, signal.SIGKILL)
    wait_for(lambda: liar not in server.children() and len(server.children()) == 2, "a successor")
    all_goes_on(server, "files")
    found = wait_for(lambda: (lambda vps: vps if all(vp["present"] for vp in vps) else None)(
        json.loads(stmstat("-d", server.root / "scoreboards", "-j").stdout)["vps"]), "both VPs")
    assert min(vp["counters"]["requests"] for vp in found) < 1000
    for vp in found:
        assert [each["address"] for each in vp["listeners"]] == [f"127.0.0.1:{server.port}"]


def test_pids_in_shared_memory_are_nobodys(spoiled):
    """A process whose pid is written wherever a VP can write is neither killed nor waited for: one
    that is not a child of the master, and one that is."""
    server = spoiled(directives='CustomLog "|$exec /bin/cat > @ROOT@/logs/piped" test\n')
    stranger = subprocess.Popen(["sleep", "100"])

    def logger(not_this=None):
        """httpd itself ends piped loggers at a restart, and starts new ones."""
        def look():
            found = set(procs.children(server.master)) - set(server.children())
            return found.pop() if len(found) == 1 and not_this not in found else None
        return wait_for(look, "one piped logger")
    try:
        for pid in (stranger.pid, logger()):
            before = logger()
            for _ in range(4):
                attack(server, f"fill={pid}")
            assert survives(lambda: server.get("/"))
            server.restart()
            logger(before)
        before = logger()
        for _ in range(4):
            attack(server, f"fill={before}")
        victim = server.children()[0]
        os.kill(victim, signal.SIGKILL)
        wait_for(lambda: victim not in server.children() and len(server.children()) >= 2,
                 "a successor")
        assert logger() == before
        began = time.monotonic()
        server.restart(signal.SIGHUP)  # waits for the end of all VPs
        assert time.monotonic() - began < 9
        assert "still did not exit" not in server.error_log()
        all_goes_on(server, "files")
        server.stop()
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


# --- what it has open ----------------------------------------------------------------------------

@pytest.mark.parametrize("kind", FILES)
def test_nothing_can_be_cut_off(spoiled, kind):
    server = spoiled(kind, processes=2)
    for _ in range(6):
        _, text = ask(server, "cut")
        if kind == "memory":
            assert "cut 0\n" in text
        all_goes_on(server, kind)
    restarts(server)
    all_goes_on(server, kind)


def test_a_flood_keeps_nobody_busy(spoiled):
    """Everything a VP can send to anybody, at once: the master has its own pipe, and is notified
    once."""
    server = spoiled(processes=2)
    for seed in range(1, 5):
        attack(server, f"talk={seed}")
        all_goes_on(server, "files")
    before = procs.stat(server.master).cpu
    began = time.monotonic()
    for _ in range(50):
        survives(lambda: server.get("/"))
        time.sleep(0.02)
    used = procs.stat(server.master).cpu - before
    assert used < 0.2 * (time.monotonic() - began) + 0.2
    restarts(server)


@pytest.mark.parametrize("how", ["hangup", "halfclose"])
def test_a_closed_channel_keeps_nobody_busy(spoiled, how):
    """Its end is noticed once as well; a VP without one nevertheless leaves at the next restart."""
    server = spoiled(processes=2)
    pid, _ = ask(server, how)
    before = procs.stat(server.master).cpu
    began = time.monotonic()
    while time.monotonic() < began + 3:
        survives(lambda: server.get("/"))
        time.sleep(0.02)
    assert procs.stat(server.master).cpu - before < 0.1 * (time.monotonic() - began) + 0.2
    restarts(server)
    wait_for(lambda: pid not in server.children(), "the end of a VP without a channel")


def test_a_listening_socket_that_blocks_is_mended(spoiled):
    """Its flags are shared by all; a VP that waits in accept() would serve nobody else."""
    server = spoiled(processes=2)

    def blocks():
        fd = next(number for number, name in procs.fds(server.master).items()
                  if name.startswith("socket:") and name in
                  procs.fds(server.children()[0]).values())
        info = Path(f"/proc/{server.master}/fdinfo/{fd}").read_text()
        return not int(re.search(r"flags:\s*(\d+)", info)[1], 8) & os.O_NONBLOCK
    assert not blocks()
    pid, _ = ask(server, "block")
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not blocks(), "a socket that does not block")
    all_goes_on(server, "files")


def test_a_vps_exit_status_does_not_end_the_server(spoiled):
    """15 claims that the server cannot run like this: not credible of a VP that has served."""
    server = spoiled(processes=2)
    server.allowed.append("AH00050.*returned a Fatal error")  # httpd says it before it is judged
    for status in (15, 15, 7, 0):
        before = set(server.children())
        attack(server, f"exit={status}")
        wait_for(lambda old=before: old - set(server.children()), "its end")
        assert "It works!" in survives(lambda: server.get("/"))
        wait_for(lambda: len(server.children()) == 2, "its successor")
    assert server.error_log().count("ignoring fatal error in a VP that has served") == 2
    all_goes_on(server, "files")


def test_a_vp_without_its_main_thread_is_replaced(spoiled):
    """The kernel calls it a zombie, but nobody can wait for it."""
    server = spoiled(processes=2, directives="HangTimeout 3\n")
    attack(server, "headless")
    (pid,) = server.wait_log(r"pid (\d+)\) is terminated: no scheduler turn")
    wait_for(lambda: procs.stat(int(pid)) is None, "its end")
    wait_for(lambda: len(server.children()) == 2, "a successor")
    all_goes_on(server, "files")


def test_what_it_leaves_behind(spoiled):
    """A process that a VP has left behind keeps writing into its line and block, even when a
    successor has them: then its figures are wrong, but nothing else."""
    server = spoiled(processes=2)
    for _ in range(2):
        pid, _ = ask(server, "orphan=6")
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda gone=pid: gone not in server.children(), "its end")
    end = time.monotonic() + 4
    while time.monotonic() < end:
        all_goes_on(server, "files")
    restarts(server)
    all_goes_on(server, "files")


# --- files that are truncated under the server ---------------------------------------------------

def test_files_cut_off_under_a_running_server(spoiled):
    """By root, or by the server's own user. VPs lose the memory that they write to, and are
    replaced; the master and stmstat do not die of SIGBUS."""
    server = spoiled(processes=2)
    folder = server.root / "scoreboards"
    watcher = subprocess.Popen(
        ["sh", "-c", f"while '{STMSTAT}' -d '{folder}' -j; [ $? -le 5 ]; do :; done"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for name in ("*.block", "*"):
            for path in sorted(folder.glob(name)):
                os.truncate(path, 0)
            for _ in range(5):
                survives(lambda: server.get("/"))
            all_vps = set(server.children())
            for pid in all_vps:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            wait_for(lambda: len(set(server.children()) - all_vps) == 2, "new VPs")
            for _ in range(5):
                survives(lambda: server.get("/"))
        restarts(server)
        run = stmstat("-d", folder, "-1", check=False)
        assert run.returncode in (0, 1, 2)
        assert watcher.poll() is None
    finally:
        watcher.kill()
        watcher.wait()


# --- the directory -------------------------------------------------------------------------------

def owned(folder, user):
    os.chown(folder, user.pw_uid, 0)


def writable_by_its_group(folder, user):
    os.chown(folder, 0, user.pw_gid)
    folder.chmod(0o775)


def listed(folder, user):
    """As setfacl -m u:USER:rwx does: tag, permissions and number of each entry."""
    anybody = 0xffffffff
    entries = [(0x01, 7, anybody), (0x02, 7, user.pw_uid), (0x04, 5, anybody), (0x10, 7, anybody),
               (0x20, 5, anybody)]
    try:
        os.setxattr(folder, "system.posix_acl_access", struct.pack("<I", 2) +
                    b"".join(struct.pack("<HHI", *entry) for entry in entries))
    except OSError as error:
        pytest.skip(f"no access lists on this file system: {error}")


@pytest.mark.parametrize("give", [owned, writable_by_its_group, listed])
def test_a_directory_of_the_vps_is_refused(serve, give):
    server = serve.make(directives=FILES["files"], processes=1)
    give(server.root / "scoreboards", pwd.getpwnam(places.CHILD_USER))
    with pytest.raises(StartError, match="ScoreboardDir: .*/scoreboards: the user of the VPs .*"
                                         "owns this directory or may write to it"):
        server.start()
    assert list((server.root / "scoreboards").iterdir()) == []


@pytest.mark.parametrize("give", [owned, writable_by_its_group])
def test_a_directory_below_one_of_theirs_is_refused(serve, give):
    server = serve.make(directives="ScoreboardDir theirs/scoreboards\n", processes=1)
    (server.root / "theirs/scoreboards").mkdir(parents=True)
    give(server.root / "theirs", pwd.getpwnam(places.CHILD_USER))
    with pytest.raises(StartError, match="owns a directory above this one or may write to it"):
        server.start()


def test_a_directory_that_is_a_link_is_refused(serve):
    server = serve.make(directives="ScoreboardDir link\n", processes=1)
    (server.root / "link").symlink_to("scoreboards")
    with pytest.raises(StartError, match="ScoreboardDir: .*/link: is a symbolic link"):
        server.start()
    assert list((server.root / "scoreboards").iterdir()) == []


def test_a_directory_that_becomes_theirs_is_refused_at_a_restart(serve):
    """The server stays, with what it has."""
    server = serve(directives=FILES["files"], processes=1)
    pids = server.children()
    owned(server.root / "scoreboards", pwd.getpwnam(places.CHILD_USER))
    server.allowed.append("ScoreboardDir")
    server.signal(signal.SIGUSR1)
    server.wait_log("the new configuration has an error.*owns this directory")
    assert server.children() == pids and server.get("/").status == 200


def test_leftover_blocks_are_replaced_and_removed(serve):
    """Whatever an earlier server's VPs have done to them; files with other names are kept."""
    server = serve.make(directives=FILES["files"], processes=1)
    folder = server.root / "scoreboards"
    for name in ("0.0.block", "0.63.block", "17.1.block", "0.1.block.old", "00.1.block"):
        (folder / name).write_bytes(b"\xff" * 100)
    victim = server.root / "victim"
    victim.write_text("precious\n")
    (folder / "17.2.block").symlink_to(victim)
    server.start()
    names = {path.name for path in folder.iterdir()}
    assert names == {"0", "0.0.block", "0.1.block", "0.2.block", "0.1.block.old", "00.1.block",
                     "17.2.block"}
    assert victim.read_text() == "precious\n"
    assert (folder / "0.0.block").stat().st_size > 100


# --- text ----------------------------------------------------------------------------------------

# httpd itself refuses a request line with C0 or DEL.
UNSEEN = ["\x9b", "\u061c", "\u200b", "\u200f", "\u2028", "\u202e", "\u2066",
          "\u2069", "\ufeff", "\U000e0041"]


def test_no_page_passes_control_characters_on(spoiled):
    """What a client sends is shown by stmstat and the pages as plain ASCII, whatever it was."""
    server = spoiled(processes=1)
    text = "".join(UNSEEN).encode() + b"\x9b\xc2\xff" + "\u00e9\u0416".encode() + b"<i>"
    for part in (text[:30], text[30:]):  # a row holds 47 bytes
        with server.connect() as conn:
            conn.send(b"GET /?" + part + b" HTTP/1.1\r\nHost: x\r\n\r\n")
            conn.response()
            shown = wait_for(lambda: (lambda text: text if "GET /?" in text else None)(
                stmstat("-d", server.root / "scoreboards", "-j").stdout), "the row")
            assert re.fullmatch(r"[\x20-\x7e\n]*", shown)
            page = server.get("/status").body
            section = page[page.index(b"<h2>State threads"):]
            assert b"GET /?" in section
            assert re.fullmatch(rb"[\x20-\x7e\n]*", section)
            for character in UNSEEN:
                assert f"&#{ord(character)};".encode() not in section
    assert b"&#233;&#1046;&#60;i&#62;" in section
