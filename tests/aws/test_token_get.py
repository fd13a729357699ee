"""`grantwell token get` of callers without a secret: what it asks of whom, what it sends, and what it never repeats."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import stand_ins
from emulator import without_aws
from stand_ins import (
    ACCESS_TOKEN,
    AWS_ENVIRONMENT,
    CREDENTIALS,
    REALM_PATH,
    REGION,
    ROLE,
    RUNNER_TOKEN,
    Answer,
    AuthorizationServer,
    Door,
    Runner,
    Sts,
    identity_token,
)

JWT_BEARER = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
JWT_SPIFFE = "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe"
SECRETS = (CREDENTIALS.secret_key, CREDENTIALS.token, RUNNER_TOKEN, "eyJ", ACCESS_TOKEN)


@pytest.fixture
def server() -> Iterator[AuthorizationServer]:
    with AuthorizationServer() as running:
        yield running


@pytest.fixture
def sts() -> Iterator[Sts]:
    with Sts() as running:
        yield running


@pytest.fixture
def runner() -> Iterator[Runner]:
    with Runner() as running:
        yield running


class Command:
    """The command, in an environment that has what is given and nothing of AWS or GitHub besides."""

    def __init__(self, binaries: Path) -> None:
        self._grantwell = str(binaries / "grantwell")

    def run(
        self, *arguments: str, environment: dict[str, str] | None = None, stdin: str = "", command: str = "get"
    ) -> subprocess.CompletedProcess[str]:
        own = {name: value for name, value in without_aws(os.environ).items() if not name.startswith("ACTIONS_")}
        return subprocess.run(
            [self._grantwell, "token", command, "--client-id", "orders", *arguments],
            env={**own, "AWS_EC2_METADATA_DISABLED": "true", "HOME": "/nonexistent", **(environment or {})},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def token(self, *arguments: str, environment: dict[str, str] | None = None, stdin: str = "") -> None:
        done = self.run(*arguments, environment=environment, stdin=stdin)
        assert (done.returncode, done.stderr) == (0, "")
        assert json.loads(done.stdout)["access_token"] == ACCESS_TOKEN

    def refused(
        self, said: str, *arguments: str, environment: dict[str, str] | None = None, stdin: str = "", status: int = 1
    ) -> None:
        done = self.run(*arguments, environment=environment, stdin=stdin)
        assert (done.returncode, done.stdout) == (status, ""), done
        assert done.stderr.startswith("error: ") and said in done.stderr, done.stderr
        assert not any(secret in done.stderr for secret in SECRETS), done.stderr


@pytest.fixture
def command(binaries: Path) -> Command:
    return Command(binaries)


def test_a_role_presents_a_token_of_sts_that_is_for_this_server_alone(
    command: Command, server: AuthorizationServer, sts: Sts
) -> None:
    environment = {**AWS_ENVIRONMENT, "AWS_ENDPOINT_URL_STS": sts.url}
    options = ("--aws", "--issuer", server.issuer, "--scope", "read write", "--resource", "https://api.example.com/orders")
    command.token(*options, environment=environment)
    asked = sts.sent[-1].form
    assert (asked["Audience.member.1"], asked["SigningAlgorithm"], asked["DurationSeconds"]) == (server.issuer, "ES384", "60")
    form = server.sent[-1].form
    assert server.claims()["sub"] == ROLE
    assert {**form, "client_assertion": "..."} == {
        "grant_type": "client_credentials",
        "client_id": "orders",
        "client_assertion_type": JWT_BEARER,
        "client_assertion": "...",
        "scope": "read write",
        "resource": "https://api.example.com/orders",
    }


def test_what_sts_refuses_is_said_with_what_to_do(command: Command, server: AuthorizationServer, sts: Sts) -> None:
    environment = {**AWS_ENVIRONMENT, "AWS_ENDPOINT_URL_STS": sts.url}
    options = ("--aws", "--issuer", server.issuer)
    for code, advice in [
        ("OutboundWebIdentityFederationDisabledException", "aws iam enable-outbound-web-identity-federation"),
        ("AccessDenied", "allow the role sts:GetWebIdentityToken"),
        ("ExpiredToken", "have expired or are wrong"),
        ("SessionDurationEscalationException", "run this again with new ones"),
        ("Somebody[2J else", "STS gave no identity token: GetWebIdentityToken: Somebody2Jelse\n"),
    ]:
        sts.instead = Sts.error(403, code, f"of {CREDENTIALS.token} and {CREDENTIALS.secret_key}")
        command.refused(advice, *options, environment=environment)
    sts.instead = None
    command.refused("have expired or are wrong", *options, environment={**environment, "AWS_SECRET_ACCESS_KEY": "another"})
    no_region = {name: value for name, value in environment.items() if "REGION" not in name}
    command.refused("this process has no AWS region; name it by --region", *options, environment=no_region)
    command.token(*options, "--region", REGION, environment=no_region)
    nobody = {"AWS_ENDPOINT_URL_STS": sts.url, "AWS_REGION": REGION}
    asked = len(sts.sent)
    command.refused("this process has no AWS credentials that could be loaded", *options, environment=nobody)
    assert len(sts.sent) == asked
    # A token for somebody else is not handed on, whoever gave it.
    token = identity_token(stand_ins.STS_ISSUER, "https://elsewhere.example", ROLE)
    body = f"<GetWebIdentityTokenResponse><GetWebIdentityTokenResult><WebIdentityToken>{token}</WebIdentityToken></GetWebIdentityTokenResult></GetWebIdentityTokenResponse>"
    sts.instead = Answer(200, body, {"Content-Type": "text/xml"})
    presented = len(server.sent)
    command.refused("STS: this token is for https://elsewhere.example", *options, environment=environment)
    assert [sent.method for sent in server.sent[presented:]] == ["GET"]


@pytest.mark.parametrize("service", ["lambda", "execute-api"])
def test_a_role_signs_for_the_door_and_sends_nothing_that_proves_it(command: Command, service: str) -> None:
    with Door(service) as door:
        where = ("--aws", "--door", door.url, "--service", service)
        for realm in (("--realm", "alpha"), ("--issuer", f"https://auth.example.com/am/oauth2/realms/root/realms/alpha")):
            command.token(*where, *realm, "--scope", "read write", environment=AWS_ENVIRONMENT)
            assert door.sent[-1].form == {"grant_type": "client_credentials", "client_id": "orders", "scope": "read write"}
            assert door.sent[-1].path == f"{REALM_PATH}/access_token"
        no_region = {name: value for name, value in AWS_ENVIRONMENT.items() if "REGION" not in name}
        command.refused("this process has no AWS region", *where, "--realm", "alpha", environment=no_region)
        command.token(*where, "--realm", "alpha", "--region", REGION, environment=no_region)


def test_a_role_asks_what_a_token_is_and_ends_it(command: Command, server: AuthorizationServer, sts: Sts) -> None:
    by_sts = {**AWS_ENVIRONMENT, "AWS_ENDPOINT_URL_STS": sts.url}
    with Door("lambda") as door:
        at_door = ("--aws", "--realm", "alpha", "--door", door.url, "--service", "lambda")
        for where, environment, asked in [(at_door, AWS_ENVIRONMENT, door), (("--aws", "--issuer", server.issuer), by_sts, server)]:
            active = command.run(*where, environment=environment, stdin=ACCESS_TOKEN, command="introspect")
            assert (active.returncode, active.stderr) == (0, "")
            assert json.loads(active.stdout) == {"active": True, "client_id": "orders", "token": "[...]"}
            assert asked.sent[-1].path == f"{REALM_PATH}/introspect"
            other = command.run(*where, environment=environment, stdin="another-token", command="introspect")
            assert (other.returncode, json.loads(other.stdout)) == (3, {"active": False})
            ended = command.run(*where, environment=environment, stdin=ACCESS_TOKEN, command="revoke")
            assert (ended.returncode, json.loads(ended.stdout)["outcome"]) == (0, "revoked_or_unknown")
            assert asked.sent[-1].path == f"{REALM_PATH}/token/revoke"
            for done in (active, other, ended):
                assert not any(secret in done.stdout + done.stderr for secret in SECRETS), done
        door.instead = Answer(400, json.dumps({"error": "invalid_request"}))
        refused = command.run(*at_door, environment=AWS_ENVIRONMENT, stdin=ACCESS_TOKEN, command="revoke")
        assert refused.returncode == 1 and "Only the client that it was issued to ends it so" in refused.stderr


def test_what_aws_refuses_at_the_door_is_said_without_what_it_repeats(command: Command) -> None:
    with Door("lambda") as door:
        where = ("--aws", "--realm", "alpha", "--door", door.url)
        for options in [(), ("--service", "lambda", "--region", "eu-north-1")]:
            advice = "403 Forbidden: InvalidSignatureException; this is AWS's own refusal: may this role call the door"
            command.refused(advice, *where, *options, environment=AWS_ENVIRONMENT)
        # Behind AWS the server itself refuses a client that it does not know by this role.
        door.instead = stand_ins.refusal()
        command.refused("with aws_iam and a trust rule that this role satisfies", *where, environment=AWS_ENVIRONMENT)
        # A server that sends back what it got does not get it printed.
        echo = {"error": "invalid_request", "error_description": f"of {identity_token('i', 'a', 's')}"}
        door.instead = Answer(400, json.dumps(echo))
        command.refused("invalid_request (of [...])", *where, environment=AWS_ENVIRONMENT)
        for wrong in (f"{door.url}{REALM_PATH}/access_token", "http://door.example.com", f"{door.url}?x=1"):
            command.refused("", "--aws", "--realm", "alpha", "--door", wrong, environment=AWS_ENVIRONMENT)
        for scheme in ("http", "https"):
            password = f"{scheme}://user:{CREDENTIALS.secret_key}@door.example.com"
            command.refused("a URL with a user or a password", "--aws", "--door", password, environment=AWS_ENVIRONMENT)
            command.refused("a URL with a user or a password", "--aws", "--issuer", password, environment=AWS_ENVIRONMENT)


def test_a_workflow_presents_a_token_of_github(command: Command, server: AuthorizationServer, runner: Runner) -> None:
    options = ("--github", "--issuer", server.issuer)
    command.token(*options, environment=runner.environment)
    assert server.claims()["repository_id"] == "123456"
    form = server.sent[-1].form
    assert (form["client_id"], form["client_assertion_type"]) == ("orders", JWT_BEARER)
    assert form.keys() == {"grant_type", "client_id", "client_assertion_type", "client_assertion"}

    permission = "permissions: {id-token: write, contents: read}"
    for missing in runner.environment:
        left = {name: value for name, value in runner.environment.items() if name != missing}
        command.refused(permission, *options, environment=left)
        command.refused(permission, *options, environment={**left, missing: ""})
    before = len(runner.sent)
    elsewhere = {**runner.environment, "ACTIONS_ID_TOKEN_REQUEST_URL": "http://github.example.com/idtoken"}
    command.refused("is not https", *options, environment=elsewhere)
    assert len(runner.sent) == before
    wrong = {**runner.environment, "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "another"}
    command.refused("GitHub answered 401 Unauthorized", *options, environment=wrong)
    broken = {**runner.environment, "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "a\r\nX: y"}
    command.refused("is not what a runner sets", *options, environment=broken)
    for answer in (Answer(200, "{}"), Answer(200, "<html>"), Answer(302, "", {"Location": server.url})):
        runner.instead = answer
        command.refused("GitHub", *options, environment=runner.environment)
    runner.instead = Answer(200, json.dumps({"value": identity_token("i", "sts.amazonaws.com", "s")}))
    command.refused("GitHub: this token is for sts.amazonaws.com", *options, environment=runner.environment)


def test_a_pod_presents_the_token_of_its_projected_volume(
    command: Command, server: AuthorizationServer, tmp_path: Path
) -> None:
    cluster, pod = "https://kubernetes.default.svc.cluster.local", "system:serviceaccount:orders:api"
    path = tmp_path / "token"
    options = ("--kubernetes", str(path), "--issuer", server.issuer)
    for audience in (server.issuer, [server.issuer], server.issuer + "/"):
        path.write_text(identity_token(cluster, audience, pod) + "\n")
        command.token(*options)
        assert server.claims()["sub"] == pod
        assert server.sent[-1].form["client_assertion_type"] == JWT_BEARER

    # A pod's own token for its cluster, and any that somebody else could present, stay here.
    presented = [sent for sent in server.sent if sent.method == "POST"]
    for audience in (cluster, [server.issuer, cluster], [], server.issuer + "//", f"{server.issuer}/x"):
        path.write_text(identity_token(cluster, audience, pod))
        command.refused(f"write `audience: {server.issuer}` into the projected volume", *options)
    old = int(time.time()) - 120
    path.write_text(identity_token(cluster, server.issuer, pod, exp=old))
    command.refused("this token expired 1", *options)
    for text, said in [("", "it is empty"), ("not.a.jwt", "not a signed JWT"), ("a", "not a signed JWT"), ("é", "not a signed JWT")]:
        path.write_text(text)
        command.refused(said, *options)
    path.unlink()
    command.refused("mount a projected volume with a serviceAccountToken there", *options)
    command.refused("/var/run/secrets/grantwell/token: No such file", "--kubernetes", "--issuer", server.issuer)
    assert [sent for sent in server.sent if sent.method == "POST"] == presented


def test_any_other_issuer_s_token_comes_from_a_file_or_standard_input(
    command: Command, server: AuthorizationServer, tmp_path: Path
) -> None:
    options = ("--issuer", server.issuer, "--assertion")
    token = identity_token("https://gitlab.com", server.issuer, "project_path:group/project:ref_type:branch:ref:main")
    path = tmp_path / "token"
    path.write_text(token)
    command.token(*options, str(path))
    command.token(*options, "-", stdin=token + "\n")
    assert server.sent[-1].form["client_assertion_type"] == JWT_BEARER
    svid = identity_token("spire", server.issuer, "spiffe://example.org/orders")
    command.token(*options, "-", stdin=svid)
    assert server.sent[-1].form["client_assertion_type"] == JWT_SPIFFE
    command.refused("--assertion -: it is empty", *options, "-")
    command.refused("for https://a.example, https://b.example, and the server takes one for", *options, "-",
                    stdin=identity_token("i", ["https://a.example", "https://b.example"], "s"))
    command.refused("--assertion /dev/zero", *options, "/dev/zero")


def test_a_client_that_no_rule_admits_is_told_where_the_reason_is(command: Command, server: AuthorizationServer, tmp_path: Path) -> None:
    path = tmp_path / "token"
    forged = identity_token("https://gitlab.com", server.issuer, "s")
    path.write_text(forged[:-8] + "AAAAAAAA")
    advice = "with workload_identity and a trust rule that this caller satisfies? `grantwell trust explain`"
    command.refused(advice, "--issuer", server.issuer, "--assertion", str(path))


def test_exactly_one_proof_is_given(command: Command) -> None:
    command.refused("required arguments were not provided", status=2)
    command.refused("cannot be used with", "--aws", "--github", status=2)
    command.refused("cannot be used with", "--kubernetes", "x", "--assertion", "-", status=2)
    command.refused("required arguments were not provided", "--aws", "--service", "lambda", status=2)
    for useless in (("--github", "--door", "https://door.example.com"), ("--aws", "--kid", "a"), ("--assertion", "-", "--region", "a")):
        command.refused("cannot be used with", *useless, status=2)
