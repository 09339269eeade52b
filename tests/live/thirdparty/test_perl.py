# SPDX-License-Identifier: Apache-2.0
"""mod_perl with XML::LibXML, XML::Parser and DBI: an interpreter belongs to one request at a
time."""

import pytest

from tests.live.waits.backends import Http
from tests.live.waits.inflight import InFlight, quick

from .pair import CLIENTS, Pair, needs, needs_that

pytestmark = [needs("perl"), needs_that(["perl", "-MXML::LibXML", "-MXML::Parser", "-MDBD::SQLite",
                                         "-e1"], "XML::LibXML, XML::Parser or DBD::SQLite")]

INTERPRETERS = 20  # interpreters; the other requests wait for one
DIRECTIVES = f"""
    PerlSwitches -I@ROOT@/app
    PerlInterpStart 3
    PerlInterpMax {INTERPRETERS}
    PerlInterpMaxSpare {INTERPRETERS}
    <Location /perl>
        SetHandler perl-script
        PerlResponseHandler Waits
    </Location>
    <Location /programs>
        SetHandler perl-script
        PerlResponseHandler Programs
    </Location>
    """


@pytest.fixture(name="pair", scope="module")
def _pair(serve_module):
    return Pair(serve_module, ["Waits.pm", "Programs.pm"], modules=("perl",), directives=DIRECTIVES)


def expected(number):
    """What the handler returns if everything that it used was its own."""
    return (f"me {number}\nmine {number}\ntold {number}\ntitle {number}\n"
            f"elements a{number} b{number} c{number}\nlibxml b{number} c{number}\n"
            f"thrown by {number}\nrows {number}\nan error\nleft 0\n"
            f"À LA CARTE 1.5 {number} Thursday-1\n")


@pytest.mark.parametrize("when", ["after", "before"])
def test_interpreters_are_kept_apart(pair, backend, when):
    """XML::LibXML is first used after the wait; then also before it, in interpreters that other
    threads have used."""
    http = backend(Http)
    got = pair.held(http.gate, f"/perl?{{}},{http.port},{when}", held=INTERPRETERS)
    assert got == [expected(n) for n in range(CLIENTS)]


def test_programs(pair):
    """system(), backquotes and pipes, in all interpreters at the same time."""
    def scene(server):
        with InFlight(server, [f"/programs?{n}" for n in range(CLIENTS)]) as flight:
            quick(server)
            return [got.text for got in flight.finish()]
    assert pair.compare(scene) == [f"3\nquoted {n}\npiped {n}\n4 none\n" for n in range(CLIENTS)]
