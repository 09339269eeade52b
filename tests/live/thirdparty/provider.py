# SPDX-License-Identifier: Apache-2.0
"""As much of an OpenID provider as mod_auth_openidc needs: its metadata, keys and tokens, and what
it knows about a user. All of these wait at the gate.
"""

import base64
import json
import subprocess
import time
import urllib.parse

from tests.live.waits.backends import Backend

CLIENT, SECRET = "stm", "a test's"


def _base64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _openssl(*arguments, data=b""):
    return subprocess.run(["openssl", *arguments], input=data, capture_output=True,
                          check=True).stdout


class Provider(Backend):
    """Whoever presents a code that the test has put into `nonces` is user CODE."""

    def __init__(self, loop, folder):
        self._key = folder / "provider.key"
        _openssl("genrsa", "-out", self._key, "2048")
        modulus = _openssl("rsa", "-in", self._key, "-noout", "-modulus").decode().split("=")[1]
        self._keys = {"keys": [{"kty": "RSA", "use": "sig", "alg": "RS256", "kid": "one",
                                "n": _base64(bytes.fromhex(modulus.strip())), "e": "AQAB"}]}
        self.nonces = {}
        self.asked = []
        super().__init__(loop)

    @property
    def issuer(self):
        """Its host name, which a resolver has to look up."""
        return f"http://localhost:{self.port}"

    async def talk(self, reader, writer):
        while head := (await reader.readuntil(b"\r\n\r\n")).decode():
            fields = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if line)
            fields = {name.lower(): value for name, value in fields.items()}
            body = await reader.readexactly(int(fields.get("content-length", 0)))
            path = head.split(" ", 2)[1]
            self.asked.append(path)
            await self.gate.wait()
            answer = json.dumps(self._answer(path, body.decode(), fields)).encode()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                         b"Content-Length: %d\r\n\r\n" % len(answer) + answer)
            await writer.drain()

    def _answer(self, path, body, fields):
        if path == "/token":
            code = dict(urllib.parse.parse_qsl(body))["code"]
            return {"access_token": f"access-{code}", "token_type": "Bearer", "expires_in": 600,
                    "id_token": self._sign(code)}
        if path == "/user":
            return {"sub": fields["authorization"].split("-")[1]}
        if path == "/keys":
            return self._keys
        return {"issuer": self.issuer, "authorization_endpoint": f"{self.issuer}/login",
                "token_endpoint": f"{self.issuer}/token", "jwks_uri": f"{self.issuer}/keys",
                "userinfo_endpoint": f"{self.issuer}/user", "response_types_supported": ["code"],
                "subject_types_supported": ["public"],
                "token_endpoint_auth_methods_supported": ["client_secret_post"],
                "id_token_signing_alg_values_supported": ["RS256"]}

    def _sign(self, code):
        now = int(time.time())
        parts = [{"alg": "RS256", "kid": "one"},
                 {"iss": self.issuer, "aud": CLIENT, "sub": code, "nonce": self.nonces[code],
                  "iat": now, "exp": now + 600}]
        text = ".".join(_base64(json.dumps(part).encode()) for part in parts)
        return text + "." + _base64(_openssl("dgst", "-sha256", "-sign", self._key,
                                             data=text.encode()))
