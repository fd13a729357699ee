"""Who has changed what: the command's lines in the registry table, and whom AWS says that they are of."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from pathlib import Path

import pytest

import seed
from admin_log import lines
from aws_calls import AwsCalls, Call
from emulator import Credentials, Emulator
from stack import Stack, Statement
from template import ACCOUNT, Json

OWNERS_ROLE = "OrdersTeam"


class Command:
    """`grantwell` on a stack, with somebody's credentials, by whatever way to AWS."""

    def __init__(self, stack: Stack, binaries: Path) -> None:
        self._stack, self._grantwell = stack, binaries / "grantwell"

    def run(
        self, *arguments: str, url: str, credentials: Credentials
    ) -> subprocess.CompletedProcess[str]:
        table, prefix = self._stack.physical_id("RegistryTable"), self._stack.parameters["SecretPrefix"]
        return subprocess.run(
            [str(self._grantwell), *arguments, "--store", "aws"],
            env=seed.operator_environment(url, credentials, table, prefix),
            stdin=subprocess.DEVNULL,
            text=True,
            capture_output=True,
            timeout=60,
            check=False,
        )


@pytest.fixture
def command(seeded: Stack, binaries: Path) -> Command:
    return Command(seeded, binaries)


def everything(stack: Stack) -> list[Statement]:
    actions = ("GetItem", "PutItem", "DeleteItem", "Query")
    table = f"arn:aws:dynamodb:us-east-1:{ACCOUNT}:table/{stack.physical_id('RegistryTable')}"
    return [
        *(Statement(action, f"dynamodb:{action}", table) for action in actions),
        *(Statement(action, f"secretsmanager:{action}", "*") for action in ("DescribeSecret", "ListSecretVersionIds")),
    ]


def names(calls: list[Call]) -> Counter[str]:
    """Calls by their operation and the kind of item that they touch."""

    def name(call: Call) -> str:
        operation = call.action.split(":")[1]
        if call.leading_key == "log#admin":
            return f"{operation} line"
        return f"{operation} {(call.sort_key or '').split('#')[0]}".strip()

    return Counter(name(call) for call in calls if not call.is_implied)


def test_a_change_asks_once_who_calls_and_writes_its_line_ahead_and_afterwards(
    command: Command, seeded: Stack, emulator: Emulator
) -> None:
    before = len(lines(seeded, emulator))
    seen: list[str] = []

    def look(call: Call) -> None:
        if call.action == "dynamodb:PutItem" and call.leading_key == "log#admin":
            seen.append(lines(seeded, emulator)[-1]["outcome"])
        elif call.action == "dynamodb:PutItem":
            seen.append("changed")

    update = ("client", "update", seed.MY_CLIENT.id, "--realm", seed.REALM, "--name", "Logged", "--output", "json")
    with AwsCalls(emulator, everything(seeded), after=look) as aws:
        done = command.run(*update, url=aws.url, credentials=emulator.operator)
        assert done.returncode == 0, done.stderr
        calls = names(aws.calls)
    # What `client show` reads of the secrets at the end is not of the change.
    counted = {name: count for name, count in calls.items() if name.split()[0] in ("GetCallerIdentity", "PutItem", "Query")}
    # The client once for the change and once for its line; the owners, for what the caller may do.
    assert counted == {"GetCallerIdentity": 1, "PutItem line": 2, "PutItem client": 1, "Query": 1}
    assert seen == ["started", "changed", "done"]

    written = lines(seeded, emulator)[before:]
    assert len(written) == 1
    arn = emulator.client("sts").get_caller_identity()["Arn"]
    assert written[0]["actor"] == {"kind": "aws_caller", "arn": arn}
    assert (written[0]["face"], written[0]["action"]) == ("command_line", "client.update")
    assert [member["name"] for member in written[0]["members"]] == ["client_name"]

    listed = command.run("log", "--client", seed.MY_CLIENT.id, "--max-items", "1", "--output", "json", url=emulator.url, credentials=emulator.operator)
    assert json.loads(listed.stdout)["lines"][0]["id"] == written[0]["id"], listed.stderr


def test_lines_alone_have_the_attribute_by_which_dynamodb_removes_items(
    command: Command, seeded: Stack, emulator: Emulator
) -> None:
    """A registration that had it would vanish."""
    credentials = emulator.operator
    created = command.run("owner", "create", "kept", "--output", "json", url=emulator.url, credentials=credentials)
    assert created.returncode == 0, created.stderr
    items = emulator.client("dynamodb").scan(TableName=seeded.physical_id("RegistryTable"))["Items"]
    kinds: dict[str, set[bool]] = {}
    for item in items:
        kind = item["realm"]["S"] if "#" in item["realm"]["S"] else item["item"]["S"].split("#")[0]
        kinds.setdefault(kind.split("#")[0], set()).add("log_expires_at" in item)
    assert {kind for kind, has in kinds.items() if has == {True}} == {"log"}
    assert {kind for kind, has in kinds.items() if has == {False}} >= {"client", "realm", "owner", "registry"}
    deleted = command.run("owner", "delete", "kept", url=emulator.url, credentials=credentials)
    assert deleted.returncode == 0, deleted.stderr


@pytest.mark.parametrize(
    ("failing", "service"), [("sts:GetCallerIdentity", "AWS STS"), ("dynamodb:PutItem", "DynamoDB")]
)
def test_nothing_is_changed_where_nobody_says_who_calls_or_no_line_can_be_written(
    failing: str, service: str, command: Command, seeded: Stack, emulator: Emulator
) -> None:
    def registered() -> Json:
        key = {"realm": {"S": seed.REALM}, "item": {"S": f"client#{seed.MY_CLIENT.id}"}}
        found: Json = emulator.client("dynamodb").get_item(TableName=seeded.physical_id("RegistryTable"), Key=key)["Item"]
        return found

    before = (registered(), len(lines(seeded, emulator)))
    for change in (("disable",), ("delete",), ("rotate-secret",)):
        with AwsCalls(emulator, everything(seeded), failing={failing: "AccessDeniedException"}) as aws:
            arguments = ("client", *change, seed.MY_CLIENT.id, "--realm", seed.REALM)
            refused = command.run(*arguments, url=aws.url, credentials=emulator.operator)
        assert (refused.returncode, service in refused.stderr) == (1, True), refused.stderr
        assert (registered(), len(lines(seeded, emulator))) == before, change


def test_a_session_of_an_owners_role_manages_the_owners_clients_and_no_others(
    command: Command, seeded: Stack, emulator: Emulator
) -> None:
    def operate(*arguments: str) -> str:
        done = command.run(*arguments, url=emulator.url, credentials=emulator.operator)
        assert done.returncode == 0, done.stderr
        return done.stdout

    with emulator.iam_paused():
        iam = emulator.client("iam")
        trust = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": "*"}}]}
        role = iam.create_role(RoleName=OWNERS_ROLE, Path="/teams/", AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
        allowed = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
        iam.put_role_policy(RoleName=OWNERS_ROLE, PolicyName="all", PolicyDocument=json.dumps(allowed))
        given = emulator.client("sts").assume_role(RoleArn=role, RoleSessionName="somebody")["Credentials"]
    session = Credentials(given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"])
    operate("owner", "create", "orders-team", "--aws-principal", role)
    operate("client", "create", "--realm", seed.REALM, "--id", "owned", "--owner", "orders-team", "--scope", "read")
    try:
        def as_owner(*arguments: str) -> subprocess.CompletedProcess[str]:
            return command.run(*arguments, "--realm", seed.REALM, url=emulator.url, credentials=session)

        assert as_owner("client", "rotate-secret", "owned").returncode == 0
        refused = as_owner("client", "disable", seed.MY_CLIENT.id)
        assert (refused.returncode, "the client belongs to other owners" in refused.stderr) == (1, True), refused.stderr
        by_its_line = [(line["action"], line["outcome"], line.get("acts_for")) for line in lines(seeded, emulator)[-2:]]
        owners = ["orders-team"]
        assert by_its_line == [("client.rotate_secret", "done", owners), ("client.disable", "refused", owners)]
        assert lines(seeded, emulator)[-1]["actor"]["arn"].endswith(f":assumed-role/{OWNERS_ROLE}/somebody")
    finally:
        operate("client", "delete", "owned", "--realm", seed.REALM)
        operate("owner", "delete", "orders-team")
