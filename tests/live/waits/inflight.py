# SPDX-License-Identifier: Apache-2.0
"""Requests in progress, and quick requests that must not have to wait for them."""

import select
import threading

from harness.client import request


# Mechanisms of httpd's cross-process locks, as the directive Mutex names them.
MUTEXES = ["fcntl:@ROOT@/locks", "flock:@ROOT@/locks", "posixsem", "pthread", "sysvsem"]


def mutex_name(mutex):
    """The mechanism without its folder, as a test's id."""
    return mutex.split(":")[0]


class InFlight:
    """Many requests, each on a connection of its own, sent but not answered yet."""

    def __init__(self, server, paths, port=None, each=None, **more):
        """paths: one request each; more: options of client.request() for all of them; each: further
        options for each path, in the same order."""
        self.conns = []
        try:
            for number, path in enumerate(paths):
                self.conns.append(server.connect(port=port))
                own = {**more, **each[number]} if each else more
                self.conns[-1].send(request(path, **own))
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def close(self):
        """Closes all connections."""
        for conn in self.conns:
            conn.close()

    def answered(self):
        """How many have received at least a byte, or were closed."""
        poll = select.poll()
        for conn in self.conns:
            poll.register(conn.sock, select.POLLIN)
        return len(poll.poll(0))

    def finish(self):
        """All responses, in the order of the requests."""
        return [conn.response() for conn in self.conns]


def quick(server, count=5):
    """Sends that many requests for a small file, one after the other, each on its own
    connection."""
    for _ in range(count):
        got = server.get("/")
        assert got.status == 200 and "It works!" in got.text


def prove(server, gate, paths, check=None, held=None, **more):
    """Holds a request for each path at the gate, serves quick ones, opens the gate.

    held: how many the gate will hold at once, if not all of them. check: called with each response;
    by default each must be a 200. Returns the responses.
    """
    paths = list(paths)
    with InFlight(server, paths, **more) as flight:
        gate.wait_held(len(paths) if held is None else held)
        quick(server)
        assert flight.answered() == 0
        gate.open()
        got = flight.finish()
    for response in got:
        if check:
            check(response)
        else:
            assert response.status == 200, response
    return got


def in_threads(count, work):
    """Runs work(number) in that many threads; raises the first failure in the caller."""
    failures = []

    def run(number):
        try:
            work(number)
        except BaseException as error:  # pylint: disable=broad-except
            failures.append(error)
    threads = [threading.Thread(target=run, args=(n,)) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
