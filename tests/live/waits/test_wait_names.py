# SPDX-License-Identifier: Apache-2.0
"""Name look-ups, which wait inside libc and so run on helpers; and health checks."""

import pytest

from harness import procs, tool, wait_for
from harness.net import free_ports

from .backends import Http
from .inflight import InFlight, prove, quick


@pytest.fixture
def slow_names(serve, file_gate):
    """slow_names(...) makes a server whose look-ups wait. Returns the server and the gate."""
    def make(**options):
        server = serve.make(processes=1, threads=100, **options)
        gate = file_gate(server.private_folder("gate"))
        gate.open()
        server.preload(tool("slow_names.so"), {"SLOW_NAMES_ARRIVALS": str(gate.arrivals),
                                               "SLOW_NAMES_LOCK": str(gate.lock)})
        server.start()
        gate.close()
        return server, gate
    return make


def test_proxied_name_that_resolves_slowly(slow_names, backend):
    """40 names, each looked up by a helper."""
    http = backend(Http)
    server, gate = slow_names(modules=("proxy", "proxy_http", "rewrite"), directives=f"""
        ProxyRequests Off
        RewriteEngine On
        RewriteRule ^/to/(.*)$ http://host$1.slow:{http.port}/free/$1 [P]
        """)
    paths = [f"/to/{n}" for n in range(40)]
    got = prove(server, gate, paths, held=1)
    assert [response.text for response in got] == [f"held /free/{n}\n" for n in range(40)]
    assert gate.arrived >= 40


def test_clients_name_that_resolves_slowly(slow_names):
    """Access control by host name: the client's address is looked up, and then the resulting
    name."""
    server, gate = slow_names(ports=2, modules=("authz_host",), directives="""
        <VirtualHost *:@PORT2@>
            HostnameLookups On
            CustomLog logs/names.log "%h"
            <Directory @ROOT@/htdocs>
                Require host client.slow
            </Directory>
        </VirtualHost>
        """)
    prove(server, gate, ["/index.html"] * 40, held=1, port=server.ports[1])
    assert 2 <= gate.arrived < 80  # a look-up that is already in progress is shared by all who ask
    log = server.root / "logs/names.log"
    wait_for(lambda: log.read_text().split() == ["client.slow"] * 40, "40 names in the log")


def test_as_many_helpers_as_look_ups(slow_names, backend):
    """Look-ups do not wait for each other; then the helpers leave."""
    http = backend(Http)
    server, gate = slow_names(modules=("http2", "proxy", "proxy_http", "rewrite"), directives=f"""
        RewriteEngine On
        RewriteRule ^/to/(.*)$ http://host$1.slow:{http.port}/free/$1 [P]
        """)
    with InFlight(server, [f"/to/{n}" for n in range(40)]) as flight:
        gate.wait_held(40)
        quick(server)
        assert all(procs.stat(pid).threads >= 1 + 40 for pid in server.children())
        gate.open()
        flight.finish()
    wait_for(lambda: all(procs.stat(pid).threads == 1 for pid in server.children()),
             "helpers leave")


def test_health_checks(serve, backend):
    """Health checks of 20 members wait for responses; requests and the watchdog continue."""
    http = backend(Http)
    dead, = free_ports(1)
    members = "\n".join(f"BalancerMember http://127.0.0.1:{http.port}/{n}/ hcmethod=GET hcuri=check"
                        " hcinterval=1 hcpasses=1 hcfails=1" for n in range(20))
    server = serve(processes=1, threads=100, directives=f"""
        <Proxy balancer://some>
            {members}
            BalancerMember http://127.0.0.1:{dead} hcmethod=GET hcuri=/ hcinterval=1 hcfails=1
        </Proxy>
        ProxyHCTPsize 32
        ProxyPass /some/ balancer://some/
        """, modules=("slotmem_shm", "proxy", "proxy_http", "proxy_balancer",
                      "lbmethod_byrequests", "proxy_hcheck"))
    http.gate.wait_held(20)
    quick(server)
    server.wait_log(f"Health check DISABLING http://127.0.0.1:{dead}")
    assert http.gate.held == 20
    http.gate.open()
    for n in range(40):
        got = server.get(f"/some/free{n}")
        assert got.status == 200 and got.text.startswith("held /"), got
    wait_for(lambda: http.gate.passed >= 40, "a second round of checks")
