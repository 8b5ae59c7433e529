"""Reads untrusted input: TOML, JSON, values of any type and file names, with one clear error for each problem."""

import datetime
import difflib
import json
import os
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from coordinator.experiment.home import is_temporary

MAX_DEPTH = 32  # nesting depth of tables and lists; settings need five
MAX_BYTES = 16 * 2**20  # size of a settings file


class ConfigError(ValueError):
    """Bad input: one line per mistake, each with field, rule, value and what to do."""


def read_table(path: Path) -> dict[str, Any]:
    """A TOML file as nested tables. Raises: ConfigError."""
    try:
        if path.is_fifo() and not str(path).startswith(("/dev/fd/", "/proc/")):  # pipes made by the shell have a writer
            raise ConfigError(f"config: '{path}' is a pipe, which may never be written: name a file")
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise ConfigError(f"config: no file '{path}'{_nearest_file(path)}") from None
    except OSError as error:
        raise ConfigError(f"config: cannot read '{path}': {error.strerror}") from None
    except ValueError as error:  # a NUL character in the file name
        raise ConfigError(f"config: cannot read {str(path)!r}: {error}") from None
    if len(content) > MAX_BYTES:
        raise ConfigError(f"config: '{path}' is no file of settings: it has more than {MAX_BYTES >> 20} MiB")
    try:
        return from_toml(content.decode("utf-8-sig"))  # some editors begin a file with a byte order mark
    except UnicodeDecodeError:
        raise ConfigError(f"config: '{path}' is not text in UTF-8, as TOML is") from None
    except ValueError as error:
        raise ConfigError(f"config: '{path}' is not TOML: {error}") from None


def from_toml(text: str) -> dict[str, Any]:
    """Parse TOML. Raises: ValueError for any invalid text."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        raise
    except RecursionError:
        raise ValueError(f"nested more than {MAX_DEPTH} levels deep") from None
    except ValueError:
        raise ValueError("a number in it has too many digits") from None
    if too_deep(table):
        raise ValueError(f"nested more than {MAX_DEPTH} levels deep")
    return table


def from_json(content: str | bytes) -> Any:
    """Parse JSON. Raises: ValueError for any invalid text."""
    try:
        return json.loads(content)
    except RecursionError:
        raise ValueError("nested too deep") from None


def too_deep(value: Any) -> bool:
    """Whether tables and lists are nested deeper than `MAX_DEPTH`, or contain themselves."""
    waiting = [(value, 1)]
    while waiting:
        node, depth = waiting.pop()
        children = node.values() if isinstance(node, dict) else node if isinstance(node, list | tuple) else ()
        if depth > MAX_DEPTH and children:
            return True
        waiting += [(child, depth + 1) for child in children]
    return False


def check_depth(table: Any) -> None:
    """Raises: ConfigError, if tables and lists are nested too deeply."""
    if too_deep(table):
        raise ConfigError(f"config: nested more than {MAX_DEPTH} levels deep")


def plain(value: Any) -> Any:
    """Convert NumPy scalars and arrays, tuples and paths, also nested ones, to the types that TOML yields."""
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, np.floating):
        return float(value)
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.generic):
        return value.item()
    return os.fspath(value) if isinstance(value, Path) else value


def unusable_values(value: Any, key: str = "") -> list[str]:
    """An error line for each value that TOML cannot hold: a key that is no string, a huge integer, invalid text."""
    if isinstance(value, dict):
        wrong = [
            f"{key or 'config'}: its keys must be text, got {shown(name)}"
            for name in value
            if not isinstance(name, str)
        ]
        inner = ((f"{key}.{name}" if key else str(name), item) for name, item in value.items())
        return wrong + [line for name, item in inner for line in unusable_values(item, name)]
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return [f"{key}: must be a number of at most 19 digits, got one of {value.bit_length()} bits: lower it"]
    if isinstance(value, list):
        return [line for index, item in enumerate(value) for line in unusable_values(item, f"{key}[{index}]")]
    if not isinstance(value, str) or ("\0" not in value and is_utf8(value)):
        return []
    return [f"{key}: must be text in UTF-8 without NUL characters, got {shown(value)}"]


def is_utf8(text: str) -> bool:
    """Whether the text can be encoded; a file name with invalid bytes, which Python escapes, cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def listed(names: Sequence[str]) -> str:
    """`a, b and c`."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def shown(value: Any, most: int = 200) -> str:
    """A value as text for an error line, cut to `most` characters."""
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    try:
        text = repr(value)
    except ValueError:
        return "a number with too many digits"
    return text if len(text) <= most else f"{text[:most]}..."


def absolute_path(key: str, name: str | Path) -> str:
    """An absolute path with `~` expanded. Raises: ConfigError, if that home or the current folder does not exist."""
    first = str(name).split("/")[0]
    try:
        if first == "~" and is_temporary():
            raise RuntimeError
        return str(Path(name).expanduser().absolute())
    except RuntimeError:  # raised by expanduser, too
        raise ConfigError(
            f"{key}: '{name}' begins with {first}, a home that this machine does not know: write the whole path"
        ) from None
    except FileNotFoundError:
        raise ConfigError(f"{key}: '{name}' lies in the current folder, which is gone: change to another") from None


def path_reader(name: str) -> Callable[[Path | None], Path | None]:
    """A function that expands a `~` the shell left in the argument `name`; it raises ConfigError if it cannot."""

    def read(path: Path | None) -> Path | None:
        return Path(absolute_path(name, path)) if path is not None and str(path).startswith("~") else path

    return read


def _nearest_file(path: Path) -> str:
    existing = [file.name for file in path.parent.glob("*.toml")] if path.parent.is_dir() else []
    matches = difflib.get_close_matches(path.name, existing, n=1)
    return f"; did you mean '{path.parent / matches[0]}'?" if matches else ""
