"""Numbers as they are written for people."""

import pytest

from coordinator.reports.formatting import in_points, points


@pytest.mark.parametrize("gain", [0.0115, -0.0045, 0.0055, 0.0265, 0.0005])
def test_points__the_noise_of_a_sum_does_not_change_the_last_digit(gain: float) -> None:
    for noise in (-1e-15, 0.0, 1e-15):
        assert in_points(gain + noise) == in_points(gain) and points(gain + noise) == points(gain)


def test_points__small_ones_have_a_digit_and_none_is_nothing() -> None:
    assert [points(gain) for gain in (0.0004, -0.00002, 1e-17, 0.0)] == ["+0.04", "-0.002", "+0.0", "+0.0"]


def test_points__what_rounding_leaves_is_nothing() -> None:
    assert [points(value) for value in (0.0, 0.1 + 0.2 - 0.3, 0.3 - 0.1 - 0.2, -1e-17)] == ["+0.0"] * 4
