"""Clients that publish their keys at an address of their own: what their requests cost, who may keep the keys, and what happens while nobody can say what they are."""

from __future__ import annotations

import base64
import json
import ssl
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

import seed
from aws_calls import AwsCalls
from conftest import StartFunction
from emulator import Emulator
from expectations import UNAVAILABLE, assert_outcome, event
from runtime_api import Answer, LambdaRuntime
from stack import Stack
from template import Json

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
JWKS_TYPE = "application/jwk-set+json"
# The function of each endpoint that authenticates clients, and the event file of a request to it.
EVENTS = {"TokenFunction": "token/basic", "IntrospectFunction": "introspect/active", "RevokeFunction": "revoke/own"}


class Publisher:
    """An authority of its own, and an HTTPS server on this machine that publishes one key."""

    def __init__(self, directory: Path) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.answer = (200, JWKS_TYPE, json.dumps({"keys": [self._jwk()]}).encode())
        self.fetches = 0
        self.ca = directory / "ca.pem"
        self._server: ThreadingHTTPServer | None = None
        self._context = self._certified(directory)
        self._listen(0)
        assert self._server is not None
        self.port = self._server.server_address[1]

    def close(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def assertion(self, client_id: str, audience: str, kid: str = "one") -> str:
        now = int(time.time())
        claims = {"iss": client_id, "sub": client_id, "aud": audience, "iat": now, "exp": now + 60, "jti": str(uuid.uuid4())}
        return jwt.encode(claims, self.key, algorithm="ES256", headers={"kid": kid})

    def _listen(self, port: int) -> None:
        publisher = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                publisher.fetches += 1
                status, media_type, body = publisher.answer
                self.send_response(status)
                self.send_header("Content-Type", media_type)
                self.send_header("Content-Length", str(len(body)))
                self.send_header("Cache-Control", "max-age=600")
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self._server.socket = self._context.wrap_socket(self._server.socket, server_side=True)
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def _jwk(self) -> Json:
        parsed: Json = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(self.key.public_key()))
        return {**parsed, "kid": "one", "use": "sig"}

    def _certified(self, directory: Path) -> ssl.SSLContext:
        now, name = datetime.now(UTC), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority of a test")])
        ca_key, server_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())

        def builder(subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
            return (
                x509.CertificateBuilder(issuer_name=name, subject_name=subject, public_key=key.public_key())
                .serial_number(x509.random_serial_number())
                .not_valid_before(now - timedelta(hours=1))
                .not_valid_after(now + timedelta(days=1))
            )

        ca = builder(name, ca_key).add_extension(x509.BasicConstraints(True, None), critical=True)
        names = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "publisher")])
        certificate = builder(subject, server_key).add_extension(names, critical=False)
        pem = serialization.Encoding.PEM
        self.ca.write_bytes(ca.sign(ca_key, hashes.SHA256()).public_bytes(pem))
        (directory / "server.pem").write_bytes(certificate.sign(ca_key, hashes.SHA256()).public_bytes(pem))
        private = server_key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        (directory / "server.key").write_bytes(private)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(directory / "server.pem", directory / "server.key")
        return context


@pytest.fixture
def publisher(tmp_path: Path) -> Iterator[Publisher]:
    publisher = Publisher(tmp_path)
    yield publisher
    publisher.close()


class Client:
    """A registration whose keys are at the publisher."""

    def __init__(self, publisher: Publisher, stack: Stack, emulator: Emulator, grantwell: Path) -> None:
        self.id = f"published-{uuid.uuid4().hex[:8]}"
        self._publisher = publisher
        table, prefix = stack.physical_id("RegistryTable"), stack.parameters["SecretPrefix"]
        environment = seed.operator_environment(emulator.url, emulator.operator, table, prefix)
        address = f"https://127.0.0.1:{publisher.port}/{self.id}"
        seed._run(
            environment,
            grantwell,
            *("client", "create", "--store", "aws", "--realm", seed.REALM, "--id", self.id),
            *("--scope", "write am-introspect-all-tokens", "--default-scope", "write"),
            *("--auth-method", "private_key_jwt", "--jwks-uri", address),
            *("--allow-private-network", "--ca", str(publisher.ca)),
        )

    def request(self, function: str, kid: str = "one") -> Json:
        changed = event(EVENTS[function])
        del changed["headers"]["authorization"]
        domain = changed["requestContext"]["domainName"]
        stage = changed["requestContext"]["stage"]
        path = changed["rawPath"].removeprefix(f"/{stage}")
        base = path[: path.index(f"/{seed.REALM}/") + len(seed.REALM) + 1]
        audience = f"https://{domain}" + ("" if stage == "$default" else f"/{stage}") + base
        form = {
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": self._publisher.assertion(self.id, audience, kid),
            # Of no client, so that each may end it.
            **({"grant_type": "client_credentials"} if function == "TokenFunction" else {"token": "gwt_" + "0" * 43}),
        }
        return {**changed, "body": base64.b64encode(urlencode(form).encode()).decode(), "isBase64Encoded": True}


@pytest.fixture
def client(publisher: Publisher, seeded: Stack, emulator: Emulator, binaries: Path) -> Client:
    client = Client(publisher, seeded, emulator, binaries / "grantwell")
    # The command has fetched them once, to see whether that works.
    assert publisher.fetches == 1
    publisher.fetches = 0
    return client


def calls(aws: AwsCalls, seen: int = 0) -> Counter[str]:
    """What was asked of fetched keys."""
    names = [
        f"{call.action.removeprefix('dynamodb:')}{' consistent' if call.consistent_read else ''}"
        for call in aws.calls[seen:]
        if (call.leading_key or "").startswith("fetched-jwks#")
    ]
    return Counter(names)


def status(sandbox: LambdaRuntime, request: Json) -> int:
    return Answer.from_payload(sandbox.invoke(request)).status


def test_keys_are_fetched_once_by_all_sandboxes_and_a_warm_one_asks_nobody(
    client: Client, publisher: Publisher, seeded: Stack, start: StartFunction, emulator: Emulator
) -> None:
    statements = [each for function in seeded.functions.values() for each in function.statements]
    with AwsCalls(emulator, statements) as aws:
        first = start(seeded.functions["TokenFunction"], endpoint=aws.url)
        assert status(first, client.request("TokenFunction")) == 200
        # What is kept, who looks, and what that brought.
        assert calls(aws) == Counter({"GetItem consistent": 1, "UpdateItem": 2})
        assert publisher.fetches == 1
        seen = len(aws.calls)
        for _ in range(3):
            assert status(first, client.request("TokenFunction")) == 200
        assert calls(aws, seen) == Counter()
        # A function of another endpoint, and a new sandbox: one read each.
        for name in EVENTS:
            seen = len(aws.calls)
            assert status(start(seeded.functions[name], endpoint=aws.url), client.request(name)) == 200, name
            assert calls(aws, seen) == Counter({"GetItem consistent": 1}), name
        # Names that nobody has published: a read, once in a while, and no fetch.
        seen = len(aws.calls)
        for _ in range(10):
            assert status(first, client.request("TokenFunction", kid="nobody-s")) == 401
        assert calls(aws, seen)["GetItem consistent"] <= 4
        assert publisher.fetches == 1
        assert aws.refused == []


def test_without_its_publisher_a_new_sandbox_uses_the_copy_and_without_the_copy_nobody_is_let_in(
    client: Client, publisher: Publisher, seeded: Stack, start: StartFunction, emulator: Emulator
) -> None:
    function = seeded.functions["TokenFunction"]
    assert status(start(function), client.request("TokenFunction")) == 200
    publisher.close()
    assert status(start(function), client.request("TokenFunction")) == 200
    table = seeded.physical_id("TokenTable")
    dynamodb = emulator.client("dynamodb", emulator.operator)
    for item in dynamodb.scan(TableName=table)["Items"]:
        if item["id"]["S"].startswith("fetched-jwks#"):
            dynamodb.delete_item(TableName=table, Key={"id": item["id"]})
    running = start(function)
    for _ in range(3):
        assert_outcome(running, client.request("TokenFunction"), UNAVAILABLE["TokenFunction"])
    (line,) = [line for line in running.log_lines() if line["message"] == "public keys could not be fetched"]
    assert line["level"] == "WARN" and "127.0.0.1" in line["error"] and client.id not in line["error"]


@pytest.mark.parametrize(
    "answer",
    [
        (500, JWKS_TYPE, b"{}"),
        (200, "text/html", b"<html>"),
        (200, JWKS_TYPE, b"{}"),
        (200, JWKS_TYPE, b'{"keys":[' + b" " * 5_000_000 + b"]}"),
    ],
    ids=["500", "html", "no set", "5 MB"],
)
def test_an_answer_that_is_no_set_of_keys_lets_nobody_in(
    answer: tuple[int, str, bytes], client: Client, publisher: Publisher, seeded: Stack, start: StartFunction
) -> None:
    publisher.answer = answer
    for name in EVENTS:
        assert_outcome(start(seeded.functions[name]), client.request(name), UNAVAILABLE[name])


@pytest.mark.parametrize("name", EVENTS)
@pytest.mark.parametrize("sid", ["ReadFetchedKeys", "ShareFetchedKeys"])
def test_whoever_may_not_keep_fetched_keys_lets_nobody_in(
    sid: str, name: str, client: Client, seeded: Stack, start: StartFunction, emulator: Emulator
) -> None:
    """A statement that is missing, or for other items, is no permission; without it nobody says who looks."""
    function = seeded.functions[name]
    without = [each for each in function.statements if each.sid != sid]
    moved = [replace(each, leading_keys=("token#*",)) if each.sid == sid else each for each in function.statements]
    assert len(without) == len(function.statements) - 1 and moved != list(function.statements)
    for statements in (without, moved):
        with AwsCalls(emulator, statements) as aws:
            assert_outcome(start(function, endpoint=aws.url), client.request(name), UNAVAILABLE[name])
            (refused,) = set(aws.refused)
            assert (refused.leading_key or "").startswith("fetched-jwks#")
