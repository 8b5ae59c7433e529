"""The summary of the probes: each student's own gain, and the controls that were run."""

import numpy as np
import pytest

from coordinator.measures.gains import Condition
from coordinator.measures.probe_table import ProbeTable
from peers.probing.measuring import ProbeOutcome


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
