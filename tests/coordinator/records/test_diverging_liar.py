"""Means are of the honest peers, and finite, where a liar does lie, diverges and drops out."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from coordinator import Result, load_config, simulate
from coordinator.measures.gains import Condition
from coordinator.records.events import Probed, RunEvent
from tests.coordinator.records.test_honest import LIAR, column


def mean_of(result: Result, name: str, at: int) -> tuple[list[float], float]:
    """A value of the honest peers that a table of single peers has, and what the run says of all."""
    found = column(result, "peers", name, at)
    return [value for peer, value in found.items() if peer != LIAR], column(result, "rounds", name, at)[0]


def test_run__a_liar_that_lies_and_diverges_moves_no_mean(tmp_path: Path) -> None:
    """Its step of 1e30 makes its own outputs overflow: the others go on without it, and their means are finite."""
    network: dict[str, Any] = {"model": {"kind": "mlp", "hidden": [8]}, "head": {"kind": "linear", "dim": 4}}
    diverging = {"name": "liar", "count": 1, "norm": "none", "optimizer": {"kind": "sgd", "lr": 1e30}}
    groups = [{"name": "first", "count": 1}, diverging, {"name": "others", "count": 3}]
    told = list[Probed]()

    class Keeping:
        def observe(self, event: RunEvent) -> None:
            told.extend([event] if isinstance(event, Probed) else [])

    table: dict[str, Any] = {
        "run": {"rounds": 6, "on_nonfinite": "drop-peer"},
        "data": {"kind": "synthetic", "num_train": 60, "num_test": 30, "batch_size": 10},
        "peers": {**network, "groups": groups, "adversaries": [{"peers": [LIAR], "attack": {"kind": "sign-flip"}}]},
        "topology": {"kind": "complete"},
        "evaluation": {"every": 2, "probe_batch": 20, "probes": ["knn"], "controls": []},
        "hosting": {"pool": "in-process"},
        "tracking": {"enabled": False},
    }
    result = simulate(load_config(table), tmp_path, [Keeping()])
    summary = result.summary
    assert summary["status"] == "finished" and [*summary["not_finite"]] == [str(LIAR)] and summary["liars"] == [LIAR]
    assert column(result, "rounds", "lies_dropped", 1)  # it was heard before it dropped out
    for at in (2, 4, 6):
        for name in ("loss", "rankme"):
            honest, mean = mean_of(result, name, at)
            assert len(honest) == 4 and np.isfinite(honest).all() and mean == pytest.approx(np.mean(honest))
    correct = {each.condition: each.outcomes for each in told}
    row = summary["probes"]["knn"]
    for condition in (Condition.CALIBRATED, Condition.TRAINED):
        shares = [np.mean(each.correct["knn"]) for peer, each in enumerate(correct[condition]) if peer != LIAR]
        assert len(shares) == 4 and row[condition.value] == pytest.approx(np.mean(shares))
    assert row["peers"]["peer"] == [0, 2, 3, 4] and row["gain"] == pytest.approx(np.mean(row["peers"]["gain"]))
    assert all(np.isfinite(value) for values in summary["consensus"].values() for value in values.values())
