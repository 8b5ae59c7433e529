"""An ablation from its cells to its page: runs what is missing, then compares all that is there."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import tomli_w

from coordinator import page, results
from coordinator.ablation_figures import save_ablation_figures
from coordinator.ablation_tracking import track
from coordinator.axes import label
from coordinator.cells import SideBySide
from coordinator.comparison import Comparison, compare, few_seeds, rows_of_differences, to_table
from coordinator.config import ConfigError
from coordinator.grid import Ablation, check_cells
from coordinator.pool import open_ray
from coordinator.progress import Monitor, Silent
from coordinator.report import PROBES
from coordinator.results import Run, folder_of
from coordinator.store import check_output, to_json
from coordinator.tracking import without_secrets

COMMAND = "peer-consensus ablate ablation.toml"
Errors = dict[tuple[str, int], str]  # by key and seed


@dataclass(frozen=True)
class AblationResult:
    """What an ablation left: `rows` are those of `results.parquet`; no comparison if no run has finished."""

    status: Literal["finished", "failed", "interrupted"]
    folder: Path
    rows: list[dict[str, Any]]
    comparison: Comparison | None

    @property
    def num_finished(self) -> int:
        return sum(row["status"] == "finished" for row in self.rows)


def ablate(ablation: Ablation, output: str | Path = "runs", monitor: Monitor | None = None) -> AblationResult:
    """Run every cell with every seed, side by side, in `<output>/<name>`; what is finished there is not run again.

    A run that fails is told in its row and the others go on; the next call tries it again. Ctrl-C ends all runs, and
    the next call continues.

    Raises: ConfigError, before anything is written, on input that cannot be run.
    """
    monitor = monitor or Silent()
    check_output(output)
    folder = Path(output).absolute() / ablation.name
    results.check_folder(folder)
    errors: Errors = {}
    comparison = None
    try:
        missing = [run for run in results.runs_of(ablation) if results.read_summary(folder_of(folder, run)) is None]
        _announce(ablation, folder, len(missing), monitor)
        if missing:
            _run(ablation, missing, folder, errors, monitor)
        with results.opened(folder, ablation):
            comparison = _conclude(ablation, folder, Path(output), errors, monitor)
    except KeyboardInterrupt:
        rows = results.result_rows(folder, ablation, errors)
        return AblationResult("interrupted", folder, rows, comparison)
    rows = results.result_rows(folder, ablation, errors)
    return AblationResult("failed" if errors else "finished", folder, rows, comparison)


def _announce(ablation: Ablation, folder: Path, num_missing: int, monitor: Monitor) -> None:
    count = len(ablation.cells) * len(ablation.seeds)
    done = f", {count - num_missing} of {count} runs done before" if num_missing < count else ""
    cells, seeds = _count(len(ablation.cells), "cell"), _count(len(ablation.seeds), "seed")
    monitor.phase(f"{ablation.name}: {cells} x {seeds}{done}")
    others = results.strangers(folder, ablation)
    if others:
        monitor.phase(f"{_count(others, 'cell')} of another version of the file in {folder / 'cells'}: not shown")
    if len(ablation.seeds) < 2:
        monitor.phase(few_seeds(ablation.seeds))


def _run(ablation: Ablation, missing: list[Run], folder: Path, errors: Errors, monitor: Monitor) -> None:
    """Run what is missing; a finished run's folder is there at once, why another ended goes into `errors`."""
    asked = {id(cell): cell for cell, _ in missing}
    monitor.phase("checking the cells")
    check_cells(list(asked.values()))
    addresses = {cell.config.hosting.address for cell in asked.values()}
    if len(addresses) > 1:
        raise ConfigError(f"hosting.address: must be one for all cells, got {', '.join(sorted(addresses))}")
    monitor.phase("starting Ray")
    with open_ray(addresses.pop()) as ray:
        runs = SideBySide(ray, [cell.at(seed) for cell, seed in missing])
        monitor.phase(f"{_count(len(missing), 'run')} to go, {min(runs.at_once, len(missing))} at once")
        with results.opened(folder, ablation):
            try:
                for place, outcome in runs.outcomes():
                    (cell, seed), target = missing[place], folder_of(folder, missing[place])
                    if outcome.status == "finished":
                        results.keep(outcome, target)
                    else:
                        errors[cell.key, seed] = outcome.error
                    said = outcome.error or _gains(target)
                    what = "" if outcome.status == "finished" else f"{outcome.status}: "
                    monitor.phase(f"{cell.label}, seed {seed}: {what}{said} ({outcome.seconds:.0f} s)")
            finally:
                runs.close()


def _conclude(ablation: Ablation, folder: Path, output: Path, errors: Errors, monitor: Monitor) -> Comparison | None:
    """Write the tables, then what may take a while or fail: figures, page, MLflow."""
    rows = results.result_rows(folder, ablation, errors)
    results.write_table(folder / "results.parquet", rows)
    results.write_table(folder / "timings.parquet", results.timing_rows(folder, ablation))
    if not any(row["status"] == "finished" for row in rows):
        return None
    comparison = compare(rows, [cell.label for cell in ablation.cells], ablation.reference.label, ablation.measures)
    results.write_table(folder / "differences.parquet", rows_of_differences(comparison))
    failed = [f"{row['cell']}, seed {row['seed']}: {row['error']}" for row in rows if row["status"] == "failed"]
    summary = {"name": ablation.name, "command": COMMAND, **to_table(comparison), "failed": failed}
    results.write_whole(folder / "summary.json", to_json(summary).encode())
    monitor.phase("drawing figures, writing the report and MLflow")
    runs = {cell.label: [folder_of(folder, (cell, seed)) for seed in ablation.seeds] for cell in ablation.cells}
    save_ablation_figures(rows, runs, comparison, folder)
    config = without_secrets(tomli_w.dumps(ablation.table))
    html = page.render_ablation(
        ablation.name, asked(ablation), comparison.words, comparison, folder / "figures", COMMAND, config, failed
    )
    results.write_whole(folder / "report.html", html.encode())
    track(ablation, folder, output)
    return comparison


def asked(ablation: Ablation) -> list[str]:
    """What the ablation varies and what all of its cells share, a sentence each."""
    configs = [cell.config for cell in ablation.cells]
    lines = []
    for axis in ablation.cells[0].settings:
        values = list(dict.fromkeys(label([{axis: cell.settings[axis]} for cell in ablation.cells])))
        lines.append(f"{'Varied' if len(values) > 1 else 'Held'}: {axis} = {', '.join(values)}.")
    rounds, peers, data = (
        ", ".join(dict.fromkeys(map(str, values)))
        for values in (
            [config.run.rounds for config in configs],
            [config.peers.count for config in configs],
            [config.data.kind for config in configs],
        )
    )
    seeds = ", ".join(map(str, ablation.seeds))
    lines.append(f"{_count(len(configs), 'cell')}, each with seeds {seeds}: {peers} peers, {rounds} rounds, {data}.")
    if len(configs) > 1:
        lines.append(f"Differences are from '{ablation.reference.label}', paired by seed.")
    return lines


def _gains(folder: Path) -> str:
    """The gains of a finished run, in points."""
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    gains = [
        f"{PROBES.get(name, name).rstrip('*')} {100 * row['gain']:+.1f}"
        + (f" ({100 * row['over_alone']['mean']:+.1f} over alone)" if "over_alone" in row else "")
        for name, row in summary["probes"].items()
        if "verdict" in row
    ]
    return ", ".join(gains) or "finished"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
