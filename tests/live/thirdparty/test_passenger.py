# SPDX-License-Identifier: Apache-2.0
"""mod_passenger, whose C++ library keeps a spin lock and the state of its log in thread-local
variables."""

import pytest

from tests.live.waits.backends import Http
from tests.live.waits.inflight import InFlight, quick

from .pair import CLIENTS, Pair, needs

pytestmark = needs("passenger")

PROCESSES = 2  # processes of the application: the other requests wait in Passenger's own queue
ROUNDS = 15

DIRECTIVES = f"""
    PassengerRoot /usr/lib/ruby/vendor_ruby/phusion_passenger/locations.ini
    PassengerInstanceRegistryDir @ROOT@/passenger
    PassengerDataBufferDir @ROOT@/passenger
    PassengerLogFile @ROOT@/passenger/log
    PassengerPython /usr/bin/python3
    PassengerDefaultUser www-data
    PassengerFriendlyErrorPages off
    PassengerDisableSecurityUpdateCheck on
    PassengerDisableAnonymousTelemetry on
    PassengerMinInstances {PROCESSES}
    PassengerMaxPoolSize {PROCESSES}
    PassengerEnabled off
    Alias /app @ROOT@/app/public
    <Location /app>
        PassengerEnabled on
        PassengerBaseURI /app
        PassengerAppRoot @ROOT@/app
        PassengerAppType wsgi
    </Location>
    """


def prepare(server):
    """Creates folders that Passenger does not create itself."""
    (server.root / "passenger").mkdir()
    (server.root / "app/public").mkdir()


@pytest.fixture(name="pair", scope="module")
def _pair(serve_module):
    return Pair(serve_module, ["passenger_wsgi.py"], prepare, modules=("passenger",),
                directives=DIRECTIVES)


def test_slow_applications(pair, backend):
    """As many requests wait in the application as it has processes; the others wait in Passenger's
    queue."""
    http = backend(Http)
    got = pair.held(http.gate, f"/app?{{}},{http.port}", held=PROCESSES)
    assert got == [f"{n} {n} \n" for n in range(CLIENTS)]


def test_many_requests(pair):
    """Hundreds of requests with bodies, on persistent connections."""
    body = b"0123456789" * 1000

    def scene(server):
        texts = []
        with InFlight(server, [f"/app?{n},0" for n in range(CLIENTS)]) as flight:
            texts += [got.text for got in flight.finish()]
            for round_ in range(1, ROUNDS):
                for n, conn in enumerate(flight.conns):
                    conn.ask(f"/app?{round_}.{n},0", method="POST", body=body)
                quick(server, 1)
                texts += [got.text for got in flight.finish()]
        return texts
    assert pair.compare(scene) == [f"{n} {n} \n" for n in range(CLIENTS)] + [
        f"{round_}.{n} {round_}.{n} {body.decode()}\n"
        for round_ in range(1, ROUNDS) for n in range(CLIENTS)]
