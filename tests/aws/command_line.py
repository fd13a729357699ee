"""The real `grantwell` on one store, as an operator runs it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

# Runs one command, its secrets on standard input.
RunCommand = Callable[..., None]


def command_line(grantwell: Path, environment: dict[str, str], store: str) -> RunCommand:
    """Runs commands on `store`; one that fails fails the test with what it said."""

    def run(*arguments: str, stdin: str = "") -> None:
        done = subprocess.run(
            [str(grantwell), *arguments, "--store", store],
            env=environment,
            input=stdin,
            text=True,
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    return run
