"""What the roles of the stack let their functions do, by somebody else's implementation of IAM (npm @cloud-copilot/iam-simulate).

moto's enforcement knows neither resources nor conditions, and aws_calls.py only those of these tests. Here the deployed policies
themselves are evaluated, by rules and with AWS's own list of actions and condition keys: what a table does not name is denied.
"""

from __future__ import annotations

import copy
import json
import os
import re
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import product

import pytest

import template as sam
from conftest import KMS_KEY
from expectations import FUNCTIONS, MARKED
from stack import DeployedFunction, Stack

INSTALLED = sam.ROOT / ".venv/iam"
if not (INSTALLED / ".ready").exists():
    MISSING = "needs node and npm: make test-aws installs it into .venv/iam"
    if os.environ.get("CI"):
        raise RuntimeError(MISSING)
    pytest.skip(MISSING, allow_module_level=True)

ACCOUNT = "123456789012"
Context = Mapping[str, str | list[str]]

# Kinds of items in the token table, by their prefix, and who does what to which of them.
KINDS = ("token", "revoked", "quota", "used", "store", "other")
ITEM_ACTIONS = ("GetItem", "PutItem", "UpdateItem", "DeleteItem", "Query")
TOKEN_TABLE: dict[tuple[str, str], set[str]] = {
    ("TokenFunction", "PutItem"): {"token", "store", "used"},
    ("TokenFunction", "GetItem"): {"store"},
    ("TokenFunction", "UpdateItem"): {"quota"},
    ("IntrospectFunction", "GetItem"): {"token", "revoked", "store"},
    ("IntrospectFunction", "PutItem"): {"used"},
    ("RevokeFunction", "UpdateItem"): {"token"},
    ("RevokeFunction", "PutItem"): {"revoked", "used"},
    ("IamFunction", "GetItem"): {"token", "revoked", "store"},
    ("IamFunction", "PutItem"): {"token", "store", "revoked"},
    ("IamFunction", "UpdateItem"): {"quota", "token"},
    ("AuthorizerFunction", "GetItem"): {"token", "revoked", "store"},
}
MAKE_KEYS = ("TokenFunction", "IntrospectFunction", "IamFunction")
WRITE_KEYS = (*MAKE_KEYS, "RotateFunction")
# Which versions of which secrets.
LABELS = ("AWSCURRENT", "AWSPREVIOUS", "AWSPENDING", "custom")
SECRETS: dict[tuple[str, str, str], set[str]] = {
    ("TokenFunction", "GetSecretValue", "clients"): {"AWSCURRENT", "AWSPREVIOUS"},
    ("IntrospectFunction", "GetSecretValue", "clients"): {"AWSCURRENT", "AWSPREVIOUS"},
    ("RevokeFunction", "GetSecretValue", "clients"): {"AWSCURRENT", "AWSPREVIOUS"},
    ("RotateFunction", "GetSecretValue", "clients"): {"AWSCURRENT", "AWSPENDING"},
    ("RotateFunction", "UpdateSecretVersionStage", "clients"): {"AWSCURRENT", "AWSPENDING"},
    ("TokenFunction", "GetSecretValue", "signing-keys"): {"AWSCURRENT"},
    ("IntrospectFunction", "GetSecretValue", "signing-keys"): {"AWSCURRENT"},
    ("IamFunction", "GetSecretValue", "signing-keys"): {"AWSCURRENT"},
    ("RotateFunction", "GetSecretValue", "signing-keys"): {"AWSCURRENT", "AWSPENDING"},
    ("RotateFunction", "UpdateSecretVersionStage", "signing-keys"): {"AWSCURRENT", "AWSPENDING"},
}


@dataclass(frozen=True)
class Request:
    """One request of a function, and whether it is to be allowed."""

    function: DeployedFunction
    action: str
    resource: str
    context: Context
    is_allowed: bool

    def __str__(self) -> str:
        return f"{self.function.logical_id} {self.action} {self.resource} {dict(self.context)}"


def evaluate(simulations: list[sam.Json]) -> list[bool]:
    done = subprocess.run(
        ["node", "simulate.mjs"],
        cwd=INSTALLED,
        input=json.dumps(simulations),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout)
    assert len(answers) == len(simulations)
    assert set(answers) <= {"Allowed", "ImplicitlyDenied", "ExplicitlyDenied"}, answers
    return [answer == "Allowed" for answer in answers]


# A key's own policy has to leave the decision to the account's IAM, as AWS's default policy of a key does.
KEY_POLICY = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, "Action": "kms:*", "Resource": "*"}
    ],
}


def by_policy(request: Request, policy: sam.Json) -> sam.Json:
    return {
        **({"resourcePolicy": KEY_POLICY} if request.action.startswith("kms:") else {}),
        "identityPolicy": policy,
        "principal": request.function.role_arn,
        "action": request.action,
        "resource": request.resource,
        "account": ACCOUNT,
        "context": request.context,
    }


def assert_evaluated(requests: Iterable[Request]) -> None:
    asked = list(requests)
    assert {each.is_allowed for each in asked} == {True, False}, "a table that only allows, or only denies, proves nothing"
    answers = evaluate([by_policy(each, each.function.policy) for each in asked])
    wrong = [f"{each}: allowed is {is_allowed}" for each, is_allowed in zip(asked, answers, strict=True) if is_allowed != each.is_allowed]
    assert wrong == []


def table_arn(stack: Stack, logical_id: str) -> str:
    return f"arn:aws:dynamodb:us-east-1:{ACCOUNT}:table/{stack.physical_id(logical_id)}"


def keys(*leading: str) -> Context:
    return {"dynamodb:LeadingKeys": list(leading)} if leading else {}


def item_requests(stack: Stack) -> Iterable[Request]:
    table = table_arn(stack, "TokenTable")
    for function, action in product(stack.functions.values(), ITEM_ACTIONS):
        allowed = TOKEN_TABLE.get((function.logical_id, action), set())

        def request(context: Context, is_allowed: bool, resource: str = table) -> Request:
            return Request(function, f"dynamodb:{action}", resource, context, is_allowed)

        for kind in KINDS:
            yield request(keys(f"{kind}#x"), kind in allowed)
            # No prefix of it, nor what only begins like it.
            yield request(keys(kind), False)
            yield request(keys(f"x{kind}#x"), False)
            # A batch or a transaction with one key too many.
            yield request(keys(f"{kind}#x", "elsewhere"), False)
        yield request(keys(), False)
        for kind in KINDS:
            yield request(keys(f"{kind}#x"), False, table_arn(stack, "TokenTable") + "2")


def test_each_function_touches_its_own_kinds_of_items_in_the_token_table_and_no_others(stack: Stack) -> None:
    assert_evaluated(item_requests(stack))


def test_revocation_marks_a_token_and_can_neither_make_one_nor_give_it_more_time(stack: Stack) -> None:
    """Without `expires_at` and `audit_tracking_id` an item is no token, so who may not write them makes none."""
    table = table_arn(stack, "TokenTable")

    def requests() -> Iterable[Request]:
        for function in stack.functions.values():
            revokes = function.logical_id in ("RevokeFunction", "IamFunction")
            for attributes, may in (
                (MARKED, True),
                (["id", "version"], True),
                ([*MARKED, "expires_at"], False),
                ([*MARKED, "audit_tracking_id"], False),
                (["id", "expires_at"], False),
                (["id", "cnf"], False),
            ):
                context: Context = {**keys("token#x"), "dynamodb:Attributes": attributes}
                yield Request(function, "dynamodb:UpdateItem", table, context, revokes and may)
                other: Context = {**context, **keys("revoked#x")}
                yield Request(function, "dynamodb:UpdateItem", table, other, False)

    assert_evaluated(requests())


def test_public_keys_and_lines_of_the_log_are_all_that_a_function_writes_into_the_registry(stack: Stack) -> None:
    table = table_arn(stack, "RegistryTable")
    assert_evaluated(
        Request(function, f"dynamodb:{action}", table, context, is_allowed)
        for function, action in product(stack.functions.values(), ("PutItem", "UpdateItem", "DeleteItem"))
        for context, is_allowed in (
            (keys("keys#alpha"), action == "PutItem" and function.logical_id in WRITE_KEYS),
            (keys("log#admin"), action == "PutItem" and function.logical_id == "RotateFunction"),
            (keys("alpha"), False),
            (keys("root"), False),
            (keys("keys#alpha", "root"), False),
            (keys("log#admin", "root"), False),
            (keys(), False),
        )
    )


def secret_arn(stack: Stack, name: str) -> str:
    prefix = stack.functions["TokenFunction"].environment["GRANTWELL_SECRET_PREFIX"]
    return f"arn:aws:secretsmanager:us-east-1:{ACCOUNT}:secret:{prefix}/alpha/{name}-AbCdEf"


def test_each_function_reads_and_moves_the_versions_of_secrets_that_it_uses_and_no_others(stack: Stack) -> None:
    names = {"clients": "clients/myClient", "signing-keys": "signing-keys"}

    def requests() -> Iterable[Request]:
        for function, action, kind in product(
            stack.functions.values(), ("GetSecretValue", "UpdateSecretVersionStage"), names
        ):
            arn, allowed = secret_arn(stack, names[kind]), SECRETS.get((function.logical_id, action, kind), set())
            for label in LABELS:
                stage = {"secretsmanager:VersionStage": label}
                yield Request(function, f"secretsmanager:{action}", arn, stage, label in allowed)
                neighbour = arn.replace(":secret:", ":secret:neighbour-")
                yield Request(function, f"secretsmanager:{action}", neighbour, stage, False)
            # By the version's id alone, or however else.
            yield Request(function, f"secretsmanager:{action}", arn, {}, False)

    assert_evaluated(requests())


def test_a_function_tags_what_it_makes_with_its_registry_and_changes_no_tag(stack: Stack) -> None:
    """Whether a request that makes a tagged secret has the tag in aws:ResourceTag already, IAM's reference leaves open: either way."""
    tag, other, makers = "grantwell:registry", "grantwell:registration", MAKE_KEYS
    keys, client = secret_arn(stack, "signing-keys"), secret_arn(stack, "clients/myClient")

    def asking(asked: dict[str, str], has: dict[str, str]) -> Context:
        requested: dict[str, str | list[str]] = {f"aws:RequestTag/{name}": value for name, value in asked.items()}
        if asked:
            requested["aws:TagKeys"] = list(asked)
        return {**requested, **{f"aws:ResourceTag/{name}": value for name, value in has.items()}}

    def requests() -> Iterable[Request]:
        for function in stack.functions.values():
            is_maker = function.logical_id in makers
            for resource, context, is_allowed in (
                (keys, asking({tag: "ours"}, {}), is_maker),
                (keys, asking({tag: "ours"}, {tag: "ours"}), is_maker),
                (keys, asking({tag: "ours"}, {tag: "theirs"}), False),
                (keys, asking({tag: "ours", other: "one"}, {}), False),
                (keys, asking({other: "one"}, {tag: "ours"}), False),
                (keys, asking({}, {}), False),
                (client, asking({tag: "ours"}, {}), False),
                (keys.replace(":secret:", ":secret:neighbour-"), asking({tag: "ours"}, {}), False),
            ):
                yield Request(function, "secretsmanager:TagResource", resource, context, is_allowed)
            yield Request(function, "secretsmanager:UntagResource", keys, {}, False)
            yield Request(function, "secretsmanager:DeleteSecret", keys, {}, False)
            yield Request(function, "secretsmanager:CreateSecret", keys, {}, is_maker)
            yield Request(function, "secretsmanager:CreateSecret", client, {}, False)

    assert_evaluated(requests())


def test_a_key_is_used_only_where_it_is_the_stacks_and_only_through_the_service_that_needs_it(
    stack: Stack, with_everything: Stack
) -> None:
    everybody = {*stack.functions}
    with_secrets = {name for name in everybody if "secretsmanager:GetSecretValue" in FUNCTIONS[name].actions}
    allowed = {
        ("Decrypt", "dynamodb"): everybody,
        ("Decrypt", "secretsmanager"): with_secrets,
        ("GenerateDataKey", "secretsmanager"): with_secrets - {"RevokeFunction"},
    }

    def requests() -> Iterable[Request]:
        for action, service in product(
            ("Decrypt", "GenerateDataKey", "Encrypt", "ReEncryptFrom", "CreateGrant"), ("dynamodb", "secretsmanager", "s3")
        ):
            via: Context = {"kms:ViaService": f"{service}.us-east-1.amazonaws.com"}
            for name, function in with_everything.functions.items():
                may = name in allowed.get((action, service), set())
                yield Request(function, f"kms:{action}", KMS_KEY, via, may)
                yield Request(function, f"kms:{action}", KMS_KEY.replace("key/own", "key/other"), via, False)
                # By itself, and through the service elsewhere.
                yield Request(function, f"kms:{action}", KMS_KEY, {}, False)
                elsewhere: Context = {"kms:ViaService": f"{service}.eu-west-1.amazonaws.com"}
                yield Request(function, f"kms:{action}", KMS_KEY, elsewhere, False)
            for function in stack.functions.values():
                yield Request(function, f"kms:{action}", KMS_KEY, via, False)

    assert_evaluated(requests())


def test_lambda_assumes_a_role_for_a_function_of_this_account_only(stack: Stack) -> None:
    asked = [
        (function, service, context, is_allowed)
        for function in stack.functions.values()
        for service, context, is_allowed in (
            ("lambda.amazonaws.com", {"aws:SourceAccount": ACCOUNT}, True),
            ("lambda.amazonaws.com", {"aws:SourceAccount": "999999999999"}, False),
            ("lambda.amazonaws.com", {}, False),
            ("events.amazonaws.com", {"aws:SourceAccount": ACCOUNT}, False),
        )
    ]
    answers = evaluate(
        [
            {
                "resourcePolicy": function.trust,
                "principal": service,
                "action": "sts:AssumeRole",
                "resource": function.role_arn,
                "account": ACCOUNT,
                "context": context,
            }
            for function, service, context, _ in asked
        ]
    )
    assert answers == [is_allowed for *_, is_allowed in asked]


def test_the_evaluation_minds_what_it_is_asked_for(stack: Stack) -> None:
    """The controls: without a condition the same requests are allowed, and without the Null those that name no key."""

    def without(policy: sam.Json, operator: str) -> sam.Json:
        changed = copy.deepcopy(policy)
        for statement in changed["Statement"]:
            statement.get("Condition", {}).pop(operator, None)
        return changed

    function, table = stack.functions["RevokeFunction"], table_arn(stack, "TokenTable")
    count = Request(function, "dynamodb:UpdateItem", table, keys("quota#x"), False)
    nothing = Request(function, "dynamodb:UpdateItem", table, keys(), False)
    prolonged: Context = {**keys("token#x"), "dynamodb:Attributes": ["id", "expires_at"]}
    longer = Request(function, "dynamodb:UpdateItem", table, prolonged, False)
    pending = Request(
        function,
        "secretsmanager:GetSecretValue",
        secret_arn(stack, "clients/myClient"),
        {"secretsmanager:VersionStage": "AWSPENDING"},
        False,
    )
    policy = function.policy
    assert evaluate(
        [
            by_policy(count, without(policy, "ForAllValues:StringLike")),
            by_policy(nothing, without(policy, "Null")),
            by_policy(nothing, policy),
            by_policy(longer, without(policy, "ForAllValues:StringEquals")),
            by_policy(longer, policy),
            by_policy(pending, without(policy, "ForAnyValue:StringEquals")),
            by_policy(pending, policy),
        ]
    ) == [True, True, False, True, False, True, False]


def test_a_secret_gets_its_registrys_tag_when_it_is_made_and_no_function_gives_it_another(stack: Stack) -> None:
    owner, asked_key, has_key = "registry-1", "aws:RequestTag/grantwell:registry", "aws:ResourceTag/grantwell:registry"

    def requests() -> Iterable[Request]:
        for function, name in product(stack.functions.values(), ("clients/myClient", "signing-keys")):
            tags = name == "signing-keys" and function.logical_id in MAKE_KEYS
            for context, is_allowed in (
                ({asked_key: owner, "aws:TagKeys": ["grantwell:registry"]}, tags),
                ({asked_key: owner, has_key: owner, "aws:TagKeys": ["grantwell:registry"]}, tags),
                ({asked_key: "other", has_key: owner, "aws:TagKeys": ["grantwell:registry"]}, False),
                ({asked_key: owner, "aws:TagKeys": ["grantwell:registry", "owner"]}, False),
                ({"aws:RequestTag/owner": "me", "aws:TagKeys": ["owner"]}, False),
                ({"aws:TagKeys": []}, False),
                ({}, False),
            ):
                yield Request(function, "secretsmanager:TagResource", secret_arn(stack, name), context, is_allowed)

    assert_evaluated(requests())


# --- the door for roles of AWS: who reaches its function, by the permissions of the template and the policies that the documents advise ---

DOOR = f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:grantwell-IamFunction-1"
BY_ADDRESS: Context = {"lambda:InvokedViaFunctionUrl": "true"}
URL: Context = {"lambda:FunctionUrlAuthType": "AWS_IAM"}
OURS, OTHERS = f"arn:aws:iam::{ACCOUNT}:role/OrdersRole", "arn:aws:iam::444455556666:role/OrdersRole"
ADMINISTRATOR = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}


def advised(sid: str) -> sam.Json:
    """The policy of docs/operations.md that has this text, for our function."""
    page = (sam.ROOT / "docs/operations.md").read_text(encoding="utf-8")
    (found,) = (block for block in re.findall(r"```json\n(.*?)```", page, re.DOTALL) if sid in block)
    policy: sam.Json = json.loads(found.replace("FUNCTION_ARN", DOOR).replace("ACCOUNT:role", f"{ACCOUNT}:role"))
    return policy


def permissions(organization: str | None) -> sam.Json:
    """What Lambda makes of the template's two permissions."""
    statements = []
    resources = sam.translate(sam.load())["Resources"]
    for name in ("IamUrlPermission", "IamInvokePermission"):
        given = resources[name]["Properties"]
        condition: sam.Json = {}
        if given.get("FunctionUrlAuthType"):
            condition["StringEquals"] = {"lambda:FunctionUrlAuthType": given["FunctionUrlAuthType"]}
        if given.get("InvokedViaFunctionUrl"):
            condition["Bool"] = {"lambda:InvokedViaFunctionUrl": "true"}
        principal: sam.Json | str = {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}
        if organization:
            condition.setdefault("StringEquals", {})["aws:PrincipalOrgID"] = organization
            principal = "*"
        statements.append(
            {"Sid": name, "Effect": "Allow", "Principal": principal, "Action": given["Action"], "Resource": DOOR, "Condition": condition}
        )
    return {"Version": "2012-10-17", "Statement": statements}


@pytest.mark.parametrize(
    ("principal", "identity", "organization", "of_organization", "context", "by_address", "by_hand"),
    [
        # By its own policy, in the account: through the address, and never by an event of its own.
        (OURS, "caller", None, None, {}, True, False),
        (OURS, None, None, None, {}, False, False),
        # What no permission of the function can deny.
        (OURS, "administrator", None, None, {}, True, True),
        # Unless the organization does.
        (OURS, "administrator", None, "own", {}, True, False),
        # With an organization: everybody of it in the account, and elsewhere whoever may by a policy there.
        (OURS, None, "o-a1b2c3d4e5", None, {"aws:PrincipalOrgID": "o-a1b2c3d4e5"}, True, False),
        (OTHERS, None, "o-a1b2c3d4e5", None, {"aws:PrincipalOrgID": "o-a1b2c3d4e5"}, False, False),
        (OTHERS, "caller", "o-a1b2c3d4e5", None, {"aws:PrincipalOrgID": "o-a1b2c3d4e5"}, True, False),
        (OTHERS, "administrator", "o-a1b2c3d4e5", None, {"aws:PrincipalOrgID": "o-a1b2c3d4e5"}, True, False),
        # Another organization, and none.
        (OTHERS, "administrator", "o-a1b2c3d4e5", None, {"aws:PrincipalOrgID": "o-zzzzzzzzzz"}, False, False),
        (OTHERS, "administrator", None, None, {}, False, False),
    ],
)
def test_the_door_is_reached_by_its_address_and_by_whom_its_permissions_name(
    principal: str,
    identity: str | None,
    organization: str | None,
    of_organization: str | None,
    context: Context,
    by_address: bool,
    by_hand: bool,
) -> None:
    policies = {"caller": advised("lambda:InvokeFunctionUrl\", \"Resource"), "administrator": ADMINISTRATOR, None: None}
    control = advised("TheDoorIsReachedByItsAddress") if of_organization else None

    def asked(action: str, resource: str, more: Context) -> sam.Json:
        return {
            "resourcePolicy": permissions(organization),
            **({"identityPolicy": policies[identity]} if policies[identity] else {}),
            **({"organizationPolicy": control} if control else {}),
            "principal": principal,
            "action": action,
            "resource": resource,
            "account": ACCOUNT,
            "context": {**context, **more},
        }

    url, through, direct, qualified = evaluate(
        [
            asked("lambda:InvokeFunctionUrl", DOOR, URL),
            asked("lambda:InvokeFunction", DOOR, BY_ADDRESS),
            asked("lambda:InvokeFunction", DOOR, {}),
            asked("lambda:InvokeFunction", f"{DOOR}:$LATEST", {}),
        ]
    )
    # AWS asks for both.
    assert (url and through) is by_address
    assert (direct, qualified) == (by_hand, by_hand)
