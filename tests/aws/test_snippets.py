"""examples/snippets: each is short, and each that can run here runs as it stands, against stand-ins that verify what they are sent.

Go and Java are not compiled, for the AWS SDKs of both are not among what this installs; where there is a javac, their syntax is looked at.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import template as sam
from emulator import without_aws
from stand_ins import ACCESS_TOKEN, AWS_ENVIRONMENT, ROLE, AuthorizationServer, Door, Runner, Sts, identity_token

SNIPPETS = sam.ROOT / "examples/snippets"
NODE = sam.ROOT / ".venv/node-snippets"
ALL = sorted(path.name for path in SNIPPETS.iterdir() if path.name != "README.md")


@pytest.fixture
def server() -> Iterator[AuthorizationServer]:
    with AuthorizationServer() as running:
        yield running


def run(command: list[str], **environment: str) -> str:
    done = subprocess.run(
        command,
        env={**without_aws(os.environ), "HOME": "/nonexistent", **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def command_of(name: str, directory: Path) -> list[str]:
    if name.endswith(".py"):
        return [sys.executable, str(SNIPPETS / name)]
    if name.endswith(".sh"):
        return ["sh", str(SNIPPETS / name)]
    if not (NODE / ".ready").exists():
        missing = "needs node and npm: make test-aws installs it into .venv/node-snippets"
        if os.environ.get("CI"):
            raise RuntimeError(missing)
        pytest.skip(missing)
    # Modules are looked for beside the file that imports them.
    copy, modules = directory / name, directory / "node_modules"
    shutil.copy(SNIPPETS / name, copy)
    if not modules.exists():
        modules.symlink_to(NODE / "node_modules")
    return ["node", str(copy)]


def test_each_is_there_and_short() -> None:
    assert ALL == [
        *("Door.java", "Sts.java", "door.go", "door.mjs", "door.py", "door.sh"),
        *("github-workflow.yaml", "pod.yaml", "sts.go", "sts.mjs", "sts.py"),
    ]
    listed = (SNIPPETS / "README.md").read_text()
    for name in ALL:
        lines = (SNIPPETS / name).read_text().splitlines()
        assert len(lines) <= 20, f"{name} has {len(lines)} lines"
        assert max(map(len, lines)) <= 150, name
        assert f"[{name}]({name})" in listed


@pytest.mark.parametrize("name", ["sts.py", "sts.mjs"])
def test_a_role_presents_the_token_of_sts(name: str, server: AuthorizationServer, tmp_path: Path) -> None:
    with Sts() as sts:
        environment = {**AWS_ENVIRONMENT, "AWS_ENDPOINT_URL_STS": sts.url, "ISSUER": server.issuer}
        printed = run(command_of(name, tmp_path), **environment)
    assert ACCESS_TOKEN in printed
    assert server.claims()["sub"] == ROLE


@pytest.mark.parametrize("name", ["door.py", "door.mjs", "door.sh"])
def test_a_role_signs_for_the_door(name: str, tmp_path: Path) -> None:
    with Door("lambda") as door:
        assert ACCESS_TOKEN in run(command_of(name, tmp_path), **AWS_ENVIRONMENT, DOOR=door.url)
        assert door.sent[-1].form == {"grant_type": "client_credentials", "client_id": "orders"}
        # What AWS refuses is not taken for a token.
        other = {**AWS_ENVIRONMENT, "AWS_REGION": "eu-north-1", "AWS_DEFAULT_REGION": "eu-north-1"}
        with pytest.raises(AssertionError):
            run(command_of(name, tmp_path), **other, DOOR=door.url)


@pytest.mark.skipif(shutil.which("jq") is None, reason="needs jq, which GitHub's runners have")
def test_a_workflow_presents_the_token_of_github(server: AuthorizationServer, tmp_path: Path) -> None:
    workflow: dict[str, Any] = yaml.safe_load((SNIPPETS / "github-workflow.yaml").read_text())
    assert workflow["permissions"] == {"id-token": "write", "contents": "read"}
    (step,) = workflow["jobs"]["deploy"]["steps"]
    with Runner() as runner:
        environment = {**runner.environment, "GITHUB_ENV": str(tmp_path / "env"), "ISSUER": server.issuer}
        # As a runner does it where a step names no shell.
        printed = run(["bash", "-e", "-c", step["run"]], **environment)
    assert printed == f"::add-mask::{ACCESS_TOKEN}\n"
    assert (tmp_path / "env").read_text() == f"TOKEN={ACCESS_TOKEN}\n"
    assert server.claims()["environment"] == workflow["jobs"]["deploy"]["environment"]


def test_a_pod_presents_the_token_of_its_volume(server: AuthorizationServer, tmp_path: Path) -> None:
    spec: dict[str, Any] = yaml.safe_load((SNIPPETS / "pod.yaml").read_text())["spec"]
    (container,) = spec["containers"]
    (mount,) = container["volumeMounts"]
    (volume,) = spec["volumes"]
    (source,) = volume["projected"]["sources"]
    token = source["serviceAccountToken"]
    assert mount["name"] == volume["name"] and token["audience"] == container["env"][0]["value"]
    path = f"{mount['mountPath']}/{token['path']}"
    (script,) = container["args"]
    assert script.count(path) == 1
    written = tmp_path / "token"
    subject = f"system:serviceaccount:orders:{spec['serviceAccountName']}"
    written.write_text(identity_token("https://kubernetes.default.svc", server.issuer, subject))
    assert ACCESS_TOKEN in run([*container["command"], script.replace(path, str(written))], ISSUER=server.issuer)
    assert server.claims()["sub"] == subject


@pytest.mark.skipif(shutil.which("javac") is None, reason="needs javac")
@pytest.mark.parametrize("name", ["Sts.java", "Door.java"])
def test_the_syntax_of_java_is_right(name: str, tmp_path: Path) -> None:
    text = (SNIPPETS / name).read_text()
    path = tmp_path / name
    path.write_text(text if "\nclass " in text else f"import java.net.URI; import java.net.http.*; class Door {{ {text} }}")
    done = subprocess.run(["javac", "-d", str(tmp_path), str(path)], capture_output=True, text=True, timeout=120, check=False)
    errors = re.findall(r"error: (.*)", done.stderr)
    # The SDK is not there, and nothing else may be wrong.
    assert errors and all(re.search(r"cannot find symbol|does not exist", error) for error in errors), done.stderr
