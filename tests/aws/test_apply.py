"""`grantwell apply` on a stack's table: how it reads, and that it ends in the same state wherever it was interrupted."""

from __future__ import annotations

import hashlib
import itertools
import json
import signal
import subprocess
import threading
import time
from base64 import urlsafe_b64encode
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import seed
from aws_calls import AwsCalls, Call
from emulator import Emulator, Ministack
from stack import Statement
from template import Json

REALM = "alpha"
# What differs between two runs that end in the same state: when, under which random names, and by how many writes.
VOLATILE = {"registration_id", "client_id_issued_at", "created_at", "client_secret_digests", "revision", "write_id"}
WRITES = {"PutItem", "UpdateItem", "DeleteItem", "CreateSecret", "PutSecretValue", "DeleteSecret", "TagResource", "RestoreSecret"}
NUMBERS = itertools.count()
KEY = {"kty": "EC", "crv": "P-256", "kid": "k1", "alg": "ES256", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}


class Registry:
    """A registry table of its own, with the secrets beside it."""

    def __init__(self, emulator: Emulator | Ministack, binaries: Path, directory: Path) -> None:
        self.name = f"apply-{next(NUMBERS)}"
        self._emulator, self._grantwell, self._directory = emulator, binaries / "grantwell", directory / self.name
        self._directory.mkdir()
        self.table = f"{self.name}-registry"
        seed.create_tables(emulator.url, emulator.operator, {"RegistryTable": self.table})
        self._dynamodb, self._manager = emulator.client("dynamodb"), emulator.client("secretsmanager")

    @property
    def grants(self) -> list[Statement]:
        """What docs/operations.md says that an operator needs for this."""
        table = f"arn:aws:dynamodb:us-east-1:123456789012:table/{self.table}"
        of_table = ("GetItem", "BatchGetItem", "PutItem", "DeleteItem", "Query")
        of_secrets = (
            *("CreateSecret", "TagResource", "PutSecretValue", "DescribeSecret", "GetSecretValue"),
            *("ListSecretVersionIds", "UpdateSecretVersionStage", "RestoreSecret", "DeleteSecret"),
        )
        return [
            *(Statement(action, f"dynamodb:{action}", table) for action in of_table),
            *(Statement(action, f"secretsmanager:{action}", "*") for action in of_secrets),
        ]

    def begin(self, *arguments: str, url: str | None = None) -> subprocess.Popen[str]:
        environment = seed.operator_environment(url or self._emulator.url, self._emulator.operator, self.table, self.name)
        return subprocess.Popen(
            [str(self._grantwell), *arguments, "--store", "aws"],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, url: str | None = None) -> tuple[int, str, str]:
        process = self.begin(*arguments, url=url)
        stdout, stderr = process.communicate(timeout=120)
        return process.returncode, stdout, stderr

    def file(self, document: Json) -> str:
        path = self._directory / "declared.json"
        path.write_text(json.dumps(document))
        return str(path)

    def apply(self, document: Json) -> tuple[str, ...]:
        """The command line that applies a document."""
        secrets = str(self._directory / "secrets")
        return ("apply", "-f", self.file(document), "--prune", "--yes", "--secrets-dir", secrets)

    def items(self) -> dict[str, Json]:
        """What is registered, as it is stored, by its key. Without the log."""
        pages = self._dynamodb.get_paginator("scan").paginate(TableName=self.table, ConsistentRead=True)
        items = (item for page in pages for item in page["Items"] if item["realm"]["S"] != "log#admin")
        return {f"{item['realm']['S']}/{item['item']['S']}": item for item in items}

    def put(self, items: list[Json]) -> None:
        for some in _batches(items, 25):
            self._dynamodb.batch_write_item(RequestItems={self.table: [{"PutRequest": {"Item": item}} for item in some]})

    def secrets(self) -> dict[str, Json]:
        """Every secret, with the registration that it says it is of, by its name without the prefix."""
        found = {}
        for page in self._manager.get_paginator("list_secrets").paginate(Filters=[{"Key": "name", "Values": [f"{self.name}/"]}]):
            for secret in page["SecretList"]:
                tags = {tag["Key"]: tag["Value"] for tag in secret["Tags"]}
                found[secret["Name"].removeprefix(f"{self.name}/")] = tags
        return found

    def copy_of(self, other: Registry) -> None:
        """Begins as `other` is."""
        self.put(list(other.items().values()))
        for name in other.secrets():
            described = self._manager.describe_secret(SecretId=f"{other.name}/{name}")
            text = self._manager.get_secret_value(SecretId=f"{other.name}/{name}")["SecretString"]
            self._manager.create_secret(Name=f"{self.name}/{name}", SecretString=text, Tags=described["Tags"])

    def state(self) -> Json:
        """What two runs have in common that end in the same state; and each secret is somebody's, and everybody's is there."""
        items, secrets = self.items(), self.secrets()
        state: Json = {"secrets": sorted(secrets)}
        for key, item in items.items():
            kind = key.split("/")[1].split("#")[0]
            if kind in {"registry", "jwks"}:
                state[key] = "is there"
                continue
            state[key] = {name: value for name, value in item.items() if name not in VOLATILE}
            if kind != "client":
                continue
            realm, client_id = item["realm"]["S"], item["client_id"]["S"]
            path = f"{realm}/clients/{client_id}"
            methods = {method["S"] for method in item["token_endpoint_auth_methods"]["L"]}
            if "client_secret_digests" in item:
                kept = (self._directory / "secrets" / realm / client_id).read_text()
                digest = urlsafe_b64encode(hashlib.sha256(kept.encode()).digest()).decode().rstrip("=")
                assert item["client_secret_digests"]["M"]["current"]["M"]["sha256"] == {"S": digest}, path
            elif any(method.startswith("client_secret") for method in methods):
                tags = secrets.pop(path)
                assert item["registration_id"]["S"] in tags.values(), f"{path} is of another registration"
        assert {name.split("/")[1] for name in secrets} <= {"signing-keys"}, "a secret of nobody"
        return state


@pytest.fixture
def registry(emulator: Emulator, binaries: Path, tmp_path: Path) -> Registry:
    return Registry(emulator, binaries, tmp_path)


@pytest.fixture
def ministack() -> Iterator[Ministack]:
    with Ministack() as running:
        yield running


def test_an_interrupted_run_that_is_repeated_ends_in_the_same_state(
    emulator: Emulator, binaries: Path, tmp_path: Path
) -> None:
    """Killed once each write has been done, which is the state before the next; and with each write refused, others not."""
    before = Registry(emulator, binaries, tmp_path)
    done(before.run(*before.apply(first())))
    whole = Registry(emulator, binaries, tmp_path)
    whole.copy_of(before)
    with AwsCalls(emulator, whole.grants) as aws:
        done(whole.run(*whole.apply(second()), url=aws.url))
        assert not aws.refused
        writes = sum(is_write(call) for call in aws.calls)
    expected = whole.state()
    assert "client#gone" not in str(expected) and "beta/clients/one" in expected["secrets"]
    assert writes > 12, "realms, clients and secrets"

    def interrupted(case: tuple[int, bool]) -> str | None:
        number, is_killed = case
        registry = Registry(emulator, binaries, tmp_path)
        registry.copy_of(before)
        told = interrupt(emulator, registry, number, is_killed)
        again = registry.run(*registry.apply(second()))
        if again[0] != 0:
            return f"{case}: {told}\nthen {again}"
        planned = registry.run("diff", "-f", registry.file(second()), "--prune")
        if planned[0] != 0:
            return f"{case}: {told}\nthen still {planned}"
        state = registry.state()
        differs = {key: (state.get(key), expected.get(key)) for key in state.keys() | expected.keys() if state.get(key) != expected.get(key)}
        return f"{case}: {told}\nthen {differs}" if differs else None

    cases = [(number, is_killed) for number in range(1, writes + 1) for is_killed in (True, False)]
    with ThreadPoolExecutor(4) as pool:
        failures = [failure for failure in pool.map(interrupted, cases) if failure]
    assert not failures, "\n\n".join(failures)


def interrupt(emulator: Emulator, registry: Registry, number: int, is_killed: bool) -> tuple[int, str, str]:
    """Runs until the write of this number: then the process is killed, or the write is refused."""
    lock, seen = threading.Lock(), itertools.count(1)
    process: subprocess.Popen[str] | None = None
    begun = threading.Event()

    def is_it(call: Call) -> bool:
        with lock:
            return is_write(call) and next(seen) == number

    def kill(call: Call) -> None:
        if is_killed and is_it(call):
            assert begun.wait(10) and process
            process.kill()

    def refuses(call: Call) -> str | None:
        return "com.amazon.coral.service#AccessDeniedException" if not is_killed and is_it(call) else None

    with AwsCalls(emulator, registry.grants, refuses=refuses, after=kill) as aws:
        process = registry.begin(*registry.apply(second()), url=aws.url)
        begun.set()
        stdout, stderr = process.communicate(timeout=120)
    if is_killed:
        assert process.returncode == -9, (number, stderr)
    else:
        assert process.returncode in {0, 1} and "a fault in this program" not in stderr, (number, stderr)
    return process.returncode, stdout, stderr


def is_write(call: Call) -> bool:
    """Whether it changes what is registered. The log's lines do not."""
    return call.action.split(":")[1] in WRITES and call.leading_key != "log#admin" and not call.is_implied


def test_ctrl_c_begins_nothing_more_and_says_what_is_done_and_what_is_not(registry: Registry, emulator: Emulator) -> None:
    document: Json = {"name": "many", "realms": [{"realm": REALM}]}
    document["clients"] = [{"realm": REALM, "client_id": f"c{number:02}", "scope": "read"} for number in range(24)]
    process: subprocess.Popen[str] | None = None
    begun, asked = threading.Event(), threading.Event()

    def interrupt_once(call: Call) -> None:
        if call.action == "secretsmanager:CreateSecret" and not asked.is_set():
            asked.set()
            assert begun.wait(10) and process
            process.send_signal(signal.SIGINT)
            time.sleep(0.5)

    with AwsCalls(emulator, registry.grants, after=interrupt_once) as aws:
        process = registry.begin(*registry.apply(document), "--output", "json", url=aws.url)
        begun.set()
        stdout, stderr = process.communicate(timeout=120)
    assert process.returncode == 1, (stdout, stderr)
    outcomes = {change["target"].get("client_id"): change["outcome"] for change in json.loads(stdout)["changes"]}
    assert set(outcomes.values()) == {"done", "not_done"}, "what has begun is ended"
    clients = {key.split("#")[1]: item for key, item in registry.items().items() if "client#" in key}
    assert {client_id for client_id, outcome in outcomes.items() if outcome == "done" and client_id} == set(clients)
    assert all(item["status"] == {"S": "active"} for item in clients.values())
    assert "stopping: " in stderr and f"interrupted; {len(clients) + 1} changes were made: realm 'alpha'" in stderr, stderr
    assert "not made: " in stderr and "run the command again" in stderr, stderr

    done(registry.run(*registry.apply(document)))
    registry.state()
    assert sum("client#" in key for key in registry.items()) == 24


def test_a_plan_of_250_clients_is_three_calls_and_asks_secrets_manager_for_nothing(
    registry: Registry, emulator: Emulator
) -> None:
    """The realms, the clients of one, and the owners."""
    document = many(registry, 250, declared=range(250))
    with AwsCalls(emulator, registry.grants) as aws:
        done(registry.run("diff", "-f", registry.file(document), url=aws.url))
        assert Counter(aws.requests) == {"dynamodb:Query": 3} and not aws.refused
        assert all(call.consistent_read for call in aws.calls), "a plan is made of what is there"


def test_of_a_realm_of_thousands_nothing_is_read_beyond_2000_but_what_is_declared(
    ministack: Ministack, binaries: Path, tmp_path: Path
) -> None:
    """On the emulator that takes milliseconds for a page of clients, not seconds."""
    registry = Registry(ministack, binaries, tmp_path)
    document = many(registry, 2_400, declared=range(1_990, 2_240))
    # One that is not there.
    document["clients"].append({**document["clients"][0], "client_id": "c9999"})
    diff = ("diff", "-f", registry.file(document), "--output", "table")
    with AwsCalls(ministack, registry.grants) as aws:
        code, stdout, stderr = registry.run(*diff, url=aws.url)
        assert (code, "1 to create, 0 to change, 0 to delete" in stdout) == (3, True), (stdout, stderr)
        # The realms, four pages of clients, the owners, and 241 that are declared beyond, 100 at a time.
        assert Counter(aws.requests) == {"dynamodb:Query": 6, "dynamodb:BatchGetItem": 3} and not aws.refused
        assert all(call.consistent_read for call in aws.calls)
    assert "realm alpha has many clients" in stdout, "some may be no longer declared"

    with AwsCalls(ministack, registry.grants, failing={"dynamodb:BatchGetItem": "AccessDeniedException"}) as aws:
        code, stdout, stderr = registry.run(*diff, url=aws.url)
    assert (code, stdout) == (1, ""), (stdout, stderr)
    assert "nothing was changed, because what is registered could not be read: DynamoDB" in stderr


def test_a_plan_that_cannot_read_everything_says_so_and_nothing_is_changed(
    registry: Registry, emulator: Emulator
) -> None:
    document = many(registry, 2, declared=range(2))
    document["clients"][0]["client_name"] = "Changed"
    before, queries = registry.items(), itertools.count(1)

    def refuses(call: Call) -> str | None:
        """The second one, of the clients, who are not the declared ones' alone."""
        is_it = call.action == "dynamodb:Query" and next(queries) == 2
        return "com.amazon.coral.service#AccessDeniedException" if is_it else None

    with AwsCalls(emulator, registry.grants, refuses=refuses) as aws:
        code, stdout, stderr = registry.run("apply", "-f", registry.file(document), url=aws.url)
    assert (code, stdout) == (1, ""), stderr
    assert "nothing was changed, because what is registered could not be read: DynamoDB" in stderr, stderr
    assert registry.items() == before


def many(registry: Registry, count: int, declared: range) -> Json:
    """A realm of so many clients, of which some are declared: registered once by the command, and copied."""
    key = {"token_endpoint_auth_methods": ["private_key_jwt"], "jwks": {"keys": [KEY]}, "scope": "read"}
    document: Json = {"name": "many", "realms": [{"realm": REALM}], "clients": [{"realm": REALM, "client_id": "c0000", **key}]}
    done(registry.run("apply", "-f", registry.file(document)))
    one = registry.items()[f"{REALM}/client#c0000"]
    ids = [f"c{number:04}" for number in range(count)]
    registry.put([
        {**one, "item": {"S": f"client#{each}"}, "client_id": {"S": each}, "registration_id": {"S": each}} for each in ids
    ])
    document["clients"] = [{"realm": REALM, "client_id": ids[number], **key} for number in declared]
    return document


def first() -> Json:
    """What there is before the run that is interrupted."""
    return {
        "name": "team-a",
        "realms": [{"realm": REALM, "default_scope": "read"}],
        "owners": [{"owner": "alice", "name": "Alice"}],
        "clients": [
            {"realm": REALM, "client_id": "kept", "scope": "read"},
            {"realm": REALM, "client_id": "off", "scope": "read"},
            {"realm": REALM, "client_id": "gone", "scope": "read"},
        ],
    }


def second() -> Json:
    """A realm changed and one made that signs; owners, the same; clients made with a secret, a digest and a key, changed, disabled and deleted."""
    return {
        "name": "team-a",
        "realms": [
            {"realm": REALM, "default_scope": "write"},
            {"realm": "beta", "access_token_format": "jwt"},
        ],
        "owners": [{"owner": "alice", "name": "Alice", "email": "alice@example.com"}, {"owner": "bob"}],
        "clients": [
            {"realm": REALM, "client_id": "kept", "scope": "read write", "owners": ["alice", "bob"]},
            {"realm": REALM, "client_id": "off", "scope": "read", "status": "disabled"},
            {"realm": "beta", "client_id": "one", "scope": "read"},
            {"realm": "beta", "client_id": "two", "scope": "read", "client_secret_storage": "digest"},
            {"realm": "beta", "client_id": "key", "scope": "read", "token_endpoint_auth_methods": ["private_key_jwt"], "jwks": {"keys": [KEY]}},
        ],
    }


def done(ran: tuple[int, str, str]) -> None:
    assert ran[0] == 0, ran


def _batches(items: list[Json], size: int) -> Iterator[list[Json]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
