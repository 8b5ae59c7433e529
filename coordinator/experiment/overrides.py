"""Overrides: applies `section.key=value` from the command line to nested tables."""

import tomllib
import warnings
from typing import Any, get_args

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
    changed = last == "kind" and node.get("kind") != value
    old, new = (variant(root, parents, kind) if changed else None for kind in (node.get("kind"), value))
    unknown = [name for name in node if name not in new.model_fields] if new else []  # no such kind: validation reports
    for name in unknown:
        del node[name]
    node[last] = value
    unfitting = _drop_unfitting(root, result, parents[:1], key)
    dropped = [f"{'.'.join(parents)}.{name}" for name in unknown] + unfitting
    if dropped:
        setting = f"{key}={value}" if changed else key
        if unfitting:
            reason = f"which {'does' if len(dropped) == 1 else 'do'} not go with it"
        else:
            reason = f"which '{value}' does not have"
        warnings.warn(f"{setting} drops {', '.join(dropped)}, {reason}", stacklevel=3)
    if old and new:
        _note_kept(node, ".".join(parents), old, new)
    return result


def _note_kept(node: dict[str, Any], table: str, old: Model, new: Model) -> None:
    """Warn of the keys that a table keeps in its new kind although the two kinds differ in their defaults."""
    for name, value in node.items():
        if name == "kind" or name not in old.model_fields:  # a key of the new kind was set before its kind
            continue
        default = new.model_fields[name].default
        if default in (old.model_fields[name].default, PydanticUndefined, plain(value)):
            continue
        kind = node["kind"]
        warnings.warn(
            f"{table}.kind={kind} keeps {table}.{name} = {shown(value)}; the default of '{kind}' is {shown(default)}",
            stacklevel=4,
        )


def _drop_unfitting(root: Model, table: dict[str, Any], section: list[str], key: str) -> list[str]:
    """Drop the keys of a section that do not go with a value that was just set in it; returns their dotted names."""
    model = root.model_fields[section[0]].annotation if section and section[0] in root.model_fields else None
    models = [model, *get_args(model)]  # a section that may be left out is a union with None
    unfitting = next((found for each in models if (found := getattr(each, "unfitting", None))), None)
    names = unfitting(table[section[0]], key.partition(".")[2]) if unfitting else []
    for name in names:
        *parents, last = name.split(".")
        node = table[section[0]]
        for parent in parents:
            node[parent] = dict(node[parent])
            node = node[parent]
        del node[last]
    return [f"{section[0]}.{name}" for name in names]


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
