"""Logs a finished ablation to MLflow: a parent run, and a child run for each cell and seed."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from coordinator.ablations.comparisons.estimates import Comparison
from coordinator.ablations.grids.grid import Ablation
from coordinator.ablations.runs.results_folder import Run, folder_of, read_summary, runs_of
from coordinator.experiment.reading import from_json
from coordinator.measures.gains import GainMeasure
from coordinator.planning.brought import NOT_ALONE
from coordinator.records.files.run_folder import write_whole
from coordinator.records.files.summary import final_tags, flatten
from coordinator.records.tracking.mlflow import Tracker
from coordinator.records.tracking.mlflow_names import final_metrics, gain_metrics
from coordinator.records.tracking.mlflow_observer import MlflowObserver
from coordinator.reports.formatting import p_value
from coordinator.reports.markdown import NOTE, escaped, fitting, run_note, table
from coordinator.reports.unequal import liar_tags
from coordinator.reports.wording import interval, measure_name, number

MOST_ROWS = 24  # of the table in the description, whose length MLflow limits


def track(ablation: Ablation, folder: Path, output: Path, comparison: Comparison | None = None) -> None:
    """Log the runs that are not in MLflow yet; `mlflow.json` lists the logged ones, so none is logged twice.

    comparison: what the parent run's description says; None if no run has finished.
    """
    config = ablation.cells[0].config.tracking
    if not config.enabled:
        return
    known = _read(folder / "mlflow.json")
    parent = Tracker(config, output, ablation.name, run_id=str(known.get("run_id", "")))
    logged: dict[str, str] = known.get("logged", {}) if parent.run_id == known.get("run_id") else {}
    if parent.active:
        write_whole(folder / "mlflow.json", _text(parent.run_id, logged))
    complete = True
    for run in runs_of(ablation):
        path = folder_of(folder, run)
        summary = read_summary(path)
        place = path.relative_to(folder).as_posix()
        complete &= summary is not None
        if summary and place not in logged and parent.active:
            child = _child(parent, run, path, summary)
            if child.active:
                logged[place] = child.run_id
                write_whole(folder / "mlflow.json", _text(parent.run_id, logged))
    parent.log_tags({"status": "finished" if complete else "failed"})
    if comparison is not None:
        repeatable = not (folder / "ablation.toml").read_text(encoding="utf-8").startswith(NOT_ALONE)
        parent.log_tags({NOTE: ablation_note(comparison, repeatable)})
        parent.log_final(_over_seeds(comparison))
    parent.log_folder(folder, leave_out=("cells", "mlflow.json"))
    parent.close("FINISHED" if complete else "FAILED")


def _child(parent: Tracker, run: Run, folder: Path, summary: dict[str, Any]) -> Tracker:
    """Log one run as a child, with its parameters, curves and final numbers."""
    cell, seed = run
    child = parent.child(f"{cell.label}, seed {seed}", {"cell": cell.label, "seed": str(seed), "cell_key": cell.key})
    child.log_params(flatten(summary["config"]))
    rounds, peers = (pq.read_table(folder / "metrics" / f"{name}.parquet").to_pylist() for name in ("rounds", "peers"))
    dropped = {int(peer): failure["round"] for peer, failure in summary["not_finite"].items()}
    MlflowObserver(child, cell.config).send_tables(rounds, peers, dropped)
    child.log_final(final_metrics(summary))
    child.log_tags(final_tags(summary) | liar_tags(summary) | {NOTE: run_note(summary)})
    child.close("FINISHED")
    return child


def ablation_note(comparison: Comparison, repeatable: bool = True) -> str:
    """An ablation's description in Markdown: what it shows, a table of its gains, and how to repeat it.

    repeatable: whether the ablation's file alone starts it again, without objects from Python.
    """
    keys = [
        (cell, measure)
        for measure in comparison.measures
        for cell in comparison.cells
        if comparison.verdict_in_words(cell, measure)
    ]
    rows = [_row(comparison, *key) for key in keys[:MOST_ROWS]]
    names = ("gain (points)", "cell", "mean", "95% interval", "p (Holm)", "verdict")
    lines = table(names, rows) if rows else []
    more = f" {len(keys) - len(rows)} more gains are in report.html." if len(keys) > len(rows) else ""
    meaning = f"Mean and interval over {len(comparison.seeds)} seeds.{more}"
    command = "`peer-consensus ablate ablation.toml`" if repeatable else "from Python, as its first lines say"
    return fitting(
        [
            "\n".join([*lines, "", meaning]),
            "\n".join(f"- {escaped(line)}" for line in comparison.words[:3]),
            f"Whole result: report.html among the artifacts. Again: {command} (ablation.toml is there too).",
        ]
    )


def _row(comparison: Comparison, cell: str, measure: str) -> list[str]:
    found, p = comparison.estimates[cell, measure], comparison.p_holm.get((cell, measure))
    spread = "" if found.low is None or found.high is None else interval(found.low, found.high, measure)
    name = f"{cell} (reference)" if cell == comparison.reference and len(comparison.cells) > 1 else cell
    verdict = comparison.verdict_in_words(cell, measure)
    mean = number(found.mean, measure) if found.n else ""
    return [measure_name(measure), name, mean, spread, "" if p is None else p_value(p), verdict]


def _over_seeds(comparison: Comparison) -> dict[str, float]:
    """The gains over seeds by the names that a run's gains have, if there is one cell: then they are the parent's."""
    found: dict[str, float] = {}
    if len(comparison.cells) > 1:
        return found
    for (_, measure), estimate in comparison.estimates.items():
        gain = GainMeasure.parse(measure)
        if gain is not None and gain.part == "mean" and estimate.n:
            found |= gain_metrics(gain.probe, gain.gain, estimate.mean, estimate.low, estimate.high)
    return found


def _read(path: Path) -> dict[str, Any]:
    try:
        known = from_json(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _text(run_id: str, logged: dict[str, str]) -> str:
    return json.dumps({"run_id": run_id, "logged": logged}, indent=2) + "\n"
