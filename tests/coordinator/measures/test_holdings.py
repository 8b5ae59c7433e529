"""Counts of classes, and accuracies by whose classes the images are of, against their definitions."""

import numpy as np
import pytest

from coordinator.measures.gains import Condition
from coordinator.measures.holdings import ClassTable, accuracy_rows, class_accuracy, names_of
from coordinator.measures.probe_table import ProbeTable
from peers.data.holdings import Holdings
from peers.probing.measuring import ClassProbabilities, ProbeOutcome

COUNTS = np.array([[4, 4, 0, 0], [0, 0, 6, 0], [1, 2, 1, 0]])
TEST = np.array([0, 0, 1, 2, 2, 3])  # classes of test images; nobody holds the last one
RIGHT = np.array([[1, 0, 1, 0, 1, 1], [1, 1, 1, 1, 0, 1], [0, 0, 1, 1, 1, 1]], dtype=np.bool_)


def table() -> ClassTable:
    return ClassTable(COUNTS, np.array([0, 0, 0, 5]))


def probes(condition: Condition, right: np.ndarray) -> ProbeTable:
    found = ProbeTable(("knn", "top1"))
    values = np.where(right[:, :, None], np.eye(4)[TEST], np.eye(4)[(TEST + 1) % 4]).astype(np.float32)
    outcomes = [
        ProbeOutcome({"knn": each, "top1": each}, probabilities=ClassProbabilities(own, TEST))
        for each, own in zip(right, values, strict=True)
    ]
    found.add(condition, outcomes)
    return found


def test_class_table__counts_what_each_holds() -> None:
    labels = np.array([0, 1, 1, 2, 3, 3])
    found = ClassTable.of(Holdings(np.array([5]), (np.array([0, 2, 1]), np.array([3, 4]))), labels, 5)
    assert found.private.tolist() == [[1, 2, 0, 0, 0], [0, 0, 1, 1, 0]] and found.public.tolist() == [0, 0, 0, 1, 0]


def test_effective_classes__k_for_k_classes_in_equal_numbers() -> None:
    entropy = -(0.25 * np.log(0.25) * 2 + 0.5 * np.log(0.5))
    assert table().effective_classes == pytest.approx([2.0, 1.0, np.exp(entropy)])


def test_total_variation__is_the_largest_difference_over_sets_of_classes() -> None:
    shares, whole = COUNTS / COUNTS.sum(axis=1, keepdims=True), COUNTS.sum(axis=0) / COUNTS.sum()
    sets = [[bool(number >> place & 1) for place in range(4)] for number in range(16)]
    largest = [max((own - whole)[chosen].sum() for chosen in sets) for own in shares]
    assert table().total_variation == pytest.approx(largest)
    even = ClassTable(np.full((3, 4), 7), np.zeros(4, dtype=np.int64))
    assert even.total_variation == pytest.approx(np.zeros(3)) and even.effective_classes == pytest.approx(np.full(3, 4))


def test_class_accuracy__held_own_and_others() -> None:
    found = class_accuracy(table(), probes(Condition.TRAINED, RIGHT), TEST, [0, 1, 2])
    # images of classes 0 to 2 are the first five; own: peer 0 the first three, peer 1 two of class 2, peer 2 all five
    assert found["knn"]["held"]["trained"] == pytest.approx(np.mean([3 / 5, 4 / 5, 3 / 5]))
    assert found["knn"]["own"]["trained"] == pytest.approx(np.mean([2 / 3, 1 / 2, 3 / 5]))
    assert found["knn"]["others"]["trained"] == pytest.approx(np.mean([1 / 2, 3 / 3]))  # peer 2 has no others'
    assert set(found["top1"]) == {"held", "own", "others", "ensemble"}
    only = class_accuracy(table(), probes(Condition.TRAINED, RIGHT), TEST, [2])
    assert "others" not in only["knn"] and only["knn"]["own"]["trained"] == pytest.approx(3 / 5)
    assert class_accuracy(table(), probes(Condition.TRAINED, RIGHT), TEST, []) == {}


def test_class_accuracy__ensemble_is_that_of_the_mean_distribution() -> None:
    votes = RIGHT.sum(axis=0)[:5]  # of one-hot distributions the mean is right where most are
    found = class_accuracy(table(), probes(Condition.TRAINED, RIGHT), TEST, [0, 1, 2])
    assert found["top1"]["ensemble"]["trained"] == pytest.approx((votes >= 2).mean())


def test_class_accuracy__gains_are_differences_of_conditions() -> None:
    both = probes(Condition.TRAINED, RIGHT)
    worse = RIGHT & (np.arange(6) > 1)
    other = probes(Condition.PRIVATE_ONLY, worse)
    both.correct |= other.correct
    both.probabilities |= other.probabilities
    own = class_accuracy(table(), both, TEST, [0, 1, 2])["knn"]["own"]
    assert own["over_private_only"] == pytest.approx(own["trained"] - own["private_only"])
    assert own["private_only"] == pytest.approx(np.mean([1 / 3, 1 / 2, 3 / 5]))
    known = names_of("knn", [Condition.TRAINED, Condition.PRIVATE_ONLY])
    assert {f"class_accuracy.knn.own.{key}" for key in own} <= set(known)


def test_accuracy_rows__a_peer_without_images_of_a_scope_has_none() -> None:
    rows = accuracy_rows(table(), probes(Condition.TRAINED, RIGHT), TEST, [Condition.TRAINED])
    last = next(row for row in rows if row["probe"] == "knn" and row["peer"] == 2)
    assert last == {
        "probe": "knn",
        "condition": "trained",
        "peer": 2,
        "held": pytest.approx(3 / 5),
        "own": pytest.approx(3 / 5),
        "others": None,
    }
    assert len(rows) == 6
