# SPDX-License-Identifier: Apache-2.0
"""make_conn: what it counts, what ends it, and where it does not connect to."""

import os
import re
import resource
import signal
import socket
import subprocess
import sys
import threading

import pytest

from harness import wait_for
from harness.net import free_ports
from lab.clients import MAKE_CONN, Kept, counts


def make_conn(*arguments, **options):
    """A finished make_conn, without an input."""
    return subprocess.run([MAKE_CONN, *map(str, arguments)], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=60, check=False, **options)


class Listener:
    """Accepts connections and does nothing with them."""

    def __init__(self, family, address, port=0):
        self.socket = socket.create_server((address, port), family=family, backlog=1024)
        self.port = self.socket.getsockname()[1]
        self.taken = []
        threading.Thread(target=self._take, daemon=True).start()

    def _take(self):
        while True:
            try:
                self.taken.append(self.socket.accept()[0])
            except OSError:
                return

    def end(self):
        """Closes all."""
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        for conn in self.taken:
            conn.close()


@pytest.fixture
def listen():
    """listen(family=..., address=...) creates a Listener that ends with the test."""
    made = []

    def make(family=socket.AF_INET, address="127.0.0.1", port=0):
        made.append(Listener(family, address, port))
        return made[-1]
    yield make
    for each in made:
        each.end()


@pytest.mark.parametrize("what, answered", [("none", None), ("part", None), ("whole", 100)])
def test_a_hundred_by_default(serve_module, what, answered):
    server = serve_module(processes=2, threads=128)
    with Kept("-r", what, "localhost", server.port) as kept:
        assert kept.first.pop("answered", None) == answered
        assert {"accepted": 100, "refused": 0, "closed": 0, "open": 100}.items() \
            <= kept.first.items()
        last = kept.end("\n")
    assert (last["open"], last["accepted"]) == (100, 100)
    assert kept.run.returncode == 0


def test_half_requests_are_finished(serve_module):
    server = serve_module()
    server.page("some.txt", "some\n")
    with Kept("--finish", "--path", "/some.txt", "127.0.0.1", server.port, 30) as kept:
        last = kept.end()
    assert last["answered"] == 30
    wait_for(lambda: sum("GET /some.txt" in line for line in server.access_log()) == 30,
             "30 lines in the access log")


def test_answers_are_counted_by_status(serve_module):
    server = serve_module()
    run = make_conn("-r", "whole", "-p", "/absent", "127.0.0.1", server.port, 7)
    assert "answered 7: 7 with 404" in run.stdout


def test_answers_that_are_none(listen):
    server = listen()
    with Kept("--finish", "127.0.0.1", server.port, 2) as kept:
        wait_for(lambda: len(server.taken) == 2, "two connections")
        server.taken[0].sendall(b"220 mail.example ESMTP\r\n")
        server.taken[1].sendall(b"HTTP/1.1 503 No\r\n")
        kept.end()
    assert kept.lines[-1].endswith("answered 2: 1 not HTTP, 1 with 503")


def test_what_the_server_closes_is_told_while_it_waits(listen):
    server = listen()
    with Kept("127.0.0.1", server.port, 5) as kept:
        wait_for(lambda: len(server.taken) == 5, "five connections")
        for conn in server.taken[:2]:
            conn.close()
        seen = kept.next()
        while seen["closed"] < 2:
            seen = kept.next()
        assert (seen["open"], seen["of these without an answer"]) == (3, 2)
        for conn in server.taken[2:]:
            conn.close()
        assert kept.until_closed(5)["open"] == 0
        assert kept.run.wait(30) == 0  # by itself: nothing is left to keep


def test_ipv6_and_names(listen):
    six = listen(socket.AF_INET6, "::1")
    assert counts(make_conn("::1", six.port, 3).stdout.splitlines()[1])["accepted"] == 3
    four = listen()
    run = make_conn("localhost", four.port, 3)
    assert run.stdout.startswith(f"127.0.0.1 port {four.port}, 3 connections")
    assert run.stderr == ""


def test_refused():
    port = free_ports(1)[0]
    run = make_conn("127.0.0.1", port)
    assert (run.returncode, run.stdout) == (1, "")
    assert run.stderr == f"make_conn: 127.0.0.1 port {port}: Connection refused\n"


@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1", "0.0.0.1"])
def test_other_machines_are_left_alone(host):
    run = make_conn(host, 80, 1)
    assert run.returncode == 2
    assert f"{host} port 80: not a loopback address" in run.stderr
    assert "--allow-remote" in run.stderr


@pytest.mark.parametrize("arguments, said", [
    (["localhost"], "HOST and PORT"),
    (["localhost", "0"], "PORT 0: must be a number from 1 to 65535"),
    (["localhost", "80", "1000001"], "COUNT 1000001: must be a number from 1 to 1000000"),
    (["localhost", "80", "x"], "COUNT x"), (["-s", "0", "localhost", "80"], "--seconds 0"),
    (["-r", "all", "localhost", "80"], "none, part or whole"),
    (["-p", "x", "localhost", "80"], "must begin with /"),
    (["-p", "/a b", "localhost", "80"], "a blank"), (["--frob"], "--help"),
    (["-r", "whole", "-f", "localhost", "80"], "--finish"),
    (["no-such..host", "80"], "no-such..host port 80: ")])
def test_wrong_usage_is_explained(arguments, said):
    run = make_conn(*arguments)
    assert run.returncode == 2
    assert said in run.stderr and run.stdout == ""


def test_help():
    run = make_conn("--help")
    assert run.returncode == 0
    assert run.stdout.startswith("usage: make_conn") and "--allow-remote" in run.stdout


def test_the_limit_of_open_files_is_named(listen):
    server = listen()

    def limit():
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    run = make_conn("127.0.0.1", server.port, 200, preexec_fn=limit)
    assert run.returncode == 1
    assert re.search(r"\d+ of 200 opened: the limit on open files, 64, has been reached",
                     run.stderr)
    first = counts(run.stdout.splitlines()[1])
    assert first["accepted"] == first["open"] == 200 - first["not opened"]


def test_the_soft_limit_of_open_files_is_raised(listen):
    server = listen()

    def limit():
        resource.setrlimit(resource.RLIMIT_NOFILE, (32, 1024))
    run = make_conn("127.0.0.1", server.port, 200, preexec_fn=limit)
    assert counts(run.stdout.splitlines()[1])["accepted"] == 200


def test_seconds_without_an_input_and_signals(listen):
    server = listen()
    run = make_conn("--seconds", 1, "127.0.0.1", server.port, 2)  # /dev/null does not end it
    assert "Keeping them for 1 s" in run.stdout and run.returncode == 0
    with Kept("127.0.0.1", server.port, 2) as kept:
        os.kill(kept.run.pid, signal.SIGTERM)
        assert kept.next()["open"] == 2
        assert kept.run.wait(30) == 0


RANGE = "net.ipv4.ip_local_port_range"
IN_ITS_NETWORK = """
import socket, subprocess, sys
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
subprocess.run(["sysctl", "-qw", sys.argv[3] + "=40000 40059"], check=True)
with socket.create_server(("::", 9000), family=socket.AF_INET6, dualstack_ipv6=True, backlog=1024):
    subprocess.run([sys.argv[1], "-r", "none", sys.argv[2], "9000", "300"],
                   stdin=subprocess.DEVNULL, check=False)
"""


@pytest.mark.needs_root
@pytest.mark.parametrize("address, accepted", [("::1", 60), ("127.0.0.1", 300)])
def test_few_local_ports(address, accepted):
    """One address has 60 ports here; connections to 127.0.0.1 leave from several addresses."""
    may = subprocess.run(["unshare", "-n", "sysctl", "-qw", f"{RANGE}=40000 40059"],
                         capture_output=True, check=False)
    if may.returncode:
        pytest.skip("no network namespace may be made and changed here")
    run = subprocess.run(["unshare", "-n", sys.executable, "-c", IN_ITS_NETWORK, MAKE_CONN,
                          address, RANGE], capture_output=True, text=True, timeout=60, check=True)
    assert counts(run.stdout.splitlines()[1])["open"] == accepted
    said = f"60 of 300 opened: no local port is left for {address} port 9000"
    assert (said in run.stderr) == (accepted < 300)
