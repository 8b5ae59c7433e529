"""Keys of the experiment file that have a new name: the old one is refused in a line that says the new one."""

RENAMED = {  # old dotted key -> new one, which takes the same values
    "exchange.pool": "exchange.average",
    "exchange.pooling": "exchange.delivery",
}


def new_name(key: str) -> str:
    """What to write instead of a key that has been renamed; empty for any other."""
    return f"{key}: is called {RENAMED[key]} now: write that, with the same value" if key in RENAMED else ""
