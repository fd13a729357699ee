"""The functions as `sam build` makes them by default, for arm64: every file of events/, and what only a release build can break.

On another machine they run under qemu-user. The emulator, the stack and its seed are those of the other tests; `make test-arm64` builds, and
sets the variable.
"""

from __future__ import annotations

import os
import platform
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

import template as sam
from conftest import StartFunction
from emulator import ANYONE, Credentials
from expectations import EXPECTATIONS, UNAVAILABLE, WORK, assert_outcome, event, rejected
from stack import Stack

BUILT = Path(os.environ.get("GRANTWELL_SAM_BUILD", sam.ROOT / ".sam-test" / "arm64")).resolve()
# What `make test-arm64` builds, each into a folder of its own there.
TEMPLATES = {"template": "template.yaml", "authorizer": "authorizer.yaml"}
QEMU = [shutil.which("qemu-aarch64-static") or "qemu-aarch64-static", "-L", "/usr/aarch64-linux-gnu"]
EMULATOR = [] if platform.machine() == "aarch64" else QEMU
AMAZON_LINUX_2023_GLIBC = (2, 34)


def bootstraps() -> dict[str, Path]:
    """What was built, by the name of the binary."""
    return {
        function.binary: BUILT / folder / function.logical_id / "bootstrap"
        for folder, path in TEMPLATES.items()
        for function in sam.functions(sam.load(path))
    }


@pytest.fixture(scope="session")
def binaries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory in which the other fixtures look for functions and the command. The command is this machine's."""
    directory = tmp_path_factory.mktemp("arm64")
    native = Path(os.environ.get("GRANTWELL_BIN_DIR", sam.ROOT / "target" / "debug")).resolve()
    (directory / "grantwell").symlink_to(native / "grantwell")
    for name, bootstrap in bootstraps().items():
        assert bootstrap.is_file(), f"{bootstrap} is not built: run `make test-arm64`"
        starter = directory / name
        starter.write_text(f"#!/bin/sh\nexec {shlex.join([*EMULATOR, str(bootstrap)])}\n", encoding="utf-8")
        starter.chmod(0o755)
    return directory


@pytest.mark.parametrize("name", bootstraps())
def test_the_built_binary_is_for_arm64_and_runs_on_amazon_linux_2023(name: str) -> None:
    readelf = shutil.which("readelf")
    assert readelf, "readelf is missing: install binutils"
    command = [readelf, "--file-header", "--version-info", "--wide", str(bootstraps()[name])]
    said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    assert re.search(r"Machine:\s+AArch64", said), said
    needed = {tuple(int(part) for part in each.split(".")) for each in re.findall(r"GLIBC_([0-9]+(?:\.[0-9]+)+)", said)}
    assert needed, "no versioned symbol found, so this check proves nothing"
    assert max(needed) <= AMAZON_LINUX_2023_GLIBC


@pytest.mark.parametrize("name", EXPECTATIONS)
def test_event(name: str, seeded: Stack, start: StartFunction) -> None:
    function = start(seeded.functions[name.split("/")[0].capitalize() + "Function"])
    assert_outcome(function, event(name), EXPECTATIONS[name])


def test_a_panic_below_a_call_to_aws_is_a_500_and_the_next_event_is_answered(seeded: Stack, start: StartFunction) -> None:
    """cargo-lambda has a panic end the process, unless Cargo.toml says otherwise. The SDK's signer panics on such a key."""
    function = start(seeded.functions["TokenFunction"], credentials=Credentials("AKIA\nEXAMPLE", "secret"))
    for _ in range(2):
        assert_outcome(function, event(WORK["TokenFunction"]), rejected(500, "server_error"))
    assert "aws-runtime" in function.logs() and "AKIA" not in function.logs()


def test_somebody_who_has_exported_nothing_gets_a_503(seeded: Stack, start: StartFunction) -> None:
    """`sam local` hands on AWS_ENDPOINT_URL, empty. Through a proxy that is not there, so that nothing leaves this machine."""
    function = seeded.functions["TokenFunction"]
    environment = {**function.environment, "HTTPS_PROXY": "http://127.0.0.1:9"}
    running = start(function, environment=environment, credentials=ANYONE, endpoint="")
    assert_outcome(running, event(WORK["TokenFunction"]), UNAVAILABLE["TokenFunction"])
