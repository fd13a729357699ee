"""Every file of events/ through the built function binaries, over a real Lambda Runtime API and under the stack's IAM role."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import pytest

import key_client
import workload_client
import seed
import tables
from conftest import StartFunction
from expectations import EXPECTATIONS, Expected, assert_outcome, event, files, issued
from runtime_api import FunctionError, LambdaRuntime
from stack import Stack


def stored(manager: Any, name: str, stage: str) -> Any:
    return json.loads(manager.get_secret_value(SecretId=name, VersionStage=stage)["SecretString"])


def function_of(name: str) -> str:
    return name.split("/")[0].capitalize() + "Function"


def test_every_event_has_an_expected_answer_and_the_reverse() -> None:
    assert files().keys() == EXPECTATIONS.keys()


def test_every_expected_error_is_one_of_the_codes_own_with_its_status() -> None:
    known = {(each["status"], each["error"]) for each in tables.described()["errors"]}
    assert (500, "server_error") in known and (501, "invalid_request") in known, "the table is not whole"
    bodies = [(each.status, each.body) for each in EXPECTATIONS.values() if isinstance(each, Expected)]
    expected = {(status, body["error"]) for status, body in bodies if isinstance(body, Mapping) and "error" in body}
    assert expected and expected - known == set()


@pytest.mark.parametrize("name", EXPECTATIONS)
def test_event(name: str, seeded: Stack, start: StartFunction) -> None:
    function = start(seeded.functions[function_of(name)])
    assert_outcome(function, event(name), EXPECTATIONS[name])


def test_a_function_answers_one_event_after_another(seeded: Stack, start: StartFunction) -> None:
    """A warm sandbox: caches are filled, connections are reused, and a refusal leaves nothing behind for the next caller."""
    running = {name: start(function) for name, function in seeded.functions.items()}
    for _ in range(2):
        for name, expected in EXPECTATIONS.items():
            if name != "revoke/own":
                assert_outcome(running[function_of(name)], event(name), expected)


def test_an_unknown_client_and_a_wrong_secret_get_the_same_answer(seeded: Stack, start: StartFunction) -> None:
    token = start(seeded.functions["TokenFunction"])
    unknown, wrong = token.call(event("token/unknown-client")), token.call(event("token/wrong-secret"))
    assert (unknown.status, unknown.body) == (wrong.status, wrong.body)
    assert unknown.comparable_headers == wrong.comparable_headers


def test_two_tokens_differ(seeded: Stack, start: StartFunction) -> None:
    token = start(seeded.functions["TokenFunction"])
    first, second = (token.call(event("token/basic")).json["access_token"] for _ in range(2))
    assert first != second


def test_revoking_ends_the_token_and_only_the_owners(seeded: Stack, start: StartFunction) -> None:
    introspect, revoke = start(seeded.functions["IntrospectFunction"]), start(seeded.functions["RevokeFunction"])

    def is_active(token: seed.SeededToken) -> bool:
        asked = event("introspect/active")
        asked["body"] = base64.b64encode(f"token={token.value}".encode()).decode()
        return introspect.call(asked).json["active"] is True

    assert is_active(seed.REVOCABLE) and is_active(seed.FOREIGN)
    assert_outcome(revoke, event("revoke/own"), EXPECTATIONS["revoke/own"])
    assert_outcome(revoke, event("revoke/foreign"), EXPECTATIONS["revoke/foreign"])
    assert not is_active(seed.REVOCABLE)
    assert is_active(seed.FOREIGN)
    # A second time is a success too (RFC 7009 §2.2).
    assert_outcome(revoke, event("revoke/own"), EXPECTATIONS["revoke/own"])


def test_a_fresh_assertion_is_good_for_one_request_to_whichever_function(seeded: Stack, start: StartFunction) -> None:
    issuing = [start(seeded.functions["TokenFunction"]) for _ in range(2)]
    text = key_client.assertion(int(time.time()))
    assert_outcome(issuing[0], key_client.event_with(text), issued("write"))
    # Another sandbox shares nothing with the first but the table.
    assert_outcome(issuing[1], key_client.event_with(text), EXPECTATIONS["token/private-key-jwt-expired"])
    assert_outcome(issuing[1], key_client.event_with(key_client.assertion(int(time.time()))), issued("write"))


def test_a_fresh_token_of_a_platform_is_good_once_in_whichever_place(seeded: Stack, start: StartFunction) -> None:
    issuing = [start(seeded.functions["TokenFunction"]) for _ in range(2)]
    for place, other in (("grant", "assertion"), ("assertion", "grant")):
        text = workload_client.token(int(time.time()))
        assert_outcome(issuing[0], workload_client.event_with(text, place), issued("write"))
        refused = EXPECTATIONS[f"token/{workload_client.EVENTS[other].stem}"]
        assert_outcome(issuing[1], workload_client.event_with(text, other), refused)
    # A file that is read again.
    pod = {"issuer": seed.CLUSTER, "sub": "system:serviceaccount:orders:api", "iat": int(time.time()) - 3000}
    text = workload_client.token(int(time.time()), **pod)
    for function in issuing:
        assert_outcome(function, workload_client.event_with(text, client=seed.MY_POD.id), issued("write"))


def test_no_log_line_holds_a_credential_even_at_the_most_talkative_level(seeded: Stack, start: StartFunction) -> None:
    secrets = {"wrong secret": "not-a-secret-someoneElse-0123456789", "password": "not-a-password-0123456789"}
    for client in seed.CLIENTS:
        if not client.has_secret:
            continue
        secrets[f"secret of {client.id}"] = client.secret
        secrets[f"Basic credential of {client.id}"] = client.basic.rstrip("=")
        secrets[f"encoded secret of {client.id}"] = quote(client.secret, safe="")
    for token in seed.TOKENS:
        secrets[token.name] = token.value
    running: dict[str, LambdaRuntime] = {}
    for name, function in seeded.functions.items():
        credentials = seeded.credentials(function.role_arn)
        secrets[f"AWS key of {name}"] = credentials.secret_access_key
        secrets[f"AWS session of {name}"] = credentials.session_token or pytest.fail("a role without a session token")
        talkative = {**function.environment, "GRANTWELL_LOG_LEVEL": "trace", "RUST_LOG": "trace"}
        running[name] = start(function, environment=talkative, credentials=credentials)
    for name in EXPECTATIONS:
        given = event(name)
        if given.get("body"):
            secrets[f"body of {name}"] = given["body"]
        authorization = (given.get("headers") or {}).get("authorization", "")
        session = (given.get("headers") or {}).get("x-amz-security-token", "")
        if session:
            secrets[f"session of {name}"] = session
        if authorization:
            secrets[f"Authorization of {name}"] = authorization.removeprefix("Basic ").rstrip("=")
        if not isinstance(EXPECTATIONS[name], Expected):
            assert_outcome(running[function_of(name)], given, EXPECTATIONS[name])
            continue
        answer = running[function_of(name)].call(given)
        if name.startswith("token/") and answer.status == 200:
            secrets[f"token issued to {name}"] = json.loads(answer.body)["access_token"]
    manager = seeded.emulator.client("secretsmanager")
    prefix = seeded.parameters["SecretPrefix"]
    for number, key in enumerate(stored(manager, f"{prefix}/{seed.REALM}/signing-keys", "AWSCURRENT")["keys"]):
        secrets[f"private key {number}"] = key["pkcs8"]
    rotated = stored(manager, f"{prefix}/{seed.REALM}/clients/{seed.ROTATED_CLIENT.id}", "AWSPENDING")
    secrets["pending secret"] = rotated["client_secret"]
    for name, sandbox in running.items():
        logs = sandbox.logs()
        assert logs.strip(), f"{name} logged nothing, so this test proves nothing"
        for what, secret in secrets.items():
            assert secret not in logs, f"{name} logged the {what}"


def test_the_authorizer_logs_one_line_for_each_decision(seeded: Stack, start: StartFunction) -> None:
    """Who asked for which route, and why not: with the route for the path, in which a clumsy client puts its token."""
    authorizer = start(seeded.functions["AuthorizerFunction"])
    unnamed = event("authorizer/rest-token")
    unnamed["methodArn"] += f"/{seed.ACTIVE.value}"
    for given in (
        event("authorizer/http-api-v2"),
        event("authorizer/http-api-v2-insufficient-scope"),
        event("authorizer/http-api-v2-unknown-route"),
        unnamed,
    ):
        authorizer.invoke(given)
    with pytest.raises(FunctionError):
        authorizer.invoke(event("authorizer/rest-request-unauthorized"))
    lines = authorizer.log_lines()
    unknown = "access denied to a route that GRANTWELL_AUTHORIZER_SCOPES does not name"
    token = {"client_id": "myClient", "audit_tracking_id": f"audit-of-{seed.ACTIVE.name}"}
    source = {"source": "203.0.113.7"}
    varying = ("timestamp", "request_id", "duration_ms")
    assert [{name: value for name, value in line.items() if name not in varying} for line in lines] == [
        {"level": "INFO", "message": "access allowed", **token, "route": "POST /orders", "status": 200, **source},
        {
            "level": "INFO",
            "message": "access denied",
            **token,
            "route": "DELETE /orders/{id}",
            "reason": "insufficient_scope",
            "status": 403,
            **source,
        },
        {
            "level": "WARN",
            "message": unknown,
            **token,
            "route": "$default",
            "reason": "no_such_route",
            "status": 403,
            **source,
        },
        # A token authorizer's event does not say who asks.
        {"level": "WARN", "message": unknown, **token, "reason": "no_such_route", "status": 403},
        {
            "level": "INFO",
            "message": "access denied",
            "route": "GET /orders/{id}",
            "reason": "invalid_token",
            "detail": "expired",
            "status": 401,
            **source,
        },
    ]
