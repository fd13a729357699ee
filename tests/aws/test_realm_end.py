"""A realm of a stack, from its first token to its deletion and to another one of its name; and which of its clients nobody uses."""

from __future__ import annotations

import json
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

import seed
import template as sam
from conftest import StartFunction
from emulator import Emulator
from gateway import Gateway
from stack import Stack

FUNCTIONS = ("TokenFunction", "IntrospectFunction", "MetadataFunction")
SECRET = "not-a-secret-of-these-tests-0123456789"


@dataclass(frozen=True)
class House:
    stack: Stack
    emulator: Emulator
    grantwell: Path
    start: StartFunction

    def run(self, *arguments: str, stdin: str = "", expected: int = 0) -> Any:
        """What a command says, which is JSON; or what it complains of."""
        table, prefix = self.stack.physical_id("RegistryTable"), self.stack.parameters["SecretPrefix"]
        environment = seed.operator_environment(self.emulator.url, self.emulator.operator, table, prefix)
        environment["GRANTWELL_TOKEN_TABLE"] = self.stack.physical_id("TokenTable")
        done = subprocess.run(
            [str(self.grantwell), *arguments, "--store", "aws"],
            env=environment,
            input=stdin,
            text=True,
            capture_output=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == expected, done.stderr
        return json.loads(done.stdout) if expected == 0 and done.stdout.startswith(("{", "[")) else done.stdout + done.stderr

    @contextmanager
    def served(self, realm: str) -> Iterator[str]:
        """The realm's base, of functions that remember nothing."""
        started = {name: self.start(self.stack.functions[name]) for name in FUNCTIONS}
        with Gateway([route for route in sam.routes(self.stack.translated) if route.function in started], started) as running:
            yield f"{running.url}/am/oauth2/realms/root/realms/{realm}"

    def stored(self, realm: str) -> list[str]:
        """The keys of what belongs to the realm, and the names of its secrets."""
        items = self.emulator.client("dynamodb").scan(TableName=self.stack.physical_id("RegistryTable"))["Items"]
        keys = [(item["realm"]["S"], item["item"]["S"]) for item in items]
        of_realm = [f"{owner}/{item}" for owner, item in keys if owner in {realm, f"keys#{realm}"} or item == f"realm#{realm}"]
        named = [{"Key": "name", "Values": [f"{self.stack.parameters['SecretPrefix']}/{realm}/"]}]
        # Those that are scheduled for deletion, too.
        secrets = self.emulator.client("secretsmanager").list_secrets(Filters=named, IncludePlannedDeletion=True)
        return sorted([*of_realm, *(secret["Name"] for secret in secrets["SecretList"])])

    def make(self, realm: str) -> None:
        self.run("realm", "set", realm, "--access-token-format", "jwt", "--record-use", "on")
        for client_id in ("user", "idle"):
            create = ("client", "create", "--realm", realm, "--id", client_id, "--scope", "read", "--default-scope", "read")
            self.run(*create, "--secret-stdin", "--output", "json", stdin=SECRET)


@pytest.fixture
def house(seeded: Stack, emulator: Emulator, binaries: Path, start: StartFunction) -> House:
    return House(seeded, emulator, binaries / "grantwell", start)


@pytest.fixture
def realm() -> str:
    return f"short-{uuid.uuid4().hex[:8]}"


def token(base: str) -> requests.Response:
    return requests.post(f"{base}/access_token", data={"grant_type": "client_credentials"}, auth=("user", SECRET), timeout=30)


def kids(base: str) -> set[str]:
    document = requests.get(f"{base}/connect/jwk_uri", timeout=30)
    assert document.status_code == 200, document.text
    return {key["kid"] for key in document.json()["keys"]}


def test_a_realm_is_deleted_with_all_that_belongs_to_it_and_another_of_its_name_knows_nothing_of_it(
    house: House, realm: str
) -> None:
    house.make(realm)
    with house.served(realm) as base:
        issued = token(base).json()["access_token"]
        first_kids = kids(base)
        seen = requests.post(f"{base}/introspect", data={"token": issued}, auth=("user", SECRET), timeout=30)
        assert seen.json()["active"] is True and len(house.stored(realm)) == 7, house.stored(realm)

    refused = house.run("realm", "delete", realm, expected=1)
    assert "2 clients" in refused and len(house.stored(realm)) == 7, refused
    deleted = house.run("realm", "delete", realm, "--with-clients", "--yes", "--output", "json")
    assert (deleted["clients_deleted"], deleted["signing_keys_deleted"]) == (2, True)
    assert house.stored(realm) == []
    with house.served(realm) as base:
        assert token(base).status_code in {401, 404}
    assert "there is no realm" in house.run("realm", "delete", realm, "--with-clients", "--yes", expected=1)

    # At once: Secrets Manager may keep a name for a while.
    house.make(realm)
    with house.served(realm) as base:
        assert token(base).status_code == 200
        assert first_kids.isdisjoint(kids(base)), "the keys of a realm end with it"
        seen = requests.post(f"{base}/introspect", data={"token": issued}, auth=("user", SECRET), timeout=30)
        assert seen.json() == {"active": False}
    house.run("realm", "delete", realm, "--with-clients", "--yes")
    assert house.stored(realm) == []


def test_who_is_used_is_recorded_and_who_is_not_is_listed(house: House, realm: str) -> None:
    house.make(realm)
    with house.served(realm) as base:
        assert token(base).status_code == 200
    shown = house.run("client", "show", "user", "--realm", realm, "--output", "json")
    assert shown["last_used_on"] == int(time.time()) // 86_400 * 86_400
    # Nobody has looked for longer than that.
    time.sleep(2.1)
    unused = ("client", "list", "--realm", realm, "--output", "json", "--unused")
    assert [client["client_id"] for client in house.run(*unused, "1")["clients"]] == ["idle"]
    assert house.run(*unused, "90d")["clients"] == []
    house.run("realm", "set", realm, "--record-use", "off")
    assert house.run(*unused, "1")["clients"] == []
    house.run("realm", "delete", realm, "--with-clients", "--yes")
