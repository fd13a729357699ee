"""Whose certificates a function accepts when it calls AWS: Amazon's own roots for Amazon's names, the system's for others."""

from __future__ import annotations

import datetime
import os
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from emulator import Emulator
from expectations import EXPECTATIONS, UNAVAILABLE, assert_outcome, event
from runtime_api import LambdaRuntime
from stack import Stack
from template import ROOT

ROOTS = ROOT / "src" / "aws" / "roots"
# A name of the reserved domain, and one that everybody takes for DynamoDB's.
OWN_NAME = "aws.example.com"
DYNAMODB = "dynamodb.us-east-1.amazonaws.com"
SECRETS_MANAGER = "secretsmanager.us-east-1.amazonaws.com"

StartTrusting = Callable[..., LambdaRuntime]


# Starfield's root has the serial number 0, which RFC 5280 came to forbid.
@pytest.mark.filterwarnings("ignore:Parsed a serial number which wasn't positive")
def test_the_roots_are_those_of_the_table_and_good_for_five_years() -> None:
    rows = re.findall(
        r"^\| (\S+\.pem) \| (.+) \| (\d{4}-\d\d-\d\d) \| `([0-9a-f]{64})` \|$",
        (ROOTS / "README.md").read_text(),
        re.MULTILINE,
    )
    assert {row[0] for row in rows} == {path.name for path in ROOTS.glob("*.pem")} and len(rows) == 5
    in_five_years = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=5 * 365)
    for name, common_name, until, fingerprint in rows:
        (root,) = x509.load_pem_x509_certificates((ROOTS / name).read_bytes())
        assert root.fingerprint(hashes.SHA256()).hex() == fingerprint, name
        assert [str(part.value) for part in root.subject.get_attributes_for_oid(NameOID.COMMON_NAME)] == [common_name]
        root.verify_directly_issued_by(root)
        assert root.extensions.get_extension_for_class(x509.BasicConstraints).value.ca, name
        assert root.not_valid_after_utc.date().isoformat() == until
        assert root.not_valid_after_utc > in_five_years, f"{name}: look for its successor"


def test_an_endpoint_of_ones_own_is_trusted_as_the_system_says(
    start_trusting: StartTrusting, tls: TlsFront, authority: Authority
) -> None:
    trusting = start_trusting({"AWS_ENDPOINT_URL": tls.url, "SSL_CERT_FILE": str(authority.file)})
    assert_outcome(trusting, event("token/basic"), EXPECTATIONS["token/basic"])
    assert tls.failures == []

    distrusting = start_trusting({"AWS_ENDPOINT_URL": tls.url})
    assert_outcome(distrusting, event("token/basic"), UNAVAILABLE["TokenFunction"])
    assert set(tls.failures) == {"TLSV1_ALERT_UNKNOWN_CA"}


def test_no_authority_of_the_system_can_speak_for_amazon(
    start_trusting: StartTrusting, tls: TlsFront, authority: Authority
) -> None:
    """Both lead through a proxy to one server, whose certificate has both names; only the name that is asked for differs."""
    through_the_proxy = {"HTTPS_PROXY": f"http://{tls.address}", "SSL_CERT_FILE": str(authority.file)}
    own = start_trusting({**through_the_proxy, "AWS_ENDPOINT_URL": f"https://{OWN_NAME}"})
    assert_outcome(own, event("token/basic"), EXPECTATIONS["token/basic"])
    assert set(tls.connects) == {f"{OWN_NAME}:443"} and tls.failures == []

    tls.connects.clear()
    amazons = start_trusting(through_the_proxy)
    assert_outcome(amazons, event("token/basic"), UNAVAILABLE["TokenFunction"])
    assert set(tls.connects) == {f"{DYNAMODB}:443"}
    assert set(tls.failures) == {"TLSV1_ALERT_UNKNOWN_CA"}


def test_one_service_may_be_elsewhere(start_trusting: StartTrusting, tls: TlsFront, authority: Authority) -> None:
    """The registry is found at an endpoint of one's own; Secrets Manager is still Amazon's."""
    settings = {"HTTPS_PROXY": f"http://{tls.address}", "SSL_CERT_FILE": str(authority.file)}
    function = start_trusting({**settings, "AWS_ENDPOINT_URL_DYNAMODB": f"https://{OWN_NAME}"})
    assert_outcome(function, event("token/basic"), UNAVAILABLE["TokenFunction"])
    assert set(tls.connects) == {f"{OWN_NAME}:443", f"{SECRETS_MANAGER}:443"}
    assert set(tls.failures) == {"TLSV1_ALERT_UNKNOWN_CA"}


def test_the_systems_store_is_not_read_for_amazons_names_or_plain_http(
    start_trusting: StartTrusting, emulator: Emulator, tls: TlsFront, tmp_path: Path
) -> None:
    """Whoever opens this store waits for ever, because nobody writes to it."""
    store = tmp_path / "store.pem"
    os.mkfifo(store)
    plain = start_trusting({"AWS_ENDPOINT_URL": emulator.url, "SSL_CERT_FILE": str(store)})
    assert_outcome(plain, event("token/basic"), EXPECTATIONS["token/basic"])

    amazons = start_trusting({"HTTPS_PROXY": f"http://{tls.address}", "SSL_CERT_FILE": str(store)})
    assert_outcome(amazons, event("token/basic"), UNAVAILABLE["TokenFunction"])
    assert set(tls.connects) == {f"{DYNAMODB}:443"}


@dataclass(frozen=True)
class Authority:
    """An authority that is in no system's store, and a server's certificate by it."""

    file: Path
    server: ssl.SSLContext


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    directory = tmp_path_factory.mktemp("authority")
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "an authority of a test")])
    now = datetime.datetime.now(datetime.UTC)

    def certificate(subject: x509.Name, key: ec.EllipticCurvePrivateKey, extension: x509.ExtensionType) -> bytes:
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
        )
        return builder.sign(issuer_key, hashes.SHA256()).public_bytes(Encoding.PEM)

    issuer_key, server_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    root = directory / "authority.pem"
    root.write_bytes(certificate(issuer, issuer_key, x509.BasicConstraints(ca=True, path_length=None)))
    names = [x509.DNSName(name) for name in (OWN_NAME, DYNAMODB, SECRETS_MANAGER)]
    alternatives = x509.SubjectAlternativeName([*names, x509.IPAddress(ip_address("127.0.0.1"))])
    server = directory / "server.pem"
    server.write_bytes(
        certificate(x509.Name([]), server_key, alternatives)
        + server_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server)
    return Authority(root, context)


@dataclass
class TlsFront:
    """TLS in front of the emulator; as a proxy, too, which takes every host for this one."""

    emulator: Emulator
    context: ssl.SSLContext
    # What proxies were asked to connect to, and why handshakes failed.
    connects: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.url = f"https://{self.address}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):  # closed
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, suppress(ConnectionError):
            if connection.recv(7, socket.MSG_PEEK) == b"CONNECT":
                head = b""
                while not head.endswith(b"\r\n\r\n"):
                    head += connection.recv(1)
                self.connects.append(head.split()[1].decode())
                connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            try:
                secured = self.context.wrap_socket(connection, server_side=True)
            except ssl.SSLError as error:
                self.failures.append(error.reason)
                return
            with secured, socket.create_connection(("127.0.0.1", self.emulator.port)) as plain:
                threading.Thread(target=_copy, args=(plain, secured), daemon=True).start()
                _copy(secured, plain)


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


@pytest.fixture
def tls(emulator: Emulator, authority: Authority) -> Iterator[TlsFront]:
    front = TlsFront(emulator, authority.server)
    yield front
    front.close()


@pytest.fixture
def start_trusting(binaries: Path, seeded: Stack) -> Iterator[StartTrusting]:
    """Starts the token function with no endpoint but those given."""
    function = seeded.functions["TokenFunction"]
    with ExitStack() as running:

        def start(settings: dict[str, str]) -> LambdaRuntime:
            return running.enter_context(
                LambdaRuntime(
                    binaries / function.binary,
                    function.environment,
                    name=function.name,
                    credentials=seeded.credentials(function.role_arn).variables(),
                    timeout_seconds=function.timeout_seconds,
                    memory_mb=function.memory_mb,
                    extra=settings,
                )
            )

        yield start
