"""A loopback proxy between a function and the emulator that knows each AWS call by its action and the ARN it touches.

moto enforces a role's actions but not its resources. This proxy does the other half: it resolves what a call touches to an
ARN, asks a policy, and answers AccessDeniedException as AWS would where no statement allows it. It also remembers the calls,
so that a test can say that a role grants nothing its function does not use.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, urlsplit

from emulator import Emulator
from loopback import LoopbackServer
from stack import Statement

_THROTTLED = "com.amazon.coral.availability#ThrottlingException"
_WHO_CALLS = "sts:GetCallerIdentity"
_SERVICES = {"DynamoDB_20120810": "dynamodb", "secretsmanager": "secretsmanager"}


@dataclass(frozen=True)
class Call:
    """One AWS call: the IAM action it needs, the ARN it needs it on, and the keys of the item or the label of the version it names.

    `attributes` are those that an update names, its key and its condition too.

    An attempt of the SDK is a call: what is tried three times is three of them, and so it is billed.
    """

    action: str
    resource: str
    leading_key: str | None = None
    attributes: frozenset[str] = frozenset()
    sort_key: str | None = None
    consistent_read: bool = False
    version_stage: str | None = None
    # Of what tags a secret: the tags that it asks for, and those that the secret has, as (key, value).
    request_tags: tuple[tuple[str, str], ...] = ()
    resource_tags: tuple[tuple[str, str], ...] = ()
    # No call of its own, but a permission that another call needs besides: AWS bills none.
    is_implied: bool = False


def allows(statement: Statement, call: Call) -> bool:
    """IAM's rule for an Allow statement of one action and one ARN, and the conditions that the template has.

    A call that does not name what a condition is about does not meet it.
    """
    if statement.action.lower() != call.action.lower() or not _is_like(statement.resource, call.resource):
        return False
    if statement.new_tag is not None:
        return _tags_once(statement.new_tag, call)
    if statement.version_stages is not None:
        return call.version_stage in statement.version_stages
    if statement.leading_keys is None:
        return True
    if statement.attributes is not None and not call.attributes <= statement.attributes:
        return False
    return call.leading_key is not None and any(_is_like(each, call.leading_key) for each in statement.leading_keys)


def _tags_once(tag: str, call: Call) -> bool:
    """Whether a call sets this tag and no other, and changes it on nothing that has it already."""
    asked, has = dict(call.request_tags), dict(call.resource_tags)
    return asked.keys() == {tag} and has.get(tag, asked[tag]) == asked[tag]


def _action_of_form(body: bytes) -> str:
    return f"sts:{parse_qs(body.decode())['Action'][0]}"


def _is_like(pattern: str, text: str) -> bool:
    """IAM's patterns: `*` and `?` are the only wildcards, and span slashes."""
    expression = "".join(".*" if c == "*" else "." if c == "?" else re.escape(c) for c in pattern)
    return re.fullmatch(expression, text) is not None


class AwsCalls(LoopbackServer):
    """Use as a context manager; `url` is the endpoint to give to a function.

    `throttled` names actions that AWS shall refuse for load, however often they are tried; `failing` gives actions an error
    of their own. `refuses` gives single calls an error. `after` is told of each call that AWS has done, before the function gets the answer.
    """

    def __init__(
        self,
        emulator: Emulator,
        policy: Iterable[Statement],
        *,
        throttled: frozenset[str] = frozenset(),
        failing: Mapping[str, str] | None = None,
        refuses: Callable[[Call], str | None] = lambda call: None,
        after: Callable[[Call], None] = lambda call: None,
    ) -> None:
        self._emulator = emulator
        self._failing = {action: _THROTTLED for action in throttled} | dict(failing or {})
        self._refuses = refuses
        self._after = after
        self._upstream = urlsplit(emulator.url)
        self._policy = tuple(policy)
        self._lock = threading.Lock()
        self._calls: list[Call] = []
        self._requests: list[str] = []
        self._keys: dict[str, dict[str, str]] = {}
        super().__init__(self._handler())

    @property
    def calls(self) -> list[Call]:
        with self._lock:
            return list(self._calls)

    @property
    def requests(self) -> list[str]:
        """The operations that were asked for: a batch once, whatever it is billed for."""
        with self._lock:
            return list(self._requests)

    @property
    def refused(self) -> list[Call]:
        return [call for call in self.calls if not self._permits(call)]

    def _permits(self, call: Call) -> bool:
        # No policy is asked, nor can one deny it.
        return call.action == _WHO_CALLS or any(allows(statement, call) for statement in self._policy)

    def _resolve(self, target: str, body: bytes) -> list[Call]:
        """The call, or one for each item of a batch: so it is billed, and each has to be allowed."""
        service, operation = target.rsplit(".", 1)
        prefix = _SERVICES[service]
        given = json.loads(body)
        if prefix == "dynamodb":
            action = f"{prefix}:{operation}"
            if operation == "BatchGetItem":
                batches = given["RequestItems"].items()
                return [self._of_item(action, table, {**batch, "Key": key}) for table, batch in batches for key in batch["Keys"]]
            # A transaction names no table here, and so matches no statement.
            return [self._of_item(action, given.get("TableName", ""), given)]
        # CreateSecret names what does not exist yet.
        arn, has = self._secret(given.get("SecretId") or given["Name"])
        asked = tuple((tag["Key"], tag["Value"]) for tag in given.get("Tags", ()))
        label = given.get("VersionStage")
        return [Call(f"{prefix}:{operation}", arn, version_stage=label, request_tags=asked, resource_tags=has)]

    def _of_item(self, action: str, table: str, given: Mapping[str, Any]) -> Call:
        resource = f"arn:aws:dynamodb:us-east-1:123456789012:table/{table}" if table else "unknown"
        item = given.get("Item") or given.get("Key") or {}
        names = self._key_names(table) if item else {}
        leading_key, sort_key = (item.get(names.get(kind), {}).get("S") for kind in ("HASH", "RANGE"))
        consistent = given.get("ConsistentRead", False)
        # What an expression says without a placeholder would be missed: this program has none of those.
        attributes = frozenset((*item, *given.get("ExpressionAttributeNames", {}).values()))
        return Call(action, resource, leading_key, attributes, sort_key, consistent)

    def _implied(self, call: Call) -> list[Call]:
        """What AWS asks of a call beside its own action: who makes a secret with tags has to be allowed to tag it."""
        if call.action != "secretsmanager:CreateSecret" or not call.request_tags:
            return []
        return [replace(call, action="secretsmanager:TagResource", is_implied=True)]

    def _key_names(self, table: str) -> dict[str, str]:
        """The attributes of a table's key, by their kind."""
        if table not in self._keys:
            described = self._emulator.client("dynamodb").describe_table(TableName=table)["Table"]
            self._keys[table] = {each["KeyType"]: each["AttributeName"] for each in described["KeySchema"]}
        return self._keys[table]

    def _secret(self, name: str) -> tuple[str, tuple[tuple[str, str], ...]]:
        """The ARN IAM compares, and the tags: the existing secret's with its six random characters, or the bare name's where there is none.

        AWS lets CreateSecret pass for patterns that end in `NAME*` and in `NAME-*`; the bare name is the stricter reading.
        """
        manager = self._emulator.client("secretsmanager")
        try:
            found = manager.describe_secret(SecretId=name)
        except manager.exceptions.ResourceNotFoundException:
            arn = name if name.startswith("arn:") else f"arn:aws:secretsmanager:us-east-1:123456789012:secret:{name}"
            return arn, ()
        return str(found["ARN"]), tuple((tag["Key"], tag["Value"]) for tag in found.get("Tags", ()))

    def _handler(proxy) -> type[BaseHTTPRequestHandler]:  # `self` is the handler's, below
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                target = self.headers.get("X-Amz-Target")
                # STS alone names what is asked in a form.
                calls = proxy._resolve(target, body) if target else [Call(_action_of_form(body), "*")]
                needed = [*calls, *(implied for call in calls for implied in proxy._implied(call))]
                with proxy._lock:
                    proxy._calls.extend(needed)
                    proxy._requests.append(calls[0].action)
                if not all(proxy._permits(each) for each in needed):
                    self._refuse("com.amazon.coral.service#AccessDeniedException")
                    return
                if calls[0].action in proxy._failing:
                    self._refuse(proxy._failing[calls[0].action])
                    return
                if error := proxy._refuses(calls[0]):
                    self._refuse(error)
                    return
                upstream = HTTPConnection(proxy._upstream.hostname or "", proxy._upstream.port, timeout=30)
                try:
                    # All headers as they came, Host too: the signature covers it and moto checks signatures.
                    upstream.request("POST", self.path, body, dict(self.headers.items()))
                    answer = upstream.getresponse()
                    content = answer.read()
                    for call in calls:
                        proxy._after(call)
                    self._reply(answer.status, content, answer.getheader("Content-Type", ""))
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
