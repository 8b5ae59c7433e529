"""A run in a simulated network: what its folder has besides, and that without the section nothing is there."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from coordinator import Result, load_config, resume, simulate
from coordinator.records.events import RoundCompleted, RunEvent
from coordinator.records.files.result import Status
from coordinator.records.files.summary import final_tags
from coordinator.records.tracking.mlflow_names import final_metrics
from coordinator.records.tracking.mlflow_observer import MlflowObserver
from coordinator.run.signals import Interrupts
from tests.coordinator.records.tracking.test_mlflow_names import DOCUMENT, Kept

NETWORK: dict[str, Any] = {
    "clock": "free-running",
    "compute": {"kind": "lognormal", "seconds": 1.0, "sigma": 0.5},
    "latency": {"kind": "regions", "table": "aws", "regions": ["eu-west-1", "us-east-1", "sa-east-1"]},
    "loss": {"kind": "bernoulli", "probability": 0.1},
    "churn": {"kind": "exponential", "up": 8, "down": 2},
}
TABLES = ("events", "network_edges", "network_peers", "network_presence", "network_intervals")
USUAL = {f"{name}.parquet" for name in ("rounds", "peers", "edges", "pairs")}


@pytest.fixture
def table(small: dict[str, Any]) -> dict[str, Any]:
    evaluation = {"every": 2, "probe_batch": 20, "probes": ["knn"]}
    return {**small, "evaluation": evaluation, "network": NETWORK, "checkpoint": {"every": 4, "seconds": 0}}


def tables(result: Result) -> dict[str, Any]:
    metrics = result.folder / "metrics"
    return {name: pq.read_table(metrics / f"{name}.parquet").to_pylist() for name in TABLES}


@pytest.mark.figures
def test_run__leaves_tables_a_summary_figures_and_a_section(table: dict[str, Any], tmp_path: Path) -> None:
    result = simulate(load_config(table), tmp_path)
    network, rounds = result.summary["network"], result.table("rounds").to_pylist()
    assert {path.name for path in (result.folder / "metrics").iterdir()} == USUAL | {
        f"{each}.parquet" for each in TABLES
    }
    assert network["virtual_seconds"] == rounds[-1]["virtual_seconds"] > 0
    assert network["messages"]["lost"] + network["messages"]["offline"] == sum(row["lost"] or 0 for row in rounds)
    studied = [row for row in result.table("events").to_pylist() if row["kind"] == "study"]
    for row in rounds[1:]:
        ages = [
            each["age_seconds"] for each in studied if each["round"] == row["round"] and each["other"] != each["peer"]
        ]
        assert row["mean_age_seconds"] == (pytest.approx(sum(ages) / len(ages)) if ages else None)
    figures = {path.name for path in (result.folder / "figures").iterdir()}
    assert {
        f"{name}{form}.png" for name in ("seconds", "gantt", "ages", "regions") for form in ("", "-narrow")
    } <= figures
    page = (result.folder / "report.html").read_text()
    assert "<h2>The simulated network</h2>" in page and "The first rounds: a row for each peer" in page
    assert "clock free-running" in page and "simulated by the section [network]: " in page


@pytest.mark.figures
def test_run__without_the_section_has_nothing_of_it(table: dict[str, Any], tmp_path: Path) -> None:
    del table["network"]
    result = simulate(load_config(table), tmp_path)
    assert {path.name for path in (result.folder / "metrics").iterdir()} == USUAL
    assert "network" not in result.summary and not set(result.summary["config"]) & {"network"}
    assert not {"virtual_seconds", "online", "lost"} & set(result.table("rounds").column_names)
    assert {path.stem.removesuffix("-narrow") for path in (result.folder / "figures").iterdir()} == {
        "consensus",
        "gains",
        "topology",
    }
    page = (result.folder / "report.html").read_text()
    assert "The simulated network" not in page and "[network]" not in page
    assert "[network]" not in (result.folder / "config.toml").read_text()


def test_run__interrupted_and_resumed_writes_what_the_whole_run_writes(table: dict[str, Any], tmp_path: Path) -> None:
    whole = simulate(load_config(table), tmp_path / "whole")
    interrupts = Interrupts()

    def interrupt(event: RunEvent) -> None:
        if isinstance(event, RoundCompleted) and event.completed == 5:
            interrupts.stop_requested = True

    first = simulate(load_config(table), tmp_path / "parts", [interrupt], interrupts=interrupts)
    assert first.status is Status.INTERRUPTED and 5 <= first.summary["rounds"] < 8
    done, found, expected = first.summary["rounds"], tables(first), tables(whole)
    assert found["events"] == [row for row in expected["events"] if row["round"] <= done]
    assert found["network_presence"] == [row for row in expected["network_presence"] if row["round"] <= done]
    resumed = resume(first.folder)
    assert tables(resumed) == expected
    assert resumed.summary["network"] == whole.summary["network"]
    assert resumed.summary["digest"] == whole.summary["digest"]


def test_run__without_events(table: dict[str, Any], tmp_path: Path) -> None:
    table["network"] = NETWORK | {"events": False}
    result = simulate(load_config(table), tmp_path)
    names = {path.name for path in (result.folder / "metrics").iterdir()}
    assert "events.parquet" not in names and "network_presence.parquet" in names
    assert result.summary["network"]["messages"]["lost"] > 0


def test_names__mlflow_gets_virtual_time_by_names_that_the_document_has(table: dict[str, Any], tmp_path: Path) -> None:
    config, live = load_config(table), Kept()
    summary = simulate(config, tmp_path, [MlflowObserver(live, config)]).summary
    curves = {name for name, _ in live.points if name.startswith("network/")}
    assert curves == {
        f"network/{name}" for name in ("virtual_seconds", "online", "lost", "mean_age", "mean_age_seconds")
    }
    assert live.points["network/virtual_seconds", 8] == summary["network"]["virtual_seconds"]
    final = {name for name in final_metrics(summary) if name.startswith("virtual/")}
    text = DOCUMENT.read_text(encoding="utf-8")
    assert final and all(f"`{name}`" in text or f"`/{name.partition('/')[2]}`" in text for name in final | curves)
    assert final_tags(summary)["critical_path"] == summary["network"]["critical_path"]["sentence"]
