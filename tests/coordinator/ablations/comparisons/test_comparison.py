"""Comparisons over seeds: hand-worked claims, both families, words; the rate of false and of true findings."""

import io
import json
import math
from typing import Any

import numpy as np
import pytest

from coordinator.ablations.comparisons.comparison import compare, difference_rows, to_table
from coordinator.ablations.comparisons.estimates import Comparison, Outcome
from coordinator.ablations.comparisons.headline import few_seeds
from coordinator.ablations.tables import print_comparison
from coordinator.measures.gains import Gain
from coordinator.measures.statistics import estimate, holm, paired_difference
from coordinator.measures.verdict import Side, Verdict
from coordinator.records.plain_text import PlainConsole
from coordinator.reports.formatting import quoted
from coordinator.reports.wording import measure_name, number, power_note

KNN, LINEAR = "probes.knn.gain", "probes.linear.gain"
ALONE, UNTRAINED = "probes.knn.over_alone.mean", "probes.knn.over_untrained.mean"
STRANGER, SHUFFLED = "probes.knn.over_stranger.mean", "probes.knn.over_shuffled.mean"
RESET, RESET_OVER = "probes.knn.over_reset.mean", "probes.knn.reset_over_untrained.mean"
DISTANCE = "consensus.relative_distance.last"
UP, NULL, DOWN = [0.05, 0.051, 0.049], [-0.01, 0.0, 0.011], [-0.05, -0.051, -0.049]


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
        (ALONE, ["another function teaches", "no difference", "worse than the control"]),
        (STRANGER, ["the peer's experience teaches", "no difference", "worse than the control"]),
        (SHUFFLED, ["what it says about the image matters", "no difference", "worse than the control"]),
        ("probes.knn.over_supervised.mean", [None, None, None]),  # a mark, not a test
        (UNTRAINED, ["above untrained", "not distinguishable", "below untrained"]),
        (RESET, ["above reset", "not distinguishable", "below reset"]),
        (RESET_OVER, ["above untrained", "not distinguishable", "below untrained"]),
        ("probes.sgd.over_reset.mean", [None, None, None]),
        ("probes.sgd.gain", [None, None, None]),  # for comparison only
        (DISTANCE, [None, None, None]),
    ],
)
def test_compare__verdicts(measure: str, verdicts: list[str | None]):
    up = [0.05, 0.051, 0.049]
    cells = {"up": up, "null": [-0.01, 0.0, 0.01], "down": [-value for value in up]}
    ours = _compare({cell: {KNN: up, measure: values} for cell, values in cells.items()})  # of peers that learned
    assert [ours.verdict(cell, measure) for cell in ours.cells] == verdicts


def test_compare__an_interval_above_0_may_not_survive_the_correction():
    barely = [0.02, 0.03, 0.045]
    raw = estimate(barely)
    assert raw.low is not None and raw.low > 0 and raw.p is not None and raw.p < 0.05 < 2 * raw.p
    assert _compare({"one": {KNN: barely}}).verdict("one", KNN) == "learned"
    ours = _compare({"one": {KNN: barely}, "self": {KNN: [-0.01, 0.0, 0.011]}})
    assert ours.verdict("one", KNN) == "not distinguishable"
    said = (
        "over the 2 tests of a gain and the 1 difference, each a family of its own: 1 interval beside 0 is no finding"
    )
    assert f"{said} after it." in _said(ours, "Intervals")


def test_compare__failed_and_missing_values_are_left_out():
    rows = _rows({"ring": {KNN: [0.1, 0.2, 0.3, 0.4]}, "self": {KNN: [0.0, 0.1, None, math.nan]}})
    rows[1]["status"] = "failed"
    del rows[0][KNN]
    ours = compare(rows, ["ring", "self", "never"], "self", [KNN])
    assert ours.estimates["ring", KNN] == estimate([0.3, 0.4])
    assert ours.estimates["self", KNN] == estimate([0.0, 0.1])
    assert [each.estimate.n for each in ours.differences] == [0, 0] and ours.seeds == (0, 1, 2, 3)
    said = "Not tested, as seeds do not differ or too few have a value: "
    assert _said(ours, "Not tested") == said + "kNN gain of never; kNN gain of ring and never less self."
    assert any("(2/4)" in line for line in _printed(ours))


def test_compare__words_say_what_differs_and_what_was_not_found():
    ours = _compare(
        {
            "ring, peers.count=8": {KNN: [0.05, 0.051, 0.049], LINEAR: [-0.01, 0.0, 0.01], DISTANCE: [0.5, 0.51, 0.49]},
            "self": {KNN: [0.0, 0.0, 0.0], LINEAR: [0.0, 0.0, 0.0], DISTANCE: [0.1, 0.1, 0.1]},
        }
    )
    half = 100 * 4.302653 * 0.01 / math.sqrt(3)
    assert ours.headline == (
        "Shown to have learned by kNN: 'ring, peers.count=8'; by linear: no cell.",
        "Different from self: 'ring, peers.count=8' in kNN gain (by 5.0 points above); "
        "'ring, peers.count=8' in disagreement at the end (by 0.4 above).",
    )
    assert "95% t-intervals over 3 seeds" in _said(ours, "Intervals") and "the 2 tests of a gain" in "".join(ours.words)
    assert _said(ours, "Where no difference") == (
        f"Where no difference was found, intervals reach to {half:.1f} points from 0 (linear gain): "
        "this is no evidence of equality."
    )


def test_headline__of_cells_that_learned_or_degraded():
    null = _compare({"ring": {KNN: NULL, LINEAR: NULL}, "self": {KNN: NULL, LINEAR: NULL}})
    assert null.headline == ("No cell is shown to have learned, by kNN and linear.", "No difference from self found.")
    cells = {f"cell-{letter}": {KNN: DOWN if letter == "b" else UP} for letter in "abcdefghijk"}
    first = _compare(cells).headline[0]
    names = "cell-a, cell-c, cell-d, cell-e, cell-f, cell-g and 4 more"
    assert first == f"Shown to have learned by kNN: {names}. Degraded by kNN: cell-b."


def test_headline__of_a_single_cell_has_the_numbers():
    low, high = (100 * (0.05 + side * 4.302653 * 0.001 / math.sqrt(3)) for side in (-1, 1))
    ours = _compare({"ring": {KNN: UP, LINEAR: [0.01] * 3, DISTANCE: UP}})
    knn = f"learned by kNN (+5.0 points, +{low:.1f} to +{high:.1f})"
    assert ours.headline == (f"ring: {knn}, no verdict by linear (+1.0 points, with all seeds).",)
    assert _compare({"ring": {DISTANCE: UP}}).headline == ()


def test_compare__words_on_reset_networks():
    ours = _compare({"ring": {RESET: UP, RESET_OVER: NULL, UNTRAINED: DOWN}, "self": {RESET: NULL, RESET_OVER: UP}})
    assert _said(ours, "Controls").count("untrained networks: ") == 1 and "reset: the trained" in _said(ours, "Contr")


def test_compare__what_is_always_zero_is_no_test():
    """A cell is not tested against itself, nor the bytes of two cells that send as many."""
    sent = {"bytes_exchanged": [1024, 1024, 1024]}
    ours = _compare(
        {"ring": {ALONE: UP, KNN: [0.02, 0.03, 0.045], **sent}, "self": {ALONE: [0.0] * 3, KNN: UP, **sent}}
    )
    tested = [("ring", ALONE), ("ring", KNN), ("self", KNN)]
    assert ours.p_holm["self", ALONE] == 1.0 and ours.num_claims == 3
    assert [ours.p_holm[key] for key in tested] == holm([ours.estimates[key].p or 0.0 for key in tested])
    gain, sent_too = ours.differences
    assert (gain.p_holm, sent_too.p_holm, ours.num_differences) == (gain.estimate.p, 1.0, 1)
    assert any(line.split() == ["ring", "0", "all", "seeds", "equal", "1.000", "equal"] for line in _printed(ours))
    assert "over the 3 tests of a gain and the 1 difference, each" in _said(ours, "Intervals")


def test_compare__one_hypothesis_is_not_tested_twice():
    """With shared controls the difference of gains is that of gains over another control."""
    measures = {KNN: UP, ALONE: UP, UNTRAINED: UP, "probes.knn.over_alone.low": UP, RESET_OVER: UP, DISTANCE: UP}
    ours = _compare({"ring": measures, "complete": measures, "self": measures})
    assert ours.measures_with_differences == (KNN, RESET_OVER, DISTANCE)
    assert {each.measure for each in ours.differences} == {*ours.measures_with_differences} and len(
        ours.differences
    ) == 6
    assert not _compare({"ring": {ALONE: UP}, "self": {ALONE: NULL}}).differences


def test_compare__all_controls_at_once():
    both, one = {KNN: UP, ALONE: UP, LINEAR: UP}, {KNN: UP, ALONE: NULL, LINEAR: UP}
    ours = _compare({"ring": both, "line": one, "self": {KNN: NULL, ALONE: [0.0] * 3, LINEAR: UP}})
    assert [ours.beats_all(cell, "knn") for cell in ours.cells] == [True, False, False]
    assert ours.beats_all("ring", "linear") is None  # compared with no control run
    assert _beating(ours) == ["ring beats calibrated networks and peers alone by kNN."]
    ours = _compare({"ring": one, "self": {KNN: NULL, ALONE: [0.0] * 3, LINEAR: UP}})
    assert _beating(ours) == ["No cell beats all controls that were run by any probe."]
    assert not _beating(_compare({"ring": {KNN: UP}}))
    above = {KNN: UP, ALONE: UP, SHUFFLED: UP, STRANGER: UP}
    assert _beating(_compare({"ring": above})) == [
        "ring beats calibrated networks, peers alone, shuffled teachers and strangers by kNN."
    ]
    for measure in above:  # each of them is needed
        ours = _compare({"ring": {**above, measure: NULL}})
        assert _beating(ours) == ["ring does not beat all controls that were run by any probe."]
    others = {"single_teacher": NULL, "truthful": DOWN, "supervised": DOWN, "pooled": DOWN}
    measures = above | {f"probes.knn.over_{control}.mean": values for control, values in others.items()}
    assert _compare({"ring": measures}).beats_all("ring", "knn")  # none of them is a control of the exchange
    for control in ("irrelevant", "private_only"):
        ours = _compare({"ring": {**above, f"probes.knn.over_{control}.mean": NULL}})
        assert ours.beats_all("ring", "knn") is False


@pytest.mark.parametrize(
    ("control", "above", "below"),
    [
        ("irrelevant", "experience of these images teaches", "worse than the control"),
        ("private_only", "the exchange adds to private data", "worse than the control"),
        ("truthful", "above truthful peers", "honest gain lost"),
    ],
)
def test_compare__new_controls_are_in_the_family(control: str, above: str, below: str):
    name = f"probes.knn.over_{control}.mean"
    ours = _compare({"up": {KNN: UP, name: UP}, "down": {KNN: UP, name: DOWN}, "same": {KNN: UP, name: NULL}})
    assert [ours.verdict(cell, name) for cell in ours.cells] == [above, below, "no difference"]
    assert len(ours.p_holm) == 6


def test_compare__the_gap_to_pooled_training_is_not_tested():
    name = "probes.knn.over_pooled.mean"
    ours = _compare({"ring": {KNN: UP, name: DOWN}})
    assert ours.verdict("ring", name) is None and len(ours.p_holm) == 1
    assert Gain.OVER_POOLED.conclude(Side.BELOW, Verdict.LEARNED) == "short of pooled training"


def _beating(comparison: Comparison) -> list[str]:
    assert not any(" beat" in line for line in comparison.words)
    return [line for line in comparison.headline if " beat" in line]


def test_compare__an_idle_control_gives_no_verdict():
    """Idle in one seed of one cell: that cell has no verdict from it, and its gain is not in the family."""
    above = {KNN: UP, ALONE: UP, STRANGER: UP}
    rows = _rows({"never": above, "ring": above})
    rows[1]["flags"], rows[1]["controls.alone.void"] = "alone-idle", "idle"
    rows[2]["controls.stranger.void"], rows[2][STRANGER] = "diverged", None
    ours = compare(rows, ["never", "ring"], "ring", list(above))
    assert [ours.verdict("never", measure) for measure in above] == ["learned", "no verdict", "no verdict"]
    assert ours.verdict("ring", ALONE) == "another function teaches"
    assert ours.num_claims == 4 and ("never", ALONE) not in ours.p_holm
    assert ours.p_holm["never", KNN] == pytest.approx(4 * (ours.estimates["never", KNN].p or 0.0))
    assert ours.controls("never", "knn") == (Gain.OVER_CALIBRATED,) and ours.beats_all("never", "knn") is None
    assert _beating(ours) == ["ring beats calibrated networks, peers alone and strangers by kNN."]
    said = "Not tested, as the control was idle or diverged in some seed: "
    assert _said(ours, "Not tested") == f"{said}kNN over alone of never; kNN over stranger of never."
    assert _said(ours, "Flags: ").startswith("Flags: alone-idle: the first gradient of peers alone was rounding, so ")
    assert any(line.endswith("no verdict: was idle in 1 of 3 seeds") for line in _printed(ours, width=120))
    (entry,) = (each for each in to_table(ours)["estimates"] if (each["cell"], each["measure"]) == ("never", ALONE))
    assert (entry["verdict"], entry["no_verdict_because"]) == ("no verdict", "was idle in 1 of 3 seeds")


def test_compare__an_exchange_that_hurts_less_does_not_help():
    ours = _compare({"ring": {KNN: DOWN, ALONE: UP}, "self": {KNN: NULL, ALONE: [0.0] * 3}})
    assert (ours.verdict("ring", KNN), ours.verdict("ring", ALONE)) == ("degraded", "less harm than the control")
    assert not any("teaches" in line for line in (*ours.headline, *ours.words))
    for measures in ({KNN: NULL, ALONE: UP}, {LINEAR: UP, ALONE: UP}):  # or another probe shows it
        ours = _compare({"ring": measures})
        assert ours.verdict("ring", ALONE) == "above the control, but not shown to have learned"


def test_compare__flags_are_counted_and_said():
    rows = _rows({"1e-08": {KNN: UP}, "ring": {KNN: NULL}})
    for row, flags in zip(
        rows, ("artefact", "collapsed, artefact", "artefact collapsed", "", None, "new"), strict=True
    ):
        row["flags"] = flags
    rows[-1]["status"] = "failed"
    ours = compare(rows, ["1e-08", "ring"], "ring", [KNN])
    assert ours.flags == {"1e-08": {"artefact": 3, "collapsed": 2}, "ring": {}}
    said = _said(ours, "Flags: ")  # their meaning; the table counts them
    meanings = (
        "the outputs or features lost most of what told images apart; artefact: a gain over untrained that is none"
    )
    assert said == f"Flags: collapsed: {meanings} over calibrated networks."
    assert not any("1e-08" in line for line in ours.words)
    table = to_table(ours)
    assert (table["flags"], table["finished"]) == (ours.flags, {"1e-08": 3, "ring": 2})
    one = compare(rows[:1], ["1e-08"], "1e-08", [KNN])
    assert one.headline == (few_seeds((0,)),) and one.words[0].startswith("Flags: artefact: a gain over")
    rows[0]["artefacts"], rows[1]["artefacts"] = "knn, sgd", "sgd"
    named = compare(rows, ["1e-08", "ring"], "ring", [KNN]).flags["1e-08"]
    assert named == {"artefact (kNN)": 1, "artefact (SGD)": 2, "artefact": 1, "collapsed": 2}
    lines = _printed(ours)
    assert "flags (runs)" in lines and [line.split() for line in lines if "3/3" in line] == [
        ["1e-08", "artefact", "3/3"]
    ]


def test_power_note__few_seeds_and_many_tests():
    # t with 2 degrees of freedom has the quantile (2 q - 1) sqrt(2 / (4 q (1 - q))); here q = 1 - 0.05 / 18
    q = 1 - 0.05 / 18
    least = (2 * q - 1) * math.sqrt(2 / (4 * q * (1 - q))) / math.sqrt(3)
    assert power_note(9, 3).startswith(
        f"With 9 tests and 3 seeds a gain is told from 0 only if its mean is {least:.1f} standard deviations"
    )
    assert [power_note(*each) for each in ((1, 3), (9, 5), (0, 3), (9, 1))] == [""] * 4  # 2.5 and 2.4; nothing to test
    ours = _compare(
        {"ring": {KNN: UP, DISTANCE: UP}, "line": {KNN: UP, DISTANCE: UP}, "self": {KNN: UP, DISTANCE: NULL}}
    )
    assert power_note(3, 3) in ours.words and power_note(2, 3, "difference") in ours.words  # gains: all equal


@pytest.mark.parametrize(
    ("cell", "said"),
    [("ring", "ring"), ("one-peer", "one-peer"), ("1e-08", "'1e-08'"), ("a, b", "'a, b'"), ("dim=4", "'dim=4'")],
)
def test_quoted__all_but_words(cell: str, said: str):
    assert quoted(cell) == said


def test_compare__one_seed_has_no_interval_and_says_why():
    ours = _compare({"ring": {KNN: [0.05]}, "self": {KNN: [0.0]}})
    assert (ours.headline, ours.words) == ((few_seeds((0,)),), ())
    assert "one seed (0)" in ours.headline[0] and "[0, 1, 2]" in ours.headline[0]
    assert ours.p_holm == {} and ours.verdict("ring", KNN) is None
    (each,) = ours.differences
    assert (each.estimate.mean, each.estimate.low, each.p_holm, each.outcome) == (0.05, None, None, Outcome.UNTESTED)


def test_to_table__is_strict_json():
    ours = _compare({"ring": {KNN: [0.05, None, 0.06]}, "self": {KNN: [None, None, None]}})
    table = json.loads(json.dumps(to_table(ours), allow_nan=False))
    ring, alone = table["estimates"]
    assert (ring["cell"], ring["mean"], ring["n"], ring["verdict"]) == ("ring", 0.055, 2, "not distinguishable")
    assert ring["p"] == ring["p_holm"] == ours.p_holm["ring", KNN]
    assert (alone["mean"], alone["low"], alone["p_holm"], alone["verdict"]) == (None, None, None, "")
    assert table["differences"] == difference_rows(ours)
    assert list(table["differences"][0]) == [
        *("cell", "reference", "measure", "mean", "low", "high", "n", "p", "p_holm")
    ]
    assert (table["headline"], table["words"]) == (list(ours.headline), list(ours.words))


def _printed(comparison: Comparison, width: int = 80) -> list[str]:
    out = io.StringIO()
    print_comparison(comparison, PlainConsole(file=out, width=width, force_terminal=True, color_system=None))
    return [line.rstrip() for line in out.getvalue().splitlines()]


@pytest.mark.parametrize(
    ("measure", "name"),
    [
        (KNN, "kNN gain"),
        (ALONE, "kNN over alone"),
        ("probes.sgd.gain", "SGD gain"),
        (RESET, "kNN trained over reset"),
        (RESET_OVER, "kNN reset over untrained"),
        (DISTANCE, "disagreement at the end"),
        ("bytes_exchanged", "bytes exchanged"),
        ("topology.spectral_gap", "spectral gap"),
    ],
)
def test_measure_name__for_people(measure: str, name: str):
    assert measure_name(measure) == name


def test_number__points_or_digits():
    assert [number(0.0123, KNN), number(-0.1, ALONE), number(0.0, KNN)] == ["+1.2", "-10.0", "+0.0"]
    assert [number(0.0001, KNN), number(-0.0002, KNN)] == ["+0.01", "-0.02"]  # what is not nothing is not shown as 0
    assert [number(v, DISTANCE) for v in (0.12345, -2.0, 123456.0, 1.5e9)] == ["0.123", "-2", "123,456", "1.5e+09"]


def test_compare__absence_of_evidence_tells_how_far_the_interval_reaches():
    ours = _compare({"A": {KNN: [0.05, 0.01, 0.11]}, "ref": {KNN: [0.0, 0.0, 0.01]}})
    high = ours.differences[0].estimate.high
    assert high is not None and f"reach to {100 * high:.1f} points from 0" in _said(ours, "Where no difference")


def test_compare__no_correction_is_named_where_nothing_is_tested():
    ours = _compare({"ring": {KNN: [None] * 3}, "self": {KNN: [None] * 3}})
    assert not any("Holm" in line for line in ours.words) and any("nothing to test" in line for line in ours.words)


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
    return any(each.outcome in (Outcome.ABOVE, Outcome.BELOW) for each in comparison.differences)


def test_compare__two_cells_of_one_name_differ_in_five_percent():
    rng = np.random.default_rng(0)
    found = sum(_found(_null(rng, 2, [DISTANCE])) for _ in range(1000))
    assert 35 <= found <= 65  # 50 expected, standard deviation 7


@pytest.mark.slow
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


def test_compare__both_controls_and_a_cell_that_is_its_own_control_claim_no_more():
    rng = np.random.default_rng(4)
    claimed = found = 0
    for _ in range(400):
        gains = rng.normal(size=(3, 5))
        cells = {f"cell {i}": {KNN: gains[i].tolist(), ALONE: (gains[i] - gains[2]).tolist()} for i in range(3)}
        ours = _compare(cells)
        claimed += _claimed(ours)
        found += _found(ours)
        assert ours.p_holm["cell 2", ALONE] == 1.0 and ours.num_claims == 5
    assert max(claimed, found) <= 30  # 20 expected at most, standard deviation 4.4


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
    assert ours.verdict("ring", KNN) is None
    said = "Not tested, as seeds do not differ or too few have a value: kNN gain of ring; kNN gain of ring less self; "
    assert _said(ours, "Not tested") == f"{said}disagreement at the end of ring less self."
    assert not _found(ours)


def test_verdict__of_a_group_rests_on_that_groups_own_gain_over_calibrated() -> None:
    """Chroma learned and luminance did not: only chroma's gain over strangers shows that experience teaches."""
    gains = {f"groups.{group}.{name}" for group in ("chroma", "luminance") for name in (KNN, STRANGER)}
    values = {name: UP for name in sorted(gains)} | {f"groups.luminance.{KNN}": NULL, KNN: NULL, STRANGER: UP}
    found = _compare({"run": values})
    assert found.verdict("run", f"groups.chroma.{STRANGER}") is Verdict.EXPERIENCE_TEACHES
    assert found.verdict("run", f"groups.luminance.{STRANGER}") is Verdict.ABOVE_CONTROL
    assert found.verdict("run", STRANGER) is Verdict.ABOVE_CONTROL
    assert (found.beats_all("run", "knn", "chroma"), found.beats_all("run", "knn")) == (True, False)
    assert "by kNN (chroma)" in " ".join(found.headline)


def test_compare__cells_with_other_liars_are_not_compared_with_the_reference() -> None:
    values = {"krum": {KNN: UP}, "lied to": {KNN: DOWN}, "mean": {KNN: NULL}}
    whole, ours = _compare(values), compare(_rows(values), list(values), "mean", [KNN], apart=["lied to"])
    assert {each.cell for each in whole.differences} == {"krum", "lied to"} and whole.apart == ()
    assert [each.cell for each in ours.differences] == ["krum"] and ours.estimates == whole.estimates
    assert any(line.startswith("Not compared with mean") and "lied to" in line for line in ours.words)
    none = compare(_rows(values), list(values), "mean", [KNN], apart=["lied to", "krum"])
    assert none.differences == () and not any("ifference from" in line for line in none.headline)
