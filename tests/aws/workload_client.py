"""A workload that is a client by the tokens of its platform: the platform's key pair, which is published here, and fresh tokens.

No file of events/ can hold a token that is accepted: it is good for ten minutes, and once. `python tests/aws/workload_client.py` writes an event
with a fresh one, for `sam local invoke TokenFunction -e -`.
"""

from __future__ import annotations

import base64
import json
import sys
import time
import uuid
from typing import Any
from urllib.parse import urlencode

from joserfc import jwk, jwt

import key_client
import seed
from template import ROOT

GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
# The same token in its two places.
EVENTS = {
    "assertion": ROOT / "events/token/workload-identity-expired.json",
    "grant": ROOT / "events/token/jwt-bearer-expired.json",
}
_KEY = jwk.ECKey.import_key({**seed.PLATFORM_PUBLIC_JWK, "d": "7NfJvojy9qAwLDVku0MlW4XMM3lUSxk6GVcB6RSd48U"})


def token(issued_at: int, issuer: str = seed.PLATFORM, **claims: object) -> str:
    """A token of the platform about the seeded workload, for the realm of the events."""
    times = {"iat": issued_at, "exp": issued_at + 300}
    named = {"iss": issuer, "sub": "service-1", "aud": seed.ISSUER, "jti": str(uuid.uuid4()), "team": "billing"}
    return jwt.encode({"alg": "ES256", "kid": _KEY.kid, "typ": "JWT"}, {**named, **times, **claims}, _KEY)


def form(text: str, place: str = "grant", client: str = seed.MY_WORKLOAD.id) -> dict[str, str]:
    """A request with the token in one of its places."""
    if place == "grant":
        return {"grant_type": GRANT, "client_id": client, "assertion": text}
    shown = {"client_assertion_type": key_client.TYPE, "client_assertion": text}
    return {"grant_type": "client_credentials", "client_id": client, **shown}


def event_with(text: str, place: str = "grant", client: str = seed.MY_WORKLOAD.id) -> dict[str, Any]:
    """The event of events/ with another token."""
    parsed: dict[str, Any] = json.loads(EVENTS[place].read_text(encoding="utf-8"))
    body = urlencode(form(text, place, client)).encode()
    parsed["headers"]["content-length"] = str(len(body))
    parsed["body"] = base64.b64encode(body).decode()
    return parsed


if __name__ == "__main__":
    json.dump(event_with(token(int(time.time()))), sys.stdout, indent=2)
    print()
