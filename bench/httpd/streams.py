# SPDX-License-Identifier: Apache-2.0
"""The scenarios of connections that stay open through a proxy: WebSockets and server-sent events.

There are so many that no process may have all of them: limits of 20,000 open files are usual, and
each costs the server two or three descriptors. So backend, load and server have several processes
each.
"""

import time
from contextlib import ExitStack

from harness import wait_for
from harness.drive import Conns, SlowBackend

from .idle import at_rest
from .measure import memory, server_cpu
from .scenario import Scenario, Target
from .servers import Need

COUNT = 50_000
PARTS = 4          # backends, and load generators
PROCESSES = 8      # of the server
SOURCES = 8        # loopback addresses that connections come from
BATCH = 64         # handshakes at the same time
OPENING = 120      # seconds, at most, of each load generator
MINUTE = 60_000    # ms between two messages of a stream
WATCHED = 20       # seconds of that during which CPU time is measured


class StreamBackends:
    """Several backends, each with its share of the streams."""

    def __init__(self):
        self._each = [SlowBackend() for _ in range(PARTS)]

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def close(self):
        """Ends them."""
        for each in self._each:
            each.close()

    @property
    def ports(self):
        """Where they listen."""
        return [each.port for each in self._each]

    def streams(self):
        """How many they have."""
        return sum(each.streams() for each in self._each)

    def tell(self, within_ms):
        """Begins to send a message on each stream, evenly spread over that time."""
        for each in self._each:
            each.tell(within_ms)


def opened(server, stack, mode, count):
    """Load generators that have opened so many streams in total."""
    made = []
    for part in range(PARTS):
        made.append(stack.enter_context(Conns(
            server.port, mode=mode, path=f"/{mode}/{part}/", sources=SOURCES, batch=BATCH,
            limit=OPENING)))
        made[-1].open(count // PARTS)
    return made


def messages(clients):
    """How many have come so far."""
    return sum(each.messages() for each in clients)


def none_left(backends):
    """Whether all streams have ended. httpd notices that a client has left when it sends
    something."""
    backends.tell(0)
    return backends.streams() == 0


def streams(mode, count=COUNT, watched=WATCHED):
    """What `count` streams cost once each has had a message, and what further messages cost."""
    def measure(server, _run):
        backends = server.things["streams"]
        with ExitStack() as warm:
            opened(server, warm, mode, min(PARTS * 50, count))
        wait_for(lambda: none_left(backends), "the end of the streams")
        before = memory(server)
        with ExitStack() as stack:
            clients = opened(server, stack, mode, count)
            have = backends.streams()
            backends.tell(watched * 100)
            wait_for(lambda: messages(clients) >= have, "a message on each stream", 60)
            taken = at_rest(server)
            cpu, told, start = server_cpu(server), messages(clients), time.monotonic()
            backends.tell(MINUTE)
            time.sleep(watched)
            told = messages(clients) - told
            cpu, took = server_cpu(server) - cpu, time.monotonic() - start
            lost = have - sum(each.report().open for each in clients)
        return {"PSS bytes/stream": (taken - before) / max(1, have), "PSS MB": taken / 1e6,
                "CPU us/message": cpu * 1e6 / max(1, told), "messages/s": told / took,
                "connections": have, "failed": count - have + lost}
    return measure


def scene(mode, what):
    """One of the scenarios. Event would need a kernel thread for each stream."""
    why = "needs a kernel thread for each of them"
    return Scenario(f"streams-{mode}", f"{COUNT:,} {what} through a proxy, a message a minute each",
                    streams(mode), Need(COUNT, processes=PROCESSES),
                    [Target("failed", at_most=0),
                     Target("PSS bytes/stream", "nginx", at_most=1.3, stretch=True)],
                    things={"streams": StreamBackends}, rounds=3, about=60, bound=600,
                    without={"event": why, "worker": why, "prefork": "needs a process for each"})


STREAMS = [scene("websocket", "WebSockets"), scene("events", "streams of server-sent events")]
