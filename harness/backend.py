# SPDX-License-Identifier: Apache-2.0
"""A server in this process, for what a test or benchmark says to a front server."""

import contextlib
import socket
import threading


class Backend:
    """Answers each connection on a thread of its own; `talk(connection, file)` is what it says.
    `listening` is its socket, if not one on a free port of the loopback device."""

    def __init__(self, talk, listening=None):
        self._talk = talk
        self._socket = listening or socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                conn, _ = self._socket.accept()
            except OSError:
                return
            conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._answer, args=(conn,), daemon=True).start()

    def _answer(self, conn):
        with conn, conn.makefile("rb") as file, contextlib.suppress(OSError):
            self._talk(conn, file)

    def close(self):
        """No more connections."""
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
