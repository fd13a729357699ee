"""The AWS emulators: as objects for the tests, and as a command for people and the Makefile.

    python tests/aws/emulator.py run -- cargo test -- --include-ignored
        starts an empty emulator on a free port, runs the command with the SDK's standard variables pointing at it, stops it
        and exits with the command's status. `run --ministack` takes the other one.
    python tests/aws/emulator.py serve --seed target/debug/grantwell [--for-containers]
        keeps one running until Ctrl-C, and prints the variables for another shell.

moto is the one for everything: it enforces IAM's actions and deploys the template. But after UpdateSecretVersionStage its
PutSecretValue leaves AWSCURRENT on two versions. ministack's labels of versions agree with AWS's reference, so what rotates
secrets runs on it as well. (Its PutSecretValue does not take AWSPENDING off another version, and its RotateSecret calls nobody.)

It listens on loopback, or for containers on the address that Docker's bridge gives this machine: never on a network card.
Its credentials are made up, and no variable of a real AWS account is ever passed on.
"""

from __future__ import annotations

import argparse
import functools
import ipaddress
import json
import logging
import os
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any

import boto3
import requests
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from moto.dynamodb.responses import DynamoHandler
from moto.server import ThreadedMotoServer

REGION = "us-east-1"


@dataclass(frozen=True)
class Credentials:
    """A key pair as the SDKs take it from the environment."""

    access_key_id: str
    secret_access_key: str
    session_token: str | None = None

    def variables(self) -> dict[str, str]:
        found = {"AWS_ACCESS_KEY_ID": self.access_key_id, "AWS_SECRET_ACCESS_KEY": self.secret_access_key}
        if self.session_token:
            found["AWS_SESSION_TOKEN"] = self.session_token
        return found


ANYONE = Credentials("emulator", "emulator")


def client(service: str, url: str, credentials: Credentials) -> Any:
    """A boto3 client that cannot reach AWS: address, region and credentials are all given."""
    return boto3.client(
        service,
        endpoint_url=url,
        region_name=REGION,
        aws_access_key_id=credentials.access_key_id,
        aws_secret_access_key=credentials.secret_access_key,
        aws_session_token=credentials.session_token,
        config=Config(retries={"max_attempts": 1}, connect_timeout=5, read_timeout=30),
    )


def _write_one_at_a_time() -> None:
    """DynamoDB makes each write in one step and answers what it wrote. moto reads, decides, writes and answers without a lock, so that
    on a busy machine two conditional writes at once overwrite each other, or are answered alike."""
    lock = threading.RLock()
    answer = DynamoHandler.call_action

    @functools.wraps(answer)
    def call_action(self: DynamoHandler) -> Any:
        writes = ("PutItem", "UpdateItem", "DeleteItem", "TransactWriteItems")
        if self.get_endpoint_name(self.headers) not in writes:
            return answer(self)
        with lock:
            return answer(self)

    DynamoHandler.call_action = call_action


_write_one_at_a_time()


class Emulator:
    """moto's server, on a port of the system's choice if none is given. One per process: moto keeps its state in globals."""

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        # moto warns at each look at the API, which its CloudFormation does not know; the gateway of these tests reads the
        # routes from the translated template instead.
        logging.getLogger("moto").setLevel(logging.ERROR)
        self._server = ThreadedMotoServer(ip_address=host, port=port, verbose=False)
        self._server.start()
        _, self.port = self._server.get_host_and_port()
        self.url = f"http://{host}:{self.port}"
        self.operator = ANYONE

    def __enter__(self) -> Emulator:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._post("reset-auth", "inf")
        self._post("reset", "")
        self._server.stop()

    def client(self, service: str, credentials: Credentials | None = None) -> Any:
        return client(service, self.url, credentials or self.operator)

    def enforce_iam(self) -> None:
        """From now on every call needs credentials whose policies allow its action, and is refused otherwise.

        `operator` becomes a user who may do everything: the person who runs the command line and the tests' own set-up.
        """
        iam = self.client("iam")
        iam.create_user(UserName="operator")
        iam.put_user_policy(
            UserName="operator",
            PolicyName="everything",
            PolicyDocument='{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}',
        )
        key = iam.create_access_key(UserName="operator")["AccessKey"]
        self.operator = Credentials(key["AccessKeyId"], key["SecretAccessKey"])
        self._post("reset-auth", "0")

    @contextmanager
    def iam_paused(self) -> Iterator[None]:
        """For set-up only: moto miscalculates the signature of GET requests, and knows no service principals."""
        self._post("reset-auth", "inf")
        try:
            yield
        finally:
            self._post("reset-auth", "0")

    def variables(self, credentials: Credentials | None = None) -> dict[str, str]:
        """The SDK's standard variables that point at this emulator."""
        return sdk_variables(self.url, credentials or self.operator)

    def _post(self, action: str, body: str) -> None:
        requests.post(f"{self.url}/moto-api/{action}", data=body, timeout=10).raise_for_status()


class Ministack:
    """ministack's server, in a process of its own on a free port of loopback."""

    def __init__(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.operator = ANYONE
        self._state = TemporaryDirectory(prefix="grantwell-ministack-")
        environment = {
            **without_aws(os.environ),
            "GATEWAY_PORT": str(self.port),
            "BIND_HOST": "127.0.0.1",
            "SERVICES": "dynamodb,secretsmanager,sts",
            "LOG_LEVEL": "ERROR",
            "TMPDIR": self._state.name,
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "ministack"],
            env=environment,
            cwd=self._state.name,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            self._wait()
        except BaseException:
            self._stop()
            raise

    def __enter__(self) -> Ministack:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def client(self, service: str, credentials: Credentials | None = None) -> Any:
        return client(service, self.url, credentials or self.operator)

    def variables(self, credentials: Credentials | None = None) -> dict[str, str]:
        """The SDK's standard variables that point at this emulator, and which one it is."""
        return {**sdk_variables(self.url, credentials or self.operator), "GRANTWELL_EMULATOR": "ministack"}

    def _wait(self) -> None:
        deadline = time.monotonic() + 60
        while True:
            if self._process.poll() is not None:
                raise RuntimeError(f"ministack ended with {self._process.returncode}")
            try:
                self.client("secretsmanager").list_secrets()
                return
            except (BotoCoreError, ClientError):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    def _stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._state.cleanup()


def sdk_variables(url: str, credentials: Credentials) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL": url,
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
        **credentials.variables(),
    }


def without_aws(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment with no AWS variable and none of ours left in it: a developer's settings must not leak into a test."""
    return {name: value for name, value in environment.items() if not name.startswith(("AWS_", "GRANTWELL_"))}


@dataclass(frozen=True)
class ContainerView:
    """How a container reaches a server on this machine: where the server listens, and the name the container uses."""

    listen: str
    name: str


def container_view() -> ContainerView:
    """Asks Docker. On Linux a container reaches its bridge's gateway; Docker Desktop forwards a name to loopback."""
    if sys.platform != "linux":
        return ContainerView("127.0.0.1", "host.docker.internal")
    command = ["docker", "network", "inspect", "bridge", "--format", "{{json .IPAM.Config}}"]
    found = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    for config in json.loads(found.stdout):
        # Not every engine names the gateway; it is the subnet's first address then.
        gateway = config.get("Gateway") or str(next(ipaddress.ip_network(config["Subnet"]).hosts()))
        if is_this_machine(gateway):
            return ContainerView(gateway, gateway)
    raise SystemExit(f"emulator: Docker's bridge network has no address of this machine: {found.stdout}")


def is_this_machine(host: str) -> bool:
    """Whether an address is one of this machine's own: only those can be bound."""
    try:
        with socket.socket() as probe:
            probe.bind((host, 0))
    except OSError:
        return False
    return True


def _run(command: list[str], ministack: bool) -> int:
    with Ministack() if ministack else Emulator() as emulator:
        process = subprocess.Popen(command, env={**without_aws(os.environ), **emulator.variables()})
        try:
            return process.wait()
        except BaseException:
            process.terminate()
            process.wait()
            raise


def _serve(port: int, grantwell: Path | None, for_containers: bool) -> int:
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    view = container_view() if for_containers else ContainerView("127.0.0.1", "127.0.0.1")
    with Emulator(view.listen, port) as emulator:
        settings: dict[str, str] = {}
        if grantwell:
            import seed  # here, because seed imports this module

            seed.seed(emulator.url, emulator.operator, grantwell)
            settings = seed.AUTHORIZER_SETTINGS
        variables = {**emulator.variables(), "AWS_ENDPOINT_URL": f"http://{view.name}:{emulator.port}", **settings}
        for name, value in variables.items():
            print(f"export {name}={shlex.quote(value)}")
        print("# ready; Ctrl-C ends it", flush=True)
        stop.wait()
    return 0


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description="an AWS emulator on loopback")
    commands = parser.add_subparsers(dest="what", required=True)
    run = commands.add_parser("run", help="run a command beside an empty emulator")
    run.add_argument("--ministack", action="store_true", help="the emulator whose labels of versions are AWS's")
    run.add_argument("command", nargs=argparse.REMAINDER)
    serve = commands.add_parser("serve", help="keep an emulator running until Ctrl-C")
    serve.add_argument("--port", type=int, default=0)
    serve.add_argument(
        "--seed", type=Path, metavar="GRANTWELL", help="the grantwell command to register the clients of events/ with"
    )
    serve.add_argument("--for-containers", action="store_true", help="listen where Docker containers reach it")
    given = parser.parse_args(arguments)
    if given.what == "serve":
        return _serve(given.port, given.seed, given.for_containers)
    command = given.command[1:] if given.command[:1] == ["--"] else given.command
    if not command:
        parser.error("run needs a command")
    return _run(command, given.ministack)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
