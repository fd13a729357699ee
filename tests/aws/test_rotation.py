"""Rotation under load: the rotate function's steps run between streams of requests, and nobody who asks notices.

Secrets Manager's part is played here: it stages a version without a value, then calls the four steps, each with the event
that the function gets on AWS.
"""

from __future__ import annotations

import base64
import json
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

import seed
from admin_log import lines
from aws_calls import AwsCalls, Call, allows
from conftest import StartFunction
from emulator import Emulator
from expectations import EXPECTATIONS, FUNCTIONS, assert_answer, event
from runtime_api import Answer, FunctionError, LambdaRuntime
from stack import Stack, Statement
from template import Json
from test_deployment import DATA_STATEMENTS, data

STEPS = ("createSecret", "setSecret", "testSecret", "finishSecret")
SCHEDULE = event("rotate/scheduled")
OPERATOR_ACTIONS = [
    *("dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Query"),
    *("secretsmanager:DescribeSecret", "secretsmanager:GetSecretValue"),
    *("secretsmanager:PutSecretValue", "secretsmanager:UpdateSecretVersionStage"),
]
DAY = 86400
JWKS_MAX_AGE = 300


class Secrets:
    """Secrets Manager as an operator and an application see it."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._manager = stack.emulator.client("secretsmanager")
        self.keys = f"{stack.parameters['SecretPrefix']}/{seed.REALM}/signing-keys"

    def of(self, client: seed.SeededClient) -> str:
        return f"{self._stack.parameters['SecretPrefix']}/{seed.REALM}/clients/{client.id}"

    def read(self, name: str, stage: str = "AWSCURRENT") -> Any:
        return json.loads(self._manager.get_secret_value(SecretId=name, VersionStage=stage)["SecretString"])

    def begin(self, name: str) -> str:
        version = str(uuid.uuid4())
        seed.begin_rotation(self._stack.emulator.url, self._stack.emulator.operator, name, version)
        return version

    def version(self, name: str, stage: str) -> str:
        versions = self._manager.describe_secret(SecretId=name)["VersionIdsToStages"]
        (version,) = [each for each, stages in versions.items() if stage in stages]
        return str(version)

    def unstage_previous(self, name: str) -> None:
        self._manager.update_secret_version_stage(
            SecretId=name, VersionStage="AWSPREVIOUS", RemoveFromVersionId=self.version(name, "AWSPREVIOUS")
        )

    def age_keys(self, seconds: int) -> None:
        """The realm's keys, private and published, as if they had been made earlier."""
        private = self.read(self.keys)
        for key in private["keys"]:
            for member in {"published_at", "current_since"} & key.keys():
                key[member] -= seconds
        self._manager.put_secret_value(SecretId=self.keys, SecretString=json.dumps(private))
        dynamodb, table = self._stack.emulator.client("dynamodb"), self._stack.physical_id("RegistryTable")
        item = {"realm": {"S": f"keys#{seed.REALM}"}, "item": {"S": "jwks"}}
        stored = dynamodb.get_item(TableName=table, Key=item)["Item"]
        public = json.loads(stored["jwks"]["S"])
        for key in public["keys"]:
            for member in {"published_at", "current_since"} & key.keys():
                key[member] -= seconds
        dynamodb.put_item(TableName=table, Item={**stored, "jwks": {"S": json.dumps(public)}})


class Stream(threading.Thread):
    """Asks again and again until it is told to end, and remembers every answer that was not as it should be."""

    def __init__(self, ask: Callable[[int], str | None]) -> None:
        super().__init__(daemon=True)
        self._ask = ask
        self._ending = threading.Event()
        self.asked = 0
        self.failures: list[str] = []

    def run(self) -> None:
        while not self._ending.is_set():
            try:
                failure = self._ask(self.asked)
            except Exception as error:  # whatever it is, it is a request that failed
                failure = repr(error)
            if failure:
                self.failures.append(failure)
            self.asked += 1

    def wait_for(self, more: int) -> None:
        """Returns once `more` requests were made from now on."""
        until, deadline = self.asked + more, time.monotonic() + 60
        while self.asked < until:
            assert time.monotonic() < deadline, f"the stream made {self.asked} requests only"
            time.sleep(0.01)

    def end(self) -> None:
        self._ending.set()
        self.join()


@contextmanager
def streaming(ask: Callable[[int], str | None]) -> Iterator[Stream]:
    stream = Stream(ask)
    stream.start()
    try:
        yield stream
    finally:
        stream.end()


@pytest.fixture
def secrets(seeded: Stack) -> Secrets:
    return Secrets(seeded)


@pytest.fixture
def client(seeded: Stack, emulator: Emulator, binaries: Path) -> seed.SeededClient:
    """A client of this test's own, registered by the real command line."""
    registered = seed.SeededClient(f"rotated-{uuid.uuid4().hex[:8]}", "client_secret_basic", "write")
    table, prefix = seeded.physical_id("RegistryTable"), seeded.parameters["SecretPrefix"]
    environment = seed.operator_environment(emulator.url, emulator.operator, table, prefix)
    settings = ("--scope", "write", "--default-scope", "write")
    seed.register_client(environment, binaries / "grantwell", seed.REALM, registered, settings)
    return registered


def step(name: str, secret: str, version: str) -> Json:
    return {"Step": name, "SecretId": secret, "ClientRequestToken": version}


def rotate(function: LambdaRuntime, secret: str, version: str) -> None:
    for each in STEPS:
        assert function.invoke(step(each, secret, version)) is None


def request_token(sandbox: LambdaRuntime, client_id: str, secret: str) -> Answer:
    asked = event("token/basic")
    credential = base64.b64encode(f"{quote(client_id)}:{quote(secret)}".encode()).decode()
    asked["headers"]["authorization"] = f"Basic {credential}"
    return sandbox.call(asked)


@pytest.mark.parametrize("previous_ends_early", [False, True])
def test_a_client_secret_rotates_between_two_streams_of_token_requests(
    previous_ends_early: bool, seeded: Stack, start: StartFunction, secrets: Secrets, client: seed.SeededClient
) -> None:
    """One stream presents the old secret throughout, the other the new one as soon as it is current: no request fails.

    The control is a rotation that takes AWSPREVIOUS away: then it must be seen that the streams notice.
    """
    sandboxes = [start(seeded.functions["TokenFunction"]) for _ in range(2)]
    function = start(seeded.functions["RotateFunction"])
    name = secrets.of(client)

    def presenting(secret: str) -> Callable[[int], str | None]:
        def ask(number: int) -> str | None:
            answer = request_token(sandboxes[number % len(sandboxes)], client.id, secret)
            return None if answer.status == 200 else f"{answer.status} {answer.body!r}"

        return ask

    with streaming(presenting(client.secret)) as old:
        # Warm, with full caches.
        old.wait_for(20)
        version = secrets.begin(name)
        for each in STEPS:
            old.wait_for(4)
            assert function.invoke(step(each, name, version)) is None
        if previous_ends_early:
            secrets.unstage_previous(name)
        current = secrets.read(name)["client_secret"]
        assert current != client.secret
        with streaming(presenting(current)) as new:
            new.wait_for(60)
            old.wait_for(60)
    assert new.failures == [], f"{len(new.failures)} of {new.asked}"
    if previous_ends_early:
        assert old.failures, "the control: an old secret that is taken away is refused"
    else:
        assert old.failures == [], f"{len(old.failures)} of {old.asked}"


def test_a_pending_secret_is_refused_until_it_is_current(
    seeded: Stack, start: StartFunction, secrets: Secrets, client: seed.SeededClient
) -> None:
    function, name = start(seeded.functions["RotateFunction"]), secrets.of(client)
    version = secrets.begin(name)
    wrong = EXPECTATIONS["token/wrong-secret"]
    for each in STEPS[:-1]:
        assert function.invoke(step(each, name, version)) is None
        pending = secrets.read(name, "AWSPENDING")["client_secret"]
        cold = start(seeded.functions["TokenFunction"])
        assert_answer(request_token(cold, client.id, pending), wrong)
        assert request_token(cold, client.id, client.secret).status == 200
    assert function.invoke(step("finishSecret", name, version)) is None
    cold = start(seeded.functions["TokenFunction"])
    for secret in (pending, client.secret):
        assert request_token(cold, client.id, secret).status == 200


@pytest.mark.parametrize("presented", ["old", "new"])
def test_a_rotation_that_ends_while_a_sandbox_loads_the_secret_refuses_neither(
    presented: str,
    seeded: Stack,
    start: StartFunction,
    emulator: Emulator,
    secrets: Secrets,
    client: seed.SeededClient,
) -> None:
    """A secret is two reads, of AWSCURRENT and of AWSPREVIOUS, and both labels move between them."""
    function, name = start(seeded.functions["RotateFunction"]), secrets.of(client)
    version = secrets.begin(name)
    for each in STEPS[:-1]:
        assert function.invoke(step(each, name, version)) is None
    secret = client.secret if presented == "old" else secrets.read(name, "AWSPENDING")["client_secret"]
    finished: list[object] = []

    def finish(call: Call) -> None:
        if call.action == "secretsmanager:GetSecretValue" and not finished:
            finished.append(function.invoke(step("finishSecret", name, version)))

    role = seeded.functions["TokenFunction"]
    with AwsCalls(emulator, role.statements, after=finish) as aws:
        assert request_token(start(role, endpoint=aws.url), client.id, secret).status == 200
    assert finished == [None]


@pytest.mark.parametrize("by", ["Secrets Manager", "schedule"])
def test_signing_keys_rotate_under_a_stream_of_tokens_that_verify_at_once(
    by: str, seeded: Stack, start: StartFunction, secrets: Secrets
) -> None:
    """Every token verifies with a JWKS that was fetched before the rotation, and by introspection, whichever key signed it."""
    start(seeded.functions["TokenFunction"]).call(event("token/jwt"))  # makes the realm's first keys
    secrets.age_keys(31 * DAY)

    sandboxes = [start(seeded.functions["TokenFunction"]) for _ in range(2)]
    introspect, metadata = (start(seeded.functions[each]) for each in ("IntrospectFunction", "MetadataFunction"))
    function = start(seeded.functions["RotateFunction"])

    fetched_at = time.monotonic()
    answer = metadata.call(event("metadata/jwks"))
    assert f"max-age={JWKS_MAX_AGE}" in answer.headers["cache-control"]
    jwks = answer.json
    assert all({"d", "pkcs8"}.isdisjoint(key) for key in jwks["keys"])
    known = KeySet.import_key_set(jwks)
    signed_by: set[str] = set()

    def ask(number: int) -> str | None:
        token = sandboxes[number % len(sandboxes)].call(event("token/jwt")).json["access_token"]
        try:
            decoded = jwt.decode(token, known, algorithms=["ES256"])
        except (JoseError, ValueError) as error:
            return f"the JWKS fetched before does not verify it: {error!r}"
        signed_by.add(decoded.header["kid"])
        asked = event("introspect/active")
        asked["body"] = base64.b64encode(f"token={token}".encode()).decode()
        answer = introspect.call(asked)
        return None if answer.json.get("active") is True else f"introspection: {answer.status} {answer.body!r}"

    def rotated(stage: str) -> str:
        (key,) = [key for key in secrets.read(secrets.keys)["keys"] if key["status"] == stage]
        return str(key["jwk"]["kid"])

    current, following = rotated("current"), rotated("next")
    with streaming(ask) as stream:
        stream.wait_for(20)
        if by == "schedule":
            assert function.invoke(SCHEDULE) is None
        else:
            version = secrets.begin(secrets.keys)
            for each in STEPS:
                stream.wait_for(4)
                assert function.invoke(step(each, secrets.keys, version)) is None
        assert (rotated("current"), rotated("previous")) == (following, current)
        stream.wait_for(10)
        # Those that run go on with the key that they remember; a new one begins with the new key.
        sandboxes.append(start(seeded.functions["TokenFunction"]))
        stream.wait_for(30)
    assert stream.failures == [], f"{len(stream.failures)} of {stream.asked}"
    assert signed_by == {current, following}
    assert time.monotonic() - fetched_at < JWKS_MAX_AGE, "the JWKS was older than anybody may keep it"

    # The control: what the JWKS of before does not name does not verify.
    fresh = start(seeded.functions["TokenFunction"]).call(event("token/jwt")).json["access_token"]
    without = KeySet.import_key_set({"keys": [key for key in jwks["keys"] if key["kid"] != following]})
    with pytest.raises((JoseError, ValueError)):
        jwt.decode(fresh, without, algorithms=["ES256"])


def test_an_operator_who_loses_against_the_schedule_does_not_hide_its_keys(
    due: Stack, start: StartFunction, emulator: Emulator, binaries: Path, secrets: Secrets
) -> None:
    """The schedule rotates between an operator's new version and its publication: what the operator publishes comes last."""
    function = start(due.functions["RotateFunction"])
    rotated: list[object] = []

    def overtake(call: Call) -> None:
        if call.action == "secretsmanager:PutSecretValue" and not rotated:
            rotated.append(function.invoke(SCHEDULE))

    everywhere = [Statement("Operator", action, "*") for action in OPERATOR_ACTIONS]
    with AwsCalls(emulator, everywhere, after=overtake) as aws:
        table, prefix = due.physical_id("RegistryTable"), due.parameters["SecretPrefix"]
        done = subprocess.run(
            [str(binaries / "grantwell"), "key", "rotate", "--store", "aws", "--realm", seed.REALM],
            env=seed.operator_environment(aws.url, emulator.operator, table, prefix),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert aws.refused == []
        written = [call.leading_key for call in aws.calls if call.action == "dynamodb:PutItem"]
    assert done.returncode != 0 and "somebody else changed the keys" in done.stderr, done.stderr
    assert rotated == [None] and written, "the operator published after the schedule had rotated"
    kids = [key["jwk"]["kid"] for key in secrets.read(secrets.keys)["keys"]]
    jwks = start(due.functions["MetadataFunction"]).call(event("metadata/jwks")).json
    assert [key["kid"] for key in jwks["keys"]] == kids


def everything(function: LambdaRuntime, secrets: Secrets, client: seed.SeededClient) -> None:
    """All that the function does: the steps for a client secret, and what is due of signing keys."""
    rotate(function, secrets.of(client), secrets.begin(secrets.of(client)))
    assert function.invoke(SCHEDULE) is None


@pytest.fixture
def due(seeded: Stack, start: StartFunction, secrets: Secrets) -> Stack:
    """A realm whose signing keys are due."""
    start(seeded.functions["TokenFunction"]).call(event("token/jwt"))
    secrets.age_keys(31 * DAY)
    return seeded


def test_the_function_works_with_its_role_and_uses_all_of_it(
    due: Stack, start: StartFunction, emulator: Emulator, secrets: Secrets, client: seed.SeededClient
) -> None:
    role = due.functions["RotateFunction"]
    before, told = secrets.version(secrets.keys, "AWSCURRENT"), len(lines(due, emulator))
    with AwsCalls(emulator, role.statements) as aws:
        everything(start(role, endpoint=aws.url), secrets, client)
        assert aws.refused == []
        unused = [s.sid for s in data(role.statements) if not any(allows(s, call) for call in aws.calls)]
        assert set(unused) == {*FUNCTIONS["RotateFunction"].beyond_work} - {"sqs:SendMessage"}
    assert secrets.version(secrets.keys, "AWSCURRENT") != before
    written = [line for line in lines(due, emulator)[told:] if line["face"] == "rotation"]
    assert {line["action"] for line in written} == {"client.rotate_secret", "keys.rotate", "keys.update"}
    assert {(line["actor"]["kind"], line["outcome"]) for line in written} == {("schedule", "done")}


@pytest.mark.parametrize(
    "sid", [sid for sid in DATA_STATEMENTS["RotateFunction"] if sid not in FUNCTIONS["RotateFunction"].beyond_work]
)
def test_without_one_statement_a_step_fails_and_nothing_becomes_current(
    sid: str, due: Stack, start: StartFunction, emulator: Emulator, secrets: Secrets, client: seed.SeededClient
) -> None:
    role = due.functions["RotateFunction"]
    of_client = sid.endswith("ClientSecrets") or sid in ("ReadRegistrations", "WriteAdminLog")
    concerned = secrets.of(client) if of_client else secrets.keys
    before = secrets.version(concerned, "AWSCURRENT")
    reduced = [statement for statement in role.statements if statement.sid != sid]
    assert len(reduced) == len(role.statements) - 1
    with AwsCalls(emulator, reduced) as aws:
        function = start(role, endpoint=aws.url)
        with pytest.raises(FunctionError):
            everything(function, secrets, client)
        assert aws.refused, "the function failed for another reason"
    assert secrets.version(concerned, "AWSCURRENT") == before


def test_two_runs_that_make_a_secret_at_once_and_a_move_that_comes_too_late(
    seeded: Stack, start: StartFunction, emulator: Emulator, secrets: Secrets, client: seed.SeededClient
) -> None:
    """What AWS answers to the second of two runs, and the emulator does not."""
    role, name = seeded.functions["RotateFunction"], secrets.of(client)
    version = secrets.begin(name)
    raced = {"secretsmanager:PutSecretValue": "ResourceExistsException"}
    with AwsCalls(emulator, role.statements, failing=raced) as aws:
        assert start(role, endpoint=aws.url).invoke(step("createSecret", name, version)) is None
    function = start(role)
    for each in STEPS[:-1]:
        assert function.invoke(step(each, name, version)) is None
    late = {"secretsmanager:UpdateSecretVersionStage": "InvalidParameterException"}
    with AwsCalls(emulator, role.statements, failing=late) as aws, pytest.raises(FunctionError) as failed:
        start(role, endpoint=aws.url).invoke(step("finishSecret", name, version))
    assert failed.value.message == "somebody else made another version current meanwhile; start the rotation again"
    assert function.invoke(step("finishSecret", name, version)) is None


def test_no_log_line_or_error_of_a_rotation_holds_a_secret(
    due: Stack, start: StartFunction, secrets: Secrets, client: seed.SeededClient
) -> None:
    function = due.functions["RotateFunction"]
    talkative = {**function.environment, "GRANTWELL_LOG_LEVEL": "trace", "RUST_LOG": "trace"}
    sandbox = start(function, environment=talkative)
    everything(sandbox, secrets, client)
    name = secrets.of(client)
    hidden = [secrets.read(name)["client_secret"], client.secret]
    for stage in ("AWSCURRENT", "AWSPREVIOUS"):
        # Of a key that signs no more nothing private is kept.
        private = [key["pkcs8"] for key in secrets.read(secrets.keys, stage)["keys"] if key["status"] != "previous"]
        assert private
        hidden += private
    logs = sandbox.logs()
    lines = [json.loads(line) for line in logs.splitlines() if line.startswith("{")]
    steps = [each["fields"] if "fields" in each else each for each in lines if "rotation step" in json.dumps(each)]
    seen = [(each["secret"], each["realm"], each.get("client_id"), each["step"], each["outcome"]) for each in steps]
    assert seen == [("client secret", seed.REALM, client.id, each, "done") for each in STEPS] + [
        ("signing keys", seed.REALM, None, each, "done") for each in STEPS
    ]
    assert [text for text in hidden if text in logs] == []
