"""An HTTP API in front of function binaries, on loopback: real OAuth clients speak HTTP to it.

Routes come from the translated template. Requests become payload 2.0 events with API Gateway's habits, which are what a
handler trips over: lower-cased header names, repeated headers joined by a comma, form bodies in base64, the public name in
requestContext.domainName whatever Host says, 404 {"message":"Not Found"} for a path that no route has.
"""

from __future__ import annotations

import base64
import json
import re
import time
import uuid
from collections.abc import Iterable, Mapping
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qsl, urlsplit

from loopback import LoopbackServer
from runtime_api import Answer, FunctionFailed, LambdaRuntime
from template import API_ID, REGION, Json, Route

DOMAIN = f"{API_ID}.execute-api.{REGION}.amazonaws.com"
# HTTP API passes these on as text; everything else, forms included, in base64.
_TEXT = re.compile(r"^(text/.*|application/(json|javascript|xml)|.*\+(json|xml))$")


class Gateway(LoopbackServer):
    """Use as a context manager; `url` is the base that callers use."""

    def __init__(self, routes: Iterable[Route], functions: Mapping[str, LambdaRuntime]) -> None:
        # API Gateway prefers a literal segment to a parameter.
        self._routes = sorted(routes, key=lambda route: route.path.count("{"))
        self._functions = functions
        super().__init__(self._handler())

    def route(self, method: str, path: str) -> tuple[Route, dict[str, str]] | None:
        """The route that takes a request, and its path parameters."""
        for route in self._routes:
            pattern = re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", re.escape(route.path))
            matched = re.fullmatch(pattern, path)
            if matched and route.method in ("ANY", method):
                return route, matched.groupdict()
        return None

    def answer(self, method: str, target: str, headers: list[tuple[str, str]], body: bytes) -> Answer:
        url = urlsplit(target)
        found = self.route(method, url.path)
        if found is None:
            return gateway_answer(404, "Not Found")
        route, parameters = found
        try:
            return self._functions[route.function].call(
                request_event(route, parameters, method, url.path, url.query, headers, body)
            )
        except FunctionFailed:
            return gateway_answer(500, "Internal Server Error")

    def _handler(gateway) -> type[BaseHTTPRequestHandler]:  # `self` is the handler's, below
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
                answer = gateway.answer(self.command, self.path, list(self.headers.items()), body)
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    if name != "content-length":
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(answer.body)

            do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = do_OPTIONS = handle_any

            def log_message(self, format: str, *args: object) -> None:
                """The default writes every request to stderr."""

        return Handler


def gateway_answer(status: int, message: str) -> Answer:
    return Answer(status, {"content-type": "application/json"}, json.dumps({"message": message}).encode())


def request_event(
    route: Route,
    parameters: dict[str, str],
    method: str,
    path: str,
    query: str,
    headers: list[tuple[str, str]],
    body: bytes,
) -> Json:
    """The event of payload 2.0 for a request."""
    joined: dict[str, str] = {}
    for name, value in headers:
        lower = name.lower()
        joined[lower] = f"{joined[lower]},{value}" if lower in joined else value
    joined.pop("connection", None)
    joined |= {"host": DOMAIN, "x-forwarded-for": "127.0.0.1", "x-forwarded-port": "443", "x-forwarded-proto": "https"}
    now = time.time()
    event: Json = {
        "version": "2.0",
        "routeKey": f"{route.method} {route.path}",
        "rawPath": path,
        "rawQueryString": query,
        "headers": joined,
        "requestContext": {
            "accountId": "123456789012",
            "apiId": DOMAIN.split(".")[0],
            "domainName": DOMAIN,
            "domainPrefix": DOMAIN.split(".")[0],
            "http": {
                "method": method,
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": "127.0.0.1",
                "userAgent": joined.get("user-agent", ""),
            },
            "requestId": uuid.uuid4().hex[:15] + "=",
            "routeKey": f"{route.method} {route.path}",
            "stage": "$default",
            "time": time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(now)),
            "timeEpoch": int(now * 1000),
        },
        "isBase64Encoded": False,
    }
    if parameters:
        event["pathParameters"] = parameters
    if query:
        values: dict[str, str] = {}
        for name, value in parse_qsl(query, keep_blank_values=True):
            values[name] = f"{values[name]},{value}" if name in values else value
        event["queryStringParameters"] = values
    if body:
        media_type = joined.get("content-type", "").split(";")[0].strip().lower()
        if _TEXT.match(media_type):
            event["body"] = body.decode()
        else:
            event["body"] = base64.b64encode(body).decode()
            event["isBase64Encoded"] = True
    return event
