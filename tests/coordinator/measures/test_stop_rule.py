"""The rule of `run.stop`: what it decides from known values, and which rules are refused."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator import ConfigError, Stop, load_config
from coordinator.experiment.sections import StopRule
from coordinator.measures import stop_rule
from coordinator.measures.declared import SCALARS
from coordinator.measures.stop_rule import check_stop, due, known_measures, mode_of, reason


def rule(**settings: Any) -> StopRule:
    return StopRule.model_validate({"measure": "loss", **settings})


def first_end(values: list[float], **settings: Any) -> int | None:
    """The place of the value at which a run with these values ends; None if it does not."""
    found = [place for place in range(len(values)) if reason(rule(**settings), values[: place + 1])]
    return found[0] if found else None


@pytest.mark.parametrize(
    ("settings", "values", "expected"),
    [
        ({"below": 0.5}, [1.0, 0.5, 0.49, 0.1], 2),
        ({"above": 0.5}, [0.1, 0.5, 0.51], 2),
        ({"below": 0.0, "above": 1.0}, [0.5, 1.5], 1),
        ({"below": 0.5}, [math.nan, math.inf, 0.6], None),
        ({"above": 0.5}, [math.nan, -math.inf, math.inf], 2),
        ({"patience": 2}, [3.0, 2.0, 2.0, 2.5, 1.0], 3),  # a tie is no improvement
        ({"patience": 2}, [3.0, 2.0, 2.5, 1.0, 1.0, 0.9, 0.9, 0.9], 7),
        ({"patience": 2, "mode": "max"}, [3.0, 2.0, 2.5], 2),
        ({"patience": 1}, [1.0], None),
        ({"patience": 1, "min_delta": 0.5}, [1.0, 0.5], 1),  # better by 0.5, not by more
        ({"patience": 3, "min_delta": 0.5}, [1.0, 0.7, 0.4, 0.3], None),  # 0.4 improves on 1.0, the best that counts
        ({"patience": 2}, [math.nan, math.nan], 1),
        ({"patience": 5, "below": 0.1}, [1.0, 0.05], 1),
    ],
)
def test_reason__closed_forms(settings: dict[str, Any], values: list[float], expected: int | None) -> None:
    assert first_end(values, **settings) == expected


@given(st.lists(st.integers(0, 5), min_size=1, max_size=12), st.integers(1, 4), st.sampled_from(["min", "max"]))
def test_reason__patience_is_the_distance_from_the_first_best(values: list[int], patience: int, mode: str) -> None:
    """Ends at the first place which is that far behind the earliest best value up to it."""
    best = min if mode == "min" else max
    behind = [place - values.index(best(values[: place + 1])) for place in range(len(values))]
    expected = next((place for place, distance in enumerate(behind) if distance >= patience), None)
    assert first_end([float(value) for value in values], patience=patience, mode=mode) == expected


def test_reason__says_which_condition() -> None:
    both = rule(below=0.25, patience=1)
    assert reason(both, [0.2]) == "loss is below 0.25"
    assert reason(both, [0.3, 0.3]) == "loss has not improved in 1 measurements"


def test_mode__follows_the_measure() -> None:
    modes = {name: mode_of(StopRule(measure=name, below=0)) for name in ("loss", "probes.knn.gain")}
    modes |= {each.name: mode_of(StopRule(measure=f"consensus.{each.name}", below=0)) for each in SCALARS}
    assert modes["loss"] == modes["relative_distance"] == modes["js"] == "min"
    assert modes["probes.knn.gain"] == modes["agreement"] == modes["cka"] == modes["rankme"] == "max"
    assert modes["weight_change"] is modes["mean_entropy"] is None
    assert mode_of(StopRule(measure="loss", patience=1, mode="max")) == "max"


def test_due__at_multiples_of_the_cadence_alone(small: dict[str, Any]) -> None:
    """The last round of 7 is measured, too, but a longer run would not measure it."""
    evaluation = {**small["evaluation"], "every": 2, "probe_every": 3}

    def rounds(**stop: Any) -> list[int]:
        config = load_config({**small, "run": {"rounds": 7, **stop}, "evaluation": evaluation})
        return [completed for completed in range(8) if due(config, completed)]

    assert rounds(stop={"below": 0.1}) == rounds(stop={"measure": "loss", "below": 0.1}) == [2, 4, 6]
    assert rounds(stop={"measure": "probes.knn.trained", "above": 0.9}) == [3, 6]
    assert rounds() == []


def test_known_measures__are_all_accepted_and_no_others(small: dict[str, Any]) -> None:
    table = {**small, "evaluation": {**small["evaluation"], "probe_every": 2}}
    known = known_measures(load_config(table))
    assert {"consensus.js", "consensus.rankme", "loss", "probes.knn.trained", "probes.knn.gain"} < set(known)
    for measure in known:
        check_stop(load_config({**table, "run": {"rounds": 8, "stop": {"measure": measure, "below": 0}}}))
    assert all(stop_rule.is_probe(measure) == measure.startswith("probes.knn") for measure in known)


@pytest.mark.parametrize(
    ("stop", "line"),
    [
        (
            {"measure": "consensus.relativ_distance", "below": 1},
            "run.stop.measure: 'consensus.relativ_distance' is not measured during a run; did you mean "
            "'consensus.relative_distance'",
        ),
        (
            {"measure": "consensus.agreement.last", "above": 1},
            "run.stop.measure: 'consensus.agreement.last' is not measured during a run; did you mean "
            "'consensus.agreement'?",
        ),
        ({"measure": "rankme", "above": 1}, "did you mean 'consensus.rankme'?"),
        ({"measure": "xyz", "above": 1}, "'xyz' is not measured during a run; there are consensus.relative_distance, "),
        (
            {"measure": "probes.knn.gain", "above": 0},
            "run.stop.measure: 'probes.knn.gain' is known at the end only: set evaluation.probe_every",
        ),
        (
            {"measure": "probes.sgd.trained", "above": 0},
            "run.stop.measure: 'probes.sgd.trained' needs the probe sgd: add it to evaluation.probes",
        ),
        (
            {"measure": "consensus.weight_change", "patience": 1},
            "run.stop.mode: missing, and neither low nor high values of 'consensus.weight_change' are better by "
            "themselves: set it to min or max",
        ),
        (
            {"patience": 3},
            "run.stop.patience must be below the 3 measurements before the last of 8 rounds (evaluation.every is 2), "
            "got 3: lower it, or evaluation.every",
        ),
    ],
)
def test_check_stop__refuses_what_can_never_hold(small: dict[str, Any], stop: dict[str, Any], line: str) -> None:
    with pytest.raises(ConfigError) as refused:
        check_stop(load_config({**small, "run": {"rounds": 8, "stop": stop}}))
    assert line in str(refused.value) and "\n" not in str(refused.value)


def test_check_stop__refuses_a_measure_of_the_last_round_only(small: dict[str, Any]) -> None:
    table = {**small, "run": {"rounds": 8, "stop": {"below": 0.1}}, "evaluation": {"every": 8}}
    with pytest.raises(ConfigError, match=r"is not measured before the last of 8 rounds \(evaluation.every is 8\): lo"):
        check_stop(load_config(table))
    table["run"] = {"rounds": 9, "stop": {"below": 0.1}}
    check_stop(load_config(table))


@pytest.mark.parametrize(
    ("stop", "line"),
    [
        ({"measure": "loss"}, "run.stop says of its measure no limit: set one of below, above and patience"),
        ({"below": 1, "mode": "max"}, "run.stop.mode is about patience, which is not set: set patience, or leave mode"),
        ({"below": 1, "min_delta": 0.1}, "run.stop.min_delta is about patience, which is not set"),
        ({"patience": 0}, "run.stop.patience: "),
        ({"patiense": 1}, "run.stop.patiense: no such key; did you mean 'patience'?"),
        ({"below": float("nan")}, "run.stop.below: "),
        ({"patience": 1, "mode": "least"}, "run.stop.mode: "),
    ],
)
def test_stop__mistakes_are_one_line(small: dict[str, Any], stop: dict[str, Any], line: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load_config({**small, "run": {"rounds": 8, "stop": stop}})
    assert str(refused.value).startswith(line) and "\n" not in str(refused.value)


def test_stop__the_object_is_the_section(small: dict[str, Any]) -> None:
    config = load_config({**small, "run": {"stop": {"patience": 5, "min_delta": 0.5}}})
    assert Stop(patience=5, min_delta=0.5).rule() == config.run.stop
    for wrong, line in (
        ({}, "Stop says of its measure no limit: set one of below, above and patience"),
        ({"patience": 0}, "Stop.patience: must be greater than or equal to 1, got 0"),
    ):
        with pytest.raises(ConfigError) as refused:
            Stop(**wrong)
        assert str(refused.value).startswith(line[:20]) and "\n" not in str(refused.value)
