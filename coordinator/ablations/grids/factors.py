"""The factors of an ablation (axes in its file): reading them, crossing them, and labelling the cells."""

import itertools
import json
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from pydantic import BaseModel

from coordinator.experiment import reading
from coordinator.experiment.config import PARTITION_PATH, PATHS, ConfigError, RunConfig
from coordinator.experiment.errors import unknown_key

Settings = dict[str, Any]  # dotted key -> value; for factors: dotted key -> list of levels
MAX_CELLS = 10_000


def to_plain(value: Any) -> Any:
    """A value converted to TOML types: scalars, lists and tables."""
    if isinstance(value, BaseModel):
        return to_plain(value.model_dump(mode="json", exclude_none=True))
    if isinstance(value, dict):
        return {str(key): to_plain(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, list | tuple | np.ndarray):
        return [to_plain(inner) for inner in value]
    return reading.plain(value)


FILES = {PARTITION_PATH, *(".".join(path) for path in PATHS)}  # keys whose values are names of files or folders


def with_absolute_paths(key: str, value: Any) -> Any:
    """The value at a dotted key with its file names made absolute."""
    if isinstance(value, dict):
        return {name: with_absolute_paths(f"{key}.{name}" if key else name, inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [with_absolute_paths(key, inner) for inner in value]
    if isinstance(value, str) and value and "://" not in value and key in FILES:
        return reading.absolute_path(key, value)
    return value


def dotted_items(table: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted key and value of every leaf of a table; quoted dotted keys and nested tables are equivalent."""
    for name, value in table.items():
        if isinstance(value, dict) and value:
            yield from dotted_items(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def read_factors(grid: dict[str, Any], zipped: dict[str, Any]) -> tuple[Settings, Settings]:
    """The factors of `[grid]` and of `[zip]`, if any, each with the list of its levels. Raises: ConfigError."""
    found = {"grid": list(dotted_items(grid)), "zip": list(dotted_items(zipped))}
    mistakes = [
        line for where, factors in found.items() for key, values in factors if (line := _mistake_in(where, key, values))
    ]
    keys = [key for factors in found.values() for key, _ in factors]
    mistakes += [
        f"{key}: an axis twice, in [grid] or [zip]: keep one" for key in sorted({*keys}) if keys.count(key) > 1
    ]
    lengths = {key: len(values) for key, values in found["zip"] if isinstance(values, list)}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{key}: {length}" for key, length in lengths.items())
        mistakes.append(f"zip: axes must be equally long, got {listed}")
    if mistakes:
        raise ConfigError("\n".join(mistakes))
    return dict(found["grid"]), dict(found["zip"])


def combinations(grid: Settings, zipped: Settings) -> list[Settings]:
    """All combinations, with the last factor varying fastest; the zipped factors vary together. Raises: ConfigError."""
    together = [dict(zip(zipped, row, strict=True)) for row in zip(*zipped.values(), strict=True)] or [{}]
    count = math.prod(len(values) for values in grid.values()) * len(together)
    if count > MAX_CELLS:
        raise ConfigError(f"grid: must span at most {MAX_CELLS:,} cells, got {count:,}: shorten an axis")
    return [dict(zip(grid, row[:-1], strict=True)) | row[-1] for row in itertools.product(*grid.values(), together)]


def cell_labels(cells: Sequence[Settings]) -> list[str]:
    """A short label for each cell: its `run.name` if these are distinct, else the settings that vary between cells."""
    run_names = [settings.get("run.name") for settings in cells]
    if all(isinstance(name, str) for name in run_names) and len(set(run_names)) == len(cells):
        return [str(name) for name in run_names]
    names = list(dict.fromkeys(key for settings in cells for key in settings))
    values = {key: list({as_text(settings[key]): settings[key] for settings in cells}.values()) for key in names}
    varying = [key for key in names if len(values[key]) > 1] or names
    texts = {key: _short_values(values[key]) for key in varying}
    short = _short_keys(varying)

    def part(key: str, value: Any) -> str:
        text = texts[key][as_text(value)]
        return text if len(varying) == 1 or short[key] == "topology" else f"{short[key]}={text}"

    return [", ".join(part(key, settings[key]) for key in varying) for settings in cells]


def as_text(value: Any) -> str:
    """A string unchanged, any other value as compact JSON."""
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"), sort_keys=True, default=str)


def as_label(value: Any) -> str:
    """A value as labels have it: a list joined by hyphens, a table by its kind with its other keys in brackets.

    Liars and groups of peers, which are lists of tables, by what matters of them: `lma x 2`, `4 good + 16 poor`.
    """
    return _tables(value) or _full(value)


def _mistake_in(where: str, key: str, values: Any) -> str:
    """The mistake in one factor; empty if there is none."""
    inside = [value for value in values if isinstance(value, dict)] if isinstance(values, list) else []
    if key == "run.seed" or (key == "run" and any("seed" in value for value in inside)):
        return f"{where}.{key}: seeds repeat every cell and are no axis: write seeds = [0, 1, 2]"
    if key.split(".")[0] == "tracking":
        return f"{where}.{key}: an ablation has one MLflow run for all cells: set it in [tracking]"
    unknown = unknown_key(RunConfig, key)
    if unknown:
        return f"{where}.{unknown}"
    if not isinstance(values, list):
        return f"{where}.{key}: must be a list of values, got {values!r}"
    return "" if values else f"{where}.{key}: must have at least one value, got an empty list"


def _short_keys(keys: Sequence[str]) -> dict[str, str]:
    """A short name per dotted key: its last part without `.kind`, or the whole key if two would be the same."""
    ends = {key: key.removesuffix(".kind").rsplit(".", 1)[-1] for key in keys}
    end_names = list(ends.values())
    return {key: end if end_names.count(end) == 1 else key for key, end in ends.items()}


def _short_values(values: Sequence[Any]) -> dict[str, str]:
    """A text per value: a table is named by its kind, with its other keys if two would be the same."""
    brief = [_brief(value) for value in values]
    return {
        as_text(value): text if brief.count(text) == 1 else _full(value)
        for value, text in zip(values, brief, strict=True)
    }


def _brief(value: Any) -> str:
    return _tables(value) or _kind(value)


def _kind(value: Any) -> str:
    return str(value["kind"]) if isinstance(value, dict) and "kind" in value else _full(value)


def _tables(value: Any) -> str:
    """The label of a list of liars or of groups of peers, as `peers.adversaries` and `peers.groups` are; else empty."""
    entries = value if isinstance(value, list) else []
    if not entries or not all(isinstance(entry, dict) for entry in entries):
        return ""
    if all({"attack", "peers"} <= entry.keys() for entry in entries):
        return " + ".join(map(_liars, entries))
    if all("count" in entry and (entry.get("name") or entry.get("view")) for entry in entries):
        return " + ".join(f"{entry['count']} {entry.get('name') or _full(entry['view'])}" for entry in entries)
    return ""


def _liars(entry: dict[str, Any]) -> str:
    """Some liars by their attack and number, and when they lie where that is not always."""
    since = f" from {entry['from_round']}" if entry.get("from_round") else ""
    share = f" at {entry['share']:g}" if entry.get("share", 1) != 1 else ""
    return f"{_full(entry['attack'])} x {len(entry['peers'])}{since}{share}"


def _full(value: Any) -> str:
    if isinstance(value, dict):
        rest = " ".join(f"{key}={_full(inner)}" for key, inner in value.items() if key != "kind")
        return f"{value['kind']}({rest})" if "kind" in value and rest else str(value.get("kind", f"({rest})"))
    if isinstance(value, list):
        return "-".join(map(_full, value)) or "none"
    if isinstance(value, float):
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    return as_text(value)
