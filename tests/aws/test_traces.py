"""What X-Ray's daemon is told of the functions' calls of AWS, and what it never is."""

from __future__ import annotations

import json
import re
import socket
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

import seed
from aws_calls import AwsCalls
from conftest import StartFunction
from emulator import Emulator
from expectations import EXPECTATIONS, UNAVAILABLE, Expected, assert_outcome, event
from faults import FAULTS, SILENCES, Fault, FaultyAws
from runtime_api import LambdaRuntime
from stack import DeployedFunction, Stack
from template import Json
from test_events import function_of, stored

ROOT, PARENT = "1-5759e988-bd862e3fe1be46a994272793", "53995c3f42cd8ad8"
SAMPLED = f"Root={ROOT};Parent={PARENT};Sampled=1"
ISSUE = "token/basic"


class Daemon:
    """Takes what the functions send. On loopback a datagram has arrived when its sender goes on, so nobody waits here."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.setblocking(False)
        self.address = "127.0.0.1:%d" % self._socket.getsockname()[1]

    def close(self) -> None:
        self._socket.close()

    def datagrams(self) -> list[bytes]:
        """Those since the last time."""
        found = []
        while True:
            try:
                found.append(self._socket.recv(65536))
            except BlockingIOError:
                return found

    def documents(self) -> list[Json]:
        """The same, read as the daemon reads them."""
        found = []
        for datagram in self.datagrams():
            header, document = datagram.split(b"\n")
            assert json.loads(header) == {"format": "json", "version": 1}
            found.append(json.loads(document))
        return found


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    daemon = Daemon()
    yield daemon
    daemon.close()


def traced(function: DeployedFunction, address: str) -> dict[str, str]:
    return {**function.environment, "AWS_XRAY_DAEMON_ADDRESS": address}


def sampled() -> str:
    return SAMPLED


def assert_is_subsegment(document: Json, function: DeployedFunction) -> None:
    """Nothing but the members that it may have, and each of a form in which nothing else can be told."""
    operation = document["aws"]
    assert document.keys() - {"error", "throttle", "fault"} == {
        "name",
        "id",
        "trace_id",
        "parent_id",
        "type",
        "start_time",
        "end_time",
        "namespace",
        "aws",
    }
    assert re.fullmatch("[0-9a-f]{16}", document["id"])
    assert (document["trace_id"], document["parent_id"]) == (ROOT, PARENT)
    assert (document["type"], document["namespace"]) == ("subsegment", "aws")
    assert time.time() - 60 < document["start_time"] <= document["end_time"] < time.time() + 1
    assert all(document[mark] is True for mark in ("error", "throttle", "fault") if mark in document)
    service = {"DynamoDB": "dynamodb", "SecretsManager": "secretsmanager"}[document["name"]]
    allowed = {(each.action, each.resource.split("/")[-1]) for each in function.statements}
    assert operation["region"] == "us-east-1"
    if service == "dynamodb":
        assert (f"dynamodb:{operation['operation']}", operation["table_name"]) in allowed
    else:
        assert f"secretsmanager:{operation['operation']}" in {action for action, _ in allowed}
        assert "table_name" not in operation
    assert operation.keys() <= {"operation", "region", "table_name", "request_id", "retries"}
    assert re.fullmatch("[A-Za-z0-9-]{1,64}", operation.get("request_id", "none"))
    assert type(operation.get("retries", 0)) is int


def told(document: Json) -> dict[str, Any]:
    """What differs from one call to the next by more than time and ids."""
    marks = {mark: document[mark] for mark in ("error", "throttle", "fault") if mark in document}
    retries = {"retries": document["aws"]["retries"]} if "retries" in document["aws"] else {}
    return {"call": f"{document['name']} {document['aws']['operation']}"} | retries | marks


def test_the_calls_of_a_sampled_invocation_are_parts_of_its_segment(
    seeded: Stack, start: StartFunction, daemon: Daemon
) -> None:
    function = seeded.functions["TokenFunction"]
    running = start(function, environment=traced(function, daemon.address))
    running.tracing_header = sampled
    assert_outcome(running, event(ISSUE), EXPECTATIONS[ISSUE])
    cold = daemon.documents()
    for document in cold:
        assert_is_subsegment(document, function)
    look_up = {"call": "DynamoDB GetItem", "retries": 0}
    assert sorted(map(told, cold), key=str) == sorted(
        [
            look_up,
            look_up,
            {"call": "SecretsManager GetSecretValue", "retries": 0},
            # There is no previous secret, which AWS says with a 400.
            {"call": "SecretsManager GetSecretValue", "retries": 0, "error": True},
            {"call": "DynamoDB PutItem", "retries": 0},
        ],
        key=str,
    )
    assert len({document["id"] for document in cold}) == len(cold)

    before = time.time()
    assert_outcome(running, event(ISSUE), EXPECTATIONS[ISSUE])
    (write,) = daemon.documents()
    assert_is_subsegment(write, function)
    assert write["id"] not in {document["id"] for document in cold}
    assert before - 0.001 <= write["start_time"] < write["end_time"] <= time.time() + 0.001
    assert write["aws"].pop("request_id"), "AWS names each of its answers"
    assert write["aws"] == {
        "operation": "PutItem",
        "region": "us-east-1",
        "table_name": seeded.physical_id("TokenTable"),
        "retries": 0,
    }


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        f"Root={ROOT};Parent={PARENT};Sampled=0",
        f"Root={ROOT};Parent={PARENT}",
        f"Root={ROOT};Sampled=1",
        f"Parent={PARENT};Sampled=1",
        f"Root={ROOT};Parent=gws_canary;Sampled=1",
        f"Root=1-5759e988-gws_canary;Parent={PARENT};Sampled=1",
    ],
)
def test_an_invocation_that_is_not_sampled_tells_nothing(
    header: str | None, seeded: Stack, start: StartFunction, daemon: Daemon
) -> None:
    function = seeded.functions["TokenFunction"]
    running = start(function, environment=traced(function, daemon.address))
    running.tracing_header = lambda: header
    assert_outcome(running, event(ISSUE), EXPECTATIONS[ISSUE])
    assert daemon.datagrams() == []
    # Each invocation decides for itself.
    running.tracing_header = sampled
    assert_outcome(running, event(ISSUE), EXPECTATIONS[ISSUE])
    assert [told(document)["call"] for document in daemon.documents()] == ["DynamoDB PutItem"]
    running.tracing_header = lambda: header
    assert_outcome(running, event(ISSUE), EXPECTATIONS[ISSUE])
    assert daemon.datagrams() == []


def marks(fault: Fault) -> dict[str, Any]:
    throttled = fault.name.startswith("400 ")
    return {"error": True, "throttle": True} if throttled else {"fault": True}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_call_that_fails_is_one_part_that_says_so_however_often_it_is_tried(
    fault: Fault, seeded: Stack, start: StartFunction, emulator: Emulator, daemon: Daemon
) -> None:
    function = seeded.functions["TokenFunction"]
    with FaultyAws(emulator) as aws:
        running = start(function, environment=traced(function, daemon.address), endpoint=aws.url)
        assert_outcome(running, event(ISSUE), EXPECTATIONS[ISSUE])
        running.tracing_header = sampled

        aws.fail("PutItem token", fault)
        assert_outcome(running, event(ISSUE), UNAVAILABLE["TokenFunction"])
        (failed,) = daemon.documents()
        assert_is_subsegment(failed, function)
        retries = 0 if fault.is_final else 2
        assert told(failed) == {"call": "DynamoDB PutItem", "retries": retries, **marks(fault)}

        if not fault.is_final:
            aws.fail("PutItem token", fault, times=1)
            assert_outcome(running, event(ISSUE), EXPECTATIONS[ISSUE])
            (passed,) = daemon.documents()
            assert_is_subsegment(passed, function)
            assert told(passed) == {"call": "DynamoDB PutItem", "retries": 1}


def test_a_call_that_is_given_up_when_time_runs_out_is_told_of(
    seeded: Stack, binaries: Path, emulator: Emulator, daemon: Daemon
) -> None:
    """Before the SDK would give it up: the one that somebody looks for in a trace."""
    function = seeded.functions["TokenFunction"]
    with (
        FaultyAws(emulator) as aws,
        LambdaRuntime(
            binaries / function.binary,
            traced(function, daemon.address),
            name=function.name,
            credentials=seeded.credentials(function.role_arn).variables(),
            # The SDK gives an operation 4 s.
            timeout_seconds=3.0,
            extra={"AWS_ENDPOINT_URL": aws.url},
        ) as running,
    ):
        assert_outcome(running, event(ISSUE), EXPECTATIONS[ISSUE])
        running.tracing_header = sampled
        aws.fail("PutItem token", SILENCES[0])
        assert_outcome(running, event(ISSUE), UNAVAILABLE["TokenFunction"])
        assert [line["message"] for line in running.log_lines()][-1] == "a request ran out of time"
        (given_up,) = daemon.documents()
        assert_is_subsegment(given_up, function)
        assert told(given_up) == {"call": "DynamoDB PutItem", "fault": True}


def test_every_call_is_told_of_once_and_never_with_a_credential_or_a_client(
    seeded: Stack, start: StartFunction, emulator: Emulator, daemon: Daemon
) -> None:
    secrets = {"a secret's name": f"{seeded.parameters['SecretPrefix']}/", "password": "not-a-password-0123456789"}
    for client in seed.CLIENTS:
        secrets[f"id of {client.id}"] = client.id
        secrets[f"secret of {client.id}"] = client.secret
        secrets[f"Basic credential of {client.id}"] = client.basic.rstrip("=")
        secrets[f"encoded secret of {client.id}"] = quote(client.secret, safe="")
    for token in seed.TOKENS:
        secrets[token.name] = token.value
        secrets[f"digest of {token.name}"] = token.id.removeprefix("token#")
    datagrams = []
    for deployed, function in seeded.functions.items():
        credentials = seeded.credentials(function.role_arn)
        secrets[f"AWS key of {deployed}"] = credentials.secret_access_key
        secrets[f"AWS session of {deployed}"] = credentials.session_token or pytest.fail("a role without a session token")
        # What a role may touch is another test's business.
        anywhere = [replace(each, resource="*", leading_keys=None, new_tag=None) for each in function.statements]
        with AwsCalls(emulator, anywhere) as aws:
            environment = traced(function, daemon.address)
            running = start(function, environment=environment, credentials=credentials, endpoint=aws.url)
            running.tracing_header = sampled
            for name in (each for each in EXPECTATIONS if function_of(each) == deployed):
                made = len(aws.calls)
                answer = assert_outcome(running, event(name), EXPECTATIONS[name])
                if answer and name.startswith("token/") and isinstance(EXPECTATIONS[name], Expected) and answer.status == 200:
                    secrets[f"token issued to {name}"] = answer.json["access_token"]
                sent = daemon.datagrams()
                datagrams += sent
                documents = [json.loads(datagram.split(b"\n")[1]) for datagram in sent]
                for document in documents:
                    assert_is_subsegment(document, function)
                assert Counter(
                    (each["aws"]["operation"], each["aws"].get("table_name")) for each in documents
                ) == Counter(
                    (call.action.split(":")[1], call.resource.split("/")[-1] if "dynamodb" in call.action else None)
                    for call in aws.calls[made:]
                    if not call.is_implied
                ), name
    manager = emulator.client("secretsmanager")
    keys = stored(manager, f"{seeded.parameters['SecretPrefix']}/{seed.REALM}/signing-keys", "AWSCURRENT")["keys"]
    secrets |= {f"private key {number}": key["pkcs8"] for number, key in enumerate(keys)}
    everything = b"\n".join(datagrams).decode()
    for operation in ("GetItem", "PutItem", "DeleteItem", "Query", "UpdateItem", "GetSecretValue"):
        assert operation in everything, f"no {operation}, so this test proves nothing of it"
    for what, secret in secrets.items():
        assert secret not in everything, f"a trace has the {what}"


@pytest.mark.parametrize("address", ["a closed port", "nowhere", "127.0.0.1", "", None])
def test_a_daemon_that_is_not_there_costs_no_request(
    address: str | None, seeded: Stack, start: StartFunction, daemon: Daemon
) -> None:
    if address == "a closed port":
        address = daemon.address
        daemon.close()
    function = seeded.functions["TokenFunction"]
    environment = function.environment if address is None else traced(function, address)
    running = start(function, environment=environment)
    running.tracing_header = sampled
    for _ in range(3):
        assert_outcome(running, event(ISSUE), EXPECTATIONS[ISSUE])
    assert [line["message"] for line in running.log_lines()] == ["token issued"] * 3
