"""Comparisons over seeds: hand-worked claims, both families, words; the rate of false and of true findings."""

import gc
import io
import json
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from coordinator.comparison import Comparison, compare, few_seeds, rows_of_differences, to_table
from coordinator.comparison_table import print_comparison
from coordinator.statistics import estimate, holm, paired_difference
from coordinator.wording import measure_name, number

KNN, LINEAR = "probes.knn.gain", "probes.linear.gain"
ALONE, UNTRAINED = "probes.knn.over_alone.mean", "probes.knn.over_untrained.mean"
DISTANCE = "consensus.relative_distance.last"


@pytest.fixture(scope="module", autouse=True)
def _frozen_heap() -> Iterator[None]:
    """statsmodels collects garbage at every correction, which takes 0.4 s beside an imported torch."""
    holm([0.1])  # imports what it needs
    gc.freeze()
    yield
    gc.unfreeze()


def _rows(values: dict[str, dict[str, list[Any]]]) -> list[dict[str, Any]]:
    """The table of an ablation from cell -> measure -> value per seed; seeds are 0, 1, ..."""
    return [
        {"cell": cell, "seed": seed, "status": "finished", **{name: each[seed] for name, each in measures.items()}}
        for cell, measures in values.items()
        for seed in range(len(next(iter(measures.values()))))
    ]


def _compare(values: dict[str, dict[str, list[Any]]], reference: str = "") -> Comparison:
    cells = list(values)
    return compare(_rows(values), cells, reference or cells[-1], list(values[cells[0]]))


def _said(comparison: Comparison, start: str) -> str:
    (line,) = (line for line in comparison.words if line.startswith(start))
    return line


def test_compare__estimates_claims_and_differences():
    ring, alone = {KNN: [0.03, 0.034, 0.032], DISTANCE: [0.5, 0.7, 0.6]}, {KNN: [0.01, -0.01, 0.0], DISTANCE: [0.1] * 3}
    ours = _compare({"ring": ring, "self": alone})
    assert (ours.cells, ours.seeds, ours.reference, ours.measures) == (
        ("ring", "self"),
        (0, 1, 2),
        "self",
        (KNN, DISTANCE),
    )
    assert ours.estimates["ring", DISTANCE] == estimate(ring[DISTANCE])
    p_values = [estimate(each[KNN]).p for each in (ring, alone)]
    assert list(ours.p_holm) == [("ring", KNN), ("self", KNN)]  # a distance is no claim
    assert list(ours.p_holm.values()) == holm([p for p in p_values if p is not None])
    first, second = ours.differences
    assert (first.cell, first.measure, second.measure) == ("ring", KNN, DISTANCE)
    assert (first.estimate, second.estimate) == tuple(paired_difference(ring[m], alone[m]) for m in (KNN, DISTANCE))
    assert [first.p_holm, second.p_holm] == holm([first.estimate.p or 0.0, second.estimate.p or 0.0])


@pytest.mark.parametrize(
    ("measure", "verdicts"),
    [
        (KNN, ["learned", "not distinguishable", "degraded"]),
        (ALONE, ["exchange helps", "no effect found", "hurts"]),
        (UNTRAINED, ["above untrained", "not distinguishable", "below untrained"]),
        ("probes.sgd.gain", ["", "", ""]),  # for comparison only
        (DISTANCE, ["", "", ""]),
    ],
)
def test_compare__verdicts(measure: str, verdicts: list[str]):
    up = [0.05, 0.051, 0.049]
    ours = _compare({"up": {measure: up}, "null": {measure: [-0.01, 0.0, 0.01]}, "down": {measure: [-v for v in up]}})
    assert [ours.verdict(cell, measure) for cell in ours.cells] == verdicts


def test_compare__an_interval_above_0_may_not_survive_the_correction():
    barely = [0.02, 0.03, 0.045]
    raw = estimate(barely)
    assert raw.low is not None and raw.low > 0 and raw.p is not None and raw.p < 0.05 < 2 * raw.p
    assert _compare({"one": {KNN: barely}}).verdict("one", KNN) == "learned"
    ours = _compare({"one": {KNN: barely}, "self": {KNN: [-0.01, 0.0, 0.011]}})
    assert ours.verdict("one", KNN) == "not distinguishable"
    assert "interval above 0, but not after Holm's correction over 2 tests" in _said(ours, "one against calibrated")


def test_compare__failed_and_missing_values_are_left_out():
    rows = _rows({"ring": {KNN: [0.1, 0.2, 0.3, 0.4]}, "self": {KNN: [0.0, 0.1, None, math.nan]}})
    rows[1]["status"] = "failed"
    del rows[0][KNN]
    ours = compare(rows, ["ring", "self", "never"], "self", [KNN])
    assert ours.estimates["ring", KNN] == estimate([0.3, 0.4])
    assert ours.estimates["self", KNN] == estimate([0.0, 0.1])
    assert [each.estimate.n for each in ours.differences] == [0, 0] and ours.seeds == (0, 1, 2, 3)
    assert _said(ours, "never against") == "never against calibrated networks: by kNN no verdict, no seed has a value."
    assert _said(ours, "kNN gain: ring") == "kNN gain: ring cannot be compared with self, no seed has both values."
    assert "2 of 4 seeds" in _said(ours, "ring against")


def test_compare__words_say_what_differs_and_what_was_not_found():
    ours = _compare(
        {
            "ring, peers.count=8": {KNN: [0.05, 0.051, 0.049], LINEAR: [-0.01, 0.0, 0.01], DISTANCE: [0.5, 0.51, 0.49]},
            "self": {KNN: [0.0, 0.0, 0.0], LINEAR: [0.0, 0.0, 0.0], DISTANCE: [0.1, 0.1, 0.1]},
        }
    )
    half = 100 * 4.302653 * 0.01 / math.sqrt(3)
    assert "95% t-intervals over 3 seeds" in ours.words[0] and "all 4 tests of a gain" in ours.words[0]
    claims = _said(ours, "'ring, peers.count=8' against calibrated networks")
    assert "by kNN learned, +5.0 points (+4.8 to +5.2, p < 0.001)" in claims
    assert f"by linear not distinguishable, +0.0 points (-{half:.1f} to +{half:.1f}, p = 1.000)" in claims
    assert claims.endswith("; the probes do not agree.")
    assert "by kNN not distinguishable, +0.0 points (all 3 seeds equal, p = 1.000)" in _said(ours, "self against")
    assert _said(ours, "kNN gain").startswith("kNN gain: 'ring, peers.count=8' is 5.0 points above self (+4.8 to +5.2")
    assert "is 0.4 above self (0.375 to 0.425, p < 0.001)." in _said(ours, "relative distance at the end")
    not_found = _said(ours, "linear gain")
    assert "no difference from self found for 'ring, peers.count=8'" in not_found
    assert f"the widest interval is ±{half:.1f} points. That is no evidence that they are equal." in not_found


def test_compare__words_on_the_exchange():
    ours = _compare({"ring": {ALONE: [0.05, 0.051, 0.049]}, "self": {ALONE: [0.0, 0.0, 0.0]}})
    assert _said(ours, "ring against peers alone").startswith(
        "ring against peers alone: by kNN the exchange helps, +5.0"
    )
    assert "by kNN no effect of the exchange found" in _said(ours, "self against peers alone")


def test_compare__one_seed_has_no_interval_and_says_why():
    ours = _compare({"ring": {KNN: [0.05]}, "self": {KNN: [0.0]}})
    assert ours.words == (few_seeds((0,)),) and "one seed (0)" in ours.words[0] and "[0, 1, 2]" in ours.words[0]
    assert ours.p_holm == {} and ours.verdict("ring", KNN) == ""
    (each,) = ours.differences
    assert (each.estimate.mean, each.estimate.low, each.p_holm, each.found) == (0.05, None, None, False)


def test_to_table__is_strict_json():
    ours = _compare({"ring": {KNN: [0.05, None, 0.06]}, "self": {KNN: [None, None, None]}})
    table = json.loads(json.dumps(to_table(ours), allow_nan=False))
    ring, alone = table["estimates"]
    assert (ring["cell"], ring["mean"], ring["n"], ring["verdict"]) == ("ring", 0.055, 2, "not distinguishable")
    assert ring["p"] == ring["p_holm"] == ours.p_holm["ring", KNN]
    assert (alone["mean"], alone["low"], alone["p_holm"], alone["verdict"]) == (None, None, None, "")
    assert table["differences"] == rows_of_differences(ours)
    assert list(table["differences"][0]) == [
        *("cell", "reference", "measure", "mean", "low", "high", "n", "p", "p_holm")
    ]
    assert table["words"] == list(ours.words)


def test_print_comparison__tables_and_words():
    ring, odd = {KNN: [0.05, 0.051, 0.049], DISTANCE: [0.5, 0.51, 0.49]}, {KNN: [0.0] * 3, DISTANCE: [0.1, None, 0.12]}
    ours = _compare({"ring": ring, "frozen=[0]": odd})
    out = io.StringIO()
    print_comparison(ours, Console(file=out, width=80))
    lines = out.getvalue().splitlines()
    rows = [line.split() for line in lines]
    assert max(map(len, lines)) <= 80
    assert ["ring", "+5.0", "+4.8", "to", "+5.2", "<", "0.001", "learned"] in rows
    assert ["frozen=[0]", "*", "+0.0", "all", "seeds", "equal", "1.000", "not", "distinguishable"] in rows
    assert any(row[:4] == ["frozen=[0]", "*", "0.11", "(2/3)"] for row in rows)  # the reference, a seed missing
    assert any(row[0] == "ring" and row[-1] == "above" for row in rows if row)
    assert " ".join(out.getvalue().split()).endswith(" ".join(ours.words))


@pytest.mark.parametrize(
    ("measure", "name"),
    [
        (KNN, "kNN gain"),
        (ALONE, "kNN over alone"),
        ("probes.sgd.gain", "SGD gain"),
        (DISTANCE, "relative distance at the end"),
        ("bytes_exchanged", "bytes exchanged"),
        ("topology.spectral_gap", "spectral gap"),
    ],
)
def test_measure_name__for_people(measure: str, name: str):
    assert measure_name(measure) == name


def test_number__points_or_digits():
    assert [number(0.0123, KNN), number(-0.1, ALONE)] == ["+1.2", "-10.0"]
    assert [number(v, DISTANCE) for v in (0.12345, -2.0, 123456.0)] == ["0.123", "-2", "123,456"]


def _null(rng: np.random.Generator, num_cells: int, measures: list[str], effect: float = 0.0) -> Comparison:
    """Cells that differ only by name: the same distribution around one effect of each seed; 5 seeds.

    `effect`, in standard deviations, is added to the first cell.
    """
    seeds = {name: rng.normal(0.0, 3.0, size=5) if name == DISTANCE else np.zeros(5) for name in measures}
    values = {
        f"cell {i}": {name: list(map(float, rng.normal(size=5) + seeds[name] + effect * (i == 0))) for name in measures}
        for i in range(num_cells)
    }
    return _compare(values)


def _claimed(comparison: Comparison) -> bool:
    return any(p < 0.05 for p in comparison.p_holm.values())


def _found(comparison: Comparison) -> bool:
    return any(each.found for each in comparison.differences)


def test_compare__two_cells_of_one_name_differ_in_five_percent():
    rng = np.random.default_rng(0)
    found = sum(_found(_null(rng, 2, [DISTANCE])) for _ in range(1000))
    assert 35 <= found <= 65  # 50 expected, standard deviation 7


def test_compare__more_cells_and_measures_differ_no_more_often():
    rng = np.random.default_rng(1)
    found = claimed = uncorrected = 0
    for _ in range(1000):
        ours = _null(rng, 3, [KNN, DISTANCE])
        found += _found(ours)
        claimed += _claimed(ours)
        uncorrected += any((each.estimate.p or 0.0) < 0.05 for each in ours.differences)
    assert max(found, claimed) <= 65
    assert uncorrected > 120  # what Holm's correction is for: 4 tests at 5% each


def test_compare__nothing_learned_is_claimed_in_five_percent():
    rng = np.random.default_rng(2)
    claimed = sum(_claimed(_null(rng, 1, [KNN])) for _ in range(1000))
    assert 35 <= claimed <= 65


def test_compare__finds_an_effect_of_three_standard_deviations():
    rng = np.random.default_rng(3)
    learned = [_null(rng, 1, [KNN], effect=3.0).verdict("cell 0", KNN) == "learned" for _ in range(200)]
    apart = [_found(_null(rng, 2, [DISTANCE], effect=3.0 * math.sqrt(2))) for _ in range(200)]  # two cells' noise
    assert min(sum(learned), sum(apart)) >= 194


def test_compare__seeds_that_all_agree_are_no_test():
    """Accuracies on few images agree by chance: without a spread nothing is claimed, whatever the mean."""
    ours = _compare({"ring": {KNN: [0.05] * 3, DISTANCE: [0.4] * 3}, "self": {KNN: [0.0] * 3, DISTANCE: [0.1] * 3}})
    assert ours.verdict("ring", KNN) == ""
    assert (
        _said(ours, "ring against")
        == "ring against calibrated networks: by kNN no verdict, +5.0 points in all 3 seeds."
    )
    assert not any(each.found for each in ours.differences)
    expected = "is 0.3 above self in each of 3 seeds, which leaves no spread to test with."
    assert _said(ours, "relative distance").endswith(expected)
