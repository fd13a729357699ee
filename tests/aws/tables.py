"""The tables of the code, as the command writes them: which path is which endpoint, the metrics, the reasons of refusals, the errors."""

from __future__ import annotations

import json
import os
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

from template import ROOT

Json = dict[str, Any]


@cache
def described() -> Json:
    """`grantwell describe`, of the build that the tests run."""
    command = Path(os.environ.get("GRANTWELL_BIN_DIR", ROOT / "target" / "debug")).resolve() / "grantwell"
    done = subprocess.run([command, "describe"], capture_output=True, text=True, timeout=60, check=True)
    tables: Json = json.loads(done.stdout)
    return tables


def paths(*endpoints: str) -> set[str]:
    """Every path of these endpoints."""
    named = {each["endpoint"]: each["paths"] for each in described()["routes"]}
    return {path for endpoint in endpoints for path in named[endpoint]}


def metrics() -> dict[str, list[list[str]]]:
    """What is in this repository's own namespace: by which sets of dimensions each metric is there."""
    return {each["name"]: each["dimensions"] for each in described()["metrics"]}
