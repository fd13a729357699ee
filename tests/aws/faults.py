"""A loopback proxy between a function and the emulator that fails as AWS and the network do.

It knows each call by what it does and to what kind of item (`PutItem token`, `GetSecretValue clients`), so that a test can
break one step of a request and leave the others alone. What it does not break it passes on unchanged.
"""

from __future__ import annotations

import io
import json
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler
from urllib.parse import urlsplit

from emulator import Emulator
from loopback import LoopbackServer

# AWS's own limit for the time in a signature.
_SIGNATURE_VALID = timedelta(minutes=5)


@dataclass(frozen=True)
class Reply:
    """An answer of AWS."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)

    @staticmethod
    def error(status: int, code: str) -> Reply:
        body = json.dumps({"__type": f"com.amazon.coral.availability#{code}", "message": "by the tests' proxy"})
        return Reply(status, body.encode(), {"Content-Type": "application/x-amz-json-1.0"})


class Exchange:
    """One call that a fault is to spoil: what the caller sent, and the socket that it waits on."""

    def __init__(self, proxy: FaultyAws, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        self._proxy = proxy
        self._handler = handler
        self._body = body

    def forward(self) -> Reply:
        """Lets AWS do what was asked for."""
        return self._proxy._forward(self._handler, self._body)

    def reply(self, reply: Reply) -> None:
        self._send(reply, len(reply.body))

    def reply_half(self, reply: Reply) -> None:
        """Announces the whole body and sends a half."""
        self._send(Reply(reply.status, reply.body[: len(reply.body) // 2], reply.headers), len(reply.body) or 2)

    def close(self) -> None:
        self._handler.close_connection = True

    def reset(self) -> None:
        """Ends the connection with RST instead of FIN, as a machine that has lost it does."""
        connection = self._handler.connection
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._handler.close_connection = True
        # Nothing is sent while a file of the socket is open.
        self._handler.rfile.close()
        connection.close()

    def wait_until_given_up(self) -> None:
        """Says nothing until the caller has closed the connection."""
        while not self._proxy._closing.is_set():
            if select.select([self._handler.connection], [], [], 0.05)[0]:
                break
        self.close()

    def _send(self, reply: Reply, announced: int) -> None:
        # In one write: on a connection that stays, a body waits 40 ms for the acknowledgement of its head.
        to_caller, self._handler.wfile = self._handler.wfile, io.BytesIO()
        try:
            self._handler.send_response(reply.status)
            for name, value in reply.headers.items():
                self._handler.send_header(name, value)
            self._handler.send_header("Content-Length", str(announced))
            self._handler.end_headers()
            answer = self._handler.wfile.getvalue() + reply.body
        finally:
            self._handler.wfile = to_caller
        to_caller.write(answer)


@dataclass(frozen=True)
class Fault:
    """A way to fail. `is_final`: the SDK does not try again by itself."""

    name: str
    spoil: Callable[[Exchange], None]
    is_final: bool = False


def _refuses(status: int, code: str) -> Fault:
    return Fault(f"{status} {code}", lambda exchange: exchange.reply(Reply.error(status, code)))


def _answers(name: str, reply: Reply) -> Fault:
    return Fault(name, lambda exchange: exchange.reply(reply))


def _reset_after(exchange: Exchange) -> None:
    exchange.forward()
    exchange.reset()


def _silent_after(exchange: Exchange) -> None:
    exchange.forward()
    exchange.wait_until_given_up()


def _half_then_close(exchange: Exchange) -> None:
    exchange.reply_half(exchange.forward())
    exchange.close()


def _half_then_silent(exchange: Exchange) -> None:
    exchange.reply_half(exchange.forward())
    exchange.wait_until_given_up()


def _garbage_after(exchange: Exchange) -> None:
    exchange.forward()
    exchange.reply(Reply(200, b"\x00\xff garbage", {"Content-Type": "application/x-amz-json-1.0"}))


def slow(seconds: float) -> Fault:
    """Not a failure: the call takes its time and is answered."""

    def answer(exchange: Exchange) -> None:
        reply = exchange.forward()
        time.sleep(seconds)
        exchange.reply(reply)

    return Fault(f"an answer after {seconds} s", answer)


_PAGE = Reply(503, b"<html><body>503 Service Unavailable</body></html>", {"Content-Type": "text/html"})

THROTTLED = _refuses(400, "ThrottlingException")
RESET_AFTER = Fault("reset after the call was done", _reset_after)
# What the caller sees at once.
FAULTS = (
    _refuses(400, "ProvisionedThroughputExceededException"),
    THROTTLED,
    _refuses(400, "RequestLimitExceeded"),
    _refuses(500, "InternalServerError"),
    _refuses(503, "ServiceUnavailable"),
    _answers("503 with a page of a proxy", _PAGE),
    Fault("200 with a page of a proxy", lambda exchange: exchange.reply(Reply(200, _PAGE.body, _PAGE.headers)), True),
    Fault("reset before the call was done", Exchange.reset),
    Fault("closed before the call was done", Exchange.close),
    RESET_AFTER,
    Fault("half an answer, then closed", _half_then_close),
    Fault("garbage after the call was done", _garbage_after, is_final=True),
)
# What the caller learns from its own clock alone.
SILENCES = (
    Fault("silence", Exchange.wait_until_given_up),
    Fault("silence after the call was done", _silent_after),
    Fault("half an answer, then silence", _half_then_silent),
)
# Shorter than the 1.5 s of one attempt of the functions' SDK.
SLOW = slow(0.5)


class FaultyAws(LoopbackServer):
    """Use as a context manager; `url` is the endpoint to give to a function."""

    def __init__(self, emulator: Emulator) -> None:
        self._upstream = urlsplit(emulator.url)
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._faults: dict[str, tuple[Fault, int]] = {}
        self._connections: set[socket.socket] = set()
        self._forgotten: set[socket.socket] = set()
        self._calls: list[str] = []
        self.signatures_refused = 0
        # The last call that a fault has met, and the fault.
        self.failed: tuple[str, str] | None = None
        super().__init__(self._handler())

    def close(self) -> None:
        self._closing.set()
        self.drop_connections()
        super().close()

    @property
    def calls(self) -> list[str]:
        """Every call so far, as `PutItem token`."""
        with self._lock:
            return list(self._calls)

    def fail(self, call: str, fault: Fault, times: int = 1_000_000) -> None:
        """The next calls like this one fail; `*` is every call."""
        with self._lock:
            self._faults[call] = (fault, times)

    def heal(self) -> None:
        with self._lock:
            self._faults.clear()

    def drop_connections(self, *, reset: bool = False) -> int:
        """Closes every open connection and returns how many there were."""
        with self._lock:
            dropped = list(self._connections)
        for connection in dropped:
            if reset:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            try:
                # Wakes the thread that reads from it, which closes it.
                connection.shutdown(socket.SHUT_RD if reset else socket.SHUT_RDWR)
            except OSError:
                pass  # the other side was faster
        return len(dropped)

    def forget_connections(self) -> int:
        """From now on every open connection is a hole: it takes what it is sent and never answers, as behind a NAT that has
        forgotten it. Returns how many there are.
        """
        with self._lock:
            self._forgotten |= self._connections
            return len(self._connections)

    def wait_until_unconnected(self) -> None:
        deadline = time.monotonic() + 10
        while self._connections:
            assert time.monotonic() < deadline, "connections stay open"
            time.sleep(0.005)

    def _fault(self, call: str) -> Fault | None:
        with self._lock:
            self._calls.append(call)
            key = call if call in self._faults else "*"
            fault, times = self._faults.get(key, (None, 0))
            if fault is None or times <= 0:
                return None
            self._faults[key] = (fault, times - 1)
            self.failed = (call, fault.name)
            return fault

    def _refusal_of(self, signed_at: str) -> Reply | None:
        """AWS's answer to a signature of another time than its own, which is in the answer's Date."""
        signed = datetime.strptime(signed_at, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        now = datetime.now(UTC)
        if abs(now - signed) <= _SIGNATURE_VALID:
            return None
        self.signatures_refused += 1
        relation = "Signature expired" if signed < now else "Signature not yet current"
        body = {"__type": "com.amazon.coral.service#InvalidSignatureException", "message": f"{relation}: {signed_at}"}
        return Reply(400, json.dumps(body).encode(), {"Content-Type": "application/x-amz-json-1.0"})

    def _forward(self, handler: BaseHTTPRequestHandler, body: bytes) -> Reply:
        upstream = HTTPConnection(self._upstream.hostname or "", self._upstream.port, timeout=30)
        try:
            # All headers as they came, Host too: the signature covers it and moto checks signatures.
            upstream.request("POST", handler.path, body, dict(handler.headers.items()))
            answer = upstream.getresponse()
            kept = {name: value for name, value in answer.getheaders() if name.lower() in _KEPT}
            return Reply(answer.status, answer.read(), kept)
        finally:
            upstream.close()

    def _handler(proxy) -> type[BaseHTTPRequestHandler]:  # `self` is the handler's, below
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                with proxy._lock:
                    proxy._connections.add(self.connection)

            def finish(self) -> None:
                with proxy._lock:
                    proxy._connections.discard(self.connection)
                    proxy._forgotten.discard(self.connection)
                super().finish()

            def handle(self) -> None:
                try:
                    super().handle()
                except OSError:
                    pass  # the caller has given up, or a fault has closed the connection

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                exchange = Exchange(proxy, self, body)
                with proxy._lock:
                    is_forgotten = self.connection in proxy._forgotten
                if is_forgotten:
                    exchange.wait_until_given_up()
                    return
                fault = proxy._fault(_call(self.headers["X-Amz-Target"], body))
                if fault:
                    fault.spoil(exchange)
                    return
                exchange.reply(proxy._refusal_of(self.headers["X-Amz-Date"]) or exchange.forward())

            def log_message(self, format: str, *args: object) -> None:
                """The default writes every request to stderr."""

        return Handler


def _call(target: str, body: bytes) -> str:
    """`GetItem client`, `PutItem token`, `GetSecretValue signing-keys`: the operation, and the kind of thing it touches."""
    service, operation = target.rsplit(".", 1)
    given = json.loads(body)
    if service == "secretsmanager":
        # <prefix>/<realm>/clients/<client_id> or <prefix>/<realm>/signing-keys
        return f"{operation} {(given.get('SecretId') or given['Name']).split('/')[2]}"
    key = given.get("Key") or given.get("Item")
    if not key:
        return operation  # of the table itself
    return f"{operation} {(key.get('item') or key['id'])['S'].split('#')[0]}"


_KEPT = {"content-type", "x-amz-crc32", "x-amzn-requestid"}
