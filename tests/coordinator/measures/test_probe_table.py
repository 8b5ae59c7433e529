"""The summary of the probes: each student's own gain, and the controls that were run."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import special

from coordinator.measures.gains import Condition
from coordinator.measures.probe_table import ProbeTable
from peers.probing.measuring import ClassProbabilities, ProbeOutcome


def outcomes(*rights: int) -> list[ProbeOutcome]:
    """Peers that get so many of ten test images right."""
    return [ProbeOutcome({"knn": np.arange(10) < right}, 0.0) for right in rights]


def table() -> ProbeTable:
    probes = ProbeTable(("knn",))
    probes.add(Condition.UNTRAINED, outcomes(5, 5, 5))
    probes.add(Condition.CALIBRATED, outcomes(5, 6, 4))
    probes.add(Condition.TRAINED, outcomes(7, 6, 9))
    return probes


def test_summary__gains_of_the_students() -> None:
    row = table().summary([0, 2])["knn"]
    assert row["peers"] == {"peer": [0, 2], "gain": pytest.approx([0.2, 0.5])}
    assert row["gain"] == pytest.approx(np.mean(row["peers"]["gain"]))
    assert not {"reset", "alone", "over_reset", "over_alone"} & row.keys()


def test_summary__reset_and_alone_where_they_were_run() -> None:
    probes = table()
    probes.add(Condition.RESET, outcomes(6, 6, 8))
    probes.add(Condition.ALONE, outcomes(8, 6, 5))
    row = probes.summary([0, 2])["knn"]
    assert (row["reset"], row["alone"]) == (pytest.approx(0.7), pytest.approx(0.65))
    assert row["peers"]["over_alone"] == pytest.approx([-0.1, 0.4])
    assert row["over_alone"]["mean"] == pytest.approx(0.15)
    assert row["over_reset"]["mean"] == pytest.approx(0.8 - 0.7)
    assert row["reset_over_untrained"]["mean"] == pytest.approx(0.7 - 0.5)


def labelled(*peers: list[list[float]]) -> list[ProbeOutcome]:
    """Peers with these logits for three images of the classes 0, 1 and 1."""
    probabilities = [
        ClassProbabilities(special.softmax(np.array(logits), axis=1).astype(np.float32), np.array([0, 1, 1]))
        for logits in peers
    ]
    return [ProbeOutcome({"top1": each.correct}, probabilities=each) for each in probabilities]


FIRST, SECOND, OTHER = [[9, 0], [1, 0], [0, 2]], [[0, 1], [0, 4], [2, 0]], [[0, 50], [50, 0], [50, 0]]


def test_summary__the_ensemble_is_the_mean_of_the_students_probabilities() -> None:
    probes = ProbeTable(("top1",))
    probes.add(Condition.CALIBRATED, labelled(OTHER, OTHER, OTHER))
    probes.add(Condition.TRAINED, labelled(FIRST, OTHER, SECOND))
    row = probes.summary([0, 2])["top1"]
    assert (row["calibrated"], row["trained"]) == (0, pytest.approx((2 / 3 + 1 / 3) / 2))
    tie_broken_by_index = 2 / 3  # the third image has 0.5 for each class, so that the first class is chosen
    assert row["ensemble"] == {"calibrated": 0, "trained": pytest.approx(tie_broken_by_index)}
    assert row["gain"] == pytest.approx(0.5) and "verdict" in row


def test_has__top1_is_no_probe_of_pixels() -> None:
    probes = ProbeTable(("knn", "top1"))
    probes.add(Condition.RAW_PIXELS, outcomes(3, 3, 3))
    probes.add(Condition.TRAINED, outcomes(3, 3, 3))
    assert probes.has(Condition.RAW_PIXELS) and not probes.has(Condition.TRAINED)


def test_summary__a_control_run_with_labels_has_top1_beside_a_run_without() -> None:
    probes = table()
    pairs = zip(outcomes(5, 5, 5), labelled(FIRST, SECOND, OTHER), strict=True)
    both = [replace(top1, correct=knn.correct | top1.correct) for knn, top1 in pairs]
    probes.add(Condition.SUPERVISED, both)
    summary = probes.summary([0, 1, 2])
    assert summary["top1"] == {"supervised": pytest.approx(1 / 3), "ensemble": {"supervised": 0}}
    assert summary["knn"]["supervised"] == 0.5 and "over_supervised" in summary["knn"]


def test_from_bytes__restores_the_table() -> None:
    probes = ProbeTable(("top1",))
    for condition, order in ((Condition.CALIBRATED, (OTHER, FIRST)), (Condition.TRAINED, (FIRST, SECOND))):
        probes.add(condition, labelled(*order))
    again = ProbeTable.from_bytes(probes.to_bytes(), ("top1",))
    assert again.summary([0, 1]) == probes.summary([0, 1])
    again.keep((Condition.CALIBRATED,))
    assert again.correct.keys() == {("top1", Condition.CALIBRATED)} and again.probabilities.keys() == {"calibrated"}


def test_summary__intervals_know_how_far_untrained_peers_are_apart() -> None:
    def half_width(untrained: list[ProbeOutcome]) -> float:
        probes = table()
        probes.add(Condition.TRAINED, outcomes(8, 8, 8))  # agree
        probes.add(Condition.UNTRAINED, untrained)
        row = probes.summary([0, 1, 2])["knn"]
        return float(row["interval"][1] - row["gain"])

    assert half_width(outcomes(2, 5, 8)) > half_width(outcomes(4, 5, 6))


@pytest.mark.parametrize("students", [[0, 1, 2], [1]])
def test_summary__without_untrained_peers_the_control_stands_in(students: list[int]) -> None:
    probes = table()
    probes.keep((Condition.CALIBRATED, Condition.TRAINED))
    row = probes.summary(students)["knn"]
    low, high = row["interval"]
    assert np.isfinite([low, high]).all() and low <= row["gain"] <= high
    assert not probes.has(Condition.UNTRAINED) and "over_untrained" not in row


def test_summary__nobody_studied() -> None:
    assert table().summary([]) == {"knn": {}}
