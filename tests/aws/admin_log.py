"""The admin log as it is stored (docs/storage.md)."""

from __future__ import annotations

import json
from typing import Any

from emulator import Emulator
from stack import Stack
from template import Json


def lines(stack: Stack, emulator: Emulator) -> list[Json]:
    """The lines of the log as they are stored, the oldest first."""
    found: Any = emulator.client("dynamodb").query(
        TableName=stack.physical_id("RegistryTable"),
        KeyConditionExpression="realm = :log",
        ExpressionAttributeValues={":log": {"S": "log#admin"}},
    )
    for item in found["Items"]:
        assert set(item) == {"realm", "item", "line", "log_expires_at"}
        assert json.loads(item["line"]["S"])["expires_at"] == int(item["log_expires_at"]["N"])
    return [json.loads(item["line"]["S"]) for item in found["Items"]]
