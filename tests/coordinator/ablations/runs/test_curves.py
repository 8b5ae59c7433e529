import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy import stats

from coordinator.ablations.runs.curves import band, curve
from coordinator.records.files.run_folder import to_arrow

X = np.arange(4.0)


def run(path: Path, rows: list[dict[str, Any]]) -> Path:
    (path / "metrics").mkdir(parents=True)
    pq.write_table(to_arrow(rows), path / "metrics" / "rounds.parquet")
    return path


def test_band__is_scipys_interval_at_every_point() -> None:
    runs = np.random.default_rng(0).normal(size=(5, 4))
    made = band(X, runs)
    known = stats.ttest_1samp(runs, 0.0, axis=0).confidence_interval(0.95)
    assert made.low is not None and made.high is not None
    assert np.allclose(made.low, known.low) and np.allclose(made.high, known.high)
    assert np.allclose(made.mean, runs.mean(axis=0))


def test_band__one_run_has_no_interval() -> None:
    made = band(X, np.ones((1, 4)))
    assert made.low is None and made.high is None and made.mean.tolist() == [1, 1, 1, 1]


def test_curve__rounds_that_all_runs_measured(tmp_path: Path) -> None:
    rows = [{"round": 0, "d": 1.0, "bytes": None}, {"round": 1, "d": None, "bytes": 5}]
    one = run(tmp_path / "a", [*rows, {"round": 2, "d": 0.5, "bytes": 10}, {"round": 4, "d": 0.25, "bytes": 20}])
    two = run(tmp_path / "b", [*rows, {"round": 2, "d": 0.75, "bytes": 14}, {"round": 4, "d": math.nan, "bytes": 20}])
    by_round = curve([one, two], "round", "d")
    assert by_round is not None
    assert by_round.x.tolist() == [0, 2] and by_round.mean.tolist() == [1.0, 0.625]
    half = stats.t.ppf(0.975, 1) * 0.125  # of 0.5 and 0.75: standard error 0.25 / 2
    assert by_round.high is not None and by_round.high.tolist() == pytest.approx([1.0, 0.625 + half])
    by_bytes = curve([one, two], "bytes", "d")
    assert by_bytes is not None and by_bytes.x.tolist() == [12] and by_bytes.mean.tolist() == [0.625]


def test_curve__nothing_in_common(tmp_path: Path) -> None:
    one = run(tmp_path / "a", [{"round": 0, "d": 1.0}])
    two = run(tmp_path / "b", [{"round": 1, "d": 1.0}])
    assert curve([one, two], "round", "d") is curve([], "round", "d") is curve([one], "round", "other") is None
