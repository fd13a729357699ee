"""Runs a function binary the way AWS Lambda does: behind the Lambda Runtime API, and with nothing but its own environment.

https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html. The fake has the same view of a function as Lambda: it hands
out events, takes responses and errors, enforces the timeout and keeps what the process writes. Nothing of this machine's
environment reaches the function, so a test fails when the template forgets a variable.
"""

from __future__ import annotations

import base64
import json
import os
import queue
import subprocess
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import TracebackType
from typing import Any

from loopback import LoopbackServer

_PREFIX = "/2018-06-01/runtime/"


class FunctionFailed(AssertionError):
    """The function gave no response: it reported an error, ended, or ran into its timeout."""


class FunctionError(FunctionFailed):
    """The function reported an error, as it does to Lambda."""

    def __init__(self, body: str, logs: str) -> None:
        super().__init__(f"function error: {body}\n{logs}")
        self.message = str(json.loads(body)["errorMessage"])


def tracing_header(sampled: bool) -> str:
    """The one that Lambda sends with each invocation, whether or not X-Ray is told of it."""
    root = f"1-{int(time.time()):08x}-{uuid.uuid4().hex[:24]}"
    return f"Root={root};Parent={uuid.uuid4().hex[:16]};Sampled={int(sampled)}"


@dataclass(frozen=True)
class Answer:
    """What API Gateway would turn a function's response into."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def comparable_headers(self) -> dict[str, str]:
        """Without the id, which each answer has of its own."""
        return {name: value for name, value in self.headers.items() if name != "x-request-id"}

    @staticmethod
    def from_payload(payload: Any) -> Answer:
        """Reads a proxy response as API Gateway does, for payload 2.0 (`headers`) and 1.0 (`multiValueHeaders`)."""
        if not isinstance(payload, dict) or not isinstance(payload.get("statusCode"), int):
            raise FunctionFailed(f"not a proxy response: {payload!r}")
        headers = {name.lower(): value for name, value in (payload.get("headers") or {}).items()}
        for name, values in (payload.get("multiValueHeaders") or {}).items():
            if any(not isinstance(value, str) for value in values):
                raise FunctionFailed(f"header {name} is not made of strings: {values!r}")
            headers[name.lower()] = ", ".join(values)
        if any(not isinstance(value, str) for value in headers.values()):
            raise FunctionFailed(f"a header is not a string: {headers!r}")
        body = payload.get("body") or ""
        if payload.get("isBase64Encoded"):
            return Answer(payload["statusCode"], headers, base64.b64decode(body, validate=True))
        return Answer(payload["statusCode"], headers, body.encode())


class LambdaRuntime:
    """One sandbox: one process of one function, one invocation at a time.

    `environment` is what the stack gave the function; `credentials` and `region` are what the Lambda service adds. `extra`
    is for what only a test needs, which is the emulator's address. `clock` is the sandbox's, in which deadlines are given.
    """

    def __init__(
        self,
        binary: Path,
        environment: Mapping[str, str],
        *,
        name: str = "function",
        region: str = "us-east-1",
        credentials: Mapping[str, str],
        timeout_seconds: float = 8.0,
        memory_mb: int = 256,
        extra: Mapping[str, str] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if not binary.is_file():
            raise FileNotFoundError(f"{binary} is not built: run `cargo build --bins`")
        # Whether X-Ray samples what comes next.
        self.sampled = False
        self._timeout = timeout_seconds
        self._clock = clock
        self._arn = f"arn:aws:lambda:{region}:123456789012:function:{name}"
        self._events: queue.Queue[tuple[str, bytes] | None] = queue.Queue()
        self._results: queue.Queue[tuple[str, str, bytes]] = queue.Queue()
        self._lock = threading.Lock()
        self._ready = threading.Event()
        self._ready_at = 0.0
        self._last_logs = ""
        self._output = tempfile.TemporaryFile()
        self._server = LoopbackServer(self._handler())
        # The variables that Lambda reserves: https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html
        process_environment = {
            "AWS_LAMBDA_RUNTIME_API": self._server.address,
            "AWS_LAMBDA_FUNCTION_NAME": name,
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(memory_mb),
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
            "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{name}",
            "AWS_LAMBDA_LOG_STREAM_NAME": "2026/11/23/[$LATEST]0123456789abcdef0123456789abcdef",
            "AWS_LAMBDA_LOG_FORMAT": "JSON",
            "AWS_EXECUTION_ENV": "AWS_Lambda_provided.al2023",
            "AWS_REGION": region,
            "AWS_DEFAULT_REGION": region,
            "LAMBDA_TASK_ROOT": "/var/task",
            "LAMBDA_RUNTIME_DIR": "/var/runtime",
            "_HANDLER": "bootstrap",
            "LANG": "en_US.UTF-8",
            "PATH": "/usr/local/bin:/usr/bin/:/bin:/opt/bin",
            "TZ": ":UTC",
            **credentials,
            **environment,
            **(extra or {}),
        }
        self._started_at = time.perf_counter()
        try:
            self._process = subprocess.Popen(
                [str(binary)],
                env=process_environment,
                stdin=subprocess.DEVNULL,
                stdout=self._output,
                stderr=subprocess.STDOUT,
                cwd="/",
            )
        except BaseException:
            self._server.close()
            self._output.close()
            raise
        threading.Thread(target=self._watch, daemon=True).start()

    def __enter__(self) -> LambdaRuntime:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the process and the server; the logs stay readable."""
        self._process.kill()
        self._process.wait()
        self._events.put(None)
        self._server.close()
        self._last_logs = self.logs()
        self._output.close()

    @property
    def timeout_seconds(self) -> float:
        return self._timeout

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait_until_ready(self) -> float:
        """Seconds from the start of the process to its first request for an event."""
        if not self._ready.wait(timeout=10.0):
            raise FunctionFailed(f"the function never asked for an event\n{self.logs()}")
        return self._ready_at - self._started_at

    def invoke(self, event: Mapping[str, Any]) -> Any:
        """Hands one event to the function and returns its response payload.

        Raises FunctionFailed where Lambda would report a function error: the caller of API Gateway would then see the
        gateway's own 500 or 502, never an answer of ours.
        """
        with self._lock:
            if self._process.poll() is not None:
                raise FunctionFailed(f"the function has ended with {self._process.returncode}\n{self.logs()}")
            request_id = str(uuid.uuid4())
            self._events.put((request_id, json.dumps(event).encode()))
            # A sandbox that is still starting has Lambda's own ten seconds; the function's begin when it takes the event.
            deadline = time.monotonic() + 10.0
            while True:
                try:
                    kind, answered, body = self._results.get(timeout=max(0.0, deadline - time.monotonic()))
                except queue.Empty:
                    raise FunctionFailed(f"no response within {self._timeout} s\n{self.logs()}") from None
                if kind == "taken":
                    if answered == request_id:
                        deadline = time.monotonic() + self._timeout
                    continue
                if kind == "response" and answered == request_id:
                    return json.loads(body)
                if kind == "response":
                    continue  # an answer to an invocation that was given up on
                if kind == "function error" and answered == request_id:
                    raise FunctionError(body.decode(), self.logs())
                raise FunctionFailed(f"{kind}: {body.decode(errors='replace')}\n{self.logs()}")

    def call(self, event: Mapping[str, Any]) -> Answer:
        """`invoke`, seen from the far side of API Gateway."""
        return Answer.from_payload(self.invoke(event))

    def logs(self) -> str:
        """All that the process has written to stdout and stderr so far."""
        if self._output.closed:
            return self._last_logs
        # pread: the process shares this file's offset, which must stay at its end.
        descriptor = self._output.fileno()
        return os.pread(descriptor, os.fstat(descriptor).st_size, 0).decode(errors="replace")

    def log_lines(self) -> list[dict[str, Any]]:
        """The lines of the log, without those of metrics."""
        return [line for line in self._lines() if "_aws" not in line]

    def metric_lines(self) -> list[dict[str, Any]]:
        """What CloudWatch would read metrics from."""
        return [line for line in self._lines() if "_aws" in line]

    def _lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.logs().splitlines()]

    def _watch(self) -> None:
        code = self._process.wait()
        self._results.put(("the process ended", "", f"exit status {code}".encode()))

    def _handler(runtime) -> type[BaseHTTPRequestHandler]:  # `self` is the handler's, below
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                if self.path != _PREFIX + "invocation/next":
                    self._reply(404)
                    return
                if not runtime._ready.is_set():
                    runtime._ready_at = time.perf_counter()
                    runtime._ready.set()
                item = runtime._events.get()
                if item is None:
                    self.close_connection = True
                    return
                request_id, event = item
                runtime._results.put(("taken", request_id, b""))
                deadline = int((runtime._clock() + runtime._timeout) * 1000)
                self._reply(
                    200,
                    event,
                    {
                        "Content-Type": "application/json",
                        "Lambda-Runtime-Aws-Request-Id": request_id,
                        "Lambda-Runtime-Deadline-Ms": str(deadline),
                        "Lambda-Runtime-Invoked-Function-Arn": runtime._arn,
                        "Lambda-Runtime-Trace-Id": tracing_header(runtime.sampled),
                    },
                )

            def do_POST(self) -> None:
                body = self._body()
                tail = self.path.removeprefix(_PREFIX)
                if tail == "init/error":
                    runtime._results.put(("init error", "", body))
                else:
                    _, request_id, outcome = tail.split("/")  # invocation/ID/response or invocation/ID/error
                    runtime._results.put(("response" if outcome == "response" else "function error", request_id, body))
                self._reply(202, b'{"status":"OK"}', {"Content-Type": "application/json"})

            def _body(self) -> bytes:
                if "chunked" not in self.headers.get("Transfer-Encoding", "").lower():
                    return self.rfile.read(int(self.headers.get("Content-Length", "0")))
                chunks = []
                while size := int(self.rfile.readline().split(b";")[0], 16):
                    chunks.append(self.rfile.read(size))
                    self.rfile.readline()
                while self.rfile.readline().strip():
                    pass  # trailers
                return b"".join(chunks)

            def _reply(self, status: int, body: bytes = b"", headers: Mapping[str, str] | None = None) -> None:
                self.send_response(status)
                for name, value in (headers or {}).items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                """The default writes every request to stderr."""

        return Handler
