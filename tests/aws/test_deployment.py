"""The deployed stack decides whether a function works: environment, table keys and permissions, each with its negative control.

Functions run with precisely the variables that the stack gave them and the credentials of the role that it gave them, IAM
enforced. A control then takes one thing away, and the function has to fail as designed: 503 or no answer, never a token.
"""

from __future__ import annotations

import base64
import copy
import hashlib
import json
import re
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest

import seed
import template as sam
from aws_calls import AwsCalls, Call, allows
from conftest import BOUNDARY, KMS_KEY, StartFunction, reseed
from emulator import Emulator
from expectations import EXPECTATIONS, FUNCTIONS, UNAVAILABLE, WORK, assert_outcome, event, stops
from runtime_api import Answer, FunctionFailed, LambdaRuntime
from stack import Stack, Statement

DATA_ACTIONS = {name: sorted(row.actions) for name, row in FUNCTIONS.items()}
DATA_STATEMENTS = {name: [sid for sid, _, _, _ in row.grants] for name, row in FUNCTIONS.items()}
REQUIRED_VARIABLES = {name: row.variables for name, row in FUNCTIONS.items()}


def pairs(table: dict[str, list[str]]) -> list[tuple[str, str]]:
    """Every row of a table for the functions that an event of WORK puts to the test."""
    rows = [(function, each) for function in WORK for each in table[function]]
    return [(function, each) for function, each in rows if each not in FUNCTIONS[function].beyond_work]


def data(statements: tuple[Statement, ...]) -> list[Statement]:
    """The permissions a function itself uses; those on logs are used by the Lambda service for it."""
    return [each for each in statements if not each.action.startswith("logs:")]


def test_the_tables_of_controls_cover_every_permission_of_the_stack(stack: Stack) -> None:
    assert {n: sorted({s.action for s in data(f.statements)}) for n, f in stack.functions.items()} == {
        name: sorted(actions) for name, actions in DATA_ACTIONS.items()
    }
    assert {n: [s.sid for s in data(f.statements)] for n, f in stack.functions.items()} == DATA_STATEMENTS


def test_the_stack_sets_exactly_the_variables_that_the_functions_read(stack: Stack) -> None:
    """AWS_ENDPOINT_URL is not among them: with default parameters a function can only talk to AWS."""
    for name, function in stack.functions.items():
        parameters = stack.authorizer_parameters if name == "AuthorizerFunction" else stack.parameters
        required, optional = FUNCTIONS[name].variables, FUNCTIONS[name].optional
        assert function.environment.keys() == {*required, *optional}, name
        assert all(function.environment[variable] for variable in required), name
        for variable, parameter in optional.items():
            if variable not in required:
                # What stands behind the front's name is said of the door for roles, and not to a function.
                said = parameters[parameter].split("+")[0] if parameter == "Front" else parameters[parameter]
                assert function.environment[variable] == said, (name, variable)


@pytest.mark.parametrize("name", ["AuthorizerFunction", "IamFunction"])
def test_without_a_public_url_whoever_has_another_address_is_told_the_stacks_own_api(name: str, stack: Stack) -> None:
    assert stack.parameters["PublicUrl"] == ""
    environment = stack.functions[name].environment
    assert environment["GRANTWELL_PUBLIC_URL"] == stack.outputs["BaseUrl"]
    assert seed.ISSUER.startswith(environment["GRANTWELL_PUBLIC_URL"] + "/")


def test_the_doors_address_is_an_output_to_which_the_paths_are_appended(stack: Stack) -> None:
    assert stack.outputs["IamBaseUrl"] == sam.FUNCTION_URL.removesuffix("/")
    assert stack.outputs["IamFunctionName"] == stack.physical_id("IamFunction")


def test_the_nested_stack_is_told_of_the_functions_and_tables_that_there_are(stack: Stack, emulator: Emulator) -> None:
    nested = emulator.client("cloudformation").describe_stacks(StackName=stack.physical_id("Observability"))["Stacks"][0]
    told = {each["ParameterKey"]: each["ParameterValue"] for each in nested["Parameters"]}
    # The queue's physical id is its address, and what is told is its name.
    assert told.pop("ScheduleFailures") == stack.physical_id("ScheduleFailures").rsplit("/", 1)[1]
    names = {name: stack.physical_id(name) for name in told.keys() - {"Name", "AlarmTopicArn", "Metrics", "Dashboard", "Api"}}
    assert names.keys() == {*FUNCTIONS} - {"AuthorizerFunction"} | {"TokenTable", "RegistryTable", "TokenLogGroup", "IntrospectLogGroup"}
    switches = {"AlarmTopicArn": "", "Metrics": "emf", "Dashboard": "true"}
    assert told == {**names, **switches, "Name": stack.name, "Api": sam.API_ID}


def test_the_export_block_points_the_command_line_at_the_stack(stack: Stack) -> None:
    assert stack.outputs["ExportBlock"].strip().splitlines() == [
        "export AWS_REGION=us-east-1",
        f"export GRANTWELL_REGISTRY_TABLE={stack.physical_id('RegistryTable')}",
        f"export GRANTWELL_TOKEN_TABLE={stack.physical_id('TokenTable')}",
        "export GRANTWELL_SECRET_PREFIX=grantwell",
    ]


@pytest.mark.parametrize("name", WORK)
def test_a_function_works_with_its_role_and_uses_all_of_it(
    name: str, seeded: Stack, start: StartFunction, emulator: Emulator
) -> None:
    """The role allows every call on its very ARN, and no statement of the role goes unused: least privilege, both ways."""
    function = seeded.functions[name]
    with AwsCalls(emulator, function.statements) as aws:
        assert_outcome(start(function, endpoint=aws.url), event(WORK[name]), EXPECTATIONS[WORK[name]])
        assert aws.refused == []
        unused = [s.sid for s in data(function.statements) if not any(allows(s, call) for call in aws.calls)]
        assert set(unused) <= set(FUNCTIONS[name].beyond_work)


@pytest.mark.parametrize(("name", "sid"), pairs(DATA_STATEMENTS))
def test_without_one_statement_the_function_is_unavailable(
    name: str, sid: str, seeded: Stack, start: StartFunction, emulator: Emulator
) -> None:
    function = seeded.functions[name]
    reduced = [statement for statement in function.statements if statement.sid != sid]
    assert len(reduced) == len(function.statements) - 1
    with AwsCalls(emulator, reduced) as aws:
        assert_outcome(start(function, endpoint=aws.url), event(WORK[name]), UNAVAILABLE[name])
        assert aws.refused, "the function failed for another reason"


@pytest.mark.parametrize("name", ["TokenFunction", "IntrospectFunction", "RevokeFunction"])
def test_without_a_read_of_several_items_each_is_read_alone(
    name: str, seeded: Stack, start: StartFunction, emulator: Emulator
) -> None:
    """While a deployment is rolled back, a function may have the role of the version before it."""
    function = seeded.functions[name]
    older = [statement for statement in function.statements if statement.sid != "ReadRealmsWithClients"]
    assert len(older) == len(function.statements) - 1
    with AwsCalls(emulator, older) as aws:
        assert_outcome(start(function, endpoint=aws.url), event(WORK[name]), EXPECTATIONS[WORK[name]])
        assert {call.action for call in aws.refused} == {"dynamodb:BatchGetItem"}


@pytest.mark.parametrize(("name", "sid"), pairs(DATA_STATEMENTS))
def test_a_statement_on_another_resource_is_no_permission(
    name: str, sid: str, seeded: Stack, start: StartFunction, emulator: Emulator
) -> None:
    """The ARN counts, not only the action: the same statement for a neighbour's table or secrets refuses the call."""
    function = seeded.functions[name]
    moved = [
        replace(s, resource=s.resource.replace("grantwell", "neighbour")) if s.sid == sid else s
        for s in function.statements
    ]
    assert moved != list(function.statements)
    with AwsCalls(emulator, moved) as aws:
        assert_outcome(start(function, endpoint=aws.url), event(WORK[name]), UNAVAILABLE[name])
        assert aws.refused


@pytest.mark.parametrize(
    ("name", "sid", "action", "partition"),
    [
        ("TokenFunction", "PublishKeys", "dynamodb:PutItem", f"keys#{seed.REALM}"),
        ("TokenFunction", "StoreTokens", "dynamodb:PutItem", "token#"),
        ("TokenFunction", "CountTokens", "dynamodb:UpdateItem", "quota#"),
        ("IntrospectFunction", "ReadTokens", "dynamodb:GetItem", "token#"),
        ("RevokeFunction", "MarkRevokedTokens", "dynamodb:UpdateItem", "token#"),
        ("AuthorizerFunction", "ReadTokens", "dynamodb:GetItem", "token#"),
        ("IntrospectFunction", "PublishKeys", "dynamodb:PutItem", f"keys#{seed.REALM}"),
        ("IamFunction", "PublishKeys", "dynamodb:PutItem", f"keys#{seed.REALM}"),
        ("IamFunction", "StoreTokens", "dynamodb:PutItem", "token#"),
        ("IamFunction", "CountTokens", "dynamodb:UpdateItem", "quota#"),
    ],
)
def test_a_statement_on_another_partition_is_no_permission(
    name: str, sid: str, action: str, partition: str, seeded: Stack, start: StartFunction, emulator: Emulator
) -> None:
    function = seeded.functions[name]
    moved = [replace(s, leading_keys=("other#*",)) if s.sid == sid else s for s in function.statements]
    assert moved != list(function.statements)
    with AwsCalls(emulator, moved) as aws:
        assert_outcome(start(function, endpoint=aws.url), event(WORK[name]), UNAVAILABLE[name])
        (refused,) = set(aws.refused)
        assert refused.action == action and (refused.leading_key or "").startswith(partition)


def test_a_stateless_jwt_ends_by_the_one_kind_of_item_that_revocation_may_write(
    seeded: Stack, start: StartFunction, emulator: Emulator, binaries: Path
) -> None:
    function = seeded.functions["RevokeFunction"]
    register_stateless(seeded, emulator, binaries)
    issuer = start(seeded.functions["TokenFunction"])
    revocation = of_stateless("revoke/own", f"token={stateless_jwt(issuer)}")
    without = [s for s in function.statements if s.sid != "EndStatelessTokens"]
    moved = [replace(s, leading_keys=("token#*",)) if s.sid == "EndStatelessTokens" else s for s in function.statements]
    assert len(without) == len(function.statements) - 1 and moved != list(function.statements)
    for statements in (without, moved):
        with AwsCalls(emulator, statements) as aws:
            assert_outcome(start(function, endpoint=aws.url), revocation, UNAVAILABLE["RevokeFunction"])
            (refused,) = set(aws.refused)
            assert refused.action == "dynamodb:PutItem" and (refused.leading_key or "").startswith("revoked#")
    with AwsCalls(emulator, function.statements) as aws:
        assert_outcome(start(function, endpoint=aws.url), revocation, EXPECTATIONS["revoke/own"])
        assert aws.refused == []
    # The same by an enforcement that nobody here wrote.
    reduced = start(function, credentials=seeded.credentials_without(function, "dynamodb:PutItem"))
    assert_outcome(reduced, revocation, UNAVAILABLE["RevokeFunction"])


@pytest.mark.parametrize("sid", ["ReadWholeSince", "DateTokenTable", "StoreTokens"])
def test_a_stateless_jwt_is_issued_though_nobody_can_say_since_when_the_table_is_whole(
    sid: str, seeded: Stack, start: StartFunction, emulator: Emulator, binaries: Path
) -> None:
    """Who validates it alone needs no table; introspection finds it inactive, and the log says so."""
    register_stateless(seeded, emulator, binaries)
    seed.forget_whole_since(emulator.url, emulator.operator, seeded.physical_id("TokenTable"))
    function = seeded.functions["TokenFunction"]
    with AwsCalls(emulator, [each for each in function.statements if each.sid != sid]) as aws:
        running = start(function, endpoint=aws.url)
        assert is_stateless(running.call(ask_stateless()).json["access_token"])
        (refused,) = set(aws.refused)
        assert refused.action in ("dynamodb:DescribeTable",) or refused.leading_key == "store#whole-since"
    (warning,) = [line for line in running.log_lines() if line["level"] == "WARN"]
    assert warning["message"] == "a token was issued that introspection may find inactive"
    with AwsCalls(emulator, function.statements) as aws:
        stateless_jwt(start(function, endpoint=aws.url))
        assert aws.refused == []
        used = [each.sid for each in function.statements if any(allows(each, call) for call in aws.calls)]
    assert sid in used


@pytest.mark.parametrize("name", ["IntrospectFunction", "AuthorizerFunction"])
def test_without_the_age_of_the_table_nobody_says_that_a_stateless_jwt_is_active(
    name: str, seeded: Stack, start: StartFunction, emulator: Emulator, binaries: Path
) -> None:
    register_stateless(seeded, emulator, binaries)
    token = stateless_jwt(start(seeded.functions["TokenFunction"]))
    function = seeded.functions[name]
    if name == "AuthorizerFunction":
        given = event("authorizer/http-api-v2")
        given["headers"]["authorization"] = f"Bearer {token}"
        given["identitySource"] = [f"Bearer {token}", *given["identitySource"][1:]]
    else:
        given = of_stateless("introspect/active", f"token={token}")
    for sid, leading_key in (("DateTokenTable", None), ("ReadTokens", "store#whole-since")):
        with AwsCalls(emulator, [each for each in function.statements if each.sid != sid]) as aws:
            assert_outcome(start(function, endpoint=aws.url), given, UNAVAILABLE[name])
            (refused,) = set(aws.refused)
            assert refused.leading_key == leading_key
    with AwsCalls(emulator, function.statements) as aws:
        answer = start(function, endpoint=aws.url).invoke(given)
        assert answer["isAuthorized"] if name == "AuthorizerFunction" else '"active":true' in answer["body"]
        assert aws.refused == []


def test_a_lost_table_and_a_restored_one_bring_no_revoked_jwt_back(
    seeded: Stack, start: StartFunction, emulator: Emulator, binaries: Path
) -> None:
    register_stateless(seeded, emulator, binaries)
    table, dynamodb = seeded.physical_id("TokenTable"), emulator.client("dynamodb", emulator.operator)
    dynamodb.update_table(TableName=table, DeletionProtectionEnabled=False)
    issuer = start(seeded.functions["TokenFunction"])

    def is_active(token: str) -> bool:
        """As a new sandbox says, which remembers nothing."""
        answer = start(seeded.functions["IntrospectFunction"]).call(of_stateless("introspect/active", f"token={token}"))
        assert answer.status == 200, answer
        return bool(answer.json["active"])

    backup = dynamodb.create_backup(TableName=table, BackupName="tokens")["BackupDetails"]["BackupArn"]
    kept, revoked = stateless_jwt(issuer), stateless_jwt(issuer)
    answer = start(seeded.functions["RevokeFunction"]).call(of_stateless("revoke/own", f"token={revoked}"))
    assert answer.status == 200 and is_active(kept) and not is_active(revoked)

    # Brought back from before the revocation, under the name that the stack knows.
    dynamodb.delete_table(TableName=table)
    dynamodb.restore_table_from_backup(TargetTableName=table, BackupArn=backup)
    assert not is_active(revoked) and not is_active(kept)
    issued = stateless_jwt(start(seeded.functions["TokenFunction"]))
    assert is_active(issued) and not is_active(revoked) and not is_active(kept)

    # Emptied.
    for item in dynamodb.scan(TableName=table)["Items"]:
        dynamodb.delete_item(TableName=table, Key={"id": item["id"]})
    assert not is_active(issued)
    assert is_active(stateless_jwt(start(seeded.functions["TokenFunction"]))) and not is_active(issued)


STATELESS = seed.SeededClient("statelessClient", "client_secret_basic", "write")


def register_stateless(stack: Stack, emulator: Emulator, binaries: Path) -> None:
    table, prefix = stack.physical_id("RegistryTable"), stack.parameters["SecretPrefix"]
    operator = seed.operator_environment(emulator.url, emulator.operator, table, prefix)
    scope = ("--scope", STATELESS.scope, "--default-scope", STATELESS.scope)
    seed.register_client(operator, binaries / "grantwell", seed.REALM, STATELESS, (*scope, *seed.STATELESS_JWT))


def of_stateless(name: str, body: str) -> sam.Json:
    form = event(name)
    form["headers"]["authorization"] = f"Basic {STATELESS.basic}"
    return {**form, "body": body, "isBase64Encoded": False}


def ask_stateless() -> sam.Json:
    return of_stateless("token/jwt", "grant_type=client_credentials")


def stateless_jwt(issuer: LambdaRuntime) -> str:
    """In the second in which it is written down since when the table is whole, there is a record of each token."""
    deadline = time.monotonic() + 10
    while not is_stateless(token := str(issuer.call(ask_stateless()).json["access_token"])):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return token


def is_stateless(token: str) -> bool:
    payload = token.split(".")[1]
    jti: str = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["jti"]
    return jti.startswith("stateless.")


@pytest.mark.parametrize("version", ["IntrospectFunction", "TokenFunction", "RevokeFunction"])
def test_of_a_client_secret_only_the_versions_in_use_are_read(
    version: str, seeded: Stack, start: StartFunction, emulator: Emulator
) -> None:
    function = seeded.functions[version]
    for label in ("AWSCURRENT", "AWSPREVIOUS"):
        moved = [
            replace(each, version_stages=("AWSPENDING", label)) if each.sid == "ReadClientSecrets" else each
            for each in function.statements
        ]
        with AwsCalls(emulator, moved) as aws:
            assert_outcome(start(function, endpoint=aws.url), event(WORK[version]), UNAVAILABLE[version])
            (refused,) = set(aws.refused)
            assert {refused.version_stage, label} == {"AWSCURRENT", "AWSPREVIOUS"}


@pytest.mark.parametrize(("name", "action"), pairs(DATA_ACTIONS))
def test_under_motos_iam_without_one_action_the_function_is_unavailable(
    name: str, action: str, seeded: Stack, start: StartFunction, emulator: Emulator
) -> None:
    """The same control by an enforcement that nobody here wrote."""
    function = seeded.functions[name]
    credentials = seeded.credentials_without(function, action)
    assert_outcome(start(function, credentials=credentials), event(WORK[name]), UNAVAILABLE[name])


@pytest.mark.parametrize(("name", "variable"), pairs(REQUIRED_VARIABLES))
def test_without_a_required_variable_a_function_does_not_start(
    name: str, variable: str, seeded: Stack, start: StartFunction
) -> None:
    function = seeded.functions[name]
    environment = {each: value for each, value in function.environment.items() if each != variable}
    with pytest.raises(FunctionFailed) as failed:
        start(function, environment=environment).invoke(event(WORK[name]))
    assert variable in str(failed.value), "the message does not name the missing variable"


@pytest.mark.parametrize(
    ("table", "wrong"),
    [("TokenTable", "token_id"), ("RegistryTable", "tenant")],
)
def test_a_wrong_table_key_is_found(
    table: str,
    wrong: str,
    source: sam.Json,
    emulator: Emulator,
    binaries: Path,
    start: StartFunction,
    registered: Stack,
) -> None:
    """The template's keys are the adapters' keys: rename one in a copy of the template, and no token is issued."""
    changed = copy.deepcopy(source)
    properties = changed["Resources"][table]["Properties"]
    right = properties["KeySchema"][0]["AttributeName"]
    properties["KeySchema"][0]["AttributeName"] = wrong
    for attribute in properties["AttributeDefinitions"]:
        if attribute["AttributeName"] == right:
            attribute["AttributeName"] = wrong
    secrets = {"SecretPrefix": registered.parameters["SecretPrefix"]}
    broken = Stack(emulator, changed, f"broken-{table.lower()}", secrets)
    function = broken.functions["TokenFunction"]
    # The other table is the good stack's, seeded, as the secrets are: the wrong key is the only fault.
    other = "GRANTWELL_TOKEN_TABLE" if table == "RegistryTable" else "GRANTWELL_REGISTRY_TABLE"
    environment = {**function.environment, other: registered.functions["TokenFunction"].environment[other]}
    credentials = broken.credentials(function.role_arn)
    answer = start(function, environment=environment, credentials=credentials).call(event("token/basic"))
    assert answer.status in (500, 503), answer
    assert answer.json["error"] in ("server_error", "temporarily_unavailable")
    assert "access_token" not in answer.json


def test_a_second_stack_with_other_parameters_works_beside_the_first(
    source: sam.Json, emulator: Emulator, binaries: Path, start: StartFunction, registered: Stack
) -> None:
    parameters = {
        "SecretPrefix": "team-second",
        "PublicUrl": "https://as.example.com",
        "Settings": json.dumps({"access_token_lifetime": 120, "default_scope": "read write"}),
    }
    second = Stack(emulator, source, "second", parameters, authorizer={"Scopes": seed.AUTHORIZER_SCOPES})
    reseed(second, emulator, binaries)

    def running(name: str) -> LambdaRuntime:
        function = second.functions[name]
        return start(function, credentials=second.credentials(function.role_arn))

    def call(name: str, given: sam.Json) -> Answer:
        return running(name).call(given)

    answer = call("MetadataFunction", event("metadata/root"))
    assert answer.json["issuer"] == "https://as.example.com/oauth2"
    assert call("TokenFunction", event("token/basic")).status == 200
    # The seeded tokens say that the first stack issued them.
    assert_outcome(running("AuthorizerFunction"), event("authorizer/http-api-v2"), stops("invalid_token"))

    # A client of realm root that says nothing itself gets what the stack's parameters say.
    plain = seed.SeededClient("plainClient", "client_secret_basic", "read write admin")
    seed.register_client(
        seed.operator_environment(
            emulator.url, emulator.operator, second.physical_id("RegistryTable"), second.parameters["SecretPrefix"]
        ),
        binaries / "grantwell",
        "root",
        plain,
        ("--scope", plain.scope),
    )
    asked = event("token/basic-no-scope")
    asked["rawPath"] = asked["requestContext"]["http"]["path"] = "/oauth2/access_token"
    asked["headers"]["authorization"] = f"Basic {plain.basic}"
    answer = call("TokenFunction", asked)
    assert (answer.status, answer.json.get("scope"), answer.json.get("expires_in")) == (200, "read write", 120)
    assert second.outputs["TokenEndpoint"] == "https://as.example.com/am/oauth2/realms/root/realms/alpha/access_token"


@pytest.mark.parametrize(
    ("message", "name", "given"),
    [
        ("token issued", "TokenFunction", "token/basic"),
        ("token introspected", "IntrospectFunction", "introspect/active"),
        ("access allowed", "AuthorizerFunction", "authorizer/http-api-v2"),
    ],
)
def test_a_function_writes_the_line_that_the_saved_queries_read(
    message: str, name: str, given: str, seeded: Stack, start: StartFunction
) -> None:
    """At the level that is logged by default, with what its lines have in common."""
    for path in ("observability.yaml", "authorizer.yaml"):
        (query,) = sam.resources(sam.load(path), "AWS::Logs::QueryDefinition").values()
        reads = f'"{message}"' in query["Properties"]["QueryString"]
        assert reads or (path, name) == ("observability.yaml", "AuthorizerFunction")
    running = start(seeded.functions[name])
    assert_outcome(running, event(given), EXPECTATIONS[given])
    (line,) = [line for line in running.log_lines() if line["message"] == message]
    assert line["level"] == "INFO" and line["audit_tracking_id"]


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ('{"access_token_lifetime":"canary"}', "access_token_lifetime"),
        ('{"access_token_lifetime":0}', "access_token_lifetime"),
        ('{"accessTokenLifetime":120}', "accessTokenLifetime"),
        ('{"access_token_lifetime":120', "GRANTWELL_SETTINGS"),
    ],
)
def test_with_settings_that_are_none_a_function_does_not_start_and_says_which(
    settings: str, named: str, seeded: Stack, start: StartFunction
) -> None:
    function = seeded.functions["TokenFunction"]
    with pytest.raises(FunctionFailed) as failed:
        start(function, environment={**function.environment, "GRANTWELL_SETTINGS": settings}).invoke(event("token/basic"))
    assert named in str(failed.value) and "canary" not in str(failed.value)


def test_a_variable_of_its_own_wins_over_the_settings(seeded: Stack, start: StartFunction) -> None:
    function = seeded.functions["TokenFunction"]
    settings = {"GRANTWELL_SETTINGS": '{"failed_auth_limit":1}'}

    def answers(**own: str) -> list[int]:
        running = start(function, environment={**function.environment, **settings, **own})
        return [running.call(event("token/wrong-secret")).status for _ in range(3)]

    assert answers() == [401, 429, 429]
    assert answers(GRANTWELL_FAILED_AUTH_LIMIT="") == [401, 429, 429]
    assert answers(GRANTWELL_FAILED_AUTH_LIMIT="2") == [401, 401, 429]


def test_what_an_operator_asks_for_is_all_that_roles_get_beyond_their_own_policies(
    stack: Stack, with_everything: Stack
) -> None:
    decrypt, create = ("kms:Decrypt", KMS_KEY), ("kms:GenerateDataKey", KMS_KEY)
    tables, secrets = "dynamodb.us-east-1.amazonaws.com", "secretsmanager.us-east-1.amazonaws.com"
    traces = {("xray:PutTraceSegments", "*", None), ("xray:PutTelemetryRecords", "*", None)}
    for name, function in with_everything.functions.items():
        more = {(each.action, each.resource, each.via) for each in function.statements if each.sid not in sids(stack, name)}
        actions = FUNCTIONS[name].actions
        uses = {(*decrypt, secrets)} if "secretsmanager:GetSecretValue" in actions else set()
        makes = {(*create, secrets)} if actions & {"secretsmanager:CreateSecret", "secretsmanager:PutSecretValue"} else set()
        assert more == {(*decrypt, tables)} | uses | makes | traces, name
        assert sids(stack, name) <= sids(with_everything, name)


def sids(stack: Stack, function: str) -> set[str]:
    return {each.sid for each in stack.functions[function].statements}


def test_roles_are_bounded_where_the_account_demands_it(
    stack: Stack, with_everything: Stack, emulator: Emulator
) -> None:
    iam = emulator.client("iam")
    for function in with_everything.functions.values():
        role = iam.get_role(RoleName=function.role_arn.rsplit("/", 1)[1])["Role"]
        assert role["PermissionsBoundary"]["PermissionsBoundaryArn"] == BOUNDARY
    for function in stack.functions.values():
        assert "PermissionsBoundary" not in iam.get_role(RoleName=function.role_arn.rsplit("/", 1)[1])["Role"]


def test_a_key_of_the_operators_is_told_to_whoever_makes_secrets(stack: Stack, with_everything: Stack) -> None:
    for name in ("TokenFunction", "IntrospectFunction"):
        assert with_everything.functions[name].environment["GRANTWELL_KMS_KEY_ARN"] == KMS_KEY
        assert stack.functions[name].environment["GRANTWELL_KMS_KEY_ARN"] == ""
    exported = f"export GRANTWELL_KMS_KEY_ARN={KMS_KEY}"
    assert exported in with_everything.outputs["ExportBlock"].splitlines()
    assert exported not in stack.outputs["ExportBlock"]
    assert with_everything.authorizer_parameters["KmsKeyArn"] == KMS_KEY


def test_the_secrets_that_the_command_and_a_function_make_are_encrypted_with_the_key(
    with_everything: Stack, start: StartFunction, emulator: Emulator, binaries: Path
) -> None:
    table, prefix = with_everything.physical_id("RegistryTable"), with_everything.parameters["SecretPrefix"]
    plain = seed.operator_environment(emulator.url, emulator.operator, table, prefix)
    scope = ("--scope", "write", "--default-scope", "write", "--access-token-format", "jwt")
    clients = [seed.SeededClient(name, "client_secret_basic", "write") for name in ("ownKey", "noKey")]
    for client, operator in zip(clients, ({**plain, "GRANTWELL_KMS_KEY_ARN": KMS_KEY}, plain), strict=True):
        seed.register_client(operator, binaries / "grantwell", "root", client, scope)
    function = with_everything.functions["TokenFunction"]
    asked = event("token/jwt")
    asked["rawPath"] = asked["requestContext"]["http"]["path"] = "/oauth2/access_token"
    asked["headers"]["authorization"] = f"Basic {clients[0].basic}"
    answer = start(function, credentials=with_everything.credentials(function.role_arn)).call(asked)
    assert answer.status == 200, answer
    secrets = emulator.client("secretsmanager", emulator.operator)
    keys = {
        name: secrets.describe_secret(SecretId=f"{prefix}/root/{name}").get("KmsKeyId")
        for name in ("clients/ownKey", "clients/noKey", "signing-keys")
    }
    assert keys == {"clients/ownKey": KMS_KEY, "clients/noKey": None, "signing-keys": KMS_KEY}


def test_the_secrets_that_the_command_makes_have_the_operators_tags_besides_their_own(
    with_everything: Stack, emulator: Emulator, binaries: Path
) -> None:
    """For the bill, and for accounts whose policies let nobody make anything untagged."""
    table, prefix = with_everything.physical_id("RegistryTable"), with_everything.parameters["SecretPrefix"]
    plain = seed.operator_environment(emulator.url, emulator.operator, table, prefix)
    client = seed.SeededClient("tagged", "client_secret_basic", "write")
    operator = {**plain, "GRANTWELL_SECRET_TAGS": "cost-center=4711,team=identity"}
    seed.register_client(operator, binaries / "grantwell", "root", client, ("--scope", "write", "--default-scope", "write"))
    secrets = emulator.client("secretsmanager", emulator.operator)
    described = secrets.describe_secret(SecretId=f"{prefix}/root/clients/tagged")
    tags = {each["Key"]: each["Value"] for each in described["Tags"]}
    assert tags.pop("grantwell:registry") and tags.pop("grantwell:registration")
    assert tags == {"cost-center": "4711", "team": "identity"}
    refused = subprocess.run(
        [str(binaries / "grantwell"), "client", "list", "--store", "aws"],
        env={**plain, "GRANTWELL_SECRET_TAGS": "canary"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.startswith("error: GRANTWELL_SECRET_TAGS cannot be read: it is a list of tags")
    assert "canary" not in refused.stderr


def test_the_documents_say_how_large_the_item_of_a_token_is(
    seeded: Stack, start: StartFunction, emulator: Emulator
) -> None:
    """As DynamoDB bills it: names and values, a number with a byte for two digits and one more."""
    token = start(seeded.functions["TokenFunction"]).call(event("token/basic")).json["access_token"]
    digest = base64.urlsafe_b64encode(hashlib.sha256(token.encode()).digest()).decode().rstrip("=")
    dynamodb = emulator.client("dynamodb", emulator.operator)
    table = seeded.physical_id("TokenTable")
    item = dynamodb.get_item(TableName=table, Key={"id": {"S": f"token#{digest}"}}, ConsistentRead=True)["Item"]

    def size(value: dict[str, str]) -> int:
        ((kind, text),) = value.items()
        return len(text.encode()) if kind == "S" else len(text.strip("0")) // 2 + 2

    measured = sum(len(name) + size(value) for name, value in item.items())
    said = {
        path: [int(each) for each in re.findall(pattern, (sam.ROOT / path).read_text(encoding="utf-8"))]
        for path, pattern in (
            ("docs/cost.md", r"an ordinary token has (\d+) bytes"),
            ("docs/storage.md", r"An item is about (\d+) bytes"),
        )
    }
    figures = {figure for found in said.values() for figure in found}
    assert all(said.values()) and len(figures) == 1, said
    # A number that ends in zeros is shorter.
    assert abs(figures.pop() - measured) <= 10, f"{measured} bytes: {item}"


def test_the_policy_evaluation_of_these_tests_is_strict() -> None:
    """The checker itself: a wrong action, table, region or prefix must not pass."""
    table = "arn:aws:dynamodb:us-east-1:123456789012:table/grantwell-TokenTable-1"
    read = Statement("Read", "dynamodb:GetItem", table)
    assert allows(read, Call("dynamodb:GetItem", table))
    assert not allows(read, Call("dynamodb:PutItem", table))
    assert not allows(read, Call("dynamodb:GetItem", table + "2"))
    assert not allows(read, Call("dynamodb:GetItem", table.replace("us-east-1", "eu-west-1")))
    publish = Statement("Publish", "dynamodb:PutItem", table, leading_keys=("keys#*",))
    assert allows(publish, Call("dynamodb:PutItem", table, "keys#alpha"))
    mark = Statement("Mark", "dynamodb:UpdateItem", table, leading_keys=("token#*",), attributes=frozenset({"id", "version"}))
    for attributes, may in (({"id", "version"}, True), ({"id"}, True), ({"id", "version", "expires_at"}, False)):
        call = Call("dynamodb:UpdateItem", table, "token#x", attributes=frozenset(attributes))
        assert allows(mark, call) is may, attributes
    for key in ("alpha", "root", "keys", "xkeys#alpha", None):
        assert not allows(publish, Call("dynamodb:PutItem", table, key)), key
    secret = "arn:aws:secretsmanager:us-east-1:123456789012:secret:grantwell/"
    secrets = Statement("Secrets", "secretsmanager:GetSecretValue", secret + "*/clients/*")
    assert allows(secrets, Call("secretsmanager:GetSecretValue", secret + "alpha/clients/myClient-AbCdEf"))
    assert not allows(secrets, Call("secretsmanager:GetSecretValue", secret + "alpha/signing-keys-AbCdEf"))
    assert not allows(
        secrets, Call("secretsmanager:GetSecretValue", secret.replace("grantwell", "other") + "a/clients/b")
    )


def test_no_function_gives_a_secret_that_has_a_tag_another(seeded: Stack) -> None:
    """The checker itself, on the stack's own statements."""
    tag, other = "grantwell:registry", "grantwell:registration"
    arn = "arn:aws:secretsmanager:us-east-1:123456789012:secret:grantwell/alpha/"
    makers = ("TokenFunction", "IntrospectFunction", "IamFunction")
    for name in makers:
        (statement,) = [s for s in seeded.functions[name].statements if s.action == "secretsmanager:TagResource"]

        def may(keys: str, asked: dict[str, str], has: dict[str, str], statement: Statement = statement) -> bool:
            tags = {"request_tags": tuple(asked.items()), "resource_tags": tuple(has.items())}
            return allows(statement, Call("secretsmanager:TagResource", arn + keys, **tags))

        assert may("signing-keys", {tag: "ours"}, {})
        assert may("signing-keys-AbCdEf", {tag: "ours"}, {tag: "ours"})
        assert not may("signing-keys-AbCdEf", {tag: "ours"}, {tag: "theirs"})
        assert not may("signing-keys", {tag: "ours", other: "ours"}, {})
        assert not may("signing-keys", {other: "ours"}, {})
        assert not may("signing-keys", {}, {})
        assert not may("clients/myClient-AbCdEf", {tag: "ours"}, {})
    others = seeded.functions.keys() - {*makers}
    actions = {s.action for each in others for s in seeded.functions[each].statements}
    assert not actions & {"secretsmanager:TagResource", "secretsmanager:UntagResource", "secretsmanager:CreateSecret"}


def test_moto_enforces_iam_in_this_run(seeded: Stack, emulator: Emulator) -> None:
    """The controls above mean something only while the emulator refuses: a role may not do what it was not given."""
    role = seeded.credentials(seeded.functions["MetadataFunction"].role_arn)
    dynamodb = emulator.client("dynamodb", role)
    dynamodb.get_item(
        TableName=seeded.physical_id("RegistryTable"), Key={"realm": {"S": "root"}, "item": {"S": "realm#alpha"}}
    )
    with pytest.raises(dynamodb.exceptions.ClientError, match="AccessDenied"):
        dynamodb.scan(TableName=seeded.physical_id("RegistryTable"))


def test_answer_reading_refuses_what_api_gateway_would(seeded: Stack) -> None:
    for payload in ({}, {"statusCode": "200"}, {"statusCode": 200, "headers": {"a": None}}, "text"):
        with pytest.raises(FunctionFailed):
            Answer.from_payload(payload)
