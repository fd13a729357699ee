"""What an HTTP API does with a Lambda authorizer, in front of a function of the API's own: for examples/protected-api and
examples/two-services.

https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-lambda-authorizer.html. Everything is read from the
translated template: routes, identity sources, payload format, how long an answer is kept. The authorizer is a real function
binary; the API's own function is the template's inline code.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import template as sam
from gateway import request_event
from runtime_api import FunctionFailed, LambdaRuntime
from template import Json, Route

API_ID = "orders0000"


class GuardedApi:
    """`now` is the API's clock, in seconds: a test moves it on. `asked` counts the calls of the authorizer."""

    def __init__(self, translated: Json, authorizer: LambdaRuntime) -> None:
        self.now = 0.0
        self.asked = 0
        self._authorizer = authorizer
        self._routes = {f"{route.method} {route.path}": route for route in sam.routes(translated)}
        (api,) = sam.resources(translated, "AWS::ApiGatewayV2::Api").values()
        self._paths = api["Properties"]["Body"]["paths"]
        self._authorizers = api["Properties"]["Body"]["components"]["securitySchemes"]
        self._functions = {
            name: _inline_handler(function["Properties"]["Code"]["ZipFile"])
            for name, function in sam.resources(translated, "AWS::Lambda::Function").items()
            if "ZipFile" in function["Properties"]["Code"]
        }
        self._kept: dict[tuple[str, ...], tuple[float, Json]] = {}

    def request(self, method: str, path: str, *headers: tuple[str, str]) -> tuple[int, Json]:
        """Status and body of the answer."""
        route = self._routes.get(f"{method} {path}")
        if route is None:
            return 404, {"message": "Not Found"}
        event = request_event(route, {}, method, path, "", list(headers), b"")
        event["requestContext"] |= {"apiId": API_ID, "domainName": f"{API_ID}.execute-api.us-east-1.amazonaws.com"}
        (required,) = self._paths[path][method.lower()]["security"]
        (name,) = required
        status, said = self._authorize(self._authorizers[name]["x-amazon-apigateway-authorizer"], route, event)
        if status != 200:
            return status, said
        event["requestContext"]["authorizer"] = {"lambda": said}
        answer = self._functions[route.function](event, None)
        return answer["statusCode"], json.loads(answer["body"])

    def _authorize(self, settings: Json, route: Route, event: Json) -> tuple[int, Json]:
        assert (settings["type"], settings["authorizerPayloadFormatVersion"]) == ("request", "2.0")
        assert settings["enableSimpleResponses"] is True
        sources = tuple(_identity(source, event) for source in settings["identitySource"])
        if not all(sources):
            return 401, {"message": "Unauthorized"}
        until, kept = self._kept.get(sources, (self.now, {}))
        if until <= self.now:
            asked = {
                **{name: value for name, value in event.items() if name not in ("body", "isBase64Encoded")},
                "type": "REQUEST",
                "routeArn": f"arn:aws:execute-api:us-east-1:{sam.ACCOUNT}:{API_ID}/$default/{route.method}{route.path}",
                "identitySource": list(sources),
            }
            self.asked += 1
            try:
                kept = self._authorizer.invoke(asked)
            except FunctionFailed:
                return 500, {"message": "Internal Server Error"}
            if not isinstance(kept, dict) or not isinstance(kept.get("isAuthorized"), bool):
                return 500, {"message": "Internal Server Error"}
            self._kept[sources] = (self.now + settings["authorizerResultTtlInSeconds"], kept)
        return (200, kept["context"]) if kept["isAuthorized"] else (403, {"message": "Forbidden"})


def _identity(source: str, event: Json) -> str:
    if source.startswith("$request.header."):
        value = event["headers"].get(source.removeprefix("$request.header.").lower(), "")
    else:
        value = event["requestContext"][source.removeprefix("$context.")]
    assert isinstance(value, str)
    return value


def _inline_handler(code: str) -> Callable[[Json, Any], Json]:
    module: dict[str, Any] = {}
    exec(compile(code, "index.py", "exec"), module)  # the template's own text, of this repository
    handler: Callable[[Json, Any], Json] = module["handler"]
    return handler
