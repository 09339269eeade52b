# SPDX-License-Identifier: Apache-2.0
"""STIOL's switch, its dump, and its refusal to start."""

import pytest

from harness import StartError, tool
from harness.stm import dump

from .backends import Http
from .inflight import InFlight, quick

pytestmark = pytest.mark.stm_only


def proxying(serve, backend, more=""):
    """One VP in front of a backend that holds requests at its gate."""
    http = backend(Http)
    server = serve(processes=1, modules=("proxy", "proxy_http"), directives=f"""
        {more}
        ProxyPass /http/ http://127.0.0.1:{http.port}/
        """)
    return server, http.gate


def test_off_a_wait_holds_up_the_vp(serve, backend):
    server, gate = proxying(serve, backend, "StateThreadedIO Off")
    quick(server)
    with InFlight(server, ["/http/x"]) as held:
        gate.wait_held(1)
        with InFlight(server, ["/"]) as behind:
            behind.conns[0].sock.settimeout(0.3)
            with pytest.raises(TimeoutError):
                behind.conns[0].sock.recv(1)
            gate.open()
            assert held.finish()[0].status == 200
            behind.conns[0].sock.settimeout(30)
            assert behind.finish()[0].status == 200


def test_the_dump_lists_objects_and_calls(serve):
    server = serve.make(modules=("proxy", "proxy_http", "cgid"), tls=True)
    lines = dump(server)["rebinds"]
    objects = {line.split()[2].rsplit("/", 1)[-1].split(".so")[0] for line in lines}
    assert {"libapr-1", "mod_cgid", "libssl", "libcrypto"} <= objects
    assert not objects & {"libc", "ld-linux-x86-64", "mod_mpm_stm"}
    assert any(line.startswith("poll in ") and "libapr-1.so" in line for line in lines)
    assert all(line.endswith(")") for line in lines)  # without a problem


def test_the_start_refuses_an_object_that_cannot_be_rebound(serve):
    server = serve.make(directives=f"LoadFile {tool('unbindable.so')}")
    assert any("unbindable.so" in line and "poll" in line and "read-only code" in line
               for line in dump(server)["rebinds"])
    with pytest.raises(StartError):
        server.start()
    line, = set(server.wait_log(r"cannot be started: .*"))
    assert "unbindable.so" in line and "poll" in line
    server.wait_gone(check=False)  # alerts are expected, and httpd leaves its pid file behind
