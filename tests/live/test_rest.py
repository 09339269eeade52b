# SPDX-License-Identifier: Apache-2.0
"""Idle connections with TLS or HTTP/2 rest: what they hold is packed, and nobody can tell.

mod_ssl, OpenSSL, mod_http2 and nghttp2 find everything where it was, whatever comes first: a
request, several at once, half of one, a PING, another handshake, the end.
"""

import os
import signal
import socket
import ssl
import subprocess
from types import SimpleNamespace

import pytest

from harness import MPM, wait_for
from harness.client import request
from harness.net import tls_context
from harness.scoreboard import total

from .waits.h2client import H2

pytestmark = pytest.mark.skipif(MPM != "stm", reason="STM's own connection records")

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
MODULES = ("http2", "reflector", "socache_shmcb")
DIRECTIVES = """
ScoreboardDir scoreboards
KeepAliveTimeout 120
Protocols h2 h2c http/1.1
<Location /echo>
    SetHandler reflector
</Location>
<Location /private>
    SSLVerifyClient optional_no_ca
</Location>
"""
BODY = bytes(range(256)) * 400


def at_rest(server, count):
    """Waits until that many connections rest."""
    wait_for(lambda: total(server, "conns_resting") == count, f"{count} resting connections")


def secure(server, version):
    """A connection over TLS that can prove who it is later on, after one request."""
    context = tls_context(version)
    context.post_handshake_auth = True
    conn = server.connect_tls(context=context)
    assert conn.get("/page.txt").keeps
    return conn


def asked(h2, count=1):
    """The HTTP/2 connection, after so many requests at once."""
    for _ in range(count):
        h2.get("/page.txt")
    assert {(stream.status, stream.body) for stream in h2.finish()} == {(200, b"x" * 100)}
    return h2


def made(serve, **options):
    """A server with a page."""
    server = serve.make(**{"tls": True, "modules": MODULES, "directives": DIRECTIVES, **options})
    server.page("page.txt", "x" * 100)
    return server.start()


@pytest.fixture(scope="module", name="scene")
def _scene(serve_module):
    """Connections of all kinds, at rest. Each test leaves its own open, so that others that lie
    between them go on resting."""
    server = made(serve_module)
    tls = {(version, name): secure(server, version) for version in VERSIONS for name in
           ("again", "pipe", "half", "post", "private", "fin", "reset")}
    h2s = {(kind, name): asked(H2(server.port) if kind == "h2c" else
                               H2(server.tls_port, tls=tls_context()))
           for kind in ("h2c", "h2") for name in ("again", "many", "ping", "gone")}
    at_rest(server, len(tls) + len(h2s))
    yield SimpleNamespace(server=server, tls=tls, h2s=h2s)
    for conn in [*tls.values(), *(h2.sock for h2 in h2s.values())]:
        conn.close()


each_version = pytest.mark.parametrize("version", VERSIONS)
each_kind = pytest.mark.parametrize("kind", ["h2c", "h2"])


@each_version
def test_requests_and_rests_in_turn(scene, version):
    conn = scene.tls[version, "again"]
    for _ in range(2):
        rests = total(scene.server, "rests")
        assert [conn.get("/page.txt").body for _ in range(3)] == [b"x" * 100] * 3
        wait_for(lambda seen=rests: total(scene.server, "rests") > seen, "the next rest")


@each_version
def test_pipelined_requests(scene, version):
    conn = scene.tls[version, "pipe"]
    conn.send(request("/page.txt") * 5)
    assert [conn.response().body for _ in range(5)] == [b"x" * 100] * 5


@each_version
def test_request_in_two_pieces(scene, version):
    conn = scene.tls[version, "half"]
    conn.send(request("/page.txt")[:9])
    at_once = scene.tls[version, "post"]
    assert at_once.get("/echo", method="POST", body=BODY).body == BODY
    conn.send(request("/page.txt")[9:])
    assert conn.response().body == b"x" * 100


@each_version
def test_another_handshake(scene, version):
    """TLS 1.2 renegotiates, TLS 1.3 asks for the certificate in mid-connection."""
    assert scene.tls[version, "private"].get("/private").status == 404
    assert scene.tls[version, "private"].get("/page.txt").body == b"x" * 100


@each_version
def test_clients_that_leave(scene, version):
    scene.tls[version, "fin"].close()
    scene.tls[version, "reset"].reset()
    assert scene.server.get("/page.txt").status == 200


@each_kind
def test_streams(scene, kind):
    asked(scene.h2s[kind, "again"])
    asked(scene.h2s[kind, "many"], 30)


@each_kind
def test_ping(scene, kind):
    """It is answered before and after a rest; so are settings, which make nghttp2 allocate."""
    h2 = scene.h2s[kind, "ping"]
    for size in (0, 65536):
        rests = total(scene.server, "rests")
        h2.ping()
        h2.link.update_settings({1: size})  # SETTINGS_HEADER_TABLE_SIZE
        asked(h2)
        wait_for(lambda seen=rests: total(scene.server, "rests") > seen, "the next rest")
    h2.ping()
    scene.h2s[kind, "gone"].sock.close()
    asked(h2)


def test_a_stream_that_was_reset_is_still_served(serve):
    """While its connection rests. To log it, its thread asks mod_ssl about the connection."""
    with socket.create_server(("127.0.0.1", 0)) as backend:
        server = made(serve, name="rest_reset", modules=(*MODULES, "proxy", "proxy_http"),
                      directives=f"""{DIRECTIVES}
            ProxyPass /slow http://127.0.0.1:{backend.getsockname()[1]}/
            CustomLog logs/tls.log "%U %{{SSL_PROTOCOL}}x"
            """)
        h2 = asked(H2(server.tls_port, tls=tls_context()))
        h2.get("/slow")
        behind, _ = backend.accept()
        with behind:
            assert behind.recv(1000).startswith(b"GET / ")
            h2.cancel_all()
            at_rest(server, 1)
            behind.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            log = server.root / "logs/tls.log"
            wait_for(lambda: "/slow" in log.read_text(), "the line of the stream")
    assert "/slow TLSv1.3\n" in log.read_text()
    h2.streams.clear()
    asked(h2)


def test_restart_and_stop(serve):
    """A leaving process ends HTTP/2 with a GOAWAY, and answers a last request over TLS; a stopping
    one ends all."""
    server = made(serve, name="rest_restart")
    tls = [secure(server, version) for version in VERSIONS * 3]
    h2s = [asked(H2(server.port)), asked(H2(server.tls_port, tls=tls_context()))]
    at_rest(server, len(tls) + len(h2s))
    server.restart()
    for h2 in h2s:
        h2.until(lambda link=h2: link.goaway, "the GOAWAY")
        h2.sock.close()
    for conn in tls[:2]:
        response = conn.get("/page.txt")
        assert (response.status, response.keeps) == (200, False)
    server.signal(signal.SIGTERM)
    assert all(conn.ended() for conn in tls[2:])
    server.wait_gone()


def test_key_update(serve):
    """A message of TLS 1.3 that arrives while the connection rests: the keys change."""
    server = made(serve, name="rest_keys")
    with subprocess.Popen(["openssl", "s_client", "-connect", f"127.0.0.1:{server.tls_port}",
                           "-tls1_3"], stdin=subprocess.PIPE, bufsize=0,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as client:
        shown = b""

        def answers(count):
            nonlocal shown
            while shown.count(b"x" * 100) < count:
                data = os.read(client.stdout.fileno(), 65536)
                assert data, shown
                shown += data
        client.stdin.write(request("/page.txt"))
        answers(1)
        for lap, command in enumerate((b"k\n", b"K\n")):  # K asks for the peer's, too
            at_rest(server, 1)
            client.stdin.write(command)
            while shown.count(b"KEYUPDATE") <= lap:
                shown += os.read(client.stdout.fileno(), 65536)
            client.stdin.write(request("/page.txt"))
            answers(2 + lap)
        client.kill()
