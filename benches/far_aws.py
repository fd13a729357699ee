"""AWS as far away as it is for a function: behind TLS, with an address for each service, and a millisecond to and fro.

    python benches/far_aws.py EMULATOR_URL DIRECTORY

prints one JSON object, `{"dynamodb": URL, "secretsmanager": URL, "ca": FILE}`, and serves until it is stopped. What it answers comes from
the emulator, once for each question: the next time it is remembered, because the emulator's own time (tens of milliseconds for some
calls) would be most of what is measured. Each write is answered as the first of its kind.

A connection costs what it does over such a line: a round trip to open it, one for TLS 1.3, and one for each request. It is a process of
its own, so that no interpreter's lock is shared with whoever measures.
"""

from __future__ import annotations

import asyncio
import datetime
import json
import ssl
import sys
import urllib.error
import urllib.request
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

ROUND_TRIP = 0.001
SERVICES = ("dynamodb", "secretsmanager")
WRITES = ("PutItem", "UpdateItem", "DeleteItem")


class Service:
    """One service: answers over TLS what the emulator says to it."""

    def __init__(self, upstream: str) -> None:
        self._upstream = upstream
        self._remembered: dict[tuple[str, str], bytes] = {}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                headers = {}
                for line in head.decode("latin-1").rstrip().split("\r\n")[1:]:
                    name, _, value = line.partition(":")
                    headers[name.lower()] = value.strip()
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                target = headers.get("x-amz-target", "")
                # The members of a key come in any order.
                asked = "" if target.rsplit(".", 1)[-1] in WRITES else json.dumps(json.loads(body), sort_keys=True)
                key = (target, asked)
                if key not in self._remembered:
                    self._remembered[key] = await asyncio.to_thread(self._ask, headers, body)
                writer.write(self._remembered[key])
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            pass  # the function has ended
        finally:
            writer.close()

    def _ask(self, headers: dict[str, str], body: bytes) -> bytes:
        kept = {name: value for name, value in headers.items() if name not in ("host", "connection", "content-length")}
        request = urllib.request.Request(self._upstream, data=body, headers=kept, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                status, given, content = answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as error:
            status, given, content = error.code, error.headers, error.read()
        lines = [f"HTTP/1.1 {status} -", f"content-length: {len(content)}"]
        lines += [f"{name}: {given[name]}" for name in ("content-type", "x-amz-crc32", "x-amzn-requestid") if given[name]]
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + content


class Line:
    """The way to a service: what a function sends arrives a round trip later, and what comes back at once."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # The kernel has accepted the connection at once; over a line it takes as long as any answer.
        await asyncio.sleep(ROUND_TRIP)
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._port)
        await asyncio.gather(
            self._pump(reader, there_writer, ROUND_TRIP), self._pump(there_reader, writer, 0.0), return_exceptions=True
        )

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, delay: float) -> None:
        try:
            while piece := await source.read(65536):
                if delay:
                    await asyncio.sleep(delay)
                sink.write(piece)
                await sink.drain()
        finally:
            sink.close()


def certificates(directory: Path) -> tuple[Path, Path]:
    """An authority, and a certificate of it for this machine with its key."""
    now = datetime.datetime.now(datetime.UTC)

    def certificate(name: str, signer: tuple[x509.Name, ec.EllipticCurvePrivateKey] | None) -> tuple[bytes, x509.Name, ec.EllipticCurvePrivateKey]:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        issuer, signing_key = signer or (subject, key)
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
        builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(hours=1))
        builder = builder.not_valid_after(now + datetime.timedelta(days=2))
        builder = builder.add_extension(x509.BasicConstraints(ca=signer is None, path_length=None), critical=True)
        if signer is not None:
            names = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
            builder = builder.add_extension(names, critical=False)
        return builder.sign(signing_key, hashes.SHA256()).public_bytes(Encoding.PEM), subject, key

    authority, name, key = certificate("far-aws", None)
    own, _, own_key = certificate("127.0.0.1", (name, key))
    ca, pair = directory / "ca.pem", directory / "pair.pem"
    ca.write_bytes(authority)
    pair.write_bytes(own + own_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return ca, pair


async def main(upstream: str, directory: Path) -> None:
    ca, pair = certificates(directory)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pair)
    # A function that starts has no ticket to resume with.
    context.num_tickets = 0
    listeners, said = [], {"ca": str(ca)}
    for name in SERVICES:
        service = await asyncio.start_server(Service(upstream).serve, "127.0.0.1", 0, ssl=context)
        line = await asyncio.start_server(Line(service.sockets[0].getsockname()[1]).carry, "127.0.0.1", 0)
        said[name] = f"https://127.0.0.1:{line.sockets[0].getsockname()[1]}"
        listeners += [service, line]
    print(json.dumps(said), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
