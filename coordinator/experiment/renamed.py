"""Renamed config keys: an old key is refused with an error that names the new one."""

from typing import Any

RENAMED = {  # old dotted key -> new dotted key; values are unchanged
    "exchange.pool": "exchange.average",
    "exchange.pooling": "exchange.delivery",
}


def renamed_in(table: dict[str, Any]) -> list[str]:
    """The old keys of the table of an experiment."""
    return [key for key in RENAMED if _has(table, key.split("."))]


def _has(table: Any, path: list[str]) -> bool:
    return not path or (isinstance(table, dict) and path[0] in table and _has(table[path[0]], path[1:]))


def new_name(key: str) -> str:
    """The error line for a renamed key; empty for any other key."""
    return f"{key}: is called {RENAMED[key]} now: write that, with the same value" if key in RENAMED else ""
