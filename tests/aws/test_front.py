"""What stands in front of the API: with Front=cloudfront nothing is answered that did not come through it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping

import pytest

from conftest import StartFunction
from expectations import EXPECTATIONS, FUNCTIONS, WORK, Expected, assert_answer, assert_outcome, event, rejected, unauthenticated
from runtime_api import FunctionFailed, LambdaRuntime
from stack import Stack
from template import Json

NAMES = [name for name, row in FUNCTIONS.items() if row.endpoints]
SECRET, BEFORE = "canary-of-the-front-0123456789", "canary-before-0123456789"
PAST_THE_FRONT = Expected(
    403,
    {"error": "access_denied", "error_description": "requests must come through the public address of this server"},
    {"content-type": "application/json", "cache-control": "no-store", "pragma": "no-cache"},
)


def behind_cloudfront(environment: Mapping[str, str]) -> dict[str, str]:
    return {
        **environment,
        "GRANTWELL_FRONT": "cloudfront",
        "GRANTWELL_ORIGIN_SECRET_SHA256": hashlib.sha256(SECRET.encode()).hexdigest(),
        "GRANTWELL_ORIGIN_SECRET_PREVIOUS_SHA256": hashlib.sha256(BEFORE.encode()).hexdigest().upper(),
    }


def told_by_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """As the template tells it: the digests are members of its parameter Settings."""
    own = behind_cloudfront(environment)
    current = own.pop("GRANTWELL_ORIGIN_SECRET_SHA256")
    previous = own.pop("GRANTWELL_ORIGIN_SECRET_PREVIOUS_SHA256")
    settings = {"origin_secret_sha256": current, "origin_secret_previous_sha256": previous}
    return {**own, "GRANTWELL_SETTINGS": json.dumps(settings)}


def with_header(given: Json, name: str, value: str) -> Json:
    return {**given, "headers": {**given["headers"], name: value}}


@pytest.mark.parametrize("told", [behind_cloudfront, told_by_settings])
@pytest.mark.parametrize("name", NAMES)
def test_behind_cloudfront_a_function_demands_its_secret_and_never_tells_it(
    name: str, told: Callable[[Mapping[str, str]], dict[str, str]], seeded: Stack, start: StartFunction
) -> None:
    function = seeded.functions[name]
    running = start(function, environment=told(function.environment))
    given = event(WORK[name])
    for refused in (
        given,
        with_header(given, "x-grantwell-origin", ""),
        with_header(given, "x-grantwell-origin", SECRET[:-1]),
        with_header(given, "x-grantwell-origin", f"{SECRET},{SECRET}"),
        with_header(given, "x-grantwell-origin", hashlib.sha256(SECRET.encode()).hexdigest()),
        with_header(given, "x-origin", SECRET),
    ):
        assert_answer(running.call(refused), PAST_THE_FRONT)
    for secret in (SECRET, BEFORE):
        assert_outcome(running, with_header(given, "x-grantwell-origin", secret), EXPECTATIONS[WORK[name]])
    log = str(running.log_lines())
    assert "an event was refused before it reached a router" in log
    for canary in (SECRET[:-1], BEFORE):
        assert canary not in log


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("front", ["none", "custom-domain", ""])
def test_elsewhere_the_header_means_nothing(name: str, front: str, seeded: Stack, start: StartFunction) -> None:
    function = seeded.functions[name]
    running = start(function, environment={**behind_cloudfront(function.environment), "GRANTWELL_FRONT": front})
    assert_outcome(running, event(WORK[name]), EXPECTATIONS[WORK[name]])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("GRANTWELL_FRONT", "CloudFront"),
        ("GRANTWELL_ORIGIN_SECRET_SHA256", ""),
        ("GRANTWELL_ORIGIN_SECRET_SHA256", SECRET),
        ("GRANTWELL_ORIGIN_SECRET_PREVIOUS_SHA256", SECRET),
    ],
)
def test_a_function_that_cannot_demand_the_secret_does_not_start(
    name: str, variable: str, value: str, seeded: Stack, start: StartFunction
) -> None:
    function = seeded.functions[name]
    with pytest.raises(FunctionFailed) as failed:
        environment = {**behind_cloudfront(function.environment), variable: value}
        start(function, environment=environment).invoke(with_header(event(WORK[name]), "x-grantwell-origin", SECRET))
    assert variable in str(failed.value) and SECRET not in str(failed.value)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({}, "origin_secret_sha256"),
        ({"origin_secret_sha256": ""}, "origin_secret_sha256"),
        ({"origin_secret_sha256": SECRET}, "origin_secret_sha256"),
        ({"origin_secret_sha256": "0" * 64, "origin_secret_previous_sha256": SECRET}, "origin_secret_previous_sha256"),
    ],
)
def test_a_function_whose_settings_have_no_digest_does_not_start(
    settings: dict[str, str], named: str, seeded: Stack, start: StartFunction
) -> None:
    function = seeded.functions["TokenFunction"]
    told = {"GRANTWELL_FRONT": "cloudfront", "GRANTWELL_SETTINGS": json.dumps(settings)}
    with pytest.raises(FunctionFailed) as failed:
        start(function, environment={**function.environment, **told}).invoke(event("token/basic"))
    assert named in str(failed.value) and SECRET not in str(failed.value)


def test_behind_cloudfront_failed_attempts_are_counted_by_its_callers(seeded: Stack, start: StartFunction) -> None:
    """One guesser behind an edge locks out neither the edge's other callers nor whom it names in the header."""
    function = seeded.functions["TokenFunction"]
    environment = {**behind_cloudfront(function.environment), "GRANTWELL_FAILED_AUTH_LIMIT": "3"}
    running = start(function, environment=environment)
    for attempt in range(5):
        answer = guess(running, forwarded=f"198.51.100.1, 203.0.113.{attempt}, 192.0.2.7")
        assert answer == 401, f"{attempt}: each of them has its own address"
    for _ in range(3):
        assert guess(running, forwarded="198.51.100.1, 203.0.113.99, 192.0.2.7") == 401
    for named in ("198.51.100.2", "203.0.113.1", "192.0.2.7"):
        assert guess(running, forwarded=f"{named}, 203.0.113.99, 192.0.2.7") == 429, "its own word is not asked"
    assert guess(running, forwarded="203.0.113.99, 203.0.113.98, 192.0.2.7") == 401
    # And the log names them, for who has to block one.
    sources = [line["source"] for line in running.log_lines() if line["message"] == "request refused"]
    assert sources == [*(f"203.0.113.{attempt}" for attempt in range(5)), *["203.0.113.99"] * 6, "203.0.113.98"]


def guess(running: LambdaRuntime, *, forwarded: str) -> int:
    given = with_header(event("token/wrong-secret"), "x-grantwell-origin", SECRET)
    given = with_header(given, "x-forwarded-for", forwarded)
    given["requestContext"]["http"]["sourceIp"] = "192.0.2.7"
    answer = running.call(given)
    if answer.status == 401:
        assert_answer(answer, unauthenticated())
    else:
        assert_answer(answer, rejected(429, "temporarily_unavailable"))
    return answer.status
