"""What the files under events/ assume: a realm, ten clients, two issuers that it trusts and four tokens with fixed, public values.

The realm and the clients are registered with the real command line; only the tokens are put into the table directly, since
no endpoint issues a token of a chosen value. Everything can be seeded again at any time (`revoke/own` uses up its token).
The values are published in this repository, so the seed refuses any address but an emulator on this machine.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import hashlib
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import template
from emulator import ANYONE, REGION, Credentials, client, is_this_machine, without_aws

REALM = "alpha"
# `sam local` resolves !Ref of a table to its logical id, so these are the names a function sees there.
REGISTRY_TABLE = "RegistryTable"
TOKEN_TABLE = "TokenTable"
# And it gives every stack this name, which is the prefix where the parameter names none.
SECRET_PREFIX = "local"
ISSUER = "https://grantwell0.execute-api.us-east-1.amazonaws.com/am/oauth2/realms/root/realms/alpha"

# What the authorizer is told of the APIs in events/authorizer: the seeded tokens have the scope `write`.
AUTHORIZER_SCOPES = json.dumps(
    {"GET /orders": "", "POST /orders": "write", "GET /orders/{id}": "", "DELETE /orders/{id}": "admin"}
)
# The stack says the same by its parameter and its API's id, which `sam local` has not.
AUTHORIZER_SETTINGS = {
    "GRANTWELL_PUBLIC_URL": "https://grantwell0.execute-api.us-east-1.amazonaws.com",
    "GRANTWELL_AUTHORIZER_SCOPES": AUTHORIZER_SCOPES,
}

# The settings of a client whose tokens are signed and stored nowhere.
STATELESS_JWT = ("--access-token-format", "jwt", "--access-token-persistence", "stateless")


@dataclass(frozen=True)
class SeededClient:
    """A registration that the events use."""

    id: str
    auth_method: str
    scope: str
    settings: tuple[str, ...] = ()
    # The key that it authenticates by, in place of a secret.
    public_jwk: dict[str, str] | None = None
    # Who it is, as an issuer vouches for it, in place of both.
    trust: tuple[dict[str, object], ...] = ()

    @property
    def has_secret(self) -> bool:
        return self.public_jwk is None and not self.trust

    @property
    def secret(self) -> str:
        if "digest" in self.settings:
            # Digests are kept of secrets that have the form of generated ones.
            digest = hashlib.sha256(self.id.encode()).digest()
            return "gws_" + base64.urlsafe_b64encode(digest).decode().rstrip("=")
        return f"not-a-secret-{self.id}-0123456789"

    @property
    def basic(self) -> str:
        """The credential part of its Authorization header."""
        return base64.b64encode(f"{self.id}:{self.secret}".encode()).decode()


MY_CLIENT = SeededClient("myClient", "client_secret_basic", "write")
MY_POST_CLIENT = SeededClient("myPostClient", "client_secret_post", "write")
MY_RESOURCE_SERVER = SeededClient("myResourceServer", "client_secret_basic", "am-introspect-all-tokens")
OTHER_CLIENT = SeededClient("otherClient", "client_secret_basic", "write")
MY_JWT_CLIENT = SeededClient("myJwtClient", "client_secret_basic", "write", ("--access-token-format", "jwt"))
MY_QUOTA_CLIENT = SeededClient(
    "myQuotaClient", "client_secret_basic", "write", ("--access-token-format", "jwt", "--token-quota", "1000000/day")
)
MY_KEY_CLIENT_PUBLIC_JWK = {
    "kty": "EC",
    "crv": "P-256",
    "x": "onJS5dzybyAao5wxYQFk4fEznaoHuhc78RpwjUaQL9o",
    "y": "4EwmRG73XtsrtPQRTRcIfJbrZA-u9avmyKVFiZLpU68",
    "alg": "ES256",
    "use": "sig",
    "kid": "hiRaaB6Y5mAKv-ZhxIM9CvIvnb8MkYF989P9fpE3AIY",
}
MY_KEY_CLIENT = SeededClient("myKeyClient", "private_key_jwt", "write", public_jwk=MY_KEY_CLIENT_PUBLIC_JWK)
MY_ROLE = SeededClient(
    *("myRole", "aws_iam", "write", ("--access-token-format", "jwt", "--token-quota", "1000000/day")),
    trust=({"name": "orders", "aws": {"account": "111122223333", "role": "OrdersRole"}},),
)
# Two issuers whose tokens the realm trusts: of one each is good once, those of the other are files that are read again.
PLATFORM = "https://idp.example.com"
CLUSTER = "https://cluster.example.com"
PLATFORM_PUBLIC_JWK = {
    "kty": "EC",
    "crv": "P-256",
    "x": "jHGk3DvV1iU61uFEZtclbONSdw3ad8BDjQv1QCZ-e_w",
    "y": "YSsv5cey-vl2Dsc5P7iyHk-EiDVOL9QHQw6z8A4ByMM",
    "alg": "ES256",
    "use": "sig",
    "kid": "bfUFxzt0AAqbUIk7w6QMeqsItmsjxkZKGcfKf88O_Sw",
}
MY_WORKLOAD = SeededClient(
    "myWorkload",
    "workload_identity",
    "write",
    ("--claims", json.dumps({"team": {"from": ["team"]}})),
    trust=({"name": "service", "issuer": PLATFORM, "claims": [{"path": ["sub"], "equals": "service-1"}]},),
)
MY_POD = SeededClient(
    "myPod",
    "workload_identity",
    "write",
    trust=(
        {"name": "pod", "issuer": CLUSTER, "claims": [{"path": ["sub"], "equals": "system:serviceaccount:orders:api"}]},
    ),
)
# A rotation of its secret has begun; its clients work as before.
ROTATED_CLIENT = OTHER_CLIENT
PENDING_VERSION = "51f72378-6a5d-5dc7-8fd8-29e4319f482a"
CLIENTS = (
    MY_CLIENT,
    MY_POST_CLIENT,
    MY_RESOURCE_SERVER,
    OTHER_CLIENT,
    MY_JWT_CLIENT,
    MY_QUOTA_CLIENT,
    MY_KEY_CLIENT,
    MY_WORKLOAD,
    MY_POD,
    MY_ROLE,
)


@dataclass(frozen=True)
class SeededToken:
    """A token that the events use; `lifetime` is counted from the seeding."""

    name: str
    owner: SeededClient
    lifetime: int

    @property
    def value(self) -> str:
        """`gwt_` and 43 base64url characters, as the token endpoint makes them."""
        return "gwt_" + self.name.ljust(43, "0")

    @property
    def id(self) -> str:
        """Its key in the token table: the digest, never the token."""
        digest = hashlib.sha256(self.value.encode()).digest()
        return "token#" + base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


ACTIVE = SeededToken("seeded-active-", MY_CLIENT, lifetime=30 * 86400)
# Still in the table though it has expired: DynamoDB's TTL deletes up to days late.
EXPIRED = SeededToken("seeded-expired-", MY_CLIENT, lifetime=-60)
REVOCABLE = SeededToken("seeded-revocable-", MY_CLIENT, lifetime=30 * 86400)
FOREIGN = SeededToken("seeded-foreign-", OTHER_CLIENT, lifetime=30 * 86400)
TOKENS = (ACTIVE, EXPIRED, REVOCABLE, FOREIGN)


def seed(
    url: str,
    credentials: Credentials,
    grantwell: Path,
    *,
    registry_table: str = REGISTRY_TABLE,
    token_table: str = TOKEN_TABLE,
    secret_prefix: str = SECRET_PREFIX,
) -> None:
    """Creates what is missing: the tables, the realm, the clients and their secrets; then puts every token anew."""
    if not is_this_machine(urlsplit(url).hostname or ""):
        raise SystemExit(
            f"seed: {url} is not on this machine; the seeded secrets are public, they go into an emulator only"
        )
    create_tables(url, credentials, {"RegistryTable": registry_table, "TokenTable": token_table})
    register_clients(url, credentials, grantwell, registry_table, secret_prefix)
    put_tokens(url, credentials, registry_table, token_table)
    begin_rotation(url, credentials, f"{secret_prefix}/{REALM}/clients/{ROTATED_CLIENT.id}", PENDING_VERSION)


def create_tables(url: str, credentials: Credentials, names: dict[str, str]) -> None:
    """Creates the template's tables, by the template's own keys, under the given names where they do not exist."""
    dynamodb = client("dynamodb", url, credentials)
    existing = set(dynamodb.list_tables()["TableNames"])
    tables = template.resources(template.load(), "AWS::DynamoDB::Table")
    for logical_id, name in names.items():
        if name not in existing:
            properties = tables[logical_id]["Properties"]
            dynamodb.create_table(
                TableName=name,
                BillingMode=properties["BillingMode"],
                AttributeDefinitions=properties["AttributeDefinitions"],
                KeySchema=properties["KeySchema"],
            )


def register_clients(
    url: str, credentials: Credentials, grantwell: Path, registry_table: str, secret_prefix: str
) -> None:
    """Runs the command line as an operator would, the secrets on standard input."""
    environment = operator_environment(url, credentials, registry_table, secret_prefix)
    _run(environment, grantwell, "realm", "set", REALM, "--store", "aws")
    for name, issuer, preset in (("idp", PLATFORM, ()), ("cluster", CLUSTER, ("--preset", "kubernetes"))):
        where = ("--store", "aws", "--realm", REALM)
        if not _run(environment, grantwell, "issuer", "show", name, *where, may_fail=True):
            keys = json.dumps({"keys": [PLATFORM_PUBLIC_JWK]})
            _run(environment, grantwell, "issuer", "add", name, *where, "--issuer", issuer, *preset, "--jwks", "-", stdin=keys)
    for each in CLIENTS:
        settings = ("--scope", each.scope, "--default-scope", each.scope, "--token-lifetime", "3600", *each.settings)
        register_client(environment, grantwell, REALM, each, settings)


def register_client(
    environment: dict[str, str], grantwell: Path, realm: str, client: SeededClient, settings: tuple[str, ...]
) -> None:
    """Registers a client unless an earlier run did."""
    where = ("--store", "aws", "--realm", realm)
    if _run(environment, grantwell, "client", "show", client.id, *where, may_fail=True):
        return
    if client.trust:
        source, stdin = ("--trust", "-"), json.dumps(client.trust)
    elif client.public_jwk:
        source, stdin = ("--jwks", "-"), json.dumps({"keys": [client.public_jwk]})
    else:
        source, stdin = ("--secret-stdin",), client.secret + "\n"
    _run(
        environment,
        grantwell,
        *("client", "create", *where, "--id", client.id, "--name", f"Example {client.id}"),
        *("--contact", "owner@example.com", "--redirect-uri", "https://www.example.com:443/callback"),
        *("--grant-type", "client_credentials", "--auth-method", client.auth_method, *settings),
        *source,
        stdin=stdin,
    )


def operator_environment(url: str, credentials: Credentials, registry_table: str, secret_prefix: str) -> dict[str, str]:
    """What the stack's ExportBlock gives an operator, and where AWS is."""
    return {
        **without_aws(os.environ),
        **credentials.variables(),
        "AWS_ENDPOINT_URL": url,
        "AWS_REGION": REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
        "GRANTWELL_REGISTRY_TABLE": registry_table,
        "GRANTWELL_SECRET_PREFIX": secret_prefix,
    }


def _run(
    environment: dict[str, str], grantwell: Path, *arguments: str, stdin: str = "", may_fail: bool = False
) -> bool:
    done = subprocess.run(
        [str(grantwell), *arguments],
        env=environment,
        input=stdin,
        text=True,
        capture_output=True,
        timeout=60,
        check=False,
    )
    if done.returncode != 0 and not may_fail:
        raise SystemExit(f"seed: grantwell {' '.join(arguments)} failed with {done.returncode}:\n{done.stderr}")
    return done.returncode == 0


def put_tokens(url: str, credentials: Credentials, registry_table: str, token_table: str) -> None:
    """Writes each token's item in the layout of docs/storage.md, replacing what an earlier run left.

    A token belongs to one registration of its client, whose random name only the registry knows.
    """
    dynamodb = client("dynamodb", url, credentials)
    now = int(time.time())
    for token in TOKENS:
        issued = now if token.lifetime > 0 else now - 3600
        registration = dynamodb.get_item(
            TableName=registry_table,
            Key={"realm": {"S": REALM}, "item": {"S": f"client#{token.owner.id}"}},
        )["Item"]
        dynamodb.put_item(
            TableName=token_table,
            Item={
                "id": {"S": token.id},
                "expires_at": {"N": str(now + token.lifetime)},
                "realm": {"S": REALM},
                "client_id": {"S": token.owner.id},
                "registration_id": registration["registration_id"],
                "scope": {"S": token.owner.scope},
                "iss": {"S": ISSUER},
                "iat": {"N": str(issued)},
                "jti": {"S": f"jti-of-{token.name}"},
                "audit_tracking_id": {"S": f"audit-of-{token.name}"},
            },
        )


def begin_rotation(url: str, credentials: Credentials, secret_id: str, version: str) -> None:
    """Stages a pending version without a value, as Secrets Manager does before it calls the first step."""
    manager = client("secretsmanager", url, credentials)
    try:
        # The emulator stages the version and then finds that it knows no such function, so that the steps are ours to call.
        manager.rotate_secret(SecretId=secret_id, ClientRequestToken=version, RotationLambdaARN=_NO_FUNCTION)
    except manager.exceptions.ResourceNotFoundException:
        return
    raise AssertionError("the emulator rotated by itself")


def forget_signing_keys(
    url: str, credentials: Credentials, registry_table: str, secret_prefix: str, realm: str = REALM
) -> None:
    """Leaves the realm as it is before anything was signed for it."""
    manager = client("secretsmanager", url, credentials)
    try:
        manager.delete_secret(SecretId=f"{secret_prefix}/{realm}/signing-keys", ForceDeleteWithoutRecovery=True)
    except manager.exceptions.ResourceNotFoundException:
        pass
    published = {"realm": {"S": f"keys#{realm}"}, "item": {"S": "jwks"}}
    client("dynamodb", url, credentials).delete_item(TableName=registry_table, Key=published)


def forget_whole_since(url: str, credentials: Credentials, token_table: str) -> None:
    """Leaves the token table as it is before a token was issued from it that it does not have."""
    client("dynamodb", url, credentials).delete_item(TableName=token_table, Key={"id": {"S": "store#whole-since"}})


_NO_FUNCTION = f"arn:aws:lambda:{REGION}:123456789012:function:none"


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description="seed an emulator with the clients and tokens that events/ uses")
    parser.add_argument("--grantwell", type=Path, default=template.ROOT / "target/debug/grantwell")
    given = parser.parse_args(arguments)
    url = os.environ.get("AWS_ENDPOINT_URL")
    if not url:
        raise SystemExit("seed: set AWS_ENDPOINT_URL to the emulator's address, http://127.0.0.1:PORT")
    seed(url, ANYONE, given.grantwell)


if __name__ == "__main__":
    main(sys.argv[1:])
