from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from coordinator import load_config, simulate
from coordinator.records.events import Probed
from coordinator.records.files.probe_curves import SUFFIX, arrivals, probe_curves, student_accuracies
from coordinator.records.files.run_folder import RunFolder
from coordinator.records.tracking.mlflow import Tracker
from coordinator.records.tracking.mlflow_observer import MlflowObserver
from peers.probing.measuring import ProbeOutcome


def row(completed: int, peer: int, loss: float | None = None, **accuracies: float | None) -> dict[str, Any]:
    return {"round": completed, "peer": peer, "loss": loss, **accuracies}


ROWS = [
    row(0, 0),
    row(2, 0, 1.0, knn_accuracy=0.2),
    row(2, 1, 1.5, knn_accuracy=0.4, linear_accuracy=0.9),
    row(2, 2, knn_accuracy=0.9),  # never studies
    row(4, 0, knn_accuracy=0.5),
    row(4, 1, 0.5, knn_accuracy=0.7),
    row(4, 2, knn_accuracy=0.9),
]


def test_probe_curves__mean_and_range_of_students_where_there_are_several_rounds() -> None:
    curves = probe_curves(reversed(ROWS))
    assert list(curves) == ["knn"]  # linear was taken once only
    knn = curves["knn"]
    assert knn.rounds.tolist() == [2, 4]
    np.testing.assert_allclose(np.array([knn.mean, knn.low, knn.high]), [[0.3, 0.6], [0.2, 0.5], [0.4, 0.7]])
    assert probe_curves(ROWS, dropped={1})["knn"].mean.tolist() == [0.2, 0.5]
    assert probe_curves([]) == {}


def test_student_accuracies__before_anybody_studied_those_of_all() -> None:
    early = [row(1, 0, knn_accuracy=0.1), row(1, 1, knn_accuracy=0.3), row(2, 1, 1.0, knn_accuracy=0.5)]
    assert student_accuracies([*early, row(2, 0, knn_accuracy=0.1)]) == {"knn": {1: [0.1, 0.3], 2: [0.5]}}


class Kept(Tracker):
    """Keeps what MLflow would get."""

    def __init__(self) -> None:
        self.points: dict[tuple[str, int], float] = {}
        self.final: dict[str, float] = {}

    def log_metrics(self, values: dict[str, float], step: int) -> None:
        self.points |= {(name, step): value for name, value in values.items()}

    def log_final(self, values: dict[str, float]) -> None:
        self.final |= values

    def log_params(self, values: dict[str, Any]) -> None: ...

    def log_tags(self, values: dict[str, Any]) -> None: ...


def test_probe_curves__mlflow_gets_the_curve_of_the_tables(tmp_path: Path) -> None:
    """With a frozen peer, which is not counted; sent again after a resume, it is the same."""
    table = {
        "run": {"rounds": 5},
        "data": {"kind": "digits", "batch_size": 32, "train_limit": 200, "test_limit": 100},
        "peers": {"count": 3, "model": {"kind": "mlp", "hidden": [8]}, "head": {"dim": 8}, "frozen": [0]},
        "topology": {"kind": "ring"},
        "evaluation": {"probes": ["knn", "linear"], "probe_every": 2, "probe_train": 100, "probe_test": 100},
        "hosting": {"pool": "in-process"},
        "tracking": {"enabled": False},
    }
    live = Kept()
    config = load_config(table)
    result = simulate(config, tmp_path, [MlflowObserver(live, config)])
    rows = pq.read_table(result.folder / "metrics" / "peers.parquet").to_pylist()
    curves = probe_curves(rows)
    expected = {
        (f"accuracy/{name}", completed): mean
        for name, curve in curves.items()
        for completed, mean in zip(curve.rounds.tolist(), curve.mean.tolist(), strict=True)
    }
    assert sorted({completed for _, completed in expected}) == [2, 4, 5]
    assert {key: value for key, value in live.points.items() if "accuracy" in key[0]} == pytest.approx(expected)
    assert expected["accuracy/knn", 5] == pytest.approx(result.summary["probes"]["knn"]["trained"])
    folder, again = RunFolder(tmp_path, "again"), Kept()
    for each in rows:
        folder.record("peers", {"round": each["round"], "peer": each["peer"]}, each)
    MlflowObserver(again, config).send_again(folder, {})
    assert again.points == pytest.approx(expected)


def test_probe_curves__mlflow_counts_no_peer_that_has_dropped_out_when_it_goes_on(tmp_path: Path) -> None:
    config = load_config({"data": {"kind": "digits"}, "topology": {"kind": "ring"}, "evaluation": {"probe_every": 2}})
    folder, again = RunFolder(tmp_path, "again"), Kept()
    for completed, accuracies in {2: (0.5, 0.7), 4: (0.6, 0.1)}.items():
        for peer, accuracy in enumerate(accuracies):
            loss = 1.0 if completed == 2 or peer == 0 else None
            folder.record("peers", {"round": completed, "peer": peer}, {"loss": loss, f"knn{SUFFIX}": accuracy})
    observer = MlflowObserver(again, config)
    observer.send_again(folder, {1: 3})
    assert again.points == pytest.approx({("accuracy/knn", 2): 0.6, ("accuracy/knn", 4): 0.6})
    outcomes = [ProbeOutcome({"knn": np.array(right, dtype=bool)}) for right in ([1, 1, 1, 0], [0, 0, 0, 0])]
    observer.observe(Probed(outcomes, 6))
    assert again.points["accuracy/knn", 6] == pytest.approx(0.75)


def test_arrivals__of_each_gain_whose_end_is_above_nothing() -> None:
    """Two peers, probed three times: 50%, 58% and 60%, beside 50% calibrated, 57% alone, and strangers at 61%."""
    rows = [
        {"round": completed, "peer": peer, "loss": 1.0, f"knn{SUFFIX}": mean + (peer - 4.5) / 50}
        for completed, mean in ((1, 0.5), (100, 0.58), (200, 0.6))
        for peer in (4, 5)
    ]
    rows += [{"round": 200, "peer": 0, "loss": 1.0, f"knn{SUFFIX}": 0.0}]  # is not so far away
    probe = {"calibrated": 0.5, "alone": 0.57, "stranger": 0.61, "pooled": 0.4, "trained": 0.6, "gain": 0.1}
    probe |= {"interval": [0.08, 0.12], "over_alone": {"mean": 0.03, "low": -0.01, "high": 0.07}}
    probe |= {"over_stranger": {"mean": -0.01, "low": -0.02, "high": 0.0}, "over_pooled": {"mean": 0.2, "low": 0.1}}
    of = {"students": [4, 5], "probes": {"knn": probe}}
    assert arrivals(rows, of) == {"knn": {"gain": 100, "over_alone": 200, "over_stranger": None}}
    assert arrivals(rows[:2], of) == {}  # probed once: nothing is known of the way
