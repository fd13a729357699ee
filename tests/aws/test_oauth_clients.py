"""Authlib, an OAuth client that nobody here wrote, against the functions behind the API's routes and the local server."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from authlib.integrations.base_client import OAuthError
from authlib.integrations.requests_client import OAuth2Session

import seed
import template as sam
from command_line import command_line
from conftest import StartFunction
from emulator import without_aws
from expectations import DESCRIPTION
from gateway import Gateway
from local_server import LocalServer
from stack import Stack

REALM = "/am/oauth2/realms/root/realms/alpha"


@pytest.fixture(params=["functions", "local server"])
def base(request: pytest.FixtureRequest) -> str:
    """The base URL of realm alpha, once on each way of running Grantwell."""
    url: str = request.getfixturevalue("gateway" if request.param == "functions" else "local_server")
    return url + REALM


@pytest.fixture
def gateway(seeded: Stack, start: StartFunction) -> Iterator[str]:
    functions = {name: start(function) for name, function in seeded.functions.items()}
    with Gateway(sam.routes(seeded.translated), functions) as running:
        yield running.url


@pytest.fixture
def local_server(binaries: Path, tmp_path: Path) -> Iterator[str]:
    """The local server on a data directory that the command line filled."""
    grantwell, store = binaries / "grantwell", tmp_path / "data"
    run = command_line(grantwell, without_aws(os.environ), f"file:{store}")
    run("realm", "set", "alpha")
    for each in (client for client in seed.CLIENTS if client.has_secret):
        run(
            *(
                "client",
                "create",
                "--realm",
                "alpha",
                "--id",
                each.id,
                "--name",
                each.id,
                "--contact",
                "owner@example.com",
            ),
            *("--scope", each.scope, "--default-scope", each.scope, "--grant-type", "client_credentials"),
            *("--auth-method", each.auth_method, "--secret-stdin"),
            stdin=each.secret,
        )
    with LocalServer(grantwell, store) as running:
        yield running.url
        assert running.close() == 0, "the server did not end cleanly on SIGTERM"


@pytest.fixture(autouse=True)
def loopback_without_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Authlib refuses http: right everywhere but on loopback."""
    monkeypatch.setenv("AUTHLIB_INSECURE_TRANSPORT", "1")


def session(client: seed.SeededClient, secret: str | None = None, **options: str) -> OAuth2Session:
    # Authlib would revoke by Basic whatever the token endpoint's method is.
    methods = dict.fromkeys(("token_endpoint_auth_method", "revocation_endpoint_auth_method"), client.auth_method)
    return OAuth2Session(client.id, secret or client.secret, **methods, **options)


@pytest.mark.parametrize("client", [seed.MY_CLIENT, seed.MY_POST_CLIENT], ids=lambda client: client.auth_method)
def test_a_token_is_issued_introspected_and_revoked(base: str, client: seed.SeededClient) -> None:
    caller = session(client, scope="write")
    token = caller.fetch_token(f"{base}/access_token", grant_type="client_credentials")
    assert (token["token_type"], token["scope"], token["expires_in"]) == ("Bearer", "write", 3600)

    resource_server = session(seed.MY_RESOURCE_SERVER)
    introspect = dict(url=f"{base}/introspect", token=token["access_token"], token_type_hint="access_token")
    active = resource_server.introspect_token(**introspect)
    assert active.status_code == 200
    body = active.json()
    assert (body["active"], body["client_id"], body["scope"], body["realm"]) == (True, client.id, "write", "/alpha")
    assert body["exp"] - body["iat"] == 3600

    revoked = caller.revoke_token(f"{base}/token/revoke", token=token["access_token"], token_type_hint="access_token")
    assert revoked.status_code == 200

    after = resource_server.introspect_token(**introspect)
    assert (after.status_code, after.json()) == (200, {"active": False})


def test_a_client_that_names_no_scope_gets_its_default(base: str) -> None:
    token = session(seed.MY_CLIENT).fetch_token(f"{base}/access_token", grant_type="client_credentials")
    assert token["scope"] == "write"


@pytest.mark.parametrize("client", [seed.MY_CLIENT, seed.MY_POST_CLIENT], ids=lambda client: client.auth_method)
def test_a_wrong_secret_is_invalid_client(base: str, client: seed.SeededClient) -> None:
    caller = session(client, secret="not-a-secret-either-0123456789")
    with pytest.raises(OAuthError) as refused:
        caller.fetch_token(f"{base}/access_token", grant_type="client_credentials")
    assert refused.value.error == "invalid_client"
    assert DESCRIPTION(refused.value.description)


def test_a_scope_beyond_the_registration_is_invalid_scope(base: str) -> None:
    with pytest.raises(OAuthError) as refused:
        session(seed.MY_CLIENT, scope="write admin").fetch_token(
            f"{base}/access_token", grant_type="client_credentials"
        )
    assert refused.value.error == "invalid_scope"


def test_a_client_of_one_method_is_refused_by_the_other(base: str) -> None:
    caller = OAuth2Session(
        seed.MY_POST_CLIENT.id, seed.MY_POST_CLIENT.secret, token_endpoint_auth_method="client_secret_basic"
    )
    with pytest.raises(OAuthError) as refused:
        caller.fetch_token(f"{base}/access_token", grant_type="client_credentials")
    assert refused.value.error == "invalid_client"


def test_another_clients_token_cannot_be_revoked(base: str) -> None:
    token = session(seed.MY_CLIENT).fetch_token(f"{base}/access_token", grant_type="client_credentials")["access_token"]
    refused = session(seed.OTHER_CLIENT).revoke_token(f"{base}/token/revoke", token=token)
    assert refused.status_code == 400
    assert refused.json()["error"] == "invalid_request"
    assert refused.headers["Cache-Control"] == "no-store"
    still = session(seed.MY_RESOURCE_SERVER).introspect_token(f"{base}/introspect", token=token)
    assert still.json()["active"] is True


def test_a_get_of_the_token_endpoint_gets_our_405_and_not_the_gateways_404(base: str) -> None:
    answer = session(seed.MY_CLIENT).get(f"{base}/access_token", withhold_token=True)
    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.json()["error"] == "invalid_request"


def test_metadata_names_endpoints_that_are_routed(base: str) -> None:
    answer = session(seed.MY_CLIENT).get(f"{base}/.well-known/oauth-authorization-server", withhold_token=True)
    assert answer.status_code == 200
    document = answer.json()
    assert document["issuer"].endswith(REALM)
    host = document["issuer"].removesuffix(REALM)
    for member in ("token_endpoint", "introspection_endpoint", "revocation_endpoint"):
        path = document[member].removeprefix(host)
        # POST without credentials: a routed endpoint asks for them, an unrouted path is 404.
        probe = session(seed.MY_CLIENT).post(base.removesuffix(REALM) + path, data={"token": "x"}, withhold_token=True)
        assert probe.status_code == 401, member
