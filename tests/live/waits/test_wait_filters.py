# SPDX-License-Identifier: Apache-2.0
"""Waits inside httpd's own filters: slow parts of included pages, and rate limits."""

from .backends import Http
from .inflight import InFlight, prove, quick


def test_include_of_slow_parts(serve, backend):
    """Each page includes three parts from a backend that holds them."""
    http = backend(Http)
    server = serve.make(processes=1, threads=200, modules=("include", "proxy", "proxy_http"),
                        directives=f"""
        ProxyPass /held/ http://127.0.0.1:{http.port}/
        AddOutputFilter INCLUDES .html
        <Directory @ROOT@/htdocs>
            Options +Includes
        </Directory>
        """)
    for n in range(50):
        parts = "".join(f'<!--#include virtual="/held/{n}.{part}" -->' for part in range(3))
        server.page(f"page{n}.html", f"begin\n{parts}end\n")
    server.start()
    got = prove(server, http.gate, [f"/page{n}.html" for n in range(50)])
    for n, response in enumerate(got):
        parts = "".join(f"held /{n}.{part}\n" for part in range(3))
        assert response.text == f"begin\n{parts}end\n"


def test_rate_limit(serve):
    """40 responses of 24 KB at 8 KB/s: none is complete while the quick requests are served."""
    server = serve.make(processes=1, modules=("ratelimit", "env"), directives="""
        <Location /limited.bin>
            SetOutputFilter RATE_LIMIT
            SetEnv rate-limit 8
        </Location>
        """)
    body = bytes(range(256)) * 96
    server.page("limited.bin", body)
    server.start()
    with InFlight(server, ["/limited.bin"] * 40) as flight:
        quick(server)
        assert len(server.access_log()) < 40
        assert all(response.body == body for response in flight.finish())
