# SPDX-License-Identifier: Apache-2.0
"""What mod_heartbeat says of a server: how much more it could take, and how much it is doing."""

import contextlib
import re
import socket

import pytest
from harness import Conn, wait_for

PROCESSES, THREADS = 4, 100
ALL = PROCESSES * THREADS
MODULES = ("watchdog", "heartbeat", "proxy", "proxy_http")


class Monitor:
    """Receives a server's messages."""

    def __init__(self):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.settimeout(30)
        self.port = self.socket.getsockname()[1]

    def next(self):
        """The next message's ready and busy."""
        text = self.socket.recv(1000).decode()
        found = re.fullmatch(r"v=1&ready=(\d+)&busy=(\d+)", text)
        assert found, text
        return int(found[1]), int(found[2])

    def wait_for(self, ready, busy):
        """Waits for a message with these numbers."""
        seen = []

        def same():
            seen.append(self.next())
            return seen[-1] == (ready, busy)
        try:
            wait_for(same, "the message")
        except AssertionError:
            raise AssertionError(f"expected {(ready, busy)}, got {seen}") from None


@pytest.fixture
def monitor():
    """A receiver of heartbeats."""
    one = Monitor()
    with one.socket:
        yield one


@pytest.fixture
def silent():
    """A backend that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=500) as listening:
        yield listening


def heartbeats(monitor, silent, **more):
    """A server's settings: it sends heartbeats, and /wait waits for the backend."""
    return {"processes": PROCESSES, "threads": THREADS, "modules": MODULES, "directives": f"""
        HeartbeatAddress 127.0.0.1:{monitor.port}
        ProxyPass /wait http://127.0.0.1:{silent.getsockname()[1]}/ disablereuse=on
        """, **more}


def waiting(server, count):
    """So many clients that wait for the backend."""
    clients = contextlib.ExitStack()
    for _ in range(count):
        conn = clients.enter_context(Conn(server.port))
        conn.ask("/wait")
    return clients


@pytest.mark.parametrize("mpm", [None, "event"])
def test_ready_is_what_could_be_taken(serve, monitor, silent, mpm):
    """All threads, less those that wait for a backend, over all processes; under event, too."""
    server = serve(mpm=mpm, **heartbeats(monitor, silent))
    monitor.wait_for(ALL, 0)
    with waiting(server, 80):
        monitor.wait_for(ALL - 80, 80)
    silent.close()
    monitor.wait_for(ALL, 0)


@pytest.mark.stm_only
def test_full_server_is_not_ready(serve, monitor, silent):
    """Each VP reaches MaxThreads while connections wait; nothing more can be taken."""
    server = serve(**heartbeats(monitor, silent, threads=10))
    with waiting(server, 120):
        monitor.wait_for(0, PROCESSES * 10)


@pytest.mark.stm_only
def test_status_page_is_as_before(serve, monitor, silent):
    """mod_status still counts the state threads that there are, and open slots as such."""
    settings = heartbeats(monitor, silent)
    settings["modules"] = (*MODULES, "status")
    settings["directives"] += "<Location /status>\nSetHandler server-status\n</Location>\n"
    server = serve(**settings)
    monitor.wait_for(ALL, 0)
    page = server.get("/status?auto").text
    board = re.search(r"^Scoreboard: (.*)$", page, re.MULTILINE)[1]
    assert len(board) == ALL
    assert board.count("_") == int(re.search(r"^IdleWorkers: (\d+)$", page, re.MULTILINE)[1]) < ALL
    assert board.count(".") > ALL / 2


@pytest.mark.stm_only
def test_new_limit_is_told(serve, monitor, silent):
    """MaxThreads as of the last graceful restart."""
    server = serve(**heartbeats(monitor, silent))
    monitor.wait_for(ALL, 0)
    server.configure(threads=50)
    server.restart()
    monitor.wait_for(PROCESSES * 50, 0)
