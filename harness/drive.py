# SPDX-License-Identifier: Apache-2.0
"""Drives the tests' C helpers: commands in, lines of counts out."""

import re
import subprocess
from collections import namedtuple

from .places import tool

Counts = namedtuple("Counts", "open answered closed failed")
Held = namedtuple("Held", "held streams")
Messages = namedtuple("Messages", "messages")
Times = namedtuple("Times", "count p50 p99 max")  # microseconds
Opened = namedtuple("Opened", "open failed")
Ran = namedtuple("Ran", "open answered us failed")
Joined = namedtuple("Joined", "open answered most failed")
Tally = namedtuple("Tally", "ok refused reset empty partial bad idle busy")


def counts(kind, line):
    """A named tuple of numbers from a line "name=1 other=2"."""
    pairs = re.findall(r"(\w+)=(\d+)", line)
    assert [name for name, _ in pairs] == list(kind._fields), f"unexpected line {line!r}"
    return kind(*(int(value) for _, value in pairs))


class Program:
    """A helper that ends when its standard input does."""

    def __init__(self, name, *arguments, stderr=None):
        self._run = subprocess.Popen([tool(name), *map(str, arguments)], text=True, bufsize=1,
                                     stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def _say(self, line):
        self._run.stdin.write(line + "\n")
        self._run.stdin.flush()

    def _line(self):
        line = self._run.stdout.readline()
        assert line, f"{self._run.args[0]} has ended with status {self._run.wait(5)}"
        return line

    def close(self):
        """Ends the helper; harmless if it has ended."""
        if not self._run.stdin.closed:
            self._run.stdin.close()
        try:
            self._run.wait(30)
        finally:
            self._run.kill()
            self._run.stdout.close()


class Conns(Program):
    """Many concurrent connections; see tools/conns.c for modes and commands."""

    def __init__(self, port, mode="keep", path="/", sources=1, batch=500, limit=0):
        super().__init__("conns", "-p", port, "-m", mode, "-u", path, "-s", sources,
                         "-b", batch, "-t", limit)

    def _command(self, line):
        self._say(line)
        return counts(Counts, self._line())

    def open(self, count):
        """Opens `count` more and waits until each has reached the state that its mode is about."""
        return self._command(f"open {count}")

    def send(self, count):
        """Opens `count` more and sends their requests, without waiting for the answers."""
        return self._command(f"send {count}")

    def again(self):
        """One more request on every open connection; waits for the answers."""
        return self._command("again")

    def fire(self):
        """One more request on every open connection, without waiting for the answers."""
        return self._command("fire")

    def path(self, path):
        """Sets what later requests ask for."""
        return self._command(f"path {path}")

    def times(self):
        """How long the successful answers since the last such query took."""
        self._say("times")
        return counts(Times, self._line())

    def messages(self):
        """How many messages have come on connections of the modes "events" and "websocket"."""
        self._say("messages")
        return counts(Messages, self._line()).messages

    def wait(self):
        """Waits until no answer is outstanding."""
        return self._command("wait")

    def report(self):
        """The present counts."""
        return self._command("report")


class Load(Program):
    """Steady load in the background; see tools/load.c."""

    def __init__(self, port, connections=8, path="/", keep=True, gap_ms=0):
        options = ["-k"] if keep else []
        super().__init__("load", "-p", port, "-c", connections, "-u", path, "-g", gap_ms, *options)

    def tally(self):
        """The counts so far."""
        self._say("")
        return counts(Tally, self._line())

    def finish(self):
        """Lets requests in flight finish, and returns the final counts."""
        self._run.stdin.close()
        tally = counts(Tally, self._line())
        self.close()
        assert tally.busy == 0, f"requests without an end: {tally}"
        return tally


class Closed(Program):
    """A closed system: each connection always has one request outstanding; see tools/closed.c."""

    def __init__(self, port, path="/", batch=500, patience=10):
        super().__init__("closed", "-p", port, "-u", path, "-b", batch, "-w", patience)

    @property
    def pid(self):
        """Of the program."""
        return self._run.pid

    def open(self, count):
        """Opens `count` more, and makes one request on each."""
        self._say(f"open {count}")
        return counts(Opened, self._line())

    def start(self, ms, most=0):
        """Begins to run, for that long or until one connection has so many answers."""
        self._say(f"run {ms} {most}")

    def finish(self):
        """The counts at the end of what start() has begun."""
        return counts(Ran, self._line())

    def run(self, ms, most=0):
        """Both."""
        self.start(ms, most)
        return self.finish()

    def fresh(self, count):
        """Opens `count` more while the others run, until each of these has an answer."""
        self._say(f"fresh {count}")
        return counts(Joined, self._line())

    def _pairs(self, line):
        self._say(line)
        return {key: int(value) for key, value in
                (re.split("[:=](?=[0-9]+$)", pair) for pair in self._line().split())}

    def times(self):
        """{us: how many requests of the last run took that long}."""
        return {int(us): count for us, count in self._pairs("times").items()}

    def each(self):
        """{"address:port": answers of that connection in the last run}."""
        return self._pairs("each")


class SlowBackend(Program):
    """An HTTP backend that answers after `delay_ms`; `port` is where."""

    def __init__(self, delay_ms=0):
        super().__init__("slowbackend", "-d", delay_ms)
        self.port = int(self._line())

    def _command(self, line=""):
        self._say(line)
        return counts(Held, self._line())

    def held(self):
        """How many requests are waiting for their answer."""
        return self._command().held

    def streams(self):
        """How many WebSockets and streams of server-sent events it has."""
        return self._command().streams

    def tell(self, within_ms):
        """Begins to send one message on each stream, evenly spread over that time."""
        self._command(f"tell {within_ms}")
