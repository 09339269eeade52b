# SPDX-License-Identifier: Apache-2.0
"""Modules that make calls in unusual ways: descriptors that are closed unnoticed, bodies that are
read late, signal handlers. As under event."""

import time

import pytest
from harness.client import request
from harness.places import tool

CALLS = "<Location /calls>\nSetHandler calls\n</Location>\n"


@pytest.fixture(params=["event", "stm"])
def calls(request, serve):
    """A factory of servers with the module at /calls, one process of each."""
    def make(directives=""):
        return serve(modules=[tool("mod_calls.so")], directives=CALLS + directives, processes=1,
                     mpm=request.param)
    return make


@pytest.mark.parametrize("how", ["thread", "fclose", "range"])
def test_a_number_that_comes_again_is_a_new_client(calls, how):
    """The next client gets the descriptor's number, and its answers: at once, after a wait for the
    first byte, and after one for the next request."""
    server = calls("AcceptFilter http none\n")
    for _ in range(3):
        with server.connect() as first, server.connect() as other:
            assert first.get(f"/calls?close-{how}").status == 200
            with server.connect() as second:
                assert other.get("/").status == 200  # so that the second waits for its first byte
                for _ in range(3):
                    assert second.get("/").status == 200
                    assert other.get("/").status == 200


def test_a_late_reader_has_all_of_its_timeout(calls):
    """The handler computes for longer than Timeout, then asks for the body, which takes a while."""
    server = calls("Timeout 2\n")
    with server.connect() as conn:
        conn.send(request("/calls?late-body=2500", "POST",
                          ["Content-Length: 5", "Expect: 100-continue"]))
        assert conn.response().status == 100
        time.sleep(0.5)
        conn.send(b"hello")
        response = conn.response()
    assert (response.status, response.text) == (200, "5\n")


def test_a_body_that_never_comes_times_out_all_the_same(calls):
    server = calls("Timeout 1\n")
    with server.connect() as conn:
        conn.send(request("/calls?late-body=10", "POST", ["Content-Length: 5"]))
        assert conn.response().status == 408


def test_a_handler_of_signals_that_the_master_has_set(calls):
    """It writes to a pipe; the requests continue."""
    server = calls()
    with server.connect() as conn, server.connect() as other:
        for _ in range(5):
            assert conn.get("/calls?signals=200").text == "s" * 200
            assert other.get("/").status == 200
