"""The expected answer of every file under events/: one table, used with the built binaries and with `sam local invoke`."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import seed
from runtime_api import Answer
from template import ROOT, Json

EVENTS = ROOT / "events"
Check = Callable[[Any], bool]


@dataclass(frozen=True)
class Expected:
    """An answer: its status, its whole body, and the headers that matter.

    `body` is None for an empty body. Otherwise it names every member, each with its value or with a check; a member more or
    less fails.
    """

    status: int
    body: Mapping[str, object] | None
    headers: Mapping[str, object] = field(default_factory=dict)


def text(pattern: str) -> Check:
    return lambda value: isinstance(value, str) and re.fullmatch(pattern, value) is not None


def whole_number(low: int, high: int) -> Check:
    return lambda value: type(value) is int and low <= value <= high


# What OAuth allows in an error description (RFC 6749 §5.2), and never an empty one.
DESCRIPTION = text(r"[\x20-\x21\x23-\x5B\x5D-\x7E]+")
NO_STORE = {
    "content-type": text(r"application/json(; ?charset=utf-8)?"),
    "cache-control": "no-store",
    "pragma": "no-cache",
}
CHALLENGE = 'Basic realm="alpha", charset="UTF-8"'
HOST = "https://grantwell0.execute-api.us-east-1.amazonaws.com"
ALPHA = f"{HOST}/am/oauth2/realms/root/realms/alpha"


def rejected(status: int, code: str, **headers: str) -> Expected:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Expected(status, {"error": code, "error_description": DESCRIPTION}, NO_STORE | named)


def unauthenticated() -> Expected:
    return rejected(401, "invalid_client", www_authenticate=CHALLENGE)


def issued(scope: str) -> Expected:
    body = {
        "access_token": text(r"gwt_[A-Za-z0-9_-]{43}"),
        "scope": scope,
        "token_type": "Bearer",
        "expires_in": 3600,
    }
    return Expected(200, body, NO_STORE)


def active_token() -> Expected:
    body = {
        "active": True,
        "scope": "write",
        "client_id": "myClient",
        "token_type": "Bearer",
        "exp": whole_number(1_700_000_000, 9_999_999_999),
        "iat": whole_number(1_700_000_000, 9_999_999_999),
        "sub": "myClient",
        "iss": seed.ISSUER,
        "jti": f"jti-of-{seed.ACTIVE.name}",
        "realm": "/alpha",
        "expires_in": whole_number(1, seed.ACTIVE.lifetime),
        "auditTrackingId": f"audit-of-{seed.ACTIVE.name}",
    }
    return Expected(200, body, NO_STORE)


def metadata(issuer: str) -> Expected:
    methods = ["client_secret_basic", "client_secret_post"]
    body = {
        "issuer": issuer,
        "token_endpoint": f"{issuer}/access_token",
        "token_endpoint_auth_methods_supported": methods,
        "introspection_endpoint": f"{issuer}/introspect",
        "introspection_endpoint_auth_methods_supported": methods,
        "revocation_endpoint": f"{issuer}/token/revoke",
        "revocation_endpoint_auth_methods_supported": methods,
        "grant_types_supported": ["client_credentials"],
    }
    return Expected(200, body, {"content-type": NO_STORE["content-type"]})


INACTIVE = Expected(200, {"active": False}, NO_STORE)
REVOKED = Expected(200, None, {"cache-control": "no-store", "pragma": "no-cache"})

EXPECTATIONS: dict[str, Expected] = {
    "token/basic": issued("write"),
    "token/basic-no-scope": issued("write"),
    "token/post": issued("write"),
    "token/rest-api-v1": issued("write"),
    "token/base64-body": issued("write"),
    "token/wrong-secret": unauthenticated(),
    "token/unknown-client": unauthenticated(),
    "token/invalid-scope": rejected(400, "invalid_scope"),
    "token/unsupported-grant": rejected(400, "unsupported_grant_type"),
    "token/duplicate-parameter": rejected(400, "invalid_request"),
    "token/json-body": rejected(400, "invalid_request"),
    "token/get": rejected(405, "invalid_request", allow="POST"),
    "token/unknown-realm": rejected(404, "not_found"),
    "introspect/active": active_token(),
    "introspect/inactive": INACTIVE,
    "introspect/own-token": active_token(),
    "introspect/foreign": INACTIVE,
    "introspect/rest-api-v1": active_token(),
    "introspect/unauthenticated": unauthenticated(),
    "introspect/missing-token": rejected(400, "invalid_request"),
    "revoke/own": REVOKED,
    "revoke/unknown": REVOKED,
    "revoke/foreign": rejected(400, "invalid_request"),
    "revoke/unauthenticated": unauthenticated(),
    "metadata/oauth-authorization-server": metadata(ALPHA),
    "metadata/openid-configuration": metadata(ALPHA),
    "metadata/rfc8414-path": metadata(ALPHA),
    "metadata/root": metadata(f"{HOST}/oauth2"),
    "metadata/unknown-realm": rejected(404, "not_found"),
    "metadata/post": rejected(405, "invalid_request", allow="GET, HEAD"),
}

# An event of each function that needs every permission it has.
WORK = {
    "TokenFunction": "token/basic",
    "IntrospectFunction": "introspect/active",
    "RevokeFunction": "revoke/own",
    "MetadataFunction": "metadata/oauth-authorization-server",
}
# The answer while AWS cannot be asked: honest, and with a time to come back.
UNAVAILABLE = rejected(503, "temporarily_unavailable", retry_after="2")


def files() -> dict[str, Path]:
    """Every event file by its name in the table."""
    return {path.relative_to(EVENTS).with_suffix("").as_posix(): path for path in sorted(EVENTS.glob("**/*.json"))}


def event(name: str) -> Json:
    parsed: Json = json.loads((EVENTS / f"{name}.json").read_text(encoding="utf-8"))
    return parsed


def assert_answer(answer: Answer, expected: Expected) -> None:
    """Compares all that the table says, and reports the answer on a mismatch."""
    shown = f"{answer.status} {dict(answer.headers)} {answer.body!r}"
    assert answer.status == expected.status, f"expected {expected.status}, got {shown}"
    for name, wanted in expected.headers.items():
        assert name in answer.headers, f"header {name} is missing in {shown}"
        assert _matches(answer.headers[name], wanted), f"header {name} is not as expected in {shown}"
    if expected.status != 401:
        assert "www-authenticate" not in answer.headers, f"a challenge without a 401: {shown}"
    if expected.body is None:
        assert answer.body == b"", f"expected an empty body, got {shown}"
        return
    body = answer.json
    assert isinstance(body, dict) and body.keys() == expected.body.keys(), (
        f"expected {sorted(expected.body)}, got {shown}"
    )
    for name, wanted in expected.body.items():
        assert _matches(body[name], wanted), f"member {name} is not as expected in {shown}"


def _matches(value: object, wanted: object) -> bool:
    if callable(wanted):
        return bool(wanted(value))
    return type(value) is type(wanted) and value == wanted
