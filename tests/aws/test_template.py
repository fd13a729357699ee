"""Static rules of template.yaml: what moto and the translator would let pass."""

from __future__ import annotations

import json
import re
import tomllib

import pytest

import seed
import template as sam
from stack import sets_only

# The server's own route table, so that the template cannot drift from it.
BASES = re.findall(
    r'"(/[^"]*)"',
    (sam.ROOT / "src/http/routes.rs").read_text().split("pub const BASE_PATHS", 1)[1].split("];", 1)[0],
)
WELL_KNOWN = "/.well-known/oauth-authorization-server"
ROUTES = {
    "TokenFunction": {f"{base}/access_token" for base in BASES},
    "IntrospectFunction": {f"{base}/introspect" for base in BASES},
    "RevokeFunction": {f"{base}/token/revoke" for base in BASES},
    "MetadataFunction": {f"{base}{WELL_KNOWN}" for base in BASES}
    | {f"{base}/.well-known/openid-configuration" for base in BASES}
    | {f"{WELL_KNOWN}{base}" for base in BASES}
    | {f"{base}/connect/jwk_uri" for base in BASES},
}
REGISTRY = {"Fn::GetAtt": ["RegistryTable", "Arn"]}
TOKENS = {"Fn::GetAtt": ["TokenTable", "Arn"]}
# The stack's own name where the operator says no other: no two stacks of an account and region have the same.
PREFIX = {"Fn::If": ["HasSecretPrefix", {"Ref": "SecretPrefix"}, {"Ref": "AWS::StackName"}]}


def secrets(pattern: str) -> sam.Json:
    arn = "arn:${AWS::Partition}:secretsmanager:${AWS::Region}:${AWS::AccountId}:secret:${Prefix}"
    return {"Fn::Sub": [f"{arn}/*/{pattern}", {"Prefix": PREFIX}]}


CLIENT_SECRETS = secrets("clients/*")
# Without a hyphen before the wildcard: what does not exist yet has no six characters.
SIGNING_KEYS = secrets("signing-keys*")


def items(*kinds: str) -> sam.Json:
    """Only items of these kinds. The Null is there because ForAllValues is met by a call that names no key at all."""
    keys = [f"{kind}#*" for kind in kinds]
    return {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": keys}, "Null": {"dynamodb:LeadingKeys": "false"}}


def versions(*labels: str) -> sam.Json:
    return {"ForAnyValue:StringEquals": {"secretsmanager:VersionStage": list(labels)}}


# The one condition on the registry table: public keys are in partitions of their own, where no registration is.
OWN_PARTITIONS = items("keys")
USED_SECRETS = versions("AWSCURRENT", "AWSPREVIOUS")
CHANGED_SECRETS = versions("AWSCURRENT", "AWSPENDING")
FIRST_KEYS: list[tuple[str, sam.Json, sam.Json | None]] = [
    ("secretsmanager:GetSecretValue", SIGNING_KEYS, versions("AWSCURRENT")),
    ("secretsmanager:CreateSecret", SIGNING_KEYS, None),
    ("secretsmanager:TagResource", SIGNING_KEYS, sets_only("grantwell:registry")),
    ("dynamodb:PutItem", REGISTRY, OWN_PARTITIONS),
]
ROTATION = [
    ("secretsmanager:DescribeSecret", None),
    ("secretsmanager:GetSecretValue", CHANGED_SECRETS),
    ("secretsmanager:PutSecretValue", None),
    ("secretsmanager:UpdateSecretVersionStage", CHANGED_SECRETS),
]
# What each function may touch, its own log group aside. A change here is a change of the security model.
PERMISSIONS: dict[str, list[tuple[str, sam.Json, sam.Json | None]]] = {
    "token": [
        ("dynamodb:GetItem", REGISTRY, None),
        ("dynamodb:PutItem", TOKENS, items("token", "store")),
        ("dynamodb:GetItem", TOKENS, items("store")),
        ("dynamodb:DescribeTable", TOKENS, None),
        ("dynamodb:UpdateItem", TOKENS, items("quota")),
        ("secretsmanager:GetSecretValue", CLIENT_SECRETS, USED_SECRETS),
        *FIRST_KEYS,
    ],
    "introspect": [
        ("dynamodb:GetItem", REGISTRY, None),
        ("dynamodb:GetItem", TOKENS, items("token", "revoked", "store")),
        ("dynamodb:DescribeTable", TOKENS, None),
        ("secretsmanager:GetSecretValue", CLIENT_SECRETS, USED_SECRETS),
        *FIRST_KEYS,
    ],
    "revoke": [
        ("dynamodb:GetItem", REGISTRY, None),
        ("dynamodb:DeleteItem", TOKENS, items("token")),
        ("dynamodb:PutItem", TOKENS, items("revoked")),
        ("secretsmanager:GetSecretValue", CLIENT_SECRETS, USED_SECRETS),
    ],
    "metadata": [("dynamodb:GetItem", REGISTRY, None)],
    "rotate": [
        ("dynamodb:GetItem", REGISTRY, None),
        ("dynamodb:Query", REGISTRY, None),
        ("dynamodb:PutItem", REGISTRY, OWN_PARTITIONS),
        *((action, CLIENT_SECRETS, condition) for action, condition in ROTATION),
        *((action, SIGNING_KEYS, condition) for action, condition in ROTATION),
    ],
    "authorizer": [
        ("dynamodb:GetItem", REGISTRY, None),
        ("dynamodb:GetItem", TOKENS, items("token", "revoked", "store")),
        ("dynamodb:DescribeTable", TOKENS, None),
    ],
}
FUNCTIONS = [
    *("TokenFunction", "IntrospectFunction", "RevokeFunction", "MetadataFunction"),
    *("RotateFunction", "AuthorizerFunction"),
]


@pytest.fixture(scope="module")
def translated(source: sam.Json) -> sam.Json:
    return sam.translate(source)


def test_every_function_binary_of_the_package_is_a_function_and_the_reverse(source: sam.Json) -> None:
    package = tomllib.loads((sam.ROOT / "Cargo.toml").read_text(encoding="utf-8"))
    built = {each["name"] for each in package["bin"] if "aws" in each.get("required-features", [])}
    deployed = {function.binary: function.logical_id for function in sam.functions(source)}
    assert built == deployed.keys()
    assert deployed == {name: f"{name.capitalize()}Function" for name in built}


def test_the_functions_are_the_ones_that_these_tests_know(source: sam.Json) -> None:
    assert [function.logical_id for function in sam.functions(source)] == FUNCTIONS


def test_the_routes_are_exactly_the_documented_ones_for_any_method(translated: sam.Json) -> None:
    found: dict[str, set[str]] = {}
    for route in sam.routes(translated):
        assert (route.method, route.payload_format) == ("ANY", "2.0"), route
        found.setdefault(route.function, set()).add(route.path)
    assert found == ROUTES


@pytest.mark.parametrize("logical_id", FUNCTIONS)
def test_a_function_is_built_and_limited_as_designed(translated: sam.Json, source: sam.Json, logical_id: str) -> None:
    assert source["Resources"][logical_id]["Metadata"]["BuildMethod"] == "rust-cargolambda"
    properties = translated["Resources"][logical_id]["Properties"]
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
    assert properties["LoggingConfig"]["LogGroup"] == {"Ref": log_group}
    assert properties["Role"] == {"Fn::GetAtt": [logical_id.replace("Function", "Role"), "Arn"]}


@pytest.mark.parametrize("name", PERMISSIONS)
def test_a_role_grants_single_actions_on_single_resources_and_no_more(translated: sam.Json, name: str) -> None:
    role = translated["Resources"][f"{name.capitalize()}Role"]["Properties"]
    assert "ManagedPolicyArns" not in role
    assert role["AssumeRolePolicyDocument"]["Statement"] == [
        {
            "Effect": "Allow",
            "Principal": {"Service": "lambda.amazonaws.com"},
            "Action": "sts:AssumeRole",
            "Condition": {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}},
        }
    ]
    (policy,) = role["Policies"]
    granted: list[tuple[str, sam.Json, sam.Json | None]] = []
    traces = []
    for statement in policy["PolicyDocument"]["Statement"]:
        if "Fn::If" in statement:
            condition, statement, otherwise = statement["Fn::If"]
            assert (condition, otherwise) == ("IsTraced", {"Ref": "AWS::NoValue"}), "only tracing is optional"
            assert (statement["Effect"], statement["Resource"]) == ("Allow", "*"), "X-Ray has no resources to name"
            traces.append(statement["Action"])
            continue
        assert statement.keys() - {"Condition"} == {"Sid", "Effect", "Action", "Resource"}
        assert statement["Effect"] == "Allow"
        assert re.fullmatch(r"[a-z]+:[A-Za-z]+", statement["Action"]), statement
        assert isinstance(statement["Resource"], dict), f"a literal or a list of resources: {statement}"
        granted.append((statement["Action"], statement["Resource"], statement.get("Condition")))
    own_logs = {"Fn::GetAtt": [f"{name.capitalize()}LogGroup", "Arn"]}
    logs = [("logs:CreateLogStream", own_logs, None), ("logs:PutLogEvents", own_logs, None)]
    assert granted == PERMISSIONS[name] + logs
    # The one exception to single resources: X-Ray's actions cannot be restricted to any.
    assert traces == ["xray:PutTraceSegments", "xray:PutTelemetryRecords"]


def test_there_is_no_role_but_one_per_function(translated: sam.Json) -> None:
    assert sam.resources(translated, "AWS::IAM::Role").keys() == {f"{name.capitalize()}Role" for name in PERMISSIONS}
    for kind in ("AWS::IAM::Policy", "AWS::IAM::ManagedPolicy", "AWS::IAM::RolePolicy"):
        assert not sam.resources(translated, kind)


def test_only_secrets_manager_of_this_account_and_the_daily_schedule_invoke_the_rotation(translated: sam.Json) -> None:
    permissions = sam.resources(translated, "AWS::Lambda::Permission").values()
    allowed = [p["Properties"] for p in permissions if "RotateFunction" in json.dumps(p["Properties"]["FunctionName"])]
    by_principal = {each["Principal"]: each for each in allowed}
    assert by_principal.keys() == {"secretsmanager.amazonaws.com", "events.amazonaws.com"}
    assert by_principal["secretsmanager.amazonaws.com"]["SourceAccount"] == {"Ref": "AWS::AccountId"}
    ((rule_id, rule),) = sam.resources(translated, "AWS::Events::Rule").items()
    assert rule["Properties"]["ScheduleExpression"] == "rate(1 day)"
    assert by_principal["events.amazonaws.com"]["SourceArn"] == {"Fn::GetAtt": [rule_id, "Arn"]}


def test_the_registry_can_be_recovered_and_outlives_the_stack(translated: sam.Json) -> None:
    table = translated["Resources"]["RegistryTable"]
    assert (table["DeletionPolicy"], table["UpdateReplacePolicy"]) == ("Retain", "Retain")
    properties = table["Properties"]
    assert properties["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    assert properties["DeletionProtectionEnabled"] == {"Ref": "ProtectTables"}
    assert "TimeToLiveSpecification" not in properties
    assert properties["KeySchema"] == [
        {"AttributeName": "realm", "KeyType": "HASH"},
        {"AttributeName": "item", "KeyType": "RANGE"},
    ]


def test_the_token_table_outlives_the_stack_and_drops_expired_items(source: sam.Json, translated: sam.Json) -> None:
    """Losing it ends every token, and a backup of it would bring revoked ones back."""
    table = translated["Resources"]["TokenTable"]
    assert (table["DeletionPolicy"], table["UpdateReplacePolicy"]) == ("Retain", "Retain")
    properties = table["Properties"]
    assert properties["DeletionProtectionEnabled"] == {"Ref": "ProtectTables"}
    assert source["Parameters"]["ProtectTables"]["Default"] == "true"
    assert "PointInTimeRecoverySpecification" not in properties
    assert properties["TimeToLiveSpecification"] == {"AttributeName": "expires_at", "Enabled": True}
    assert properties["KeySchema"] == [{"AttributeName": "id", "KeyType": "HASH"}]


def test_every_table_is_encrypted_and_billed_by_request(translated: sam.Json) -> None:
    tables = sam.resources(translated, "AWS::DynamoDB::Table")
    assert tables.keys() == {"RegistryTable", "TokenTable"}
    for table in tables.values():
        assert table["Properties"]["SSESpecification"] == {"SSEEnabled": True}
        assert table["Properties"]["BillingMode"] == "PAY_PER_REQUEST"
        # A generated name: a named table could not be replaced, and two stacks would collide.
        assert "TableName" not in table["Properties"]


def test_every_log_group_has_a_retention(translated: sam.Json) -> None:
    groups = sam.resources(translated, "AWS::Logs::LogGroup")
    assert groups.keys() == {"ApiLogGroup", *(f"{name.capitalize()}LogGroup" for name in PERMISSIONS)}
    for group in groups.values():
        assert group["Properties"]["RetentionInDays"] == {"Ref": "LogRetentionDays"}


def test_the_api_is_throttled_and_each_route_of_tokens_and_introspection_by_itself(translated: sam.Json) -> None:
    (stage,) = sam.resources(translated, "AWS::ApiGatewayV2::Stage").values()
    assert stage["Properties"]["StageName"] == "$default"
    assert stage["Properties"]["DefaultRouteSettings"] == throttle("")
    # The keys are the routes' own, or API Gateway would refuse the stage: for no route may one be missing or left over.
    own = {f"ANY {path}": throttle("Token") for path in ROUTES["TokenFunction"]}
    own |= {f"ANY {path}": throttle("Introspect") for path in ROUTES["IntrospectFunction"]}
    assert stage["Properties"]["RouteSettings"] == own


def throttle(which: str) -> sam.Json:
    return {
        "ThrottlingBurstLimit": {"Ref": f"{which}ThrottleBurst"},
        "ThrottlingRateLimit": {"Ref": f"{which}ThrottleRate"},
    }


def test_a_flood_of_every_other_route_leaves_introspection_its_share_of_the_accounts_quota(source: sam.Json) -> None:
    """10,000 requests a second of all APIs together, in most regions (API Gateway quotas, 2026-11)."""
    rate = {name: each["Default"] for name, each in source["Parameters"].items() if name.endswith("ThrottleRate")}
    others = [path for function, paths in ROUTES.items() for path in paths if function != "IntrospectFunction"]
    tokens = len(ROUTES["TokenFunction"])
    flood = tokens * rate["TokenThrottleRate"] + (len(others) - tokens) * rate["ThrottleRate"]
    assert flood + rate["IntrospectThrottleRate"] <= 10_000


@pytest.mark.parametrize("logical_id", FUNCTIONS)
def test_a_functions_concurrency_is_reserved_only_where_the_operator_says_so(
    source: sam.Json, translated: sam.Json, logical_id: str
) -> None:
    name = logical_id.removesuffix("Function")
    reserved = translated["Resources"][logical_id]["Properties"]["ReservedConcurrentExecutions"]
    parameter = {"Ref": f"{name}ReservedConcurrency"}
    assert reserved == {"Fn::If": [f"Reserves{name}", parameter, {"Ref": "AWS::NoValue"}]}
    assert translated["Conditions"][f"Reserves{name}"] == {"Fn::Not": [{"Fn::Equals": [parameter, ""]}]}
    # Lambda refuses what leaves fewer than 100 unreserved, and a new account has 10.
    assert source["Parameters"][f"{name}ReservedConcurrency"]["Default"] == ""


def test_failed_authentications_are_limited_by_every_function_as_the_parameters_say(translated: sam.Json) -> None:
    for name in FUNCTIONS:
        variables = translated["Resources"][name]["Properties"]["Environment"]["Variables"]
        assert variables["GRANTWELL_FAILED_AUTH_LIMIT"] == {"Ref": "FailedAuthLimit"}
        assert variables["GRANTWELL_FAILED_AUTH_WINDOW"] == {"Ref": "FailedAuthWindow"}


HTTP_FUNCTIONS = ("TokenFunction", "IntrospectFunction", "RevokeFunction", "MetadataFunction")
ORIGIN = {
    "GRANTWELL_FRONT": {"Ref": "Front"},
    "GRANTWELL_ORIGIN_SECRET_SHA256": {"Ref": "OriginSecretSha256"},
    "GRANTWELL_ORIGIN_SECRET_PREVIOUS_SHA256": {"Ref": "OriginSecretPreviousSha256"},
}


def test_every_function_with_a_route_is_told_what_stands_in_front_and_no_other(translated: sam.Json) -> None:
    assert HTTP_FUNCTIONS == tuple(ROUTES)
    for name in FUNCTIONS:
        variables = translated["Resources"][name]["Properties"]["Environment"]["Variables"]
        told = {variable: value for variable, value in variables.items() if variable in ORIGIN}
        assert told == (ORIGIN if name in HTTP_FUNCTIONS else {}), name


def test_a_custom_domain_closes_the_apis_own_address_and_nothing_else_does(source: sam.Json, translated: sam.Json) -> None:
    assert source["Parameters"]["Front"]["AllowedValues"] == ["none", "custom-domain", "cloudfront"]
    assert source["Parameters"]["Front"]["Default"] == "none"
    ((_, api),) = sam.resources(translated, "AWS::ApiGatewayV2::Api").items()
    (server,) = api["Properties"]["Body"]["servers"]
    closes = {"disableExecuteApiEndpoint": {"Fn::If": ["HasCustomDomain", True, False]}}
    assert server == {"x-amazon-apigateway-endpoint-configuration": closes}
    assert translated["Conditions"]["HasCustomDomain"] == {"Fn::Equals": [{"Ref": "Front"}, "custom-domain"]}


def test_a_front_without_a_name_and_cloudfront_without_a_secret_are_refused(translated: sam.Json) -> None:
    def given(parameter: str, value: str) -> sam.Json:
        return {"Fn::Equals": [{"Ref": parameter}, value]}

    rules = {
        json.dumps(rule["RuleCondition"]): [each["Assert"] for each in rule["Assertions"]]
        for rule in translated["Rules"].values()
    }
    assert rules == {
        json.dumps({"Fn::Not": [given("Front", "none")]}): [{"Fn::Not": [given("PublicUrl", "")]}],
        json.dumps(given("Front", "cloudfront")): [{"Fn::Not": [given("OriginSecretSha256", "")]}],
    }


def test_the_access_log_names_safe_fields_only(translated: sam.Json) -> None:
    """An allow-list: a path, a query, a header or a user agent is where a clumsy client leaves its credential."""
    (stage,) = sam.resources(translated, "AWS::ApiGatewayV2::Stage").values()
    named = set(re.findall(r"\$[A-Za-z.{}]+", stage["Properties"]["AccessLogSettings"]["Format"]))
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


def test_the_prefix_of_the_secrets_is_the_stacks_name_unless_the_operator_says_another(
    source: sam.Json, translated: sam.Json
) -> None:
    assert source["Parameters"]["SecretPrefix"]["Default"] == ""
    assert translated["Conditions"]["HasSecretPrefix"] == {"Fn::Not": [{"Fn::Equals": [{"Ref": "SecretPrefix"}, ""]}]}
    functions = sam.resources(translated, "AWS::Lambda::Function").values()
    told = [f["Properties"]["Environment"]["Variables"].get("GRANTWELL_SECRET_PREFIX") for f in functions]
    assert [each for each in told if each is not None] == [PREFIX] * 4
    # Whatever else would name the parameter would be empty by default.
    assert json.dumps(translated).count('"SecretPrefix"') == json.dumps(translated).count(json.dumps(PREFIX)) + 2
    assert "${SecretPrefix}" not in json.dumps(translated)


def test_every_parameter_is_constrained_and_described(source: sam.Json) -> None:
    for name, parameter in source["Parameters"].items():
        assert parameter.get("Description"), name
        assert {"AllowedValues", "AllowedPattern", "MinValue"} & parameter.keys(), f"{name} takes anything"
        assert "Default" in parameter, f"{name} has no default: sam deploy would need an argument"
    for name, output in source["Outputs"].items():
        assert output.get("Description"), name


@pytest.mark.parametrize(
    ("parameter", "good", "bad"),
    [
        ("SecretPrefix", ["", "grantwell", "prod-grantwell", "a"], ["/a", "a/", "a/b", "a b", "a*"]),
        (
            "PublicUrl",
            ["", "https://as.example.com", "https://a.example:8443/auth"],
            ["http://a", "https://a/", "https://a/?q"],
        ),
        ("OriginSecretSha256", ["", "0" * 64, "aF" * 32], ["0" * 63, "0" * 65, "g" * 64, " " + "0" * 64]),
        ("OriginSecretPreviousSha256", ["", "0" * 64, "aF" * 32], ["0" * 63, "0" * 65, "g" * 64, " " + "0" * 64]),
        ("TokenReservedConcurrency", ["", "0", "5", "900"], ["-1", "05", "1.5", "five", "123456"]),
        ("DefaultScope", ["", "read", "read write:all"], [" read", "read ", "a  b", 'a"b', "a\\b"]),
        ("AuthorizerRealm", ["root", "alpha", "team_1-b"], ["", "a b", "a/b", "a" * 65]),
        (
            "AuthorizerScopes",
            ["{}", '{"GET /orders":""}', '{ "GET /orders/{id}" : "a b", "a1 ANY /{p+}":"c" }', seed.AUTHORIZER_SCOPES],
            ["", "GET /orders", "[]", '{"GET /orders"}', '{"GET /orders":7}', '{"GET /orders":"a",}', "{'a':'b'}"],
        ),
        (
            "AuthorizerAudience",
            ["", "https://api.example.com/", "https://a.example urn:b"],
            [" https://a", "https://a ", "https://a  urn:b", "https://a/#f"],
        ),
    ],
)
def test_a_parameters_pattern_admits_what_it_should(
    source: sam.Json, parameter: str, good: list[str], bad: list[str]
) -> None:
    pattern = re.compile(source["Parameters"][parameter]["AllowedPattern"])
    assert [value for value in good if not pattern.search(value)] == []
    assert [value for value in bad if pattern.search(value)] == []


# What AWS itself publishes of what this stack has, with the dimensions that it has there.
AWS_METRICS = {
    ("AWS/ApiGateway", "Count"): ["ApiId"],
    ("AWS/ApiGateway", "4xx"): ["ApiId"],
    ("AWS/ApiGateway", "5xx"): ["ApiId"],
    ("AWS/ApiGateway", "Latency"): ["ApiId"],
    ("AWS/Lambda", "Errors"): ["FunctionName"],
    ("AWS/Lambda", "Throttles"): ["FunctionName"],
    ("AWS/DynamoDB", "ReadThrottleEvents"): ["TableName"],
    ("AWS/DynamoDB", "WriteThrottleEvents"): ["TableName"],
    ("AWS/DynamoDB", "SystemErrors"): ["TableName", "Operation"],
}
# What is in this repository's own namespace, from the table in the code: name, unit, by what it is split up.
METRICS_TABLE = (sam.ROOT / "src/observe/metrics/table.rs").read_text(encoding="utf-8")
OWN_METRICS = {
    name: {"Nothing": [["FunctionName"]], "Realm": [["FunctionName"], ["FunctionName", "Realm"]]}.get(
        split, [["FunctionName"], ["FunctionName", "Reason"]]
    )
    for name, split in re.findall(r'^    (\w+), (?:Count|Milliseconds), (\w+), ".+";$', METRICS_TABLE, re.MULTILINE)
}
REASONS = set(
    re.findall(r'#\[error\("([^"{]+)"\)\]', (sam.ROOT / "src/core/error.rs").read_text(encoding="utf-8"))
)


def assert_is_measured(namespace: str, metric: str, dimensions: dict[str, object]) -> None:
    if namespace == "Grantwell":
        assert list(dimensions) in OWN_METRICS[metric], f"{metric} is not split up by {list(dimensions)}"
        assert dimensions.get("Reason", "wrong secret") in REASONS, f"no refusal has the reason {dimensions['Reason']}"
    else:
        assert list(dimensions) == AWS_METRICS[namespace, metric], f"{namespace} {metric} by {list(dimensions)}"


def looked_at(alarm: sam.Json) -> list[tuple[str, str, dict[str, object]]]:
    """The metrics of an alarm: its one, or those of its sum."""
    metrics = [each["MetricStat"]["Metric"] for each in alarm.get("Metrics", []) if "MetricStat" in each] or [alarm]
    return [
        (each["Namespace"], each["MetricName"], {d["Name"]: d["Value"] for d in each["Dimensions"]}) for each in metrics
    ]


def test_the_table_of_metrics_in_the_code_is_read_whole() -> None:
    (rows,) = re.findall(r"^metrics! \{\n(.+?)^\}$", METRICS_TABLE, re.MULTILINE | re.DOTALL)
    assert len(OWN_METRICS) == len(rows.splitlines()) > 0


def test_every_alarm_looks_at_metrics_that_there_are_and_says_where_to_read_on(translated: sam.Json) -> None:
    alarms = sam.resources(translated, "AWS::CloudWatch::Alarm")
    assert alarms.keys() == {
        *("ApiFaultsAlarm", "LatencyAlarm", "FunctionErrorsAlarm", "FunctionThrottlesAlarm", "TableThrottlesAlarm"),
        *("TableErrorsAlarm", "UnavailableAlarm", "WrongSecretsAlarm", "RotationErrorsAlarm", "SigningKeysOverdueAlarm"),
    }
    headings = re.findall(r"^## (.+)$", (sam.ROOT / "docs/operations.md").read_text(encoding="utf-8"), re.MULTILINE)
    topic = {"Fn::If": ["HasAlarmTopic", [{"Ref": "AlarmTopicArn"}], {"Ref": "AWS::NoValue"}]}
    for name, alarm in alarms.items():
        properties = alarm["Properties"]
        metrics = looked_at(properties)
        for namespace, metric, dimensions in metrics:
            assert_is_measured(namespace, metric, dimensions)
            for value in dimensions.values():
                assert isinstance(value, str) or translated["Resources"].get(value["Ref"]), value  # type: ignore[index]
        own = any(namespace == "Grantwell" for namespace, _, _ in metrics)
        assert alarm["Condition"] == ("HasMetricAlarms" if own else "HasAlarms"), name
        description = " ".join(properties["AlarmDescription"].split())
        (chapter,) = re.findall(r"docs/operations\.md, ([^.]+)\.$", description)
        assert chapter in headings, f"{name} sends its reader to a chapter that there is not: {chapter}"
        assert (properties["AlarmActions"], properties["OKActions"]) == (topic, topic)
        assert properties["TreatMissingData"] == ("breaching" if name == "SigningKeysOverdueAlarm" else "notBreaching")
        if "Metrics" in properties:
            (total,) = (each for each in properties["Metrics"] if "Expression" in each)
            summed = re.findall(r"FILL\((\w+), 0\)", total["Expression"])
            assert summed == [each["Id"] for each in properties["Metrics"] if "MetricStat" in each], name


def test_alarms_dashboard_and_tracing_are_switched_by_parameters(translated: sam.Json) -> None:
    conditions = translated["Conditions"]
    assert conditions["HasAlarms"] == {"Fn::Equals": [{"Ref": "Alarms"}, "true"]}
    assert conditions["HasMetricAlarms"] == {
        "Fn::And": [{"Condition": "HasAlarms"}, {"Fn::Equals": [{"Ref": "Metrics"}, "emf"]}]
    }
    assert conditions["HasDashboard"] == {"Fn::Equals": [{"Ref": "Dashboard"}, "true"]}
    assert translated["Resources"]["Overview"]["Condition"] == "HasDashboard"
    assert conditions["IsTraced"] == {"Fn::Equals": [{"Ref": "Tracing"}, "true"]}
    for function in FUNCTIONS:
        mode = translated["Resources"][function]["Properties"]["TracingConfig"]["Mode"]
        assert mode == {"Fn::If": ["IsTraced", "Active", "PassThrough"]}, function


def test_the_dashboard_shows_metrics_that_there_are(translated: sam.Json) -> None:
    body = translated["Resources"]["Overview"]["Properties"]["DashboardBody"]["Fn::Sub"]
    for named in re.findall(r"\$\{(\w+)\}", body):
        assert named in translated["Resources"], f"the dashboard names {named}"
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


def test_the_saved_query_reads_the_lines_that_the_functions_write(translated: sam.Json) -> None:
    ((_, query),) = sam.resources(translated, "AWS::Logs::QueryDefinition").items()
    groups = [{"Ref": f"{name}LogGroup"} for name in ("Token", "Introspect", "Authorizer")]
    assert query["Properties"]["LogGroupNames"] == groups
    commands = [each.strip() for each in query["Properties"]["QueryString"].split("|")]
    messages = re.findall(r'"([^"]+)"', commands[0])
    assert messages == ["token issued", "token introspected", "access allowed"]
    decisions = (sam.ROOT / "src/observe/event/audit.rs").read_text(encoding="utf-8")
    for message in messages:
        (line,) = re.findall(rf'line!\(([^;]*)"{message}"', decisions)
        assert "INFO" in line and "audit_tracking_id" in line, message
    # Each word picks the lines of one message.
    for word, message in zip(re.findall(r'strcontains\(message, "(\w+)"\)', commands[1]), messages, strict=True):
        assert [each for each in messages if word in each] == [message]


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        (
            ["", "arn:aws:sns:us-east-1:123456789012:alarms", "arn:aws-cn:sns:cn-north-1:123456789012:a.fifo"],
            ["alarms", "arn:aws:sqs:us-east-1:123456789012:alarms", "arn:aws:sns:us-east-1:123456789012:*"],
        )
    ],
)
def test_the_topic_of_the_alarms_is_one(source: sam.Json, good: list[str], bad: list[str]) -> None:
    pattern = re.compile(source["Parameters"]["AlarmTopicArn"]["AllowedPattern"])
    assert [value for value in good if not pattern.search(value)] == []
    assert [value for value in bad if pattern.search(value)] == []
