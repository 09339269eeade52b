# SPDX-License-Identifier: Apache-2.0
"""Someone sets the system's clock by an hour: the server does not notice, except for the date."""

import os
import signal
import struct
import time
from email.utils import parsedate_to_datetime

import pytest
from harness import tool, wait_for
from harness.stm import probed

HOUR = 3600


class Clock:
    """The server's time of day."""

    def __init__(self, server):
        self._file = server.private_folder("clock") / "step"
        self._file.write_bytes(struct.pack("l", 0))
        self._file.chmod(0o644)
        server.preload(tool("clock_step.so"), {"CLOCK_STEP": str(self._file)})

    def step(self, seconds):
        """Sets it."""
        with self._file.open("r+b") as file:
            file.write(struct.pack("l", seconds))


def hours_off(server):
    """By how many hours the server's clock is wrong, as it says itself."""
    date = server.get("/").headers["date"]
    return round((parsedate_to_datetime(date).timestamp() - time.time()) / HOUR)


@pytest.mark.parametrize("by", [HOUR, -HOUR])
def test_the_servers_clock_is_set(serve, by):
    """What the other tests rely on; and a connection in use stays."""
    server = serve.make(processes=1)
    clock = Clock(server)
    server.start()
    assert hours_off(server) == 0
    with server.connect() as half:
        half.send(b"GET / HTTP/1.1\r\nHost: x\r\n")
        clock.step(by)
        assert hours_off(server) == by // HOUR
        half.send(b"\r\n")
        assert half.response().status == 200


@pytest.mark.stm_only
def test_a_request_of_an_old_generation_is_not_cut(serve):
    """GracefulShutdownTimeout allows it ten minutes, not an hour."""
    server = probed(serve, "GracefulShutdownTimeout 600\n", processes=1)
    clock = Clock(server)
    server.start()
    with server.connect() as conn:
        conn.ask("/probe?sleep=4000")
        server.restart()
        clock.step(HOUR)
        assert conn.response().status == 200


def test_a_seat_is_filled_after_a_step_back(serve):
    """Processes that die as soon as they are there are replaced with delays that grow."""
    server = serve.make(processes=2)
    server.allowed.append(r"AH00052|AH00051|died of signal|exit signal|restart|delay")
    clock = Clock(server)
    server.start()
    seen = set()
    while len(seen) < 8:
        for pid in wait_for(lambda: set(server.children()) - seen, "a process that is new"):
            seen.add(pid)
            os.kill(pid, signal.SIGKILL)
    clock.step(-HOUR)
    wait_for(lambda: len(set(server.children()) - seen) == 2, "two processes")
    server.wait_ready()
    assert hours_off(server) == -1


def test_a_graceful_stop_ends_in_time_after_a_step_back(serve):
    server = serve.make(processes=1, directives="GracefulShutdownTimeout 2\n")
    clock = Clock(server)
    server.start()
    with server.connect() as conn:
        conn.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nx")
        server.signal(signal.SIGWINCH)
        server.wait_log("shutting down gracefully")
        clock.step(-HOUR)
        server.wait_gone()
