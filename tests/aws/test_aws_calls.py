"""What a request costs in calls of AWS: cold, warm, and for those who only guess. docs/cost.md has these numbers.

Every call is counted where it arrives, so a retry inside the SDK is one more. A row that is warm is always measured beside the
same row cold, by the same counter: one that saw nothing would fail there.
"""

from __future__ import annotations

import base64
import json
import re
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

import key_client
import seed
import workload_client
from aws_calls import AwsCalls, Call
from conftest import StartFunction
from emulator import Emulator
from expectations import EXPECTATIONS, UNAVAILABLE, assert_answer, assert_outcome, event, unauthenticated
from runtime_api import Answer, LambdaRuntime
from stack import Stack, Statement
from template import ROOT, Json

Calls = Counter[str]

STATELESS = seed.SeededClient("statelessClient", "client_secret_basic", "write", seed.STATELESS_JWT)
# Clients with a quota, which no test here uses up but that of LIMITED.
COUNTED = seed.SeededClient("countedClient", "client_secret_basic", "write", ("--token-quota", "1000000/hour"))
OBSERVED = seed.SeededClient("observedClient", "client_secret_basic", "write", (*COUNTED.settings, "--token-quota-mode", "observe"))
COUNTED_STATELESS = seed.SeededClient("countedJwtClient", "client_secret_basic", "write", (*COUNTED.settings, *seed.STATELESS_JWT))
LIMITED = seed.SeededClient("limitedClient", "client_secret_basic", "write", ("--token-quota", "1/day"))
# Its registration keeps its secret.
DIGEST = seed.SeededClient("digestClient", "client_secret_basic", "write", ("--secret-storage", "digest"))
DIGEST_RESOURCE_SERVER = seed.SeededClient(
    "digestResourceServer", "client_secret_basic", seed.MY_RESOURCE_SERVER.scope, ("--secret-storage", "digest")
)
# Is told by its role.
ROLE = seed.SeededClient("countedRole", "aws_iam", "write", trust=seed.MY_ROLE.trust)
REGISTERED = (STATELESS, COUNTED, OBSERVED, COUNTED_STATELESS, LIMITED, DIGEST, DIGEST_RESOURCE_SERVER, ROLE)
# How the three kinds of token are asked for; the names are those of `grantwell cost`.
ISSUERS = {"opaque": seed.MY_CLIENT, "stored jwt": seed.MY_JWT_CLIENT, "stateless jwt": STATELESS}
COST_ARGUMENTS = {
    "opaque": (),
    "stored jwt": ("--format", "jwt"),
    "stateless jwt": ("--format", "jwt", "--persistence", "stateless"),
}

# What a process asks for once and then remembers for a minute, or for five.
REALM = Counter({"GetItem realm": 1})
CLIENT = Counter({"GetItem client": 1})
# In one round trip, where a request names a client and neither is remembered.
REALM_WITH_CLIENT = Counter({"BatchGetItem realm": 1, "BatchGetItem client": 1})
SECRET = Counter({"GetSecretValue client": 2})
SIGNING_KEYS = Counter({"GetSecretValue signing-keys": 1, "GetItem jwks consistent": 1})
PUBLIC_KEYS = Counter({"GetItem jwks consistent": 1})
WHOLE_SINCE = Counter({"GetItem store consistent": 1, "DescribeTable": 1})
# A secret that the process did not know: the registration is read once more, after it.
NEW_SECRET = Counter({"GetItem client consistent": 1})
# And what it asks for once in its life.
REGISTRY = Counter({"GetItem registry consistent": 1})
CALLER = REALM_WITH_CLIENT + SECRET + NEW_SECRET
# A digest comes with the registration, and so does a public key.
DIGEST_CALLER = REALM_WITH_CLIENT
KEY_CALLER = REALM_WITH_CLIENT
# The rules come with the registration, and the issuer, here with its keys, with the realm.
IDENTITY_CALLER = REALM_WITH_CLIENT
ROLE_CALLER = REALM_WITH_CLIENT

ISSUED = Counter({"PutItem token": 1})
# An assertion is used once, by whichever sandbox.
USED = Counter({"PutItem used": 1})
COUNT = Counter({"UpdateItem quota": 1})
# A client of a realm that has its use recorded, once a day.
MARKED_AS_USED = Counter({"UpdateItem use": 1})
LOOKED_UP = Counter({"GetItem token consistent": 1})
DENIAL_LOOKED_UP = Counter({"GetItem revoked consistent": 1})
NOTHING: Calls = Counter()


@dataclass(frozen=True)
class Service:
    """The stack, and a sandbox of its token function that the counter does not see."""

    stack: Stack
    issuer: LambdaRuntime

    def token(self, kind: str) -> str:
        answer = self.issuer.call(token_request(ISSUERS[kind]))
        assert answer.status == 200, answer
        token: str = answer.json["access_token"]
        return token

    def name(self, call: Call) -> str:
        """A call by its operation and the kind of item or secret that it touches."""
        operation = call.action.split(":")[1]
        tables = {
            self.stack.physical_id("RegistryTable"): call.sort_key,
            self.stack.physical_id("TokenTable"): call.leading_key,
        }
        if operation == "DescribeTable":
            return operation
        if call.action.startswith("dynamodb:"):
            key = tables[call.resource.rsplit("/", 1)[1]] or "unknown"
            return f"{operation} {key.split('#')[0]}{' consistent' if call.consistent_read else ''}"
        return f"{operation} {'signing-keys' if '/signing-keys' in call.resource else 'client'}"


@dataclass(frozen=True)
class Row:
    """One kind of request: what it costs in a new sandbox beyond `warm`, and in one that has answered its like before."""

    function: str
    request: Callable[[Service], Json]
    succeeded: Callable[[Any], bool]
    warm: Calls
    loads: Calls


class Counted:
    """A sandbox whose calls are counted."""

    def __init__(self, service: Service, sandbox: LambdaRuntime, aws: AwsCalls) -> None:
        self._service, self.sandbox, self._aws = service, sandbox, aws
        self._seen = 0

    def calls(self) -> Calls:
        """Those that have come since the last look."""
        calls = self._aws.calls
        new, self._seen = calls[self._seen :], len(calls)
        return Counter(self._service.name(call) for call in new if not call.is_implied)


CountCalls = Callable[[str], Counted]


@pytest.fixture(scope="module")
def clients(registered: Stack, emulator: Emulator, binaries: Path) -> None:
    """A client for each kind of token. Nobody here changes them, and the command takes seconds for them all."""
    table, prefix = registered.physical_id("RegistryTable"), registered.parameters["SecretPrefix"]
    operator = seed.operator_environment(emulator.url, emulator.operator, table, prefix)
    for each in REGISTERED:
        settings = ("--scope", each.scope, "--default-scope", each.scope, *each.settings)
        seed.register_client(operator, binaries / "grantwell", seed.REALM, each, settings)


@pytest.fixture
def service(clients: None, seeded: Stack, start: StartFunction) -> Service:
    """The realm with a client for each kind of token; it has signed before."""
    service = Service(seeded, start(seeded.functions["TokenFunction"]))
    service.token("stored jwt")
    # The first token that is stored nowhere writes down since when the table is whole, and in that very second none is.
    deadline = time.monotonic() + 30
    while not claims(service.token("stateless jwt"))["jti"].startswith("stateless."):
        assert time.monotonic() < deadline, "the table is whole since a time to come: did another file's clock write it?"
        time.sleep(0.1)
    return service


@pytest.fixture
def count(service: Service, start: StartFunction, emulator: Emulator) -> Iterator[CountCalls]:
    """Starts a function whose calls are counted."""
    with AwsCalls(emulator, every_statement(service.stack)) as aws:

        def counted(name: str) -> Counted:
            function = service.stack.functions[name]
            # Guesses are counted here until the stores are asked, which the limit would spare them.
            environment = {**function.environment, "GRANTWELL_FAILED_AUTH_LIMIT": "0"}
            sandbox = start(function, endpoint=aws.url, environment=environment)
            counter = Counted(service, sandbox, aws)
            counter.calls()
            return counter

        yield counted


def every_statement(stack: Stack) -> list[Statement]:
    return [statement for function in stack.functions.values() for statement in function.statements]


def form(name: str, client: seed.SeededClient, body: str, secret: str | None = None) -> Json:
    """An event whose client and body are others."""
    given = event(name)
    # As RFC 6749 Appendix B has it, so that an id may have a colon.
    pair = f"{quote(client.id, safe='')}:{client.secret if secret is None else secret}"
    given["headers"]["authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
    return {**given, "body": body, "isBase64Encoded": False}


def token_request(client: seed.SeededClient, secret: str | None = None) -> Json:
    return form("token/basic", client, "grant_type=client_credentials", secret)


def token_request_of_the_role() -> Json:
    given = event("iam/function-url")
    return {**given, "body": f"grant_type=client_credentials&client_id={ROLE.id}", "isBase64Encoded": False}


def fresh(**claims: object) -> str:
    return key_client.assertion(int(time.time()), **claims)


def fresh_token(**claims: object) -> str:
    return workload_client.token(int(time.time()), **claims)


def pod() -> str:
    return fresh_token(issuer=seed.CLUSTER, sub="system:serviceaccount:orders:api")


def claims(token: str) -> Json:
    payload = token.split(".")[1]
    parsed: Json = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return parsed


def issuance(kind: str) -> Callable[[Service], Json]:
    return lambda service: token_request(ISSUERS[kind])


def introspection(
    kind: str, caller: seed.SeededClient = seed.MY_RESOURCE_SERVER, name: str = "introspect/active"
) -> Callable[[Service], Json]:
    return lambda service: form(name, caller, f"token={service.token(kind)}")


def revocation(kind: str) -> Callable[[Service], Json]:
    return lambda service: form("revoke/own", ISSUERS[kind], f"token={service.token(kind)}")


def guarded(kind: str) -> Callable[[Service], Json]:
    def request(service: Service) -> Json:
        credentials = f"Bearer {service.token(kind)}"
        given = event("authorizer/http-api-v2")
        given["headers"]["authorization"] = credentials
        return {**given, "identitySource": [credentials, *given["identitySource"][1:]]}

    return request


def answers_200(payload: Any) -> bool:
    return Answer.from_payload(payload).status == 200


def says_active(payload: Any) -> bool:
    return answers_200(payload) and Answer.from_payload(payload).json["active"] is True


def says_inactive(payload: Any) -> bool:
    return answers_200(payload) and Answer.from_payload(payload).json == {"active": False}


def lets_pass(payload: Any) -> bool:
    return payload["isAuthorized"] is True


ROWS = {
    # --- the token endpoint ---
    "token: opaque": Row("TokenFunction", issuance("opaque"), answers_200, ISSUED, CALLER),
    "token: stored jwt": Row("TokenFunction", issuance("stored jwt"), answers_200, ISSUED, CALLER + SIGNING_KEYS + REGISTRY),
    "token: stateless jwt": Row(
        "TokenFunction", issuance("stateless jwt"), answers_200, NOTHING, CALLER + SIGNING_KEYS + REGISTRY + WHOLE_SINCE
    ),
    "token: opaque, with a quota": Row(
        "TokenFunction", lambda service: token_request(COUNTED), answers_200, COUNT + ISSUED, CALLER
    ),
    "token: opaque, with a quota that is observed": Row(
        "TokenFunction", lambda service: token_request(OBSERVED), answers_200, COUNT + ISSUED, CALLER
    ),
    "token: stateless jwt, with a quota": Row(
        "TokenFunction",
        lambda service: token_request(COUNTED_STATELESS),
        answers_200,
        COUNT,
        CALLER + SIGNING_KEYS + REGISTRY + WHOLE_SINCE,
    ),
    "token: opaque, by a key": Row(
        "TokenFunction", lambda service: key_client.event_with(fresh()), answers_200, USED + ISSUED, KEY_CALLER
    ),
    "token: opaque, by a token of an issuer that is good once": Row(
        "TokenFunction", lambda _: workload_client.event_with(fresh_token()), answers_200, USED + ISSUED, IDENTITY_CALLER
    ),
    "token: opaque, by a token of an issuer that is a file": Row(
        "TokenFunction", lambda _: workload_client.event_with(pod(), client=seed.MY_POD.id), answers_200, ISSUED, IDENTITY_CALLER
    ),
    "token: opaque, secret kept as a digest": Row(
        "TokenFunction", lambda service: token_request(DIGEST), answers_200, ISSUED, DIGEST_CALLER
    ),
    "token: opaque, by a role of AWS": Row("IamFunction", lambda service: token_request_of_the_role(), answers_200, ISSUED, ROLE_CALLER),
    # --- introspection; the second client is the token's own ---
    "introspection: opaque": Row(
        "IntrospectFunction", introspection("opaque"), says_active, LOOKED_UP, CALLER + CLIENT
    ),
    "introspection: stored jwt": Row(
        "IntrospectFunction", introspection("stored jwt"), says_active, LOOKED_UP, CALLER + CLIENT + PUBLIC_KEYS
    ),
    "introspection: stateless jwt": Row(
        "IntrospectFunction",
        introspection("stateless jwt"),
        says_active,
        DENIAL_LOOKED_UP,
        CALLER + CLIENT + PUBLIC_KEYS + WHOLE_SINCE,
    ),
    "introspection: opaque, by its own client": Row(
        "IntrospectFunction", introspection("opaque", seed.MY_CLIENT), says_active, LOOKED_UP, CALLER
    ),
    "introspection: opaque, signed answer": Row(
        "IntrospectFunction",
        introspection("opaque", name="introspect/signed"),
        answers_200,
        LOOKED_UP,
        CALLER + CLIENT + SIGNING_KEYS + REGISTRY,
    ),
    "introspection: opaque, secret kept as a digest": Row(
        "IntrospectFunction",
        introspection("opaque", DIGEST_RESOURCE_SERVER),
        says_active,
        LOOKED_UP,
        DIGEST_CALLER + CLIENT,
    ),
    "introspection: no token of ours": Row(
        "IntrospectFunction",
        lambda service: form("introspect/active", seed.MY_RESOURCE_SERVER, "token=gwt_short"),
        says_inactive,
        NOTHING,
        CALLER,
    ),
    # --- revocation ---
    "revocation: opaque": Row(
        "RevokeFunction", revocation("opaque"), answers_200, Counter({"UpdateItem token": 1}), CALLER
    ),
    "revocation: stored jwt": Row(
        "RevokeFunction",
        revocation("stored jwt"),
        answers_200,
        Counter({"UpdateItem token": 1}),
        CALLER + PUBLIC_KEYS,
    ),
    "revocation: stateless jwt": Row(
        "RevokeFunction",
        revocation("stateless jwt"),
        answers_200,
        Counter({"PutItem revoked": 1}),
        CALLER + PUBLIC_KEYS,
    ),
    # --- metadata ---
    "metadata": Row(
        "MetadataFunction",
        lambda service: event("metadata/oauth-authorization-server"),
        answers_200,
        NOTHING,
        REALM,
    ),
    "keys": Row(
        "MetadataFunction",
        lambda service: event("metadata/jwks"),
        answers_200,
        NOTHING,
        REALM + PUBLIC_KEYS,
    ),
    # --- the authorizer; the client is the token's own ---
    "authorizer: opaque": Row("AuthorizerFunction", guarded("opaque"), lets_pass, LOOKED_UP, REALM + CLIENT),
    "authorizer: stored jwt": Row(
        "AuthorizerFunction", guarded("stored jwt"), lets_pass, LOOKED_UP, REALM + CLIENT + PUBLIC_KEYS
    ),
    "authorizer: stateless jwt": Row(
        "AuthorizerFunction",
        guarded("stateless jwt"),
        lets_pass,
        DENIAL_LOOKED_UP,
        REALM + CLIENT + PUBLIC_KEYS + WHOLE_SINCE,
    ),
}


@pytest.mark.parametrize("name", ROWS)
def test_a_request_makes_exactly_these_calls(name: str, service: Service, count: CountCalls) -> None:
    row = ROWS[name]
    function = count(row.function)

    def calls() -> Calls:
        request = row.request(service)
        payload = function.sandbox.invoke(request)
        assert row.succeeded(payload), payload
        return function.calls()

    cold = calls()
    assert cold == row.warm + row.loads
    # What fails for a cold request would fail for one call more.
    assert cold != row.warm
    for _ in range(3):
        assert calls() == row.warm


def test_a_token_beyond_the_quota_is_one_call_that_counts_nothing(service: Service, count: CountCalls) -> None:
    function = count("TokenFunction")
    # A day may begin between two requests, or an earlier run of this test on the same emulator may have had the token.
    answers = [function.sandbox.call(token_request(LIMITED)).status for _ in range(3)]
    assert answers[-1] == 429, answers
    function.calls()
    for _ in range(3):
        assert function.sandbox.call(token_request(LIMITED)).status == 429
        assert function.calls() == COUNT


def test_a_retry_inside_the_sdk_is_counted(service: Service, start: StartFunction, emulator: Emulator) -> None:
    with AwsCalls(emulator, every_statement(service.stack), throttled=frozenset({"dynamodb:PutItem"})) as aws:
        function = Counted(service, start(service.stack.functions["TokenFunction"], endpoint=aws.url), aws)
        assert_outcome(function.sandbox, token_request(seed.MY_CLIENT), UNAVAILABLE["TokenFunction"])
        assert function.calls() == CALLER + Counter({"PutItem token": 3})


def test_a_realm_that_has_never_signed_gets_its_keys_once(
    service: Service, count: CountCalls, emulator: Emulator
) -> None:
    stack = service.stack
    table, prefix = stack.physical_id("RegistryTable"), stack.parameters["SecretPrefix"]
    seed.forget_signing_keys(emulator.url, emulator.operator, table, prefix)
    function = count("TokenFunction")
    request = token_request(STATELESS)
    assert function.sandbox.call(request).status == 200
    made = Counter({"GetSecretValue signing-keys": 1, "CreateSecret signing-keys": 1, "PutItem jwks": 1})
    made["GetItem jwks consistent"] = 1
    assert function.calls() == CALLER + made + REGISTRY + WHOLE_SINCE
    assert function.sandbox.call(request).status == 200
    assert function.calls() == NOTHING


# --- those who only guess ---


@pytest.mark.parametrize("name", ["TokenFunction", "IntrospectFunction", "RevokeFunction"])
def test_an_unknown_client_costs_one_read_of_the_registry_and_then_none(
    name: str, service: Service, count: CountCalls
) -> None:
    function = warm(name, count)
    arn = "arn:aws:secretsmanager:us-east-1:123456789012:secret:grantwell/alpha/clients/myClient-AbCdEf"
    for client_id, reads in [("nobody", 1), ("x" * 128, 1), (arn, 0), ("../myClient", 0), ("x" * 4096, 0)]:
        stranger = seed.SeededClient(client_id, "client_secret_basic", "write")
        for expected in (Counter({"GetItem client": reads}), NOTHING, NOTHING):
            assert_answer(function.sandbox.call(form(REQUESTS[name], stranger, BODIES[name])), unauthenticated())
            assert function.calls() == +expected, client_id


@pytest.mark.parametrize("name", ["TokenFunction", "IntrospectFunction", "RevokeFunction"])
def test_guessing_at_a_secret_costs_one_reload_in_thirty_seconds(
    name: str, service: Service, count: CountCalls
) -> None:
    function = warm(name, count)
    begun = time.monotonic()
    seen: Calls = Counter()
    for guess in range(50):
        request = form(REQUESTS[name], CALLERS[name], BODIES[name], f"not-a-secret-{guess:032}")
        assert_answer(function.sandbox.call(request), unauthenticated())
        seen += function.calls()
    # On a machine so slow that the guesses take longer, as many more.
    reloads = 1 + int((time.monotonic() - begun) // 30)
    assert seen["GetSecretValue client"] in range(2, 2 * reloads + 1, 2), seen
    # With each of them the registration is looked at anew: it may be another one's secret.
    assert seen["GetItem client consistent"] == seen["GetSecretValue client"] / 2, seen
    assert set(seen) <= set(CALLER) and seen["GetItem client"] <= reloads - 1, seen
    # The rightful client is served meanwhile, from what is remembered.
    assert answers_200(function.sandbox.invoke(form(REQUESTS[name], CALLERS[name], BODIES[name])))
    assert function.calls() - REALM_WITH_CLIENT - CLIENT == WARM[name]


def test_a_flood_of_unknown_clients_costs_one_read_each_and_no_memory(service: Service, count: CountCalls) -> None:
    function = warm("TokenFunction", count)

    def flood(start: int, end: int) -> None:
        for number in range(start, end):
            stranger = seed.SeededClient(f"{number:0128}", "client_secret_basic", "write")
            assert function.sandbox.call(token_request(stranger)).status == 401
            calls = function.calls()
            realm = calls.pop("BatchGetItem realm", 0)  # once a minute
            assert calls == Counter({"BatchGetItem client" if realm else "GetItem client": 1}) and realm <= 1, calls

    flood(0, 500)
    before = resident_kilobytes(function.sandbox.pid)
    flood(500, 2000)
    grown = resident_kilobytes(function.sandbox.pid) - before
    # The caches' own entries, some 200 bytes each; what a request needs is hundreds of times that.
    assert grown < 1024, f"{grown} KB more after 1,500 more clients"


def test_a_client_that_was_unknown_works_within_thirty_seconds_of_its_registration(
    service: Service, count: CountCalls, emulator: Emulator, binaries: Path
) -> None:
    """Whoever asks for an id that does not exist yet must not lock its owner out."""
    function = warm("TokenFunction", count)
    stack = service.stack
    table, prefix = stack.physical_id("RegistryTable"), stack.parameters["SecretPrefix"]
    operator = seed.operator_environment(emulator.url, emulator.operator, table, prefix)
    late = seed.SeededClient(f"late-{time.time_ns()}", "client_secret_basic", "write")
    assert_answer(function.sandbox.call(token_request(late)), unauthenticated())
    settings = ("--scope", late.scope, "--default-scope", late.scope)
    seed.register_client(operator, binaries / "grantwell", seed.REALM, late, settings)
    deadline = time.monotonic() + 30
    while (answer := function.sandbox.call(token_request(late))).status != 200:
        assert_answer(answer, unauthenticated())
        assert time.monotonic() < deadline, "the absence of a client is believed for too long"
        time.sleep(0.5)


REQUESTS = {"TokenFunction": "token/basic", "IntrospectFunction": "introspect/active", "RevokeFunction": "revoke/own"}
CALLERS = {
    "TokenFunction": seed.MY_CLIENT,
    "IntrospectFunction": seed.MY_RESOURCE_SERVER,
    "RevokeFunction": seed.MY_CLIENT,
}
BODIES = {
    "TokenFunction": "grant_type=client_credentials",
    "IntrospectFunction": "token=gwt_short",
    "RevokeFunction": "token=gwt_short",
}
WARM = {"TokenFunction": ISSUED, "IntrospectFunction": NOTHING, "RevokeFunction": NOTHING}


def warm(name: str, count: CountCalls) -> Counted:
    """A sandbox that has answered the rightful client."""
    function = count(name)
    assert answers_200(function.sandbox.invoke(form(REQUESTS[name], CALLERS[name], BODIES[name])))
    assert function.calls() == CALLER + WARM[name]
    return function


def resident_kilobytes(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise AssertionError("no VmRSS")


# --- the page that computes with these numbers ---


def test_the_page_lists_the_calls_that_are_counted() -> None:
    page = (ROOT / "docs/cost.md").read_text(encoding="utf-8")
    (table,) = re.findall(r"^\| request \|.*\n\|---\|---\|---\|\n((?:\|.*\n)+)", page, re.MULTILINE)
    counted = [f"| {name} | {told(row.warm)} | {told(row.loads)} |" for name, row in ROWS.items()]
    assert table.splitlines() == counted


# A stored JWT is a write, as an opaque token is; with a quota one of them is enough.
COSTS = [(kind, "") for kind in ISSUERS] + [(kind, ", with a quota") for kind in ("opaque", "stateless jwt")]


@pytest.mark.parametrize(("kind", "quota"), COSTS)
def test_grantwell_cost_computes_with_the_calls_that_are_counted(kind: str, quota: str, binaries: Path) -> None:
    computed = cost(binaries, kind, *(["--token-quota"] if quota else []))["calls"]
    loads = {
        "realm": REALM,
        "client": CLIENT,
        "client_secret": SECRET,
        "new_secret": NEW_SECRET,
        "signing_keys": SIGNING_KEYS,
        "public_keys": PUBLIC_KEYS,
        "whole_since": WHOLE_SINCE,
        "registry": REGISTRY,
        "use_mark": MARKED_AS_USED,
    }
    assert computed == {
        "token": billed(ROWS[f"token: {kind}{quota}"].warm),
        "introspection": billed(ROWS[f"introspection: {kind}"].warm),
        "load": {name: billed(calls) for name, calls in loads.items()},
    }


def test_grantwell_cost_computes_with_the_calls_of_a_digest(binaries: Path) -> None:
    computed = cost(binaries, "opaque", "--secret-storage", "digest")["calls"]
    assert computed["token"] == billed(ROWS["token: opaque, secret kept as a digest"].warm)
    assert computed["introspection"] == billed(ROWS["introspection: opaque, secret kept as a digest"].warm)
    load = computed["load"]
    assert (load["realm"], load["client"]) == (billed(REALM), billed(CLIENT))
    assert (load["client_secret"], load["new_secret"]) == (billed(NOTHING), billed(NOTHING))


def test_grantwell_cost_computes_with_the_calls_of_a_key(binaries: Path) -> None:
    computed = cost(binaries, "opaque", "--secret-storage", "none")["calls"]
    assert computed["token"] == billed(ROWS["token: opaque, by a key"].warm)


def test_grantwell_cost_computes_with_the_calls_of_a_role(binaries: Path) -> None:
    computed = cost(binaries, "opaque", "--secret-storage", "iam")["calls"]
    assert computed["token"] == billed(ROWS["token: opaque, by a role of AWS"].warm)
    assert computed["introspection"] == billed(LOOKED_UP)
    assert computed["load"]["client_secret"] == computed["load"]["new_secret"] == billed(NOTHING)


USED_BY = [("TokenFunction", "token: opaque"), ("IntrospectFunction", "introspection: opaque, by its own client")]


@pytest.mark.parametrize(("name", "row"), USED_BY)
def test_the_use_of_a_client_is_recorded_by_one_write_a_day(
    name: str, row: str, service: Service, count: CountCalls, emulator: Emulator, binaries: Path
) -> None:
    stack, each = service.stack, ROWS[row]
    operator = seed.operator_environment(
        emulator.url, emulator.operator, stack.physical_id("RegistryTable"), stack.parameters["SecretPrefix"]
    )

    def record_use(whether: str) -> None:
        command = [binaries / "grantwell", "realm", "set", seed.REALM, "--record-use", whether, "--store", "aws"]
        subprocess.run(command, env=operator, check=True, capture_output=True)

    record_use("on")
    try:
        function, request = count(name), each.request(service)
        assert each.succeeded(function.sandbox.invoke(request))
        assert function.calls() == each.loads + each.warm + MARKED_AS_USED
        assert each.succeeded(function.sandbox.invoke(request))
        assert function.calls() == each.warm
        # Another sandbox's write changes nothing, and is billed.
        other = count(name)
        assert each.succeeded(other.sandbox.invoke(request))
        assert other.calls()["UpdateItem use"] == 1
    finally:
        # Other tests count the calls of this realm's clients.
        record_use("off")


def test_a_replay_is_one_call_and_a_wrong_signature_none(service: Service, count: CountCalls) -> None:
    function = count("TokenFunction")
    used = key_client.event_with(fresh())
    assert function.sandbox.call(used).status == 200
    function.calls()
    for _ in range(3):
        assert_answer(function.sandbox.call(used), unauthenticated())
        assert function.calls() == USED
    # Neither does anybody spend a jti who cannot sign: only the registration is looked at anew, once in thirty seconds.
    header, payload, _ = fresh().split(".")
    forged = key_client.event_with(".".join((header, payload, fresh().split(".")[2])))
    assert_answer(function.sandbox.call(forged), unauthenticated())
    assert function.calls() == NEW_SECRET
    for _ in range(3):
        assert_answer(function.sandbox.call(forged), unauthenticated())
        assert function.calls() == NOTHING
    # Nor one whose assertion is for somebody else, or has expired: that is seen before anybody is asked.
    for other in (fresh(aud="https://other.example.com"), key_client.assertion(int(time.time()) - 600)):
        assert_answer(function.sandbox.call(key_client.event_with(other)), unauthenticated())
        assert function.calls() == NOTHING


def test_a_token_of_an_issuer_that_proves_nothing_costs_a_look_at_the_registration_in_thirty_seconds(
    service: Service, count: CountCalls
) -> None:
    function = count("TokenFunction")
    used = workload_client.event_with(fresh_token())
    assert function.sandbox.call(used).status == 200
    function.calls()
    refused = EXPECTATIONS["token/jwt-bearer-expired"]
    for _ in range(3):
        assert_outcome(function.sandbox, used, refused)
        assert function.calls() == USED
    wrong = [fresh_token(sub="service-2"), fresh_token(issuer="https://idp.example.org"), fresh_token()[:-8] + "AAAAAAAA"]
    assert_outcome(function.sandbox, workload_client.event_with(wrong[0]), refused)
    assert function.calls() == NEW_SECRET
    for text in (*wrong, fresh_token(aud="https://other.example.com"), workload_client.token(int(time.time()) - 700)):
        assert_outcome(function.sandbox, workload_client.event_with(text), refused)
        assert function.calls() == NOTHING
    # Somebody whom nobody knows costs a read of the registry, once.
    for expected in (CLIENT, NOTHING):
        assert_outcome(function.sandbox, workload_client.event_with(fresh_token(), client="nobody"), refused)
        assert function.calls() == expected


def test_guessing_at_a_digest_costs_one_read_in_thirty_seconds(service: Service, count: CountCalls) -> None:
    function = count("TokenFunction")
    for _ in range(20):
        assert function.sandbox.call(token_request(DIGEST, "gws_" + "A" * 43)).status == 401
    assert function.calls() == DIGEST_CALLER + NEW_SECRET


@pytest.mark.parametrize("kind", ["opaque", "stored jwt"])
def test_a_stored_token_is_one_unit_of_write_and_of_read(kind: str, service: Service, emulator: Emulator) -> None:
    """DynamoDB bills a write by the started KB, and a read by four."""
    table, dynamodb = service.stack.physical_id("TokenTable"), emulator.client("dynamodb")
    before = {item["id"]["S"] for item in dynamodb.scan(TableName=table)["Items"]}
    service.token(kind)
    (stored,) = [item for item in dynamodb.scan(TableName=table)["Items"] if item["id"]["S"] not in before]
    # Names and texts count by their UTF-8, a number by at most 21 bytes.
    size = sum(len(name) + len(json.dumps(value)) for name, value in stored.items())
    assert size <= 1024, size


def test_a_line_of_the_log_is_as_long_as_grantwell_cost_says(
    service: Service, count: CountCalls, binaries: Path
) -> None:
    said = cost(binaries, "opaque")["log_bytes"]
    for kind, row in (("token", ROWS["token: opaque"]), ("introspection", ROWS["introspection: opaque"])):
        function = count(row.function)
        function.sandbox.invoke(row.request(service))
        (line,) = function.sandbox.log_lines()
        length = len(json.dumps(line, separators=(",", ":")))
        assert 0.9 * said[kind]["audit"] <= length <= 1.1 * said[kind]["audit"], line


def billed(calls: Calls) -> dict[str, int]:
    """Calls as AWS's price list has them."""
    units: Calls = Counter()
    for name, number in calls.items():
        # What says something of a table itself is free.
        if name != "DescribeTable":
            units[unit(name)] += number
    return {name: units[name] for name in UNITS}


def unit(name: str) -> str:
    operation = name.split()[0]
    if operation == "GetSecretValue":
        return "secrets_manager"
    if operation in ("GetItem", "BatchGetItem"):
        return "consistent_reads" if name.endswith(" consistent") else "eventual_reads"
    assert operation in ("PutItem", "UpdateItem", "DeleteItem"), name
    return "writes"


def told(calls: Calls) -> str:
    return ", ".join(f"{number} {name}" for name, number in calls.items()) or "none"


UNITS = ("writes", "consistent_reads", "eventual_reads", "secrets_manager")


def cost(binaries: Path, kind: str, *further: str) -> Json:
    command = [str(binaries / "grantwell"), "cost", *COST_ARGUMENTS[kind], *further, "--output", "json"]
    done = subprocess.run(command, text=True, capture_output=True, timeout=30, check=True)
    computed: Json = json.loads(done.stdout)
    return computed
