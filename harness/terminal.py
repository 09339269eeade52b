# SPDX-License-Identifier: Apache-2.0
"""A terminal for full-screen programs: what a person would see, line by line."""

import fcntl
import os
import pty
import select
import struct
import termios
import time

import pyte

# TERM=linux, which pyte resembles: it does not support everything in xterm's description.
KEYS = {"up": "\x1b[A", "down": "\x1b[B", "right": "\x1b[C", "left": "\x1b[D", "home": "\x1b[1~",
        "end": "\x1b[4~", "page down": "\x1b[6~", "page up": "\x1b[5~"}


class Terminal:
    """Runs a program in a terminal of that size; a context manager."""

    def __init__(self, command, columns=80, lines=24, env=None):
        self.screen = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self.screen)
        self.status = None
        self.pid, self._file = pty.fork()
        if self.pid == 0:
            try:
                # The size is set before the program asks for it.
                fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("4H", lines, columns, 0, 0))
                environment = {**os.environ, "TERM": "linux", **(env or {})}
                for name in ("LINES", "COLUMNS"):
                    if name not in (env or {}):
                        environment.pop(name, None)
                os.execve(command[0], [str(word) for word in command], environment)
            finally:
                os._exit(127)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.status is None:
            os.kill(self.pid, 9)
            self._end()
        os.close(self._file)

    def _end(self):
        self.status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def _read(self, seconds):
        """Processes what has arrived; False: the program has closed the terminal."""
        if not select.select([self._file], [], [], seconds)[0]:
            return True
        try:
            data = os.read(self._file, 65536)
        except OSError:
            data = b""
        self._stream.feed(data)
        return bool(data)

    @property
    def lines(self):
        """The lines on the screen, without trailing spaces."""
        return [line.rstrip() for line in self.screen.display]

    @property
    def text(self):
        """The whole screen as one text."""
        return "\n".join(self.lines)

    @property
    def words(self):
        """The same with each run of spaces and line ends replaced by a single space."""
        return " ".join(self.text.split())

    def wait(self, condition, what, seconds=30):
        """Waits until condition(self) holds, or the text is there, perhaps wrapped; returns the
        value."""
        if isinstance(condition, str):
            text = condition
            condition = lambda terminal: text in terminal.words  # noqa: E731
        end = time.monotonic() + seconds
        while True:
            found = condition(self)
            if found:
                return found
            assert time.monotonic() < end, f"no {what}:\n{self.text}"
            assert self._read(0.2), f"ended before {what}:\n{self.text}"

    def press(self, *keys):
        """Types characters, or keys given by name."""
        for key in keys:
            os.write(self._file, KEYS.get(key, key).encode())

    def resize(self, columns, lines):
        """Changes the size as a window manager does: the program gets SIGWINCH."""
        self.screen.resize(lines, columns)
        fcntl.ioctl(self._file, termios.TIOCSWINSZ, struct.pack("4H", lines, columns, 0, 0))

    def finish(self, seconds=20):
        """Waits until the program ends; returns its exit status."""
        end = time.monotonic() + seconds
        while self._read(0.2):
            assert time.monotonic() < end, "it does not end"
        self._end()
        return self.status
