"""The table of pairs: every two peers against hand values, whoever is linked with whom, once at the end."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from coordinator import load_config, measures, simulate
from coordinator.config import TrackingConfig
from coordinator.measures import GroupMeasures, PeerMeasures, measure
from coordinator.progress import Silent
from coordinator.recorder import Recorder
from coordinator.rounds import RoundRecord
from coordinator.store import RunFolder
from coordinator.tracking import Tracker
from peers.measuring import Observation
from topologies import schedule

ALONE = schedule.self_taught


def seen(probs: list[list[float]], features: list[list[float]], failed: bool = False) -> Observation:
    """A peer whose softmax outputs are `probs` (examples, outputs)."""
    gram = np.array(features) @ np.array(features).T
    return Observation(np.log(np.array(probs, dtype=np.float32)), gram, 1.0, 0.0, failed)


def pairs_of(observations: list[Observation]) -> dict[tuple[int, int], dict[str, float]]:
    return measure(observations, ALONE(len(observations))(0), 1.0)[1].pairs()


SURE, EVEN, TURNED = [[0.9, 0.1], [0.1, 0.9]], [[0.5, 0.5], [0.5, 0.5]], [[0.1, 0.9], [0.9, 0.1]]
LINE, TWICE, SQUARE = [[1.0], [-1.0]], [[2.0], [-2.0]], [[1.0, 0.0], [0.0, 1.0]]


def test_measure__pairs_by_hand() -> None:
    peers = [seen(SURE, LINE), seen(EVEN, TWICE), seen(TURNED, SQUARE)]
    pairs = pairs_of(peers)
    assert list(pairs) == [(0, 1), (0, 2), (1, 2)]
    assert [each["total_variation"] for each in pairs.values()] == pytest.approx([0.4, 0.8, 0.4], abs=1e-6)
    # two examples, centred, span one direction: all Gram matrices are multiples of each other
    assert [each["cka"] for each in pairs.values()] == pytest.approx([1.0, 1.0, 1.0])


def test_measure__cka_of_pairs_of_orthogonal_features() -> None:
    """Centred features along two orthogonal patterns over four examples share nothing."""
    probs = [[0.5, 0.5]] * 4
    first, other = [[1.0], [1.0], [-1.0], [-1.0]], [[1.0], [-1.0], [1.0], [-1.0]]
    both = [[a[0], b[0]] for a, b in zip(first, other, strict=True)]
    pairs = pairs_of([seen(probs, each) for each in (first, other, both)])
    # K_both = K_first + K_other, each of norm 4: <K_first, K_both> / (4 * 4 sqrt 2) = 1 / sqrt 2
    assert [each["cka"] for each in pairs.values()] == pytest.approx([0.0, 0.5**0.5, 0.5**0.5])
    assert [each["total_variation"] for each in pairs.values()] == [0.0, 0.0, 0.0]


def test_measure__pairs_leave_out_peers_that_failed_and_large_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    peers = [seen(SURE, LINE), seen(EVEN, LINE, failed=True), seen(TURNED, LINE)]
    pairs = pairs_of(peers)
    assert list(pairs) == [(0, 2)] and pairs[0, 2]["total_variation"] == pytest.approx(0.8, abs=1e-6)
    assert pairs_of(peers[:2]) == {}  # one is left
    monkeypatch.setattr(measures, "MAX_PAIRED", 1)
    assert pairs_of(peers) == {}


def test_measure__scalars_are_the_declared_ones() -> None:
    scalars = measure([seen(SURE, LINE), seen(EVEN, TWICE)], ALONE(2)(0), 1.0)[0].scalars
    assert list(scalars) == [*GroupMeasures.__dataclass_fields__, *PeerMeasures.__dataclass_fields__]
    assert scalars["agreement"] == 0.5 and scalars["mean_entropy"] == pytest.approx((0.325083 + np.log(2)) / 2)


def test_recorder__pairs_are_compared_when_tables_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []
    pairs = measures.Pairing.pairs
    monkeypatch.setattr(measures.Pairing, "pairs", lambda self: compared.append(self) or pairs(self))  # type: ignore[func-returns-value]
    folder = RunFolder(tmp_path, "run")
    recorder = Recorder(folder, Tracker(TrackingConfig(enabled=False), tmp_path, "run"), Silent(), 1.0)
    plan, first, last = ALONE(2)(0), [seen(SURE, LINE), seen(EVEN, LINE)], [seen(SURE, LINE), seen(TURNED, LINE)]
    recorder.start(first, plan)
    for completed, observations in ((1, first), (2, last), (3, None)):
        recorder.round(RoundRecord(completed, plan, {}, 0, observations))
    assert compared == []
    recorder.write_tables()
    (row,) = pq.read_table(folder.path / "metrics" / "pairs.parquet").to_pylist()
    assert (len(compared), row["round"], row["peer"], row["other"]) == (1, 2, 0, 1)
    assert row["total_variation"] == pytest.approx(0.8, abs=1e-6)


def test_simulate__leaves_the_pairs_of_the_last_round(tiny: Path) -> None:
    folder = simulate(load_config(tiny, []), "out").folder
    rows: list[dict[str, Any]] = pq.read_table(folder / "metrics" / "pairs.parquet").to_pylist()
    assert [(row["round"], row["peer"], row["other"]) for row in rows] == [
        (2, i, j) for i in range(4) for j in range(i + 1, 4)
    ]
