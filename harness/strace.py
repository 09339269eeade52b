# SPDX-License-Identifier: Apache-2.0
"""strace, attached to running processes: for test_syscalls.py and lab/docroot.py."""

import re
import signal
import subprocess
import threading

from .waiting import wait_for

REFUSED = re.compile(r"Operation not permitted|ptrace_scope|PTRACE_(SEIZE|ATTACH|TRACEME)")
ATTACH_BOUND = 90.0  # seconds: ends what hangs


class NotPermitted(Exception):
    """This machine does not let us trace these processes; the text is strace's."""


class Trace:
    """strace of those calls (comma-separated), attached to processes and all their threads, until
    end()."""

    def __init__(self, pids, output, calls):
        self.command = ["strace", "-f", "-e", f"trace={calls}", "-e", "signal=none",
                        "-p", ",".join(map(str, pids))]
        self._output = output
        self._run = subprocess.Popen([*self.command, "-o", output], text=True,
                                     stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
        self.said = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        wait_for(lambda: self._attached() == len(pids) or self._run.poll() is not None,
                 "strace to attach", ATTACH_BOUND)
        if self._run.poll() is not None or self._refused():
            self.end()
            said = "".join(self.said).strip()
            assert self._refused(), f"strace has ended: {said}"
            raise NotPermitted(said)

    def _read(self):
        for line in self._run.stderr:
            self.said.append(line)

    def _attached(self):
        # "Process 9 attached with 12 threads" is one line; new threads are reported like processes.
        return sum(" attached" in line for line in self.said) + self._refused()

    def _refused(self):
        return sum(bool(REFUSED.search(line)) for line in self.said)

    def end(self):
        """Detaches; returns what was traced."""
        if self._run.poll() is None:
            self._run.send_signal(signal.SIGINT)
        self._run.wait(30)
        self._reader.join()
        self._run.stderr.close()
        return self._output.read_text() if self._output.exists() else ""


def called(text):
    """The names of the calls in what was traced of them all, each once it has ended."""
    return re.findall(r"^\d+ +(\w+)\(", text, re.M)


def calls_of(server, act):
    """The names of the system calls that act() takes the server's children."""
    trace = Trace(server.children(), server.root / "strace.out", "all")
    try:
        act()
    finally:
        text = trace.end()
    return called(text)
