"""The door for roles of AWS: who is let in by it, and that nothing that is for it is anything to another function."""

from __future__ import annotations

import base64
import copy
import json
from pathlib import Path

import pytest

import seed
from conftest import StartFunction
from emulator import Emulator
from expectations import ALPHA, EXPECTATIONS, HOST, Expected, assert_outcome, event, issued
from runtime_api import Answer
from stack import Stack
from template import Json
from test_events import function_of
from test_metrics import COSTS

# What AWS says of a role that some client trusts, in both payloads.
IAM = event("iam/function-url")["requestContext"]["authorizer"]["iam"]
IDENTITY = event("iam/rest-api-v1")["requestContext"]["identity"]
OTHERS = [name for name in EXPECTATIONS if not name.startswith("iam/")]
PLAIN = seed.SeededClient("plainRole", "aws_iam", "write", trust=seed.MY_ROLE.trust)


def register(stack: Stack, emulator: Emulator, binaries: Path, client: seed.SeededClient) -> None:
    table, prefix = stack.physical_id("RegistryTable"), stack.parameters["SecretPrefix"]
    operator = seed.operator_environment(emulator.url, emulator.operator, table, prefix)
    scope = ("--scope", client.scope, "--default-scope", client.scope, "--token-lifetime", "3600")
    seed.register_client(operator, binaries / "grantwell", seed.REALM, client, scope)


def by_the_role(given: Json) -> Json:
    """The event as somebody sends it who can invent what AWS says of a caller."""
    invented = copy.deepcopy(given)
    context = invented.setdefault("requestContext", {})
    context["authorizer"] = {**(context.get("authorizer") or {}), "iam": IAM}
    context["identity"] = {**(context.get("identity") or {}), **{name: IDENTITY[name] for name in ("userArn", "accountId", "caller", "user", "accessKey", "principalOrgId")}}
    return invented


def as_form(given: Json, **parameters: str) -> Json:
    form = "&".join(f"{name}={value}" for name, value in parameters.items())
    return {**given, "body": base64.b64encode(form.encode()).decode(), "isBase64Encoded": True}


@pytest.mark.parametrize("name", OTHERS)
def test_what_aws_says_of_a_caller_changes_nothing_in_any_other_function(
    name: str, seeded: Stack, start: StartFunction
) -> None:
    running = start(seeded.functions[function_of(name)])
    given, expected = by_the_role(event(name)), EXPECTATIONS[name]
    answer = assert_outcome(running, given, expected)
    if isinstance(expected, Expected) and expected.status >= 400:
        # And to the letter what it answers without.
        assert answer is not None
        plain = running.call(event(name))
        assert (answer.status, answer.body) == (plain.status, plain.body)
        assert answer.comparable_headers == plain.comparable_headers


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("token/basic", {"grant_type": "client_credentials", "client_id": "myRole"}),
        ("introspect/active", {"token": seed.ACTIVE.value, "client_id": "myRole"}),
        ("revoke/own", {"token": seed.ACTIVE.value, "client_id": "myRole"}),
    ],
)
def test_a_role_is_nobody_where_aws_verifies_nobody(
    name: str, form: dict[str, str], seeded: Stack, start: StartFunction
) -> None:
    given = as_form(by_the_role(event(name)), **form)
    del given["headers"]["authorization"]
    running = start(seeded.functions[function_of(name)])
    assert_outcome(running, given, EXPECTATIONS["token/wrong-secret"])
    (line,) = [line for line in running.log_lines() if line["message"] == "request refused"]
    assert line["reason"] == "no_credentials"
    assert IAM["userArn"] not in running.logs()


def test_a_token_of_the_door_is_the_apis_and_good_at_the_apis_introspection(seeded: Stack, start: StartFunction) -> None:
    door, introspect = start(seeded.functions["IamFunction"]), start(seeded.functions["IntrospectFunction"])
    token = door.call(event("iam/function-url")).json["access_token"]
    payload = token.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    assert (claims["iss"], claims["aud"], claims["client_id"]) == (ALPHA, ALPHA, "myRole")
    answer = introspect.call(as_form(event("introspect/active"), token=token)).json
    assert (answer["active"], answer["client_id"], answer["iss"]) == (True, "myRole", ALPHA)
    asked = as_form(event("iam/introspect"), client_id="myRole", token=token)
    assert (door.call(asked).json["active"], door.call(asked).json["iss"]) == (True, ALPHA)
    revoked = as_form(event("iam/revoke"), client_id="myRole", token=token)
    assert door.call(revoked).status == 200
    assert door.call(asked).json == {"active": False}


def test_a_cold_token_reads_the_realm_and_the_client_and_a_warm_one_is_one_write(
    seeded: Stack, start: StartFunction, emulator: Emulator, binaries: Path
) -> None:
    register(seeded, emulator, binaries, PLAIN)
    door = start(seeded.functions["IamFunction"])
    costs = []
    for _ in range(2):
        given = as_form(event("iam/function-url"), grant_type="client_credentials", client_id=PLAIN.id)
        assert_outcome(door, given, issued("write"))
        line = door.metric_lines()[-1]
        costs.append({name: line[name] for name in line if COSTS.fullmatch(name) and name != "Latency"})
    assert costs == [
        {"ColdStarts": 1, "ClientCacheHits": 1, "ClientCacheMisses": 1, "RealmCacheMisses": 1, "DynamoDbCalls": 2},
        {"ClientCacheHits": 1, "RealmCacheHits": 1, "DynamoDbCalls": 1},
    ]


def test_a_client_that_does_not_trust_the_role_and_none_at_all_get_one_answer(seeded: Stack, start: StartFunction) -> None:
    door = start(seeded.functions["IamFunction"])
    answers: list[Answer] = []
    for client_id in ("myRole", "nobody", "myClient"):
        given = event("iam/another-role")
        answers.append(door.call(as_form(given, grant_type="client_credentials", client_id=client_id)))
    assert len({(answer.status, answer.body) for answer in answers}) == 1
    assert answers[0].comparable_headers == answers[1].comparable_headers == answers[2].comparable_headers


def test_no_document_names_the_method_at_an_endpoint_where_it_does_not_exist(seeded: Stack, start: StartFunction) -> None:
    document = start(seeded.functions["MetadataFunction"]).call(event("metadata/root"))
    assert document.json["issuer"] == f"{HOST}/oauth2" and b"aws_iam" not in document.body


@pytest.mark.parametrize("path", ["/", "/am/oauth2/connect/jwk_uri", "/.well-known/oauth-authorization-server/oauth2"])
def test_the_door_has_the_endpoints_of_clients_and_no_others(path: str, seeded: Stack, start: StartFunction) -> None:
    given = event("iam/function-url") | {"rawPath": path}
    given["requestContext"]["http"] |= {"path": path, "method": "GET"}
    assert start(seeded.functions["IamFunction"]).call(given).status == 404
