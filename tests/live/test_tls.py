# SPDX-License-Identifier: Apache-2.0
"""mod_ssl: handshakes of both protocol versions, large bodies, clients that stop half-way."""

import ssl
import subprocess

import pytest
from harness import Conn
from harness.client import Closed, request
from harness.net import certificate, tls_context

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
BIG = b"0123456789abcdef" * 1024 * 1024  # 16 MB


@pytest.fixture(scope="module")
def server(serve_module):
    made = serve_module.make(tls=True, modules=("socache_shmcb", "reflector"), directives="""
        SSLSessionCache shmcb:@ROOT@/run/ssl(512000)
        <Location /echo>
            SetHandler reflector
        </Location>
        """)
    made.page("big.bin", BIG)
    return made.start()


@pytest.mark.parametrize("version", VERSIONS)
def test_page(server, version):
    with server.connect_tls(version) as conn:
        assert conn.sock.version() == version.name.replace("_", ".")
        for _ in range(20):
            assert "It works!" in conn.get("/").text


@pytest.mark.parametrize("version", VERSIONS)
def test_large_download(server, version):
    with server.connect_tls(version) as conn:
        assert conn.get("/big.bin").body == BIG


@pytest.mark.parametrize("version", VERSIONS)
def test_large_upload(server, version):
    body = BIG[:300_000]
    with server.connect_tls(version) as conn:
        for _ in range(3):
            assert conn.get("/echo", method="POST", body=body).body == body


def test_openssl_s_client(server):
    """Another TLS stack's view; s_client sends close_notify and half-closes at once."""
    run = subprocess.run(["openssl", "s_client", "-quiet", "-verify_return_error", "-CAfile",
                          certificate().with_suffix(".crt"), "-servername", "localhost",
                          "-connect", f"127.0.0.1:{server.tls_port}"],
                         input=request(version="HTTP/1.0"), capture_output=True, timeout=30,
                         check=False)
    assert b"It works!" in run.stdout, run.stderr


@pytest.mark.parametrize("version", VERSIONS)
def test_many_handshakes(server, version):
    context = tls_context(version)
    for _ in range(150):
        with server.connect_tls(context=context) as conn:
            assert conn.get("/", version="HTTP/1.0").status == 200


def test_session_resumption(server):
    context = tls_context(ssl.TLSVersion.TLSv1_2)
    with server.connect_tls(context=context) as conn:
        assert conn.get("/").status == 200
        session = conn.sock.session
    with Conn(server.tls_port) as conn:
        conn.sock = context.wrap_socket(conn.sock, server_hostname="localhost", session=session)
        assert conn.sock.session_reused
        assert conn.get("/").status == 200


def test_idle_tls_connections(server):
    """They idle like other connections: more than there are threads, and all still work
    afterwards."""
    context = tls_context()
    conns = []
    for _ in range(200):
        conns.append(server.connect_tls(context=context))
        assert conns[-1].get("/").status == 200
    for conn in conns:
        assert conn.get("/").status == 200
        conn.close()


def test_handshakes_that_stop_half_way_hold_nobody_up(server):
    """Half a ClientHello from many clients; others shake hands meanwhile."""
    stopped = [Conn(server.tls_port) for _ in range(40)]
    for conn in stopped:
        conn.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"x" * 20)
    for _ in range(20):
        with server.connect_tls() as conn:
            assert conn.get("/").status == 200
    for conn in stopped:
        conn.close()


def test_hostile_handshakes_disturb_nobody(server):
    """Garbage instead of a handshake, again and again, next to a connection in use."""
    with server.connect_tls() as good:
        for number in range(100):
            with Conn(server.tls_port) as bad:
                bad.send(bytes([22, 3, 1, 0, 5]) + bytes([number % 256]) * 5)
                bad.half_close()
                try:
                    bad.rest()
                except Closed:
                    pass
            assert good.get("/").status == 200


def test_plain_http_on_the_tls_port(server):
    with Conn(server.tls_port) as conn:
        assert conn.get("/").status == 400
