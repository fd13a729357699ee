"""Whose a secret is, as an operator and an application meet it: the real command line and the real functions on bare stores.

What takes a secret back runs on ministack, whose labels of versions are AWS's; the rest on both emulators.
"""

from __future__ import annotations

import json
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

import seed
from emulator import Emulator, Ministack
from expectations import EXPECTATIONS, assert_answer, event
from runtime_api import LambdaRuntime
from test_faults import ShiftedClock, clock  # noqa: F401
from test_rotation import DAY, SCHEDULE, request_token

_OWN_LABELS = {"AWSCURRENT", "AWSPREVIOUS"}


@dataclass(frozen=True)
class Store:
    """The tables and the prefix of one stack, without roles: what a secret is does not depend on who may read it."""

    aws: Emulator | Ministack
    binaries: Path
    name: str
    prefix: str
    running: ExitStack

    @property
    def registry_table(self) -> str:
        return f"{self.name}-registry"

    def create_tables(self) -> Store:
        names = {"RegistryTable": self.registry_table, "TokenTable": f"{self.name}-tokens"}
        seed.create_tables(self.aws.url, self.aws.operator, names)
        return self

    def neighbour(self) -> Store:
        """Another stack with the same prefix."""
        return replace(self, name=f"neighbour-{uuid.uuid4().hex[:8]}").create_tables()

    def grantwell(self, *arguments: str, may_fail: bool = False) -> subprocess.CompletedProcess[str]:
        environment = seed.operator_environment(self.aws.url, self.aws.operator, self.registry_table, self.prefix)
        done = subprocess.run(
            [str(self.binaries / "grantwell"), *arguments, "--store", "aws"],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert may_fail or done.returncode == 0, done.stderr
        return done

    def client(self, command: str, *arguments: str, may_fail: bool = False) -> subprocess.CompletedProcess[str]:
        return self.grantwell("client", command, "--realm", seed.REALM, *arguments, may_fail=may_fail)

    def create(self, client_id: str, *settings: str) -> str:
        """Registers a client; its secret."""
        scopes = ("--scope", "write", "--default-scope", "write")
        created = self.client("create", "--id", client_id, *scopes, *settings)
        return str(json.loads(created.stdout)["client_secret"])

    def start(self, binary: str, clock: ShiftedClock | None = None) -> LambdaRuntime:
        environment = {
            "GRANTWELL_REGISTRY_TABLE": self.registry_table,
            "GRANTWELL_TOKEN_TABLE": f"{self.name}-tokens",
            "GRANTWELL_SECRET_PREFIX": self.prefix,
        }
        extra = {"AWS_ENDPOINT_URL": self.aws.url, **(clock.variables if clock else {})}
        sandbox = LambdaRuntime(
            self.binaries / binary,
            environment,
            credentials=self.aws.operator.variables(),
            extra=extra,
            **({"clock": clock.now} if clock else {}),
        )
        return self.running.enter_context(sandbox)

    def secret_of(self, client_id: str) -> str:
        return f"{self.prefix}/{seed.REALM}/clients/{client_id}"

    @property
    def signing_keys(self) -> str:
        return f"{self.prefix}/{seed.REALM}/signing-keys"

    def set_without_keys(self, client_id: str, member: str, value: str) -> None:
        """Writes a member of a registration as a command would that could make the realm's keys first."""
        key = {"realm": {"S": seed.REALM}, "item": {"S": f"client#{client_id}"}}
        self.aws.client("dynamodb").update_item(
            TableName=self.registry_table,
            Key=key,
            UpdateExpression="SET #member = :value",
            ConditionExpression="attribute_exists(#item)",
            ExpressionAttributeNames={"#member": member, "#item": "item"},
            ExpressionAttributeValues={":value": {"S": value}},
        )
        assert json.loads(self.client("show", client_id).stdout)[member] == value

    def read(self, name: str, stage: str = "AWSCURRENT") -> Any:
        found = self.aws.client("secretsmanager").get_secret_value(SecretId=name, VersionStage=stage)
        return json.loads(found["SecretString"])

    def state(self, name: str) -> Any:
        """Labels and tags of a secret, and what is current."""
        described = self.aws.client("secretsmanager").describe_secret(SecretId=name)
        labels = {version: sorted(stages) for version, stages in described["VersionIdsToStages"].items() if stages}
        return labels, described.get("Tags", []), self.read(name)

    def labels(self, name: str) -> set[str]:
        return {label for stages in self.state(name)[0].values() for label in stages}

    def age(self, name: str, member: str) -> None:
        """The secret as an earlier build has made it: no tags, and a value that does not say whose it is."""
        manager = self.aws.client("secretsmanager")
        manager.untag_resource(SecretId=name, TagKeys=["grantwell:registry", "grantwell:registration"])
        value = self.read(name)
        del value[member]
        manager.put_secret_value(SecretId=name, SecretString=json.dumps(value))
        for version, labels in self.state(name)[0].items():
            if "AWSPREVIOUS" in labels:
                manager.update_secret_version_stage(
                    SecretId=name, VersionStage="AWSPREVIOUS", RemoveFromVersionId=version
                )


@pytest.fixture(scope="session")
def ministack() -> Iterator[Ministack]:
    with Ministack() as running:
        yield running


@pytest.fixture(params=["moto", "ministack"])
def store(request: pytest.FixtureRequest, binaries: Path) -> Iterator[Store]:
    aws = request.getfixturevalue("emulator" if request.param == "moto" else "ministack")
    with ExitStack() as running:
        name = f"bare-{uuid.uuid4().hex[:8]}"
        made = Store(aws, binaries, name, name, running).create_tables()
        made.grantwell("realm", "set", seed.REALM)
        yield made


@pytest.mark.parametrize("store", ["ministack"], indirect=True)
def test_a_leaked_secret_that_was_taken_back_never_works_again(store: Store, clock: ShiftedClock) -> None:  # noqa: F811
    name, rotate = store.secret_of("myClient"), store.start("rotate", clock)
    first = store.create("myClient", "--secret-rotation-days", "1")
    clock.shift(2 * DAY)
    # 1. The schedule rotates, and what it made leaks.
    assert rotate.invoke(SCHEDULE) is None
    leaked = store.read(name)["client_secret"]
    assert leaked != first and store.labels(name) == _OWN_LABELS
    # 2. The operator follows the runbook.
    ours = json.loads(store.client("rotate-secret", "myClient").stdout)["client_secret"]
    assert store.labels(name) == _OWN_LABELS
    store.client("rotate-secret", "myClient", "--revoke-previous")
    assert store.labels(name) == {"AWSCURRENT"}
    # 3. The next due run makes a secret of its own.
    assert rotate.invoke(SCHEDULE) is None
    latest = store.read(name)["client_secret"]
    assert latest not in (first, leaked, ours)
    token = store.start("token")
    for secret in (first, leaked):
        assert_answer(request_token(token, "myClient", secret), EXPECTATIONS["token/wrong-secret"])
    for secret in (ours, latest):
        assert request_token(token, "myClient", secret).status == 200


def test_a_client_registered_again_gets_nothing_of_its_predecessor_from_a_warm_function(store: Store) -> None:
    token = store.start("token")
    old = store.create("myClient")
    assert request_token(token, "myClient", old).status == 200
    store.client("delete", "myClient")
    scopes = ("--scope", "read", "--default-scope", "read")
    new = json.loads(store.client("create", "--id", "myClient", *scopes).stdout)["client_secret"]
    # The sandbox remembers the first registration, which may have `write`. The second one's secret is none of it.
    warm, cold = request_token(token, "myClient", new), request_token(store.start("token"), "myClient", new)
    assert (warm.status, warm.json["error"]) in ((401, "invalid_client"), (400, "invalid_scope")), warm
    assert (cold.status, cold.json["error"]) == (400, "invalid_scope"), cold
    assert_answer(request_token(token, "myClient", old), EXPECTATIONS["token/wrong-secret"])


def test_two_stacks_with_one_prefix_refuse_what_is_the_others(store: Store) -> None:
    secret = store.create("myClient", "--access-token-format", "jwt")
    assert request_token(store.start("token"), "myClient", secret).status == 200
    name, keys = store.secret_of("myClient"), store.signing_keys
    before = (store.state(name), store.state(keys))
    other = store.neighbour()
    other.grantwell("realm", "set", seed.REALM)

    refused = other.client("create", "--id", "myClient", may_fail=True)
    assert refused.returncode == 1 and "tag grantwell:registry of another registry" in refused.stderr, refused
    assert "has no client" in other.client("show", "myClient", may_fail=True).stderr
    deleted = other.client("delete", "myClient", may_fail=True)
    assert deleted.returncode == 1 and "has no client" in deleted.stderr

    # A client of its own works, and is not signed for with the other stack's keys: not when it is set to JWTs, and not by a function
    # that finds it so.
    own = other.create("ownClient")
    signed = other.client("update", "ownClient", "--access-token-format", "jwt", may_fail=True)
    assert signed.returncode == 1 and "so nothing was changed" in signed.stderr, signed
    assert "signing keys of another registry" in signed.stderr
    token = other.start("token")
    assert request_token(token, "ownClient", own).status == 200
    other.set_without_keys("ownClient", "access_token_format", "jwt")
    token = other.start("token")
    answer = request_token(token, "ownClient", own)
    assert (answer.status, answer.json["error"]) == (500, "server_error")
    assert "signing keys of another registry" in token.logs()
    metadata = other.start("metadata")
    assert metadata.call(event("metadata/jwks")).json == {"keys": []}
    assert (store.state(name), store.state(keys)) == before

    # Nor does a command that binds claim what is somebody else's.
    bound = other.grantwell("secrets", "bind", "--output", "json", may_fail=True)
    outcomes = {each["secret"]: each["outcome"] for each in json.loads(bound.stdout)["secrets"]}
    assert outcomes == {keys: "left_alone", other.secret_of("ownClient"): "bound_already"}
    assert bound.returncode == 1 and "1 of 2 secrets were left alone" in bound.stderr, bound
    assert (store.state(name), store.state(keys)) == before


def test_the_secrets_of_an_existing_stack_are_refused_until_a_command_binds_them(store: Store) -> None:
    secret = store.create("myClient", "--access-token-format", "jwt")
    assert request_token(store.start("token"), "myClient", secret).status == 200
    name, keys = store.secret_of("myClient"), store.signing_keys
    store.age(name, "registration_id")
    store.age(keys, "registry_id")

    # 1. Refused, with a line that says so.
    token = store.start("token")
    answer = request_token(token, "myClient", secret)
    assert (answer.status, answer.json["error"]) == (500, "server_error")
    assert "no registration_id" in token.logs() and "grantwell secrets bind --store aws" in token.logs()
    assert secret not in token.logs()
    rotated = store.client("rotate-secret", "myClient", may_fail=True)
    assert rotated.returncode == 1 and "has no tag grantwell:registry" in rotated.stderr
    assert "grantwell secrets bind --store aws" in rotated.stderr

    # 2. What would be done, 3. what is done, and 4. nothing left to do.
    before = (store.state(name), store.state(keys))
    for arguments, outcome in [(("--dry-run",), "bound"), ((), "bound"), ((), "bound_already")]:
        if outcome == "bound":
            assert (store.state(name), store.state(keys)) == before
        answered = json.loads(store.grantwell("secrets", "bind", "--output", "json", *arguments).stdout)
        assert {each["secret"]: each["outcome"] for each in answered["secrets"]} == {name: outcome, keys: outcome}
        assert len(answered["registry_id"]) == 22 and answered["dry_run"] is bool(arguments)
    table = store.grantwell("secrets", "bind", "--output", "table").stdout
    assert "bound already" in table and all(len(line) <= 80 for line in table.splitlines())
    assert request_token(store.start("token"), "myClient", secret).status == 200
    assert store.labels(name) == {"AWSCURRENT"}


def test_a_secret_put_by_hand_is_refused_and_left_as_it_is(store: Store) -> None:
    name = store.secret_of("myClient")
    store.aws.client("secretsmanager").create_secret(Name=name, SecretString='{"password":"theirs"}')
    before = store.state(name)
    refused = store.client("create", "--id", "myClient", may_fail=True)
    assert refused.returncode == 1 and f"{name} has no tag grantwell:registry" in refused.stderr, refused
    assert store.state(name) == before
    assert "has no client" in store.client("show", "myClient", may_fail=True).stderr


def test_secrets_of_a_local_server_need_no_binding(binaries: Path, tmp_path: Path) -> None:
    command = [str(binaries / "grantwell"), "secrets", "bind", "--store", f"file:{tmp_path / 'data'}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: only a deployed stack keeps secrets outside its registry")
