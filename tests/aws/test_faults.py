"""Every way in which AWS can fail a function, at every call that it makes.

Expected of each: the right answer, or 503 with a time to come back (from an authorizer, a function error). Never a token that
is not stored, an ended one that is active, an active one that is not, a 200 for a revocation undone; never silence beyond the
invocation's deadline. And once AWS is back, the same sandbox works.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlencode

import jwt
import pytest

import seed
from emulator import Credentials, Emulator
from expectations import (
    EXPECTATIONS,
    INACTIVE,
    JWT,
    OPAQUE,
    REVOKED,
    UNAVAILABLE,
    Expectation,
    Expected,
    ExpectedPayload,
    assert_outcome,
    event,
    issued,
    stops,
    text,
    whole_number,
)
from faults import FAULTS, RESET_AFTER, SILENCES, SLOW, THROTTLED, Fault, FaultyAws, slow
from runtime_api import Answer, LambdaRuntime
from stack import Stack
from template import Json

_Case = TypeVar("_Case")
# What the functions keep back of an invocation's time, in which the answer travels (src/aws/lambda/gateway/mod.rs).
RESERVE_SECONDS = 0.5
STATELESS_CLIENT = seed.SeededClient("myStatelessClient", "client_secret_basic", "write", seed.STATELESS_JWT)
COUNTED_CLIENT = seed.SeededClient(
    "myCountedClient", "client_secret_basic", "write", ("--token-quota", "1000000/day")
)
# The client whose tokens have each form; those of the last are counted.
# Its registration keeps its secret.
DIGEST_CLIENT = seed.SeededClient("myDigestClient", "client_secret_basic", "write", ("--secret-storage", "digest"))
OWNERS = {
    "opaque": seed.MY_CLIENT,
    "JWT": seed.MY_JWT_CLIENT,
    "stateless": STATELESS_CLIENT,
    "counted": COUNTED_CLIENT,
}


FORMS = {"opaque": OPAQUE, "JWT": JWT, "stateless": JWT, "counted": OPAQUE}


def request(name: str, client: seed.SeededClient, realm: str = seed.REALM, **parameters: str) -> Json:
    """The event file of this name, sent by `client` with other parameters."""
    changed = event(name)
    changed["headers"]["authorization"] = f"Basic {client.basic}"
    changed["rawPath"] = changed["rawPath"].replace(f"/{seed.REALM}/", f"/{realm}/")
    changed["body"] = base64.b64encode(urlencode(parameters).encode()).decode()
    return changed


def token_request(client: seed.SeededClient, realm: str = seed.REALM) -> Json:
    return request("token/basic", client, realm, grant_type="client_credentials", scope="write")


def introspection(token: str, realm: str = seed.REALM, by: seed.SeededClient = seed.MY_RESOURCE_SERVER) -> Json:
    return request("introspect/active", by, realm, token=token)


def revocation(token: str, client: seed.SeededClient) -> Json:
    return request("revoke/own", client, token=token)


def guarded(token: str) -> Json:
    """A request to an API that the authorizer guards."""
    changed = event("authorizer/http-api-v2")
    changed["headers"]["authorization"] = changed["identitySource"][0] = f"Bearer {token}"
    return changed


class Sandboxes:
    """Starts functions of the stack on any endpoint and from any thread."""

    def __init__(self, stack: Stack, binaries: Path, emulator: Emulator) -> None:
        self._stack = stack
        self._binaries = binaries
        self._emulator = emulator
        # Asked for here once: while the emulator gives credentials out, it does not enforce them.
        self._credentials: Mapping[str, Credentials] = {
            name: stack.credentials(each.role_arn) for name, each in stack.functions.items()
        }
        self._healthy: dict[str, LambdaRuntime] = {}
        self._tokens: dict[str, list[str]] = {}

    def start(self, name: str, endpoint: str, clock: ShiftedClock | None = None) -> LambdaRuntime:
        function = self._stack.functions[name]
        return LambdaRuntime(
            self._binaries / function.binary,
            function.environment,
            name=function.name,
            credentials=self._credentials[name].variables(),
            timeout_seconds=function.timeout_seconds,
            memory_mb=function.memory_mb,
            extra={"AWS_ENDPOINT_URL": endpoint, **(clock.variables if clock else {})},
            clock=clock.now if clock else time.time,
        )

    def healthy(self, name: str) -> LambdaRuntime:
        """A function that AWS never fails: it makes what a test needs and says what has become of it."""
        if name not in self._healthy:
            self._healthy[name] = self.start(name, self._emulator.url)
        return self._healthy[name]

    def close(self) -> None:
        for each in self._healthy.values():
            each.close()

    def issue(self, form: str) -> str:
        answer = self.healthy("TokenFunction").call(token_request(OWNERS[form]))
        assert answer.status == 200, answer
        token: str = answer.json["access_token"]
        return token

    def issue_and_revoke(self, form: str) -> str:
        token = self.issue(form)
        assert_outcome(self.healthy("RevokeFunction"), revocation(token, OWNERS[form]), REVOKED)
        return token

    def tokens(self, form: str) -> list[str]:
        """One that is active, then those that are not: a revoked one, and of those that are looked up an expired one."""
        if form not in self._tokens:
            expired = [seed.EXPIRED.value] if form == "opaque" else []
            self._tokens[form] = [self.issue(form), self.issue_and_revoke(form), *expired]
        return self._tokens[form]

    def is_active(self, token: str, **asked: Any) -> bool:
        answer = self.healthy("IntrospectFunction").call(introspection(token, **asked))
        assert answer.status == 200, answer
        active: bool = answer.json["active"]
        return active


@pytest.fixture(scope="module")
def sandboxes(registered: Stack, binaries: Path, emulator: Emulator) -> Iterator[Sandboxes]:
    for client in (STATELESS_CLIENT, COUNTED_CLIENT, DIGEST_CLIENT):
        register(registered, binaries, emulator, seed.REALM, client)
    tables = (registered.physical_id("RegistryTable"), registered.physical_id("TokenTable"))
    seed.put_tokens(emulator.url, emulator.operator, *tables)
    found = Sandboxes(registered, binaries, emulator)
    try:
        for name in ("TokenFunction", "IntrospectFunction", "RevokeFunction"):
            found.healthy(name)
        # The first token that is stored nowhere writes down since when the table is whole, and in that very second none is.
        while not is_stateless(found.issue("stateless")):
            time.sleep(0.1)
        for form in OWNERS:
            found.tokens(form)
        yield found
    finally:
        found.close()


def is_stateless(token: str) -> bool:
    payload = token.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return str(claims["jti"]).startswith("stateless.")


@contextmanager
def told_of(case: str) -> Iterator[None]:
    """Names the case in whatever fails in it: many cases run in one test."""
    try:
        yield
    except BaseException as error:
        error.add_note(case)
        raise


def in_parallel(suffer: Callable[[_Case], None], cases: Sequence[_Case]) -> None:
    """Most of a case is waiting. Every one runs to its end, and all that failed are reported."""
    with ThreadPoolExecutor(max_workers=24) as pool:
        running = [pool.submit(suffer, case) for case in cases]
    if failed := [error for each in running if (error := each.exception())]:
        raise BaseExceptionGroup("of the cases", failed)


def works(sandbox: LambdaRuntime, tries: Sequence[Try]) -> None:
    """Every answer is the right one, in time."""
    for each in tries:
        begun = time.monotonic()
        answer = assert_outcome(sandbox, each.event, each.expected)
        assert time.monotonic() - begun < sandbox.timeout_seconds - RESERVE_SECONDS / 2
        if answer:
            each.afterwards(answer)


def fails(sandbox: LambdaRuntime, function: str, tries: Sequence[Try]) -> None:
    """The first try fails, in time and with a time to come back; the others do too, or have the right answer all the same."""
    first, *others = tries
    begun = time.monotonic()
    assert_outcome(sandbox, first.event, UNAVAILABLE[function])
    assert time.monotonic() - begun < sandbox.timeout_seconds - RESERVE_SECONDS / 2
    for each in others:
        try:
            assert_outcome(sandbox, each.event, UNAVAILABLE[function])
        except (AssertionError, pytest.fail.Exception):
            works(sandbox, [each])


@contextmanager
def frozen(sandbox: LambdaRuntime) -> Iterator[None]:
    """As Lambda freezes a sandbox between two requests."""
    os.kill(sandbox.pid, signal.SIGSTOP)
    try:
        deadline = time.monotonic() + 10
        while "T (stopped)" not in Path(f"/proc/{sandbox.pid}/status").read_text():
            assert time.monotonic() < deadline, "the process goes on"
            time.sleep(0.005)
        yield
    finally:
        os.kill(sandbox.pid, signal.SIGCONT)


class ShiftedClock:
    """Shifts the time of day of functions that are started with `variables`, while they run."""

    def __init__(self, directory: Path) -> None:
        library = directory / "shifted_clock.so"
        source = Path(__file__).with_name("shifted_clock.c")
        compiler = os.environ.get("CC", "cc")
        subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, source], check=True)
        self._seconds = directory / "seconds"
        self.variables = {"LD_PRELOAD": str(library), "SHIFTED_CLOCK": str(self._seconds)}

    def shift(self, seconds: int) -> None:
        """From now on the functions' time is ahead of this machine's by so much."""
        written = self._seconds.with_suffix(".new")
        written.write_text(str(seconds))
        written.replace(self._seconds)

    def now(self) -> float:
        return time.time() + (int(self._seconds.read_text()) if self._seconds.exists() else 0)


@pytest.fixture
def clock(tmp_path: Path) -> ShiftedClock:
    if sys.platform != "linux":
        pytest.skip("a process's clock is shifted by LD_PRELOAD")
    return ShiftedClock(tmp_path)


def register(stack: Stack, binaries: Path, emulator: Emulator, realm: str, client: seed.SeededClient) -> None:
    """Registers a client, and its realm unless there is one."""
    environment = operator(stack, emulator)
    if realm != seed.REALM:
        command = [str(binaries / "grantwell"), "realm", "set", realm, "--store", "aws"]
        subprocess.run(command, env=environment, check=True, capture_output=True, timeout=60)
    settings = ("--scope", "write", "--default-scope", "write", "--token-lifetime", "3600", *client.settings)
    seed.register_client(environment, binaries / "grantwell", realm, client, settings)


def operator(stack: Stack, emulator: Emulator) -> dict[str, str]:
    return seed.operator_environment(
        emulator.url, emulator.operator, stack.physical_id("RegistryTable"), stack.parameters["SecretPrefix"]
    )


def active(owner: seed.SeededClient, longest: int = 3600) -> Expected:
    """An introspection answer for a token of `owner`, as far as it does not differ between its tokens."""
    expected = EXPECTATIONS["introspect/active"]
    assert isinstance(expected, Expected) and isinstance(expected.body, Mapping)
    any_text = text(".+")
    own = {"client_id": owner.id, "sub": owner.id, "jti": any_text, "auditTrackingId": any_text}
    lifetime = {"expires_in": whole_number(1, longest)}
    return Expected(200, expected.body | own | lifetime, expected.headers)


@dataclass(frozen=True)
class Try:
    """A request, the right answer to it, and what must hold after that answer."""

    event: Json
    expected: Expectation
    afterwards: Callable[[Answer], None] = lambda _: None


@dataclass(frozen=True)
class Work:
    """What a function does for one form of token, and every AWS call that it makes for that.

    A new sandbox makes all of them, a warm one only those in `always`.
    """

    function: str
    form: str
    once: tuple[str, ...]
    always: tuple[str, ...] = ()

    def tries(self, sandboxes: Sandboxes) -> list[Try]:
        owner = OWNERS[self.form]
        match self.function:
            case "TokenFunction":

                def stored(answer: Answer) -> None:
                    assert sandboxes.is_active(answer.json["access_token"]), "a token that is not stored"

                return [Try(token_request(owner), issued("write", FORMS[self.form]), stored)]
            case "IntrospectFunction":
                alive, *dead = sandboxes.tokens(self.form)
                return [Try(introspection(alive), active(owner))] + [Try(introspection(t), INACTIVE) for t in dead]
            case "RevokeFunction":
                token = sandboxes.issue(self.form)

                def gone(_: Answer) -> None:
                    assert not sandboxes.is_active(token), "a revocation that was not done"

                return [Try(revocation(token, owner), REVOKED, gone)]
            case "IamFunction":

                def issued_at_the_door(answer: Answer) -> None:
                    assert sandboxes.is_active(answer.json["access_token"]), "a token that is not stored"

                return [Try(event("iam/function-url"), EXPECTATIONS["iam/function-url"], issued_at_the_door)]
            case "AuthorizerFunction":
                alive, *dead = sandboxes.tokens(self.form)
                facts = {"client_id": owner.id, "sub": owner.id, "scope": "write"}
                allowed = ExpectedPayload({"isAuthorized": True, "context": facts})
                return [Try(guarded(alive), allowed)] + [Try(guarded(t), stops("invalid_token")) for t in dead]
        name = "metadata/oauth-authorization-server"
        keys = Expected(200, {"keys": lambda keys: len(keys) >= 1}, {})
        return [Try(event("metadata/jwks"), keys), Try(event(name), EXPECTATIONS[name])]


_CLIENT = ("BatchGetItem", "GetItem client", "GetSecretValue clients")
_OWNER = ("GetItem realm", "GetItem client")
_KEYS = ("GetSecretValue signing-keys", "GetItem registry", "GetItem jwks")
WORK = {
    "issue opaque": Work("TokenFunction", "opaque", _CLIENT, ("PutItem token",)),
    "issue JWT": Work("TokenFunction", "JWT", _KEYS, ("PutItem token",)),
    "issue stateless": Work("TokenFunction", "stateless", (*_CLIENT, *_KEYS)),
    "issue counted": Work("TokenFunction", "counted", (), ("UpdateItem quota", "PutItem token")),
    "issue to a role": Work("IamFunction", "JWT", ("BatchGetItem", *_KEYS), ("UpdateItem quota", "PutItem token")),
    "introspect opaque": Work("IntrospectFunction", "opaque", _CLIENT, ("GetItem token",)),
    "introspect JWT": Work("IntrospectFunction", "JWT", ("GetItem jwks",), ("GetItem token",)),
    "introspect stateless": Work("IntrospectFunction", "stateless", ("GetItem jwks",), ("GetItem revoked",)),
    "revoke opaque": Work("RevokeFunction", "opaque", _CLIENT, ("UpdateItem token",)),
    "revoke JWT": Work("RevokeFunction", "JWT", ("GetItem jwks",), ("UpdateItem token",)),
    "revoke stateless": Work("RevokeFunction", "stateless", ("GetItem jwks",), ("PutItem revoked",)),
    "publish": Work("MetadataFunction", "opaque", ("GetItem realm",)),
    "authorize opaque": Work("AuthorizerFunction", "opaque", _OWNER, ("GetItem token",)),
    "authorize JWT": Work("AuthorizerFunction", "JWT", ("GetItem jwks",), ("GetItem token",)),
    "authorize stateless": Work("AuthorizerFunction", "stateless", ("GetItem jwks",), ("GetItem revoked",)),
}


@pytest.mark.parametrize("name", WORK)
def test_a_fault_that_stays_is_a_503_and_the_sandbox_works_when_it_has_gone(
    name: str, sandboxes: Sandboxes, emulator: Emulator
) -> None:
    work = WORK[name]

    def suffer(call: str) -> None:
        with FaultyAws(emulator) as aws, sandboxes.start(work.function, aws.url) as sandbox:
            for fault in FAULTS:
                aws.fail(call, fault)
                with told_of(f"{fault.name} at every {call}"):
                    fails(sandbox, work.function, work.tries(sandboxes))
                # What a new sandbox asks for once it would remember from now on.
                if call in work.always:
                    aws.heal()
                    with told_of(f"after {fault.name} at every {call}"):
                        works(sandbox, work.tries(sandboxes))
            aws.fail(call, SLOW)
            with told_of(f"{SLOW.name} at every {call}"):
                works(sandbox, work.tries(sandboxes))

    in_parallel(suffer, (*work.once, *work.always))


def test_silence_that_stays_is_a_503_before_the_deadline(sandboxes: Sandboxes, emulator: Emulator) -> None:
    def suffer(case: tuple[Work, str, Fault]) -> None:
        work, call, fault = case
        with FaultyAws(emulator) as aws, sandboxes.start(work.function, aws.url) as sandbox:
            aws.fail(call, fault)
            with told_of(f"{fault.name} at every {call} of {work}"):
                fails(sandbox, work.function, work.tries(sandboxes)[:1])
            aws.heal()
            with told_of(f"after {fault.name} at every {call} of {work}"):
                works(sandbox, work.tries(sandboxes))

    in_parallel(suffer, [(work, call, fault) for work in WORK.values() for call in work.always for fault in SILENCES])


@pytest.mark.parametrize("name", WORK)
def test_a_fault_that_passes_is_not_noticed(name: str, sandboxes: Sandboxes, emulator: Emulator) -> None:
    """One attempt fails, and the SDK makes another: nobody is told that a token it has just revoked is another client's, and
    the token of an answer is the one that is stored.
    """
    work = WORK[name]

    def suffer(case: tuple[str, tuple[Fault, ...]]) -> None:
        call, faults = case
        with FaultyAws(emulator) as aws, sandboxes.start(work.function, aws.url) as sandbox:
            for fault in faults:
                aws.fail(call, fault, times=1)
                with told_of(f"{fault.name} at one {call}"):
                    works(sandbox, work.tries(sandboxes))
                assert aws.failed == (call, fault.name)

    passing = tuple(fault for fault in FAULTS if not fault.is_final)
    cases = [(call, passing) for call in work.always] + [(call, (fault,)) for call in work.always for fault in SILENCES]
    # A new sandbox for each: what is remembered is not asked for again. One fault of each kind of retry.
    cases += [(call, (fault,)) for call in work.once for fault in (THROTTLED, RESET_AFTER, SILENCES[0])]
    in_parallel(suffer, cases)


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells whether a process has stopped")
@pytest.mark.parametrize("name", ["issue opaque", "introspect opaque", "revoke opaque", "authorize opaque"])
@pytest.mark.parametrize("how", ["closed", "reset", "forgotten"])
def test_a_sandbox_that_was_frozen_while_its_connections_died_answers_at_the_first_request(
    how: str, name: str, sandboxes: Sandboxes, emulator: Emulator
) -> None:
    """A new connection is made and nobody is told. Only where the path has forgotten the old one and says so to nobody does
    that take one attempt's time.
    """
    work = WORK[name]
    with FaultyAws(emulator) as aws, sandboxes.start(work.function, aws.url) as sandbox:
        works(sandbox, work.tries(sandboxes))
        (first, *_) = work.tries(sandboxes)
        with frozen(sandbox):
            died = aws.forget_connections() if how == "forgotten" else aws.drop_connections(reset=how == "reset")
            assert died >= 1
            if how != "forgotten":
                aws.wait_until_unconnected()
            with ThreadPoolExecutor(max_workers=1) as pool:
                thawed = pool.submit(works, sandbox, [first])
                os.kill(sandbox.pid, signal.SIGCONT)
                thawed.result()
        assert "WARN" not in sandbox.logs()


def test_answers_that_each_come_slowly_are_given_up_before_the_deadline(
    sandboxes: Sandboxes, emulator: Emulator
) -> None:
    """None of the seven calls takes as long as an attempt may; together they take longer than the invocation has."""
    work = WORK["issue JWT"]
    with FaultyAws(emulator) as aws, sandboxes.start(work.function, aws.url) as sandbox:
        aws.fail("*", slow(1.3))
        fails(sandbox, work.function, work.tries(sandboxes))
        aws.heal()
        works(sandbox, work.tries(sandboxes))


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_clock_that_is_wrong_is_no_reason_for_aws_to_refuse(
    hours: int, sandboxes: Sandboxes, emulator: Emulator, clock: ShiftedClock
) -> None:
    """AWS refuses signatures of another time than its own, and says which time that is. The SDK signs again by that.

    When a token expires is still told by the function's own clock: nothing else could be tested here, and nothing else holds.
    """
    clock.shift(hours * 3600)
    with FaultyAws(emulator) as aws:
        for function, given, expected in [
            ("TokenFunction", token_request(seed.MY_CLIENT), issued("write")),
            ("IntrospectFunction", introspection(seed.REVOCABLE.value), active(seed.MY_CLIENT, 40 * 86400)),
            ("AuthorizerFunction", guarded(seed.EXPIRED.value), stops("invalid_token")),
        ]:
            if hours < 0 and function == "AuthorizerFunction":
                continue  # an hour ago it had not expired
            with sandboxes.start(function, aws.url, clock) as sandbox:
                assert_outcome(sandbox, given, expected)
    assert aws.signatures_refused > 0


@pytest.mark.parametrize("form", ["opaque", "JWT", "stateless"])
def test_a_warm_sandbox_does_without_secrets_manager_for_an_hour(
    form: str, sandboxes: Sandboxes, emulator: Emulator, clock: ShiftedClock
) -> None:
    calls = ["GetSecretValue clients"] + ([] if form == "opaque" else ["GetSecretValue signing-keys"])
    given = token_request(OWNERS[form])
    right = issued("write", OPAQUE if form == "opaque" else JWT)
    wrong = token_request(OWNERS[form])
    wrong["headers"]["authorization"] = "Basic " + base64.b64encode(f"{OWNERS[form].id}:wrong".encode()).decode()
    with FaultyAws(emulator) as aws, sandboxes.start("TokenFunction", aws.url, clock) as sandbox:
        assert_outcome(sandbox, given, right)
        for call in calls:
            aws.fail(call, RESET_AFTER)
        # Within five minutes nothing is asked; later Secrets Manager is, in vain, at most every 30 seconds.
        for minutes, is_asked in [(4, False), (6, True), (30, True), (59, True)]:
            clock.shift(minutes * 60)
            before = [aws.calls.count(call) for call in calls]
            assert_outcome(sandbox, given, right)
            asked = [aws.calls.count(call) > count for call, count in zip(calls, before, strict=True)]
            assert asked == [is_asked] * len(calls), minutes
            before = [aws.calls.count(call) for call in calls]
            assert_outcome(sandbox, given, right)
            assert [aws.calls.count(call) for call in calls] == before, "it was asked again at once"
        # A wrong secret is asked about, in vain, and is still a wrong one.
        assert_outcome(sandbox, wrong, EXPECTATIONS["token/wrong-secret"])
        clock.shift(61 * 60)
        assert_outcome(sandbox, given, UNAVAILABLE["TokenFunction"])
        aws.heal()
        assert_outcome(sandbox, given, right)


@pytest.mark.parametrize("fault", [RESET_AFTER, THROTTLED], ids=str)
def test_a_secret_kept_as_a_digest_works_in_a_new_sandbox_while_secrets_manager_is_away(
    fault: Fault, sandboxes: Sandboxes, emulator: Emulator
) -> None:
    digest, other = token_request(DIGEST_CLIENT), token_request(OWNERS["opaque"])
    wrong = token_request(DIGEST_CLIENT)
    wrong["headers"]["authorization"] = (
        "Basic " + base64.b64encode(f"{DIGEST_CLIENT.id}:{'gws_' + 'A' * 43}".encode()).decode()
    )
    with FaultyAws(emulator) as aws:
        aws.fail("GetSecretValue clients", fault)
        with sandboxes.start("TokenFunction", aws.url) as sandbox:
            assert_outcome(sandbox, digest, issued("write", OPAQUE))
            assert_outcome(sandbox, wrong, EXPECTATIONS["token/wrong-secret"])
            assert_outcome(sandbox, digest, issued("write", OPAQUE))
            assert not any(call.startswith("GetSecretValue") for call in aws.calls), aws.calls
            # It is away: others notice.
            assert_outcome(sandbox, other, UNAVAILABLE["TokenFunction"])


@pytest.mark.parametrize("call", ["CreateSecret signing-keys", "PutItem jwks"])
@pytest.mark.parametrize("times", [1, 100])
def test_a_realms_first_key_is_one_key_whatever_became_of_the_answer(
    times: int, call: str, sandboxes: Sandboxes, registered: Stack, binaries: Path, emulator: Emulator
) -> None:
    realm = f"first-key-{uuid.uuid4().hex[:8]}"
    register(registered, binaries, emulator, realm, seed.MY_JWT_CLIENT)
    # Registering its client has made one, as it does for every realm but those from before.
    table, prefix = registered.physical_id("RegistryTable"), registered.parameters["SecretPrefix"]
    seed.forget_signing_keys(emulator.url, emulator.operator, table, prefix, realm)
    given = token_request(seed.MY_JWT_CLIENT, realm)
    tokens = []
    with FaultyAws(emulator) as aws, sandboxes.start("TokenFunction", aws.url) as sandbox:
        for fault in (THROTTLED, RESET_AFTER):
            aws.fail(call, fault, times)
            answer = sandbox.call(given)
            assert answer.status == 200 or (answer.status, answer.headers["retry-after"]) == (503, "2"), answer
            assert times == 1 or fault is not THROTTLED or answer.status == 503, answer
            tokens += [answer.json["access_token"]] if answer.status == 200 else []
        aws.heal()
        tokens.append(sandbox.call(given).json["access_token"])
    assert all(sandboxes.is_active(token, realm=realm, by=seed.MY_JWT_CLIENT) for token in tokens)
    assert len({jwt.get_unverified_header(token)["kid"] for token in tokens}) == 1


def test_a_realm_of_jwts_has_its_keys_before_its_first_token(
    sandboxes: Sandboxes, registered: Stack, binaries: Path, emulator: Emulator
) -> None:
    """A resource server that starts first finds them, and the first token is signed by one of them."""
    realm = f"at-once-{uuid.uuid4().hex[:8]}"
    command = [str(binaries / "grantwell"), "realm", "set", realm, "--access-token-format", "jwt", "--store", "aws"]
    environment = operator(registered, emulator)
    subprocess.run(command, env=environment, check=True, capture_output=True, timeout=60)
    asked = event("metadata/jwks")
    path = f"/am/oauth2/realms/root/realms/{realm}/connect/jwk_uri"
    asked["rawPath"] = asked["requestContext"]["http"]["path"] = path
    with sandboxes.start("MetadataFunction", emulator.url) as metadata:
        answer = metadata.call(asked)
    kids = [key["kid"] for key in answer.json["keys"]]
    assert (answer.status, len(kids)) == (200, 2), answer
    client = seed.SeededClient("atOnce", "client_secret_basic", "write")
    register(registered, binaries, emulator, realm, client)
    with sandboxes.start("TokenFunction", emulator.url) as issuer:
        token = issuer.call(token_request(client, realm)).json["access_token"]
    assert jwt.get_unverified_header(token)["kid"] == kids[0]


def test_a_token_of_a_new_key_is_not_inactive_because_the_key_cannot_be_read(
    sandboxes: Sandboxes, registered: Stack, binaries: Path, emulator: Emulator, clock: ShiftedClock
) -> None:
    """The function knows the keys of the realm but for one, which signs a quarter of an hour after it was published."""
    realm = f"new-key-{uuid.uuid4().hex[:8]}"
    first = seed.SeededClient("first", "client_secret_basic", "write", ("--access-token-format", "jwt"))
    second = seed.SeededClient("second", "client_secret_basic", "write", (*first.settings, "--signing-alg", "EdDSA"))
    register(registered, binaries, emulator, realm, first)
    with (
        FaultyAws(emulator) as aws,
        sandboxes.start("TokenFunction", emulator.url, clock) as issuer,
        sandboxes.start("IntrospectFunction", aws.url, clock) as sandbox,
    ):
        old = issuer.call(token_request(first, realm)).json["access_token"]
        assert sandbox.call(introspection(old, realm, first)).json["active"] is True
        # Registering its client makes the key.
        register(registered, binaries, emulator, realm, second)
        clock.shift(16 * 60)
        new = issuer.call(token_request(second, realm)).json["access_token"]
        assert [jwt.get_unverified_header(token)["alg"] for token in (old, new)] == ["ES256", "EdDSA"]
        assert sandbox.call(introspection("gwt_unknown", realm, second)).json == {"active": False}
        for fault in (THROTTLED, RESET_AFTER):
            aws.fail("GetItem jwks", fault)
            assert_outcome(sandbox, introspection(new, realm, second), UNAVAILABLE["IntrospectFunction"])
            # What is remembered needs no look.
            assert sandbox.call(introspection(old, realm, first)).json["active"] is True
        aws.heal()
        assert sandbox.call(introspection(new, realm, second)).json["active"] is True
