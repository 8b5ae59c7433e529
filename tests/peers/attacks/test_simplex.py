"""The projection on the simplex against a general solver and its conditions of optimality."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import optimize

from peers.attacks.simplex import projected


@pytest.mark.parametrize("scale", [0.1, 1.0, 30.0])
def test_projected__is_the_nearest_distribution(scale: float) -> None:
    rows = scale * np.random.default_rng(0).normal(size=(5, 6))
    for row, found in zip(rows, projected(torch.from_numpy(rows)).numpy(), strict=True):
        nearest = optimize.minimize(
            lambda point, row=row: ((point - row) ** 2).sum(),
            np.full(6, 1 / 6),
            bounds=[(0, 1)] * 6,
            constraints={"type": "eq", "fun": lambda point: point.sum() - 1},
            options={"ftol": 1e-14, "maxiter": 500},
        )
        np.testing.assert_allclose(found, nearest.x, atol=1e-5)


@settings(max_examples=60, deadline=None)
@given(rows=arrays(np.float32, (3, 5), elements=st.floats(-1e4, 1e4, width=32)))
def test_projected__is_a_distribution_shifted_by_one_number_where_it_is_above_zero(rows: np.ndarray) -> None:
    values = torch.from_numpy(rows).double()
    found = projected(values)
    torch.testing.assert_close(found.sum(dim=1), torch.ones(3, dtype=torch.float64))
    for row, point in zip(values, found, strict=True):
        shifts = (row - point)[point > 0]
        assert (point >= 0).all()
        assert shifts.max() - shifts.min() < 1e-7
        assert (row[point == 0] <= shifts.max() + 1e-7).all()  # what became 0 was below the shift


def test_projected__leaves_distributions_as_they_are() -> None:
    rows = torch.softmax(torch.randn(4, 7, generator=torch.Generator().manual_seed(0)), dim=1)
    torch.testing.assert_close(projected(rows), rows)
