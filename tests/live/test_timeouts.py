# SPDX-License-Identifier: Apache-2.0
"""Timeout, KeepAliveTimeout and RequestReadTimeout end a connection, and not too early.

There are no upper bounds, as a machine may be slow: tests only wait for the connection to end. The
time is measured from before the client's last bytes, because the server's clock also runs while the
client is kept from running.
"""

import time

import pytest
from harness import wait_for
from harness.client import Closed, request


def until_closed(conn, since):
    """Seconds from `since` until the server closes, and what it sent before that."""
    try:
        said = conn.rest()
    except Closed:
        said = b""
    return time.monotonic() - since, said


@pytest.fixture(scope="module")
def one_second(serve_module):
    return serve_module(modules=("reflector",), directives="""
        Timeout 1
        KeepAliveTimeout 1
        <Location /echo>
            SetHandler reflector
        </Location>
        """)


def test_keep_alive_timeout(one_second):
    with one_second.connect() as conn:
        since = time.monotonic()
        assert conn.get("/").status == 200
        waited, said = until_closed(conn, since)
    assert said == b""
    assert waited >= 0.9


def test_keep_alive_timeout_in_milliseconds(serve):
    server = serve(directives="KeepAliveTimeout 300ms")
    with server.connect() as conn:
        since = time.monotonic()
        assert conn.get("/").status == 200
        waited, said = until_closed(conn, since)
    assert (said, waited >= 0.25) == (b"", True)


def test_keep_alive_timeout_starts_anew_with_each_request(one_second):
    """Three requests 0.6 s apart: the connection outlives its timeout."""
    def outlives():
        since = time.monotonic()
        with one_second.connect() as conn:
            for _ in range(4):
                asked = time.monotonic()
                try:
                    assert conn.get("/").status == 200
                except (Closed, OSError):
                    assert asked - since >= 0.9
                    return False  # we were kept from asking in time: try again
                since = asked
                time.sleep(0.6)
        return True
    wait_for(outlives, "four requests in time")


def test_keep_alive_timeouts_of_many_connections(one_second):
    conns = [one_second.connect() for _ in range(200)]
    for conn in conns:
        conn.ask("/")
    for conn in conns:
        assert conn.response().status == 200
    for conn in conns:
        assert conn.ended()
        conn.close()


def test_timeout_in_a_request_header(one_second):
    with one_second.connect() as conn:
        since = time.monotonic()
        conn.send(request("/")[:25])
        waited, said = until_closed(conn, since)
    assert waited >= 0.9
    assert said == b"" or b" 408 " in said.split(b"\r\n")[0]


def test_timeout_in_a_second_request(one_second):
    with one_second.connect() as conn:
        since = time.monotonic()
        assert conn.get("/").status == 200
        conn.send(request("/")[:25])
        waited, _ = until_closed(conn, since)
    assert waited >= 0.9


def test_timeout_in_a_body(one_second):
    with one_second.connect() as conn:
        since = time.monotonic()
        conn.ask("/echo", method="POST", headers=["Content-Length: 1000"])
        conn.send(b"x" * 100)
        waited, _ = until_closed(conn, since)
    assert waited >= 0.9


def test_timeout_of_a_reader_that_stops(serve):
    """The server gives up a download when the client stops reading."""
    server = serve(directives="Timeout 1")
    server.page("big.bin", b"0" * 50_000_000)
    with server.connect(rcvbuf=16384) as conn:
        conn.ask("/big.bin")
        assert conn.head().status == 200
        wait_for(lambda: any("/big.bin" in line for line in server.access_log()),
                 "the end of the download")
        with pytest.raises(Closed):
            conn.exactly(50_000_000)


def test_timeout_before_the_first_byte(serve):
    server = serve(directives="Timeout 1\nAcceptFilter http none")
    since = time.monotonic()
    with server.connect() as conn:
        waited, said = until_closed(conn, since)
    assert waited >= 0.9
    assert said == b"" or b" 408 " in said.split(b"\r\n")[0]


@pytest.fixture(scope="module")
def impatient(serve_module):
    """With mod_reqtimeout, and a Timeout that does not help."""
    return serve_module(modules=("reqtimeout", "reflector"), directives="""
        Timeout 60
        RequestReadTimeout header=1 body=1
        <Location /echo>
            SetHandler reflector
        </Location>
        """)


def drip(conn, data, since):
    """Sends byte after byte until the server closes; seconds from `since` until then."""
    try:
        for byte in data:
            conn.send(bytes([byte]))
            time.sleep(0.05)
            if time.monotonic() - since > 20:
                return None
    except OSError:
        pass
    return time.monotonic() - since


def test_request_read_timeout_in_the_header(impatient):
    start = time.monotonic()
    with impatient.connect() as conn:
        conn.sock.settimeout(0.05)
        conn.send(b"GET / HTTP/1.1\r\nX: ")
        said = b""
        while b"\r\n\r\n" not in said and time.monotonic() - start < 20:
            try:
                conn.send(b"x")
                data = conn.sock.recv(4096)
            except TimeoutError:
                continue
            except OSError:
                break
            if not data:
                break
            said += data
        waited = time.monotonic() - start
    assert 0.9 <= waited < 20
    assert said == b"" or b" 408 " in said.split(b"\r\n")[0]


def test_request_read_timeout_in_the_body(impatient):
    with impatient.connect() as conn:
        since = time.monotonic()
        conn.ask("/echo", method="POST", headers=["Content-Length: 100000"])
        waited = drip(conn, b"x" * 1000, since)
    assert waited is not None and waited >= 0.9


def test_request_read_timeout_spares_the_patient(impatient):
    """The time between two requests is KeepAliveTimeout's, not RequestReadTimeout's."""
    with impatient.connect() as conn:
        for _ in range(2):
            assert conn.get("/").status == 200
            time.sleep(1.3)
        assert conn.get("/echo", method="POST", body=b"quick").body == b"quick"


def test_clients_that_drip_hold_nobody_up(impatient):
    """Many half-open requests end by timeout while others are served."""
    slow = [impatient.connect() for _ in range(60)]
    for conn in slow:
        conn.send(b"GET / HT")
    for _ in range(20):
        assert impatient.get("/").status == 200
    for conn in slow:
        until_closed(conn, 0)
        conn.close()
    assert impatient.get("/").status == 200
