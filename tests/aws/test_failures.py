"""AWS fails, or the event is not one: the answer stays an OAuth error, holds no token, and the next request works."""

from __future__ import annotations

import base64
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from aws_calls import AwsCalls
from conftest import StartFunction
from emulator import ANYONE, Credentials, Emulator
from expectations import (
    EXPECTATIONS,
    UNAVAILABLE,
    WORK,
    Expected,
    ExpectedError,
    assert_answer,
    assert_outcome,
    event,
    rejected,
)
from runtime_api import FunctionError
from stack import Stack
from template import Json

BROKEN = rejected(400, "invalid_request")

# What an SDK may read of its environment, and what this one does.
OF_THE_SDK = (
    *("AWS_ENDPOINT_URL_DYNAMODB", "AWS_ENDPOINT_URL_SECRETS_MANAGER", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"),
    *("AWS_PROFILE", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_CA_BUNDLE", "AWS_SDK_UA_APP_ID"),
    *("AWS_MAX_ATTEMPTS", "AWS_RETRY_MODE", "AWS_USE_FIPS_ENDPOINT", "AWS_USE_DUALSTACK_ENDPOINT", "AWS_SESSION_TOKEN"),
    *("AWS_ACCOUNT_ID", "AWS_ACCOUNT_ID_ENDPOINT_MODE", "AWS_AUTH_SCHEME_PREFERENCE", "AWS_DEFAULTS_MODE"),
    *("AWS_REQUEST_CHECKSUM_CALCULATION", "AWS_RESPONSE_CHECKSUM_VALIDATION", "AWS_DISABLE_REQUEST_COMPRESSION"),
    *("AWS_REQUEST_MIN_COMPRESSION_SIZE_BYTES", "AWS_SIGV4A_SIGNING_REGION_SET", "AWS_EC2_METADATA_DISABLED"),
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"),
)
EMPTY = dict.fromkeys(OF_THE_SDK, "")
# The SDK's signer panics on it, deep below a call.
BREAKS_THE_SIGNER = Credentials("AKIA\nEXAMPLE", "secret")


@pytest.fixture
def dead_end() -> Iterator[socket.socket]:
    """A port that is ours: while it does not listen it refuses connections, and when it does, nobody answers on them."""
    with socket.socket() as ours:
        ours.bind(("127.0.0.1", 0))
        yield ours


def url(address: socket.socket) -> str:
    return f"http://127.0.0.1:{address.getsockname()[1]}"


@pytest.mark.parametrize("name", WORK)
def test_aws_that_refuses_connections_is_a_503(
    name: str, seeded: Stack, start: StartFunction, dead_end: socket.socket
) -> None:
    function = start(seeded.functions[name], endpoint=url(dead_end))
    assert_outcome(function, event(WORK[name]), UNAVAILABLE[name])


@pytest.mark.parametrize("name", WORK)
def test_an_empty_variable_is_unset_for_the_sdk_too(name: str, seeded: Stack, start: StartFunction) -> None:
    """`sam local` hands on each declared variable, as an empty text where the caller's shell has none."""
    function = seeded.functions[name]
    credentials = seeded.credentials(function.role_arn)
    assert credentials.session_token, "a role without a session token, so this test proves less"
    # Behind the credentials, which have a session token of their own.
    empty = {variable: "" for variable in OF_THE_SDK if variable != "AWS_SESSION_TOKEN"} | {"AWS_REGION": ""}
    running = start(function, environment={**function.environment, **empty}, credentials=credentials)
    assert_outcome(running, event(WORK[name]), EXPECTATIONS[WORK[name]])
    assert "aws_config" not in running.logs(), running.logs()


@pytest.mark.parametrize("name", WORK)
def test_somebody_who_has_exported_nothing_gets_a_503(
    name: str, seeded: Stack, start: StartFunction, dead_end: socket.socket
) -> None:
    """AWS_ENDPOINT_URL is among the declared ones. Through a proxy that is not there, so that nothing leaves this machine."""
    function = seeded.functions[name]
    environment = {**function.environment, **EMPTY, "HTTPS_PROXY": url(dead_end)}
    running = start(function, environment=environment, credentials=ANYONE, endpoint="")
    for _ in range(2):
        assert_outcome(running, event(WORK[name]), UNAVAILABLE[name])
    assert "panicked" not in running.logs()


def test_a_secret_of_another_name_is_refused_before_any_call(
    seeded: Stack, start: StartFunction, dead_end: socket.socket
) -> None:
    """The role may not ask for it, so that AWS would only say that access is denied."""
    function = start(seeded.functions["RotateFunction"], endpoint=url(dead_end))
    given = event("rotate/foreign-secret")
    prefix = seeded.parameters["SecretPrefix"]
    arn = f"arn:aws:secretsmanager:us-east-1:123456789012:secret:{prefix}"
    foreign = EXPECTATIONS["rotate/foreign-secret"]
    for name in (given["SecretId"], f"{arn}2/alpha/clients/myClient-AbCdEf", f"{arn}/alpha/passwords-AbCdEf", f"{arn}-AbCdEf"):
        assert_outcome(function, {**given, "SecretId": name}, foreign)
    for name in (f"{prefix}/alpha/clients/myClient", f"{arn}/alpha/clients/myClient-AbCdEf", f"{arn}/alpha/signing-keys-AbCdEf"):
        assert_outcome(function, {**given, "SecretId": name}, ExpectedError("Secrets Manager is unavailable: .*"))


def test_an_empty_variable_is_unset_for_the_command_too(
    registered: Stack, emulator: Emulator, binaries: Path, tmp_path: Path
) -> None:
    profile = f"[default]\nregion = us-east-1\nendpoint_url = {emulator.url}\n"
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "config").write_text(profile, encoding="utf-8")
    environment = {
        **{variable: "" for variable in (*OF_THE_SDK, "AWS_ENDPOINT_URL", "AWS_REGION", "AWS_DEFAULT_REGION")},
        **emulator.operator.variables(),
        **{"HOME": str(tmp_path), "GRANTWELL_KMS_KEY_ARN": "", "GRANTWELL_SECRET_PREFIX": "grantwell"},
        "GRANTWELL_REGISTRY_TABLE": registered.physical_id("RegistryTable"),
    }
    listed = grantwell(binaries, environment, "client", "list", "--realm", "alpha", "--store", "aws")
    assert listed.returncode == 0, listed.stderr
    assert "myClient" in listed.stdout and listed.stderr == ""


@pytest.mark.parametrize("name", [name for name in WORK if name != "AuthorizerFunction"])
def test_a_panic_below_a_call_to_aws_is_a_500_and_the_next_event_is_answered(
    name: str, seeded: Stack, start: StartFunction
) -> None:
    function = start(seeded.functions[name], credentials=BREAKS_THE_SIGNER)
    for _ in range(2):
        assert_outcome(function, event(WORK[name]), rejected(500, "server_error"))
    panics = [line for line in function.log_lines() if line["message"] == "a request handler panicked"]
    assert len(panics) == 2 and all("aws-runtime" in line["location"] for line in panics), panics
    assert "AKIA" not in function.logs()


@pytest.mark.parametrize(
    ("name", "given", "said"),
    [
        ("AuthorizerFunction", "authorizer/http-api-v2", "server_error"),
        ("RotateFunction", "rotate/create-client-secret", "the function failed unexpectedly; the log says where"),
    ],
)
def test_a_panic_below_a_call_to_aws_is_an_error_of_a_function_without_http(
    name: str, given: str, said: str, seeded: Stack, start: StartFunction
) -> None:
    """Without the panic's message, which may quote what it choked on."""
    function = start(seeded.functions[name], credentials=BREAKS_THE_SIGNER)
    for _ in range(2):
        with pytest.raises(FunctionError) as failed:
            function.invoke(event(given))
        assert failed.value.message == said
    assert "AKIA" not in function.logs()


def test_a_panic_below_a_call_to_aws_ends_a_command_with_a_sentence(
    registered: Stack, emulator: Emulator, binaries: Path
) -> None:
    environment = {
        **emulator.variables(),
        **BREAKS_THE_SIGNER.variables(),
        **{"GRANTWELL_SECRET_PREFIX": "grantwell", "RUST_BACKTRACE": "1"},
        "GRANTWELL_REGISTRY_TABLE": registered.physical_id("RegistryTable"),
    }
    ended = grantwell(binaries, environment, "client", "list", "--realm", "alpha", "--store", "aws")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert re.fullmatch(r"error: a fault in this program, at \S+/aws-runtime-\S+:[0-9]+:[0-9]+; .*\n", ended.stderr), ended


def grantwell(binaries: Path, environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(binaries / "grantwell"), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("name", WORK)
def test_aws_that_never_answers_is_a_503_before_lambda_gives_up(
    name: str, seeded: Stack, start: StartFunction, dead_end: socket.socket
) -> None:
    dead_end.listen(64)
    function = start(seeded.functions[name], endpoint=url(dead_end))
    begun = time.monotonic()
    assert_outcome(function, event(WORK[name]), UNAVAILABLE[name])
    assert time.monotonic() - begun < seeded.functions[name].timeout_seconds


@pytest.mark.parametrize(
    ("name", "action"),
    [
        ("TokenFunction", "dynamodb:GetItem"),
        ("TokenFunction", "dynamodb:BatchGetItem"),
        ("TokenFunction", "dynamodb:PutItem"),
        ("TokenFunction", "secretsmanager:GetSecretValue"),
        ("TokenFunction", "secretsmanager:CreateSecret"),
        ("IntrospectFunction", "dynamodb:GetItem"),
        ("IntrospectFunction", "dynamodb:BatchGetItem"),
        ("IntrospectFunction", "dynamodb:PutItem"),
        ("IntrospectFunction", "secretsmanager:GetSecretValue"),
        ("IntrospectFunction", "secretsmanager:CreateSecret"),
        ("RevokeFunction", "dynamodb:GetItem"),
        ("RevokeFunction", "dynamodb:BatchGetItem"),
        ("RevokeFunction", "dynamodb:UpdateItem"),
        ("RevokeFunction", "secretsmanager:GetSecretValue"),
        ("MetadataFunction", "dynamodb:GetItem"),
        ("AuthorizerFunction", "dynamodb:GetItem"),
    ],
)
def test_throttling_is_a_503_after_the_sdks_three_attempts(
    name: str, action: str, seeded: Stack, start: StartFunction, emulator: Emulator
) -> None:
    """Above all no token that was not stored, no `{"active":false}` for a token that is, no 200 for a revocation undone, no
    word of an authorizer that a cache could keep.
    """
    function = seeded.functions[name]
    with AwsCalls(emulator, function.statements, throttled=frozenset({action})) as aws:
        # An opaque token is stored by the only PutItem there is.
        work = "token/basic" if (name, action) == ("TokenFunction", "dynamodb:PutItem") else WORK[name]
        assert_outcome(start(function, endpoint=aws.url), event(work), UNAVAILABLE[name])
        tried = [call for call in aws.calls if call.action == action]
        # Of a batch each item counts, and there are two.
        assert len(tried) == (6 if action == "dynamodb:BatchGetItem" else 3), tried


def changed(event: Json, **members: object) -> Json:
    return {**event, **members}


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param(changed(event("token/basic"), body="not base64!"), id="no base64"),
        pytest.param(changed(event("token/basic"), body="Z3Jh\r\nbnQ="), id="base64 with line breaks"),
        pytest.param(changed(event("token/basic"), body=base64.b64encode(b"scope=\xff\xfe").decode()), id="no UTF-8"),
        pytest.param(changed(event("token/basic"), headers=None), id="headers null"),
        pytest.param(changed(event("token/basic"), body=None, isBase64Encoded=False), id="body null"),
    ],
)
def test_a_broken_event_is_a_400_and_the_next_one_works(broken: Json, seeded: Stack, start: StartFunction) -> None:
    function = start(seeded.functions["TokenFunction"])
    assert_answer(function.call(broken), BROKEN)
    assert_outcome(function, event("token/basic"), EXPECTATIONS["token/basic"])


@pytest.mark.parametrize(
    "strange",
    [
        pytest.param({}, id="empty"),
        pytest.param({"key1": "value1", "key2": "value2", "key3": "value3"}, id="the console's test event"),
        pytest.param({"version": "2.0", "requestContext": None}, id="requestContext null"),
        pytest.param([], id="no object"),
    ],
)
def test_what_is_no_request_gets_an_oauth_error_and_the_next_one_works(
    strange: Json, seeded: Stack, start: StartFunction
) -> None:
    function = start(seeded.functions["TokenFunction"])
    answer = function.call(strange)
    assert answer.status in (400, 404, 405), answer
    assert answer.json.keys() == {"error", "error_description"}
    assert answer.headers["cache-control"] == "no-store"
    assert_outcome(function, event("token/basic"), EXPECTATIONS["token/basic"])


@pytest.mark.parametrize(
    ("member", "value"),
    [("host", "evil.example"), ("x-forwarded-host", "evil.example"), ("forwarded", "host=evil.example;proto=http")],
)
def test_the_issuer_is_the_gateways_name_whatever_a_header_says(
    member: str, value: str, seeded: Stack, start: StartFunction
) -> None:
    spoofed = event("metadata/oauth-authorization-server")
    spoofed["headers"][member] = value
    answer = start(seeded.functions["MetadataFunction"]).call(spoofed)
    expected = EXPECTATIONS["metadata/oauth-authorization-server"]
    assert isinstance(expected, Expected)
    assert_answer(answer, expected)


@pytest.mark.parametrize("strange", [{}, [], {"type": "TOKEN"}, event("token/basic")])
def test_what_is_no_request_to_an_authorizer_fails_and_the_next_one_works(
    strange: Json, seeded: Stack, start: StartFunction
) -> None:
    function = start(seeded.functions["AuthorizerFunction"])
    assert_outcome(function, strange, ExpectedError("the event is not a request to an authorizer"))
    assert_outcome(function, event("authorizer/http-api-v2"), EXPECTATIONS["authorizer/http-api-v2"])


def test_two_authorization_headers_are_refused(seeded: Stack, start: StartFunction) -> None:
    """HTTP API joins repeated headers by a comma: one of two credentials must not win."""
    doubled = event("token/basic")
    doubled["headers"]["authorization"] += "," + event("token/wrong-secret")["headers"]["authorization"]
    answer = start(seeded.functions["TokenFunction"]).call(doubled)
    assert answer.status in (400, 401), answer
    assert answer.json["error"] in ("invalid_request", "invalid_client")
    assert "access_token" not in answer.json


def test_a_body_beyond_64_kib_is_413(seeded: Stack, start: StartFunction) -> None:
    large = event("token/basic")
    body = b"grant_type=client_credentials&padding=" + b"x" * 65536
    large["body"] = base64.b64encode(body).decode()
    large["headers"]["content-length"] = str(len(body))
    assert_answer(start(seeded.functions["TokenFunction"]).call(large), rejected(413, "invalid_request"))
