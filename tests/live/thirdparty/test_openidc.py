# SPDX-License-Identifier: Apache-2.0
"""mod_auth_openidc, whose libcurl asks a slow provider by name: all clients log in at the same
time."""

import time
from urllib.parse import parse_qs, urlsplit

import pytest

from harness import tool
from tests.live.waits.gates import FileGate
from tests.live.waits.inflight import InFlight, quick

from .pair import CLIENTS, Pair, needs
from .provider import CLIENT, SECRET, Provider

pytestmark = needs("auth_openidc")

DIRECTIVES = """
    OIDCProviderMetadataURL {issuer}/description
    OIDCClientID {client}
    OIDCClientSecret "{secret}"
    OIDCProviderTokenEndpointAuth client_secret_post
    OIDCRedirectURI http://localhost/callback
    OIDCCryptoPassphrase "a test's"
    OIDCSessionType client-cookie
    <LocationMatch "^/(protected|callback)">
        AuthType openid-connect
        Require valid-user
        Header set X-User expr=%{{REMOTE_USER}}
    </LocationMatch>
    """


@pytest.fixture(name="provider", scope="module")
def _provider(tmp_path_factory, backend):
    return backend(Provider, tmp_path_factory.mktemp("provider"))


@pytest.fixture(name="pair", scope="module")
def _pair(serve_module, provider):
    def prepare(server):
        for n in range(CLIENTS):
            server.page(f"protected/{n}.html", f"page {n}\n")
    return Pair(serve_module, (), prepare, modules=(
        "authn_core", "authz_user", "headers", "auth_openidc"), directives=DIRECTIVES.format(
            issuer=provider.issuer, client=CLIENT, secret=SECRET))


class Browser:
    """One user's browser: keeps cookies."""

    def __init__(self, user):
        self.user, self.cookies = str(user), {}

    def headers(self):
        """The headers that it sends with a request."""
        pairs = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        return ["Accept: text/html", "User-Agent: test", *([f"Cookie: {pairs}"] if pairs else [])]

    def take(self, response):
        """Keeps the cookie that the response sets."""
        name, value = response.headers["set-cookie"].split(";")[0].split("=", 1)
        if name.endswith("_session"):
            self.cookies.clear()
        self.cookies[name] = value


def together(server, browsers, paths, gate=None):
    """Each browser sends a request; all are held at the gate at once while others are served."""
    with InFlight(server, []) as flight:
        for browser, path in zip(browsers, paths):
            flight.conns.append(server.connect())
            flight.conns[-1].ask(path, headers=browser.headers())
        if gate:
            gate.wait_held(len(browsers))
            quick(server)
            assert flight.answered() == 0
            gate.open()
        return flight.finish()


def test_all_log_in_at_once(pair, provider):
    def scene(server):
        browsers = [Browser(n) for n in range(CLIENTS)]
        pages = [f"/protected/{n}.html" for n in range(CLIENTS)]
        provider.gate.close()  # nobody knows the provider yet: each request asks for its metadata
        back = []
        for browser, got in zip(browsers, together(server, browsers, pages, provider.gate)):
            assert got.status == 302 and got.headers["location"].startswith(provider.issuer)
            query = parse_qs(urlsplit(got.headers["location"]).query)
            browser.take(got)
            provider.nonces[browser.user] = query["nonce"][0]
            back.append(f"/callback?code={browser.user}&state={query['state'][0]}")
        provider.gate.close()  # now each asks for its token, then for the keys and its user
        for browser, got in zip(browsers, together(server, browsers, back, provider.gate)):
            assert got.status == 302, got
            assert urlsplit(got.headers["location"]).path == f"/protected/{browser.user}.html"
            browser.take(got)
        seen = together(server, browsers, pages)
        return [(got.status, got.headers.get("x-user"), got.text) for got in seen]
    assert pair.compare(scene) == [(200, f"{n}@{provider.issuer}", f"page {n}\n")
                                   for n in range(CLIENTS)]


def test_a_provider_whose_name_is_not_found(serve):
    """libcurl looks up the name in a thread of its own, gives up after a second, and joins it."""
    def prepare(server):
        server.gate = FileGate(server.private_folder("gate"))
        server.preload(tool("slow_names.so"), {"SLOW_NAMES_ARRIVALS": str(server.gate.arrivals),
                                               "SLOW_NAMES_LOCK": str(server.gate.lock)})
    pair = Pair(serve, (), prepare, modules=(
        "authn_core", "authz_user", "headers", "auth_openidc"), directives=DIRECTIVES.format(
            issuer="http://provider.slow:9", client=CLIENT, secret=SECRET) + """
        OIDCHTTPTimeoutShort 1
        """)

    def scene(server):
        server.gate.close()
        with InFlight(server, [f"/protected/{n}" for n in range(CLIENTS)],
                      headers=["Accept: text/html"]) as flight:
            server.gate.wait_held(CLIENTS)
            end = time.monotonic() + 2.5  # some time after libcurl's
            while time.monotonic() < end:
                quick(server, 1)
            assert flight.answered() == 0
            server.gate.open()
            return [got.status for got in flight.finish()]
    try:
        assert pair.compare(scene) == [500] * CLIENTS
    finally:
        for server in pair.servers:
            server.gate.open()
            server.gate.end()
