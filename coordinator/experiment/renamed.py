"""Renamed config keys: an old key is refused with an error that names the new one."""

RENAMED = {  # old dotted key -> new dotted key; values are unchanged
    "exchange.pool": "exchange.average",
    "exchange.pooling": "exchange.delivery",
}


def new_name(key: str) -> str:
    """The error line for a renamed key; empty for any other key."""
    return f"{key}: is called {RENAMED[key]} now: write that, with the same value" if key in RENAMED else ""
