"""Overrides: applies `section.key=value` from the command line to nested tables."""

import tomllib
import warnings
from typing import Any

from pydantic_core import PydanticUndefined

from coordinator.experiment.errors import Model, takes_text, variant
from coordinator.experiment.reading import ConfigError, from_toml, plain, shown


def parse_assignment(text: str) -> tuple[str, Any]:
    """Split `key=value`; a value that is not TOML is a string, so that kind=ring needs no quotes.

    Raises: ConfigError.
    """
    key, value, _ = _parts(text)
    return key, value


def parse_setting(root: Model, text: str, section: str = "") -> tuple[str, Any]:
    """Split `key=value` like `parse_assignment`, but keep `1e3`, `true` or a date as text if the key takes only text.

    section: the prefix of the key in the model `root`. Raises: ConfigError.
    """
    key, value, written = _parts(text)
    if not isinstance(value, str | list | dict) and takes_text(root, f"{section}{key}"):
        return key, written
    return key, value


def with_override(root: Model, table: dict[str, Any], text: str) -> dict[str, Any]:
    """A copy of `table` with one `section.key=value` override applied. Raises: ConfigError."""
    key, value = parse_setting(root, text)
    try:
        return with_value(root, table, key, value)
    except ConfigError as error:
        raise ConfigError(f"override '{text}': {error}") from None


def with_value(root: Model, table: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    """A copy of `table` with the value at a dotted key replaced.

    A new `kind` keeps the keys that both kinds have and drops the others; keys that are not set take the new kind's
    defaults. A warning names the dropped keys, and the kept ones whose default differs between the kinds.
    Raises: ConfigError.
    """
    *parents, last = key.split(".")
    result = dict(table)
    node, path = result, []
    for parent in parents:
        path.append(parent)
        child = node.get(parent, {})
        if not isinstance(child, dict):
            raise ConfigError(f"'{'.'.join(path)}' is not a table but {shown(child)}")
        node[parent] = dict(child)
        node = node[parent]
    if last == "kind" and node.get("kind") != value:
        _change_kind(root, node, parents, value)
    node[last] = value
    _adapt(root, result, parents[:1], key)
    return result


def _change_kind(root: Model, node: dict[str, Any], parents: list[str], kind: object) -> None:
    """Drop the keys of a table that its new kind does not have, with a warning."""
    table, old, new = ".".join(parents), variant(root, parents, node.get("kind")), variant(root, parents, kind)
    if new is None:  # no such kind: validation will report it
        return
    dropped = [name for name in node if name not in new.model_fields]
    for name in dropped:
        del node[name]
    if dropped:
        names = ", ".join(f"{table}.{name}" for name in dropped)
        warnings.warn(f"{table}.kind={kind} drops {names}, which '{kind}' does not have", stacklevel=3)
    for name, value in node.items():
        default = new.model_fields[name].default
        if (
            name == "kind"
            or old is None
            or default in (old.model_fields[name].default, PydanticUndefined, plain(value))
        ):
            continue
        warnings.warn(
            f"{table}.kind={kind} keeps {table}.{name} = {shown(value)}; the default of '{kind}' is {shown(default)}",
            stacklevel=3,
        )


def _adapt(root: Model, table: dict[str, Any], section: list[str], key: str) -> None:
    """Drop keys of a section that are incompatible with a value that was just set in it, with a warning."""
    model = root.model_fields[section[0]].annotation if section and section[0] in root.model_fields else None
    unfitting = getattr(model, "unfitting", None)
    for name in unfitting(table[section[0]], key.partition(".")[2]) if unfitting else ():
        *parents, last = name.split(".")
        node = table[section[0]]
        for parent in parents:
            node[parent] = dict(node[parent])
            node = node[parent]
        del node[last]
        warnings.warn(f"{key} drops {section[0]}.{name}, which does not go with it", stacklevel=4)


def _parts(text: str) -> tuple[str, Any, str]:
    """The key, the parsed value, and the value as written. Raises: ConfigError."""
    key, equals, value = text.partition("=")
    key, written = key.strip(), value.strip()
    if not equals or not all(key.split(".")):
        raise ConfigError(f"{shown(text)} is not section.key=value, such as run.rounds=10")
    try:
        parsed = from_toml(f"value = {value}")
    except tomllib.TOMLDecodeError:
        return key, written, written
    except ValueError as error:
        raise ConfigError(f"override {shown(text, 40)}: {error}") from None
    if parsed.keys() != {"value"}:  # the value has several lines, which TOML reads as further keys
        return key, written, written
    return key, parsed["value"], written
