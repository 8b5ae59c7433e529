"""Renamed config keys: an old key is refused with an error that says what to write instead."""

from typing import Any

RENAMED = {  # old dotted key -> what to write instead
    "exchange.pool": "is called exchange.average now: write that, with the same value",
    "exchange.pooling": "is called exchange.delivery now: write that, with the same value",
    "peers.channels_last": "is hosting.layout now: write 'channels-last' there for true, 'contiguous' for false",
    "evaluation.alone": 'is one of evaluation.controls now: write controls = ["alone"], or leave it out',
}


def renamed_in(table: dict[str, Any]) -> list[str]:
    """The old keys of the table of an experiment."""
    return [key for key in RENAMED if _has(table, key.split("."))]


def _has(table: Any, path: list[str]) -> bool:
    return not path or (isinstance(table, dict) and path[0] in table and _has(table[path[0]], path[1:]))


def new_name(key: str) -> str:
    """The error line for a renamed key; empty for any other key."""
    return f"{key}: {RENAMED[key]}" if key in RENAMED else ""
