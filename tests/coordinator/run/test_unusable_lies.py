"""Runs whose liars send numbers that are not finite: they go on, count these, and have the same bits every way."""

from pathlib import Path
from typing import Any

import pytest

from coordinator.reports.sentences import in_words
from tests.coordinator.run.test_liars import check_interrupted, run, table

LIARS = [
    {"peers": [1], "attack": {"kind": "random", "sigma": 1e6}, "share": 0.7},
    {"peers": [2], "attack": {"kind": "ipm", "epsilon": 1e9}, "from_round": 2},
]
LATE = {
    "clock": "free-running",
    "compute": {"kind": "lognormal", "seconds": 1.0, "sigma": 0.5},
    "latency": {"kind": "constant", "seconds": 0.3},
}


@pytest.mark.filterwarnings("ignore:with network.clock .* pools late messages apart")
@pytest.mark.parametrize("network", [{}, {"network": LATE}], ids=["ideal", "free-running"])
def test_run__goes_on_with_everybody_also_from_a_checkpoint(
    network: dict[str, Any], small: dict[str, Any], tmp_path: Path
) -> None:
    """Kept messages of liars are in checkpoints as they were sent."""
    rules = {"what": "logits", "dtype": "float16", "memory": "expguard", "aggregation": {"kind": "trimmed-mean"}}
    given = table(small, peers={"adversaries": LIARS}, exchange=rules, **network)
    whole = run(given, tmp_path / "whole")
    summary, rows = whole.summary, whole.table("rounds").to_pylist()
    counted = [row["lies_unusable"] or 0 for row in rows if "lies_unusable" in row]
    assert summary["status"] == "finished" and summary["not_finite"] == {} and sum(counted) > 8
    assert summary["pooling"]["lies_unusable"] == sum(counted)
    assert f"pooling: {sum(counted)} lies that honest students got had numbers" in "\n".join(in_words(summary))
    check_interrupted(given, tmp_path / "parts", whole)
