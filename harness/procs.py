# SPDX-License-Identifier: Apache-2.0
"""Processes as /proc shows them: a server's family, its threads, CPU time, descriptors, memory."""

import ctypes
import os
import resource
import signal
from collections import namedtuple
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36
TICK = os.sysconf("SC_CLK_TCK")

Stat = namedtuple("Stat", "pid state ppid session cpu threads")  # cpu: seconds, user + system


def adopt_orphans():
    """A daemon's parent exits; this makes the current process its reaper, which can then wait for
    it."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def raise_file_limit():
    """Lets this process, and what it starts, open as many files as it may."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def reap(pid):
    """Collects `pid` if it is a finished child of ours. Returns its exit status, or None."""
    try:
        done, status = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return None
    return status if done else None


def kill(pids):
    """Sends SIGKILL to each; some may have ended already."""
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def _read(path):
    """Content of a small file of /proc, or None if the process is gone. Servers look at all
    processes each time they start and stop: pathlib's way takes three times as long."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, ProcessLookupError):
        return None
    try:
        content = b"".join(iter(lambda: os.read(fd, 65536), b""))
    except ProcessLookupError:
        return None
    finally:
        os.close(fd)
    return content


def stat(pid):
    """The process's Stat, or None if there is no such process."""
    text = _read(f"/proc/{pid}/stat")
    if text is None:
        return None
    text = text.decode(errors="replace")
    fields = text[text.rindex(")") + 2:].split()
    cpu = (int(fields[11]) + int(fields[12])) / TICK
    return Stat(pid, fields[0], int(fields[1]), int(fields[3]), cpu, int(fields[17]))


def all_stats():
    """Every existing process, including finished ones that have not been reaped."""
    found = (stat(int(name)) for name in os.listdir("/proc") if name.isdigit())
    return [each for each in found if each]


def children(pid):
    """Living children of `pid`."""
    return sorted(s.pid for s in all_stats() if s.ppid == pid and s.state not in "ZX")


def marked(mark):
    """Living processes that were started with `mark` ("NAME=value") in their environment."""
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            environment = _read(f"/proc/{name}/environ")
        except PermissionError:
            continue
        if environment and mark.encode() in environment.split(b"\0"):
            found.append(int(name))
    return sorted(found)


def fds(pid):
    """Open descriptors of a process: {number: what it points to}."""
    found = {}
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            found[int(name)] = os.readlink(f"/proc/{pid}/fd/{name}")
        except FileNotFoundError:
            pass
    return found


def watches(pid, sockets):
    """Whether an epoll of the process has one of `sockets` ("socket:[inode]") in it."""
    inodes = {int(name[len("socket:["):-1]) for name in sockets}
    watched = set()
    try:
        for number, target in fds(pid).items():
            if target == "anon_inode:[eventpoll]":
                lines = Path(f"/proc/{pid}/fdinfo/{number}").read_text().splitlines()
                watched |= {int(line.split(" ino:")[1].split()[0], 16)
                            for line in lines if line.startswith("tfd:")}
    except (FileNotFoundError, ProcessLookupError):
        pass
    return bool(inodes & watched)


def program(pid):
    """Path of the program that a process runs, or None if it is gone."""
    try:
        return os.readlink(f"/proc/{pid}/exe")
    except (FileNotFoundError, ProcessLookupError):
        return None


def command(pid):
    """The process's command line, for messages."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
    except (FileNotFoundError, ProcessLookupError):
        return "(gone)"


def _rollup(pid, key):
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"no {key} line for process {pid}")


def pss(pid):
    """Proportional set size, bytes. It grows when another process stops sharing a library."""
    return _rollup(pid, "Pss")


def anonymous(pid):
    """Memory that is no file's, bytes, whoever else has it."""
    return _rollup(pid, "Anonymous")


def sysv_shm():
    """System V shared memory segments, {id: pid of the process that made it}."""
    lines = Path("/proc/sysvipc/shm").read_text().splitlines()
    names = lines[0].split()
    rows = [dict(zip(names, line.split())) for line in lines[1:]]
    return {int(row["shmid"]): int(row["cpid"]) for row in rows}


def posix_shm(pid):
    """Paths of the POSIX shared memory segments that a process has mapped."""
    try:
        maps = Path(f"/proc/{pid}/maps").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return set()
    return {line.split()[5] for line in maps.splitlines() if " /dev/shm/" in line}
