# SPDX-License-Identifier: Apache-2.0
"""The slow file system itself (tests/slowfs): the properties that other tests rely on when they use
its counts."""

import fcntl
import mmap
import os
import signal
import subprocess
import threading
import time

import pytest
from harness import slowfs, tool, wait_for


class Calling:
    """Threads that each make one call; `done` has the results of those that have finished."""

    def __init__(self, call, arguments):
        self.done = []
        self._threads = [threading.Thread(target=self._run, args=(call, each))
                         for each in arguments]
        for each in self._threads:
            each.start()

    def _run(self, call, argument):
        try:
            self.done.append(call(argument))
        except OSError as error:
            self.done.append(error)

    def join(self):
        """Waits for all; returns `done`."""
        for each in self._threads:
            each.join(30)
            assert not each.is_alive(), "a call does not end"
        return self.done


def test_generated_files(slow_fs):
    """They have the names, sizes and bytes that were requested."""
    slow = slow_fs("one.bin:300000", "many/f#.txt:10:12", "empty:0")
    assert sorted(os.listdir(slow.path)) == ["empty", "many", "one.bin"]
    assert sorted(os.listdir(slow.path / "many")) == sorted(f"f{i}.txt" for i in range(12))
    assert (slow.path / "one.bin").read_bytes() == slowfs.content(300000)
    assert (slow.path / "many/f11.txt").read_bytes() == slowfs.content(10)
    assert (slow.path / "empty").read_bytes() == b""


@pytest.mark.parametrize("direct", [0, 1])
def test_written_files(slow_fs, direct):
    """Writing, appending, truncating, linking, renaming and removing work as on any file system."""
    slow = slow_fs("given:1000")
    slow.option("direct", direct)
    path = slow.write("a/b.txt", "hello")
    with path.open("a") as file:
        file.write(" world")
        file.flush()
        fcntl.flock(file, fcntl.LOCK_EX)
        os.fsync(file.fileno())
    assert path.read_text() == "hello world"
    os.truncate(path, 5)
    path.rename(slow.path / "c.txt")
    (slow.path / "link").symlink_to("c.txt")
    assert (slow.path / "link").read_text() == "hello"
    with open(slow.path / "given", "r+b") as file:
        file.seek(10)
        file.write(b"x")
    want = bytearray(slowfs.content(1000))
    want[10:11] = b"x"
    assert (slow.path / "given").read_bytes() == want
    (slow.path / "link").unlink()
    (slow.path / "a").rmdir()
    assert sorted(os.listdir(slow.path)) == ["c.txt", "given"]
    with pytest.raises(FileNotFoundError):
        path.stat()


@pytest.mark.parametrize("direct", [0, 1])
def test_any_number_of_reads_waits_at_once(slow_fs, direct):
    """One read per reader is in flight and counted, and all continue when released."""
    slow = slow_fs("cold#:65536:64", "other:10")
    slow.option("direct", direct)
    with slow.holding("read", "cold*"):
        reads = Calling(lambda i: (slow.path / f"cold{i}").read_bytes(), range(64))
        slow.wait_held("read", 64)
        assert slow.calls("read").files == slow.calls("all").files == 64
        assert (slow.path / "other").read_bytes() == slowfs.content(10)  # not of that name
        assert not reads.done
    assert reads.join() == [slowfs.content(65536)] * 64
    calls = slow.calls("read")
    assert (calls.in_flight, calls.held) == (0, 0) and calls.peak >= 64
    slow.reset()
    assert slow.calls("read") == (0, 0, 0, 0, 0)


HELD = {
    "lookup": lambda slow, name: os.stat(slow / name),
    "open": lambda slow, name: os.close(os.open(slow / name, os.O_RDONLY)),
    "create": lambda slow, name: (slow / f"new{name}").write_text(""),
    "write": lambda slow, name: (slow / name).write_text("text"),
    "flush": lambda slow, name: (slow / name).read_bytes(),
    "fsync": lambda slow, name: _fsync(slow / name),
    "setattr": lambda slow, name: os.truncate(slow / name, 3),
    "opendir": lambda slow, _: os.listdir(slow),
    "readdir": lambda slow, _: os.listdir(slow),
    "mkdir": lambda slow, name: os.mkdir(slow / f"dir{name}"),
    "unlink": lambda slow, name: os.unlink(slow / name),
    "rename": lambda slow, name: os.rename(slow / name, slow / "renamed"),
    "statfs": lambda slow, name: os.statvfs(slow / name),
    "access": lambda slow, name: os.access(slow / name, os.R_OK),
    "getattr": lambda slow, _: os.stat(slow),
}


def _fsync(path):
    with path.open("w") as file:
        os.fsync(file.fileno())


@pytest.mark.parametrize("kind", HELD)
def test_every_kind_can_be_held(slow_fs, kind):
    """Such a system call waits, but only until it is released."""
    slow = slow_fs("file:10")
    with slow.holding(kind):
        calling = Calling(lambda name: HELD[kind](slow.path, name), ["file"])
        slow.wait_held(kind)
        assert not calling.done
    assert not isinstance(calling.join()[0], OSError), calling.done


def test_a_delay(slow_fs):
    """A call takes at least the requested time, and no longer does so once that is reset."""
    slow = slow_fs("file:10")
    slow.delay("read", 300)
    before = time.monotonic()
    (slow.path / "file").read_bytes()
    assert time.monotonic() - before >= 0.3
    slow.delay("all", 0)
    (slow.path / "file").read_bytes()
    assert slow.calls("read").total >= 2


def test_what_the_kernel_keeps(slow_fs):
    """Each open reads again, unless the page cache is kept; names are looked up again, unless there
    is a timeout."""
    slow = slow_fs("file:10")
    for keep, reads in ((0, 2), (1, 0)):
        slow.option("keep", keep)
        slow.option("timeout", 3600 * keep)
        (slow.path / "file").read_bytes()
        slow.reset()
        (slow.path / "file").read_bytes()
        (slow.path / "file").read_bytes()
        assert slow.calls("read").total == reads
        assert (slow.calls("lookup").total == 0) == bool(keep)


def test_a_page_fault_waits(slow_fs):
    """A mapped file's page is read when it is touched."""
    slow = slow_fs("file:40960")
    with open(slow.path / "file", "rb") as file, \
            mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:
        slow.reset()
        assert mapped[:40960] == slowfs.content(40960)
    assert slow.calls("read").total > 0


def test_a_signal_ends_a_wait_where_asked(slow_fs):
    """A process that is killed while reading is gone at once, and its read has ended."""
    slow = slow_fs("file:10")
    slow.option("direct", 1)  # or else the page cache continues reading for later readers
    with slow.holding("read"):
        reader = subprocess.Popen(["cat", slow.path / "file"], stdout=subprocess.DEVNULL)
        slow.wait_held("read")
        slow.option("interruptible", 1)
        reader.kill()
        assert reader.wait(30) == -signal.SIGKILL
        wait_for(lambda: slow.calls("read").in_flight == 0, "the end of the read")


@pytest.mark.parametrize("how", ["input", signal.SIGTERM, signal.SIGKILL, "lifetime"])
def test_it_leaves_nothing(slow_fs, how):
    """However it ends, the mount is removed, and a waiting call returns."""
    slow = slow_fs("file:10", lifetime=1 if how == "lifetime" else 60)
    calling = None
    if how != "lifetime":
        slow.hold("read")
        calling = Calling(lambda name: (slow.path / name).read_bytes(), ["file"])
        slow.wait_held("read")
    if how == "input":
        slow.hang_up()
    elif how != "lifetime":
        slow.signal(how)
    wait_for(lambda: not slow.mounted(), "the end of the mount")
    assert not os.listdir(slow.path)
    if calling:
        calling.join()


def test_arguments(tmp_path):
    """Bad arguments are refused before anything is mounted."""
    for words in ([], ["-f", "noSize", tmp_path], ["-f", "same:1", "-f", "same:1", tmp_path],
                  ["-f", "a:1:2", tmp_path], ["-x", tmp_path]):
        run = subprocess.run([tool("slowfs"), *words], capture_output=True, text=True, timeout=30,
                             stdin=subprocess.DEVNULL, check=False)
        assert run.returncode == 2 and "usage:" in run.stderr
