# SPDX-License-Identifier: Apache-2.0
"""A name server that answers when the test says so, and a namespace in which a server uses it.

It has its own loopback address, and port 53. Every name resolves to 127.0.0.1; names below ".dead"
are not answered with the others.
"""

import itertools
import os
import socket
import struct
import subprocess
import threading

from .waiting import wait_for

_places = itertools.count(1)
A, AAAA, PTR = 1, 28, 12
SO_RCVBUFFORCE = 33  # of Linux: no query of a burst may be lost


class Unavailable(Exception):
    """This machine or user does not allow it."""


def _name(message):
    """The name that a query is about, and where it ends."""
    labels, at = [], 12
    while message[at]:
        labels.append(message[at + 1:at + 1 + message[at]].decode())
        at += 1 + message[at]
    return ".".join(labels), at + 1


class NameServer:
    """Holds queries until open() is called. `asked` has (name, type) of all, in their order."""

    def __init__(self):
        self.address = f"127.53.{os.getpid() % 200 + 1}.{next(_places)}"
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            self.socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 8 << 20)
            self.socket.bind((self.address, 53))
        except OSError as error:
            self.socket.close()
            raise Unavailable(f"no name server may be opened here: {error}") from error
        self.asked, self._held = [], []
        self._open, self._dead, self._lock = False, True, threading.Lock()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self):
        while query := self._receive():
            with self._lock:
                name, end = _name(query[0])
                kind, = struct.unpack_from(">H", query[0], end)
                self.asked.append((name, kind))
                if self._open and not (name.endswith(".dead") and self._dead):
                    self._answer(*query)
                else:
                    self._held.append(query)

    def _receive(self):
        message, sender = self.socket.recvfrom(4096)
        return (message, sender) if message != b"end" else None

    def _answer(self, query, sender):
        name, end = _name(query)
        kind, = struct.unpack_from(">H", query, end)
        record = {A: b"\xc0\x0c" + struct.pack(">HHIH", A, 1, 0, 4) + bytes([127, 0, 0, 1]),
                  PTR: b"\xc0\x0c" + struct.pack(">HHIH", PTR, 1, 0, 16) +
                  b"\x06client\x07example\x00"}.get(kind, b"")
        header = query[:2] + struct.pack(">HHHHH", 0x8180, 1, 1 if record else 0, 0, 0)
        self.socket.sendto(header + query[12:end + 4] + record, sender)

    def names(self):
        """The different names asked for so far."""
        with self._lock:
            return {name for name, _ in self.asked}

    def wait_asked(self, count):
        """Waits until this many different names have been asked for."""
        wait_for(lambda: len(self.names()) >= count, f"{count} names at the name server", 60)

    def open(self, dead=False):
        """Answers what it holds, and everything from now on; with `dead`, those names as well."""
        with self._lock:
            self._open, self._dead = True, not dead
            held, self._held = self._held, []
            for query in held:
                if self._dead and _name(query[0])[0].endswith(".dead"):
                    self._held.append(query)
                else:
                    self._answer(*query)

    def end(self):
        """Releases the address."""
        self.socket.sendto(b"end", (self.address, 53))
        self._thread.join()
        self.socket.close()


def in_namespace(server, script, *arguments):
    """Has a server run in a mount namespace of its own, after a shell script in it."""
    server.launcher = ["unshare", "-m", "--propagation", "private", "sh", "-ec",
                       f'{script}\nshift {len(arguments)}; exec "$@"', "sh", *map(str, arguments)]
    if subprocess.run([*server.launcher, "true"], capture_output=True, check=False).returncode:
        raise Unavailable("no mount namespace may be made here")


def with_names(server, name_server=None, services="hosts: files dns"):
    """Has a server use this name server, and these lines of nsswitch.conf."""
    resolver, switch = server.root / "resolv.conf", server.root / "nsswitch.conf"
    address = name_server.address if name_server else "127.0.0.1"
    resolver.write_text(f"nameserver {address}\noptions timeout:30 attempts:1\n")
    switch.write_text(f"services: files\n{services}\n")
    in_namespace(server, "mount --bind $1 /etc/resolv.conf; mount --bind $2 /etc/nsswitch.conf",
                 resolver, switch)
    return server
