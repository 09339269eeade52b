# SPDX-License-Identifier: Apache-2.0
"""What a server must do wherever it runs: check its configuration, serve files, programs and a
backend, restart gracefully, stop. Few requests: `make test-arm64` runs this with an emulated
processor."""

import pytest
from harness import wait_for

BODY = bytes(range(256)) * 1000
# Connections of the server to itself that it kept would keep an old generation as well.
DIRECTIVES = """
    ProxyPass /proxied http://127.0.0.1:@PORT@/files disablereuse=On
    ScriptAlias /cgi/ @ROOT@/cgi/
    """
SIZES = (0, 1, 8192, 256000)


@pytest.fixture(name="server")
def _server(serve):
    """A server that is configured, not started."""
    server = serve.make(modules=("cgi", "proxy", "proxy_http"), directives=DIRECTIVES)
    for size in SIZES:
        server.page(f"files/{size}", BODY[:size])
    server.page("../cgi/script", "#!/bin/sh\necho Content-Type: text/plain\necho\necho ok\n"
                ).chmod(0o755)
    server.configure()
    return server


def serves(server):
    """Files and a backend on connections that stay, and programs."""
    for folder in ("/files", "/proxied"):
        with server.connect() as conn:
            for size in SIZES:
                assert conn.get(f"{folder}/{size}").body == BODY[:size]
            assert conn.get(f"{folder}/none").status == 404
    assert server.get("/cgi/script").text == "ok\n"


def all_at_once(server, path, count):
    """As many requests in progress as connections."""
    conns = [server.connect() for _ in range(count)]
    for conn in conns:
        conn.ask(path)
    for conn in conns:
        assert conn.response().body == BODY[:256000]
        conn.close()


def test_configuration(server):
    run = server.control("-t")
    assert run.returncode == 0, run.stderr
    assert "Syntax OK" in run.stderr


def test_it_serves_restarts_and_stops(server):
    server.start()
    serves(server)
    all_at_once(server, "/proxied/256000", 16)
    before = server.children()
    with server.connect() as idle:
        assert idle.get("/files/1").status == 200
        server.restart()
        assert idle.get("/files/1").status == 200
    serves(server)
    wait_for(lambda: not set(before) & set(server.children()), "the end of the old generation")
    run = server.control("-k", "stop")
    assert run.returncode == 0, run.stderr
    server.wait_gone()
