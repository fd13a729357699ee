"""examples/protected-api: its wiring, and its API in front of the real authorizer, with tokens of the real token function."""

from __future__ import annotations

import json
import re
import socket
import time
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import load_der_private_key

import seed
import template as sam
from conftest import StartFunction
from emulator import Emulator
from expectations import event
from guarded_api import GuardedApi
from runtime_api import LambdaRuntime
from stack import Stack

EXAMPLE = "examples/protected-api"
# What the example tells its authorizer.
SCOPES: str = sam.load(f"{EXAMPLE}/template.yaml")["Resources"]["Authorizer"]["Properties"]["Parameters"]["Scopes"]
FORMATS = {
    "opaque": (),
    "jwt": ("--access-token-format", "jwt"),
    "stateless jwt": seed.STATELESS_JWT,
}
ORDERS = [{"id": "42", "item": "lamp"}]

# Starts the authorizer of the stack, told of the example's routes and whatever else is given.
StartAuthorizer = Callable[..., LambdaRuntime]


@pytest.fixture(scope="module")
def example() -> sam.Json:
    return sam.load(f"{EXAMPLE}/template.yaml")


@pytest.fixture(scope="module")
def translated(example: sam.Json) -> sam.Json:
    return sam.translate(example)


@pytest.fixture
def authorizer(seeded: Stack, start: StartFunction) -> StartAuthorizer:
    def start_authorizer(endpoint: str | None = None, **settings: str) -> LambdaRuntime:
        function = seeded.functions["AuthorizerFunction"]
        told = {"GRANTWELL_AUTHORIZER_SCOPES": SCOPES, **settings}
        return start(function, environment={**function.environment, **told}, endpoint=endpoint)

    return start_authorizer


@pytest.fixture
def server(seeded: Stack, start: StartFunction, emulator: Emulator, binaries: Path) -> AuthorizationServer:
    return AuthorizationServer(seeded, start, emulator, binaries)


class AuthorizationServer:
    """The token and revocation functions, and the command that registers their clients."""

    def __init__(self, stack: Stack, start: StartFunction, emulator: Emulator, binaries: Path) -> None:
        self._token = start(stack.functions["TokenFunction"])
        self._revoke = start(stack.functions["RevokeFunction"])
        table, prefix = stack.physical_id("RegistryTable"), stack.parameters["SecretPrefix"]
        self._operator = seed.operator_environment(emulator.url, emulator.operator, table, prefix)
        self._grantwell = binaries / "grantwell"

    def register(self, client_id: str, scope: str, *settings: str) -> seed.SeededClient:
        client = seed.SeededClient(client_id, "client_secret_basic", scope)
        given = ("--scope", scope, "--default-scope", scope, *settings)
        seed.register_client(self._operator, self._grantwell, seed.REALM, client, given)
        return client

    def issue(self, client: seed.SeededClient) -> str:
        answer = self._token.call(_form("token/basic", client, grant_type="client_credentials"))
        assert answer.status == 200, answer
        token: str = answer.json["access_token"]
        return token

    def revoke(self, client: seed.SeededClient, token: str) -> None:
        answer = self._revoke.call(_form("revoke/own", client, token=token))
        assert answer.status == 200, answer


def _form(name: str, client: seed.SeededClient, **parameters: str) -> sam.Json:
    given = event(name)
    given["headers"]["authorization"] = f"Basic {client.basic}"
    return {**given, "body": urlencode(parameters), "isBase64Encoded": False}


def bearer(token: str) -> tuple[str, str]:
    return "Authorization", f"Bearer {token}"


AUTHORIZER_ARN = {"Fn::GetAtt": ["Authorizer", "Outputs.AuthorizerFunctionArn"]}


def test_every_route_is_guarded_by_the_authorizer_of_the_example(translated: sam.Json) -> None:
    (api,) = sam.resources(translated, "AWS::ApiGatewayV2::Api").values()
    body = api["Properties"]["Body"]
    (authorizer,) = body["components"]["securitySchemes"].values()
    assert authorizer["x-amazon-apigateway-authorizer"] == {
        "type": "request",
        "authorizerUri": {
            "Fn::Sub": [
                "arn:aws:apigateway:${AWS::Region}:lambda:path/2015-03-31/functions/${__FunctionArn__}/invocations",
                {"__FunctionArn__": AUTHORIZER_ARN},
            ]
        },
        "authorizerPayloadFormatVersion": "2.0",
        "enableSimpleResponses": True,
        # Without the route, a token for one would pass for all while its answer is kept.
        "identitySource": ["$request.header.Authorization", "$context.routeKey"],
        "authorizerResultTtlInSeconds": 60,
    }
    operations = [operation for methods in body["paths"].values() for operation in methods.values()]
    assert [operation["security"] for operation in operations] == [[{"Grantwell": []}]] * 2


def test_api_gateway_may_call_the_authorizer_for_this_api_only(translated: sam.Json) -> None:
    assert translated["Resources"]["AuthorizerPermission"]["Properties"] == {
        "FunctionName": AUTHORIZER_ARN,
        "Action": "lambda:InvokeFunction",
        "Principal": "apigateway.amazonaws.com",
        "SourceArn": {
            "Fn::Sub": "arn:${AWS::Partition}:execute-api:${AWS::Region}:${AWS::AccountId}:${Api}/authorizers/*"
        },
    }


def test_the_authorizer_takes_what_it_is_told_of_every_route(translated: sam.Json) -> None:
    authorizer = sam.load("authorizer.yaml")
    assert json.loads(SCOPES).keys() == {f"{route.method} {route.path}" for route in sam.routes(translated)}
    assert re.search(authorizer["Parameters"]["Scopes"]["AllowedPattern"], SCOPES)


def test_the_example_includes_the_authorizer_and_tells_it_all_that_it_has_to_know(
    example: sam.Json, stack: Stack
) -> None:
    properties = example["Resources"]["Authorizer"]["Properties"]
    included = (sam.ROOT / EXAMPLE / properties["Location"]).resolve()
    assert included == sam.ROOT / "authorizer.yaml"
    authorizer = sam.load("authorizer.yaml")
    needed = {name for name, parameter in authorizer["Parameters"].items() if "Default" not in parameter}
    assert needed <= properties["Parameters"].keys() <= authorizer["Parameters"].keys()
    assert AUTHORIZER_ARN["Fn::GetAtt"][1].removeprefix("Outputs.") in authorizer["Outputs"]
    # What the example asks for itself is in the output of the Grantwell stack, under the same names.
    given = dict(each.split("=", 1) for each in stack.outputs["AuthorizerParameters"].split(" "))
    assert {name for name, parameter in example["Parameters"].items() if "Default" not in parameter} <= given.keys()
    for name in given.keys() & example["Parameters"].keys():
        parameter = example["Parameters"][name]
        assert given[name] in parameter.get("AllowedValues", [given[name]])
        assert re.search(parameter.get("AllowedPattern", ""), given[name])


@pytest.mark.parametrize("form", FORMATS)
def test_a_token_opens_the_routes_of_its_scope_until_it_is_revoked(
    form: str, translated: sam.Json, server: AuthorizationServer, authorizer: StartAuthorizer
) -> None:
    reader = server.register(f"reader-{form.replace(' ', '-')}", "orders:read", *FORMATS[form])
    token = server.issue(reader)
    assert token.startswith("gwt_") == (form == "opaque")
    api = GuardedApi(translated, authorizer())
    expected = (200, {"orders": ORDERS, "client_id": reader.id})

    assert api.request("GET", "/orders", bearer(token)) == expected
    assert api.request("POST", "/orders", bearer(token)) == (403, {"message": "Forbidden"})
    # Each answer is its own route's, and kept for it.
    assert api.request("GET", "/orders", bearer(token)) == expected
    assert api.request("POST", "/orders", bearer(token)) == (403, {"message": "Forbidden"})
    assert api.asked == 2

    server.revoke(reader, token)
    api.now += 59
    assert api.request("GET", "/orders", bearer(token)) == expected
    api.now += 1
    assert api.request("GET", "/orders", bearer(token)) == (403, {"message": "Forbidden"})


def test_a_token_with_both_scopes_opens_both_routes(
    translated: sam.Json, server: AuthorizationServer, authorizer: StartAuthorizer
) -> None:
    token = server.issue(server.register("both", "orders:read orders:write"))
    api = GuardedApi(translated, authorizer())
    assert api.request("GET", "/orders", bearer(token))[0] == 200
    assert api.request("POST", "/orders", bearer(token)) == (201, {"orders": ORDERS, "client_id": "both"})


def test_without_the_header_the_authorizer_is_not_called(translated: sam.Json, authorizer: StartAuthorizer) -> None:
    api = GuardedApi(translated, authorizer())
    assert api.request("GET", "/orders") == (401, {"message": "Unauthorized"})
    assert api.request("GET", "/orders", ("Authorization", "")) == (401, {"message": "Unauthorized"})
    assert api.asked == 0


def test_what_is_no_active_token_is_refused(
    translated: sam.Json, server: AuthorizationServer, authorizer: StartAuthorizer
) -> None:
    token = server.issue(server.register("strict", "orders:read"))
    api = GuardedApi(translated, authorizer())
    forbidden = (403, {"message": "Forbidden"})
    for value in (f"Basic {token}", token, f"Bearer {token}x", f"Bearer {seed.EXPIRED.value}", "Bearer a.b.c"):
        assert api.request("GET", "/orders", ("Authorization", value)) == forbidden, value
    assert api.request("GET", "/orders", bearer(token), bearer(token)) == forbidden
    assert api.request("GET", "/orders", bearer(token))[0] == 200


def test_what_the_realms_own_key_has_signed_is_no_token_for_that(
    translated: sam.Json,
    server: AuthorizationServer,
    authorizer: StartAuthorizer,
    seeded: Stack,
    emulator: Emulator,
) -> None:
    """The private key, which Secrets Manager has as PKCS#8, is read by a library that nobody here wrote."""
    token = server.issue(server.register("signed", "orders:read", *FORMATS["stateless jwt"]))
    header, claims = jwt.get_unverified_header(token), jwt.decode(token, options={"verify_signature": False})
    name = f"{seeded.parameters['SecretPrefix']}/{seed.REALM}/signing-keys"
    stored = json.loads(emulator.client("secretsmanager").get_secret_value(SecretId=name)["SecretString"])
    keys = {key["jwk"]["kid"]: load_der_private_key(b64decode(key["pkcs8"]), None) for key in stored["keys"]}
    own = keys.pop(header["kid"])
    next_kid, next_key = keys.popitem()

    def signed(key: Any = own, claims: sam.Json = claims, **other: Any) -> str:
        return jwt.encode(claims, key, header["alg"], {**header, **other})

    api = GuardedApi(translated, authorizer())
    again = {**claims, "jti": claims["jti"] + "A"}
    assert api.request("GET", "/orders", bearer(signed(claims=again)))[0] == 200, "the rows below differ in one thing"
    for row, forged in {
        "a signed introspection answer": signed(typ="token-introspection+jwt"),
        "the rotation's probe": signed(claims={"kid": header["kid"]}, typ="grantwell-probe+jwt"),
        "the probe's claims": signed(claims={"kid": header["kid"]}),
        "an ID token": signed(typ="JWT"),
        "another spelling of the type": signed(typ="application/at+jwt"),
        "a member more": signed(cty="JWT"),
        "the name of another key": signed(kid=next_kid),
        "another key": signed(next_key),
        "a path for a name": signed(kid="../../../../dev/null"),
        "a number beyond every clock": signed(claims={**again, "exp": 2**64}),
        "another realm": signed(claims={**again, "realm": "/other"}),
    }.items():
        assert api.request("GET", "/orders", bearer(forged)) == (403, {"message": "Forbidden"}), row


def test_a_token_ends_with_its_time(
    translated: sam.Json, server: AuthorizationServer, authorizer: StartAuthorizer
) -> None:
    for form, settings in FORMATS.items():
        short = server.register(f"short-{form.replace(' ', '-')}", "orders:read", *settings, "--token-lifetime", "2")
        api = GuardedApi(translated, authorizer())
        token = server.issue(short)
        deadline = time.monotonic() + 30
        while api.request("GET", "/orders", bearer(token))[0] == 200:
            assert time.monotonic() < deadline, f"{form}: still active"
            api.now += 60
            time.sleep(0.1)
        assert api.request("GET", "/orders", bearer(token)) == (403, {"message": "Forbidden"})


@pytest.mark.parametrize("form", ["opaque", "jwt"])
def test_a_token_for_another_resource_is_refused(
    form: str, translated: sam.Json, server: AuthorizationServer, authorizer: StartAuthorizer
) -> None:
    own, other = "https://orders.example.com/", "https://invoices.example.com/"
    client = server.register(f"resource-{form}", "orders:read", *FORMATS[form], "--resource", own)
    token = server.issue(client)
    everybodys = server.issue(server.register(f"no-resource-{form}", "orders:read", *FORMATS[form]))
    for audience, admits_own, admits_everybodys in (
        ("", False, True),
        (own, True, False),
        (f"{other} {own}", True, False),
        (other, False, False),
    ):
        api = GuardedApi(translated, authorizer(GRANTWELL_AUTHORIZER_AUDIENCE=audience))
        assert (api.request("GET", "/orders", bearer(token))[0] == 200) == admits_own, audience
        assert (api.request("GET", "/orders", bearer(everybodys))[0] == 200) == admits_everybodys, audience


def test_a_token_of_another_realm_is_refused(
    translated: sam.Json, server: AuthorizationServer, authorizer: StartAuthorizer
) -> None:
    tokens = [
        server.issue(server.register(f"foreign-{form.replace(' ', '-')}", "orders:read", *settings))
        for form, settings in FORMATS.items()
    ]
    api = GuardedApi(translated, authorizer(GRANTWELL_AUTHORIZER_REALM="root"))
    assert [api.request("GET", "/orders", bearer(token))[0] for token in tokens] == [403, 403, 403]


def test_a_failure_of_the_authorizer_is_not_kept(
    translated: sam.Json, server: AuthorizationServer, authorizer: StartAuthorizer
) -> None:
    token = server.issue(server.register("patient", "orders:read"))
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        api = GuardedApi(translated, authorizer(f"http://127.0.0.1:{nobody.getsockname()[1]}"))
        for _ in range(2):
            assert api.request("GET", "/orders", bearer(token)) == (500, {"message": "Internal Server Error"})
        assert api.asked == 2


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("GRANTWELL_AUTHORIZER_SCOPES", '{"/orders":"read"}'),
        ("GRANTWELL_AUTHORIZER_SCOPES", '{"GET /orders":"a","GET /orders":""}'),
        ("GRANTWELL_AUTHORIZER_REALM", "a b"),
        ("GRANTWELL_AUTHORIZER_AUDIENCE", "orders"),
        ("GRANTWELL_AUTHORIZER_RESPONSE", "maybe"),
        ("GRANTWELL_PUBLIC_URL", "grantwell"),
    ],
)
def test_a_malformed_setting_is_named_and_the_function_does_not_start(
    variable: str, value: str, authorizer: StartAuthorizer
) -> None:
    with pytest.raises(AssertionError) as failed:
        authorizer(**{variable: value}).invoke(event("authorizer/http-api-v2"))
    assert variable in str(failed.value)
    assert value not in str(failed.value)
