"""The verdicts of a run as lines, from summaries made by hand."""

from typing import Any

import pytest

from coordinator.measures.gains import Gain
from coordinator.measures.verdict import Side, Verdict
from coordinator.reports.verdicts import Tone, tone_of, verdict_lines

LINEAR: dict[str, Any] = {
    "gain": 0.028,
    "interval": [0.005, 0.05],
    "verdict": "learned (this run)",
    "over_alone": {"mean": -0.1, "low": -0.15, "high": -0.05},
    "over_shuffled": {"mean": 0.0, "low": -0.01, "high": 0.01},
    "controls": {"alone": "worse than the control (this run)", "shuffled": "no difference", "stranger": "no verdict"},
}
KNN = {"gain": 0.0, "interval": [-0.01, 0.01], "verdict": "not distinguishable", "controls": {"alone": "no verdict"}}
SUMMARY = {
    "probes": {"linear": LINEAR, "knn": KNN, "sgd": {"gain": 0.3, "interval": [0.2, 0.4]}},
    "controls": {"alone": {"void": "idle"}, "stranger": {"void": "diverged"}},
}


def test_verdict_lines__learning_first_then_by_control() -> None:
    assert [line.text for line in verdict_lines(SUMMARY)] == [
        "linear: learned (this run), +2.8 points (+0.5 to +5.0)",
        "kNN: not distinguishable, +0.0 points (-1.0 to +1.0)",
        "linear over alone: worse than the control (this run), -10.0 points (-15.0 to -5.0)",
        "kNN over alone: no verdict: its first gradient was rounding",
        "linear over shuffled: no difference, +0.0 points (-1.0 to +1.0)",
        "linear over stranger: no verdict: it diverged",
    ]
    tones = [line.tone for line in verdict_lines(SUMMARY)]
    assert tones == [Tone.GOOD, Tone.NEUTRAL, Tone.BAD, Tone.VOID, Tone.NEUTRAL, Tone.VOID]
    assert verdict_lines({}) == verdict_lines({"probes": {}}) == []


@pytest.mark.parametrize("gain", Gain)
def test_tone_of__says_the_side_of_every_gain(gain: Gain) -> None:
    """Except of upper marks such as supervised peers, below whom a run is expected to be."""
    tones = {side: tone_of(gain.on(side).of_this_run()) for side in Side}
    below = Tone.NEUTRAL if gain.is_of_upper_mark else Tone.BAD
    assert tones == {Side.ABOVE: Tone.GOOD, Side.NEITHER: Tone.NEUTRAL, Side.BELOW: below}
    assert tones == {side: tone_of(str(gain.on(side))) for side in Side}


def test_tone_of__what_claims_nothing_is_neutral() -> None:
    assert tone_of(Verdict.LESS_HARM.of_this_run()) == tone_of(Verdict.ABOVE_CONTROL) == tone_of("new") == Tone.NEUTRAL
