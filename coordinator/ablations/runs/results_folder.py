"""The folder of an ablation: its finished runs, and the tables computed from them."""

import json
import os
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import tomli_w

from coordinator.ablations.grids.factors import as_label
from coordinator.ablations.grids.grid import Ablation, Cell
from coordinator.ablations.runs.costs import costs
from coordinator.ablations.runs.parallel_runs import Outcome, RunStatus
from coordinator.experiment.config import ConfigError, to_table
from coordinator.experiment.reading import from_json
from coordinator.measures.distance import Arrival
from coordinator.measures.targets import NOT_REACHED
from coordinator.planning.brought import note_for_file
from coordinator.records.files.progress import PROGRESS
from coordinator.records.files.run_folder import KEYS, lock, temporary_folder_prefix, write_whole
from coordinator.records.files.summary import flatten, intervals, versions

Run = tuple[Cell, int]  # a cell and a seed
Row = dict[str, Any]
LOCK = ".lock"
TIMINGS = ("rounds_per_second", "evaluation_share")
STAGES = ("seconds", "beside_rounds")  # of the summary: how long the stages took
COMPARED_VERSIONS = ("peer-consensus", "torch", "python")  # packages whose version may change a run's numbers
# keys of the summary that are not in the results
LEFT_OUT = ("probed", *TIMINGS, *STAGES, "config", "data", "measured_at", "versions", "hardware", "status", "message")
OUTPUTS = ("results.parquet", "timings.parquet", "differences.parquet", "summary.json", "report.html", "figures")
PATH = "network.critical_path.peers."  # of some peers only, other ones in each run
NEEDED: dict[str, type] = {  # in a finished run's summary
    **dict.fromkeys(("probes", "consensus", "topology", "not_finite", "config", "versions", "hardware"), dict),
    **dict.fromkeys(("flags", "artefacts"), list),
    **dict.fromkeys(("rounds", "bytes_exchanged", "relative_weight_change", "digest", *TIMINGS), object),
}


def folder_of(folder: Path, run: Run) -> Path:
    cell, seed = run
    return folder / "cells" / cell.key / f"seed-{seed}"


def runs_of(ablation: Ablation) -> list[Run]:
    """All runs (cell, seed), in the order of the results table."""
    return [(cell, seed) for cell in ablation.cells for seed in ablation.seeds]


def read_summary(folder: Path) -> dict[str, Any] | None:
    """The summary of a finished run; None if it is missing, unfinished or damaged, and so has to be run."""
    try:
        summary = from_json((folder / "summary.json").read_bytes())
        float(from_json((folder / "timing.json").read_bytes())["seconds"])
        for name in KEYS:
            pq.read_metadata(folder / "metrics" / f"{name}.parquet")
    except (OSError, ValueError, TypeError, KeyError, pa.ArrowException):
        return None
    if not isinstance(summary, dict) or summary.get("status") != RunStatus.FINISHED:
        return None
    known = all(name in summary and isinstance(summary[name], kind) for name, kind in NEEDED.items())
    return summary if known and (folder / "config.toml").is_file() else None


def count_unlisted_cells(folder: Path, ablation: Ablation) -> int:
    """The number of cells in the folder that are not in this ablation, but in another version of its file."""
    known = {cell.key for cell in ablation.cells}
    cells_folder = folder / "cells"
    if not cells_folder.is_dir():
        return 0
    cells = {path.name for path in cells_folder.iterdir() if path.is_dir() and re.fullmatch("[0-9a-f]{12}", path.name)}
    return len(cells - known)


def other_versions(folder: Path, ablation: Ablation) -> str:
    """Versions and hardware that may change numbers and differ among finished runs, or from this process."""
    summaries = [summary for run in runs_of(ablation) if (summary := read_summary(folder_of(folder, run)))]
    current, differences = versions(), []
    for name in COMPARED_VERSIONS:
        counts = Counter(summary["versions"][name] for summary in summaries if name in summary.get("versions", {}))
        if set(counts) - {current[name]}:
            differences.append(f"{name} {_runs_with_each(counts)}, here {current[name]}")
    counts = Counter(
        "with" if summary["hardware"]["gpus"] else "without" for summary in summaries if "hardware" in summary
    )
    if len(counts) > 1:
        differences.append(f"GPUs: {_runs_with_each(counts)}")
    return "; ".join(differences)


def _runs_with_each(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{value} ({count} run{'s' * (count > 1)})" for value, count in sorted(counts.items()))


@contextmanager
def locked_folder(folder: Path) -> Iterator[None]:
    """Lock the folder for this process; folders created for it are removed afterwards if nothing was written.

    Raises: ConfigError, if another process uses it, or if it exists and is not the folder of an ablation.
    """
    if os.path.lexists(folder) and not folder.is_dir():
        raise ConfigError(f"name: '{folder}' is a file: choose another name or --output")
    if folder.is_dir() and {path.name for path in folder.iterdir()} - {LOCK} and not is_ablation_folder(folder):
        raise ConfigError(f"name: '{folder}' is there and is no ablation: choose another name or --output")
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("w") as file:
        lock(file.fileno(), folder)
        try:
            yield
        finally:
            if not is_ablation_folder(folder):
                (folder / LOCK).unlink(missing_ok=True)
                for path in made:
                    with suppress(OSError):  # not empty
                        path.rmdir()


def is_ablation_folder(folder: Path) -> bool:
    """Whether the folder is an ablation's."""
    return (folder / "ablation.toml").is_file()


def is_folder_of(folder: Path, ablation: Ablation) -> bool:
    """Whether the folder is of exactly this ablation, not of another version of its file."""
    try:
        return (folder / "ablation.toml").read_text(encoding="utf-8") == tomli_w.dumps(ablation.table)
    except (OSError, ValueError):
        return False


def write_description(folder: Path, ablation: Ablation) -> None:
    """Write `ablation.toml`, and how many runs it has; the outputs of another version of the file are removed."""
    if not is_folder_of(folder, ablation):
        remove_outputs(folder)
        text = note_for_file(ablation.cells[0].config, "ablate(load_ablation(FILE), {arguments}) repeats it")
        write_whole(folder / "ablation.toml", text + tomli_w.dumps(ablation.table))
    write_whole(folder / PROGRESS, json.dumps({"runs": len(runs_of(ablation))}))


def remove_outputs(folder: Path) -> None:
    """Remove everything computed from the runs, so that it never contradicts them."""
    for path in (folder / name for name in OUTPUTS):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def remove_temporary_folders(folder: Path) -> None:
    """Remove the temporary folders on this machine left by killed runs of this ablation."""
    temporary, prefix = Path(tempfile.gettempdir()), temporary_folder_prefix(folder)
    with suppress(OSError):  # the temporary folder may be writable but not listable
        for path in [path for path in temporary.iterdir() if path.name.startswith(prefix)]:
            shutil.rmtree(path, ignore_errors=True)


def store_run(outcome: Outcome, target: Path) -> None:
    """Write a finished run's files to `target` atomically: the folder is complete or absent.

    A finished run that is already stored is kept.
    """
    if read_summary(target) is not None:
        return
    aside = target.with_name(f".{target.name}.part")
    for stale in (aside, target):
        shutil.rmtree(stale, ignore_errors=True)
    for name, content in outcome.files.items():
        path = aside / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".toml":  # these may contain a password
            write_whole(path, content.decode())
        else:
            path.write_bytes(content)
    (aside / "timing.json").write_text(json.dumps({"seconds": outcome.seconds}) + "\n")
    os.replace(aside, target)


def result_rows(folder: Path, ablation: Ablation, errors: Mapping[tuple[str, int], str]) -> list[Row]:
    """A row per run: cell and seed, status, factor levels, every reproducible scalar of its summary, and what targets
    among the measures cost: infinite, if the run ended before it reached one.

    errors: by cell key and seed; a run that neither finished nor failed has status `not run`. The columns of factors
    have the prefix `axis.`, see `axis_columns`: `axis.topology.max_degree` is the setting, `topology.max_degree` the
    topology's value.
    """
    levels = axis_columns(ablation)
    rows = []
    for cell, seed in runs_of(ablation):
        run_folder = folder_of(folder, (cell, seed))
        summary = read_summary(run_folder)
        error = "" if summary else errors.get((cell.key, seed), "")
        status = RunStatus.FINISHED if summary else RunStatus.FAILED if error else RunStatus.NOT_RUN
        row = {"cell": cell.label, "key": cell.key, "seed": seed, "status": status.value, "error": error}
        values = scalars(summary) | costs(run_folder, summary, ablation.measures) if summary else {}
        values |= {name: NOT_REACHED for name, value in values.items() if value is None and Arrival.parse(name)}
        assert not (row.keys() & values.keys() or levels[cell.key].keys() & {*row, *values}), "no column hides another"
        rows.append({**row, **values, **levels[cell.key]})
    return rows


def read_errors(folder: Path) -> dict[tuple[str, int], str]:
    """The errors of failed runs in `results.parquet`, by cell key and seed; none if it is missing or damaged."""
    try:
        rows = pq.read_table(folder / "results.parquet", columns=["key", "seed", "error"]).to_pylist()
    except (OSError, pa.ArrowException, KeyError):
        return {}
    return {(row["key"], row["seed"]): row["error"] for row in rows if row["error"]}


def timing_rows(folder: Path, ablation: Ablation) -> list[Row]:
    """The numbers that differ between repetitions: speed, share of time spent measuring, and seconds in total."""
    rows = []
    for cell, seed in runs_of(ablation):
        run_folder = folder_of(folder, (cell, seed))
        summary = read_summary(run_folder)
        if summary:
            seconds = json.loads((run_folder / "timing.json").read_text())["seconds"]
            pace = {name: summary.get(name) for name in TIMINGS}
            rows.append({"cell": cell.label, "seed": seed, **pace, "seconds": seconds})
    return rows


def scalars(summary: Mapping[str, Any]) -> Row:
    """The summary's numbers and strings by dotted name; flags, artefacts and diverged peers as one string each."""
    flat = flatten({name: value for name, value in summary.items() if name not in (*LEFT_OUT, "not_finite")})
    flat |= intervals(summary["probes"]) | {name: ", ".join(summary[name]) for name in ("flags", "artefacts")}
    if not summary.get("ended"):
        flat.pop("ended", None)  # else there are columns for its parts
    diverged = [f"peer {peer}: round {fault['round']}" for peer, fault in summary["not_finite"].items()]
    flat["not_finite"] = "; ".join(diverged)
    unasked = [name for name in flat if name.startswith(PATH) or name.endswith(".probed")]
    return {name: value for name, value in flat.items() if not isinstance(value, list) and name not in unasked}


def axis_columns(ablation: Ablation) -> dict[str, Row]:
    """By cell key the level of each factor, in columns of plain values, as the cell's resolved config has them.

    A level that is a table is its kind (`axis.topology = "ring"`), with a column beside it for each option that some
    level sets (`axis.topology.degree = 4`); it is null in cells of kinds that have no such option. Lists are texts, as
    in the cells' labels. A column has values of one type: numbers, booleans or texts.
    """
    keys = dict.fromkeys(key for cell in ablation.cells for factor in cell.settings.items() for key in _keys(*factor))
    columns: dict[str, Row] = {cell.key: {} for cell in ablation.cells}
    for key in keys:
        values = [_plain_at(cell, key) for cell in ablation.cells]
        kinds = {type(value) for value in values if value is not None}
        for cell, value in zip(ablation.cells, values, strict=True):
            if kinds == {int, float} and value is not None:
                value = float(value)
            plain = value is None or kinds <= {int, float} or kinds == {bool}
            columns[cell.key][f"axis.{key}"] = value if plain else as_label(value)
    return columns


def _keys(key: str, value: Any) -> Iterator[str]:
    """The dotted keys of a level: the factor's own, unless it is a table without a kind, and those of its options."""
    if not isinstance(value, dict):
        yield key
        return
    if "kind" in value:
        yield key
    for name, inner in value.items():
        if name != "kind":
            yield from _keys(f"{key}.{name}", inner)


def _plain_at(cell: Cell, key: str) -> Any:
    """The value at a dotted key of a cell's config: of a table its kind, None if there is no such key."""
    value: Any = to_table(cell.config)
    for name in key.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value.get("kind") if isinstance(value, dict) else value
