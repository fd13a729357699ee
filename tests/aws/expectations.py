"""What is expected: the outcome of every file under events/, in one table, used with the built binaries and with `sam local invoke`;
and of every function, what it serves and what it may touch."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import seed
from runtime_api import Answer, FunctionError, LambdaRuntime
from stack import sets_only
from template import ROOT, Json

EVENTS = ROOT / "events"
Check = Callable[[Any], bool]


@dataclass(frozen=True)
class Expected:
    """An answer: its status, its whole body, and the headers that matter.

    `body` is None for an empty body, and a check for one that is not JSON. Otherwise it names every member, each with its
    value or with a check; a member more or less fails.
    """

    status: int
    body: Mapping[str, object] | Check | None
    headers: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class ExpectedPayload:
    """What a function returns that answers no HTTP request."""

    payload: object


@dataclass(frozen=True)
class ExpectedError:
    """The message of a function error; the pattern matches all of it."""

    pattern: str


Expectation = Expected | ExpectedPayload | ExpectedError
# The Sid of a statement, its action, its resource and its condition.
Grant = tuple[str, str, Json, Json | None]


@dataclass(frozen=True)
class Function:
    """What a function serves, what it may touch besides its own log group, and what it is told."""

    grants: list[Grant]
    # The variables that it cannot do without.
    variables: list[str]
    # What the API leads to it, by the names in `grantwell describe`.
    endpoints: tuple[str, ...] = ()
    # An event that needs every permission it has, in a realm that has no signing keys yet.
    work: str | None = None
    # The actions and the Sids that this event does not need.
    beyond_work: list[str] = field(default_factory=list)
    # Variables that it can do without and other functions do not have, and the parameters of its stack that say them.
    own_optional: dict[str, str] = field(default_factory=dict)

    @property
    def actions(self) -> set[str]:
        return {action for _, action, _, _ in self.grants}

    @property
    def optional(self) -> dict[str, str]:
        """Every variable that it can do without, and the parameter that says it."""
        everybody = {"GRANTWELL_PUBLIC_URL": "PublicUrl", "GRANTWELL_METRICS": "Metrics", "GRANTWELL_SETTINGS": "Settings"}
        front = {"GRANTWELL_FRONT": "Front"} if self.endpoints else {}
        key = {"GRANTWELL_KMS_KEY_ARN": "KmsKeyArn"} if "secretsmanager:CreateSecret" in self.actions else {}
        return everybody | front | key | self.own_optional


def text(pattern: str) -> Check:
    return lambda value: isinstance(value, str) and re.fullmatch(pattern, value) is not None


def whole_number(low: int, high: int) -> Check:
    return lambda value: type(value) is int and low <= value <= high


def includes(*names: str) -> Check:
    return lambda value: isinstance(value, list) and set(names) <= set(value)


# What OAuth allows in an error description (RFC 6749 §5.2), and never an empty one.
DESCRIPTION = text(r"[\x20-\x21\x23-\x5B\x5D-\x7E]+")
NO_STORE = {
    "content-type": text(r"application/json(; ?charset=utf-8)?"),
    "cache-control": "no-store",
    "pragma": "no-cache",
}
CHALLENGE = 'Basic realm="alpha", charset="UTF-8"'
HOST = "https://grantwell0.execute-api.us-east-1.amazonaws.com"
ALPHA = f"{HOST}/am/oauth2/realms/root/realms/alpha"


def rejected(status: int, code: str, **headers: str) -> Expected:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Expected(status, {"error": code, "error_description": DESCRIPTION}, NO_STORE | named)


def unauthenticated() -> Expected:
    return rejected(401, "invalid_client", www_authenticate=CHALLENGE)


def not_a_trusted_role() -> Expected:
    """Where AWS verifies who calls, nobody is asked for a secret."""
    return rejected(401, "invalid_client", www_authenticate="AWS4-HMAC-SHA256")


OPAQUE = r"gwt_[A-Za-z0-9_-]{43}"
JWT = r"eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+"


def issued(scope: str, form: str = OPAQUE) -> Expected:
    body = {
        "access_token": text(form),
        "scope": scope,
        "token_type": "Bearer",
        "expires_in": 3600,
    }
    return Expected(200, body, NO_STORE)


def counted(scope: str, form: str = OPAQUE) -> Expected:
    """Issued to a client with a quota of a million a day, which is told what is left."""
    left = {
        "ratelimit-policy": '"day";q=1000000;w=86400',
        "ratelimit": text(r'"day";r=999\d{3};t=[1-9]\d{0,4}'),
    }
    answer = issued(scope, form)
    return Expected(answer.status, answer.body, {**answer.headers, **left})


def active_token() -> Expected:
    body = {
        "active": True,
        "scope": "write",
        "client_id": "myClient",
        "token_type": "Bearer",
        "exp": whole_number(1_700_000_000, 9_999_999_999),
        "iat": whole_number(1_700_000_000, 9_999_999_999),
        "sub": "myClient",
        "aud": seed.ISSUER,
        "iss": seed.ISSUER,
        "jti": f"jti-of-{seed.ACTIVE.name}",
        "realm": "/alpha",
        "expires_in": whole_number(1, seed.ACTIVE.lifetime),
        "auditTrackingId": f"audit-of-{seed.ACTIVE.name}",
    }
    return Expected(200, body, NO_STORE)


def metadata(issuer: str) -> Expected:
    methods = includes("client_secret_basic", "client_secret_post", "private_key_jwt")
    algorithms = includes("ES256", "ES384", "PS256", "EdDSA", "Ed25519", "RS256")
    body = {
        "issuer": issuer,
        "token_endpoint": f"{issuer}/access_token",
        "token_endpoint_auth_methods_supported": methods,
        "token_endpoint_auth_signing_alg_values_supported": algorithms,
        "jwks_uri": f"{issuer}/connect/jwk_uri",
        "introspection_endpoint": f"{issuer}/introspect",
        "introspection_endpoint_auth_methods_supported": methods,
        "introspection_endpoint_auth_signing_alg_values_supported": algorithms,
        "introspection_signing_alg_values_supported": ["ES256", "EdDSA", "PS256", "RS256"],
        "revocation_endpoint": f"{issuer}/token/revoke",
        "revocation_endpoint_auth_methods_supported": methods,
        "revocation_endpoint_auth_signing_alg_values_supported": algorithms,
        "grant_types_supported": ["client_credentials", "urn:ietf:params:oauth:grant-type:jwt-bearer"],
    }
    return Expected(200, body, {"content-type": NO_STORE["content-type"], "cache-control": "public, max-age=300"})


def passes() -> ExpectedPayload:
    return ExpectedPayload({"isAuthorized": True, "context": FACTS})


def stops(reason: str) -> ExpectedPayload:
    return ExpectedPayload({"isAuthorized": False, "context": {"reason": reason}})


def policy(statements: list[Json], context: Json) -> ExpectedPayload:
    document = {"Version": "2012-10-17", "Statement": statements}
    return ExpectedPayload({"principalId": "myClient", "policyDocument": document, "context": context})


def statement(effect: str, *requests: str) -> Json:
    resources = [f"arn:aws:execute-api:us-east-1:123456789012:orders0001/prod/{request}" for request in requests]
    return {"Effect": effect, "Action": "execute-api:Invoke", "Resource": resources}


# What the API behind the authorizer learns of seed.ACTIVE.
FACTS = {"client_id": "myClient", "sub": "myClient", "scope": "write"}
UNAUTHORIZED = ExpectedError("Unauthorized")

INACTIVE = Expected(200, {"active": False}, NO_STORE)
REVOKED = Expected(200, None, {"cache-control": "no-store", "pragma": "no-cache"})

SIGNED_ANSWER = Expected(
    200, text(JWT), NO_STORE | {"content-type": text(r"application/token-introspection\+jwt(; ?charset=utf-8)?")}
)
# None where nothing was signed for the realm yet, as in a fresh emulator.
KEYS = Expected(200, {"keys": lambda keys: isinstance(keys, list)}, {"content-type": NO_STORE["content-type"]})
UNKNOWN_EVENT = ExpectedError(
    "the event is neither a rotation step of Secrets Manager nor a scheduled event of EventBridge"
)

EXPECTATIONS: dict[str, Expectation] = {
    "token/basic": issued("write"),
    "token/jwt": issued("write", JWT),
    "token/quota": counted("write", JWT),
    "token/basic-no-scope": issued("write"),
    "token/post": issued("write"),
    "token/rest-api-v1": issued("write"),
    "token/base64-body": issued("write"),
    "token/wrong-secret": unauthenticated(),
    "token/unknown-client": unauthenticated(),
    "token/private-key-jwt-expired": unauthenticated(),
    "token/workload-identity-expired": unauthenticated(),
    "token/jwt-bearer-expired": rejected(400, "invalid_grant"),
    "token/invalid-scope": rejected(400, "invalid_scope"),
    "token/unsupported-grant": rejected(400, "unsupported_grant_type"),
    "token/duplicate-parameter": rejected(400, "invalid_request"),
    "token/json-body": rejected(400, "invalid_request"),
    "token/get": rejected(405, "invalid_request", allow="POST"),
    "token/unknown-realm": rejected(404, "not_found"),
    "introspect/active": active_token(),
    "introspect/signed": SIGNED_ANSWER,
    "introspect/inactive": INACTIVE,
    "introspect/own-token": active_token(),
    "introspect/foreign": INACTIVE,
    "introspect/rest-api-v1": active_token(),
    "introspect/unauthenticated": unauthenticated(),
    "introspect/missing-token": rejected(400, "invalid_request"),
    "revoke/own": REVOKED,
    "revoke/unknown": REVOKED,
    "revoke/foreign": rejected(400, "invalid_request"),
    "revoke/unauthenticated": unauthenticated(),
    "metadata/oauth-authorization-server": metadata(ALPHA),
    "metadata/openid-configuration": metadata(ALPHA),
    "metadata/rfc8414-path": metadata(ALPHA),
    "metadata/root": metadata(f"{HOST}/oauth2"),
    "metadata/jwks": KEYS,
    "metadata/unknown-realm": rejected(404, "not_found"),
    "metadata/post": rejected(405, "invalid_request", allow="GET, HEAD"),
    "rotate/scheduled": ExpectedPayload(None),
    "rotate/create-client-secret": ExpectedPayload(None),
    "rotate/set-client-secret": ExpectedPayload(None),
    "rotate/not-pending": ExpectedError("the version is not the one that is pending; start the rotation again"),
    "rotate/foreign-secret": ExpectedError(
        "the secret is neither a client's secret nor a realm's signing keys of this stack"
    ),
    "rotate/unknown-step": UNKNOWN_EVENT,
    "rotate/proxy-request": UNKNOWN_EVENT,
    "iam/function-url": counted("write", JWT),
    "iam/http-api": counted("write", JWT),
    "iam/rest-api-v1": counted("write", JWT),
    "iam/another-session": counted("write", JWT),
    "iam/introspect": INACTIVE,
    "iam/revoke": REVOKED,
    "iam/another-role": not_a_trusted_role(),
    "iam/another-account": not_a_trusted_role(),
    "iam/another-partition": not_a_trusted_role(),
    "iam/contradiction": not_a_trusted_role(),
    "iam/user": not_a_trusted_role(),
    "iam/root": not_a_trusted_role(),
    "iam/federated-user": not_a_trusted_role(),
    "iam/cognito": not_a_trusted_role(),
    "iam/test-invoke": not_a_trusted_role(),
    "iam/unsigned": not_a_trusted_role(),
    "iam/unknown-client": not_a_trusted_role(),
    "iam/no-client-id": rejected(400, "invalid_request"),
    "iam/secret-beside": rejected(400, "invalid_request"),
    "iam/basic-beside": rejected(400, "invalid_request"),
    "authorizer/http-api-v2": passes(),
    "authorizer/http-api-v2-path-parameter": passes(),
    "authorizer/http-api-v2-no-header": stops("no_credentials"),
    "authorizer/http-api-v2-invalid-token": stops("invalid_token"),
    "authorizer/http-api-v2-insufficient-scope": stops("insufficient_scope"),
    "authorizer/http-api-v2-unknown-route": stops("no_such_route"),
    "authorizer/http-api-v1-invalid-token": ExpectedPayload(
        {
            "principalId": "unauthenticated",
            "policyDocument": {
                "Version": "2012-10-17",
                "Statement": [
                    {
                        "Effect": "Deny",
                        "Action": "execute-api:Invoke",
                        "Resource": ["arn:aws:execute-api:us-east-1:123456789012:orders0000/$default/POST/orders"],
                    }
                ],
            },
            "context": {"reason": "invalid_token"},
        }
    ),
    "authorizer/rest-token": policy([statement("Allow", "POST/orders", "GET/orders")], FACTS),
    "authorizer/rest-token-unauthorized": UNAUTHORIZED,
    "authorizer/rest-request": policy([statement("Allow", "GET/orders/42", "GET/orders", "POST/orders")], FACTS),
    "authorizer/rest-request-insufficient-scope": policy(
        [statement("Deny", "DELETE/orders/42"), statement("Allow", "GET/orders", "POST/orders")],
        {"reason": "insufficient_scope"},
    ),
    "authorizer/rest-request-unauthorized": UNAUTHORIZED,
    "authorizer/rest-request-two-headers": UNAUTHORIZED,
}

REGISTRY = {"Fn::GetAtt": ["RegistryTable", "Arn"]}
TOKENS = {"Fn::GetAtt": ["TokenTable", "Arn"]}
# The stack's own name where the operator says no other: no two stacks of an account and region have the same.
PREFIX = {"Fn::If": ["HasSecretPrefix", {"Ref": "SecretPrefix"}, {"Ref": "AWS::StackName"}]}


def secrets(pattern: str) -> Json:
    arn = "arn:${AWS::Partition}:secretsmanager:${AWS::Region}:${AWS::AccountId}:secret:${Prefix}"
    return {"Fn::Sub": [f"{arn}/*/{pattern}", {"Prefix": PREFIX}]}


def table_named(parameter: str) -> Json:
    """Of another stack, whose name a parameter says."""
    return {"Fn::Sub": f"arn:${{AWS::Partition}}:dynamodb:${{AWS::Region}}:${{AWS::AccountId}}:table/${{{parameter}}}"}


CLIENT_SECRETS = secrets("clients/*")
# Without a hyphen before the wildcard: what does not exist yet has no six characters.
SIGNING_KEYS = secrets("signing-keys*")


def items(*kinds: str) -> Json:
    """Only items of these kinds. The Null is there because ForAllValues is met by a call that names no key at all."""
    keys = [f"{kind}#*" for kind in kinds]
    return {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": keys}, "Null": {"dynamodb:LeadingKeys": "false"}}


# A mark keeps when the token would have expired and its audit id, so the function that writes it must not touch those.
MARKED = ["id", "version", "realm", "client_id", "registration_id", "scope", "iss", "aud", "iat", "jti", "claims", "trust_rule"]


def versions(*labels: str) -> Json:
    return {"ForAnyValue:StringEquals": {"secretsmanager:VersionStage": list(labels)}}


# The one condition on the registry table: public keys are in partitions of their own, where no registration is.
OWN_PARTITIONS = items("keys")
USED_SECRETS = versions("AWSCURRENT", "AWSPREVIOUS")
CHANGED_SECRETS = versions("AWSCURRENT", "AWSPENDING")
FIRST_KEYS: list[Grant] = [
    ("ReadSigningKeys", "secretsmanager:GetSecretValue", SIGNING_KEYS, versions("AWSCURRENT")),
    ("CreateSigningKeys", "secretsmanager:CreateSecret", SIGNING_KEYS, None),
    ("TagNewSigningKeys", "secretsmanager:TagResource", SIGNING_KEYS, sets_only("grantwell:registry")),
    ("PublishKeys", "dynamodb:PutItem", REGISTRY, OWN_PARTITIONS),
]


def rotation_of(what: str, resource: Json) -> list[Grant]:
    return [
        (f"Describe{what}", "secretsmanager:DescribeSecret", resource, None),
        (f"Read{what}", "secretsmanager:GetSecretValue", resource, CHANGED_SECRETS),
        (f"Write{what}", "secretsmanager:PutSecretValue", resource, None),
        (f"Stage{what}", "secretsmanager:UpdateSecretVersionStage", resource, CHANGED_SECRETS),
    ]


# What the event of `work` does not need: a stateless JWT, which is signed anew each time, stands in no file. Its controls are
# in test_a_stateless_jwt_ends_by_the_one_kind_of_item_that_revocation_may_write.
WHOLE_SINCE = ["DateTokenTable", "dynamodb:DescribeTable"]
# AWS asks for it where a secret is made with tags; moto does not. Its controls are those of TagNewSigningKeys.
TAGGED = ["secretsmanager:TagResource"]
# Of clients that publish their keys. No event file can have such a client: its address leads nowhere.
FETCHED_KEYS: list[Grant] = [
    ("ReadFetchedKeys", "dynamodb:GetItem", TOKENS, items("fetched-jwks")),
    ("ShareFetchedKeys", "dynamodb:UpdateItem", TOKENS, items("fetched-jwks")),
]
# Without it a realm and a client are read one after the other. Its control is test_without_a_read_of_several_items_each_is_read_alone.
READ_TOGETHER = ["ReadRealmsWithClients", "dynamodb:BatchGetItem"]
OF_PUBLISHED_KEYS = ["ReadFetchedKeys", "ShareFetchedKeys"]
# The functions, in the order of the template; the last one has a template of its own. What each may touch is the security model.
FUNCTIONS = {
    "TokenFunction": Function(
        endpoints=("token",),
        work="token/quota",
        grants=[
            ("ReadRegistrations", "dynamodb:GetItem", REGISTRY, None),
            ("ReadRealmsWithClients", "dynamodb:BatchGetItem", REGISTRY, None),
            ("StoreTokens", "dynamodb:PutItem", TOKENS, items("token", "store")),
            ("ReadWholeSince", "dynamodb:GetItem", TOKENS, items("store")),
            *FETCHED_KEYS,
            ("DateTokenTable", "dynamodb:DescribeTable", TOKENS, None),
            ("CountTokens", "dynamodb:UpdateItem", TOKENS, items("quota")),
            ("MarkUse", "dynamodb:UpdateItem", TOKENS, items("use")),
            ("RememberAssertions", "dynamodb:PutItem", TOKENS, items("used")),
            ("ReadClientSecrets", "secretsmanager:GetSecretValue", CLIENT_SECRETS, USED_SECRETS),
            *FIRST_KEYS,
        ],
        variables=["GRANTWELL_REGISTRY_TABLE", "GRANTWELL_TOKEN_TABLE", "GRANTWELL_SECRET_PREFIX"],
        beyond_work=[*READ_TOGETHER, "MarkUse", "RememberAssertions", "ReadWholeSince", *WHOLE_SINCE, *TAGGED, *OF_PUBLISHED_KEYS],
    ),
    "IntrospectFunction": Function(
        endpoints=("introspection",),
        work="introspect/signed",
        grants=[
            ("ReadRegistrations", "dynamodb:GetItem", REGISTRY, None),
            ("ReadRealmsWithClients", "dynamodb:BatchGetItem", REGISTRY, None),
            ("ReadTokens", "dynamodb:GetItem", TOKENS, items("token", "revoked", "store")),
            *FETCHED_KEYS,
            ("DateTokenTable", "dynamodb:DescribeTable", TOKENS, None),
            ("MarkUse", "dynamodb:UpdateItem", TOKENS, items("use")),
            ("RememberAssertions", "dynamodb:PutItem", TOKENS, items("used")),
            ("ReadClientSecrets", "secretsmanager:GetSecretValue", CLIENT_SECRETS, USED_SECRETS),
            *FIRST_KEYS,
        ],
        variables=["GRANTWELL_REGISTRY_TABLE", "GRANTWELL_TOKEN_TABLE", "GRANTWELL_SECRET_PREFIX"],
        beyond_work=[*READ_TOGETHER, "MarkUse", "RememberAssertions", *WHOLE_SINCE, *TAGGED, *OF_PUBLISHED_KEYS, "dynamodb:UpdateItem"],
    ),
    "RevokeFunction": Function(
        endpoints=("revocation",),
        work="revoke/own",
        grants=[
            ("ReadRegistrations", "dynamodb:GetItem", REGISTRY, None),
            ("ReadRealmsWithClients", "dynamodb:BatchGetItem", REGISTRY, None),
            *FETCHED_KEYS,
            (
                *("MarkRevokedTokens", "dynamodb:UpdateItem", TOKENS),
                items("token") | {"ForAllValues:StringEquals": {"dynamodb:Attributes": MARKED}},
            ),
            ("EndStatelessTokens", "dynamodb:PutItem", TOKENS, items("revoked")),
            ("MarkUse", "dynamodb:UpdateItem", TOKENS, items("use")),
            ("RememberAssertions", "dynamodb:PutItem", TOKENS, items("used")),
            ("ReadClientSecrets", "secretsmanager:GetSecretValue", CLIENT_SECRETS, USED_SECRETS),
        ],
        variables=["GRANTWELL_REGISTRY_TABLE", "GRANTWELL_TOKEN_TABLE", "GRANTWELL_SECRET_PREFIX"],
        beyond_work=[*READ_TOGETHER, "MarkUse", "RememberAssertions", "EndStatelessTokens", "dynamodb:PutItem", *OF_PUBLISHED_KEYS],
    ),
    "MetadataFunction": Function(
        endpoints=("metadata", "jwks"),
        work="metadata/oauth-authorization-server",
        grants=[("ReadRegistrations", "dynamodb:GetItem", REGISTRY, None)],
        variables=["GRANTWELL_REGISTRY_TABLE"],
    ),
    # Its controls are in test_rotation.py: no single event needs all of its permissions.
    "RotateFunction": Function(
        grants=[
            ("ReadRegistrations", "dynamodb:GetItem", REGISTRY, None),
            ("ListRegistrations", "dynamodb:Query", REGISTRY, None),
            ("PublishKeys", "dynamodb:PutItem", REGISTRY, OWN_PARTITIONS),
            ("WriteAdminLog", "dynamodb:PutItem", REGISTRY, items("log")),
            *rotation_of("ClientSecrets", CLIENT_SECRETS),
            *rotation_of("SigningKeys", SIGNING_KEYS),
            ("KeepFailedRuns", "sqs:SendMessage", {"Fn::GetAtt": ["ScheduleFailures", "Arn"]}, None),
        ],
        variables=["GRANTWELL_REGISTRY_TABLE", "GRANTWELL_SECRET_PREFIX"],
        # Lambda's own work, with the function's role, which no emulator here does.
        beyond_work=["KeepFailedRuns", "sqs:SendMessage"],
    ),
    # Its address is its own, and no route of the API leads to it.
    "IamFunction": Function(
        work="iam/function-url",
        grants=[
            ("ReadRegistrations", "dynamodb:GetItem", REGISTRY, None),
            ("ReadRealmsWithClients", "dynamodb:BatchGetItem", REGISTRY, None),
            ("StoreTokens", "dynamodb:PutItem", TOKENS, items("token", "store")),
            ("ReadTokens", "dynamodb:GetItem", TOKENS, items("token", "revoked", "store")),
            ("DateTokenTable", "dynamodb:DescribeTable", TOKENS, None),
            ("CountTokens", "dynamodb:UpdateItem", TOKENS, items("quota")),
            ("MarkUse", "dynamodb:UpdateItem", TOKENS, items("use")),
            (
                *("MarkRevokedTokens", "dynamodb:UpdateItem", TOKENS),
                items("token") | {"ForAllValues:StringEquals": {"dynamodb:Attributes": MARKED}},
            ),
            ("EndStatelessTokens", "dynamodb:PutItem", TOKENS, items("revoked")),
            *FIRST_KEYS,
        ],
        variables=["GRANTWELL_REGISTRY_TABLE", "GRANTWELL_PUBLIC_URL", "GRANTWELL_TOKEN_TABLE", "GRANTWELL_SECRET_PREFIX"],
        beyond_work=[*READ_TOGETHER, "ReadTokens", "MarkUse", "MarkRevokedTokens", "EndStatelessTokens", *WHOLE_SINCE, *TAGGED],
    ),
    "AuthorizerFunction": Function(
        work="authorizer/http-api-v2",
        grants=[
            ("ReadRegistrations", "dynamodb:GetItem", table_named("RegistryTable"), None),
            ("ReadTokens", "dynamodb:GetItem", table_named("TokenTable"), items("token", "revoked", "store")),
            ("DateTokenTable", "dynamodb:DescribeTable", table_named("TokenTable"), None),
        ],
        variables=[
            *("GRANTWELL_REGISTRY_TABLE", "GRANTWELL_TOKEN_TABLE", "GRANTWELL_PUBLIC_URL"),
            *("GRANTWELL_AUTHORIZER_REALM", "GRANTWELL_AUTHORIZER_SCOPES"),
        ],
        own_optional={"GRANTWELL_AUTHORIZER_AUDIENCE": "Audience", "GRANTWELL_AUTHORIZER_RESPONSE": "Response"},
        beyond_work=WHOLE_SINCE,
    ),
}
# An event of each function that one can put to work.
WORK = {name: row.work for name, row in FUNCTIONS.items() if row.work}
# The answer while AWS cannot be asked: honest, and with a time to come back. The authorizer can only fail, which lets nobody
# pass and is not remembered.
UNAVAILABLE: dict[str, Expectation] = {
    name: rejected(503, "temporarily_unavailable", retry_after="2") for name in WORK
} | {"AuthorizerFunction": ExpectedError("temporarily_unavailable")}


def files() -> dict[str, Path]:
    """Every event file by its name in the table."""
    return {path.relative_to(EVENTS).with_suffix("").as_posix(): path for path in sorted(EVENTS.glob("**/*.json"))}


def event(name: str) -> Json:
    """The event of a file, for the deployed stack. `sam local` names every stack `local`, and so do the files their secrets."""
    parsed: Json = json.loads((EVENTS / f"{name}.json").read_text(encoding="utf-8"))
    if "SecretId" in parsed:
        parsed["SecretId"] = re.sub(f"^{seed.SECRET_PREFIX}/", "grantwell/", parsed["SecretId"])
    return parsed


def assert_outcome(function: LambdaRuntime, given: Json, expected: Expectation) -> Answer | None:
    """Invokes the function, and compares an answer, a payload or an error with what the table says. Returns the answer."""
    match expected:
        case Expected():
            answer = function.call(given)
            assert_answer(answer, expected)
            return answer
        case ExpectedPayload():
            assert function.invoke(given) == expected.payload
        case ExpectedError():
            with pytest.raises(FunctionError) as failed:
                function.invoke(given)
            assert re.fullmatch(expected.pattern, failed.value.message), failed.value.message
    return None


def assert_answer(answer: Answer, expected: Expected) -> None:
    """Compares all that the table says, and reports the answer on a mismatch."""
    shown = f"{answer.status} {dict(answer.headers)} {answer.body!r}"
    assert answer.status == expected.status, f"expected {expected.status}, got {shown}"
    for name, wanted in expected.headers.items():
        assert name in answer.headers, f"header {name} is missing in {shown}"
        assert _matches(answer.headers[name], wanted), f"header {name} is not as expected in {shown}"
    if expected.status != 401:
        assert "www-authenticate" not in answer.headers, f"a challenge without a 401: {shown}"
    if expected.body is None:
        assert answer.body == b"", f"expected an empty body, got {shown}"
        return
    if callable(expected.body):
        assert expected.body(answer.body.decode()), f"the body is not as expected in {shown}"
        return
    body = answer.json
    assert isinstance(body, dict) and body.keys() == expected.body.keys(), (
        f"expected {sorted(expected.body)}, got {shown}"
    )
    for name, wanted in expected.body.items():
        assert _matches(body[name], wanted), f"member {name} is not as expected in {shown}"


def _matches(value: object, wanted: object) -> bool:
    if callable(wanted):
        return bool(wanted(value))
    return type(value) is type(wanted) and value == wanted
