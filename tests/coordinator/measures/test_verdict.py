"""Intervals against scipy and by simulation under the null; verdicts and flags at their boundaries."""

import numpy as np
import pytest
from jaxtyping import Bool
from scipy import stats

from coordinator.measures.gains import Gain
from coordinator.measures.verdict import (
    Interval,
    Side,
    Verdict,
    artefact,
    collapsed,
    gain_interval,
    over_images,
    shared_luck,
)


def _crossed(
    rng: np.random.Generator, num_peers: int, num_images: int, gain: float, peer_spread: float
) -> tuple[Bool[np.ndarray, "peers test"], Bool[np.ndarray, "peers test"]]:
    """Treated and control answers whose gain varies by peer and by image around `gain`."""
    base = rng.uniform(0.2, 0.8, size=num_images)
    shift = gain + peer_spread * rng.normal(size=(num_peers, 1)) + 0.1 * rng.choice([-1, 1], size=num_images)
    luck = rng.uniform(size=(num_peers, num_images))  # shared: the same network answers alike before and after
    redraw = rng.uniform(size=(num_peers, num_images)) < 0.3
    treated = np.where(redraw, rng.uniform(size=luck.shape), luck) < base + shift
    return treated, luck < base


def _verdict(answers: tuple[Bool[np.ndarray, "peers test"], Bool[np.ndarray, "peers test"]]) -> str:
    treated, control = answers
    return Gain.OVER_CALIBRATED.on(gain_interval(treated, control, control).side).of_this_run()


def test_gain_interval__adds_peers_images_and_what_peers_have_in_common():
    wins = np.array([1, 5, 6, 8])[:, None]
    treated = np.arange(40) % 20 < wins // 2
    treated = np.stack([np.roll(row, 10 * i) for i, row in enumerate(treated)])
    control, untrained = np.zeros_like(treated), np.arange(40) % 10 < np.array([3, 1, 6, 8])[:, None]
    ours = gain_interval(treated, control, untrained)
    gains, per_image = treated.mean(axis=1), treated.mean(axis=0)
    low, high = stats.t.interval(0.95, 3, loc=gains.mean(), scale=stats.sem(gains))
    image_half = 1.959964 * stats.sem(per_image)
    spread = np.std([0.3, 0.1, 0.6, 0.8], ddof=1)  # the untrained peers' is the largest
    common = stats.t.ppf(0.975, 3) * spread * np.sqrt(shared_luck(treated, control, untrained))
    assert common > image_half > 0
    assert ours.mean == pytest.approx(gains.mean())
    assert ours.high - ours.mean == pytest.approx(np.sqrt(((high - low) / 2) ** 2 + image_half**2 + common**2))
    assert ours.mean - ours.low == pytest.approx(ours.high - ours.mean)


def test_gain_interval__without_image_variance_is_the_t_interval():
    # Every image gains in exactly 2 of 4 peers, so only the peers' gains (1, 3/4, 1/4, 0) vary.
    treated = np.array([[1, 1, 1, 1], [1, 1, 1, 0], [0, 0, 0, 1], [0, 0, 0, 0]], dtype=bool)
    ours = gain_interval(treated, np.zeros_like(treated), treated, confidence=0.9)
    expected = stats.t.interval(0.9, 3, loc=0.5, scale=stats.sem([1, 0.75, 0.25, 0]))
    assert (ours.low, ours.high) == pytest.approx(expected)


def test_gain_interval__one_peer_has_the_image_part_only():
    rng = np.random.default_rng(0)
    treated, control = rng.uniform(size=(1, 500)) < 0.6, rng.uniform(size=(1, 500)) < 0.5
    difference = treated[0].astype(float) - control[0]
    expected = stats.norm.interval(0.95, loc=difference.mean(), scale=stats.sem(difference))
    ours = gain_interval(treated, control, control)
    assert (ours.low, ours.high) == pytest.approx(expected)


@pytest.mark.parametrize("untrained", [np.zeros((3, 50), bool), np.arange(150).reshape(3, 50) % 2 == 0])
def test_gain_interval__equal_answers_have_no_width(untrained: Bool[np.ndarray, "peers test"]):
    answers = np.random.default_rng(0).uniform(size=(3, 50)) < 0.5
    assert gain_interval(answers, answers, untrained) == Interval(0.0, 0.0, 0.0)


def _functions(seed: int, num_peers: int, num_images: int = 20_000) -> Bool[np.ndarray, "peers test"]:
    """Answers of independent functions, on images of which each is easy or hard for all of them."""
    rng = np.random.default_rng(seed)
    return rng.uniform(size=(num_peers, num_images)) < np.where(np.arange(num_images) % 3, 0.9, 0.3)


def _one(seed: int, num_peers: int) -> Bool[np.ndarray, "peers test"]:
    return np.repeat(_functions(seed, 1), num_peers, axis=0)


@pytest.mark.parametrize("num_peers", [2, 5])
def test_shared_luck__counts_the_random_functions_that_are_in_common(num_peers: int):
    untrained, trained = _functions(1, num_peers), _functions(2, num_peers)
    assert shared_luck(trained, untrained, untrained) == pytest.approx(0, abs=0.05)
    # whole functions are in common, so the share is 1; the sine, meant for lesser shares, makes sqrt(2) of it
    assert shared_luck(_one(3, num_peers), untrained, untrained) == pytest.approx(2**0.5, abs=0.05)
    assert shared_luck(untrained, _one(3, num_peers), untrained) == pytest.approx(2**0.5, abs=0.05)
    assert shared_luck(_one(3, num_peers), _one(4, num_peers), untrained) == pytest.approx(2, abs=0.01)
    assert shared_luck(_one(3, num_peers), _one(3, num_peers), untrained) == 0  # nothing has changed
    assert (
        shared_luck(_one(3, num_peers), _one(4, num_peers), _one(5, num_peers)) == 2
    )  # no independent ones to compare


def test_gain_interval__one_function_in_each_arm_is_one_draw_of_each():
    num_peers, untrained = 6, _functions(1, 6)
    treated, control = _one(3, num_peers), _one(4, num_peers)
    ours = gain_interval(treated, control, untrained)
    images = 1.959964 * stats.sem(treated[0].astype(float) - control[0])
    functions = stats.t.ppf(0.975, num_peers - 1) * untrained.mean(axis=1).std(ddof=1)
    assert ours.high - ours.mean == pytest.approx(np.hypot(images, np.sqrt(2) * functions), rel=1e-3)


def test_gain_interval__is_wider_where_peers_agree_than_where_they_do_not():
    untrained, alike = _functions(1, 4), _functions(2, 4)
    alike[:, ::2] = alike[0, ::2]  # the same answers to half of the images
    apart, agreeing = (gain_interval(each, untrained, untrained) for each in (_functions(2, 4), alike))
    assert agreeing.high - agreeing.mean > 1.3 * (apart.high - apart.mean)


@pytest.mark.parametrize(("num_peers", "peer_spread"), [(1, 0.0), (2, 0.0), (4, 0.0), (4, 0.05), (16, 0.05)])
def test_gain_interval__covers_a_null_gain(num_peers: int, peer_spread: float):
    rng = np.random.default_rng(7)
    verdicts = [_verdict(_crossed(rng, num_peers, 200, 0.0, peer_spread)) for _ in range(600)]
    learned, degraded = (verdicts.count(one.of_this_run()) / 600 for one in (Verdict.LEARNED, Verdict.DEGRADED))
    assert learned < 0.04  # 2.5% nominal, conservative; 0.04 is 2.4 standard errors above
    assert degraded < 0.04


def test_gain_interval__finds_a_real_gain():
    rng = np.random.default_rng(7)
    verdicts = [_verdict(_crossed(rng, 4, 1000, 0.05, 0.01)) for _ in range(100)]
    assert verdicts.count(Verdict.LEARNED.of_this_run()) >= 90
    assert Verdict.DEGRADED.of_this_run() not in verdicts


@pytest.mark.parametrize(
    ("low", "high", "expected", "expected_exchange"),
    [
        (0.01, 0.03, "learned (this run)", "another function teaches (this run)"),
        (0.0, 0.02, "not distinguishable", "no difference"),
        (-0.01, 0.02, "not distinguishable", "no difference"),
        (-0.02, 0.0, "not distinguishable", "no difference"),
        (-0.03, -0.01, "degraded (this run)", "worse than the control (this run)"),
        (float("nan"), float("nan"), "not distinguishable", "no difference"),
    ],
)
def test_verdict__by_side_of_zero(low: float, high: float, expected: str, expected_exchange: str):
    interval = Interval((low + high) / 2, low, high)
    assert Gain.OVER_CALIBRATED.on(interval.side).of_this_run() == expected  # as `summary.json` has them
    assert Gain.OVER_ALONE.conclude(interval.side, Verdict.LEARNED).of_this_run() == expected_exchange


@pytest.mark.parametrize("gain", [gain for gain in Gain if gain.is_over_control_run])
def test_conclude__nobody_teaches_peers_that_have_not_learned(gain: Gain):
    unlearned = (Verdict.NOT_DISTINGUISHABLE, Verdict.DEGRADED, None)
    found = [gain.conclude(Side.ABOVE, learned) for learned in unlearned]
    marks = {Gain.OVER_SUPERVISED: Verdict.ABOVE_SUPERVISED, Gain.OVER_POOLED: Verdict.ABOVE_POOLED}
    if gain in marks:
        assert found == [marks[gain]] * 3
    else:
        assert found == [Verdict.ABOVE_CONTROL, Verdict.LESS_HARM, Verdict.ABOVE_CONTROL]
    for side in (Side.NEITHER, Side.BELOW):
        assert {gain.conclude(side, learned) for learned in (*unlearned, Verdict.LEARNED)} == {gain.on(side)}


def test_artefact__is_about_these_networks_whatever_their_number():
    """Two peers, 20 points over untrained and none over calibrated: over other peers an interval is wide."""
    rng = np.random.default_rng(0)
    untrained = rng.uniform(size=(2, 1000)) < np.array([[0.18], [0.24]])
    trained = untrained | (rng.uniform(size=(2, 1000)) < np.array([[0.3], [0.2]]))
    assert gain_interval(trained, untrained, untrained).low < 0
    assert artefact(over_images(trained, untrained), Interval(0.0, -0.01, 0.01))
    assert not artefact(over_images(trained, untrained), Interval(0.2, 0.15, 0.25))


def test_artefact__gain_over_untrained_only():
    gain, nothing, loss = Interval(0.2, 0.1, 0.3), Interval(0.0, -0.1, 0.1), Interval(-0.2, -0.3, -0.1)
    assert artefact(gain, nothing)
    wide = Interval(gain.mean, gain.mean - 1, gain.mean + 1)
    assert not artefact(gain, wide)  # the gain is still there, only less certain
    assert artefact(gain, loss)
    assert not artefact(gain, gain)
    assert not artefact(nothing, nothing)


def _measures(*peers: tuple[float, float, float]) -> dict[int, dict[str, float]]:
    names = ("scaled_information", "feature_std", "rankme")
    return {peer: dict(zip(names, values, strict=True)) for peer, values in enumerate(peers)}


@pytest.mark.parametrize(
    ("first", "last", "expected"),
    [
        ((1.0, 0.5, 40.0), (1.0, 0.5, 30.0), False),
        ((0.1, 0.5, 40.0), (0.009, 0.5, 40.0), True),
        ((0.1, 0.5, 40.0), (0.011, 0.5, 40.0), False),
        ((0.01, 0.5, 40.0), (0.006, 0.5, 40.0), False),  # low from the start
        ((1.0, 0.5, 40.0), (1.0, 0.09, 40.0), True),
        ((1.0, 0.15, 40.0), (1.0, 0.09, 40.0), False),
        ((1.0, 0.5, 40.0), (1.0, 0.5, 14.0), True),
        ((1.0, 0.5, 40.0), (1.0, float("nan"), 40.0), True),  # diverged
        ((0.0, 0.0, 0.0), (0.0, 0.0, 0.0), False),
    ],
)
def test_collapsed__by_median_peer(first: tuple[float, float, float], last: tuple[float, float, float], expected: bool):
    zero = (0.0, 0.0, 0.0)
    assert collapsed(_measures(zero, first, first), _measures(zero, last, last)) == expected


def test_collapsed__one_peer_of_four_is_not_the_run():
    first, one_bad = (1.0, 1.0, 40.0), (0.0, 0.0, 0.0)
    assert not collapsed(_measures(*[first] * 4), _measures(one_bad, *[first] * 3))
