"""Every way in which AWS can fail a function, at every call that it makes.

Expected of each: the right answer, or 503 with a time to come back (from an authorizer, a function error). Never a token that
is not stored, an ended one that is active, an active one that is not, a 200 for a revocation undone; never silence beyond the
invocation's deadline. And once AWS is back, the same sandbox works.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlencode

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
from faults import FAULTS, RESET_AFTER, SILENCES, SLOW, THROTTLED, Fault, FaultyAws
from runtime_api import Answer, LambdaRuntime
from stack import Stack
from template import Json

_Case = TypeVar("_Case")
# What the functions keep back of an invocation's time, in which the answer travels (src/aws/gateway.rs).
RESERVE_SECONDS = 0.5
STATELESS_CLIENT = seed.SeededClient(
    "myStatelessClient",
    "client_secret_basic",
    "write",
    ("--access-token-format", "jwt", "--access-token-persistence", "stateless"),
)
# The client whose tokens have each form.
OWNERS = {"opaque": seed.MY_CLIENT, "JWT": seed.MY_JWT_CLIENT, "stateless": STATELESS_CLIENT}


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

    def start(self, name: str, endpoint: str, extra: Mapping[str, str] | None = None) -> LambdaRuntime:
        function = self._stack.functions[name]
        return LambdaRuntime(
            self._binaries / function.binary,
            function.environment,
            name=function.name,
            credentials=self._credentials[name].variables(),
            timeout_seconds=function.timeout_seconds,
            memory_mb=function.memory_mb,
            extra={"AWS_ENDPOINT_URL": endpoint, **(extra or {})},
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

    def is_active(self, token: str, realm: str = seed.REALM, by: seed.SeededClient = seed.MY_RESOURCE_SERVER) -> bool:
        answer = self.healthy("IntrospectFunction").call(introspection(token, realm, by))
        assert answer.status == 200, answer
        active: bool = answer.json["active"]
        return active


@pytest.fixture(scope="module")
def sandboxes(registered: Stack, binaries: Path, emulator: Emulator) -> Iterator[Sandboxes]:
    environment = operator(registered, emulator)
    settings = ("--scope", "write", "--default-scope", "write", "--token-lifetime", "3600", *STATELESS_CLIENT.settings)
    seed.register_client(environment, binaries / "grantwell", seed.REALM, STATELESS_CLIENT, settings)
    tables = (registered.physical_id("RegistryTable"), registered.physical_id("TokenTable"))
    seed.put_tokens(emulator.url, emulator.operator, *tables)
    found = Sandboxes(registered, binaries, emulator)
    try:
        for name in ("TokenFunction", "IntrospectFunction", "RevokeFunction"):
            found.healthy(name)
        for form in OWNERS:
            found.tokens(form)
        yield found
    finally:
        found.close()


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


def operator(stack: Stack, emulator: Emulator) -> dict[str, str]:
    return seed.operator_environment(
        emulator.url, emulator.operator, stack.physical_id("RegistryTable"), stack.parameters["SecretPrefix"]
    )


def active(owner: seed.SeededClient) -> Expected:
    """An introspection answer for a token of `owner`, as far as it does not differ between its tokens."""
    expected = EXPECTATIONS["introspect/active"]
    assert isinstance(expected, Expected) and isinstance(expected.body, Mapping)
    any_text = text(".+")
    own = {"client_id": owner.id, "sub": owner.id, "jti": any_text, "auditTrackingId": any_text}
    lifetime = {"expires_in": whole_number(1, 3600)}
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

                return [Try(token_request(owner), issued("write", OPAQUE if self.form == "opaque" else JWT), stored)]
            case "IntrospectFunction":
                alive, *dead = sandboxes.tokens(self.form)
                return [Try(introspection(alive), active(owner))] + [Try(introspection(t), INACTIVE) for t in dead]
            case "RevokeFunction":
                token = sandboxes.issue(self.form)

                def gone(_: Answer) -> None:
                    assert not sandboxes.is_active(token), "a revocation that was not done"

                return [Try(revocation(token, owner), REVOKED, gone)]
            case "AuthorizerFunction":
                alive, *dead = sandboxes.tokens(self.form)
                facts = {"client_id": owner.id, "sub": owner.id, "scope": "write"}
                allowed = ExpectedPayload({"isAuthorized": True, "context": facts})
                return [Try(guarded(alive), allowed)] + [Try(guarded(t), stops("invalid_token")) for t in dead]
        name = "metadata/oauth-authorization-server"
        keys = Expected(200, {"keys": lambda keys: len(keys) >= 1}, {})
        return [Try(event("metadata/jwks"), keys), Try(event(name), EXPECTATIONS[name])]


_CLIENT = ("GetItem realm", "GetItem client", "GetSecretValue clients")
_OWNER = ("GetItem realm", "GetItem client")
WORK = {
    "issue opaque": Work("TokenFunction", "opaque", _CLIENT, ("PutItem token",)),
    "issue JWT": Work("TokenFunction", "JWT", ("GetSecretValue signing-keys", "GetItem jwks"), ("PutItem token",)),
    "issue stateless": Work("TokenFunction", "stateless", (*_CLIENT, "GetSecretValue signing-keys", "GetItem jwks")),
    "introspect opaque": Work("IntrospectFunction", "opaque", _CLIENT, ("GetItem token",)),
    "introspect JWT": Work("IntrospectFunction", "JWT", ("GetItem jwks",), ("GetItem token",)),
    "introspect stateless": Work("IntrospectFunction", "stateless", ("GetItem jwks",), ("GetItem revoked",)),
    "revoke opaque": Work("RevokeFunction", "opaque", _CLIENT, ("DeleteItem token",)),
    "revoke JWT": Work("RevokeFunction", "JWT", ("GetItem jwks",), ("DeleteItem token",)),
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
