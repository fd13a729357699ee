"""PyJWT, Authlib and joserfc, which nobody here wrote, read what Grantwell signs: on the functions and on the local server."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt as pyjwt
import pytest
import requests
from authlib.integrations.requests_client import OAuth2Session
from authlib.oauth2.rfc6750.errors import InsufficientScopeError, InvalidTokenError
from authlib.oauth2.rfc9068 import JWTBearerTokenValidator
from joserfc import jwk
from joserfc import jwt as jose
from joserfc.errors import BadSignatureError

import seed
import template as sam
from command_line import RunCommand, command_line
from conftest import StartFunction
from emulator import Emulator, without_aws
from gateway import Gateway
from local_server import LocalServer
from stack import Stack

ALGORITHMS = ("ES256", "EdDSA", "PS256", "RS256")
RESOURCE = "https://api.example.com/orders"
SIGNED = "application/token-introspection+jwt"
SECRET = "not-a-secret-of-these-tests-0123456789"
# RFC 9068 section 2.2, and this server's own.
CLAIMS = {"iss", "sub", "aud", "client_id", "iat", "exp", "jti", "scope", "realm", "auditTrackingId"}


@dataclass(frozen=True)
class Realm:
    """A realm with one client, as a resource server comes to know it: by its metadata document."""

    base: str
    client_id: str
    metadata: dict[str, Any]

    @property
    def issuer(self) -> str:
        issuer: str = self.metadata["issuer"]
        return issuer

    @property
    def jwks_uri(self) -> str:
        """Where the test reaches it: behind the stand-in for API Gateway the document names the public host."""
        uri: str = self.metadata["jwks_uri"]
        return uri.replace(self.issuer, self.base, 1)

    def jwks(self) -> dict[str, Any]:
        answer = requests.get(self.jwks_uri, timeout=30)
        assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "public, max-age=300")
        keys: dict[str, Any] = answer.json()
        return keys

    def token(self, **parameters: str) -> str:
        answer = self._session().fetch_token(
            f"{self.base}/access_token", grant_type="client_credentials", **parameters
        )
        token: str = answer["access_token"]
        return token

    def introspect_signed(self, token: str) -> requests.Response:
        answer: requests.Response = self._session().introspect_token(
            f"{self.base}/introspect", token=token, headers={"Accept": SIGNED}
        )
        return answer

    def _session(self) -> OAuth2Session:
        return OAuth2Session(self.client_id, SECRET, scope="write", token_endpoint_auth_method="client_secret_basic")


@dataclass(frozen=True)
class Served:
    """One way of running Grantwell."""

    url: str
    run: RunCommand

    def realm(self, algorithm: str, persistence: str = "stored") -> Realm:
        """A new realm that signs with `algorithm`, and a client of it."""
        name = f"{algorithm.lower()}-{uuid.uuid4().hex[:8]}"
        self.run("realm", "set", name, "--access-token-format", "jwt", "--signing-alg", algorithm)
        self.run(
            *("client", "create", "--realm", name, "--id", "reader", "--name", "Reader", "--contact", "o@example.com"),
            *("--scope", "write read", "--default-scope", "write", "--grant-type", "client_credentials"),
            *("--auth-method", "client_secret_basic", "--secret-stdin"),
            *("--access-token-persistence", persistence, "--resource", RESOURCE, "--claims", '{"tier":"gold"}'),
            stdin=SECRET,
        )
        base = f"{self.url}/am/oauth2/realms/root/realms/{name}"
        document = requests.get(f"{base}/.well-known/oauth-authorization-server", timeout=30)
        assert document.status_code == 200
        return Realm(base, "reader", document.json())


@pytest.fixture(params=["functions", "local server"])
def served(request: pytest.FixtureRequest) -> Served:
    found: Served = request.getfixturevalue("functions" if request.param == "functions" else "local_server")
    return found


@pytest.fixture
def functions(seeded: Stack, emulator: Emulator, binaries: Path, start: StartFunction) -> Iterator[Served]:
    environment = seed.operator_environment(
        emulator.url, emulator.operator, seeded.physical_id("RegistryTable"), seeded.parameters["SecretPrefix"]
    )
    started = {name: start(function) for name, function in seeded.functions.items()}
    with Gateway(sam.routes(seeded.translated), started) as running:
        yield Served(running.url, command_line(binaries / "grantwell", environment, "aws"))


@pytest.fixture
def local_server(binaries: Path, tmp_path: Path) -> Iterator[Served]:
    grantwell, data = binaries / "grantwell", tmp_path / "data"
    with LocalServer(grantwell, data) as running:
        yield Served(running.url, command_line(grantwell, without_aws(os.environ), f"file:{data}"))
        assert running.close() == 0, "the server did not end cleanly on SIGTERM"


@pytest.fixture(autouse=True)
def loopback_without_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Authlib refuses http: right everywhere but on loopback."""
    monkeypatch.setenv("AUTHLIB_INSECURE_TRANSPORT", "1")


def tampered(token: str) -> str:
    """The same text but for one bit of its signature."""
    message, signature = token.rsplit(".", 1)
    return f"{message}.{'B' if signature[0] == 'A' else 'A'}{signature[1:]}"


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_pyjwt_verifies_a_token_by_the_key_it_fetches(served: Served, algorithm: str) -> None:
    realm = served.realm(algorithm)
    token = realm.token()
    keys = pyjwt.PyJWKClient(realm.jwks_uri)
    key = keys.get_signing_key_from_jwt(token)
    assert pyjwt.get_unverified_header(token) == {"typ": "at+jwt", "alg": algorithm, "kid": key.key_id}

    def decode(text: str, audience: str = RESOURCE, issuer: str = realm.issuer) -> dict[str, Any]:
        required = {"require": ["iss", "sub", "aud", "exp", "iat", "jti", "client_id"]}
        claims: dict[str, Any] = pyjwt.decode(
            text, key, algorithms=[algorithm], audience=audience, issuer=issuer, options=required
        )
        return claims

    claims = decode(token)
    assert set(claims) == CLAIMS | {"tier"}
    assert (claims["sub"], claims["client_id"], claims["scope"], claims["tier"]) == (
        realm.client_id,
        realm.client_id,
        "write",
        "gold",
    )
    assert claims["exp"] - claims["iat"] == 3600

    with pytest.raises(pyjwt.InvalidSignatureError):
        decode(tampered(token))
    with pytest.raises(pyjwt.InvalidAudienceError):
        decode(token, audience="https://api.example.com")
    with pytest.raises(pyjwt.InvalidIssuerError):
        decode(token, issuer=realm.issuer + "/")


def test_pyjwt_finds_no_key_for_another_realms_token(served: Served) -> None:
    realm, other = served.realm("ES256"), served.realm("ES256")
    with pytest.raises(pyjwt.PyJWKClientError):
        pyjwt.PyJWKClient(realm.jwks_uri).get_signing_key_from_jwt(other.token())


class ResourceServer(JWTBearerTokenValidator):
    """Authlib's validator of RFC 9068, which leaves only this to its user."""

    def __init__(self, realm: Realm, resource: str = RESOURCE) -> None:
        super().__init__(issuer=realm.issuer, resource_server=resource)
        self._jwks = jwk.KeySet.import_key_set(realm.jwks())

    def get_jwks(self) -> jwk.KeySet:
        return self._jwks

    def check(self, token: str, scope: str) -> Any:
        claims = self.authenticate_token(token)
        self.validate_token(claims, [scope], None)
        return claims


# joserfc, on which Authlib's validator stands, takes these two without being told.
@pytest.mark.parametrize("algorithm", ["ES256", "RS256"])
@pytest.mark.parametrize("persistence", ["stored", "stateless"])
def test_authlib_accepts_a_token_as_rfc_9068_has_it(served: Served, algorithm: str, persistence: str) -> None:
    realm = served.realm(algorithm, persistence)
    token = realm.token()
    claims = ResourceServer(realm).check(token, "write")
    assert claims["client_id"] == realm.client_id

    with pytest.raises(InsufficientScopeError):
        ResourceServer(realm).check(token, "read")
    with pytest.raises(InvalidTokenError):
        ResourceServer(realm, "https://api.example.com").check(token, "write")
    with pytest.raises(InvalidTokenError):
        ResourceServer(realm).check(tampered(token), "write")
    with pytest.raises(InvalidTokenError):
        ResourceServer(served.realm(algorithm)).check(token, "write")
    # RFC 9701 section 8.1: an introspection answer must not pass for an access token.
    with pytest.raises(InvalidTokenError):
        ResourceServer(realm).check(realm.introspect_signed(token).text, "write")


# RFC 9864 gives this algorithm another name, which few resource servers know yet; joserfc warns of the old one.
@pytest.mark.filterwarnings("ignore:EdDSA is deprecated")
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_joserfc_reads_a_signed_introspection_answer(served: Served, algorithm: str) -> None:
    realm = served.realm(algorithm)
    answer = realm.introspect_signed(realm.token())
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, SIGNED)
    assert answer.headers["Cache-Control"] == "no-store"
    decoded = jose.decode(answer.text, jwk.KeySet.import_key_set(realm.jwks()), algorithms=[algorithm])
    assert (decoded.header["typ"], decoded.header["alg"]) == ("token-introspection+jwt", algorithm)
    assert set(decoded.claims) == {"iss", "aud", "iat", "token_introspection"}
    registry = jose.JWTClaimsRegistry(
        iss={"essential": True, "value": realm.issuer}, aud={"essential": True, "value": realm.client_id}
    )
    registry.validate(decoded.claims)
    told = decoded.claims["token_introspection"]
    assert (told["active"], told["aud"], told["scope"], told["tier"]) == (True, RESOURCE, "write", "gold")

    unknown = realm.introspect_signed("unknown")
    decoded = jose.decode(unknown.text, jwk.KeySet.import_key_set(realm.jwks()), algorithms=[algorithm])
    assert decoded.claims["token_introspection"] == {"active": False}
    with pytest.raises(BadSignatureError):
        jose.decode(tampered(unknown.text), jwk.KeySet.import_key_set(realm.jwks()), algorithms=[algorithm])


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_kid_is_the_thumbprint_that_joserfc_computes(served: Served, algorithm: str) -> None:
    keys = served.realm(algorithm).jwks()["keys"]
    assert len(keys) == 2
    for key in keys:
        imported = jwk.import_key(key)
        assert key["kid"] == imported.thumbprint()
        assert not imported.is_private
        assert (key["use"], key["alg"]) == ("sig", algorithm)


def test_a_revoked_token_is_inactive_though_its_signature_still_verifies(served: Served) -> None:
    for persistence in ("stored", "stateless"):
        realm = served.realm("ES256", persistence)
        token = realm.token()
        revoked = requests.post(
            f"{realm.base}/token/revoke", data={"token": token}, auth=(realm.client_id, SECRET), timeout=30
        )
        assert revoked.status_code == 200
        ResourceServer(realm).check(token, "write")
        answer = requests.post(
            f"{realm.base}/introspect", data={"token": token}, auth=(realm.client_id, SECRET), timeout=30
        )
        assert answer.json() == {"active": False}
