# SPDX-License-Identifier: Apache-2.0
"""What 5,000 proxied requests in progress cost: memory, and kernel threads."""

from harness import MPM, procs, wait_for
from harness.places import MODULES
from harness.scoreboard import total

from .backends import Http
from .inflight import InFlight, prove, quick

COUNT = 5000
# Of PSS for each, bytes: pools 12 KB, two pages of stack 8, records and scoreboards 2; and once its
# stack rests (docs/internals/memory.md).
LIMIT, RESTING_LIMIT = 24 * 1024, 19 * 1024
# Compiled with -fstack-clash-protection, as Debian 13's packages are and Debian 12's are not, a
# function writes to each page of its frame: a page more, in mod_proxy_http's buffer of 8 KB. GCC
# then takes such frames by the page: sub $0x1000, %rsp.
PROBE = bytes.fromhex("4881ec00100000")
PAGE = 4096


def test_5000_proxied_requests_in_progress(serve, backend, record_property):
    http = backend(Http)
    server = serve(processes=1, threads=COUNT + 200, modules=("http2", "proxy", "proxy_http"),
                   directives=f"""
        ScoreboardDir scoreboards
        Protocols h2c http/1.1
        ProxyPass /http/ http://127.0.0.1:{http.port}/
        """)
    vp = server.children()[0]
    prove(server, http.gate, [f"/http/{n}" for n in range(50)])  # everything has been used once
    http.gate.close()
    before = procs.pss(vp)
    with InFlight(server, [f"/http/{n}" for n in range(COUNT)]) as flight:
        http.gate.wait_held(COUNT)
        quick(server)
        each = (procs.pss(vp) - before) / COUNT
        print(f"{each:.0f} bytes of PSS for each request")
        record_property("bytes", each)
        wait_for(lambda: sum(procs.stat(pid).threads for pid in server.children()) <= 4,
                 "no more than NumVPs * 2 + 2 kernel threads")
        assert flight.answered() == 0
        if MPM == "stm":
            wait_for(lambda: total(server, "waits_resting") == COUNT, "all to rest", 60)
            resting = (procs.pss(vp) - before) / COUNT
            print(f"{resting:.0f} bytes once they rest")
            record_property("bytes at rest", resting)
        http.gate.open()
        assert all(got.text == f"held /{n}\n" for n, got in enumerate(flight.finish()))
    probed = PROBE in (MODULES / "mod_proxy_http.so").read_bytes()
    assert each <= LIMIT + (PAGE if probed else 0)
    assert MPM != "stm" or resting <= RESTING_LIMIT
