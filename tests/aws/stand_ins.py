"""Servers that a caller by its role meets, each on loopback: STS, GitHub's for a job, an authorization server, and a door that AWS guards.

They believe nothing: a signature of AWS (SigV4) is computed anew by botocore, and an identity token is verified by the public key of the
stand-in that made it. What they were sent is theirs to show.
"""

from __future__ import annotations

import json
import re
import time
import uuid
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit
from xml.sax.saxutils import escape

import jwt
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from cryptography.hazmat.primitives.asymmetric import ec

from loopback import LoopbackServer

REGION = "eu-west-1"
# As Lambda gives them to a function: they are nobody's.
CREDENTIALS = Credentials("ASIAEXAMPLEEXAMPLE00", "a-secret-of-nobody-0123456789", "a-session-of-nobody-0123456789")
AWS_ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": CREDENTIALS.access_key,
    "AWS_SECRET_ACCESS_KEY": CREDENTIALS.secret_key,
    "AWS_SESSION_TOKEN": CREDENTIALS.token,
    "AWS_REGION": REGION,
    "AWS_DEFAULT_REGION": REGION,
    "AWS_EC2_METADATA_DISABLED": "true",
}
RUNNER_TOKEN = "a-runner-s-token-of-nobody"
ROLE = "arn:aws:iam::111122223333:role/OrdersFunctionRole"
REALM_PATH = "/am/oauth2/realms/root/realms/alpha"
ACCESS_TOKEN = "gwt_a-token-of-nobody"
STS_ISSUER = "https://0a1b2c3d-0000-4000-8000-000000000000.tokens.sts.global.api.aws"

_KEY = ec.generate_private_key(ec.SECP384R1())
_SCOPE = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<id>\w+)/(?P<day>\d{8})/(?P<region>[\w-]+)/(?P<service>[\w-]+)/aws4_request, ?"
    r"SignedHeaders=(?P<headers>[\w;-]+), ?Signature=(?P<signature>[0-9a-f]{64})"
)


def identity_token(issuer: str, audience: str | list[str], subject: str, **claims: object) -> str:
    """A token by which somebody says who a caller is."""
    now = int(time.time())
    said = {"iss": issuer, "aud": audience, "sub": subject, "iat": now, "exp": now + 300, "jti": str(uuid.uuid4())}
    return jwt.encode({**said, **claims}, _KEY, "ES384", {"kid": "EC384_0"})


def verified(token: str, audience: str) -> dict[str, Any]:
    """Its claims, once it is known that it was made here, for this audience, and is good now."""
    either = [audience, f"{audience}/"]
    claims: dict[str, Any] = jwt.decode(token, _KEY.public_key(), ["ES384"], audience=either)
    assert claims["aud"] in (*either, [audience])
    return claims


@dataclass(frozen=True)
class Sent:
    """A request as a stand-in got it; the names of headers in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def form(self) -> dict[str, str]:
        assert self.headers["content-type"].split(";")[0] == "application/x-www-form-urlencoded", self.headers
        pairs = parse_qsl(self.body.decode(), keep_blank_values=True, strict_parsing=True)
        assert len(dict(pairs)) == len(pairs), "a parameter is sent twice"
        return dict(pairs)

    def signer(self) -> tuple[str, str]:
        """Service and region for which it is signed, if the signature is that of the whole request by our credentials, now."""
        found = _SCOPE.fullmatch(self.headers.get("authorization", ""))
        if found is None:
            raise NotSigned("no signature")
        signed = found["headers"].split(";")
        must = {"host", "x-amz-date", "x-amz-security-token"}
        if found["id"] != CREDENTIALS.access_key or not must <= set(signed):
            raise NotSigned("by somebody else, or of too little")
        if abs(time.time() - time.mktime(time.strptime(self.headers["x-amz-date"], "%Y%m%dT%H%M%SZ")) + time.timezone) > 300:
            raise NotSigned("at another time")
        auth = SigV4Auth(Credentials(CREDENTIALS.access_key, CREDENTIALS.secret_key), found["service"], found["region"])
        url = f"https://{self.headers['host']}{self.path}"
        anew = AWSRequest(self.method, url, {name: self.headers[name] for name in signed}, self.body)
        anew.context["timestamp"] = self.headers["x-amz-date"]
        if auth.signature(auth.string_to_sign(anew, auth.canonical_request(anew)), anew) != found["signature"]:
            raise NotSigned("another request")
        return found["service"], found["region"]


class NotSigned(Exception):
    """AWS would answer 403."""


@dataclass
class Answer:
    status: int
    body: str
    headers: dict[str, str] = field(default_factory=lambda: {"Content-Type": "application/json"})


class StandIn(LoopbackServer):
    """Answers by `answer`; `sent` has what it got."""

    def __init__(self) -> None:
        self.sent: list[Sent] = []
        # Where a test sets one, it is given in place of its own.
        self.instead: Answer | None = None
        stand_in = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                length = int(self.headers.get("Content-Length", "0"))
                headers = {name.lower(): value for name, value in self.headers.items()}
                sent = Sent(self.command, self.path, headers, self.rfile.read(length))
                stand_in.sent.append(sent)
                given = stand_in.instead or stand_in.answer(sent)
                body = given.body.encode()
                self.send_response(given.status)
                for name, value in {**given.headers, "Content-Length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_GET

            def log_message(self, *_: object) -> None:
                pass

        super().__init__(Handler)

    def answer(self, sent: Sent) -> Answer:
        raise NotImplementedError


class Sts(StandIn):
    """GetWebIdentityToken of the query protocol: https://docs.aws.amazon.com/STS/latest/APIReference/API_GetWebIdentityToken.html."""

    def answer(self, sent: Sent) -> Answer:
        try:
            assert sent.signer() == ("sts", REGION)
        except NotSigned:
            return self.error(403, "SignatureDoesNotMatch", "The request signature we calculated does not match")
        form = sent.form
        assert (form["Action"], form["Version"]) == ("GetWebIdentityToken", "2011-06-15")
        assert form["SigningAlgorithm"] in ("ES384", "RS256") and 60 <= int(form.get("DurationSeconds", "300")) <= 3600
        assert "Audience.member.2" not in form
        claims = {"aws_account": "111122223333", "principal_id": ROLE}
        token = identity_token(STS_ISSUER, form["Audience.member.1"], ROLE, **{"https://sts.amazonaws.com/": claims})
        return Answer(
            200,
            '<GetWebIdentityTokenResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetWebIdentityTokenResult>'
            f"<WebIdentityToken>{token}</WebIdentityToken><Expiration>2100-01-01T00:00:00Z</Expiration>"
            "</GetWebIdentityTokenResult><ResponseMetadata><RequestId>r</RequestId></ResponseMetadata></GetWebIdentityTokenResponse>",
            {"Content-Type": "text/xml"},
        )

    @staticmethod
    def error(status: int, code: str, message: str) -> Answer:
        error = f"<Error><Type>Sender</Type><Code>{code}</Code><Message>{escape(message)}</Message></Error>"
        body = f'<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">{error}<RequestId>r</RequestId></ErrorResponse>'
        return Answer(status, body, {"Content-Type": "text/xml"})


class Runner(StandIn):
    """Where a job of GitHub's asks who it is."""

    @property
    def environment(self) -> dict[str, str]:
        url = f"{self.url}/idtoken/run/job?api-version=2.0"
        return {"ACTIONS_ID_TOKEN_REQUEST_URL": url, "ACTIONS_ID_TOKEN_REQUEST_TOKEN": RUNNER_TOKEN}

    def answer(self, sent: Sent) -> Answer:
        if sent.headers.get("authorization", "").lower() != f"bearer {RUNNER_TOKEN}":
            return Answer(401, "{}")
        url = urlsplit(sent.path)
        query = parse_qs(url.query, strict_parsing=True)
        assert (sent.method, url.path, query["api-version"]) == ("GET", "/idtoken/run/job", ["2.0"])
        (audience,) = query["audience"]
        subject = "repo:octo-org/octo-repo:environment:prod"
        issuer = "https://token.actions.githubusercontent.com"
        token = identity_token(issuer, audience, subject, repository_id="123456", environment="prod")
        return Answer(200, json.dumps({"count": len(token), "value": token}))


class AuthorizationServer(StandIn):
    """A realm whose client presents identity tokens."""

    @property
    def issuer(self) -> str:
        return f"{self.url}{REALM_PATH}"

    def claims(self) -> dict[str, Any]:
        """What the last token said, and it is verified."""
        return verified(self.sent[-1].form["client_assertion"], self.issuer)

    def answer(self, sent: Sent) -> Answer:
        if (sent.method, sent.path) == ("GET", f"{REALM_PATH}/.well-known/oauth-authorization-server"):
            names = {"token_endpoint": "access_token", "introspection_endpoint": "introspect", "revocation_endpoint": "token/revoke"}
            endpoints = {name: f"{self.issuer}/{path}" for name, path in names.items()}
            return Answer(200, json.dumps({"issuer": self.issuer, **endpoints}))
        assert sent.method == "POST", sent
        form = sent.form
        assert "client_secret" not in form and "authorization" not in sent.headers
        try:
            verified(form["client_assertion"], self.issuer)
        except jwt.InvalidTokenError:
            return refusal()
        return answered(sent.path, form)


class Door(StandIn):
    """A realm behind AWS: it answers whoever AWS has verified. A service that callers sign for, and its region, are its own."""

    def __init__(self, service: str, region: str = REGION) -> None:
        super().__init__()
        self._signed_for = (service, region)

    def answer(self, sent: Sent) -> Answer:
        assert sent.method == "POST", sent
        try:
            if sent.signer() != self._signed_for:
                raise NotSigned("for another service")
        except NotSigned:
            # AWS repeats what was signed, with the session's token among it.
            repeated = {"message": f"The Canonical String should have been {sent.headers.get('x-amz-security-token')}"}
            headers = {"Content-Type": "application/json", "x-amzn-ErrorType": "InvalidSignatureException"}
            return Answer(403, json.dumps(repeated), headers)
        form = sent.form
        assert not {"client_secret", "client_assertion", "client_assertion_type"} & set(form)
        return answered(sent.path, form)


def answered(path: str, form: dict[str, str]) -> Answer:
    if path == f"{REALM_PATH}/access_token":
        return granted(form)
    if form["client_id"] != "orders":
        return refusal()
    if path == f"{REALM_PATH}/introspect":
        # Among the rest what no server should say.
        answer = {"active": True, "client_id": "orders", "token": form["token"]} if form["token"] == ACCESS_TOKEN else {"active": False}
        return Answer(200, json.dumps(answer))
    assert path == f"{REALM_PATH}/token/revoke", path
    return Answer(200, "")


def granted(form: dict[str, str]) -> Answer:
    if form["client_id"] != "orders":
        return refusal()
    assert form["grant_type"] == "client_credentials"
    answer = {"access_token": ACCESS_TOKEN, "token_type": "Bearer", "expires_in": 3600, "scope": form.get("scope", "read")}
    return Answer(200, json.dumps(answer))


def refusal() -> Answer:
    answer = {"error": "invalid_client", "error_description": "Client authentication failed"}
    return Answer(401, json.dumps(answer))
