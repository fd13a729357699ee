"""A client that authenticates by a key: its key pair, which is published here, and fresh assertions of it.

An assertion is good for five minutes, so no file of events/ can hold one that is accepted. `python tests/aws/key_client.py` writes an event with a
fresh one, for `sam local invoke TokenFunction -e -`.
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

import seed
from template import ROOT

EVENT = ROOT / "events/token/private-key-jwt-expired.json"
TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_KEY = jwk.ECKey.import_key({**seed.MY_KEY_CLIENT_PUBLIC_JWK, "d": "_7_gLukQqNxb0GhOlnSt9q6CeYPlyyinrALY3mmXHEk"})


def assertion(issued_at: int, **claims: object) -> str:
    """An assertion of a minute for the realm of the events."""
    client = seed.MY_KEY_CLIENT.id
    times = {"iat": issued_at, "exp": issued_at + 60}
    named = {"iss": client, "sub": client, "aud": seed.ISSUER, "jti": str(uuid.uuid4())}
    return jwt.encode({"alg": "ES256", "kid": _KEY.kid}, {**named, **times, **claims}, _KEY)


def event_with(text: str) -> dict[str, Any]:
    """The event of events/ with another assertion."""
    parsed: dict[str, Any] = json.loads(EVENT.read_text(encoding="utf-8"))
    form = {"grant_type": "client_credentials", "client_assertion_type": TYPE, "client_assertion": text}
    body = urlencode(form).encode()
    parsed["headers"]["content-length"] = str(len(body))
    parsed["body"] = base64.b64encode(body).decode()
    return parsed


if __name__ == "__main__":
    json.dump(event_with(assertion(int(time.time()))), sys.stdout, indent=2)
    print()
