"""Clients that nobody here wrote authenticate by a key (private_key_jwt): openid-client and oauth4webapi of npm, and Authlib.

The functions behind the API's routes and the local server answer them. Without node the first two are skipped, except in CI.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
from authlib.integrations.base_client import OAuthError
from authlib.integrations.requests_client import OAuth2Session
from authlib.oauth2.rfc7523 import PrivateKeyJWT
from cryptography.hazmat.primitives import serialization
from joserfc import jwk, jwt

import seed
import template as sam
import workload_client
from command_line import RunCommand, command_line
from conftest import StartFunction
from emulator import Emulator, without_aws
from gateway import Gateway
from local_server import LocalServer
from stack import Stack

INSTALLED = sam.ROOT / ".venv/node-clients"
LIBRARIES = ("openid-client", "oauth4webapi")
ALGORITHMS = ("ES256", "ES384", "EdDSA", "PS256", "RS256")
SECRET = "not-a-secret-of-these-tests-0123456789"
READS_ALL = "am-introspect-all-tokens"


def key(algorithm: str) -> jwk.Key:
    """A new key pair for an algorithm, named by its thumbprint."""
    parameters = {"alg": algorithm, "use": "sig"}
    if algorithm == "EdDSA":
        made: jwk.Key = jwk.OKPKey.generate_key("Ed25519", parameters, auto_kid=True)
    elif algorithm.startswith("ES"):
        made = jwk.ECKey.generate_key(f"P-{algorithm.removeprefix('ES')}", parameters, auto_kid=True)
    else:
        made = jwk.RSAKey.generate_key(2048, parameters, auto_kid=True)
    return made


KEYS = {algorithm: key(algorithm) for algorithm in ALGORITHMS}


@dataclass(frozen=True)
class Served:
    """One way of running Grantwell."""

    url: str
    run: RunCommand

    def realm(self, *settings: str) -> str:
        """A new realm; its base URL."""
        name = f"r-{uuid.uuid4().hex[:8]}"
        self.run("realm", "set", name, *settings)
        return f"{self.url}/am/oauth2/realms/root/realms/{name}"

    def client(self, base: str, client_id: str, *options: str, stdin: str = "") -> None:
        """A new client of a realm, by its base URL."""
        self.run(
            *("client", "create", "--realm", base.rpartition("/")[2], "--id", client_id, "--name", client_id),
            *("--contact", "owner@example.com", "--scope", f"write {READS_ALL}", "--default-scope", "write", *options),
            stdin=stdin,
        )

    def issuer(self, base: str) -> str:
        """The issuer as the metadata document has it: that of the API is its public name, where nothing answers here."""
        answer = requests.get(f"{base}/.well-known/oauth-authorization-server", timeout=30)
        assert answer.status_code == 200
        issuer: str = answer.json()["issuer"]
        return issuer


@pytest.fixture(params=["functions", "local server"])
def served(request: pytest.FixtureRequest) -> Served:
    found: Served = request.getfixturevalue("functions" if request.param == "functions" else "local_server")
    return found


@pytest.fixture
def functions(seeded: Stack, emulator: Emulator, binaries: Path, start: StartFunction) -> Iterator[Served]:
    environment = seed.operator_environment(
        emulator.url, emulator.operator, seeded.physical_id("RegistryTable"), seeded.parameters["SecretPrefix"]
    )
    started = {name: start(function) for name, function in seeded.functions.items()}
    with Gateway(sam.routes(seeded.translated), started) as running:
        yield Served(running.url, command_line(binaries / "grantwell", environment, "aws"))


@pytest.fixture
def local_server(binaries: Path, tmp_path: Path) -> Iterator[Served]:
    grantwell, data = binaries / "grantwell", tmp_path / "data"
    with LocalServer(grantwell, data) as running:
        yield Served(running.url, command_line(grantwell, without_aws(os.environ), f"file:{data}"))
        assert running.close() == 0, "the server did not end cleanly on SIGTERM"


@pytest.fixture(autouse=True)
def loopback_without_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Authlib refuses http: right everywhere but on loopback."""
    monkeypatch.setenv("AUTHLIB_INSECURE_TRANSPORT", "1")


def public_jwks(tmp_path: Path, *algorithms: str) -> str:
    """A file with the public halves, as an operator gets it from a team."""
    path = tmp_path / "jwks.json"
    path.write_text(json.dumps({"keys": [KEYS[algorithm].as_dict(private=False) for algorithm in algorithms]}))
    return str(path)


def walked(document: dict[str, Any]) -> list[dict[str, Any]]:
    """What the libraries of npm got."""
    if not (INSTALLED / ".ready").exists():
        missing = "needs node and npm: make test-aws installs it into .venv/node-clients"
        if os.environ.get("CI"):
            raise RuntimeError(missing)
        pytest.skip(missing)
    done = subprocess.run(
        ["node", "walk.mjs"],
        cwd=INSTALLED,
        input=json.dumps(document),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    results: list[dict[str, Any]] = json.loads(done.stdout)
    return results


def assert_walked(results: list[dict[str, Any]], credentials: tuple[str, ...]) -> None:
    expected = [(library, credential, True, False) for library in LIBRARIES for credential in credentials]
    assert [(r["library"], r["credential"], r["active"], r["after"]) for r in results] == expected
    assert len({r["token"] for r in results}) == len(expected)


def test_npm_clients_walk_the_whole_way_by_a_key_of_each_kind(served: Served, tmp_path: Path) -> None:
    base = served.realm()
    options = ("--auth-method", "private_key_jwt", "--jwks", public_jwks(tmp_path, *ALGORITHMS))
    served.client(base, "by-key", *options)
    results = walked(
        {
            "issuer": served.issuer(base),
            "reached_at": base,
            "client_id": "by-key",
            "scope": "write",
            "keys": [{"alg": name, "jwk": made.as_dict(private=True)} for name, made in KEYS.items()],
        }
    )
    assert_walked(results, ALGORITHMS)


def test_npm_clients_walk_the_whole_way_by_a_secret(served: Served) -> None:
    base = served.realm()
    served.client(base, "by-secret", "--secret-stdin", stdin=SECRET)
    document = {"issuer": served.issuer(base), "reached_at": base, "client_id": "by-secret", "scope": "write"}
    assert_walked(walked({**document, "keys": [], "secret": SECRET}), ("secret",))


def test_npm_clients_walk_the_whole_way_by_the_token_of_a_cluster(served: Served) -> None:
    base = served.realm()
    trust_platform(served, base, "by-identity", "--preset", "kubernetes")
    document = {"issuer": served.issuer(base), "reached_at": base, "client_id": "by-identity", "scope": "write"}
    results = walked({**document, "keys": [], "presented": platform_token(served, base, POD)})
    assert_walked(results, ("assertion", "grant"))


FORMS = {
    "PKCS#8": serialization.PrivateFormat.PKCS8,
    # SEC 1 for elliptic curves and PKCS#1 for RSA, as openssl has written them for decades; Ed25519 has no such form.
    "traditional": serialization.PrivateFormat.TraditionalOpenSSL,
}


def key_files(directory: Path) -> Iterator[tuple[str, Path, list[str]]]:
    """Private keys in every form that tools write, and the options that a form needs."""
    for algorithm, made in KEYS.items():
        path = directory / f"{algorithm}.json"
        path.write_text(json.dumps(made.as_dict(private=True)))
        yield algorithm, path, []
        for name, form in FORMS.items():
            if (algorithm, name) == ("EdDSA", "traditional"):
                continue
            path = directory / f"{algorithm}-{name.replace('#', '')}.pem"
            none = serialization.NoEncryption()
            path.write_bytes(made.private_key.private_bytes(serialization.Encoding.PEM, form, none))
            # PEM says neither the algorithm, of which a key of RSA has two, nor the name of the key.
            yield algorithm, path, ["--kid", made.kid] + (["--alg", "RS256"] if algorithm == "RS256" else [])


def token_get(binaries: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(binaries / "grantwell"), "token", "get", *arguments],
        env=without_aws(os.environ),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_command_gets_tokens_by_key_files_that_others_wrote(
    local_server: Served, binaries: Path, tmp_path: Path
) -> None:
    base = local_server.realm()
    options = ("--auth-method", "private_key_jwt", "--jwks", public_jwks(tmp_path, *ALGORITHMS))
    local_server.client(base, "by-key", *options)
    where = ("--issuer", base, "--client-id", "by-key")
    for algorithm, path, needed in key_files(tmp_path):
        done = token_get(binaries, *where, "--key", str(path), *needed, "--scope", "write")
        assert (done.returncode, done.stderr) == (0, ""), (algorithm, path)
        answer = json.loads(done.stdout)
        assert (answer["token_type"], answer["scope"], answer["expires_in"]) == ("Bearer", "write", 3600)

    # Whatever is wrong is said in a sentence, and nothing of the key is in it.
    key = str(tmp_path / "ES256.json")
    public = tmp_path / "public.json"
    public.write_text(json.dumps(KEYS["ES256"].as_dict(private=False)))
    for arguments, said in [
        ((*where, "--key", str(public)), "this is a public key"),
        ((*where, "--key", str(tmp_path / "jwks.json")), "this is not a private key"),
        ((*where, "--key", str(tmp_path / "missing")), "No such file"),
        ((*where, "--key", key, "--alg", "PS256"), "cannot sign with PS256"),
        ((*where, "--key", key, "--scope", "admin"), "invalid_scope"),
        (("--issuer", base, "--client-id", "another", "--key", key), "invalid_client"),
        (("--issuer", base + "x", "--client-id", "by-key", "--key", key), "is --issuer the issuer of a realm"),
        (("--issuer", base.replace("127.0.0.1", "localhost"), "--client-id", "by-key", "--key", key), "says that its issuer is"),
        (("--issuer", "http://auth.example.com/oauth2", "--client-id", "by-key", "--key", key), "is not https"),
    ]:
        done = token_get(binaries, *arguments)
        assert (done.returncode, done.stdout) == (1, ""), arguments
        assert done.stderr.startswith("error: ") and said in done.stderr, done.stderr
        assert KEYS["ES256"].as_dict(private=True)["d"] not in done.stderr


def authlib_session(base: str, algorithm: str) -> OAuth2Session:
    """Authlib as its documentation has it: it addresses its assertions to the token endpoint, and they live an hour."""
    endpoint = f"{base}/access_token"
    method = PrivateKeyJWT(endpoint, alg=algorithm)
    caller = OAuth2Session("by-key", KEYS[algorithm], token_endpoint_auth_method=PrivateKeyJWT.name)
    caller.register_client_auth_method(method)
    return caller


@pytest.mark.parametrize("algorithm", ["ES256", "PS256", "RS256"])
def test_authlib_gets_a_token_by_a_key_where_its_realm_takes_its_audience(
    local_server: Served, tmp_path: Path, algorithm: str
) -> None:
    compatible = ("--assertion-audience", "compatible", "--assertion-max-lifetime", "3600")
    for settings, is_taken in [(compatible, True), ((), False)]:
        base = local_server.realm(*settings)
        options = ("--auth-method", "private_key_jwt", "--jwks", public_jwks(tmp_path, algorithm))
        local_server.client(base, "by-key", *options)
        caller = authlib_session(base, algorithm)
        fetch = dict(url=f"{base}/access_token", grant_type="client_credentials")
        if is_taken:
            token = caller.fetch_token(**fetch)
            assert (token["token_type"], token["scope"]) == ("Bearer", "write")
        else:
            with pytest.raises(OAuthError) as refused:
                caller.fetch_token(**fetch)
            assert refused.value.error == "invalid_client"


@pytest.mark.parametrize("place", ["grant", "assertion"])
def test_authlib_gets_tokens_by_the_token_of_an_issuer_and_nothing_else(served: Served, place: str) -> None:
    base = served.realm()
    trust_platform(served, base, "by-identity")

    def fetch(text: str) -> dict[str, Any]:
        # A public client as far as Authlib can see: it has nothing but its name, which it sends in the body.
        caller = OAuth2Session("by-identity", token_endpoint_auth_method="none", scope="write")
        form = workload_client.form(text, place, "by-identity")
        del form["client_id"]
        fetched: dict[str, Any] = caller.fetch_token(f"{base}/access_token", **form)
        return fetched

    fetched = fetch(platform_token(served, base, POD))
    assert (fetched["token_type"], fetched["scope"]) == ("Bearer", "write")
    with pytest.raises(OAuthError) as refused:
        fetch(platform_token(served, base, "system:serviceaccount:orders:default"))
    assert refused.value.error == ("invalid_grant" if place == "grant" else "invalid_client")


PLATFORM = "https://cluster.example.com"
POD = "system:serviceaccount:orders:api"


def trust_platform(served: Served, base: str, client_id: str, *settings: str) -> None:
    """Has a realm trust an issuer, and registers a client that is one of its workloads."""
    keys = json.dumps({"keys": [KEYS["ES256"].as_dict(private=False)]})
    realm = base.rpartition("/")[2]
    served.run("issuer", "add", "cluster", "--realm", realm, "--issuer", PLATFORM, *settings, "--jwks", "-", stdin=keys)
    rule = {"name": "pod", "issuer": PLATFORM, "claims": [{"path": ["sub"], "equals": POD}]}
    served.client(base, client_id, "--auth-method", "workload_identity", "--trust", "-", stdin=json.dumps(rule))


def platform_token(served: Served, base: str, sub: str) -> str:
    """A fresh token of that issuer."""
    now = int(time.time())
    named = {"iss": PLATFORM, "sub": sub, "aud": served.issuer(base), "jti": str(uuid.uuid4())}
    return jwt.encode({"alg": "ES256", "kid": KEYS["ES256"].kid}, {**named, "iat": now, "exp": now + 300}, KEYS["ES256"])
