# SPDX-License-Identifier: Apache-2.0
"""Free ports, and a certificate for localhost."""

import fcntl
import functools
import itertools
import os
import random
import socket
import ssl
import subprocess
import tempfile
from collections import deque
from pathlib import Path

from .places import own_folder


# One byte for each port; a lock on it claims the port for this process until it ends. One
# descriptor, open from the start: tests count descriptors.
_CLAIMS = os.open(Path(tempfile.gettempdir()) / f"stm-test-ports-{os.geteuid()}",
                  os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
# Claimed in blocks, because each lock is a line of /proc/locks, of which STM reads 4,096.
_BLOCK = 100
_BLOCKS = 20
_claimed = deque()
os.register_at_fork(after_in_child=_claimed.clear)  # locks are not inherited


def _claim(first):
    """Whether no other test run has claimed the block: servers with SO_REUSEPORT could share a
    port."""
    try:
        fcntl.lockf(_CLAIMS, fcntl.LOCK_EX | fcntl.LOCK_NB, _BLOCK, first)
    except OSError:
        return False
    return True


def _claimed_ports():
    """This process's ports, the one that was used longest ago first."""
    if not _claimed:
        low = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
        span = range(10000, low - _BLOCK) if low > 20000 else range(20000, 60000)
        blocks = random.sample(span[::_BLOCK], len(span[::_BLOCK]))
        for first in itertools.islice(filter(_claim, blocks), _BLOCKS):
            _claimed.extend(range(first, first + _BLOCK))
        random.shuffle(_claimed)
    return _claimed


def free_ports(count):
    """Ports on which nothing listens on loopback and that no other test run has been given.

    Below the ephemeral range, so that no client's connection takes one between this check and the
    server's bind. Another server still may: callers that fail to bind must retry with other ports.
    """
    ports, found = _claimed_ports(), []
    while len(found) < count:
        ports.rotate(-1)
        port = ports[-1]
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("", port))
            except OSError:
                continue
        found.append(port)
    return found


_KEYS = {"ec": ["ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"], "rsa": ["rsa:2048"]}


def certificate(key="ec"):
    """A file with a self-signed certificate for localhost and its key: P-256, or RSA 2048."""
    return _certificate(key)


@functools.cache  # for which f() and f(default) are two calls
def _certificate(key):
    path = own_folder() / f"localhost-{key}.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", *_KEYS[key], "-nodes", "-days", "30",
                    "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
                    "-keyout", path, "-out", path.with_suffix(".crt")],
                   check=True, capture_output=True)
    path.write_text(path.read_text() + path.with_suffix(".crt").read_text())
    return path


def tls_context(version=None, key="ec"):
    """A client's context that trusts certificate(key); `version` pins the protocol version."""
    context = ssl.create_default_context(cafile=certificate(key).with_suffix(".crt"))
    if version:
        context.minimum_version = context.maximum_version = version
    return context
