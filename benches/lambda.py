"""What each function costs, without a container: its built binary behind a Lambda Runtime API, beside a no-op function.

    make bench-lambda

The emulator of AWS takes its share of the clock (13 ms a call), so wall times of functions that call AWS are the emulator's; CPU is
the process's own, read from the scheduler in nanoseconds, and steady where the machine is noisy. `start` is the time from the start
of the process to its first request for an event, the median of many; on Lambda the sandbox comes on top.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "aws"))

import seed  # noqa: E402
from emulator import Emulator  # noqa: E402
from expectations import EXPECTATIONS, WORK, assert_answer, event  # noqa: E402
from runtime_api import LambdaRuntime  # noqa: E402
from template import Json  # noqa: E402

STARTS = int(os.environ.get("GRANTWELL_BENCH_STARTS", "30"))
CALLS = int(os.environ.get("GRANTWELL_BENCH_CALLS", "300"))
BINARIES = Path(os.environ["GRANTWELL_BENCH_BIN_DIR"])


@dataclass(frozen=True)
class Measured:
    """One row of the table; times in milliseconds, memory in megabytes."""

    name: str
    start: float
    start_cpu: float
    first: float
    p50: float
    p99: float
    cpu: float
    resident: float
    size: float


def cpu_seconds(pid: int) -> float:
    """Time on a CPU of all threads that live."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


def resident_megabytes(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise AssertionError("no VmRSS")


def measure(name: str, binary: Path, environment: dict[str, str], emulator: Emulator, given: Json, check: Callable[[LambdaRuntime], None]) -> Measured:
    def start(extra: dict[str, str]) -> LambdaRuntime:
        return LambdaRuntime(binary, environment, name=name, credentials=emulator.operator.variables(), extra=extra)

    # As on AWS: without an endpoint of one's own.
    starts, start_cpus = [], []
    for _ in range(STARTS):
        with start({}) as sandbox:
            starts.append(sandbox.wait_until_ready() * 1000)
            start_cpus.append(cpu_seconds(sandbox.pid) * 1000)
    firsts = []
    for _ in range(5):
        with start({"AWS_ENDPOINT_URL": emulator.url}) as sandbox:
            sandbox.wait_until_ready()
            begun = time.perf_counter()
            check(sandbox)
            firsts.append((time.perf_counter() - begun) * 1000)
    with start({"AWS_ENDPOINT_URL": emulator.url}) as sandbox:
        for _ in range(20):
            check(sandbox)
        before, times = cpu_seconds(sandbox.pid), []
        for _ in range(CALLS):
            begun = time.perf_counter()
            sandbox.invoke(given)
            times.append((time.perf_counter() - begun) * 1000)
        cpu = (cpu_seconds(sandbox.pid) - before) * 1000 / CALLS
        resident = resident_megabytes(sandbox.pid)
    times.sort()
    return Measured(
        name,
        statistics.median(starts),
        statistics.median(start_cpus),
        statistics.median(firsts),
        times[len(times) // 2],
        times[len(times) * 99 // 100],
        cpu,
        resident,
        binary.stat().st_size / 1e6,
    )


def main() -> None:
    with Emulator() as emulator:
        seed.seed(emulator.url, emulator.operator, Path(os.environ["GRANTWELL_BIN_DIR"]) / "grantwell")
        common = {
            "GRANTWELL_REGISTRY_TABLE": seed.REGISTRY_TABLE,
            "GRANTWELL_TOKEN_TABLE": seed.TOKEN_TABLE,
            "GRANTWELL_SECRET_PREFIX": seed.SECRET_PREFIX,
            "GRANTWELL_LOG_LEVEL": "info",
        }
        rows = [measure("no-op", BINARIES / "examples" / "noop", {}, emulator, event("token/basic"), lambda sandbox: sandbox.invoke(event("token/basic")))]
        for name, work in CASES:
            given = event(work)

            def check(sandbox: LambdaRuntime, given: Json = given, work: str = work) -> None:
                assert_answer(sandbox.call(given), EXPECTATIONS[work])

            rows.append(measure(f"{name} ({work.split('/')[1]})", BINARIES / name, common, emulator, given, check))
    floor = rows[0]
    print(f"{'':34} {'start':>13} {'of it CPU':>11} {'first':>8} {'p50':>7} {'p99':>7} {'CPU a call':>16} {'resident':>9} {'binary':>8}")
    for row in rows:
        print(
            f"{row.name:34} {row.start:6.1f} ms {row.start / floor.start:3.1f}x {row.start_cpu:8.1f} ms {row.first:5.0f} ms {row.p50:4.1f} ms "
            f"{row.p99:4.1f} ms {row.cpu * 1000:7.0f} us {row.cpu / floor.cpu:4.1f}x {row.resident:6.1f} MB {row.size:5.1f} MB"
        )


CASES = [
    ("token", "token/basic"),
    ("token", "token/wrong-secret"),
    ("introspect", "introspect/active"),
    ("revoke", "revoke/unknown"),
    ("metadata", "metadata/oauth-authorization-server"),
]

if __name__ == "__main__":
    main()
