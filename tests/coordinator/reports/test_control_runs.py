"""What is said of control runs, from summaries made by hand."""

from typing import Any

import pytest

from coordinator.measures.gains import Condition, Gain
from coordinator.records.files.summary import final_tags, verdict_line
from coordinator.reports import control_runs
from coordinator.reports.wording import CONTROLS, measure_name
from peers.learning.control import Control

IDLE = {"first_gradient_norm": 4.2e-8, "steps": 240.0, "relative_weight_change": 0.16, "void": "idle", "not_finite": []}
RUN = {"first_gradient_norm": 0.5, "steps": 240.0, "relative_weight_change": 0.33, "void": "", "not_finite": []}


def probe(verdict: str = "learned (this run)", **over: tuple[float, str]) -> dict[str, Any]:
    """A probe's part of a summary: 50% calibrated, 60% trained, and by control run its accuracy and the verdict."""
    row: dict[str, Any] = {"calibrated": 0.5, "trained": 0.6, "gain": 0.1, "interval": [0.05, 0.15], "verdict": verdict}
    for name, (accuracy, _) in over.items():
        gain = 0.6 - accuracy
        row |= {name: accuracy, f"over_{name}": {"mean": gain, "low": gain - 0.05, "high": gain + 0.05}}
    return row | {"controls": {name: verdict for name, (_, verdict) in over.items()}}


def test_compared_rows__one_for_each_probe_and_control() -> None:
    linear = probe(stranger=(0.5, "the peer's experience teaches (this run)"), alone=(0.6, "no difference"))
    sgd = {key: value for key, value in linear.items() if key not in ("verdict", "controls")}
    assert control_runs.compared_rows({"probes": {"linear": linear, "sgd": sgd}}) == [
        ["linear", "alone", "60.0%", "60.0%", "+0.0", "-5.0 to +5.0", "no difference"],
        ["linear", "stranger", "50.0%", "60.0%", "+10.0", "+5.0 to +15.0", "the peer's experience teaches (this run)"],
        ["SGD*", "alone", "60.0%", "60.0%", "+0.0", "-5.0 to +5.0", ""],
        ["SGD*", "stranger", "50.0%", "60.0%", "+10.0", "+5.0 to +15.0", ""],
    ]


@pytest.mark.parametrize(
    ("did", "said"),
    [
        (IDLE, "no verdict: its first gradient was rounding"),
        ({**RUN, "void": "diverged", "not_finite": [2]}, "no verdict: it diverged"),
        ({}, "no verdict"),
    ],
)
def test_compared_rows__no_verdict_says_why(did: dict[str, Any], said: str) -> None:
    summary = {"probes": {"knn": probe(alone_matched=(0.5, "no verdict"))}, "controls": {"alone-matched": did}}
    (row,) = control_runs.compared_rows(summary)
    assert (row[1], row[-1]) == ("alone-matched", said)


def test_compared_rows__a_control_that_diverged_has_no_numbers() -> None:
    row = {**probe(alone=(0.5, "another function teaches (this run)")), "controls": {"shuffled": "no verdict"}}
    summary = {"probes": {"knn": row}, "controls": {"shuffled": {**RUN, "void": "diverged"}}}
    assert control_runs.compared_rows(summary)[-1] == [
        "kNN",
        "shuffled",
        "",
        "60.0%",
        "",
        "",
        "no verdict: it diverged",
    ]


def test_training_rows__what_each_training_did() -> None:
    trainings = {"exchange": RUN, "alone": IDLE, "stranger": {**RUN, "first_gradient_norm": None, "steps": 239.5}}
    assert control_runs.training_rows({"controls": trainings}) == [
        ["the run", "0.5", "240", "33.00%"],
        ["alone", "4.2e-08 (rounding)", "240", "16.00%"],
        ["stranger", "", "239.5", "33.00%"],
    ]
    assert control_runs.training_rows({}) == []
    said = "the first gradient of alone was rounding (norm 4.2e-08, 0.5 in the run), so there is no verdict from it"
    assert control_runs.idle_in_words({"controls": trainings}) == said
    assert control_runs.idle_in_words({"controls": {"exchange": RUN}}) == control_runs.idle_in_words({}) == ""


def test_upper_marks__share_of_the_way_to_supervised() -> None:
    def marks(supervised: float) -> list[str]:
        return control_runs.upper_marks({"probes": {"knn": probe(supervised=(supervised, "below supervised"))}})

    assert marks(0.9) == ["of the way from calibrated to supervised peers: kNN 25%"]
    assert marks(0.505) == marks(0.4) == []  # labels did not help: there is no way to measure
    assert control_runs.upper_marks({"probes": {"knn": probe()}}) == []


def test_upper_marks__what_peers_lack_of_pooled_training() -> None:
    pooled = {"knn": probe(pooled=(0.7, "short of pooled training")), "linear": probe(pooled=(0.5, ""))}
    assert control_runs.upper_marks({"probes": pooled}) == ["short of pooled training by (points): kNN 10.0"]


def test_mlflow__gets_every_verdict() -> None:
    probes = {"knn": probe(alone=(0.5, "no verdict"), stranger=(0.6, "no difference"))}
    summary = {
        "probes": probes,
        "flags": ["alone-idle"],
        "controls": {"alone": IDLE},
        **dict.fromkeys(("rounds_per_second", "bytes_exchanged", "evaluation_share", "relative_weight_change"), 1.0),
    }
    line = "knn: learned (this run); knn over alone: no verdict; knn over stranger: no difference; alone-idle"
    assert verdict_line(summary) == line
    assert final_tags({**summary, "status": "finished"}) == {
        "status": "finished",
        "verdict": line,
        "verdict.knn": "learned (this run)",
        "verdict.knn.over_alone": "no verdict",
        "verdict.knn.over_stranger": "no difference",
    }


@pytest.mark.parametrize("control", Control)
def test_wording__every_control_run_has_words(control: Control) -> None:
    (gain,) = (gain for gain in Gain if gain.is_over_control_run and gain.control is Condition.of(control))
    assert all(CONTROLS[gain])
    assert measure_name(f"probes.knn.{gain.key}.mean") == f"kNN over {control}"
    assert measure_name(f"probes.knn.{gain.control}") == f"kNN {control}"


def test_meanings__of_networks_that_saw_nothing_of_the_other_data() -> None:
    summary = {
        "probes": {"knn": probe(irrelevant=(0.5, "no difference"), alone=(0.5, "no difference"))},
        "controls": {"irrelevant": {**RUN, "saw_nothing": [1, 2]}, "alone": RUN},
    }
    alone, irrelevant = control_runs.meanings(summary)
    assert irrelevant.endswith(
        "from other data (in the place of peers 1, 2 they see nothing of those and learn nothing, so there they are "
        "strangers); a gain over it rules out: any trained network as the teacher, whatever it has seen"
    )
    assert alone.startswith("alone") and "see nothing" not in alone and "by its own" not in alone
    summary["config"] = {"exchange": {"refresh_every": 0, "teacher_ema": 0.9}}
    assert "its own teacher (by its own snapshot and average);" in control_runs.meanings(summary)[0]
