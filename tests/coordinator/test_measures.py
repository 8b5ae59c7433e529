"""The table of pairs: every two peers against hand values, whoever is linked with whom."""

import numpy as np
import pytest

from coordinator import measures
from coordinator.measures import measure
from peers.measuring import Observation
from topologies import schedule

ALONE = schedule.self_taught


def seen(probs: list[list[float]], features: list[list[float]], failed: bool = False) -> Observation:
    """A peer whose softmax outputs are `probs` (examples, outputs)."""
    gram = np.array(features) @ np.array(features).T
    return Observation(np.log(np.array(probs, dtype=np.float32)), gram, 1.0, 0.0, failed)


SURE, EVEN, TURNED = [[0.9, 0.1], [0.1, 0.9]], [[0.5, 0.5], [0.5, 0.5]], [[0.1, 0.9], [0.9, 0.1]]
LINE, TWICE, SQUARE = [[1.0], [-1.0]], [[2.0], [-2.0]], [[1.0, 0.0], [0.0, 1.0]]


def test_measure__pairs_by_hand() -> None:
    peers = [seen(SURE, LINE), seen(EVEN, TWICE), seen(TURNED, SQUARE)]
    pairs = measure(peers, ALONE(3)(0), temperature=1.0).pairs
    assert list(pairs) == [(0, 1), (0, 2), (1, 2)]
    assert [each["total_variation"] for each in pairs.values()] == pytest.approx([0.4, 0.8, 0.4], abs=1e-6)
    # two examples, centred, span one direction: all Gram matrices are multiples of each other
    assert [each["cka"] for each in pairs.values()] == pytest.approx([1.0, 1.0, 1.0])


def test_measure__cka_of_pairs_of_orthogonal_features() -> None:
    """Centred features along two orthogonal patterns over four examples share nothing."""
    probs = [[0.5, 0.5]] * 4
    first, other = [[1.0], [1.0], [-1.0], [-1.0]], [[1.0], [-1.0], [1.0], [-1.0]]
    both = [[a[0], b[0]] for a, b in zip(first, other, strict=True)]
    pairs = measure([seen(probs, each) for each in (first, other, both)], ALONE(3)(0), 1.0).pairs
    # K_both = K_first + K_other, each of norm 4: <K_first, K_both> / (4 * 4 sqrt 2) = 1 / sqrt 2
    assert [each["cka"] for each in pairs.values()] == pytest.approx([0.0, 0.5**0.5, 0.5**0.5])
    assert [each["total_variation"] for each in pairs.values()] == [0.0, 0.0, 0.0]


def test_measure__pairs_leave_out_peers_that_failed_and_large_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    peers = [seen(SURE, LINE), seen(EVEN, LINE, failed=True), seen(TURNED, LINE)]
    pairs = measure(peers, ALONE(3)(0), 1.0).pairs
    assert list(pairs) == [(0, 2)] and pairs[0, 2]["total_variation"] == pytest.approx(0.8, abs=1e-6)
    assert measure(peers[:2], ALONE(2)(0), 1.0).pairs == {}  # one is left
    monkeypatch.setattr(measures, "MAX_PAIRED", 1)
    assert measure(peers, ALONE(3)(0), 1.0).pairs == {}
