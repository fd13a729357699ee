"""A loopback proxy between a function and the emulator that knows each AWS call by its action and the ARN it touches.

moto enforces a role's actions but not its resources. This proxy does the other half: it resolves what a call touches to an
ARN, asks a policy, and answers AccessDeniedException as AWS would where no statement allows it. It also remembers the calls,
so that a test can say that a role grants nothing its function does not use.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler
from urllib.parse import urlsplit

from emulator import Emulator
from loopback import LoopbackServer
from stack import Statement

_SERVICES = {"DynamoDB_20120810": "dynamodb", "secretsmanager": "secretsmanager"}


@dataclass(frozen=True)
class Call:
    """One AWS call: the IAM action it needs and the ARN it needs it on."""

    action: str
    resource: str


def allows(statement: Statement, call: Call) -> bool:
    """IAM's rule for an Allow statement of one action and one ARN: `*` and `?` are the only wildcards, and span slashes."""
    pattern = "".join(".*" if c == "*" else "." if c == "?" else re.escape(c) for c in statement.resource)
    return statement.action.lower() == call.action.lower() and re.fullmatch(pattern, call.resource) is not None


class AwsCalls(LoopbackServer):
    """Use as a context manager; `url` is the endpoint to give to a function.

    `throttled` names actions that AWS shall refuse for load, however often they are tried.
    """

    def __init__(
        self, emulator: Emulator, policy: Iterable[Statement], *, throttled: frozenset[str] = frozenset()
    ) -> None:
        self._emulator = emulator
        self._throttled = throttled
        self._upstream = urlsplit(emulator.url)
        self._policy = tuple(policy)
        self._lock = threading.Lock()
        self._calls: list[Call] = []
        super().__init__(self._handler())

    @property
    def calls(self) -> list[Call]:
        with self._lock:
            return list(self._calls)

    @property
    def refused(self) -> list[Call]:
        return [call for call in self.calls if not self._permits(call)]

    def _permits(self, call: Call) -> bool:
        return any(allows(statement, call) for statement in self._policy)

    def _resolve(self, target: str, body: bytes) -> Call:
        service, operation = target.rsplit(".", 1)
        prefix = _SERVICES[service]
        given = json.loads(body)
        if prefix == "dynamodb":
            table = given.get("TableName", "")  # a batch or a transaction names none here, and so matches no statement
            resource = f"arn:aws:dynamodb:us-east-1:123456789012:table/{table}" if table else "unknown"
        else:
            resource = self._secret_arn(given["SecretId"])
        return Call(f"{prefix}:{operation}", resource)

    def _secret_arn(self, name: str) -> str:
        """The ARN IAM compares: the existing secret's, six random characters included, or the one that it would have."""
        manager = self._emulator.client("secretsmanager")
        try:
            return str(manager.describe_secret(SecretId=name)["ARN"])
        except manager.exceptions.ResourceNotFoundException:
            return f"arn:aws:secretsmanager:us-east-1:123456789012:secret:{name}-??????"

    def _handler(proxy) -> type[BaseHTTPRequestHandler]:  # `self` is the handler's, below
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                call = proxy._resolve(self.headers["X-Amz-Target"], body)
                with proxy._lock:
                    proxy._calls.append(call)
                if not proxy._permits(call):
                    self._refuse("com.amazon.coral.service#AccessDeniedException")
                    return
                if call.action in proxy._throttled:
                    self._refuse("com.amazon.coral.availability#ThrottlingException")
                    return
                upstream = HTTPConnection(proxy._upstream.hostname or "", proxy._upstream.port, timeout=30)
                try:
                    # All headers as they came, Host too: the signature covers it and moto checks signatures.
                    upstream.request("POST", self.path, body, dict(self.headers.items()))
                    answer = upstream.getresponse()
                    self._reply(answer.status, answer.read(), answer.getheader("Content-Type", ""))
                finally:
                    upstream.close()

            def _refuse(self, error: str) -> None:
                body = json.dumps({"__type": error, "Message": "refused by the tests' proxy"}).encode()
                self._reply(400, body, self.headers.get("Content-Type", ""))

            def _reply(self, status: int, body: bytes, content_type: str) -> None:
                self.send_response(status)
                self.send_header("Content-Type", content_type)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                """The default writes every request to stderr."""

        return Handler
