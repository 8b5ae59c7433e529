"""Estimates over seeds against scipy and hand values; Holm's correction against statsmodels, by hand and as bounds."""

import gc
import math
import warnings
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests

from coordinator.measures.statistics import Estimate, detectable, estimate, half_width, holm, paired_difference


@pytest.fixture(scope="module", autouse=True)
def _frozen_heap() -> Iterator[None]:
    """statsmodels collects garbage at every correction, which takes 0.4 s beside an imported torch."""
    gc.freeze()
    yield
    gc.unfreeze()


def test_estimate__hand_value():
    ours = estimate([1.0, 2.0, 3.0])
    half = 4.302653 / math.sqrt(3)  # the 97.5% quantile of t with 2 degrees of freedom, standard deviation 1
    assert (ours.mean, ours.n) == (2.0, 3)
    assert (ours.low, ours.high) == pytest.approx((2 - half, 2 + half), abs=1e-5)
    # t = 2 sqrt(3); with 2 degrees of freedom P(|T| > t) = 1 - t / sqrt(2 + t^2)
    assert ours.p == pytest.approx(1 - math.sqrt(12 / 14))


@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
def test_estimate__matches_the_t_interval(confidence: float):
    values = np.random.default_rng(3).normal(0.02, 0.01, size=5)
    ours = estimate(values.tolist(), confidence)
    expected = stats.t.interval(confidence, 4, loc=values.mean(), scale=stats.sem(values))
    assert (ours.low, ours.high) == pytest.approx(expected)
    assert ours.p == pytest.approx(2 * stats.t.sf(abs(values.mean()) / stats.sem(values), 4))


def test_estimate__leaves_out_what_is_not_finite():
    assert estimate([math.nan, 1.0, math.inf, 2.0, 3.0, -math.inf]) == estimate([1.0, 2.0, 3.0])


def test_estimate__too_few_values():
    assert estimate([0.3]) == estimate([0.3, math.nan]) == Estimate(0.3, None, None, 1, None)
    none = estimate([])
    assert math.isnan(none.mean) and (none.low, none.high, none.n, none.p) == (None, None, 0, None)


@pytest.mark.parametrize(("value", "p"), [(0.0, 1.0), (0.1, None), (-0.1, None), (1e-9, None)])
def test_estimate__equal_seeds_are_a_point_and_no_test(value: float, p: float | None):
    ours = estimate([value] * 3)
    assert (ours.low, ours.high) == (ours.mean, ours.mean) and ours.mean == pytest.approx(value)
    assert (ours.n, ours.p) == (3, p)


@pytest.mark.parametrize("spread", [1e-16, 1e-14, 1e-11, 1e-8])
def test_estimate__nearly_equal_seeds_warn_of_nothing(spread: float):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ours = estimate([0.7, 0.7 * (1 + spread), 0.7])
    assert ours.mean == pytest.approx(0.7) and ours.low is not None and ours.low <= ours.mean


def test_half_width__is_the_estimates_at_every_point():
    runs = np.random.default_rng(4).normal(size=(5, 3))
    made = np.asarray(half_width(runs))
    for column, half in zip(runs.T, made, strict=True):
        ours = estimate(column.tolist())
        assert ours.high is not None and ours.high - ours.mean == pytest.approx(half)


@pytest.mark.parametrize(("num_tests", "num_seeds"), [(1, 2), (9, 3), (4, 5)])
def test_detectable__is_where_the_clearest_of_them_is_found(num_tests: int, num_seeds: int):
    values = np.random.default_rng(6).normal(size=num_seeds)
    values = (values - values.mean()) / values.std(ddof=1)
    least = detectable(num_tests, num_seeds)
    for mean, found in ((least * 1.001, True), (least * 0.999, False)):
        p = estimate((values + mean).tolist()).p
        assert p is not None and (holm([p] + [0.9] * (num_tests - 1))[0] < 0.05) == found


def test_estimate__varies_or_not():
    assert [estimate(values).varies for values in ([1.0, 2.0], [0.0, 0.0], [1.0, 1.0], [1.0], [])] == [True] + 4 * [
        False
    ]


def test_paired_difference__matches_scipy():
    rng = np.random.default_rng(5)
    control = rng.normal(size=6)
    treated = control + rng.normal(0.1, 0.2, size=6)
    ours, test = paired_difference(treated.tolist(), control.tolist()), stats.ttest_rel(treated, control)
    interval = test.confidence_interval(0.95)
    assert (ours.mean, ours.low, ours.high, ours.p) == pytest.approx(
        (float(np.mean(treated - control)), interval.low, interval.high, test.pvalue)
    )


def test_paired_difference__takes_the_seeds_out():
    seeds = [0.0, 10.0, 20.0]
    ours = paired_difference([seed + gain for seed, gain in zip(seeds, [1.0, 2.0, 3.0], strict=True)], seeds)
    assert ours == estimate([1.0, 2.0, 3.0])


def test_paired_difference__a_pair_needs_both():
    ours = paired_difference([1.0, math.nan, 3.0, 5.0], [0.0, 0.0, math.nan, 2.0])
    assert (ours.mean, ours.n) == (2.0, 2)  # the first and the last
    assert paired_difference([1.0, math.nan], [math.nan, 1.0]).n == 0


def test_paired_difference__rounding_is_no_difference():
    treated, control = [0.1 + 0.2, 0.6, 0.9], [0.3, 0.6, 0.9]
    assert treated[0] != control[0]
    assert paired_difference(treated, control) == Estimate(0.0, 0.0, 0.0, 3, 1.0)
    shifted = paired_difference([0.3, 0.5, 0.7], [0.2, 0.4, 0.6])  # 0.1 each, not to the last bit
    assert (shifted.low, shifted.p) == (shifted.high, None) and shifted.mean == pytest.approx(0.1)


def test_holm__worked_by_hand():
    # In order .005 x 4, .01 x 3, .03 x 2, .04 x 1, and none below the one before it.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []
    assert holm([0.2]) == [0.2]
    assert holm([0.0, 1.0, 0.6]) == [0.0, 1.0, 1.0]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm__matches_statsmodels_within_its_bounds(p_values: list[float]):
    adjusted = holm(p_values)
    assert adjusted == multipletests(p_values, method="holm")[1].tolist()
    assert all(raw <= p <= min(1.0, raw * len(p_values)) for raw, p in zip(p_values, adjusted, strict=True))
    in_order = [p for _, p in sorted(zip(p_values, adjusted, strict=True))]
    assert in_order == sorted(in_order)
