"""Run an ablation: run the missing cells and seeds, then compare all finished runs and write the page."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Unpack

import pyarrow as pa
import tomli_w

from coordinator.ablations.comparisons.attack_words import attack_lines
from coordinator.ablations.comparisons.attacks import AttackRow, attack_rows
from coordinator.ablations.comparisons.comparison import compare, difference_rows, is_claim, to_table
from coordinator.ablations.comparisons.estimates import Comparison
from coordinator.ablations.comparisons.headline import few_seeds
from coordinator.ablations.grids.description import describe_ablation
from coordinator.ablations.grids.grid import Ablation, check_cells, load_ablation, with_objects
from coordinator.ablations.mlflow_runs import track
from coordinator.ablations.page import render_ablation
from coordinator.ablations.runs import results_folder
from coordinator.ablations.runs.parallel_runs import ParallelRuns, RunStatus
from coordinator.ablations.runs.results_folder import Run, folder_of, read_summary, runs_of
from coordinator.experiment.config import ConfigError
from coordinator.experiment.redaction import without_secrets
from coordinator.planning.brought import Keywords, Objects, differing
from coordinator.planning.workers import forks
from coordinator.pools.base import Tell
from coordinator.pools.forking.fork_server import RUNS
from coordinator.pools.ray_cluster import open_ray
from coordinator.pools.unaltered import check_unaltered
from coordinator.records.files.result import Status
from coordinator.records.files.run_folder import (
    check_output,
    temporary_folder_prefix,
    to_arrow,
    to_json,
    write_table,
    write_whole,
)
from coordinator.records.observer import RunObserver, notes_to
from coordinator.reports.control_runs import OVER_CONTROL_RUNS
from coordinator.reports.formatting import count_of, points, short
from coordinator.reports.wording import CONDITIONS, power_note, probe_name

COMMAND = "peer-consensus ablate ablation.toml"
Errors = dict[tuple[str, int], str]  # by cell key and seed
Rows = list[dict[str, Any]]
Compared = tuple[Comparison | None, tuple[AttackRow, ...]]
NOTHING: Compared = (None, ())


@dataclass(frozen=True)
class AblationResult:
    """The outcome of an ablation. rows: those of `results.parquet`. comparison: None if no run has finished.

    attacks: what lies and rules of pooling cost the honest peers; empty if liars do not vary between cells.
    """

    status: Status
    folder: Path
    rows: Rows
    comparison: Comparison | None
    attacks: tuple[AttackRow, ...] = ()

    @property
    def num_finished(self) -> int:
        return sum(row["status"] == RunStatus.FINISHED for row in self.rows)

    def table(self) -> pa.Table:
        """The rows as Arrow, as in `results.parquet`: one for each cell and seed.

        Settings that vary are columns of plain values (`axis.topology` is `ring`, beside it `axis.topology.degree`),
        numbers have their dotted names in the summary, such as `probes.knn.gain`.
        """
        return to_arrow(self.rows)


def load_ablation_result(folder: str | Path) -> AblationResult:
    """The result of an ablation, or of an experiment over several seeds, from its folder: what `ablate` returned.

    It is made from the runs that are there now: if some are missing, the status is interrupted, or failed if any is
    known to have failed. Nothing is written.

    Raises: ConfigError, if the folder is none of an ablation.
    """
    path = Path(folder)
    if not results_folder.is_ablation_folder(path):
        raise ConfigError(
            f"load_ablation_result: '{folder}' is no folder of an ablation: it has no ablation.toml; name one such as "
            "runs/NAME, or use load_result for a run"
        )
    ablation, path = load_ablation(path / "ablation.toml"), path.resolve()
    rows = results_folder.result_rows(path, ablation, results_folder.read_errors(path))
    statuses = {row["status"] for row in rows}
    failed = Status.FAILED if RunStatus.FAILED in statuses else Status.INTERRUPTED
    status = Status.FINISHED if statuses == {RunStatus.FINISHED} else failed
    return AblationResult(status, path, rows, *_compare(ablation, path, rows))


def ablate(
    ablation: Ablation,
    output: str | Path = "runs",
    observers: Sequence[RunObserver] = (),
    **objects: Unpack[Keywords],
) -> AblationResult:
    """Run every cell with every seed in parallel, in `<output>/<name>`; finished runs are not repeated.

    A failed run has its error in its row, and the other runs continue; the next call tries it again. Ctrl-C ends all
    runs, and the next call continues. observers: receive progress as `Note` events. objects: from Python, in place of
    what all cells name, as in `simulate`; finished runs are kept only if they were given the same.

    Raises: ConfigError, before anything is written, if the input is invalid.
    """
    tell = notes_to(observers)
    check_output(output)
    ablation = with_objects(ablation, Objects.of(objects))
    folder, errors = Path(output).absolute() / ablation.name, Errors()
    compared, interrupted = NOTHING, False
    with results_folder.locked_folder(folder):
        try:
            results_folder.remove_temporary_folders(folder)
            missing = [run for run in runs_of(ablation) if not _is_done(run, folder_of(folder, run))]
            _announce(ablation, folder, len(missing), tell)
            if missing:
                _run(ablation, missing, folder, errors, tell)
            rows, compared = _conclude(ablation, folder, Path(output), errors, tell)
        except KeyboardInterrupt:
            interrupted = True
            rows = _rows_so_far(ablation, folder, errors)
        except OSError as error:
            if error.errno is None:  # raised by Ray for a lost connection
                raise
            raise ConfigError(
                f"--output: cannot write to '{folder}' ({error.strerror}): make room, then run the same command again"
            ) from None
        finally:
            results_folder.remove_temporary_folders(folder)
    status = Status.INTERRUPTED if interrupted else Status.FAILED if errors else Status.FINISHED
    return AblationResult(status, folder, rows, *compared)


def _rows_so_far(ablation: Ablation, folder: Path, errors: Errors) -> Rows:
    """The rows of an ablation that was interrupted, and their tables, unless they are there."""
    rows = results_folder.result_rows(folder, ablation, errors)
    if results_folder.is_folder_of(folder, ablation) and not (folder / "results.parquet").exists():  # removed
        _write_tables(ablation, folder, rows)
    return rows


def _is_done(run: Run, folder: Path) -> bool:
    """Whether a run is finished. Raises: ConfigError, if it was so with other objects or code than now."""
    summary = read_summary(folder)
    if summary is None:
        return False
    key = differing(run[0].config, summary["config"])
    if key:
        raise ConfigError(
            f"{key}: cell '{run[0].label}' was run with another object or other code, in '{folder}': delete that "
            "folder to run it again, or give the ablation another name"
        )
    return True


def _announce(ablation: Ablation, folder: Path, num_missing: int, tell: Tell) -> None:
    count = len(ablation.cells) * len(ablation.seeds)
    done = f", {count - num_missing} of {count} runs done before" if num_missing < count else ""
    cells = f"{count_of(len(ablation.cells), 'cell')} x " if len(ablation.cells) > 1 else ""
    tell(f"{ablation.name}: {cells}{count_of(len(ablation.seeds), 'seed')}{done}")
    others = results_folder.count_unlisted_cells(folder, ablation)
    if others:
        tell(f"{count_of(others, 'cell')} of another version of the file in {folder / 'cells'}: not shown")
    _tell_versions(ablation, folder, tell)
    num_tests = len(ablation.cells) * sum(map(is_claim, ablation.measures))
    note = few_seeds(ablation.seeds) if len(ablation.seeds) < 2 else power_note(num_tests, len(ablation.seeds))
    if note:
        tell(note)


def _tell_versions(ablation: Ablation, folder: Path, tell: Tell) -> None:
    differing = results_folder.other_versions(folder, ablation)
    if differing:
        tell(f"finished runs are kept though they differ: {differing}; delete their folders to run them again")


def _run(ablation: Ablation, missing: list[Run], folder: Path, errors: Errors, tell: Tell) -> None:
    """Run the missing cells and seeds; store each finished run at once, and the errors of others in `errors`."""
    cells = list({cell.key: cell for cell, _ in missing}.values())
    tell("checking the cells")
    memory = check_cells(cells, ablation.seeds)
    addresses = {cell.config.hosting.address for cell in cells}
    if len(addresses) > 1:
        raise ConfigError(f"hosting.address: must be one for all cells, got {', '.join(sorted(addresses))}")
    check_unaltered("peers", "topologies")
    tell("starting Ray")
    prefix = temporary_folder_prefix(folder)
    modules = RUNS if any(forks(cell.config.hosting, as_task=True) for cell in cells) else ()
    with open_ray(addresses.pop(), "the same command goes on with it", modules) as ray:
        configs = [cell.at(seed) for cell, seed in missing]
        runs = ParallelRuns(ray, configs, [memory[cell.key] for cell, _ in missing], tell, prefix)
        watch = f"peer-consensus watch {shlex.quote(short(folder))}"
        tell(f"{count_of(len(missing), 'run')} to go, {runs.at_once} at once; to see them: {watch}")
        results_folder.write_description(folder, ablation)
        try:
            for place, outcome in runs.outcomes():
                (cell, seed), target = missing[place], folder_of(folder, missing[place])
                if outcome.status is RunStatus.FINISHED:
                    results_folder.remove_outputs(folder)
                    results_folder.store_run(outcome, target)
                else:
                    errors[cell.key, seed] = outcome.error
                detail = outcome.error or _gains(target)
                status = "" if outcome.status is RunStatus.FINISHED else f"{outcome.status}: "
                took = f" ({outcome.seconds:.0f} s)" if outcome.seconds else ""  # unknown if its process was lost
                tell(f"{cell.label}, seed {seed}: {status}{detail}{took}")
        finally:
            runs.close()


def _conclude(ablation: Ablation, folder: Path, output: Path, errors: Errors, tell: Tell) -> tuple[Rows, Compared]:
    """Write the tables first, then figures, page and MLflow, which may be slow or fail."""
    results_folder.write_description(folder, ablation)
    rows = results_folder.result_rows(folder, ablation, errors)
    _write_tables(ablation, folder, rows)
    comparison, attacks = _compare(ablation, folder, rows)
    if comparison is None:
        track(ablation, folder, output)
        return rows, NOTHING
    write_table(folder / "differences.parquet", difference_rows(comparison))
    failed = [f"{row['cell']}, seed {row['seed']}: {row['error']}" for row in rows if row["status"] == RunStatus.FAILED]
    summary = {"name": ablation.name, "command": COMMAND, **to_table(comparison), "failed": failed}
    write_whole(folder / "summary.json", to_json(summary))
    tell("drawing figures, writing the report and MLflow")
    runs: dict[str, list[Path]] = {cell.label: [] for cell in ablation.cells}
    for run, row in zip(runs_of(ablation), rows, strict=True):
        if row["status"] == RunStatus.FINISHED:
            runs[row["cell"]].append(folder_of(folder, run))
    from coordinator.ablations.figures.saving import save_ablation_figures  # here because it imports matplotlib

    save_ablation_figures(rows, runs, comparison, folder, tell, attacks)
    config = without_secrets(tomli_w.dumps(ablation.table))
    asked = describe_ablation(ablation)
    html = render_ablation(ablation.name, asked, comparison, folder / "figures", COMMAND, config, failed, attacks)
    write_whole(folder / "report.html", html)
    track(ablation, folder, output, comparison)
    return rows, (comparison, attacks)


def _summaries(ablation: Ablation, folder: Path) -> dict[tuple[str, int], dict[str, Any]]:
    """The summaries of finished runs, by label of the cell and seed."""
    found = {(run[0].label, run[1]): read_summary(folder_of(folder, run)) for run in runs_of(ablation)}
    return {key: summary for key, summary in found.items() if summary is not None}


def _compare(ablation: Ablation, folder: Path, rows: Rows) -> Compared:
    """The comparison of all finished runs, None if there is none; and of liars, which the headline begins with."""
    if not any(row["status"] == RunStatus.FINISHED for row in rows):
        return NOTHING
    cells, reference = ablation.cells, ablation.reference
    apart = [cell.label for cell in cells if cell.config.peers.liars != reference.config.peers.liars]
    comparison = compare(rows, [cell.label for cell in cells], reference.label, ablation.measures, apart)
    attacks = tuple(attack_rows(cells, _summaries(ablation, folder), ablation.measures)) if apart else ()
    return replace(comparison, headline=(*attack_lines(attacks), *comparison.headline)), attacks


def _write_tables(ablation: Ablation, folder: Path, rows: Rows) -> None:
    """Write the tables of results and timings; without finished runs, remove the outputs of earlier calls."""
    if not any(row["status"] == RunStatus.FINISHED for row in rows):
        results_folder.remove_outputs(folder)
    write_table(folder / "results.parquet", rows)
    write_table(folder / "timings.parquet", results_folder.timing_rows(folder, ablation))


def _gains(folder: Path) -> str:
    """The gains of a finished run, in points."""
    summary = read_summary(folder)
    assert summary is not None, "it has just been kept"
    gains = [_gains_of(name, row) for name, row in summary["probes"].items() if "verdict" in row]
    return ", ".join(gains) or "finished"


def _gains_of(probe: str, row: dict[str, Any]) -> str:
    """A probe's gain over calibrated, and in brackets those over the control runs."""
    over = [
        f"{CONDITIONS[gain.control]} {points(row[gain.key]['mean'])}" for gain in OVER_CONTROL_RUNS if gain.key in row
    ]
    return f"{probe_name(probe)} {points(row['gain'])}" + (f" (over {', '.join(over)})" if over else "")
