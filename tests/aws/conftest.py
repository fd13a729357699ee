"""Fixtures: one emulator with IAM enforced, the template deployed to it, and function binaries run as the stack says."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

import seed
import template as sam
from emulator import Credentials, Emulator
from runtime_api import LambdaRuntime
from stack import DeployedFunction, Stack

# Starts a function of the stack; every argument but the first is a deliberate departure from what the stack says.
StartFunction = Callable[..., LambdaRuntime]

BOUNDARY, KMS_KEY = f"arn:aws:iam::{sam.ACCOUNT}:policy/boundary", f"arn:aws:kms:us-east-1:{sam.ACCOUNT}:key/own"

# Roles of AWS are clients at an address of their own.
DOOR = {"Front": "none+iam-url+o-a1b2c3d4e5"}


@pytest.fixture(scope="session", autouse=True)
def no_aws_variables() -> Iterator[None]:
    """A developer's AWS profile must reach neither boto3 nor a child process of these tests."""
    kept = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    for name in kept:
        del os.environ[name]
    yield
    os.environ.update(kept)


@pytest.fixture(scope="session")
def binaries() -> Path:
    """The directory of the built function binaries and the command line."""
    return Path(os.environ.get("GRANTWELL_BIN_DIR", sam.ROOT / "target" / "debug")).resolve()


@pytest.fixture(scope="session")
def emulator() -> Iterator[Emulator]:
    with Emulator() as running:
        running.enforce_iam()
        yield running


@pytest.fixture(scope="session")
def source() -> sam.Json:
    return sam.load()


@pytest.fixture(scope="session")
def stack(emulator: Emulator, source: sam.Json) -> Stack:
    """The template, deployed with its default parameters but for the door, so that every function is there, and an authorizer with routes."""
    return Stack(emulator, source, "grantwell", DOOR, {"Scopes": seed.AUTHORIZER_SCOPES})


@pytest.fixture(scope="session")
def with_everything(source: sam.Json, emulator: Emulator) -> Stack:
    """A stack for which every option is chosen that changes what a role may do."""
    chosen = {**DOOR, "KmsKeyArn": KMS_KEY, "PermissionsBoundary": BOUNDARY, "Metrics": "emf+xray"}
    beside = {"PermissionsBoundary": BOUNDARY, "Metrics": "emf+xray"}
    of_each = source["Parameters"]["ReservedConcurrency"]["Default"].split(",")
    reserved = ",".join(["5", "none", "0", *of_each[3:]])
    return Stack(emulator, source, "optional", {**chosen, "ReservedConcurrency": reserved}, beside)


@pytest.fixture(scope="session")
def registered(stack: Stack, emulator: Emulator, binaries: Path) -> Stack:
    """The stack with the realm and the clients of events/ in it, registered by the real command line."""
    reseed(stack, emulator, binaries)
    return stack


@pytest.fixture
def seeded(registered: Stack, emulator: Emulator) -> Stack:
    """The stack as events/ assume it, whatever an earlier test did: its tokens, no signing keys, a rotation just begun."""
    tables = (registered.physical_id("RegistryTable"), registered.physical_id("TokenTable"))
    seed.put_tokens(emulator.url, emulator.operator, *tables)
    prefix = registered.parameters["SecretPrefix"]
    seed.forget_signing_keys(emulator.url, emulator.operator, tables[0], prefix)
    rotated = f"{prefix}/{seed.REALM}/clients/{seed.ROTATED_CLIENT.id}"
    seed.begin_rotation(emulator.url, emulator.operator, rotated, seed.PENDING_VERSION)
    return registered


def reseed(stack: Stack, emulator: Emulator, binaries: Path) -> None:
    seed.seed(
        emulator.url,
        emulator.operator,
        binaries / "grantwell",
        registry_table=stack.physical_id("RegistryTable"),
        token_table=stack.physical_id("TokenTable"),
        secret_prefix=stack.parameters["SecretPrefix"],
    )


@pytest.fixture
def start(binaries: Path, emulator: Emulator, stack: Stack) -> Iterator[StartFunction]:
    """Starts functions with the stack's environment and their role's credentials; stops them after the test."""
    with ExitStack() as running:

        def start_function(
            function: DeployedFunction,
            *,
            environment: Mapping[str, str] | None = None,
            credentials: Credentials | None = None,
            endpoint: str | None = None,
        ) -> LambdaRuntime:
            return running.enter_context(
                LambdaRuntime(
                    binaries / function.binary,
                    function.environment if environment is None else environment,
                    name=function.name,
                    credentials=(credentials or stack.credentials(function.role_arn)).variables(),
                    timeout_seconds=function.timeout_seconds,
                    memory_mb=function.memory_mb,
                    extra={"AWS_ENDPOINT_URL": emulator.url if endpoint is None else endpoint},
                )
            )

        yield start_function
