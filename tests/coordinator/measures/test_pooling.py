"""What became of messages: sums, and the round from which on lies can be told."""

import pytest

from coordinator.measures.pooling import of_round, of_run, round_of_auc
from peers.exchange.assignment import Heard


def test_of_round__shares_are_of_all_messages_and_the_auc_is_a_mean_over_students() -> None:
    heard = [Heard(4, 1, 0, 0), None, Heard(6, 1, 2, 1, 0.5), Heard(0, 0, 2, 2, 1.0)]
    usable = {"lies_unusable": 0}
    assert of_round(heard) == {"honest_dropped": 2 / 10, "lies_dropped": 3 / 4, "lie_auc": 0.75, **usable}
    nothing_told = {"lies_dropped": None, "lie_auc": None, "lies_unusable": None}
    assert of_round([Heard(3, 0)]) == {"honest_dropped": 0.0, **nothing_told}
    own_rule = [Heard(3, None, 1, None, 0.5), Heard(2, None, 1, None, 1.0)]
    assert of_round(own_rule) == {"honest_dropped": None, "lies_dropped": None, "lie_auc": 0.75, **usable}
    of_no_use = of_round([Heard(4, 1, unusable=2), Heard(unusable=1)])
    assert of_no_use == {"honest_dropped": 0.25, **nothing_told, "lies_unusable": 3}
    assert of_round([None, None]) == of_round([]) == {}


@pytest.mark.parametrize(
    ("aucs", "expected"),
    [
        ([1.0] * 12, 1),
        ([0.5] * 3 + [1.0] * 9, 4),  # with a window of 4: rounds 3 to 6 have a mean of 0.875, but round 3 itself not
        ([0.5] * 3 + [1.0] * 8 + [0.0], None),
        ([1.0] * 3, None),
        ([0.8] * 12, None),  # the level itself is not above it
        ([], None),
    ],
)
def test_round_of_auc__of_windows_that_stay_above(aucs: list[float], expected: int | None) -> None:
    rounds = list(range(1, len(aucs) + 1))
    assert round_of_auc(rounds, aucs, window=4, level=0.8) == expected


def test_round_of_auc__equals_its_definition() -> None:
    aucs = [((7 * place) % 11) / 10 if place < 40 else 0.95 for place in range(60)]
    rounds = [3 * place for place in range(60)]
    candidates = [
        rounds[first]
        for first in range(51)
        if aucs[first] > 0.9 and all(sum(aucs[start : start + 10]) / 10 > 0.9 for start in range(first, 51))
    ]
    assert round_of_auc(rounds, aucs) == candidates[0]


def test_of_run__means_over_rounds_and_the_last_window() -> None:
    rows = [{"round": 0, "loss": None}]
    rows += [{"round": at, "honest_dropped": 0.5, "lies_dropped": None, "lie_auc": at / 20} for at in range(1, 21)]
    rows[5]["lies_dropped"] = 0.25
    rows[6]["lies_unusable"], rows[7]["lies_unusable"] = 3, 4
    found = of_run(rows)
    assert found == {
        "honest_dropped": 0.5,
        "lies_dropped": 0.25,
        "lies_unusable": 7,
        "lie_auc": pytest.approx(0.775),
        "round_of_auc": None,
    } | {"rounds_with_auc": 20}
    assert of_run([{"round": 1, "loss": 0.5}]) == {}
