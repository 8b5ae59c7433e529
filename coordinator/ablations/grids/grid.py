"""The cells of an ablation: each is an experiment, with a label for people and a key for its folder."""

import hashlib
import itertools
import json
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from coordinator.ablations.grids.factors import Settings, as_text, cell_labels, combinations, dotted_items
from coordinator.ablations.grids.file import apply_settings, read_description
from coordinator.ablations.grids.measure_names import read_measures
from coordinator.experiment.config import ConfigError, RunConfig, config_from, to_table
from coordinator.measures.stop_rule import check_stop
from coordinator.planning.brought import Objects, identified
from coordinator.planning.plan import load_data, prepare
from coordinator.planning.schedules import build_schedule
from peers.hosting.ways import CHOICES
from topologies.config import File

NOT_LOADED = (
    "batch_size",
    "flip",
    "on_each_node",
    "partition",
    "public",
    "private_batch_size",
)  # settings of [data] on which no image depends


@dataclass(frozen=True)
class Cell:
    """One experiment of the grid. settings: the level of each factor. config: the config for the first seed."""

    key: str
    label: str
    settings: Settings
    config: RunConfig

    def at(self, seed: int) -> RunConfig:
        """The config for one seed, named after the cell."""
        run = self.config.run
        both = "-".join(dict.fromkeys([run.name, self.label]))  # equal if there are no axes
        name = re.sub(r"[^A-Za-z0-9._-]+", "-", both)[:80].strip("-")
        named = run.model_copy(update={"seed": seed, "name": f"{name}-seed-{seed}"[:100]})
        return self.config.model_copy(update={"run": named})


@dataclass(frozen=True)
class Ablation:
    """A resolved ablation. table: the content of `ablation.toml`, which repeats the ablation."""

    name: str
    cells: tuple[Cell, ...]
    seeds: tuple[int, ...]
    reference: Cell
    measures: tuple[str, ...]
    table: dict[str, Any]


@dataclass(frozen=True)
class _Candidate:
    """A combination of levels that may or may not be a valid experiment; `mistake` says why it is not."""

    settings: Settings
    table: dict[str, Any]
    config: RunConfig | None
    mistake: str = ""

    def matches(self, entry: Settings) -> bool:
        """Whether the candidate has all settings of the entry, as written or as resolved."""
        resolved = to_table(self.config) if self.config else {}
        return all(value in (_value_at(self.table, key), _value_at(resolved, key)) for key, value in entry.items())


def load_ablation(source: str | Path | dict[str, Any], overrides: Sequence[str] = ()) -> Ablation:
    """Read a TOML file (or a table) that describes an ablation, and resolve all of its cells.

    overrides: settings of the experiment, for all cells, or `name`, `seeds` or `measures`. Data is not loaded.

    Raises: ConfigError, one line per mistake.
    """
    described = read_description(source, overrides)
    base = described.base | {"run": {**described.base["run"], "name": described.name, "seed": described.seeds[0]}}
    candidates = [_candidate(base, settings) for settings in combinations(described.grid, described.zipped)]
    kept = _without_excluded(candidates, described.own.get("exclude", []))
    cells = _cells(kept, described.name)
    reference = _reference(kept, cells, described.own.get("reference"))
    measures = read_measures(described.own.get("measures"), [cell.config for cell in cells])
    table = {"name": described.name, "seeds": list(described.seeds), "measures": list(measures)}
    table["axes"] = [*described.grid, *described.zipped]
    return Ablation(described.name, cells, described.seeds, reference, measures, described.own | table | described.base)


def with_objects(ablation: Ablation, objects: Objects) -> Ablation:
    """The ablation with objects from Python in every cell, and with the digests of what its cells import.

    Raises: ConfigError, also if the objects take the place of what tells two cells apart.
    """
    try:
        cells = [replace(cell, config=identified(objects.take(cell.config))) for cell in ablation.cells]
    except ValueError as error:
        raise ConfigError(str(error)) from None
    for first, second in itertools.combinations(cells, 2):
        if objects and first.config == second.config:
            raise ConfigError(
                f"grid: cells '{first.label}' and '{second.label}' are the same experiment with the objects from "
                "Python: leave out the axis that they take the place of"
            )
    reference = cells[ablation.cells.index(ablation.reference)]
    return replace(ablation, cells=tuple(cells), reference=reference)


def check_cells(cells: Sequence[Cell], seeds: Sequence[int] = ()) -> dict[str, int]:
    """Check each cell as its run would at the start: impossible topologies, widths that differ, missing data.

    The topology is checked with every seed, everything else with the first seed only. Returns, by cell key, the bytes
    of memory that a run needs besides its data.

    Raises: ConfigError, one line per mistake, with the cells that have it.
    """
    mistakes: dict[str, str] = {}
    memory: dict[str, int] = {}
    kinds = dict.fromkeys(data_key(cell.config) for cell in cells)
    for kind in kinds:
        dataset = None  # free the previous data set before loading the next
        for cell in (cell for cell in cells if data_key(cell.config) == kind):
            try:
                _check_without_data(cell, seeds)
                dataset = load_data(cell.config) if dataset is None else dataset
                check_stop(cell.config)
                plan = prepare(cell.config, dataset)
                memory[cell.key] = plan.memory_bytes - plan.data_bytes
            except ValueError as error:
                mistakes[cell.label] = str(error)
    _raise_mistakes({cell.label: mistakes[cell.label] for cell in cells if cell.label in mistakes}, len(cells))
    return memory


def data_key(config: RunConfig) -> tuple[Any, ...]:
    """A key of the images that a run loads: the sections of data without settings of rounds and peers, and the seed."""
    fields = type(config.data).model_fields
    data = config.data.model_copy(update={name: fields[name].default for name in NOT_LOADED})
    return data, config.public, config.irrelevant, config.run.seed


def _check_without_data(cell: Cell, seeds: Sequence[int]) -> None:
    """Raises: ValueError, if the cell asks for checkpoints, leaves open how it is computed, or lacks a topology.

    That is, one of its seeds' topologies cannot be built.
    """
    for key in (key for key in CHOICES if getattr(cell.config.hosting, key) == "auto"):
        raise ConfigError(
            f"hosting.{key}: must not be 'auto' where runs are compared: each would time for itself what is fastest, "
            "so that seeds could be computed differently; name one, as config.toml of a single run does"
        )
    if cell.config.checkpoint.every and "every" in cell.config.checkpoint.model_fields_set:
        raise ConfigError(
            f"checkpoint.every must be 0 in an ablation, got {cell.config.checkpoint.every}: a cell that was "
            "interrupted is run again"
        )
    for seed in dict.fromkeys([cell.config.run.seed, *seeds]):
        try:
            build_schedule(cell.at(seed))
        except ValueError as error:
            if seed == cell.config.run.seed:
                raise
            raise ConfigError(f"with seed {seed}, {error}") from None


def _candidate(base: dict[str, Any], settings: Settings) -> _Candidate:
    table = base
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # an axis of kinds is meant to drop the others' keys
            table = apply_settings(base, settings)
        return _Candidate(settings, table, config_from(table))
    except ConfigError as error:
        return _Candidate(settings, table, None, str(error))


def _without_excluded(candidates: list[_Candidate], exclude: Any) -> list[_Candidate]:
    """The candidates that no entry of `exclude` matches."""
    if not isinstance(exclude, list) or not all(isinstance(entry, dict) for entry in exclude):
        raise ConfigError(f"exclude: must be a list of tables, written as [[exclude]], got {exclude!r}")
    excluded: set[int] = set()
    for number, entry in enumerate(exclude):
        matched = [index for index, candidate in enumerate(candidates) if candidate.matches(dict(dotted_items(entry)))]
        if not matched:
            raise ConfigError(f"exclude[{number}]: matches no cell, got {as_text(entry)}: correct or remove it")
        excluded.update(matched)
    if len(excluded) == len(candidates):
        raise ConfigError("exclude: leaves no cell: remove an entry")
    return [candidate for index, candidate in enumerate(candidates) if index not in excluded]


def _cells(candidates: list[_Candidate], name: str) -> tuple[Cell, ...]:
    """The cells; without axes the only one is labelled with the ablation's name."""
    settings = [candidate.settings for candidate in candidates]
    labels = cell_labels(settings) if any(settings) else [name]
    _raise_mistakes(
        {text: candidate.mistake for text, candidate in zip(labels, candidates, strict=True) if candidate.mistake},
        len(labels),
    )
    cells: dict[str, Cell] = {}
    twins = []
    for text, candidate in zip(labels, candidates, strict=True):
        assert candidate.config is not None
        key = _key(candidate.config)
        if key in cells:
            twins.append(
                f"grid: cells '{cells[key].label}' and '{text}' are the same experiment (names, tracking and hosting "
                "make no difference): remove one"
            )
        cells[key] = Cell(key, text, candidate.settings, candidate.config)
    if twins:
        raise ConfigError("\n".join(twins))
    assert len({cell.label for cell in cells.values()}) == len(cells), "labels tell cells apart"
    return tuple(cells.values())


def _key(config: RunConfig) -> str:
    """The name of a cell's folder: 12 hex digits of a hash of the experiment's settings and its edge file, if any."""
    table = to_table(config)
    kept = {section: values for section, values in table.items() if section not in ("tracking", "hosting")}
    kept["run"] = {key: value for key, value in table["run"].items() if key not in ("name", "seed")}
    if isinstance(config.topology, File) and config.topology.path.is_file():
        with config.topology.path.open("rb") as file:
            kept["links"] = hashlib.file_digest(file, "sha256").hexdigest()
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:12]


def _reference(candidates: list[_Candidate], cells: tuple[Cell, ...], requested: Any) -> Cell:
    """The cell that `requested` selects; by default the only cell with topology self, else the first cell."""
    if requested is None:
        alone = [cell for cell in cells if cell.config.topology.kind == "self"]
        return alone[0] if len(alone) == 1 else cells[0]
    if not isinstance(requested, dict) or not requested:
        raise ConfigError(f"reference: must be a table of axis settings, got {requested!r}")
    entry = dict(dotted_items(requested))
    matching = [cell for cell, candidate in zip(cells, candidates, strict=True) if candidate.matches(entry)]
    if not matching:
        factors = ", ".join(cells[0].settings)
        raise ConfigError(f"reference: matches no cell, got {as_text(requested)}: give settings of {factors}")
    if len(matching) > 1:
        raise ConfigError(f"reference: must pick one cell, got {quoted_labels(matching)}: add settings")
    return matching[0]


def quoted_labels(cells: Sequence[Cell], most: int = 3) -> str:
    """The cells' labels for use in a sentence."""
    names = [f"'{cell.label}'" for cell in cells]
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _value_at(table: Any, key: str) -> Any:
    """The value at a dotted key; if there is none, an object that equals nothing else."""
    for name in key.split("."):
        if not isinstance(table, dict) or name not in table:
            return object()
        table = table[name]
    return table


def _raise_mistakes(mistakes: dict[str, str], num_cells: int) -> None:
    """Raise the mistakes, by cell label; a mistake of all cells is reported once, without the labels."""
    lines: dict[str, list[str]] = {}
    for text, mistake in mistakes.items():
        for line in mistake.splitlines():
            lines.setdefault(line, []).append(f"'{text}'")
    if lines:
        raise ConfigError("\n".join(_naming_cells(names, num_cells) + line for line, names in lines.items()))


def _naming_cells(names: list[str], num_cells: int) -> str:
    if len(names) == num_cells > 1:
        return ""
    rest = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"cell{'s' if len(names) > 1 else ''} {', '.join(names[:3])}{rest}: "
