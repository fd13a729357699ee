"""What strangers send takes a sandbox's memory once and not for ever (tests/it/memory.rs asks the same of the local server)."""

from __future__ import annotations

import base64
import copy
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from conftest import StartFunction
from expectations import event
from runtime_api import LambdaRuntime
from stack import Stack
from template import Json

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="resident memory is read from /proc")

# What allocators keep, in KiB. 7,000 ids of 128 characters that were kept would take 900 for the ids alone.
GROWTH = 600
# Of an unoptimized function; Lambda's smallest sandbox has 128 MB.
RESIDENT = 80 * 1024


def resident_kib(function: LambdaRuntime) -> int:
    # Without the pages of the binary, which come with the first use of each.
    status = Path(f"/proc/{function.pid}/status").read_text(encoding="ascii")
    (line,) = [line for line in status.splitlines() if line.startswith("RssAnon:")]
    return int(line.split()[1])


def guess(number: int) -> Json:
    # One source: it is refused after 200 failures, and costs no look-up from then on.
    guessed: Json = copy.deepcopy(event("token/basic"))
    credentials = base64.b64encode(f"random-{number:0>121}:canary".encode()).decode()
    guessed["headers"]["authorization"] = f"Basic {credentials}"
    return guessed


def test_random_ids_take_no_more_of_a_sandbox_than_one_id_as_often(seeded: Stack, start: StartFunction) -> None:
    """Not none: lambda_runtime sets an environment variable to each invocation's trace id, which glibc never forgets."""
    function = seeded.functions["TokenFunction"]
    sandbox = start(function, environment={**function.environment, "GRANTWELL_LOG_LEVEL": "error"})
    statuses = [sandbox.call(guess(number)).status for number in range(6_000)]
    assert statuses == [401] * 200 + [429] * 5_800

    def growth(numbers: Iterable[int]) -> int:
        before = resident_kib(sandbox)
        for number in numbers:
            assert sandbox.call(guess(number)).status == 429
        return resident_kib(sandbox) - before

    one = growth([0] * 7_000)
    random = growth(range(6_000, 13_000))
    assert resident_kib(sandbox) < RESIDENT and random < one + GROWTH, f"{random} KiB beside {one} KiB"


def test_huge_events_leave_a_sandbox_no_larger_the_second_time(seeded: Stack, start: StartFunction) -> None:
    function = seeded.functions["TokenFunction"]
    sandbox = start(function, environment={**function.environment, "GRANTWELL_LOG_LEVEL": "error"})
    huge = copy.deepcopy(event("token/basic"))
    huge["headers"]["x-a"] = "a" * 1_000_000
    many = copy.deepcopy(event("token/basic"))
    many["headers"] |= {f"x-{number}": "a" for number in range(20_000)}
    body = copy.deepcopy(event("token/basic"))
    body["body"], body["isBase64Encoded"] = "a" * 1_000_000, False
    query = {**event("token/basic"), "rawQueryString": "a" * 1_000_000}
    inputs = [(huge, 400), (many, 400), (body, 413), (query, 400)]

    def send_all(times: int) -> int:
        for _ in range(times):
            for sent, expected in inputs:
                assert sandbox.call(sent).status == expected
        return resident_kib(sandbox)

    before = send_all(5)
    after = send_all(20)
    # Freed pages of a megabyte go back when the allocator sees fit.
    assert after < RESIDENT and after < before + 8 * 1024, f"from {before} to {after} KiB"
