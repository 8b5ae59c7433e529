import pytest
import torch

from peers.base.finite import is_finite

LARGEST = torch.finfo(torch.float32).max


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([[1.0, -2.0]], True),
        ([[LARGEST, LARGEST]], True),  # though their sum is not
        ([[1.0, float("nan")]], False),
        ([[float("inf"), float("-inf")]], False),
        ([[]], True),
    ],
)
def test_is_finite__of_all_values_whatever_their_sum(values: list[list[float]], expected: bool) -> None:
    assert is_finite(torch.tensor(values, requires_grad=True)) is expected
