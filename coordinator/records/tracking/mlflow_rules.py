"""MLflow's rules for names and lengths, and the delivery of batches of which it refuses some rows."""

import hashlib
import math
import posixpath
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from coordinator.experiment.redaction import first_line

LONGEST_NAME, LONGEST_PARAM, LONGEST_TAG = 250, 6000, 5000
BAD_ROW = ("INVALID_PARAMETER_VALUE", "BAD_REQUEST")  # MLflow's error codes for a bad row
TRIES = 20  # refusals without any success, after which the rows are not to blame


class Names:
    """Maps keys to distinct names that MLflow accepts."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._keys: dict[str, str] = {}

    def add(self, keys: Iterable[str]) -> dict[str, str]:
        """Assign names to new keys; returns those of them whose name differs from the key."""
        new = [key for key in dict.fromkeys(keys) if key not in self._names]
        for key in sorted(new, key=lambda key: valid_name(key) != key):  # valid names first: they stay
            name, number = valid_name(key), 2
            while self._keys.get(name, key) != key:
                name, number = f"{valid_name(key)[: LONGEST_NAME - 5]}.{number}", number + 1
            self._names[key], self._keys[name] = name, key
        return {key: self._names[key] for key in new if self._names[key] != key}

    def __getitem__(self, key: str) -> str:
        return self._names[key]


def valid_name(key: str) -> str:
    """The key as a name that MLflow accepts: unchanged if possible, otherwise with `_` for invalid characters."""
    name = re.sub(r"[^/\w.\- :]", "_", key)
    if posixpath.normpath(name) != name or name.startswith(("/", "..")) or name == ".":  # names may be file paths
        name = f"_{name}".replace("/", "_")
    if len(name) > LONGEST_NAME:
        name = f"{name[: LONGEST_NAME - 9]}-{hashlib.sha256(key.encode('utf-8', 'replace')).hexdigest()[:8]}"
    return name


def metric_rows(metrics: Mapping[str, Any], step: int) -> list[tuple[str, float, int, int]]:
    """The finite numbers as MLflow has them: name, value, milliseconds since 1970, step."""
    now = int(time.time() * 1000)
    return [
        (key, float(value), now, step)
        for key, value in metrics.items()
        if isinstance(value, int | float) and math.isfinite(value)
    ]


class LeftOutError(ValueError):
    """MLflow refused some rows of a batch; all others were delivered."""


def deliver(rows: Sequence[Any], send: Callable[[Sequence[Any]], object]) -> None:
    """Send rows in one batch; if MLflow refuses it because of some rows, bisect it to deliver all others.

    Raises: LeftOutError, naming refused rows; or the exception of `send` if it does not concern single rows.
    """
    batches, left_out, refusals, taken = [rows], list[tuple[str, str]](), 0, False
    while batches:
        batch = batches.pop()
        try:
            send(batch)
            taken = True
        except Exception as error:
            refusals += 1
            if getattr(error, "error_code", "") not in BAD_ROW or (refusals > TRIES and not taken):
                raise
            if len(batch) == 1:
                left_out.append((batch[0].key, first_line(error, "")))
            else:
                batches += [batch[len(batch) // 2 :], batch[: len(batch) // 2]]
    if left_out:
        names = ", ".join(f"'{key}'" for key, _ in left_out[:3])
        more = f" and {len(left_out) - 3} more" if len(left_out) > 3 else ""
        raise LeftOutError(f"left out {names}{more}: {left_out[0][1]}")
