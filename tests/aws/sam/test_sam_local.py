"""Every file of events/ through `sam local invoke`: SAM's own build, in a container, against a seeded emulator.

`make test-sam` builds and sets the variables; the expectations are those of test_events.py.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

import seed
import template as sam
from emulator import Credentials, Emulator, container_view, without_aws
from expectations import (
    EVENTS,
    EXPECTATIONS,
    UNAVAILABLE,
    Expected,
    ExpectedError,
    ExpectedPayload,
    assert_answer,
    event,
    rejected,
)
from runtime_api import Answer, LambdaRuntime

BUILT = Path(os.environ.get("GRANTWELL_SAM_BUILD", sam.ROOT / ".sam-test" / "build")).resolve()
# What `make test-sam` builds, each into a folder of its own there.
TEMPLATES = {"template": "template.yaml", "authorizer": "authorizer.yaml"}
IMAGE = "public.ecr.aws/lambda/provided:al2023"
AMAZON_LINUX_2023_GLIBC = (2, 34)


@pytest.fixture(scope="module")
def local(binaries: Path) -> Iterator[tuple[Emulator, dict[str, str]]]:
    """A seeded emulator that containers can reach, and the environment to run `sam` in.

    SAM gives a function the value of a declared variable from its own environment, so AWS_ENDPOINT_URL reaches it.
    """
    view = container_view()
    with Emulator(view.listen) as emulator:
        seed.seed(emulator.url, emulator.operator, binaries / "grantwell")
        environment = without_aws(os.environ) | emulator.variables()
        environment |= {"AWS_ENDPOINT_URL": f"http://{view.name}:{emulator.port}", "SAM_CLI_TELEMETRY": "0"}
        yield emulator, environment


@pytest.mark.parametrize("name", EXPECTATIONS)
def test_sam_local_invoke(name: str, local: tuple[Emulator, dict[str, str]]) -> None:
    emulator, environment = local
    expected = EXPECTATIONS[name]
    # revoke/own uses up its token.
    seed.put_tokens(emulator.url, emulator.operator, seed.REGISTRY_TABLE, seed.TOKEN_TABLE)
    done, payload = invoked(name, environment)
    if isinstance(expected, ExpectedError):
        assert re.fullmatch(expected.pattern, payload["errorMessage"]), payload
        return
    assert done.returncode == 0, done.stderr
    if isinstance(expected, ExpectedPayload):
        assert payload == expected.payload
    else:
        assert_answer(Answer.from_payload(payload), expected)


def test_somebody_who_has_exported_nothing_gets_a_503(local: tuple[Emulator, dict[str, str]]) -> None:
    """SAM hands on AWS_ENDPOINT_URL, which the template declares, as an empty text. The region is none, so that nothing reaches AWS."""
    _, environment = local
    nothing = without_aws(environment) | {"AWS_DEFAULT_REGION": "nowhere-north-1", "SAM_CLI_TELEMETRY": "0"}
    expected = UNAVAILABLE["TokenFunction"]
    assert isinstance(expected, Expected)
    _, payload = invoked("token/basic", nothing)
    assert_answer(Answer.from_payload(payload), expected)


def test_a_panic_below_a_call_to_aws_is_a_500_and_the_next_event_is_answered() -> None:
    """cargo-lambda has a panic end the process, unless Cargo.toml says otherwise. The SDK's signer panics on such a key."""
    named = {"GRANTWELL_REGISTRY_TABLE": "r", "GRANTWELL_TOKEN_TABLE": "t", "GRANTWELL_SECRET_PREFIX": "p"}
    broken = Credentials("AKIA\nEXAMPLE", "secret").variables()
    binary, nowhere = BUILT / "template" / "TokenFunction" / "bootstrap", {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}
    with LambdaRuntime(binary, named, credentials=broken, extra=nowhere) as function:
        for _ in range(2):
            assert_answer(function.call(event("token/basic")), rejected(500, "server_error"))
        assert "aws-runtime" in function.logs() and "AKIA" not in function.logs()


def invoked(name: str, environment: dict[str, str]) -> tuple[subprocess.CompletedProcess[str], Any]:
    """`sam local invoke` with this file of events/, and the payload of its answer."""
    template = "authorizer" if name.startswith("authorizer/") else "template"
    if template == "authorizer":
        environment = environment | seed.AUTHORIZER_SETTINGS
    # The function of the door is there only where Front names it, and the issuer's address is the API's, which `sam local` has not.
    door = ["Front=none+iam-url", "PublicUrl=https://auth.example.com"] if name.startswith("iam/") else []
    command = [
        *(os.environ.get("SAM", "sam"), "local", "invoke", name.split("/")[0].capitalize() + "Function"),
        *("--template", str(BUILT / template / "template.yaml"), "--event", str(EVENTS / f"{name}.json")),
        *("--parameter-overrides", "Architecture=x86_64", *door),
        *(["--skip-pull-image"] if image_is_local() else []),
    ]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    # The response is the last line of stdout; the function's own log comes before it.
    last = done.stdout.strip().splitlines()[-1:] or pytest.fail(f"no response:\n{done.stderr}")
    return done, json.loads(last[0])


@pytest.mark.parametrize(
    ("template", "function"),
    [(name, function) for name, path in TEMPLATES.items() for function in sam.functions(sam.load(path))],
    ids=lambda each: each if isinstance(each, str) else each.logical_id,
)
def test_the_built_binary_runs_on_amazon_linux_2023(template: str, function: sam.Function) -> None:
    """A binary linked on this machine may need a newer C library than the function's runtime has."""
    bootstrap = BUILT / template / function.logical_id / "bootstrap"
    assert shutil.which("objdump"), "objdump is missing: install binutils"
    command = ["objdump", "-T", str(bootstrap)]
    symbols = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    versions = re.findall(r"GLIBC_([0-9]+(?:\.[0-9]+)+)", symbols)
    needed = {tuple(int(part) for part in version.split(".")) for version in versions}
    assert needed, "no versioned symbol found, so this check proves nothing"
    assert max(needed) <= AMAZON_LINUX_2023_GLIBC


@pytest.mark.parametrize("template", TEMPLATES)
def test_what_is_built_is_written_without_anchors_which_cloudformation_does_not_know(template: str) -> None:
    source = yaml.compose((sam.ROOT / TEMPLATES[template]).read_text(encoding="utf-8"))
    built = yaml.compose((BUILT / template / "template.yaml").read_text(encoding="utf-8"))
    assert shared_nodes(source), "the source has no anchor, so this check proves nothing"
    assert not shared_nodes(built)


def shared_nodes(root: yaml.Node) -> bool:
    """Whether a node is in the document more than once, as only an alias can be."""
    seen: set[int] = set()
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if id(node) in seen:
            return True
        seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            waiting += [each for pair in node.value for each in pair]
        elif isinstance(node, yaml.SequenceNode):
            waiting += node.value
    return False


def test_sam_local_routes_every_path_to_its_function(local: tuple[Emulator, dict[str, str]]) -> None:
    """`sam local start-api` reads the OpenAPI body."""
    _, environment = local
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        *(os.environ.get("SAM", "sam"), "local", "start-api", "--host", "127.0.0.1", "--port", str(port)),
        *("--template", str(BUILT / "template" / "template.yaml"), "--parameter-overrides", "Architecture=x86_64"),
        *(["--skip-pull-image"] if image_is_local() else []),
    ]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        answer = answered(f"http://127.0.0.1:{port}/am/oauth2/access_token", process)
        # A GET of the token endpoint: our own answer, from the function.
        assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
        metadata = requests.get(f"http://127.0.0.1:{port}/oauth2/.well-known/openid-configuration", timeout=120)
        assert metadata.status_code == 200 and metadata.json()["issuer"].endswith("/oauth2")
    finally:
        process.terminate()
        process.communicate(timeout=60)


def answered(url: str, process: subprocess.Popen[str]) -> requests.Response:
    deadline = time.monotonic() + 120
    while True:
        assert process.poll() is None, process.communicate()[1]
        try:
            return requests.get(url, timeout=120)
        except requests.ConnectionError:
            assert time.monotonic() < deadline
            time.sleep(0.5)


def image_is_local() -> bool:
    return (
        subprocess.run(["docker", "image", "inspect", IMAGE], capture_output=True, timeout=30, check=False).returncode
        == 0
    )
