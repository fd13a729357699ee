"""template.yaml as data: parsed, and translated by SAM's own translator into what CloudFormation would receive."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse

ROOT = Path(__file__).resolve().parents[2]
REGION = "us-east-1"
ACCOUNT = "123456789012"
# The id that AWS would have made up for the stack's API.
API_ID = "grantwell0"
# And the address of its function URL, which ends with a slash.
FUNCTION_URL = "https://grantwelldoor.lambda-url.us-east-1.on.aws/"

Json = dict[str, Any]


@dataclass(frozen=True)
class Function:
    """One function of the template, before translation."""

    logical_id: str
    binary: str
    resource: Json

    @property
    def event_folder(self) -> str:
        """The folder under events/ is the binary's name: TokenFunction, src/bin/token.rs, events/token/."""
        return self.binary


@dataclass(frozen=True)
class Route:
    """One route of the HTTP API after translation."""

    method: str
    path: str
    function: str
    payload_format: str


def load(path: str = "template.yaml") -> Json:
    """A template as it stands in the repository, with intrinsic functions in their long form."""
    parsed: Json = yaml_parse((ROOT / path).read_text(encoding="utf-8"))
    return parsed


def functions(template: Json) -> list[Function]:
    """Every function, with the binary that the build puts into it."""
    return [
        Function(name, resource["Metadata"]["BuildProperties"]["Binary"], resource)
        for name, resource in template["Resources"].items()
        if resource["Type"] == "AWS::Serverless::Function"
    ]


def resources(template: Json, kind: str) -> dict[str, Json]:
    """The resources of one CloudFormation type by logical id."""
    return {name: r for name, r in template["Resources"].items() if r["Type"] == kind}


def translate(template: Json, *, bucket: str = "code", key: str = "bootstrap.zip") -> Json:
    """What `sam deploy` would send to CloudFormation, with the code that is not inline at `bucket` and `key`.

    The translator only asks for managed policies when a function names one, which none here may do: an empty loader is
    therefore the right one, and a template that broke the rule would fail to translate.
    """
    packaged = copy.deepcopy(template)
    packaged.get("Globals", {}).get("Function", {}).pop("CodeUri", None)
    for function in resources(packaged, "AWS::Serverless::Function").values():
        if "InlineCode" not in function["Properties"]:
            function["Properties"]["CodeUri"] = {"Bucket": bucket, "Key": key}
    # The translator takes the partition from the session's region, and has no other way to be told.
    before = os.environ.get("AWS_DEFAULT_REGION")
    os.environ["AWS_DEFAULT_REGION"] = REGION
    try:
        translated: Json = transform(packaged, {}, _NoManagedPolicies())
        return translated
    finally:
        if before is None:
            del os.environ["AWS_DEFAULT_REGION"]
        else:
            os.environ["AWS_DEFAULT_REGION"] = before


def routes(translated: Json) -> Iterator[Route]:
    """The HTTP API's routes, read from the OpenAPI document that the translator made. Not those of the door for roles, which is an API of
    its own."""
    resources = translated["Resources"].items()
    apis = [each for name, each in resources if each["Type"] == "AWS::ApiGatewayV2::Api" and name != "IamApi"]
    for api in apis:
        for path, methods in api["Properties"]["Body"]["paths"].items():
            for method, operation in methods.items():
                integration = operation["x-amazon-apigateway-integration"]
                uri = integration["uri"]["Fn::Sub"]
                yield Route(
                    method="ANY" if method == "x-amazon-apigateway-any-method" else method.upper(),
                    path=path,
                    function=uri.split("functions/${", 1)[1].split(".Arn}", 1)[0],
                    payload_format=integration["payloadFormatVersion"],
                )


class _NoManagedPolicies:
    def load(self) -> dict[str, str]:
        return {}
