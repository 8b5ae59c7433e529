"""What comes from outside: TOML, JSON, values of any type and names of files, with all that may be wrong with them."""

import datetime
import difflib
import json
import os
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from coordinator.experiment.home import is_temporary

MAX_DEPTH = 32  # of tables and lists in each other: settings need five
MAX_BYTES = 16 * 2**20  # of a file of settings


class ConfigError(ValueError):
    """Bad input: one line per mistake, each with field, rule, value and what to do."""


def read_table(path: Path) -> dict[str, Any]:
    """A TOML file as nested tables. Raises: ConfigError."""
    try:
        if path.is_fifo() and not str(path).startswith(("/dev/fd/", "/proc/")):  # the shell's own have a writer
            raise ConfigError(f"config: '{path}' is a pipe, which may never be written: name a file")
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise ConfigError(f"config: no file '{path}'{_nearest_file(path)}") from None
    except OSError as error:
        raise ConfigError(f"config: cannot read '{path}': {error.strerror}") from None
    except ValueError as error:  # a NUL in its name
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
    """The tables of a TOML text. Raises: ValueError, whatever is wrong with it."""
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
    """The value of a JSON text. Raises: ValueError, whatever is wrong with it."""
    try:
        return json.loads(content)
    except RecursionError:
        raise ValueError("nested too deep") from None


def too_deep(value: Any) -> bool:
    """Whether tables and lists lie in each other deeper than `MAX_DEPTH`, or for ever."""
    waiting = [(value, 1)]
    while waiting:
        each, depth = waiting.pop()
        inside = each.values() if isinstance(each, dict) else each if isinstance(each, list | tuple) else ()
        if depth > MAX_DEPTH and inside:
            return True
        waiting += [(below, depth + 1) for below in inside]
    return False


def check_depth(table: Any) -> None:
    """Raises: ConfigError, if tables and lists lie in each other deeper than anything reads."""
    if too_deep(table):
        raise ConfigError(f"config: nested more than {MAX_DEPTH} levels deep")


def plain(value: Any) -> Any:
    """The value with NumPy's scalars and arrays, and paths, as TOML would have given them."""
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, np.floating):
        return float(value)
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.generic):
        return value.item()
    return os.fspath(value) if isinstance(value, Path) else value


def unusable_values(value: Any, key: str = "") -> list[str]:
    """A line for each value that a settings file could not hold: a key that is no text, an endless number, odd text."""
    if isinstance(value, dict):
        wrong = [
            f"{key or 'config'}: its keys must be text, got {shown(each)}"
            for each in value
            if not isinstance(each, str)
        ]
        below = ((f"{key}.{name}" if key else str(name), each) for name, each in value.items())
        return wrong + [line for name, each in below for line in unusable_values(each, name)]
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return [f"{key}: must be a number of at most 19 digits, got one of {value.bit_length()} bits: lower it"]
    if isinstance(value, list):
        return [line for index, each in enumerate(value) for line in unusable_values(each, f"{key}[{index}]")]
    if not isinstance(value, str) or ("\0" not in value and is_utf8(value)):
        return []
    return [f"{key}: must be text in UTF-8 without NUL characters, got {shown(value)}"]


def is_utf8(text: str) -> bool:
    """Whether the text can be written: a name with other bytes in it, from the system, cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def shown(value: Any, most: int = 200) -> str:
    """A value within an error's line, as it is written, however long or odd it is."""
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    try:
        text = repr(value)
    except ValueError:
        return "a number with too many digits"
    return text if len(text) <= most else f"{text[:most]}..."


def absolute_path(key: str, name: str | Path) -> str:
    """A file's name that means the same from any folder. Raises: ConfigError, if `~` or the folder is not known."""
    first = str(name).split("/")[0]
    try:
        if first == "~" and is_temporary():
            raise RuntimeError
        return str(Path(name).expanduser().absolute())
    except RuntimeError:  # as expanduser does
        raise ConfigError(
            f"{key}: '{name}' begins with {first}, a home that this machine does not know: write the whole path"
        ) from None
    except FileNotFoundError:
        raise ConfigError(f"{key}: '{name}' lies in the current folder, which is gone: change to another") from None


def path_reader(name: str) -> Callable[[Path | None], Path | None]:
    """What fills in a `~` that no shell has, in an argument of this name. It raises ConfigError where nobody's is."""

    def read(path: Path | None) -> Path | None:
        return Path(absolute_path(name, path)) if path is not None and str(path).startswith("~") else path

    return read


def _nearest_file(path: Path) -> str:
    there = [each.name for each in path.parent.glob("*.toml")] if path.parent.is_dir() else []
    near = difflib.get_close_matches(path.name, there, n=1)
    return f"; did you mean '{path.parent / near[0]}'?" if near else ""
