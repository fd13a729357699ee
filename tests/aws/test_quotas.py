"""Token quotas of the deployed function: what it answers, what an operator is told, and what becomes of them while nobody counts."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import seed
from aws_calls import AwsCalls
from conftest import StartFunction
from emulator import Emulator
from expectations import JWT, OPAQUE, UNAVAILABLE, Expected, assert_outcome, issued, rejected
from faults import RESET_AFTER, SILENCES, FaultyAws
from runtime_api import Answer, LambdaRuntime
from stack import Stack
from test_faults import Sandboxes, ShiftedClock, introspection, register, token_request

Register = Callable[..., seed.SeededClient]


@pytest.fixture
def registered_client(registered: Stack, emulator: Emulator, binaries: Path) -> Register:
    """Registers a client that nobody has counted for yet."""

    def with_settings(*settings: str) -> seed.SeededClient:
        client = seed.SeededClient(f"quota-{time.time_ns()}", "client_secret_basic", "write", settings)
        register(registered, binaries, emulator, seed.REALM, client)
        return client

    return with_settings


@pytest.fixture
def clock(tmp_path: Path) -> ShiftedClock:
    """A clock that begins ten seconds after an hour and after midnight: no window ends within a test that does not want it."""
    shifted = ShiftedClock(tmp_path)
    shifted.shift(86_400 - int(time.time()) % 86_400 + 10)
    return shifted


@pytest.fixture
def sandboxes(registered: Stack, binaries: Path, emulator: Emulator) -> Sandboxes:
    return Sandboxes(registered, binaries, emulator)


def told(policy: str, remaining: int, **more: str) -> dict[str, object]:
    """The headers of a quota: `policy` as one has it, and what is left of it."""
    window = policy.split(";")[0]
    named = {name.replace("_", "-"): value for name, value in more.items()}
    return {"ratelimit-policy": policy, "ratelimit": lambda value: value.startswith(f"{window};r={remaining};t="), **named}


def granted(headers: dict[str, object], form: str = OPAQUE) -> Expected:
    answer = issued("write", form)
    return Expected(answer.status, answer.body, {**answer.headers, **headers})


def refused(headers: dict[str, object]) -> Expected:
    answer = rejected(429, "temporarily_unavailable")
    return Expected(answer.status, answer.body, {**answer.headers, **headers})


def assert_says_nothing_of_quotas(answer: Answer) -> None:
    assert not {"ratelimit", "ratelimit-policy", "retry-after"} & answer.headers.keys(), answer


@pytest.mark.parametrize(("form", "settings"), [(OPAQUE, ()), (JWT, seed.STATELESS_JWT)], ids=["opaque", "stateless jwt"])
def test_sandboxes_count_together_and_a_quota_begins_anew_with_the_next_window(
    form: str,
    settings: tuple[str, ...],
    sandboxes: Sandboxes,
    registered_client: Register,
    emulator: Emulator,
    clock: ShiftedClock,
) -> None:
    client = registered_client("--token-quota", "3/hour", *settings)
    policy, given = '"hour";q=3;w=3600', token_request(client)
    with (
        sandboxes.start("TokenFunction", emulator.url, clock) as one,
        sandboxes.start("TokenFunction", emulator.url, clock) as other,
    ):
        assert_outcome(one, given, granted(told(policy, 2), form))
        assert_outcome(other, given, granted(told(policy, 1), form))
        assert_outcome(one, given, granted(told(policy, 0), form))
        for sandbox in (one, other):
            answer = assert_outcome(sandbox, given, refused(told(policy, 0)))
            assert answer
            wait = int(answer.headers["retry-after"])
            assert answer.headers["ratelimit"] == f'"hour";r=0;t={wait}' and 3_500 < wait < 3_600
        # To the second in which the client is told to come back.
        clock.shift(round(clock.now() - time.time()) + wait)
        assert_outcome(other, given, granted(told(policy, 2), form))


def test_a_refusal_is_one_line_of_the_log_and_of_metrics_with_its_reason(
    registered: Stack, start: StartFunction, registered_client: Register
) -> None:
    client = registered_client("--token-quota", "1/day")
    function = start(registered.functions["TokenFunction"])
    statuses = [function.call(token_request(client)).status for _ in range(4)]
    # The other one where a day has just begun.
    assert statuses in ([200, 429, 429, 429], [200, 200, 429, 429]), statuses
    line, metrics = function.log_lines()[-1], function.metric_lines()[-1]
    assert (line["level"], line["message"], line["reason"]) == ("INFO", "request refused", "token_quota_exceeded")
    assert (line["client_id"], line["realm"], line["quota"]) == (client.id, "alpha", "1/day")
    assert (metrics["RequestsRefused"], metrics["Reason"]) == (1, "token_quota_exceeded")
    assert "TokensIssued" not in metrics and metrics["DynamoDbCalls"] == 1
    assert len(function.log_lines()) == len(function.metric_lines()) == 4


def test_what_is_only_observed_is_told_to_the_operator_and_nobody_else(
    registered: Stack, start: StartFunction, registered_client: Register
) -> None:
    client = registered_client("--token-quota", "1/day", "--token-quota-mode", "observe")
    free = registered_client()
    function = start(registered.functions["TokenFunction"])
    for _ in range(4):
        answers = [assert_outcome(function, token_request(each), issued("write")) for each in (client, free)]
        assert answers[0] and answers[1] and answers[0].comparable_headers == answers[1].comparable_headers
        assert_says_nothing_of_quotas(answers[0])
    excess = [line for line in function.log_lines() if line["message"] == "token quota exceeded, which is only observed"]
    assert len(excess) >= 2
    issued_ids = {line["audit_tracking_id"] for line in function.log_lines() if line["message"] == "token issued"}
    for line in excess:
        assert (line["level"], line["client_id"], line["realm"], line["quota"]) == ("INFO", client.id, "alpha", "1/day")
        assert line["audit_tracking_id"] in issued_ids
    assert len({line["counted"] for line in excess}) == len(excess)
    beyond = [line for line in function.metric_lines() if "TokensBeyondQuota" in line]
    assert len(beyond) == len(excess)
    for line in beyond:
        assert (line["TokensIssued"], line["TokensBeyondQuota"], line["Realm"]) == (1, 1, "alpha")


@pytest.mark.parametrize("error", ["ThrottlingException", "ProvisionedThroughputExceededException", "AccessDeniedException"])
def test_while_nobody_counts_an_enforced_quota_is_a_503_and_an_observed_one_is_not_noticed(
    error: str, registered: Stack, start: StartFunction, emulator: Emulator, registered_client: Register
) -> None:
    enforced = registered_client("--token-quota", "1000/day")
    observed = registered_client("--token-quota", "1000/day", "--token-quota-mode", "observe")
    function = registered.functions["TokenFunction"]
    failing = {"dynamodb:UpdateItem": f"com.amazonaws.dynamodb.v20120810#{error}"}
    with AwsCalls(emulator, function.statements, failing=failing) as aws:
        sandbox = start(function, endpoint=aws.url)
        assert_outcome(sandbox, token_request(enforced), UNAVAILABLE["TokenFunction"])
        (line,) = sandbox.log_lines()
        assert (line["level"], line["message"]) == ("WARN", "request failed") and error in line["detail"]
        assert "dynamodb:PutItem" not in {call.action for call in aws.calls}, "no token is made that is not counted"

        answer = assert_outcome(sandbox, token_request(observed), issued("write"))
        assert answer
        assert_says_nothing_of_quotas(answer)
        warning, decision = sandbox.log_lines()[1:]
        assert (warning["level"], warning["client_id"], decision["message"]) == ("WARN", observed.id, "token issued")
        assert warning["message"] == "a token was not counted for a quota that is only observed"
        assert error in warning["error"] and enforced.id not in json.dumps(warning)


@pytest.mark.parametrize("fault", [RESET_AFTER, SILENCES[0]], ids=lambda fault: fault.name)
def test_an_observed_quota_that_cannot_be_counted_leaves_time_for_the_token(
    fault: object, sandboxes: Sandboxes, emulator: Emulator, registered_client: Register
) -> None:
    observed = registered_client("--token-quota", "1000/day", "--token-quota-mode", "observe")
    with FaultyAws(emulator) as aws, sandboxes.start("TokenFunction", aws.url) as sandbox:
        aws.fail("UpdateItem quota", fault)
        answer = assert_outcome(sandbox, token_request(observed), issued("write"))
        assert answer and sandboxes.is_active(answer.json["access_token"])
    sandboxes.close()


def test_the_report_reads_what_the_functions_write(
    registered: Stack, start: StartFunction, registered_client: Register, binaries: Path
) -> None:
    sparing, wasteful = registered_client(), registered_client()
    token_function = start(registered.functions["TokenFunction"])
    introspect_function = start(registered.functions["IntrospectFunction"])
    tokens = [token_function.call(token_request(each)).json["access_token"] for each in [sparing, *[wasteful] * 4]]
    for token in [tokens[0], tokens[0], tokens[1]]:
        assert introspect_function.call(introspection(token)).json["active"] is True
    # As `aws logs tail --format short` has them, one function after the other.
    logs = "".join(prefixed(function) for function in (introspect_function, token_function))
    command = [str(binaries / "grantwell"), "report", "tokens", "--output", "json"]
    done = subprocess.run(command, input=logs, text=True, capture_output=True, timeout=30, check=True)
    report = json.loads(done.stdout)
    assert report["clients"] == [
        {"realm": "alpha", "client_id": wasteful.id, "issued": 4, "used": 1, "early": 3, "ratio": 4.0},
        {"realm": "alpha", "client_id": sparing.id, "issued": 1, "used": 1, "early": 0, "ratio": 1.0},
    ]
    assert report["lines"] == {"read": len(logs.splitlines()), "skipped": len(logs.splitlines()) - 8}


def prefixed(function: LambdaRuntime) -> str:
    return "".join(f"2026-11-25T02:39:37 {line}\n" for line in function.logs().splitlines())
