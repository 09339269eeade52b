# SPDX-License-Identifier: Apache-2.0
"""Kernels with pages of 16 or 64 KB: the whole server sees such pages (tools/bigpages.c)."""

import pytest
from harness import tool

BODY = bytes(range(256)) * 4000
PAGES = (16384, 65536)


DIRECTIVES = """
    ProxyPass /proxied http://127.0.0.1:@PORT@/big.bin
    ScriptAlias /cgi/ @ROOT@/cgi/
    """


@pytest.fixture(name="page", params=PAGES)
def _page(request):
    return request.param


def large(serve, page, directives="", **options):
    """A server for which pages are large; not started."""
    server = serve.make(processes=1, threads=24, modules=("cgi", "proxy", "proxy_http"),
                        directives=DIRECTIVES + directives, **options)
    server.preload(tool("vgpreload_bigpages.so"), {"STM_TEST_PAGE": str(page)})
    server.page("big.bin", BODY)
    script = server.page("../cgi/script",
                         "#!/bin/sh\necho Content-Type: text/plain\necho\necho ok\n")
    script.chmod(0o755)
    return server


def all_at_once(server, path, count):
    """As many requests in progress as connections: each has a stack of its own."""
    conns = [server.connect() for _ in range(count)]
    for conn in conns:
        conn.ask(path)
    return [conn.response() for conn in conns]


def serves(server):
    """Files, programs, a backend, many at once, and all of it again after a restart."""
    for again in (True, False):
        assert server.get("/big.bin").body == BODY
        for reply in all_at_once(server, "/cgi/script", 12):
            assert reply.body == b"ok\n"
        for reply in all_at_once(server, "/proxied", 8):
            assert reply.body == BODY
        if again:
            server.restart()


def test_many_state_threads(serve, page):
    serves(large(serve, page).start())


@pytest.mark.stm_only
def test_with_pools_of_apr(serve, page):
    """Their blocks are larger than those that STIOL keeps for it."""
    serves(large(serve, page, "SmallPools Off\n").start())


@pytest.mark.stm_only
def test_a_stack_is_at_least_a_page(serve, page):
    """The error names the directive, and the page's size as the least value."""
    server = large(serve, page, f"StackSize {page - 1}\n", sized=False)
    server.configure()
    run = server.control("-t")
    assert run.returncode != 0
    assert f"StackSize: {page - 1} is out of range: must be between {page} and" in run.stderr
