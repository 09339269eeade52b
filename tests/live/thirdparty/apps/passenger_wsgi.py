# SPDX-License-Identifier: Apache-2.0
"""An application of mod_passenger for test_passenger.py: waits for the backend, then returns what
the request said. "GET /app?NUMBER,PORT"; port 0: no wait.
"""

import socket


def hold(number, port):
    """Waits for the backend's response, which contains the number."""
    with socket.create_connection(("127.0.0.1", port)) as backend:
        backend.sendall(f"GET /{number} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        answer = b""
        while not answer.endswith(b"\n") or b"\r\n\r\n" not in answer:
            answer += backend.recv(1000)
    return answer.rsplit(b"/", 1)[1].decode().strip()


def application(environ, start_response):
    """Echoes the number and the request's body."""
    number, port = environ["QUERY_STRING"].split(",")
    told = hold(number, int(port)) if int(port) else number
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0)).decode()
    text = f"{number} {told} {body}\n".encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(text)))])
    return [text]
