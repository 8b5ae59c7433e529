"""Logs a finished ablation to MLflow: a parent run, and a child run for each cell and seed."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from coordinator.ablations.grid import Ablation
from coordinator.ablations.results_folder import Run, folder_of, read_summary, runs_of
from coordinator.experiment.reading import from_json
from coordinator.records.mlflow import Tracker
from coordinator.records.run_folder import write_whole
from coordinator.records.summary import final_metrics, final_tags, flatten


def track(ablation: Ablation, folder: Path, output: Path) -> None:
    """Log the runs that are not in MLflow yet; `mlflow.json` lists the logged ones, so none is logged twice."""
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
    parent.log_folder(folder, leave_out=("cells", "mlflow.json"))
    parent.close("FINISHED" if complete else "FAILED")


def _child(parent: Tracker, run: Run, folder: Path, summary: dict[str, Any]) -> Tracker:
    """Log one run as a child, with its parameters, curves and final numbers."""
    cell, seed = run
    child = parent.child(f"{cell.label}, seed {seed}", {"cell": cell.label, "seed": str(seed), "cell_key": cell.key})
    child.log_params(flatten(summary["config"]))
    for row in pq.read_table(folder / "metrics" / "rounds.parquet").to_pylist():
        child.log_metrics({name: value for name, value in row.items() if name != "round"}, row["round"])
    child.log_metrics(final_metrics(summary), summary["rounds"])
    child.log_tags(final_tags(summary))
    child.close("FINISHED")
    return child


def _read(path: Path) -> dict[str, Any]:
    try:
        known = from_json(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _text(run_id: str, logged: dict[str, str]) -> str:
    return json.dumps({"run_id": run_id, "logged": logged}, indent=2) + "\n"
