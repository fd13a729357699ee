"""What each function costs, without a container: its built binary behind a Lambda Runtime API, beside a no-op function.

    make bench-lambda

Every figure but the size is also given as a multiple of the no-op's in the same run, with the goal beside it where there is one.
Functions take turns, start by start and call by call, so that what else the machine does falls on all of them alike.

`init` is the time from the start of the process to its first request for an event, the median of many; on Lambda the sandbox
comes on top. CPU is the process's own, read from the scheduler in nanoseconds, and steady where the machine is noisy. The emulator of
AWS takes its share of the clock, so wall times of functions that call AWS are mostly the emulator's.

`cold` is the time from the start of the process to its first answer, over TLS and with a millisecond to each service
(`benches/far_aws.py`): of a client whose secret is in Secrets Manager, and of others in multiples of it.

Where valgrind is installed, the instructions of a warm call are counted too: load hardly changes them, but they leave out the
kernel, and valgrind's processor has no SHA instructions, which the signature of a call of AWS would use.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "aws"))

import key_client  # noqa: E402
import seed  # noqa: E402
from emulator import Emulator  # noqa: E402
from expectations import EXPECTATIONS, assert_outcome, event  # noqa: E402
from faults import FaultyAws  # noqa: E402
from runtime_api import LambdaRuntime  # noqa: E402

STARTS = int(os.environ.get("GRANTWELL_BENCH_STARTS", "41"))
FIRSTS = int(os.environ.get("GRANTWELL_BENCH_FIRSTS", "5"))
CALLS = int(os.environ.get("GRANTWELL_BENCH_CALLS", "400"))
COLDS = int(os.environ.get("GRANTWELL_BENCH_COLDS", "41"))
COUNTED = int(os.environ.get("GRANTWELL_BENCH_COUNTED", "20"))
BINARIES = Path(os.environ["GRANTWELL_BENCH_BIN_DIR"])

# In multiples of the no-op: of its init, and of its CPU a call by the calls of AWS that one makes, warm.
INIT_GOAL = 2.0
CPU_GOALS = {0: 1.3, 1: 4.0}
# In megabytes. Metadata keeps nothing but realms and public keys.
RESIDENT_GOAL = 20.0

# In multiples of a client whose secret is in Secrets Manager.
COLD_GOAL = 0.6


def by_secret(client: seed.SeededClient) -> dict[str, Any]:
    given = event("token/basic")
    given["headers"]["authorization"] = f"Basic {client.basic}"
    return given


def by_key(_client: seed.SeededClient) -> dict[str, Any]:
    return key_client.event_with(key_client.assertion(int(time.time())))


# A client for each way to authenticate, and what it sends: made for each turn, because an assertion is good for one. The first is
# what the others are compared with.
COLD_CLIENTS: dict[str, tuple[seed.SeededClient, Callable[[seed.SeededClient], dict[str, Any]]]] = {
    "secrets-manager": (seed.MY_CLIENT, by_secret),
    "digest": (seed.SeededClient("digestClient", "client_secret_basic", "write", ("--secret-storage", "digest")), by_secret),
    "key": (seed.MY_KEY_CLIENT, by_key),
}

COMMON = {
    "GRANTWELL_REGISTRY_TABLE": seed.REGISTRY_TABLE,
    "GRANTWELL_TOKEN_TABLE": seed.TOKEN_TABLE,
    "GRANTWELL_SECRET_PREFIX": seed.SECRET_PREFIX,
    "GRANTWELL_LOG_LEVEL": "info",
    # As the template has it.
    "GRANTWELL_METRICS": "emf",
    # Failed attempts are counted, and none is one too many.
    "GRANTWELL_FAILED_AUTH_LIMIT": "10000",
}


@dataclass(frozen=True)
class Function:
    """One binary, and what it is told."""

    name: str
    binary: Path
    environment: Mapping[str, str]


@dataclass(frozen=True)
class Work:
    """An event that a warm function answers, and the calls of AWS it makes for it."""

    function: Function
    event: str
    calls: int

    @property
    def label(self) -> str:
        return f"{self.function.name} ({self.event.split('/')[1]})"


@dataclass
class Starts:
    """What starting a function took; milliseconds."""

    init: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    resident: float = 0.0


@dataclass
class Calls:
    """What answering an event took; milliseconds and megabytes."""

    first: list[float] = field(default_factory=list)
    first_cpu: list[float] = field(default_factory=list)
    warm: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    resident: float = 0.0
    instructions: int | None = None


def cpu_milliseconds(pid: int) -> float:
    """Time on a CPU of all threads that live."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        total += int((task / "schedstat").read_text().split()[0])
    return total / 1e6


def resident_megabytes(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise AssertionError("no VmRSS")


def sandbox(function: Function, emulator: Emulator, extra: Mapping[str, str]) -> LambdaRuntime:
    credentials = emulator.operator.variables()
    return LambdaRuntime(function.binary, function.environment, name=function.name, credentials=credentials, extra=extra)


def measure_starts(functions: list[Function], emulator: Emulator) -> dict[str, Starts]:
    """As on AWS: without an endpoint of one's own."""
    starts = {function.name: Starts() for function in functions}
    for _ in range(STARTS):
        for function in functions:
            with sandbox(function, emulator, {}) as started:
                seen = starts[function.name]
                seen.init.append(started.wait_until_ready() * 1000)
                seen.cpu.append(cpu_milliseconds(started.pid))
                seen.resident = resident_megabytes(started.pid)
    return starts


def measure_cold(token: Function, emulator: Emulator) -> dict[str, list[float]]:
    """Milliseconds from the start of a process to its first answer, of which AWS is as far away as it is."""
    cold: dict[str, list[float]] = {name: [] for name in COLD_CLIENTS}
    with far_aws(emulator) as extra:
        # What is asked for once is remembered there: the first turn does not count.
        for turn in range(COLDS + 1):
            for name, (client, request) in COLD_CLIENTS.items():
                given = request(client)
                begun = time.perf_counter()
                with sandbox(token, emulator, extra) as started:
                    answer = started.call(given)
                    took = (time.perf_counter() - begun) * 1000
                assert answer.status == 200, answer
                if turn:
                    cold[name].append(took)
    return cold


def register_cold_clients(emulator: Emulator) -> None:
    table, grantwell = COMMON["GRANTWELL_REGISTRY_TABLE"], Path(os.environ["GRANTWELL_BIN_DIR"]) / "grantwell"
    operator = seed.operator_environment(emulator.url, emulator.operator, table, COMMON["GRANTWELL_SECRET_PREFIX"])
    for client, _ in COLD_CLIENTS.values():
        settings = ("--scope", client.scope, "--default-scope", client.scope, *client.settings)
        seed.register_client(operator, grantwell, seed.REALM, client, settings)


@contextmanager
def far_aws(emulator: Emulator) -> Iterator[dict[str, str]]:
    """What tells a function where it is."""
    with tempfile.TemporaryDirectory() as directory:
        command = [sys.executable, str(ROOT / "benches" / "far_aws.py"), emulator.url, directory]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                said = json.loads(process.stdout.readline())
                yield {
                    "AWS_ENDPOINT_URL_DYNAMODB": said["dynamodb"],
                    "AWS_ENDPOINT_URL_SECRETS_MANAGER": said["secretsmanager"],
                    "SSL_CERT_FILE": said["ca"],
                }
            finally:
                process.terminate()


def measure_calls(works: list[Work], emulator: Emulator, aws: FaultyAws) -> dict[str, Calls]:
    """`aws` keeps connections open, as AWS does: the emulator closes each after one answer."""
    calls = {work.label: Calls() for work in works}
    endpoint = {"AWS_ENDPOINT_URL": aws.url}
    for _ in range(FIRSTS):
        for work in works:
            with sandbox(work.function, emulator, endpoint) as started:
                started.wait_until_ready()
                before, begun = cpu_milliseconds(started.pid), time.perf_counter()
                started.invoke(event(work.event))
                calls[work.label].first.append((time.perf_counter() - begun) * 1000)
                calls[work.label].first_cpu.append(cpu_milliseconds(started.pid) - before)
    with ExitStack() as running:
        warm = [(work, event(work.event), running.enter_context(sandbox(work.function, emulator, endpoint))) for work in works]
        for work, given, started in warm:
            for _ in range(20):
                if work.event in EXPECTATIONS and work.function.name != "no-op":
                    assert_outcome(started, given, EXPECTATIONS[work.event])
                else:
                    started.invoke(given)
        for _ in range(CALLS // BLOCK):
            for work, given, started in warm:
                seen = calls[work.label]
                before = cpu_milliseconds(started.pid)
                for _ in range(BLOCK):
                    begun = time.perf_counter()
                    started.invoke(given)
                    seen.warm.append((time.perf_counter() - begun) * 1000)
                seen.cpu.append((cpu_milliseconds(started.pid) - before) / BLOCK)
        for work, _, started in warm:
            calls[work.label].resident = resident_megabytes(started.pid)
    for work in works:
        calls[work.label].instructions = count_instructions(work, emulator, aws)
    return calls


def count_instructions(work: Work, emulator: Emulator, aws: FaultyAws) -> int | None:
    """Of a warm call, in user space."""
    if not (shutil.which("valgrind") and shutil.which("callgrind_control")):
        return None
    with tempfile.TemporaryDirectory() as scratch:
        counts, launcher = Path(scratch) / "counts", Path(scratch) / work.function.name
        options = f"--tool=callgrind --instr-atstart=no --callgrind-out-file={counts}"
        launcher.write_text(f"#!/bin/sh\nexec valgrind --quiet {options} {work.function.binary}\n")
        launcher.chmod(0o755)
        counted = Function(work.function.name, launcher, work.function.environment)
        with sandbox(counted, emulator, {"AWS_ENDPOINT_URL": aws.url}) as started:
            started.wait_until_ready()
            for _ in range(20):
                started.invoke(event(work.event))
            control("--instr=on", started.pid)
            for _ in range(COUNTED):
                started.invoke(event(work.event))
            control("--dump", started.pid)
        totals = [line for dump in Path(scratch).glob("counts*") for line in dump.read_text().splitlines()]
        return sum(int(line.split()[1]) for line in totals if line.startswith("totals:")) // COUNTED


def control(command: str, pid: int) -> None:
    subprocess.run(["callgrind_control", command, str(pid)], check=True, stdout=subprocess.DEVNULL)


def verdict(multiple: float, goal: float, places: int = 1) -> str:
    """A multiple of the figure that is compared with, and what it is meant to be at most."""
    return f"{multiple:4.{places}f}x {'<=' if multiple <= goal else '> '} {goal:.1f}x"


def print_starts(functions: list[Function], starts: dict[str, Starts]) -> None:
    floor = starts[functions[0].name]
    floor_init, floor_cpu = statistics.median(floor.init), statistics.median(floor.cpu)
    print(f"\n{'function':12} {'init':>9} {'':>15} {'of it CPU':>10} {'':>15} {'resident':>9} {'binary':>9}")
    for function in functions:
        seen = starts[function.name]
        init, cpu = statistics.median(seen.init), statistics.median(seen.cpu)
        print(
            f"{function.name:12} {init:6.1f} ms {verdict(init / floor_init, INIT_GOAL):>15} {cpu:7.1f} ms "
            f"{verdict(cpu / floor_cpu, INIT_GOAL):>15} "
            f"{seen.resident:6.1f} MB {function.binary.stat().st_size / 1e6:6.1f} MB"
        )


def print_cold(cold: dict[str, list[float]]) -> None:
    floor = statistics.median(next(iter(cold.values())))
    print(f"\n{'cold, to the first answer':26} {'median':>9} {'lowest':>9} {'':>15}  load {os.getloadavg()[0]:.1f}")
    for name, times in cold.items():
        median = statistics.median(times)
        compared = "" if median == floor else verdict(median / floor, COLD_GOAL, 2)
        print(f"{name:26} {median:6.1f} ms {min(times):6.1f} ms {compared:>15}")


def print_calls(works: list[Work], calls: dict[str, Calls]) -> None:
    floor = statistics.median(calls[works[0].label].cpu)
    print(
        f"\n{'event':40} {'calls':>5} {'first':>8} {'of it CPU':>10} {'p50':>8} {'p99':>8} {'CPU a call':>10} {'':>15} "
        f"{'resident':>9} {'instructions':>12}"
    )
    for work in works:
        seen = calls[work.label]
        cpu, times = statistics.median(seen.cpu), sorted(seen.warm)
        instructions = "" if seen.instructions is None else f"{seen.instructions / 1000:.0f} k"
        print(
            f"{work.label:40} {work.calls:5} {statistics.median(seen.first):5.0f} ms {statistics.median(seen.first_cpu):7.1f} ms "
            f"{times[len(times) // 2]:5.1f} ms {times[len(times) * 99 // 100]:5.1f} ms {cpu * 1000:7.0f} us "
            f"{verdict(cpu / floor, CPU_GOALS[work.calls]):>15} {seen.resident:6.1f} MB {instructions:>12}"
        )
    print(f"\nresident: at most {RESIDENT_GOAL:.0f} MB each, metadata less. `calls`: of AWS, for one event, warm.")


def main() -> None:
    noop = Function("no-op", BINARIES / "noop", {})
    token, introspect, revoke, metadata, rotate = (
        Function(name, BINARIES / name, COMMON) for name in ("token", "introspect", "revoke", "metadata", "rotate")
    )
    authorizer = Function(
        "authorizer", BINARIES / "authorizer", COMMON | seed.AUTHORIZER_SETTINGS | {"GRANTWELL_AUTHORIZER_REALM": seed.REALM}
    )
    functions = [noop, token, introspect, revoke, metadata, authorizer, rotate]
    works = [
        Work(noop, "token/basic", 0),
        Work(token, "token/basic", 1),
        Work(token, "token/jwt", 1),
        Work(token, "token/wrong-secret", 0),
        Work(introspect, "introspect/active", 1),
        Work(revoke, "revoke/unknown", 1),
        Work(authorizer, "authorizer/http-api-v2", 1),
        Work(metadata, "metadata/oauth-authorization-server", 0),
        Work(metadata, "metadata/jwks", 0),
    ]
    with Emulator() as emulator, FaultyAws(emulator) as aws:
        seed.seed(emulator.url, emulator.operator, Path(os.environ["GRANTWELL_BIN_DIR"]) / "grantwell")
        starts = measure_starts(functions, emulator)
        print_starts(functions, starts)
        register_cold_clients(emulator)
        print_cold(measure_cold(token, emulator))
        print_calls(works, measure_calls(works, emulator, aws))


# Calls that one function answers before it is the next one's turn.
BLOCK = 20

if __name__ == "__main__":
    main()
