"""examples/two-services: the function's own code, which gets a token by its role, and the API's wiring in front of it.

STS and the authorization server are stand-ins, which verify what they are sent; so is the authorizer, which knows one token.
"""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.error import HTTPError

import pytest

import template as sam
from guarded_api import GuardedApi
from stack import Stack
from stand_ins import ACCESS_TOKEN, AWS_ENVIRONMENT, ROLE, Answer, AuthorizationServer, Sent, StandIn, Sts, refusal

EXAMPLE = "examples/two-services"
ISSUER = {"Fn::Sub": "${PublicUrl}/am/oauth2/realms/root/realms/${Realm}"}

Handler = Callable[[dict[str, str], Any], dict[str, Any]]


@pytest.fixture(scope="module")
def example() -> sam.Json:
    return sam.load(f"{EXAMPLE}/template.yaml")


@pytest.fixture(scope="module")
def translated(example: sam.Json) -> sam.Json:
    return sam.translate(example)


@dataclass
class Authorizer:
    """Lets the one token pass at the routes that the template names."""

    scopes: dict[str, str]
    withdrawn: bool = False
    asked: list[str] = field(default_factory=list)

    def invoke(self, event: sam.Json) -> sam.Json:
        self.asked.append(event["routeKey"])
        (token,) = event["identitySource"][:1]
        is_good = token == f"Bearer {ACCESS_TOKEN}" and event["routeKey"] in self.scopes and not self.withdrawn
        return {"isAuthorized": is_good, "context": {"client_id": "orders"}}


class StockApi(StandIn):
    """The template's API over HTTP."""

    def __init__(self, api: GuardedApi) -> None:
        super().__init__()
        self.api = api

    def answer(self, sent: Sent) -> Answer:
        headers = [(name, value) for name, value in sent.headers.items() if name == "authorization"]
        status, body = self.api.request(sent.method, sent.path, *headers)
        return Answer(status, json.dumps(body))


@dataclass
class Services:
    """Both, and whom they ask."""

    handler: Handler
    sts: Sts
    server: AuthorizationServer
    stock: StockApi
    authorizer: Authorizer


@pytest.fixture
def services(example: sam.Json, translated: sam.Json, monkeypatch: pytest.MonkeyPatch) -> Iterator[Services]:
    given = example["Resources"]["Authorizer"]["Properties"]["Parameters"]
    authorizer = Authorizer(json.loads(given["Scopes"]))
    api = GuardedApi(translated, authorizer)  # type: ignore[arg-type] # it calls invoke alone
    with Sts() as sts, AuthorizationServer() as server, StockApi(api) as stock:
        told = example["Resources"]["OrdersFunction"]["Properties"]["Environment"]["Variables"]
        known = {"ISSUER": server.issuer, "CLIENT_ID": "orders", "STOCK_URL": f"{stock.url}/stock"}
        assert told.keys() == known.keys(), "the function is told this and nothing else"
        for name, value in {**AWS_ENVIRONMENT, "AWS_ENDPOINT_URL_STS": sts.url, **known}.items():
            monkeypatch.setenv(name, value)
        module = loaded()
        yield Services(module.handler, sts, server, stock, authorizer)
        module.sts.close()


def loaded() -> Any:
    """The function as a new sandbox has it: with nothing kept."""
    spec = importlib.util.spec_from_file_location("orders_app", sam.ROOT / EXAMPLE / "orders/app.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_function_calls_a_guarded_api_by_its_role(services: Services) -> None:
    assert services.handler({"item": "lamp"}, None) == {"taken": True, "asked_as": "orders"}
    assert services.handler({"item": "desk"}, None) == {"taken": False, "asked_as": "orders"}
    claims = services.server.claims()
    assert (claims["sub"], claims["aud"]) == (ROLE, services.server.issuer)
    assert services.server.sent[-1].form["scope"] == "stock:read"
    # One token for both, and none that is asked for again.
    assert (len(services.sts.sent), len(services.server.sent), len(services.stock.sent)) == (1, 1, 2)
    assert services.sts.sent[-1].form["DurationSeconds"] == "60", "the policy lets it ask for no more"


def test_a_token_that_was_revoked_is_replaced_once(services: Services) -> None:
    services.handler({"item": "lamp"}, None)
    services.stock.api.now += 60
    services.authorizer.withdrawn = True
    with pytest.raises(HTTPError, match="403") as failed:
        services.handler({"item": "lamp"}, None)
    failed.value.close()
    assert (len(services.server.sent), len(services.stock.sent)) == (2, 3)


def test_where_no_rule_admits_the_role_the_function_fails_and_says_no_token(services: Services) -> None:
    services.server.instead = refusal()
    with pytest.raises(HTTPError, match="401") as failed:
        services.handler({"item": "lamp"}, None)
    failed.value.close()
    assert "eyJ" not in str(failed.value)
    assert services.stock.sent == []


def test_nobody_gets_in_without_a_token(services: Services) -> None:
    assert services.stock.api.request("GET", "/stock") == (401, {"message": "Unauthorized"})
    wrong = ("Authorization", "Bearer another")
    assert services.stock.api.request("GET", "/stock", wrong) == (403, {"message": "Forbidden"})


def test_the_role_may_ask_who_it_is_for_one_audience_and_nothing_else(example: sam.Json, translated: sam.Json) -> None:
    properties = translated["Resources"]["OrdersFunctionRole"]["Properties"]
    (policy,) = properties["Policies"]
    (statement,) = policy["PolicyDocument"]["Statement"]
    assert statement == {
        "Effect": "Allow",
        "Action": "sts:GetWebIdentityToken",
        "Resource": "*",
        "Condition": {
            "ForAllValues:StringEquals": {"sts:IdentityTokenAudience": ISSUER},
            "NumericLessThanEquals": {"sts:DurationSeconds": 60},
        },
    }
    # The log is all that AWS's own policy is for.
    (managed,) = properties["ManagedPolicyArns"]
    assert managed.endswith(":policy/service-role/AWSLambdaBasicExecutionRole")
    assert example["Resources"]["OrdersFunction"]["Properties"]["Environment"]["Variables"]["ISSUER"] == ISSUER
    # The API's own function may do nothing.
    assert "Policies" not in translated["Resources"]["StockFunctionRole"]["Properties"]


def test_the_rule_that_the_stack_writes_names_the_function_s_role(example: sam.Json, translated: sam.Json) -> None:
    written = example["Outputs"]["TrustRule"]["Value"]["Fn::Sub"]
    rule = json.loads(re.sub(r"\$\{([A-Za-z:]+)\}", r"<\1>", written))
    assert rule == {"name": "orders", "aws": {"account": "<AWS::AccountId>", "role": "<OrdersFunctionRole>"}}
    assert translated["Resources"]["OrdersFunction"]["Properties"]["Role"] == {"Fn::GetAtt": ["OrdersFunctionRole", "Arn"]}


def test_the_api_is_guarded_as_that_of_protected_api_is(example: sam.Json, translated: sam.Json) -> None:
    other = sam.load("examples/protected-api/template.yaml")
    api = example["Resources"]["StockApi"]["Properties"]
    assert api == other["Resources"]["Api"]["Properties"]
    routes = {f"{route.method} {route.path}" for route in sam.routes(translated)}
    given = dict(example["Resources"]["Authorizer"]["Properties"]["Parameters"])
    assert json.loads(given.pop("Scopes")).keys() == routes
    assert given.items() <= other["Resources"]["Authorizer"]["Properties"]["Parameters"].items()
    permission = example["Resources"]["AuthorizerPermission"]["Properties"]
    assert permission["FunctionName"] == api["Auth"]["Authorizers"]["Grantwell"]["FunctionArn"]
    assert "${StockApi}/authorizers/*" in permission["SourceArn"]["Fn::Sub"]


def test_what_it_asks_of_the_grantwell_stack_is_an_output_of_it(example: sam.Json, stack: Stack) -> None:
    given = dict(each.split("=", 1) for each in stack.outputs["AuthorizerParameters"].split(" "))
    assert {name for name, parameter in example["Parameters"].items() if "Default" not in parameter} <= given.keys()
    for name in given.keys() & example["Parameters"].keys():
        parameter = example["Parameters"][name]
        assert given[name] in parameter.get("AllowedValues", [given[name]])
        assert re.search(parameter.get("AllowedPattern", ""), given[name])
    # The realm root has another path, which the issuer in the template is not.
    assert not re.search(example["Parameters"]["Realm"]["AllowedPattern"], "root")
    assert re.search(example["Parameters"]["Realm"]["AllowedPattern"], "roots")
