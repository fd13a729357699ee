"""AWS fails, or the event is not one: the answer stays an OAuth error, holds no token, and the next request works."""

from __future__ import annotations

import base64
import socket
import time
from collections.abc import Iterator

import pytest

from aws_calls import AwsCalls
from conftest import StartFunction
from emulator import Emulator
from expectations import (
    EXPECTATIONS,
    UNAVAILABLE,
    WORK,
    Expected,
    ExpectedError,
    assert_answer,
    assert_outcome,
    event,
    rejected,
)
from stack import Stack
from template import Json

BROKEN = rejected(400, "invalid_request")


@pytest.fixture
def dead_end() -> Iterator[socket.socket]:
    """A port that is ours: while it does not listen it refuses connections, and when it does, nobody answers on them."""
    with socket.socket() as ours:
        ours.bind(("127.0.0.1", 0))
        yield ours


def url(address: socket.socket) -> str:
    return f"http://127.0.0.1:{address.getsockname()[1]}"


@pytest.mark.parametrize("name", WORK)
def test_aws_that_refuses_connections_is_a_503(
    name: str, seeded: Stack, start: StartFunction, dead_end: socket.socket
) -> None:
    function = start(seeded.functions[name], endpoint=url(dead_end))
    assert_outcome(function, event(WORK[name]), UNAVAILABLE[name])


@pytest.mark.parametrize("name", WORK)
def test_aws_that_never_answers_is_a_503_before_lambda_gives_up(
    name: str, seeded: Stack, start: StartFunction, dead_end: socket.socket
) -> None:
    dead_end.listen(64)
    function = start(seeded.functions[name], endpoint=url(dead_end))
    begun = time.monotonic()
    assert_outcome(function, event(WORK[name]), UNAVAILABLE[name])
    assert time.monotonic() - begun < seeded.functions[name].timeout_seconds


@pytest.mark.parametrize(
    ("name", "action"),
    [
        ("TokenFunction", "dynamodb:GetItem"),
        ("TokenFunction", "dynamodb:PutItem"),
        ("TokenFunction", "secretsmanager:GetSecretValue"),
        ("TokenFunction", "secretsmanager:CreateSecret"),
        ("IntrospectFunction", "dynamodb:GetItem"),
        ("IntrospectFunction", "dynamodb:PutItem"),
        ("IntrospectFunction", "secretsmanager:GetSecretValue"),
        ("IntrospectFunction", "secretsmanager:CreateSecret"),
        ("RevokeFunction", "dynamodb:GetItem"),
        ("RevokeFunction", "dynamodb:DeleteItem"),
        ("RevokeFunction", "secretsmanager:GetSecretValue"),
        ("MetadataFunction", "dynamodb:GetItem"),
        ("AuthorizerFunction", "dynamodb:GetItem"),
    ],
)
def test_throttling_is_a_503_after_the_sdks_three_attempts(
    name: str, action: str, seeded: Stack, start: StartFunction, emulator: Emulator
) -> None:
    """Above all no token that was not stored, no `{"active":false}` for a token that is, no 200 for a revocation undone, no
    word of an authorizer that a cache could keep.
    """
    function = seeded.functions[name]
    with AwsCalls(emulator, function.statements, throttled=frozenset({action})) as aws:
        # An opaque token is stored by the only PutItem there is.
        work = "token/basic" if (name, action) == ("TokenFunction", "dynamodb:PutItem") else WORK[name]
        assert_outcome(start(function, endpoint=aws.url), event(work), UNAVAILABLE[name])
        tried = [call for call in aws.calls if call.action == action]
        assert len(tried) == 3, tried


def changed(event: Json, **members: object) -> Json:
    return {**event, **members}


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param(changed(event("token/basic"), body="not base64!"), id="no base64"),
        pytest.param(changed(event("token/basic"), body="Z3Jh\r\nbnQ="), id="base64 with line breaks"),
        pytest.param(changed(event("token/basic"), body=base64.b64encode(b"scope=\xff\xfe").decode()), id="no UTF-8"),
        pytest.param(changed(event("token/basic"), headers=None), id="headers null"),
        pytest.param(changed(event("token/basic"), body=None, isBase64Encoded=False), id="body null"),
    ],
)
def test_a_broken_event_is_a_400_and_the_next_one_works(broken: Json, seeded: Stack, start: StartFunction) -> None:
    function = start(seeded.functions["TokenFunction"])
    assert_answer(function.call(broken), BROKEN)
    assert_outcome(function, event("token/basic"), EXPECTATIONS["token/basic"])


@pytest.mark.parametrize(
    "strange",
    [
        pytest.param({}, id="empty"),
        pytest.param({"key1": "value1", "key2": "value2", "key3": "value3"}, id="the console's test event"),
        pytest.param({"version": "2.0", "requestContext": None}, id="requestContext null"),
        pytest.param([], id="no object"),
    ],
)
def test_what_is_no_request_gets_an_oauth_error_and_the_next_one_works(
    strange: Json, seeded: Stack, start: StartFunction
) -> None:
    function = start(seeded.functions["TokenFunction"])
    answer = function.call(strange)
    assert answer.status in (400, 404, 405), answer
    assert answer.json.keys() == {"error", "error_description"}
    assert answer.headers["cache-control"] == "no-store"
    assert_outcome(function, event("token/basic"), EXPECTATIONS["token/basic"])


@pytest.mark.parametrize(
    ("member", "value"),
    [("host", "evil.example"), ("x-forwarded-host", "evil.example"), ("forwarded", "host=evil.example;proto=http")],
)
def test_the_issuer_is_the_gateways_name_whatever_a_header_says(
    member: str, value: str, seeded: Stack, start: StartFunction
) -> None:
    spoofed = event("metadata/oauth-authorization-server")
    spoofed["headers"][member] = value
    answer = start(seeded.functions["MetadataFunction"]).call(spoofed)
    expected = EXPECTATIONS["metadata/oauth-authorization-server"]
    assert isinstance(expected, Expected)
    assert_answer(answer, expected)


@pytest.mark.parametrize("strange", [{}, [], {"type": "TOKEN"}, event("token/basic")])
def test_what_is_no_request_to_an_authorizer_fails_and_the_next_one_works(
    strange: Json, seeded: Stack, start: StartFunction
) -> None:
    function = start(seeded.functions["AuthorizerFunction"])
    assert_outcome(function, strange, ExpectedError("the event is not a request to an authorizer"))
    assert_outcome(function, event("authorizer/http-api-v2"), EXPECTATIONS["authorizer/http-api-v2"])


def test_two_authorization_headers_are_refused(seeded: Stack, start: StartFunction) -> None:
    """HTTP API joins repeated headers by a comma: one of two credentials must not win."""
    doubled = event("token/basic")
    doubled["headers"]["authorization"] += "," + event("token/wrong-secret")["headers"]["authorization"]
    answer = start(seeded.functions["TokenFunction"]).call(doubled)
    assert answer.status in (400, 401), answer
    assert answer.json["error"] in ("invalid_request", "invalid_client")
    assert "access_token" not in answer.json


def test_a_body_beyond_64_kib_is_413(seeded: Stack, start: StartFunction) -> None:
    large = event("token/basic")
    body = b"grant_type=client_credentials&padding=" + b"x" * 65536
    large["body"] = base64.b64encode(body).decode()
    large["headers"]["content-length"] = str(len(body))
    assert_answer(start(seeded.functions["TokenFunction"]).call(large), rejected(413, "invalid_request"))
