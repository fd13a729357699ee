"""What each function tells an operator: one line of metrics for each invocation, one line of the log for each decision."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

import seed
import tables
from aws_calls import AwsCalls
from conftest import StartFunction
from emulator import Emulator
from expectations import EXPECTATIONS, UNAVAILABLE, WORK, assert_outcome, event
from runtime_api import LambdaRuntime
from stack import DeployedFunction, Stack
from template import Json
from test_events import function_of

ISSUED = ("token issued", {"TokensIssued": 1, "Realm": "alpha"})
ACTIVE = ("token introspected", {"IntrospectionsActive": 1})
INACTIVE = ("token introspected", {"IntrospectionsInactive": 1})
ALLOWED = ("access allowed", {"AccessAllowed": 1})
NOTHING: tuple[None, dict[str, Any]] = (None, {})
UNNAMED = "access denied to a route that GRANTWELL_AUTHORIZER_SCOPES does not name"


def refused(reason: str) -> tuple[str, dict[str, Any]]:
    return "request refused", {"RequestsRefused": 1, "Reason": reason}


def denied(reason: str, message: str = "access denied") -> tuple[str, dict[str, Any]]:
    return message, {"AccessDenied": 1, "Reason": reason}


def rotation(message: str, failed: int) -> tuple[str, dict[str, Any]]:
    return message, {"RotationsFailed": failed} if failed else {}


# The line that says what was decided, and what CloudWatch counts, caches and calls aside. An event that is not here decides nothing:
# it asks for a public document, or by a method that there is not.
TOLD: dict[str, tuple[str | None, dict[str, Any]]] = {
    "token/basic": ISSUED,
    "token/jwt": ISSUED,
    "token/quota": ISSUED,
    "token/basic-no-scope": ISSUED,
    "token/post": ISSUED,
    "token/rest-api-v1": ISSUED,
    "token/base64-body": ISSUED,
    "token/wrong-secret": refused("wrong_secret"),
    "token/private-key-jwt-expired": refused("assertion_expired"),
    "token/workload-identity-expired": refused("assertion_expired"),
    "token/jwt-bearer-expired": refused("assertion_expired"),
    "token/unknown-client": refused("unknown_client"),
    "token/invalid-scope": refused("invalid_scope"),
    "token/unsupported-grant": refused("unsupported_grant_type"),
    "token/duplicate-parameter": refused("invalid_request"),
    "token/json-body": refused("invalid_request"),
    "token/unknown-realm": refused("unknown_realm"),
    "introspect/active": ACTIVE,
    "introspect/signed": ACTIVE,
    "introspect/inactive": INACTIVE,
    "introspect/own-token": ACTIVE,
    "introspect/foreign": INACTIVE,
    "introspect/rest-api-v1": ACTIVE,
    "introspect/unauthenticated": refused("no_credentials"),
    "introspect/missing-token": refused("invalid_request"),
    "revoke/own": ("revocation answered", {"TokensRevoked": 1}),
    "revoke/unknown": ("revocation answered", {"TokensRevoked": 0}),
    "revoke/foreign": refused("invalid_request"),
    "revoke/unauthenticated": refused("no_credentials"),
    "metadata/unknown-realm": refused("unknown_realm"),
    "rotate/scheduled": (None, {"SigningKeysOverdue": 0}),
    "rotate/create-client-secret": rotation("rotation step", 0),
    "rotate/set-client-secret": rotation("rotation step", 0),
    "rotate/not-pending": rotation("rotation step", 1),
    "rotate/foreign-secret": rotation("refused a step for a secret that is not this stack's", 1),
    "rotate/unknown-step": rotation("refused an event that is neither a rotation step nor a scheduled event", 1),
    "rotate/proxy-request": rotation("refused an event that is neither a rotation step nor a scheduled event", 1),
    "iam/function-url": ISSUED,
    "iam/http-api": ISSUED,
    "iam/rest-api-v1": ISSUED,
    "iam/another-session": ISSUED,
    "iam/introspect": INACTIVE,
    "iam/revoke": ("revocation answered", {"TokensRevoked": 0}),
    "iam/another-role": refused("no_trust_rule"),
    "iam/another-account": refused("no_trust_rule"),
    "iam/another-partition": refused("no_trust_rule"),
    "iam/contradiction": refused("aws_caller_malformed"),
    "iam/user": refused("aws_caller_not_a_role"),
    "iam/root": refused("aws_caller_not_a_role"),
    "iam/federated-user": refused("aws_caller_not_a_role"),
    "iam/cognito": refused("aws_caller_not_a_role"),
    "iam/test-invoke": refused("aws_caller_missing"),
    "iam/unsigned": refused("aws_caller_missing"),
    "iam/unknown-client": refused("unknown_client"),
    "iam/no-client-id": refused("invalid_request"),
    "iam/secret-beside": refused("invalid_request"),
    "iam/basic-beside": refused("invalid_request"),
    "authorizer/http-api-v2": ALLOWED,
    "authorizer/http-api-v2-path-parameter": ALLOWED,
    "authorizer/http-api-v2-no-header": denied("no_credentials"),
    "authorizer/http-api-v2-invalid-token": denied("invalid_token"),
    "authorizer/http-api-v2-insufficient-scope": denied("insufficient_scope"),
    "authorizer/http-api-v2-unknown-route": denied("no_such_route", UNNAMED),
    "authorizer/http-api-v1-invalid-token": denied("invalid_token"),
    "authorizer/rest-token": ALLOWED,
    "authorizer/rest-token-unauthorized": denied("invalid_token"),
    "authorizer/rest-request": ALLOWED,
    "authorizer/rest-request-insufficient-scope": denied("insufficient_scope"),
    "authorizer/rest-request-unauthorized": denied("invalid_token"),
    "authorizer/rest-request-two-headers": denied("invalid_token"),
}
IDS = {"timestamp", "level", "request_id", "trace_id", "_aws", "FunctionName"}
COSTS = re.compile(r"\w+Cache(Hits|Misses)|(DynamoDb|SecretsManager)(Calls|Throttles|Failures)|ColdStarts|Latency")
UNITS = {"Count", "Milliseconds"}


def assert_is_emf(line: Json, function: DeployedFunction) -> None:
    """What the specification asks for: a target for every name, a number for every metric, a text for every dimension."""
    assert line["_aws"].keys() == {"Timestamp", "CloudWatchMetrics"}
    assert type(line["_aws"]["Timestamp"]) is int and line["_aws"]["Timestamp"] > 1_700_000_000_000
    named = set(IDS)
    for directive in line["_aws"]["CloudWatchMetrics"]:
        assert directive.keys() == {"Namespace", "Dimensions", "Metrics"}
        assert directive["Namespace"] == "Grantwell"
        for metric in directive["Metrics"]:
            assert metric.keys() == {"Name", "Unit"} and metric["Unit"] in UNITS, metric
            assert type(line[metric["Name"]]) in (int, float) and line[metric["Name"]] >= 0
            named.add(metric["Name"])
        for dimensions in directive["Dimensions"]:
            assert dimensions[0] == "FunctionName" and len(dimensions) <= 2
            for dimension in dimensions:
                assert isinstance(line[dimension], str) and 0 < len(line[dimension]) <= 1024
                named.add(dimension)
    assert line.keys() <= named, f"nothing says what {line.keys() - named} are"
    assert line["FunctionName"] == function.name
    assert "trace_id" not in line, "of what X-Ray is not told of there is no trace"
    assert line["Latency"] > 0


def decided(lines: list[Json]) -> list[Json]:
    """The lines of decisions, without what else there is to say of an invocation."""
    return [line for line in lines if line["message"] not in ("signing keys created", "signing keys published")]


def told(function: LambdaRuntime, given: Json, name: str) -> tuple[list[Json], list[Json]]:
    """The log lines and the metric lines of one event."""
    logged, measured = len(function.log_lines()), len(function.metric_lines())
    assert_outcome(function, given, EXPECTATIONS[name])
    return function.log_lines()[logged:], function.metric_lines()[measured:]


def test_what_is_told_is_of_events_that_there_are() -> None:
    assert TOLD.keys() <= EXPECTATIONS.keys()


def test_every_event_is_one_line_of_metrics_and_every_decision_one_line_of_the_log(
    seeded: Stack, start: StartFunction
) -> None:
    """In one warm sandbox for each function: nothing of one request is counted with the next."""
    running = {name: start(function) for name, function in seeded.functions.items()}
    for name in EXPECTATIONS:
        message, counted = TOLD.get(name, NOTHING)
        function = function_of(name)
        lines, metrics = told(running[function], event(name), name)
        (line,) = metrics
        assert_is_emf(line, seeded.functions[function])
        assert {member: line[member] for member in line.keys() - IDS if not COSTS.fullmatch(member)} == counted, name
        decisions = decided(lines)
        assert [each["message"] for each in decisions] == ([message] if message else []), name
        for each in decisions:
            assert each["request_id"] == line["request_id"], "a line is found by the id that the answer has"
            assert "trace_id" not in each
            assert function == "RotateFunction" or each["duration_ms"] > 0


@pytest.mark.parametrize("name", ["token/basic", "introspect/active", "authorizer/http-api-v2"])
def test_what_is_sampled_is_found_from_its_trace_and_the_trace_from_it(
    name: str, seeded: Stack, start: StartFunction
) -> None:
    running = start(seeded.functions[function_of(name)])
    running.sampled = True
    lines, (metrics,) = told(running, event(name), name)
    assert re.fullmatch(r"1-[0-9a-f]{8}-[0-9a-f]{24}", metrics["trace_id"])
    assert {line["trace_id"] for line in lines} == {metrics["trace_id"]}


def test_a_decision_says_whence_it_came_how_it_was_answered_and_the_id_that_the_answer_has(
    seeded: Stack, start: StartFunction
) -> None:
    """Lambda's id: no caller chooses it, and the API's access log has it as integrationRequestId."""
    running: dict[str, LambdaRuntime] = {}
    for name, expected in EXPECTATIONS.items():
        function = function_of(name)
        if function not in ("TokenFunction", "IntrospectFunction", "RevokeFunction", "MetadataFunction"):
            continue
        sandbox = running.setdefault(function, start(seeded.functions[function]))
        given = event(name)
        given["headers" if given.get("version") == "2.0" else "multiValueHeaders"]["x-request-id"] = (
            "chosen" if given.get("version") == "2.0" else ["chosen"]
        )
        before = len(sandbox.log_lines())
        answer = sandbox.call(given)
        assert answer.status == expected.status, name
        assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", answer.headers["x-request-id"]), name
        assert sandbox.metric_lines()[-1]["request_id"] == answer.headers["x-request-id"]
        context = given["requestContext"]
        peer = context["http"]["sourceIp"] if "http" in context else context["identity"]["sourceIp"]
        for line in decided(sandbox.log_lines()[before:]):
            assert line["request_id"] == answer.headers["x-request-id"], name
            assert (line["source"], line["status"]) == (peer, answer.status), name
            assert ("requested_scope" in line) == (line.get("reason") == "invalid_scope"), name
            assert "span" not in line and "target" not in line


def test_an_inactive_token_has_its_reason_in_the_log_alone(seeded: Stack, start: StartFunction) -> None:
    function = start(seeded.functions["IntrospectFunction"])
    for name, reason in (("introspect/inactive", None), ("introspect/foreign", "caller_may_not_introspect")):
        before = len(function.log_lines())
        answer = function.call(event(name))
        assert answer.body == b'{"active":false}'
        (line,) = decided(function.log_lines()[before:])
        known = {row["name"] for row in tables.described()["reasons"] if row["kind"] in ("inactive", "refusal")}
        assert line["active"] is False and line["reason"] in known
        assert reason is None or line["reason"] == reason


def test_a_tokens_decisions_carry_its_audit_id_and_its_form(seeded: Stack, start: StartFunction) -> None:
    function = start(seeded.functions["TokenFunction"])
    for name, form in (("token/basic", "opaque"), ("token/jwt", "jwt")):
        (line,) = decided(told(function, event(name), name)[0])
        assert line["format"] == form
        assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", line["audit_tracking_id"])
    for name in ("introspect/active", "introspect/signed", "authorizer/http-api-v2", "authorizer/rest-token"):
        (line,) = decided(told(start(seeded.functions[function_of(name)]), event(name), name)[0])
        assert line["audit_tracking_id"] == f"audit-of-{seed.ACTIVE.name}", name


def test_the_first_request_fills_the_caches_and_the_second_costs_one_write(
    seeded: Stack, start: StartFunction
) -> None:
    function = start(seeded.functions["TokenFunction"])
    costs = []
    for _ in range(2):
        (line,) = told(function, event("token/basic"), "token/basic")[1]
        costs.append({name: line[name] for name in line if COSTS.fullmatch(name) and name != "Latency"})
    assert costs == [
        {
            "ColdStarts": 1,
            # It came with the realm, and was remembered when it was asked for.
            "ClientCacheHits": 1,
            # The second read sees a right that was withdrawn before the secret was made, which this process has never seen.
            "ClientCacheMisses": 2,
            "RealmCacheMisses": 1,
            "SecretCacheMisses": 1,
            "DynamoDbCalls": 3,
            "SecretsManagerCalls": 2,
        },
        {"ClientCacheHits": 1, "RealmCacheHits": 1, "SecretCacheHits": 1, "DynamoDbCalls": 1},
    ]


@pytest.mark.parametrize(("name", "action"), [("TokenFunction", "dynamodb:PutItem"), ("AuthorizerFunction", "dynamodb:GetItem")])
def test_a_throttled_table_is_three_throttled_calls_and_one_503(
    name: str, action: str, seeded: Stack, start: StartFunction, emulator: Emulator
) -> None:
    function = seeded.functions[name]
    work = "token/basic" if name == "TokenFunction" else WORK[name]
    with AwsCalls(emulator, function.statements, throttled=frozenset({action})) as aws:
        running = start(function, endpoint=aws.url)
        assert_outcome(running, event(work), UNAVAILABLE[name])
    (line,) = running.metric_lines()
    assert_is_emf(line, function)
    assert (line["DynamoDbThrottles"], line["AnswersUnavailable"]) == (3, 1)
    assert (line["RequestsRefused"], line["Reason"]) == (1, "temporarily_unavailable")
    assert "AnswersFailed" not in line and "DynamoDbFailures" not in line
    (failed,) = running.log_lines()
    assert failed["message"] == "request failed"


def test_a_store_that_never_answers_is_a_failed_call(seeded: Stack, start: StartFunction) -> None:
    running = start(seeded.functions["TokenFunction"], endpoint="http://127.0.0.1:9")
    assert_outcome(running, event("token/basic"), UNAVAILABLE["TokenFunction"])
    (line,) = running.metric_lines()
    assert (line["DynamoDbCalls"], line["DynamoDbFailures"], line["AnswersUnavailable"]) == (3, 3, 1)


def test_what_is_no_request_is_counted_too(seeded: Stack, start: StartFunction) -> None:
    running = start(seeded.functions["TokenFunction"])
    assert running.call({}).status == 400
    (line,) = running.metric_lines()
    assert (line["RequestsRefused"], line["Reason"]) == (1, "malformed_request")


def test_metrics_that_are_off_write_nothing(seeded: Stack, start: StartFunction) -> None:
    function = seeded.functions["TokenFunction"]
    assert function.environment["GRANTWELL_METRICS"] == "emf", "the template's default"
    running = start(function, environment={**function.environment, "GRANTWELL_METRICS": "off"})
    assert_outcome(running, event("token/basic"), EXPECTATIONS["token/basic"])
    assert running.metric_lines() == []
    assert len(running.log_lines()) == 1


@pytest.mark.parametrize("level", ["error", "warn"])
def test_metrics_have_the_level_that_lambda_lets_pass_and_outlive_the_lines_that_it_drops(
    level: str, seeded: Stack, start: StartFunction
) -> None:
    function = seeded.functions["TokenFunction"]
    running = start(function, environment={**function.environment, "GRANTWELL_LOG_LEVEL": level})
    assert_outcome(running, event("token/basic"), EXPECTATIONS["token/basic"])
    (line,) = running.metric_lines()
    assert line["level"] == level.upper()
    # RFC 3339, or Lambda takes the line for INFO.
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", line["timestamp"])
    assert running.log_lines() == []


def test_no_dimension_is_a_callers_word(seeded: Stack, start: StartFunction) -> None:
    """A caller who invents realms and clients makes no metrics, which somebody would pay for."""
    running = start(seeded.functions["TokenFunction"])
    for number in range(20):
        given = event("token/unknown-client")
        given["rawPath"] = given["rawPath"].replace("/alpha/", f"/invented-{number}/")
        running.call(given)
        running.call(event("token/unknown-client"))
    lines = running.metric_lines()
    assert len(lines) == 40
    assert not any("Realm" in line or "invented" in json.dumps(line) for line in lines)
    assert {line["Reason"] for line in lines} == {"unknown_client", "unknown_realm", "too_many_failed_attempts"}
