"""Static rules of template.yaml, observability.yaml and authorizer.yaml: what moto and the translator would let pass."""

from __future__ import annotations

import json
import re
import tomllib

import pytest

import seed
import tables
import template as sam
from expectations import FUNCTIONS, PREFIX, Grant

# The code's own route table, so that the template cannot drift from it.
ROUTES = {name: tables.paths(*row.endpoints) for name, row in FUNCTIONS.items() if row.endpoints}
# In the order of the template; the last one is the authorizer's, which has a template of its own.
NAMES = list(FUNCTIONS)


@pytest.fixture(scope="module")
def translated(source: sam.Json) -> sam.Json:
    return sam.translate(source)


@pytest.fixture(scope="module")
def authorizer_source() -> sam.Json:
    return sam.load("authorizer.yaml")


@pytest.fixture(scope="module")
def authorizer(authorizer_source: sam.Json) -> sam.Json:
    return sam.translate(authorizer_source)


@pytest.fixture(scope="module")
def everything(translated: sam.Json, authorizer: sam.Json) -> sam.Json:
    """The resources of both templates that have functions. Of those that are optional, each has its own."""
    both = translated["Resources"].keys() & authorizer["Resources"].keys()
    assert both == {"TableKeyPolicy", "TracePolicy"}
    return {"Resources": {**authorizer["Resources"], **translated["Resources"]}}


@pytest.fixture(scope="module")
def observability() -> sam.Json:
    return sam.load("observability.yaml")


def test_every_function_binary_of_the_package_is_a_function_and_the_reverse(
    source: sam.Json, authorizer_source: sam.Json
) -> None:
    package = tomllib.loads((sam.ROOT / "Cargo.toml").read_text(encoding="utf-8"))
    built = {each["name"] for each in package["bin"] if "aws" in each.get("required-features", [])}
    functions = [*sam.functions(source), *sam.functions(authorizer_source)]
    deployed = {function.binary: function.logical_id for function in functions}
    assert built == deployed.keys()
    assert deployed == {name: f"{name.capitalize()}Function" for name in built}


def test_the_functions_are_the_ones_that_these_tests_know(source: sam.Json, authorizer_source: sam.Json) -> None:
    assert [function.logical_id for function in sam.functions(source)] == NAMES[:-1]
    assert [function.logical_id for function in sam.functions(authorizer_source)] == NAMES[-1:]


def test_the_template_asks_for_no_more_than_twelve_parameters(source: sam.Json) -> None:
    """`sam deploy --guided` asks each of everybody; what one function reads alone is a member of Settings."""
    assert list(source["Parameters"]) == [
        *("Architecture", "PublicUrl", "Front", "SecretPrefix", "LogRetentionDays", "AlarmTopicArn", "Metrics", "Throttle"),
        *("PermissionsBoundary", "KmsKeyArn", "ReservedConcurrency", "Settings"),
    ]


def test_no_function_has_an_event_of_the_api_which_a_guided_deployment_would_ask_about(source: sam.Json) -> None:
    """ "TokenFunction has no authentication. Is this okay?", once for each event of the types Api and HttpApi."""
    events = [event for each in sam.functions(source) for event in each.resource["Properties"].get("Events", {}).values()]
    assert [each["Type"] for each in events] == ["Schedule"]


def test_the_api_may_call_each_function_that_has_a_route_and_no_other(translated: sam.Json) -> None:
    everything = sam.resources(translated, "AWS::Lambda::Permission")
    permissions = [each["Properties"] for name, each in everything.items() if not name.startswith("Iam")]
    arn = "arn:${AWS::Partition}:execute-api:${AWS::Region}:${AWS::AccountId}:${Api}/*"
    assert [each for each in permissions if each["Principal"] == "apigateway.amazonaws.com"] == [
        {
            "FunctionName": {"Fn::GetAtt": [function, "Arn"]},
            "Action": "lambda:InvokeFunction",
            "Principal": "apigateway.amazonaws.com",
            "SourceArn": {"Fn::Sub": arn},
        }
        for function in ROUTES
    ]


def test_the_routes_are_exactly_the_documented_ones_for_any_method(translated: sam.Json) -> None:
    found: dict[str, set[str]] = {}
    for route in sam.routes(translated):
        assert (route.method, route.payload_format) == ("ANY", "2.0"), route
        found.setdefault(route.function, set()).add(route.path)
    assert found == ROUTES


@pytest.mark.parametrize("logical_id", NAMES)
def test_a_function_is_built_and_limited_as_designed(everything: sam.Json, logical_id: str) -> None:
    assert everything["Resources"][logical_id]["Metadata"]["BuildMethod"] == "rust-cargolambda"
    properties = everything["Resources"][logical_id]["Properties"]
    assert properties["Runtime"] == "provided.al2023"
    assert properties["Handler"] == "bootstrap"
    assert properties["Architectures"] == [{"Ref": "Architecture"}]
    if logical_id == "RotateFunction":
        # Nobody waits for it: a step of Secrets Manager, or a schedule over many realms.
        assert 30 <= properties["Timeout"] <= 300
    else:
        # HTTP API gives up after 30 s and an authorizer after 10: the function must fail by itself before.
        assert 5 <= properties["Timeout"] < 10
    log_group = logical_id.replace("Function", "LogGroup")
    # Lambda would drop what is below a level of its own; the function's is in its settings. Of its own lines failures are enough.
    levels = {"ApplicationLogLevel": "TRACE", "SystemLogLevel": "WARN"}
    assert properties["LoggingConfig"] == {"LogFormat": "JSON", **levels, "LogGroup": {"Ref": log_group}}
    assert properties["Role"] == {"Fn::GetAtt": [logical_id.replace("Function", "Role"), "Arn"]}


@pytest.mark.parametrize("name", NAMES)
def test_a_role_grants_single_actions_on_single_resources_and_no_more(everything: sam.Json, name: str) -> None:
    role = everything["Resources"][name.replace("Function", "Role")]["Properties"]
    assert "ManagedPolicyArns" not in role
    assert role["PermissionsBoundary"] == given_else_nothing("HasBoundary", "PermissionsBoundary")
    assert role["AssumeRolePolicyDocument"]["Statement"] == [
        {
            "Effect": "Allow",
            "Principal": {"Service": "lambda.amazonaws.com"},
            "Action": "sts:AssumeRole",
            "Condition": {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}},
        }
    ]
    (policy,) = role["Policies"]
    granted: list[Grant] = []
    for statement in policy["PolicyDocument"]["Statement"]:
        assert statement.keys() - {"Condition"} == {"Sid", "Effect", "Action", "Resource"}
        assert statement["Effect"] == "Allow"
        assert re.fullmatch(r"[a-z]+:[A-Za-z]+", statement["Action"]), statement
        assert isinstance(statement["Resource"], dict), f"a literal or a list of resources: {statement}"
        granted.append((statement["Sid"], statement["Action"], statement["Resource"], statement.get("Condition")))
    own_logs = {"Fn::GetAtt": [name.replace("Function", "LogGroup"), "Arn"]}
    logs: list[Grant] = [
        ("OpenLogStream", "logs:CreateLogStream", own_logs, None),
        ("WriteLog", "logs:PutLogEvents", own_logs, None),
    ]
    assert granted == FUNCTIONS[name].grants + logs


def given_else_nothing(condition: str, parameter: str) -> sam.Json:
    return {"Fn::If": [condition, {"Ref": parameter}, {"Ref": "AWS::NoValue"}]}


# What roles get beyond their own policy, by the condition of a parameter: whose, and (action, resource, the service through which alone).
KEY: sam.Json = {"Ref": "KmsKeyArn"}
TRACES = [("xray:PutTraceSegments", "*", None), ("xray:PutTelemetryRecords", "*", None)]


def roles(names: list[str], *actions: str) -> list[str]:
    """Whose functions have one of these actions; all of them where none is named."""
    chosen = [name for name in names if not actions or FUNCTIONS[name].actions & {*actions}]
    return [name.removesuffix("Function") for name in chosen]


USES, MAKES = "secretsmanager:GetSecretValue", ("secretsmanager:CreateSecret", "secretsmanager:PutSecretValue")
OPTIONAL_POLICIES: dict[str, dict[str, tuple[str, list[str], list[tuple[str, object, str | None]]]]] = {
    "template.yaml": {
        "TableKeyPolicy": ("HasKmsKey", roles(NAMES[:-1]), [("kms:Decrypt", KEY, "dynamodb")]),
        "SecretKeyPolicy": ("HasKmsKey", roles(NAMES[:-1], USES), [("kms:Decrypt", KEY, "secretsmanager")]),
        "NewSecretKeyPolicy": ("HasKmsKey", roles(NAMES[:-1], *MAKES), [("kms:GenerateDataKey", KEY, "secretsmanager")]),
        # The one exception to single resources: X-Ray's actions cannot be restricted to any.
        "TracePolicy": ("IsTraced", roles(NAMES[:-1]), TRACES),
    },
    "authorizer.yaml": {
        "TableKeyPolicy": ("HasKmsKey", roles(NAMES[-1:]), [("kms:Decrypt", KEY, "dynamodb")]),
        "TracePolicy": ("IsTraced", roles(NAMES[-1:]), TRACES),
    },
}


def test_there_is_no_role_but_one_per_function(everything: sam.Json) -> None:
    assert sam.resources(everything, "AWS::IAM::Role").keys() == {name.replace("Function", "Role") for name in NAMES}
    for kind in ("AWS::IAM::ManagedPolicy", "AWS::IAM::RolePolicy"):
        assert not sam.resources(everything, kind)


@pytest.mark.parametrize("path", OPTIONAL_POLICIES)
def test_beyond_its_own_policy_a_role_gets_only_what_a_parameter_asks_for(path: str) -> None:
    template = sam.translate(sam.load(path))
    found: dict[str, tuple[str, list[str], list[tuple[str, object, str | None]]]] = {}
    for name, policy in sam.resources(template, "AWS::IAM::Policy").items():
        granted: list[tuple[str, object, str | None]] = []
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]:
            service = None
            if condition := statement.get("Condition"):
                service = condition["StringEquals"]["kms:ViaService"]["Fn::Sub"].split(".", 1)[0]
                via = {"Fn::Sub": f"{service}.${{AWS::Region}}.amazonaws.com"}
                assert condition == {"StringEquals": {"kms:ViaService": via}}
            granted.append((statement["Action"], statement["Resource"], service))
        # What is there on a condition is among them on the same one.
        present = [each["Fn::If"][1] if each.get("Fn::If", [None])[0] == "HasIam" else each for each in policy["Properties"]["Roles"]]
        roles = [each["Ref"].removesuffix("Role") for each in present]
        found[name] = (policy["Condition"], roles, granted)
    assert found == OPTIONAL_POLICIES[path]
    conditions = template["Conditions"]
    assert conditions["HasKmsKey"] == {"Fn::Not": [{"Fn::Equals": [{"Ref": "KmsKeyArn"}, ""]}]}
    assert conditions["HasBoundary"] == {"Fn::Not": [{"Fn::Equals": [{"Ref": "PermissionsBoundary"}, ""]}]}


def test_a_key_of_the_operators_encrypts_tables_logs_and_the_secrets_that_functions_make(everything: sam.Json) -> None:
    key = given_else_nothing("HasKmsKey", "KmsKeyArn")
    for table in sam.resources(everything, "AWS::DynamoDB::Table").values():
        assert table["Properties"]["SSESpecification"] == {"SSEEnabled": True, "SSEType": "KMS", "KMSMasterKeyId": key}
    groups = sam.resources(everything, "AWS::Logs::LogGroup")
    assert len(groups) == len(FUNCTIONS) + 1
    for group in groups.values():
        assert group["Properties"]["KmsKeyId"] == key
    for name in FUNCTIONS:
        variables = everything["Resources"][name]["Properties"]["Environment"]["Variables"]
        makes = "secretsmanager:CreateSecret" in FUNCTIONS[name].actions
        assert variables.get("GRANTWELL_KMS_KEY_ARN") == ({"Ref": "KmsKeyArn"} if makes else None), name


def test_only_secrets_manager_of_this_account_and_the_daily_schedule_invoke_the_rotation(translated: sam.Json) -> None:
    permissions = sam.resources(translated, "AWS::Lambda::Permission").values()
    allowed = [p["Properties"] for p in permissions if "RotateFunction" in json.dumps(p["Properties"]["FunctionName"])]
    by_principal = {each["Principal"]: each for each in allowed}
    assert by_principal.keys() == {"secretsmanager.amazonaws.com", "events.amazonaws.com"}
    # Its docs want both: the account alone would let any secret of it name this function.
    secrets = by_principal["secretsmanager.amazonaws.com"]
    assert secrets["SourceAccount"] == {"Ref": "AWS::AccountId"}
    arn = "arn:${AWS::Partition}:secretsmanager:${AWS::Region}:${AWS::AccountId}:secret:${Prefix}/*"
    assert secrets["SourceArn"] == {"Fn::Sub": [arn, {"Prefix": PREFIX}]}
    ((rule_id, rule),) = sam.resources(translated, "AWS::Events::Rule").items()
    assert rule["Properties"]["ScheduleExpression"] == "rate(1 day)"
    assert by_principal["events.amazonaws.com"]["SourceArn"] == {"Fn::GetAtt": [rule_id, "Arn"]}


def test_a_daily_rotation_that_failed_is_kept_wherever_it_failed(translated: sam.Json) -> None:
    """In Lambda after its attempts, which its role has to be allowed, or in EventBridge before them, which the queue has to allow."""
    queue = {"Fn::GetAtt": ["ScheduleFailures", "Arn"]}
    ((_, invoked),) = sam.resources(translated, "AWS::Lambda::EventInvokeConfig").items()
    assert invoked["Properties"]["FunctionName"] == {"Ref": "RotateFunction"}
    assert invoked["Properties"]["DestinationConfig"] == {"OnFailure": {"Destination": queue}}
    ((rule_id, rule),) = sam.resources(translated, "AWS::Events::Rule").items()
    (target,) = rule["Properties"]["Targets"]
    assert target["DeadLetterConfig"] == {"Arn": queue}
    (policy,) = sam.resources(translated, "AWS::SQS::QueuePolicy").values()
    assert policy["Properties"]["Queues"] == [{"Ref": "ScheduleFailures"}]
    (statement,) = policy["Properties"]["PolicyDocument"]["Statement"]
    assert statement == {
        "Sid": "KeepUndeliveredEvents",
        "Effect": "Allow",
        "Principal": {"Service": "events.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": queue,
        "Condition": {"ArnEquals": {"aws:SourceArn": {"Fn::GetAtt": [rule_id, "Arn"]}}},
    }
    assert sam.resources(translated, "AWS::SQS::Queue")["ScheduleFailures"]["Properties"]["SqsManagedSseEnabled"] is True


@pytest.mark.parametrize(
    ("partition", "region", "console"),
    [
        ("aws", "eu-west-1", "eu-west-1.console.aws.amazon.com"),
        ("aws-cn", "cn-north-1", "cn-north-1.console.amazonaws.cn"),
        ("aws-us-gov", "us-gov-west-1", "console.amazonaws-us-gov.com"),
    ],
)
def test_the_dashboards_address_is_that_of_the_partitions_console(
    source: sam.Json, partition: str, region: str, console: str
) -> None:
    conditions = {
        name: value["Fn::Equals"][1] == partition
        for name, value in source["Conditions"].items()
        if value.get("Fn::Equals", [None])[0] == {"Ref": "AWS::Partition"}
    }

    def of(value: object) -> str:
        match value:
            case {"Fn::If": [condition, yes, no]}:
                return of(yes if conditions[condition] else no)
            case {"Fn::Sub": [text, {"Console": host}]}:
                return of({"Fn::Sub": text.replace("${Console}", of(host))})
            case {"Fn::Sub": text}:
                return text.replace("${AWS::Region}", region).replace("${AWS::StackName}", "grantwell")
        assert isinstance(value, str)
        return value

    address = of(source["Outputs"]["DashboardUrl"]["Value"])
    assert address == f"https://{console}/cloudwatch/home?region={region}#dashboards:name=grantwell"


def test_the_outputs_name_what_the_stack_made(translated: sam.Json, authorizer: sam.Json) -> None:
    """For scripts: the functions to invoke, the tables to read, the API to map a domain to."""
    outputs = {name: each["Value"] for name, each in translated["Outputs"].items()}
    for name in NAMES[:-1]:
        assert outputs[f"{name}Name"] == {"Ref": name}
    assert outputs["ApiId"] == {"Ref": "Api"}
    assert (outputs["RegistryTableName"], outputs["TokenTableName"]) == ({"Ref": "RegistryTable"}, {"Ref": "TokenTable"})
    assert outputs["ScheduleFailuresUrl"] == {"Ref": "ScheduleFailures"}
    assert authorizer["Outputs"]["AuthorizerFunctionName"]["Value"] == {"Ref": "AuthorizerFunction"}


def test_the_registry_can_be_recovered_and_outlives_the_stack(translated: sam.Json) -> None:
    table = translated["Resources"]["RegistryTable"]
    assert (table["DeletionPolicy"], table["UpdateReplacePolicy"]) == ("Retain", "Retain")
    properties = table["Properties"]
    assert properties["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    assert properties["DeletionProtectionEnabled"] is True
    # By an attribute that lines of the admin log alone have: test_admin_log.py looks at what is stored.
    assert properties["TimeToLiveSpecification"] == {"AttributeName": "log_expires_at", "Enabled": True}
    assert properties["KeySchema"] == [
        {"AttributeName": "realm", "KeyType": "HASH"},
        {"AttributeName": "item", "KeyType": "RANGE"},
    ]


def test_the_token_table_outlives_the_stack_and_drops_expired_items(translated: sam.Json) -> None:
    """Losing it ends every token, and a backup of it would bring revoked ones back."""
    table = translated["Resources"]["TokenTable"]
    assert (table["DeletionPolicy"], table["UpdateReplacePolicy"]) == ("Retain", "Retain")
    properties = table["Properties"]
    assert properties["DeletionProtectionEnabled"] is True
    assert "PointInTimeRecoverySpecification" not in properties
    assert properties["TimeToLiveSpecification"] == {"AttributeName": "expires_at", "Enabled": True}
    assert properties["KeySchema"] == [{"AttributeName": "id", "KeyType": "HASH"}]


def test_the_tables_that_a_new_stack_imports_are_the_ones_that_it_then_has(translated: sam.Json) -> None:
    kept = sam.load("examples/retained-tables/template.yaml")
    assert kept["Resources"] == sam.resources(translated, "AWS::DynamoDB::Table")
    assert kept["Conditions"]["HasKmsKey"] == translated["Conditions"]["HasKmsKey"]
    same = kept["Parameters"]["KmsKeyArn"].keys() - {"Description"}
    for each in same:
        assert kept["Parameters"]["KmsKeyArn"][each] == translated["Parameters"]["KmsKeyArn"][each]


def test_a_runbook_compares_a_number_of_the_access_log_as_a_number_and_a_text_as_a_text(translated: sam.Json) -> None:
    """CloudWatch compares a number with a JSON number only: of a quoted one the filter finds nothing, and says so to nobody."""
    stage = stage_of_the_api(translated)
    written = json.dumps(stage["Properties"]["AccessLogSettings"])
    operations = (sam.ROOT / "docs/operations.md").read_text(encoding="utf-8")
    filters = re.findall(r"/aws/vendedlogs/apis/[^`]*--filter-pattern '\{ ([^}]+) \}'", operations)
    assert filters
    for each in filters:
        compared = re.fullmatch(r"\$\.(\w+) (=|!=|>=|<=|>|<) (.+)", each)
        assert compared, each
        field, operator, value = compared.groups()
        found = re.search(rf'\\"{field}\\":(\\")?\$context', written)
        assert found, f"the access log has no {field}"
        is_text = operator in ("=", "!=") and value.startswith('"')
        assert is_text == bool(found[1]), f"the access log has {field} in another form: {each}"


def test_every_table_is_encrypted_and_billed_by_request(translated: sam.Json) -> None:
    tables = sam.resources(translated, "AWS::DynamoDB::Table")
    assert tables.keys() == {"RegistryTable", "TokenTable"}
    for table in tables.values():
        assert table["Properties"]["SSESpecification"]["SSEEnabled"] is True
        assert table["Properties"]["BillingMode"] == "PAY_PER_REQUEST"
        # A generated name: a named table could not be replaced, and two stacks would collide.
        assert "TableName" not in table["Properties"]


def test_every_log_group_has_a_retention(everything: sam.Json) -> None:
    groups = sam.resources(everything, "AWS::Logs::LogGroup")
    assert groups.keys() == {"ApiLogGroup", *(name.replace("Function", "LogGroup") for name in NAMES)}
    for name, group in groups.items():
        parameter: sam.Json = {"Ref": "LogRetentionDays"}
        first, joined = {"Fn::Select": [0, parameter]}, {"Fn::Join": [",", parameter]}
        second = {"Fn::Select": [1, {"Fn::Split": [",", {"Fn::Join": [",", [joined, "1"]]}]}]}
        expected = parameter if name == "AuthorizerLogGroup" else second if name == "ApiLogGroup" else first
        assert group["Properties"]["RetentionInDays"] == expected, name


def test_the_api_writes_an_access_log_only_where_an_operator_says_how_long_it_is_kept(translated: sam.Json) -> None:
    """The functions' own lines say what it says; each line is paid for."""
    parameter: sam.Json = {"Ref": "LogRetentionDays"}
    assert translated["Parameters"]["LogRetentionDays"]["Default"] == "90"
    assert translated["Conditions"]["HasAccessLog"] == {
        "Fn::Not": [{"Fn::Equals": [{"Fn::Select": [0, parameter]}, {"Fn::Join": [",", parameter]}]}]
    }
    assert translated["Resources"]["ApiLogGroup"]["Condition"] == "HasAccessLog"
    stage = stage_of_the_api(translated)
    condition, _, otherwise = stage["Properties"]["AccessLogSettings"]["Fn::If"]
    assert (condition, otherwise) == ("HasAccessLog", {"Ref": "AWS::NoValue"})


def test_the_api_is_throttled_and_each_route_of_tokens_and_introspection_by_itself(translated: sam.Json) -> None:
    stage = stage_of_the_api(translated)
    assert stage["Properties"]["StageName"] == "$default"
    assert stage["Properties"]["DefaultRouteSettings"] == throttle(4)
    # The keys are the routes' own, or API Gateway would refuse the stage: for no route may one be missing or left over.
    own = {f"ANY {path}": throttle(0) for path in ROUTES["TokenFunction"]}
    own |= {f"ANY {path}": throttle(2) for path in ROUTES["IntrospectFunction"]}
    assert stage["Properties"]["RouteSettings"] == own


def stage_of_the_api(translated: sam.Json) -> sam.Json:
    """The door for roles of AWS may have an API of its own."""
    (stage,) = (each for name, each in sam.resources(translated, "AWS::ApiGatewayV2::Stage").items() if name != "IamStage")
    return stage


def throttle(first: int) -> sam.Json:
    """The rate at this place of the parameter, and the burst behind it."""
    return {
        "ThrottlingBurstLimit": {"Fn::Select": [first + 1, {"Ref": "Throttle"}]},
        "ThrottlingRateLimit": {"Fn::Select": [first, {"Ref": "Throttle"}]},
    }


def test_a_flood_of_every_other_route_leaves_introspection_its_share_of_the_accounts_quota(source: sam.Json) -> None:
    """10,000 requests a second of all APIs together, in most regions (API Gateway quotas, 2026-11)."""
    limits = [int(each) for each in source["Parameters"]["Throttle"]["Default"].split(",")]
    token, introspect, other = limits[::2]
    assert len(limits) == 6 and all(rate <= burst for rate, burst in zip(limits[::2], limits[1::2], strict=True))
    others = [path for function, paths in ROUTES.items() for path in paths if function != "IntrospectFunction"]
    tokens = len(ROUTES["TokenFunction"])
    flood = tokens * token + (len(others) - tokens) * other
    assert flood + introspect <= 10_000


@pytest.mark.parametrize(("place", "logical_id"), list(enumerate(NAMES[:-1])))
def test_a_functions_concurrency_is_reserved_only_where_the_operator_says_so(
    source: sam.Json, translated: sam.Json, place: int, logical_id: str
) -> None:
    name = logical_id.removesuffix("Function")
    reserved = translated["Resources"][logical_id]["Properties"]["ReservedConcurrentExecutions"]
    given: sam.Json = {"Ref": "ReservedConcurrency"}
    own: sam.Json = {"Fn::Select": [place, given]}
    if logical_id == "IamFunction":
        # Stacks from before it say nothing of it.
        own = {"Fn::Select": [place, {"Fn::Split": [",", {"Fn::Join": [",", [{"Fn::Join": [",", given]}, "none"]]}]}]}
    assert reserved == {"Fn::If": [f"Reserves{name}", own, {"Ref": "AWS::NoValue"}]}
    assert translated["Conditions"][f"Reserves{name}"] == {"Fn::Not": [{"Fn::Equals": [own, "none"]}]}
    # Lambda refuses what leaves fewer than 100 unreserved, and a new account has 10.
    assert source["Parameters"]["ReservedConcurrency"]["Default"].split(",") == ["none"] * (len(FUNCTIONS) - 2)


def test_the_authorizers_concurrency_is_reserved_only_where_the_operator_says_so(
    authorizer: sam.Json, authorizer_source: sam.Json
) -> None:
    reserved = authorizer["Resources"]["AuthorizerFunction"]["Properties"]["ReservedConcurrentExecutions"]
    assert reserved == given_else_nothing("IsReserved", "ReservedConcurrency")
    unless = {"Fn::Equals": [{"Ref": "ReservedConcurrency"}, "none"]}
    assert authorizer["Conditions"]["IsReserved"] == {"Fn::Not": [unless]}
    assert authorizer_source["Parameters"]["ReservedConcurrency"]["Default"] == "none"


def test_every_function_is_given_the_settings(everything: sam.Json) -> None:
    for name in FUNCTIONS:
        variables = everything["Resources"][name]["Properties"]["Environment"]["Variables"]
        assert variables["GRANTWELL_SETTINGS"] == {"Ref": "Settings"}


def test_every_function_with_a_route_is_told_what_stands_in_front_and_no_other(everything: sam.Json) -> None:
    for name in FUNCTIONS:
        variables = everything["Resources"][name]["Properties"]["Environment"]["Variables"]
        front = {"Fn::Select": [0, {"Fn::Split": ["+", {"Ref": "Front"}]}]}
        assert variables.get("GRANTWELL_FRONT") == (front if name in ROUTES else None), name


def test_a_custom_domain_closes_the_apis_own_address_and_nothing_else_does(source: sam.Json, translated: sam.Json) -> None:
    assert source["Parameters"]["Front"]["Default"] == "none"
    api = translated["Resources"]["Api"]
    (server,) = api["Properties"]["Body"]["servers"]
    closes = {"disableExecuteApiEndpoint": {"Fn::If": ["HasCustomDomain", True, False]}}
    assert server == {"x-amazon-apigateway-endpoint-configuration": closes}
    front = {"Fn::Select": [0, {"Fn::Split": ["+", {"Ref": "Front"}]}]}
    assert translated["Conditions"]["HasCustomDomain"] == {"Fn::Equals": [front, "custom-domain"]}


def test_a_front_without_a_name_and_cloudfront_without_any_settings_are_refused(translated: sam.Json) -> None:
    def given(parameter: str, value: str) -> sam.Json:
        return {"Fn::Equals": [{"Ref": parameter}, value]}

    rules = {
        json.dumps(rule["RuleCondition"]): [each["Assert"] for each in rule["Assertions"]]
        for rule in translated["Rules"].values()
    }

    def one_of(*fronts: str) -> str:
        known = [f"{front}{door}" for front in fronts for door in ("", "+iam-url", "+iam-api")]
        return json.dumps({"Fn::Contains": [known, {"Ref": "Front"}]})

    assert rules == {
        one_of("custom-domain", "cloudfront"): [{"Fn::Not": [given("PublicUrl", "")]}],
        one_of("cloudfront"): [{"Fn::Not": [given("Settings", "{}")]}],
    }


def test_the_access_log_names_safe_fields_only(translated: sam.Json) -> None:
    """An allow-list: a path, a query, a header or a user agent is where a clumsy client leaves its credential."""
    stage = stage_of_the_api(translated)
    written = stage["Properties"]["AccessLogSettings"]["Fn::If"][1]["Format"]
    named = set(re.findall(r"\$[A-Za-z.{}]+", written))
    assert named == {
        "$context.requestId",
        "$context.requestTimeEpoch",
        "$context.identity.sourceIp",
        "$context.httpMethod",
        "$context.routeKey",
        "$context.protocol",
        "$context.status",
        "$context.responseLength",
        "$context.responseLatency",
        "$context.integration.status",
        "$context.integration.latency",
        "$context.integration.requestId",
        "$context.error.responseType",
    }
    # One JSON object, in which the status alone is a number: filters compare it, and every answer has one.
    line = json.loads(re.sub(r'(?<=":)\$context\.status(?=,)', "503", written))
    assert line["status"] == 503 and all(value.startswith("$context.") for name, value in line.items() if name != "status")


def test_the_prefix_of_the_secrets_is_the_stacks_name_unless_the_operator_says_another(
    source: sam.Json, translated: sam.Json
) -> None:
    assert source["Parameters"]["SecretPrefix"]["Default"] == ""
    assert translated["Conditions"]["HasSecretPrefix"] == {"Fn::Not": [{"Fn::Equals": [{"Ref": "SecretPrefix"}, ""]}]}
    functions = sam.resources(translated, "AWS::Lambda::Function").values()
    told = [f["Properties"]["Environment"]["Variables"].get("GRANTWELL_SECRET_PREFIX") for f in functions]
    assert [each for each in told if each is not None] == [PREFIX] * 5
    # Whatever else would name the parameter would be empty by default.
    assert json.dumps(translated).count('"SecretPrefix"') == json.dumps(translated).count(json.dumps(PREFIX)) + 2
    assert "${SecretPrefix}" not in json.dumps(translated)


# ---- the door for roles of AWS ----

DOOR = ("IamFunction", "IamRole", "IamLogGroup", "IamFunctionName", "IamBaseUrl")
BY_URL = ("IamUrl", "IamUrlPermission", "IamInvokePermission")
BY_API = ("IamApi", "IamIntegration", "IamRoute", "IamStage", "IamApiPermission")


def resolved(value: object, given: dict[str, str], conditions: sam.Json) -> object:
    """What CloudFormation makes of the functions that the door's conditions and permissions are written with."""

    def of(each: object) -> object:
        return resolved(each, given, conditions)

    match value:
        case {"Ref": name}:
            return given.get(name, name)
        case {"Condition": name}:
            return of(conditions[name])
        case {"Fn::Equals": [one, other]}:
            return of(one) == of(other)
        case {"Fn::Not": [one]}:
            return not of(one)
        case {"Fn::Or": ones}:
            return any(of(one) for one in ones)
        case {"Fn::If": [name, yes, no]}:
            return of(yes if of(conditions[name]) else no)
        case {"Fn::Join": [between, parts]}:
            return between.join(str(of(part)) for part in parts)
        case {"Fn::Split": [between, text]}:
            return str(of(text)).split(between)
        case {"Fn::Select": [place, parts]}:
            chosen = of(parts)
            assert isinstance(chosen, list)
            return chosen[place]
    return value


@pytest.mark.parametrize(
    ("front", "there", "principal", "organization"),
    [
        ("none", [], None, None),
        ("custom-domain", [], None, None),
        ("none+iam-url", [*DOOR, *BY_URL], "AWS::AccountId", "AWS::NoValue"),
        ("cloudfront+iam-url+o-a1b2c3d4e5", [*DOOR, *BY_URL], "*", "o-a1b2c3d4e5"),
        ("none+iam-api", [*DOOR, *BY_API], None, None),
    ],
)
def test_the_door_for_roles_is_off_unless_front_names_it_and_open_to_whom_front_names(
    translated: sam.Json, front: str, there: list[str], principal: str | None, organization: str | None
) -> None:
    conditions, given = translated["Conditions"], {"Front": front}
    everything = {**translated["Resources"], **translated["Outputs"]}
    own = {name: each for name, each in everything.items() if name.startswith("Iam")}
    assert own.keys() == {*DOOR, *BY_URL, *BY_API}
    assert [name for name, each in own.items() if resolved({"Condition": each["Condition"]}, given, conditions)] == [
        name for name in own if name in there
    ]
    if principal:
        for name in ("IamUrlPermission", "IamInvokePermission"):
            permission = own[name]["Properties"]
            assert resolved(permission["Principal"], given, conditions) == principal
            assert resolved(permission["PrincipalOrgID"], given, conditions) == organization
    nobody = {each["Condition"] for each in translated["Resources"].values() if str(each.get("Condition")).startswith("HasIam")}
    assert nobody == {"HasIam", "HasIamUrl", "HasIamApi"}


def test_the_door_is_behind_iam_and_both_of_its_permissions_are_for_its_address_alone(translated: sam.Json) -> None:
    resources = translated["Resources"]
    function = {"Fn::GetAtt": ["IamFunction", "Arn"]}
    assert resources["IamUrl"]["Properties"] == {
        "TargetFunctionArn": function,
        "AuthType": "AWS_IAM",
        "InvokeMode": "BUFFERED",
    }
    assert resources["IamRoute"]["Properties"]["AuthorizationType"] == "AWS_IAM"
    assert resources["IamRoute"]["Properties"]["RouteKey"] == "ANY /{proxy+}"
    (integration,) = sam.resources(translated, "AWS::ApiGatewayV2::Integration").values()
    assert integration["Properties"]["PayloadFormatVersion"] == "2.0"
    assert resources["IamStage"]["Properties"]["DefaultRouteSettings"] == throttle(0)
    allowed = {
        name: {key: value for key, value in each["Properties"].items() if not key.startswith("Principal")}
        for name, each in sam.resources(translated, "AWS::Lambda::Permission").items()
        if each["Properties"]["FunctionName"] in (function, {"Ref": "IamFunction"})
    }
    arn = "arn:${AWS::Partition}:execute-api:${AWS::Region}:${AWS::AccountId}:${IamApi}/*"
    assert allowed == {
        "IamUrlPermission": {"FunctionName": function, "Action": "lambda:InvokeFunctionUrl", "FunctionUrlAuthType": "AWS_IAM"},
        "IamInvokePermission": {"FunctionName": function, "Action": "lambda:InvokeFunction", "InvokedViaFunctionUrl": True},
        "IamApiPermission": {"FunctionName": function, "Action": "lambda:InvokeFunction", "SourceArn": {"Fn::Sub": arn}},
    }
    assert resources["IamApiPermission"]["Properties"]["Principal"] == "apigateway.amazonaws.com"


def test_the_doors_issuer_is_the_apis_and_its_address_has_no_slash_at_its_end(source: sam.Json, translated: sam.Json) -> None:
    variables = translated["Resources"]["IamFunction"]["Properties"]["Environment"]["Variables"]
    assert variables["GRANTWELL_PUBLIC_URL"] == translated["Outputs"]["BaseUrl"]["Value"]
    condition, by_url, by_api = source["Outputs"]["IamBaseUrl"]["Value"]["Fn::If"]
    assert condition == "HasIamUrl"
    place, parts = by_url["Fn::Select"]
    address = parts["Fn::Split"][1]["Fn::Sub"].replace("${IamUrl.FunctionUrl}", "https://id.lambda-url.eu-west-1.on.aws/")
    assert address.split(parts["Fn::Split"][0])[place] == "https://id.lambda-url.eu-west-1.on.aws"
    assert by_api == {"Fn::Sub": "https://${IamApi}.execute-api.${AWS::Region}.${AWS::URLSuffix}"}


# What a parent or the outputs of the main stack say.
GIVEN = {
    "template.yaml": set[str](),
    "authorizer.yaml": {"RegistryTable", "TokenTable", "PublicUrl"},
    "observability.yaml": {
        *("Name", "Api", "TokenTable", "RegistryTable", "TokenLogGroup", "IntrospectLogGroup", "ScheduleFailures"),
        *NAMES[:-1],
    },
}


@pytest.mark.parametrize("path", GIVEN)
def test_every_parameter_is_constrained_and_described(path: str) -> None:
    template = sam.load(path)
    for name, parameter in template["Parameters"].items():
        assert parameter.get("Description"), name
        assert {"AllowedValues", "AllowedPattern", "MinValue"} & parameter.keys(), f"{name} takes anything"
        assert ("Default" in parameter) != (name in GIVEN[path]), f"{name}: sam deploy needs an argument without a default"
    for name, output in template.get("Outputs", {}).items():
        assert output.get("Description"), name


def test_the_nested_stack_is_given_what_it_asks_for(translated: sam.Json, observability: sam.Json) -> None:
    (nested,) = sam.resources(translated, "AWS::CloudFormation::Stack").values()
    given = nested["Properties"]["Parameters"]
    assert nested["Properties"]["TemplateURL"] == "observability.yaml"
    assert observability["Parameters"].keys() - given.keys() == {"Dashboard"}
    own = {"Fn::If": ["WritesMetrics", "emf", "off"]}
    assert (given.pop("Name"), given.pop("Metrics")) == ({"Ref": "AWS::StackName"}, own)
    assert given.pop("IamFunction") == {"Fn::If": ["HasIam", {"Ref": "IamFunction"}, "none"]}
    assert given.pop("ScheduleFailures") == {"Fn::GetAtt": ["ScheduleFailures", "QueueName"]}
    assert given == {name: {"Ref": name} for name in given}
    topic = "AllowedPattern"
    assert observability["Parameters"]["AlarmTopicArn"][topic] == translated["Parameters"]["AlarmTopicArn"][topic]


def test_what_the_authorizer_has_to_know_is_an_output_of_the_stack(source: sam.Json, authorizer_source: sam.Json) -> None:
    text, _ = source["Outputs"]["AuthorizerParameters"]["Value"]["Fn::Sub"]
    named = {each.split("=")[0] for each in text.split(" ")}
    assert GIVEN["authorizer.yaml"] <= named <= authorizer_source["Parameters"].keys()


@pytest.mark.parametrize(
    ("path", "parameter", "good", "bad"),
    [
        (
            *("template.yaml", "SecretPrefix"),
            ["", "grantwell", "prod-grantwell", "a"],
            ["/a", "a/", "a/b", "a b", "a*"],
        ),
        (
            *("template.yaml", "PublicUrl"),
            ["", "https://as.example.com", "https://a.example:8443/auth"],
            ["http://a", "https://a/", "https://a/?q"],
        ),
        # Of a list, each element.
        (
            *("template.yaml", "Front"),
            [
                *("none", "custom-domain", "cloudfront", "none+iam-url", "cloudfront+iam-api", "custom-domain+iam-url"),
                *("none+iam-url+o-a1b2c3d4e5", "cloudfront+iam-url+o-a1b2c3d4e5"),
            ],
            [
                *("", "iam-url", "+iam-url", "none+", "none+iam", "none+iam-url+", "none+iam-url+iam-api", "none,iam-url"),
                *("none+o-a1b2c3d4e5", "none+iam-api+o-a1b2c3d4e5", "none+iam-url+o-a", "none+iam-url+*", "none+iam-url+111122223333"),
            ],
        ),
        ("template.yaml", "Throttle", ["1", "200", "10000"], ["", "0", "-1", "05", "1.5", "five", "123456"]),
        ("template.yaml", "ReservedConcurrency", ["none", "0", "5", "900"], ["", "-1", "05", "1.5", "five", "123456"]),
        (
            *("template.yaml", "PermissionsBoundary"),
            ["", "arn:aws:iam::123456789012:policy/boundary", "arn:aws-cn:iam::123456789012:policy/team/x.y"],
            ["boundary", "arn:aws:iam::123456789012:role/boundary", "arn:aws:iam::123456789012:policy/*"],
        ),
        (
            *("template.yaml", "KmsKeyArn"),
            ["", "arn:aws:kms:eu-west-1:123456789012:key/0a1b2c3d-0000-1111-2222-333344445555"],
            ["alias/a", "arn:aws:kms:eu-west-1:123456789012:alias/a", "arn:aws:kms:eu-west-1:123456789012:key/*"],
        ),
        ("template.yaml", "Settings", ["{}", '{"log_level":"debug"}'], ["", "[]", "log_level=debug", "{}\n", "{\n}", "{é}"]),
        ("authorizer.yaml", "ReservedConcurrency", ["none", "0", "5"], ["", "-1", "05"]),
        ("authorizer.yaml", "Realm", ["root", "alpha", "team_1-b"], ["", "a b", "a/b", "a" * 65]),
        (
            *("authorizer.yaml", "Scopes"),
            ["{}", '{"GET /orders":""}', '{ "GET /orders/{id}" : "a b", "a1 ANY /{p+}":"c" }', seed.AUTHORIZER_SCOPES],
            ["", "GET /orders", "[]", '{"GET /orders"}', '{"GET /orders":7}', '{"GET /orders":"a",}', "{'a':'b'}", '{"é":""}'],
        ),
        (
            *("authorizer.yaml", "Audience"),
            ["", "https://api.example.com/", "https://a.example urn:b"],
            [" https://a", "https://a ", "https://a  urn:b", "https://a/#f"],
        ),
    ],
)
def test_a_parameters_pattern_admits_what_it_should(path: str, parameter: str, good: list[str], bad: list[str]) -> None:
    pattern = re.compile(sam.load(path)["Parameters"][parameter]["AllowedPattern"])
    assert [value for value in good if not pattern.fullmatch(value)] == []
    assert [value for value in bad if pattern.fullmatch(value)] == []


def test_the_variables_of_a_function_fit_into_what_lambda_has_for_them(
    source: sam.Json, authorizer_source: sam.Json, everything: sam.Json
) -> None:
    """4 KB of names and values together, whatever the parameters say, written as JSON: so Lambda measures them and says it ("String
    measured") where it refuses them. The quotes of a JSON value are two bytes each there.
    """
    for template, names in ((source, NAMES[:-1]), (authorizer_source, NAMES[-1:])):
        for name in names:
            variables = everything["Resources"][name]["Properties"]["Environment"]["Variables"]
            measured = {variable: longest(value, template["Parameters"]) for variable, value in variables.items()}
            size = len(json.dumps({variable: value for variable, value in measured.items() if value is not None}))
            assert 2048 < size <= 4096, name


def longest(value: object, parameters: sam.Json) -> str | None:
    """A text that is as large as this value can be, once it is written as JSON."""
    match value:
        case str():
            return value
        case {"Ref": "AWS::NoValue"}:
            return None
        case {"Fn::If": [_, yes, no]}:
            return max(longest(yes, parameters), longest(no, parameters), key=lambda text: len(json.dumps(text)))
        case {"Ref": "AWS::StackName"}:
            return "x" * 128
        case {"Fn::Select": [0, {"Fn::Split": ["+", {"Ref": "Front"}]}]}:
            return "custom-domain"
        case {"Fn::Sub": "https://${Api}.execute-api.${AWS::Region}.${AWS::URLSuffix}"}:
            return "x" * 128
        case {"Ref": "RegistryTable" | "TokenTable"}:
            return "x" * 255
        case {"Ref": name} if "AllowedValues" in parameters[name]:
            return max(parameters[name]["AllowedValues"], key=len)
        case {"Ref": "Realm"}:
            return "x" * 64
        case {"Ref": name}:
            return densest(parameters[name]["AllowedPattern"], int(parameters[name]["MaxLength"]))
    raise AssertionError(f"a value that these tests do not know: {value}")


def densest(pattern: str, length: int) -> str:
    """A text of this length that the pattern admits, with as many quotes as it can have where it may have any."""
    assert not re.fullmatch(pattern, '{"é":""}'), "it admits characters of several bytes"
    quotes = "{" + '"' * (length - 2) + "}"
    routes = ("{" + ",".join('"a":""' for _ in range((length - 1) // 7))).ljust(length - 1) + "}"
    return next((text for text in (quotes, routes) if re.fullmatch(pattern, text)), "x" * length)


# What AWS itself publishes of what this stack has, with the dimensions that it has there.
AWS_METRICS = {
    ("AWS/ApiGateway", "Count"): ["ApiId"],
    ("AWS/ApiGateway", "4xx"): ["ApiId"],
    ("AWS/ApiGateway", "5xx"): ["ApiId"],
    ("AWS/ApiGateway", "Latency"): ["ApiId"],
    ("AWS/Lambda", "Errors"): ["FunctionName"],
    ("AWS/Lambda", "Throttles"): ["FunctionName"],
    ("AWS/Lambda", "Url5xxCount"): ["FunctionName"],
    ("AWS/DynamoDB", "ReadThrottleEvents"): ["TableName"],
    ("AWS/DynamoDB", "WriteThrottleEvents"): ["TableName"],
    ("AWS/DynamoDB", "SystemErrors"): ["TableName", "Operation"],
    ("AWS/SQS", "ApproximateNumberOfMessagesVisible"): ["QueueName"],
}
# What is in this repository's own namespace.
OWN_METRICS = tables.metrics()
REASONS = {row["name"] for row in tables.described()["reasons"]}


def assert_is_measured(namespace: str, metric: str, dimensions: dict[str, object]) -> None:
    if namespace == "Grantwell":
        assert list(dimensions) in OWN_METRICS[metric], f"{metric} is not split up by {list(dimensions)}"
        assert dimensions.get("Reason", "wrong_secret") in REASONS, f"no refusal has the reason {dimensions['Reason']}"
    else:
        assert list(dimensions) == AWS_METRICS[namespace, metric], f"{namespace} {metric} by {list(dimensions)}"


def looked_at(alarm: sam.Json) -> list[tuple[str, str, dict[str, object]]]:
    """The metrics of an alarm: its one, or those of its sum."""
    metrics = [each["MetricStat"]["Metric"] for each in alarm.get("Metrics", []) if "MetricStat" in each] or [alarm]
    return [
        (each["Namespace"], each["MetricName"], {d["Name"]: d["Value"] for d in each["Dimensions"]}) for each in metrics
    ]


ALARMS = {
    "observability.yaml": {
        *("ApiFaultsAlarm", "LatencyAlarm", "FunctionErrorsAlarm", "FunctionThrottlesAlarm", "TableThrottlesAlarm"),
        *("TableErrorsAlarm", "UnavailableAlarm", "WrongSecretsAlarm", "RotationErrorsAlarm", "SigningKeysOverdueAlarm"),
        *("ScheduleFailedAlarm", "IamFunctionAlarm"),
    },
    "authorizer.yaml": {"ThrottlesAlarm", "UndecidedAlarm"},
}


@pytest.mark.parametrize("path", ALARMS)
def test_every_alarm_looks_at_metrics_that_there_are_and_says_where_to_read_on(path: str) -> None:
    template = sam.load(path)
    alarms = sam.resources(template, "AWS::CloudWatch::Alarm")
    assert alarms.keys() == ALARMS[path]
    headings = re.findall(r"^## (.+)$", (sam.ROOT / "docs/operations.md").read_text(encoding="utf-8"), re.MULTILINE)
    topic = {"Fn::If": ["HasAlarmTopic", [{"Ref": "AlarmTopicArn"}], {"Ref": "AWS::NoValue"}]}
    for name, alarm in alarms.items():
        properties = alarm["Properties"]
        metrics = looked_at(properties)
        for namespace, metric, dimensions in metrics:
            assert_is_measured(namespace, metric, dimensions)
            for value in dimensions.values():
                assert isinstance(value, str) or value["Ref"] in {**template["Resources"], **template["Parameters"]}  # type: ignore[index]
        own = any(namespace == "Grantwell" for namespace, _, _ in metrics)
        of_the_door = name == "IamFunctionAlarm"
        assert alarm["Condition"] == ("HasMetricAlarms" if own else "HasIamAlarms" if of_the_door else "HasAlarms"), name
        description = " ".join(properties["AlarmDescription"].split())
        (chapter,) = re.findall(r"docs/operations\.md, ([^.]+)\.$", description)
        assert chapter in headings, f"{name} sends its reader to a chapter that there is not: {chapter}"
        assert (properties["AlarmActions"], properties["OKActions"]) == (topic, topic)
        assert properties["TreatMissingData"] == ("breaching" if name == "SigningKeysOverdueAlarm" else "notBreaching")
        if "Metrics" in properties:
            (total,) = (each for each in properties["Metrics"] if "Expression" in each)
            summed = re.findall(r"FILL\((\w+), 0\)", total["Expression"])
            assert summed == [each["Id"] for each in properties["Metrics"] if "MetricStat" in each], name


def is_set(parameter: str, value: str) -> sam.Json:
    return {"Fn::Equals": [{"Ref": parameter}, value]}


@pytest.mark.parametrize("path", ALARMS)
def test_alarms_are_switched_by_their_topic_and_the_metrics(path: str) -> None:
    conditions = sam.load(path)["Conditions"]
    assert conditions["HasAlarms"] == {"Fn::Not": [is_set("AlarmTopicArn", "none")]}
    unheard = {"Fn::Or": [is_set("AlarmTopicArn", ""), is_set("AlarmTopicArn", "none")]}
    assert conditions["HasAlarmTopic"] == {"Fn::Not": [unheard]}
    writes = {"Condition": "WritesMetrics"} if "WritesMetrics" in conditions else is_set("Metrics", "emf")
    assert conditions["HasMetricAlarms"] == {"Fn::And": [{"Condition": "HasAlarms"}, writes]}


def test_the_dashboard_is_there_unless_the_parent_says_no(observability: sam.Json) -> None:
    assert observability["Conditions"]["HasDashboard"] == is_set("Dashboard", "true")
    assert observability["Parameters"]["Dashboard"]["Default"] == "true"
    assert observability["Resources"]["Overview"]["Condition"] == "HasDashboard"


def test_metrics_of_the_functions_and_traces_are_switched_by_one_parameter(
    translated: sam.Json, authorizer: sam.Json, everything: sam.Json
) -> None:
    for template in (translated, authorizer):
        assert template["Parameters"]["Metrics"]["AllowedValues"] == ["off", "emf", "xray", "emf+xray"]
        assert template["Parameters"]["Metrics"]["Default"] == "emf"
        for condition, kind in (("WritesMetrics", "emf"), ("IsTraced", "xray")):
            either = {"Fn::Or": [is_set("Metrics", kind), is_set("Metrics", "emf+xray")]}
            assert template["Conditions"][condition] == either
    for function in FUNCTIONS:
        properties = everything["Resources"][function]["Properties"]
        assert properties["TracingConfig"]["Mode"] == {"Fn::If": ["IsTraced", "Active", "PassThrough"]}, function
        told = properties["Environment"]["Variables"]["GRANTWELL_METRICS"]
        assert told == {"Fn::If": ["WritesMetrics", "emf", "off"]}, function


def test_the_dashboard_shows_metrics_that_there_are(observability: sam.Json) -> None:
    body = observability["Resources"]["Overview"]["Properties"]["DashboardBody"]["Fn::Sub"]
    for named in re.findall(r"\$\{(\w+)\}", body):
        assert named in observability["Parameters"], f"the dashboard names {named}"
    shown = 0
    for widget in json.loads(body)["widgets"]:
        for metric in widget["properties"]["metrics"]:
            if isinstance(metric[0], dict):
                schema, name = re.findall(r"\{([\w,]+)\} MetricName=\"(\w+)\"", metric[0]["expression"])[0]
                namespace, *dimensions = schema.split(",")
                assert dimensions in OWN_METRICS[name]
            else:
                namespace, name, *rest = [each for each in metric if isinstance(each, str)]
                assert_is_measured(namespace, name, dict(zip(rest[::2], rest[1::2], strict=True)))
            shown += 1
    assert shown > 40


QUERIES: dict[str, tuple[list[sam.Json], list[str]]] = {
    "observability.yaml": (
        [{"Ref": "TokenLogGroup"}, {"Ref": "IntrospectLogGroup"}],
        ["token issued", "token introspected"],
    ),
    "authorizer.yaml": (
        [
            *({"Fn::Sub": f"/aws/lambda/${{GrantwellStack}}-{name}"} for name in ("token", "introspect")),
            {"Ref": "AuthorizerLogGroup"},
        ],
        ["token issued", "token introspected", "access allowed"],
    ),
}


@pytest.mark.parametrize("path", QUERIES)
def test_the_saved_query_reads_the_lines_of_its_functions(path: str, translated: sam.Json) -> None:
    """That the functions write them is seen in test_deployment.py."""
    (query,) = sam.resources(sam.load(path), "AWS::Logs::QueryDefinition").values()
    groups, known = QUERIES[path]
    assert query["Properties"]["LogGroupNames"] == groups
    for name in ("token", "introspect"):
        group = translated["Resources"][f"{name.capitalize()}LogGroup"]["Properties"]["LogGroupName"]
        assert group == {"Fn::Sub": f"/aws/lambda/${{AWS::StackName}}-{name}"}, "as the authorizer's query names it"
    commands = [each.strip() for each in query["Properties"]["QueryString"].split("|")]
    messages = re.findall(r'"([^"]+)"', commands[0])
    assert messages == known
    # Each word picks the lines of one message.
    for word, message in zip(re.findall(r'strcontains\(message, "(\w+)"\)', commands[1]), messages, strict=True):
        assert [each for each in messages if word in each] == [message]


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        (
            ["", "none", "arn:aws:sns:us-east-1:123456789012:alarms", "arn:aws-cn:sns:cn-north-1:123456789012:a.fifo"],
            ["alarms", "arn:aws:sqs:us-east-1:123456789012:alarms", "arn:aws:sns:us-east-1:123456789012:*"],
        )
    ],
)
def test_the_topic_of_the_alarms_is_one(source: sam.Json, good: list[str], bad: list[str]) -> None:
    pattern = re.compile(source["Parameters"]["AlarmTopicArn"]["AllowedPattern"])
    assert [value for value in good if not pattern.search(value)] == []
    assert [value for value in bad if pattern.search(value)] == []
