"""Names of gains: those of all students, of groups, and of peers at a distance."""

import pytest

from coordinator.measures.gains import Gain, GainMeasure
from coordinator.reports.wording import gain_of, heading, measure_name, number


@pytest.mark.parametrize("scope", ["", "chroma", "0", "probes", "poor.hops.2"])
@pytest.mark.parametrize("gain", Gain)
def test_parse__the_measure_of_its_name(scope: str, gain: Gain) -> None:
    for measure in GainMeasure.of("knn", gain, scope):
        assert GainMeasure.parse(measure.name) == measure
        assert measure.claims == GainMeasure("knn", gain, measure.part).claims  # whoever gains


@pytest.mark.parametrize("name", ["groups.chroma.gain", "groups.chroma.probes.knn.verdict", "groups.a.students", "x"])
def test_parse__no_gain(name: str) -> None:
    assert GainMeasure.parse(name) is None


def test_words__say_whose_gain_it_is() -> None:
    name = "groups.poor.hops.2.probes.knn.over_stranger.mean"
    assert measure_name(name) == "kNN over stranger (poor, 2 links away)"
    assert heading(name) == "kNN over stranger (poor, 2 links away, points)" and number(0.012, name) == "+1.2"
    assert heading("groups.chroma.probes.linear.gain") == "linear gain (chroma, points)"
    assert measure_name("groups.poor.hops.1.probes.knn.gain") == "kNN gain (poor, 1 link away)"
    parsed = GainMeasure.parse("groups.chroma.probes.linear.gain")
    assert parsed is not None and gain_of(parsed) == "linear (chroma)"
    assert parsed.over(Gain.OVER_ALONE).name == "groups.chroma.probes.linear.over_alone.mean"
