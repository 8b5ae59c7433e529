"""Targets: names, and costs against closed forms."""

import math

import numpy as np
import pytest

from coordinator.measures.targets import NOT_REACHED, Paid, Target, cost_of_fall, cost_of_rise
from coordinator.reports.wording import amount, factor_of, heading, measure_name, number


@pytest.mark.parametrize(
    ("name", "paid", "subject", "share", "probe"),
    [
        ("time_to.relative_distance.0.1", Paid.TIME, "relative_distance", 0.1, None),
        ("bytes_to.js.0.75", Paid.BYTES, "js", 0.75, None),
        ("rounds_to.linear_gain.0.02", Paid.ROUNDS, "linear_gain", 0.02, "linear"),
    ],
)
def test_parse__a_name_and_back(name: str, paid: Paid, subject: str, share: float, probe: str | None) -> None:
    target = Target.parse(name)
    assert target is not None and target.name == name
    assert (target.paid, target.subject, target.share, target.probe) == (paid, subject, share, probe)


@pytest.mark.parametrize(
    "name", ["rounds", "time_to", "time_to.relative_distance", "probes.knn.gain", "cost_to.js.0.1"]
)
def test_parse__other_measures_are_no_targets(name: str) -> None:
    assert Target.parse(name) is None


@pytest.mark.parametrize("share", [0.9, 0.5, 0.1, 0.013])
def test_cost_of_fall__of_a_straight_line(share: float) -> None:
    """Values that fall evenly from 2 to 0 in 10 s come to a share of 2 after 10 (1 - share), wherever measured."""
    costs = np.array([0.0, 1.5, 4.0, 9.0, 10.0])
    assert cost_of_fall(costs, 2 - costs / 5, share) == pytest.approx(10 * (1 - share))


def test_cost_of_fall__is_within_a_step_of_exponential_decay() -> None:
    costs = np.arange(0, 20, 0.5)
    exact = math.log(10) / 0.3
    found = cost_of_fall(costs, 3 * np.exp(-0.3 * costs), 0.1)
    assert exact < found < exact + 0.5**2 * 0.3 / 8 * 1.1  # a chord lies above a convex curve, by f'' h^2 / (8 |f'|)


def test_cost_of_fall__the_first_time_counts() -> None:
    assert cost_of_fall(np.arange(5.0), np.array([1.0, 0.4, 1.0, 0.2, 0.1]), 0.4) == 1.0
    assert cost_of_fall(np.arange(3.0), np.array([1.0, 0.6, 0.5]), 0.4) == NOT_REACHED
    assert cost_of_fall(np.arange(2.0), np.zeros(2), 0.4) == 0.0  # peers that agree from the start


def test_cost_of_rise__the_first_measurement_that_is_high_enough() -> None:
    costs, values = np.array([3.0, 6.0, 9.0]), np.array([-0.01, 0.02, 0.05])
    assert [cost_of_rise(costs, values, level) for level in (0.01, 0.02, 0.021, 0.06)] == [6, 6, 9, NOT_REACHED]


def test_wording__of_targets() -> None:
    time, sent, gain = "time_to.relative_distance.0.1", "bytes_to.js.0.07", "rounds_to.knn_gain.0.025"
    assert heading(time) == "virtual time to 10% of the initial disagreement (s)"
    assert measure_name(sent) == "bytes to 7% of the initial generalised Jensen-Shannon divergence"
    assert measure_name(gain) == "rounds to a kNN gain of 2.5 points" == heading(gain)
    assert (number(12.34, time), number(3.0 * 2**20, sent), number(40.0, gain)) == ("12.3", "3", "40")
    assert (amount(-3.0 * 2**20, sent), amount(-2.5, time)) == ("3 MiB", "2.5 s")
    assert factor_of("probes.knn.gain") == 100 and factor_of(time) == factor_of("bytes_exchanged") == 1
