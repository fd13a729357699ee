"""What runs beside our own code, by names that nobody can move."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import template as sam

WORKFLOWS = sorted((sam.ROOT / ".github/workflows").glob("*.y*ml"))
REQUIREMENTS = [
    sam.ROOT / name
    for name in ("tests/aws/requirements.txt", "tests/aws/requirements-sam.txt", "benches/peers/requirements.txt")
]


def test_the_workflow_names_each_action_by_a_commit_and_says_which_release_it_is() -> None:
    assert WORKFLOWS
    used = [line.strip() for each in WORKFLOWS for line in each.read_text().splitlines() if "uses:" in line]
    assert used
    named = re.compile(r"(- )?uses: [\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+")
    assert [line for line in used if not named.fullmatch(line)] == []


@pytest.mark.parametrize("path", REQUIREMENTS, ids=lambda path: path.name)
def test_each_requirement_is_one_version_of_known_hashes(path: Path) -> None:
    """pip checks them (--require-hashes); this sees a file that was written by hand."""
    text = path.read_text().replace("\\\n", " ")
    requirements = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    assert len(requirements) >= 10
    pinned = re.compile(r"[\w.\[\], -]+==[\w.]+( ; [^#]+?)?(\s+--hash=sha256:[0-9a-f]{64})+\s*")
    assert [line for line in requirements if not pinned.fullmatch(line)] == []
    asked = {line for line in path.with_suffix(".in").read_text().splitlines() if not line.startswith("#")}
    locked = {re.split(r"==", line)[0].lower() for line in requirements}
    assert {re.split(r"==|\[", name)[0].lower() for name in asked} <= locked


def test_make_installs_what_has_a_known_hash_and_nothing_else() -> None:
    makefile = (sam.ROOT / "Makefile").read_text()
    installs = [line for line in makefile.splitlines() if re.search(r"pip install", line)]
    assert installs and all("--require-hashes" in line or "uv==" in line for line in installs), installs
