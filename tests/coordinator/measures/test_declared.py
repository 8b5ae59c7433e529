"""Measures are declared once: a new one is in every place that its declaration names, and nowhere above its cap."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from rich.console import Console

from coordinator import ConfigError, RunConfig, load_config, simulate
from coordinator.ablations.grids.measure_names import known_measures, read_measures
from coordinator.figures import curves
from coordinator.measures import declared
from coordinator.measures.declared import NATS, Agreement, Cost, Measure, Shown
from coordinator.measures.gains import Gain, GainMeasure
from coordinator.measures.measure import Measures, measure
from coordinator.measures.units import Range
from coordinator.measures.verdict import Verdict
from coordinator.records.events import Measured
from coordinator.records.terminal import Live
from coordinator.reports.sentences import in_words
from peers.probing.observing import MAX_PAIRED, Observation, Observations
from topologies import schedule


def observations(count: int) -> Observations:
    """Peers whose outputs all differ."""
    rng = np.random.default_rng(0)
    outputs = rng.normal(size=(count, 5, 3)).astype(np.float32)
    return Observations(
        {peer: Observation(own, np.eye(5), 1.0, 1.0, 1.0, 0.5, False) for peer, own in enumerate(outputs)}
    )


@pytest.fixture
def pairwise(monkeypatch: pytest.MonkeyPatch) -> Measure[float]:
    """A measure of all pairs that is shown everywhere, among the group's."""
    spread = Measure(
        "largest_gap",
        "largest gap",
        NATS,
        lambda seen: float(np.ptp(seen.outputs)),
        cost=Cost.PAIRS,
        agreement=Agreement.LOW,
        shown=Shown.EVERYWHERE,
    )
    others = (each for each in declared.GROUP if each.cost is Cost.PEERS)
    monkeypatch.setattr(declared, "GROUP", (*others, spread))
    monkeypatch.setattr(declared, "SCALARS", (*declared.GROUP, *declared.PEER))
    return spread


def config_of(count: int) -> RunConfig:
    return load_config(
        {
            "run": {"rounds": 2},
            "data": {"kind": "digits"},
            "peers": {"count": count, "model": {"kind": "mlp"}},
            "topology": {"kind": "ring"},
        }
    )


@pytest.mark.parametrize(("count", "there"), [(2, True), (MAX_PAIRED, True), (MAX_PAIRED + 1, False)])
def test_measure__of_pairs_is_taken_up_to_the_cap(pairwise: Measure[float], count: int, there: bool) -> None:
    seen = observations(count)
    scalars = measure(seen, schedule.self_taught(count)(0), 1.0)[0].scalars
    assert (pairwise.name in scalars) == there and list(scalars) == declared.scalar_names(count)
    assert not there or scalars[pairwise.name] == float(np.ptp([peer.outputs for peer in seen.peers.values()]))


def test_measure__one_that_is_absent_is_no_name_of_an_ablation_either(pairwise: Measure[float]) -> None:
    name, small, large = f"consensus.{pairwise.name}.last", config_of(4), config_of(MAX_PAIRED + 1)
    assert name in known_measures(small) and name not in known_measures(large)
    assert read_measures([name], [small, large]) == (name,)
    with pytest.raises(ConfigError) as refused:
        read_measures([name], [large])
    expected = f"measures: '{name}' is not measured of more than {MAX_PAIRED} peers: lower peers.count, or remove it"
    assert str(refused.value) == expected


def summary_of(count: int, values: dict[str, float]) -> dict[str, Any]:
    measured = {**dict.fromkeys(("relative_distance", "agreement"), 0.5), "rankme": 20.0, **values}
    return {
        "consensus": {name: {"first": value, "last": value / 2} for name, value in measured.items()},
        "relative_weight_change": None,
        "rounds_per_second": None,
        "rounds": 3,
        "artefacts": [],
        "not_finite": {},
        "flags": [],
        "peers": [{"count": count - 1}, {"count": 1}],
    }


def test_report__has_a_measure_or_says_why_it_is_absent(
    pairwise: Measure[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("coordinator.reports.sentences.GROUP", declared.GROUP)
    (line,) = in_words(summary_of(MAX_PAIRED, {pairwise.name: 1.5}))
    assert line == (
        "consensus: disagreement 0.500 -> 0.250, agreement 50.0% -> 25.0%, largest gap 1.500 -> 0.750; "
        "effective rank 20.0 -> 10.0"
    )
    consensus, absent = in_words(summary_of(MAX_PAIRED + 1, {}))
    assert "largest gap" not in consensus
    assert absent == (
        f"not measured of more than {MAX_PAIRED} peers, as the time grows with the square of their number: "
        "largest gap, disagreement of every two peers, similarity of every two peers' features"
    )


def test_progress__shows_what_is_declared(pairwise: Measure[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coordinator.records.terminal.IN_PROGRESS", declared.shown_in(Shown.PROGRESS))
    text = io.StringIO()
    measures = Measures({"agreement": 0.25, pairwise.name: 0.5}, {}, {})
    Live(Console(file=text, width=160)).observe(Measured(0, measures, 0.0))
    assert text.getvalue() == "before the first round: agreement 25.0%, largest gap 0.500\n"


def test_figure__has_a_panel_for_each_declared_curve(
    pairwise: Measure[float], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(curves, "CURVES", declared.shown_in(Shown.CURVE))
    saved: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda self, path, **options: saved.append(self))
    row = {"round": 0, "relative_distance": 1.0, "agreement": 0.25}
    for rows in ([row | {pairwise.name: 0.5}], [row]):  # the second of more peers than it is taken of
        curves.save_consensus(rows, {}, tmp_path / "c.png")
    titles = [[axis.get_title(loc="left") for axis in figure.axes] for figure in saved]
    own = ["disagreement", "agreement"]
    assert titles == [[*own, "largest gap"], own]
    assert saved[0].axes[-1].get_ylabel() == "largest gap (nats)"


def test_declared__names_are_unique_and_pairs_are_capped() -> None:
    names = [each.name for each in declared.SCALARS]
    assert len({*names}) == len(names)
    assert all(each.cost is Cost.PAIRS for each in declared.PAIRS)
    assert declared.not_taken(MAX_PAIRED) == [] and {*declared.PAIRS} <= {*declared.not_taken(MAX_PAIRED + 1)}


def test_unit__what_json_holds_as_null_is_no_number() -> None:
    assert declared.RELATIVE_DISTANCE.written(None) == "disagreement nan"


def test_simulate__summary_has_the_declared_measures(tiny: Path) -> None:
    assert list(simulate(load_config(tiny, []), "out").summary["consensus"]) == declared.scalar_names(4)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("probes.knn.gain", GainMeasure("knn", Gain.OVER_CALIBRATED)),
        ("probes.linear.over_alone.mean", GainMeasure("linear", Gain.OVER_ALONE)),
        ("probes.sgd.reset_over_untrained.low", GainMeasure("sgd", Gain.RESET_OVER_UNTRAINED, "low")),
        *(
            (name, None)
            for name in ("probes.knn.gain.mean", "probes.knn.trained", "consensus.gain", "rounds", "probes")
        ),
    ],
)
def test_gain_measure__parse_is_the_inverse_of_name(name: str, expected: GainMeasure | None) -> None:
    found = GainMeasure.parse(name)
    assert found == expected and (found is None or found.name == name)


def test_gain__verdicts_are_those_of_one_vocabulary() -> None:
    """Every verdict is reached by some gain, but those that rest on two, and that there is none."""
    reached = {verdict for gain in Gain for verdict in (gain.value.above, gain.value.neither, gain.value.below)}
    assert reached == {*Verdict} - {Verdict.LESS_HARM, Verdict.ABOVE_CONTROL, Verdict.NONE}


def test_declared__values_are_in_their_range() -> None:
    """Of peers that differ, and of peers that agree entirely."""
    rng = np.random.default_rng(1)
    for outputs in (rng.normal(size=(6, 40, 5)), np.repeat(rng.normal(size=(1, 40, 5)), 6, axis=0)):
        grams = [each @ each.T for each in outputs]
        seen = Observations(
            {
                peer: Observation(own.astype(np.float32), gram, 1.0, 1.0, 1.0, 0.5, False)
                for peer, (own, gram) in enumerate(zip(outputs, grams, strict=True))
            }
        )
        measured, pairing = measure(seen, schedule.complete(6)(0), 1.0)
        ranges = {each.name: each.range for each in declared.SCALARS}
        for name, value in measured.scalars.items():
            clipped = ranges[name].clip(np.array([value]))[0]
            assert clipped == pytest.approx(value, abs=1e-9)
        of_pairs = {each.name: each.range for each in declared.PAIRS}
        for values in pairing.pairs().values():
            for name, value in values.items():
                assert of_pairs[name].clip(np.array([value]))[0] == pytest.approx(value, abs=1e-6)


def test_range__clips_at_its_bounds_only() -> None:
    values = np.array([-2.0, 0.5, 3.0])
    assert Range(0.0, 1.0).clip(values).tolist() == [0.0, 0.5, 1.0]
    assert Range(0.0).clip(values).tolist() == [0.0, 0.5, 3.0]
    assert Range().clip(values).tolist() == values.tolist()
