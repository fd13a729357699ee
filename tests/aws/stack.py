"""template.yaml as a deployed stack, with its nested stack, and an authorizer of its own (authorizer.yaml) beside it: SAM's
translator, moto's CloudFormation, then only what the stacks themselves answer.

Names, environments and roles are read back from the stack's resources, so that a test sees what a function on AWS would
see. Two things that moto cannot do are kept apart, and said here: it knows neither HTTP APIs (gateway.py reads the routes
from the translated template) nor function URLs, whose id and address are given here; and its IAM enforces actions only, wanting resource "*"
(aws_calls.py checks the ARNs and the conditions).
"""

from __future__ import annotations

import ast
import copy
import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import template as sam
from emulator import Credentials, Emulator


@dataclass(frozen=True)
class Statement:
    """One permission of a role, with its ARN resolved by the stack.

    `leading_keys` are the patterns of partition keys that it is restricted to, if it is, `attributes` the names of attributes that
    a call may touch, beside the keys, `version_stages` the labels of a secret's versions, `new_tag` the one tag that it may set where it is not set yet, and `via` the service through which alone it may use
    a key: the only conditions there are. test_iam.py has them evaluated by somebody else's implementation of IAM.
    """

    sid: str
    action: str
    resource: str
    leading_keys: tuple[str, ...] | None = None
    attributes: frozenset[str] | None = None
    version_stages: tuple[str, ...] | None = None
    new_tag: str | None = None
    via: str | None = None

    @staticmethod
    def of(document: Mapping[str, Any]) -> Statement:
        statement = Statement(document["Sid"], document["Action"], document["Resource"])
        match document.get("Condition"):
            case None:
                return statement
            case {
                "ForAllValues:StringLike": {"dynamodb:LeadingKeys": patterns, **no_other_key},
                "Null": {"dynamodb:LeadingKeys": "false", **no_other_null},
                **no_other_condition,
            } if not (no_other_key or no_other_null or no_other_condition):
                return replace(statement, leading_keys=tuple(patterns))
            case {
                "ForAllValues:StringLike": {"dynamodb:LeadingKeys": patterns, **no_other_key},
                "ForAllValues:StringEquals": {"dynamodb:Attributes": attributes, **no_other_attribute},
                "Null": {"dynamodb:LeadingKeys": "false", **no_other_null},
                **no_other_condition,
            } if not (no_other_key or no_other_attribute or no_other_null or no_other_condition):
                return replace(statement, leading_keys=tuple(patterns), attributes=frozenset(attributes))
            case {
                "ForAnyValue:StringEquals": {"secretsmanager:VersionStage": labels, **no_other_key},
                **no_other_condition,
            } if not (no_other_key or no_other_condition):
                return replace(statement, version_stages=tuple(labels))
            case {"ForAllValues:StringEquals": {"aws:TagKeys": [tag]}} if document["Condition"] == sets_only(tag):
                return replace(statement, new_tag=tag)
            case {"StringEquals": {"kms:ViaService": service, **no_other_key}, **no_other_condition} if not (
                no_other_key or no_other_condition
            ):
                return replace(statement, via=service)
        raise AssertionError(f"a condition that these tests do not know: {document}")


def sets_only(tag: str) -> dict[str, Any]:
    """The condition under which a call sets this tag, no other, and none that the secret has with another value."""
    return {
        "StringEqualsIfExists": {f"aws:ResourceTag/{tag}": f"${{aws:RequestTag/{tag}}}"},
        "ForAllValues:StringEquals": {"aws:TagKeys": [tag]},
        "Null": {f"aws:RequestTag/{tag}": "false"},
    }


@dataclass(frozen=True)
class DeployedFunction:
    """A function as the stack made it."""

    logical_id: str
    binary: str
    name: str
    environment: Mapping[str, str]
    timeout_seconds: int
    memory_mb: int
    role_arn: str
    statements: tuple[Statement, ...]
    # As the stack gave them to IAM, before moto's enforcement is made to understand the first.
    policy: sam.Json
    trust: sam.Json


class Stack:
    """One deployment of the template, or of a test's changed copy of it, and of an authorizer as its outputs say."""

    def __init__(
        self,
        emulator: Emulator,
        source: sam.Json,
        name: str,
        parameters: Mapping[str, str] | None = None,
        authorizer: Mapping[str, str] | None = None,
    ) -> None:
        self.emulator = emulator
        self.name = name
        self.translated = sam.translate(source)
        _upload_code(emulator)
        nested = _upload_template(emulator, "observability.yaml")
        stack, self._ids = self._create(name, _in_moto(self.translated, nested), parameters or {})
        self.outputs = {each["OutputKey"]: each["OutputValue"] for each in stack["Outputs"]}
        self.parameters = {each["ParameterKey"]: each["ParameterValue"] for each in stack["Parameters"]}
        # As the template has it where nobody says another.
        self.parameters["SecretPrefix"] = self.parameters["SecretPrefix"] or name
        told = dict(each.split("=", 1) for each in self.outputs["AuthorizerParameters"].split(" "))
        authorizer_source = sam.load("authorizer.yaml")
        beside, own = self._create(
            f"{name}-authorizer", _in_moto(sam.translate(authorizer_source), nested), {**told, **(authorizer or {})}
        )
        self.authorizer_parameters = {each["ParameterKey"]: each["ParameterValue"] for each in beside["Parameters"]}
        with emulator.iam_paused():
            deployed = {each["FunctionName"]: each for each in emulator.client("lambda").list_functions()["Functions"]}
        self.functions: dict[str, DeployedFunction] = {}
        for template, ids in ((source, self._ids), (authorizer_source, own)):
            # The door and its role are there only where a parameter says so.
            for each in (each for each in sam.functions(template) if each.logical_id in ids):
                self.functions[each.logical_id] = self._function(each, deployed[ids[each.logical_id]])
            for logical_id in (each for each in sam.resources(template, "AWS::IAM::Role") if each in ids):
                self._let_moto_enforce(ids[logical_id])

    def _create(
        self, name: str, translated: sam.Json, parameters: Mapping[str, str]
    ) -> tuple[dict[str, Any], dict[str, str]]:
        """The stack, and the physical ids of its resources by their logical ones."""
        cloudformation = self.emulator.client("cloudformation")
        cloudformation.create_stack(
            StackName=name,
            TemplateBody=json.dumps(translated)
            .replace("${Api}", sam.API_ID)
            .replace("${IamUrl.FunctionUrl}", sam.FUNCTION_URL)
            .replace('{"Ref": "Api"}', json.dumps(sam.API_ID)),
            Parameters=[{"ParameterKey": k, "ParameterValue": v} for k, v in parameters.items()],
            Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
        )
        stack = cloudformation.describe_stacks(StackName=name)["Stacks"][0]
        if stack["StackStatus"] != "CREATE_COMPLETE":
            raise AssertionError(f"stack {name}: {stack}")
        summaries = cloudformation.list_stack_resources(StackName=name)["StackResourceSummaries"]
        return stack, {each["LogicalResourceId"]: each["PhysicalResourceId"] for each in summaries}

    def physical_id(self, logical_id: str) -> str:
        return self._ids[logical_id]

    def credentials(self, role_arn: str) -> Credentials:
        """What the Lambda service puts into a function's environment: temporary credentials of its role."""
        # The role trusts the Lambda service alone, which no caller of an emulator can be: so IAM looks away.
        with self.emulator.iam_paused():
            sts = self.emulator.client("sts")
            given = sts.assume_role(RoleArn=role_arn, RoleSessionName="function")["Credentials"]
        return Credentials(given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"])

    def credentials_without(self, function: DeployedFunction, action: str) -> Credentials:
        """Credentials of a role that is the function's own but for one action."""
        iam = self.emulator.client("iam")
        name = f"{self.name}-{function.binary}-without-{action.replace(':', '-')}"
        role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=_LAMBDA_MAY_ASSUME)["Role"]
        remaining = [each for each in function.statements if each.action != action]
        assert len(remaining) < len(function.statements), f"{function.logical_id} has no {action} to drop"
        iam.put_role_policy(RoleName=name, PolicyName=function.binary, PolicyDocument=_enforceable(remaining))
        return self.credentials(role["Arn"])

    def _function(self, declared: sam.Function, found: Mapping[str, Any]) -> DeployedFunction:
        role = found["Role"].rsplit("/", 1)[1]
        return DeployedFunction(
            logical_id=declared.logical_id,
            binary=declared.binary,
            name=found["FunctionName"],
            # Lambda's variables are strings; moto keeps a Number parameter's type.
            environment={name: str(value) for name, value in found["Environment"]["Variables"].items()},
            timeout_seconds=found["Timeout"],
            memory_mb=int(found["MemorySize"]),
            role_arn=found["Role"],
            statements=tuple(Statement.of(each) for each in self._documents(role)),
            policy={"Version": "2012-10-17", "Statement": self._documents(role)},
            trust=self._trust(role),
        )

    def _trust(self, role: str) -> sam.Json:
        found: sam.Json | str = self.emulator.client("iam").get_role(RoleName=role)["Role"]["AssumeRolePolicyDocument"]
        return found if isinstance(found, dict) else ast.literal_eval(found)

    def _documents(self, role: str) -> list[sam.Json]:
        iam = self.emulator.client("iam")
        assert not iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"], f"{role} has a managed policy"
        found: list[sam.Json] = []
        for policy in iam.list_role_policies(RoleName=role)["PolicyNames"]:
            document = iam.get_role_policy(RoleName=role, PolicyName=policy)["PolicyDocument"]
            if isinstance(document, str):  # moto hands back Python's text for what CloudFormation gave as an object
                document = ast.literal_eval(document)
            for each in document["Statement"]:
                # moto makes a null of AWS::NoValue in a list, where CloudFormation leaves the element out.
                if each is not None:
                    found.append(each)
        return found

    def _let_moto_enforce(self, role: str) -> None:
        """Rewrites a role's policies with Resource "*" and no condition, all that moto's enforcement understands."""
        iam = self.emulator.client("iam")
        statements = [Statement.of(each) for each in self._documents(role)]
        for policy in iam.list_role_policies(RoleName=role)["PolicyNames"]:
            iam.put_role_policy(RoleName=role, PolicyName=policy, PolicyDocument=_enforceable(statements))


def _in_moto(translated: sam.Json, nested: str) -> sam.Json:
    """The template with the nested stack's at the place where it was uploaded, and without what moto does not know.

    That is the saved query, to which nothing refers: moto fails the whole stack for it.
    """
    resources = copy.deepcopy(translated["Resources"])
    known = {name: each for name, each in resources.items() if each["Type"] != "AWS::Logs::QueryDefinition"}
    for each in sam.resources({"Resources": known}, "AWS::CloudFormation::Stack").values():
        assert each["Properties"]["TemplateURL"] == "observability.yaml"
        each["Properties"]["TemplateURL"] = nested
    return {**translated, "Resources": known}


def _upload_template(emulator: Emulator, path: str) -> str:
    """What `sam deploy` does with a nested stack's template."""
    s3, key = emulator.client("s3"), f"{path}.json"
    s3.put_object(Bucket="code", Key=key, Body=json.dumps(_in_moto(sam.load(path), "")).encode())
    return f"https://s3.{sam.REGION}.amazonaws.com/code/{key}"


def _enforceable(statements: list[Statement]) -> str:
    return json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": [{"Sid": s.sid, "Effect": "Allow", "Action": s.action, "Resource": "*"} for s in statements],
        }
    )


def _upload_code(emulator: Emulator) -> None:
    """Lambda wants code to exist. The processes run the built binaries themselves, so its content does not matter."""
    s3 = emulator.client("s3")
    s3.create_bucket(Bucket="code")
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("bootstrap", "")
    s3.put_object(Bucket="code", Key="bootstrap.zip", Body=archive.getvalue())


_LAMBDA_MAY_ASSUME = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
        ],
    }
)
