"""Whose classes accuracies are on: said where the verdicts are on classes that nobody holds; equal rows once."""

import copy
from typing import Any

from coordinator.reports.holdings import accuracy_table, on_held_classes, scopes_meant

HELD = {"calibrated": 0.1, "trained": 0.75, "private_only": 0.6, "gain": 0.65, "over_private_only": 0.15}
TOGETHER = {"trained": 0.7, "private_only": 0.8, "over_private_only": -0.1}
SUMMARY: dict[str, Any] = {
    "holdings": {"classes": 10, "classes_held": 6},
    "class_accuracy": {"top1": {"held": HELD, "own": dict(HELD), "ensemble": TOGETHER}},
    "data": {"shape": [1, 8, 8]},
}


def unequal() -> dict[str, Any]:
    found = copy.deepcopy(SUMMARY)
    found["class_accuracy"]["top1"] |= {"own": {"trained": 0.9, "gain": 0.7}, "others": {"trained": 0.2, "gain": 0.1}}
    return found


def test_on_held_classes__peers_and_ensemble_beside_verdicts_on_all_classes() -> None:
    first, peers, ensemble = on_held_classes(SUMMARY)
    assert "all 10 classes" in first and "only 6 of them" in first
    assert peers == "top-1, all held classes: 75.0%, +65.0 over calibrated, +15.0 over private-only"
    assert ensemble == "top-1, all held classes, ensemble: 70.0%, -10.0 over private-only"
    assert [line.partition(":")[0] for line in on_held_classes(unequal())[2:4]] == [
        "top-1, own classes",
        "top-1, others' classes",
    ]


def test_on_held_classes__nothing_where_every_class_is_held() -> None:
    assert on_held_classes({}) == []
    assert on_held_classes({**SUMMARY, "holdings": {"classes": 6, "classes_held": 6}}) == []
    assert on_held_classes({**SUMMARY, "holdings": {"public": 3}}) == []  # of a version that did not count them


def test_accuracy_table__own_classes_once_where_all_hold_the_same() -> None:
    assert [row[0] for row in accuracy_table(SUMMARY)[1]] == [
        "top-1, all held classes",
        "top-1, all held classes, ensemble",
    ]
    assert len(accuracy_table(unequal())[1]) == 4
    assert "nobody lacks a held class" in scopes_meant(SUMMARY) and "own classes" not in scopes_meant(SUMMARY)
    assert "nobody lacks" not in scopes_meant(unequal()) and "own classes" in scopes_meant(unequal())
