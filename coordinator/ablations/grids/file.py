"""Reads an ablation file: its own keys, and the experiment that all cells are based on.

Without axes, but with seeds, it has a single cell: one experiment over several seeds.
"""

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coordinator.ablations.grids.factors import Settings, dotted_items, read_factors, to_plain, with_absolute_paths
from coordinator.experiment.config import (
    ConfigError,
    RunConfig,
    parse_assignment,
    parse_setting,
    read_table,
    with_override,
    with_value,
)
from coordinator.experiment.errors import nearest, variant_keys
from coordinator.experiment.reading import absolute_path, check_depth, shown
from peers.data.config import TorchvisionData

SECTIONS = tuple(RunConfig.model_fields)
OWN = ("name", "base", "seeds", "measures", "reference", "grid", "zip", "exclude", "axes")
OVERRIDABLE = ("name", "seeds", "measures")
TAKEN = ("mlartifacts", "mlflow.db", "mlruns")  # names in the output folder that MLflow uses


@dataclass(frozen=True)
class Description:
    """The content of an ablation file. base: the sections of the experiment. own: the other keys, as written."""

    name: str
    seeds: tuple[int, ...]
    grid: Settings
    zipped: Settings
    base: dict[str, Any]
    own: dict[str, Any]


def read_description(source: str | Path | dict[str, Any], overrides: Sequence[str] = ()) -> Description:
    """Read a file or a table, merge the base experiment that it names, apply the overrides. Raises: ConfigError."""
    if isinstance(source, dict):
        table, folder, stem, named = source, Path(), "ablation", "the table"
    else:
        path = Path(source)
        table, folder, stem, named = read_table(path), path.parent, path.stem, f"'{source}'"
    check_depth(table)
    table = to_plain(table)
    _check_keys(table, named)
    grid_factors, zip_factors = read_factors(_table_at(table, "grid"), _table_at(table, "zip"))
    table = _with_overrides(_with_base(table, folder), overrides, [*grid_factors, *zip_factors])
    table = _with_absolute_paths(table)
    run = _table_at(table, "run")
    name, seeds = _name(table.get("name", stem)), _seeds(table.get("seeds", [run.get("seed", 0)]))
    base = {key: value for key, value in table.items() if key in SECTIONS}
    base["run"] = {key: value for key, value in run.items() if key not in ("name", "seed")}
    own = {key: value for key, value in table.items() if key in OWN}
    grid, zipped = (_in_order(own.get(key, {}), own.get("axes")) for key in ("grid", "zip"))
    return Description(name, seeds, grid, zipped, base, own)


def apply_settings(table: dict[str, Any], settings: Settings) -> dict[str, Any]:
    """The table with all settings applied: tables before the keys in them, and kinds before their other keys."""
    for key in sorted(settings, key=lambda key: (key.count("."), not key.endswith(".kind"))):
        table = with_value(table, key, settings[key])
    return table


def _in_order(factors: Settings, order: Any) -> Settings:
    """The factors, those in `order` first; resolved files store it because TOML writers move tables to the end."""
    if order is None:
        return factors
    if not isinstance(order, list) or not all(isinstance(key, str) for key in order):
        raise ConfigError(f"axes: must be a list of the axes' keys in their order, got {order!r}")
    return {key: factors[key] for key in order if key in factors} | factors


def _check_keys(table: dict[str, Any], named: str) -> None:
    if not {"grid", "zip", "seeds"} & table.keys():
        raise ConfigError(
            f"config: {named} has no [grid] and is one experiment: use peer-consensus run, or add axes to vary or seeds"
        )
    if table.get("grid", True) == {} and not table.get("zip"):
        raise ConfigError("grid: no axis; add one, such as topology = [{ kind = 'ring' }, { kind = 'complete' }]")
    unknown = [key for key in table if key not in OWN + SECTIONS]
    if unknown:
        raise ConfigError("\n".join(f"{key}: no such key{nearest(key, [*OWN, *SECTIONS])}" for key in unknown))


def _with_base(table: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The table with its sections merged into those of the experiment that `base` names."""
    if "base" not in table:
        return table
    named = str(table["base"])
    path = Path(absolute_path("base", named)) if named.startswith("~") else folder / named
    base = read_table(path)
    if {"grid", "zip", "seeds"} & base.keys():
        raise ConfigError(f"base: '{path}' is an ablation itself: name an experiment file")
    unknown = [key for key in base if key not in SECTIONS]
    if unknown:
        raise ConfigError(
            "\n".join(f"base: '{path}': {key}: no such key{nearest(key, [*SECTIONS])}" for key in unknown)
        )
    own = {section: value for section, value in table.items() if section in SECTIONS}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a kind in the file is meant to drop the base's other keys
        merged = apply_settings(base, dict(dotted_items(own)))
    return {**{key: value for key, value in table.items() if key in OWN and key != "base"}, **merged}


def _with_overrides(table: dict[str, Any], overrides: Sequence[str], factors: Sequence[str]) -> dict[str, Any]:
    for override in overrides:
        key, _ = parse_assignment(override)
        factor = next((name for name in factors if f"{key}.".startswith(f"{name}.")), "")
        first = key.split(".")[0]
        if factor:
            raise ConfigError(f"override '{override}': {factor} is an axis and has no other values: change the file")
        if key in ("run.seed", "run.name"):
            own = "seeds=[0,1,2], which repeat every cell" if key == "run.seed" else "name=..., which names the folder"
            raise ConfigError(f"override '{override}': write {own}")
        if first in OWN and key not in OVERRIDABLE:
            raise ConfigError(
                f"override '{override}': sets neither the experiment nor {', '.join(OVERRIDABLE)}: change the file"
            )
        if key == "name":
            table = {**table, "name": parse_setting(override, "run.")[1]}
        else:
            table = with_override(table, override)
        _check_keys(table, "the file")
    return table


def _with_absolute_paths(table: dict[str, Any]) -> dict[str, Any]:
    """The table with absolute paths: in its sections, the levels of factors, and the settings that select cells."""
    sections = {key: value for key, value in table.items() if key in SECTIONS}
    data = sections.get("data")
    if isinstance(data, dict) and "root" in variant_keys(RunConfig, ["data"], data.get("kind")):
        sections["data"] = {"root": TorchvisionData.model_fields["root"].default, **data}
    own = {key: _with_absolute_leaves(value) for key, value in table.items() if key in OWN}
    return own | {key: with_absolute_paths(key, value) for key, value in sections.items()}


def _with_absolute_leaves(value: Any) -> Any:
    if isinstance(value, list):
        return [_with_absolute_leaves(inner) for inner in value]
    if isinstance(value, dict):
        return {key: with_absolute_paths(key, inner) for key, inner in dotted_items(value)}
    return value


def _table_at(table: dict[str, Any], key: str) -> dict[str, Any]:
    value = table.get(key, {})
    if not isinstance(value, dict):
        raise ConfigError(f"{key}: must be a table, got {value!r}")
    return value


def _name(name: Any) -> str:
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}", name):
        raise ConfigError(f"name: must be up to 100 letters, digits, '-', '_' and '.' (not first), got {shown(name)}")
    if name in TAKEN:
        raise ConfigError(f"name: '{name}' is what MLflow's store is called: choose another")
    return name


def _seeds(seeds: Any) -> tuple[int, ...]:
    if not isinstance(seeds, list) or not seeds:
        raise ConfigError(f"seeds: must be a list of at least one whole number, got {seeds!r}")
    for seed in seeds:
        if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**63:
            raise ConfigError(f"seeds: must be whole numbers from 0, got {seed!r}")
        if seeds.count(seed) > 1:
            raise ConfigError(f"seeds: must differ, got {seed} twice: remove one")
    return tuple(seeds)
