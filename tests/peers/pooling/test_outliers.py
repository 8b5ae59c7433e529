"""Distances and outlier scores against scipy; the AUC against scikit-learn."""

import math

import numpy as np
import pytest
import torch
from scipy.spatial import distance
from sklearn.metrics import roc_auc_score

from peers.pooling.outliers import auc, distances, outlier_scores, squared_distances


def test_distances__are_scipys_for_messages_and_for_samples() -> None:
    stack = torch.from_numpy(np.random.default_rng(0).normal(size=(6, 4, 3)))
    expected = distance.squareform(distance.pdist(stack.flatten(1).numpy()))
    np.testing.assert_allclose(distances(stack), expected, atol=1e-12)
    of_samples = squared_distances(stack, per_sample=True)
    for sample in range(4):
        expected = distance.squareform(distance.pdist(stack[:, sample].numpy(), "sqeuclidean"))
        np.testing.assert_allclose(of_samples[:, :, sample], expected, atol=1e-12)


def test_distances__of_near_messages_far_from_zero_are_exact() -> None:
    """By products, as in |x|^2 + |y|^2 - 2 x.y, float32 would lose all of it."""
    stack = torch.tensor([4096.0, 4096.5]).reshape(2, 1, 1)
    assert distances(stack)[0, 1].item() == 0.5


def test_outlier_scores__are_median_distances_to_the_others() -> None:
    stack = torch.tensor([0.0, 1.0, 3.0, 100.0]).reshape(4, 1, 1)
    assert outlier_scores(stack).tolist() == [3.0, 2.0, 3.0, 99.0]  # of (1, 3, 100), (1, 2, 99), ...
    assert outlier_scores(stack[:1]).tolist() == [0.0]


def test_auc__is_that_of_scikit_learn_also_with_ties() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        scores, lies = rng.integers(0, 5, 9), rng.random(9) < 0.4
        lies[:2] = True, False
        expected = roc_auc_score(lies, scores)
        assert auc(torch.from_numpy(scores.astype(np.float32)), lies.tolist()) == pytest.approx(expected)


@pytest.mark.parametrize("lies", [[True, True], [False, False]])
def test_auc__of_one_kind_alone_is_not_a_number(lies: list[bool]) -> None:
    assert math.isnan(auc(torch.tensor([1.0, 2.0]), lies))


@pytest.mark.parametrize("size", [1e18, 1e20, 1e37])
def test_outlier_scores__tell_a_lie_however_far_away_it_is(size: float) -> None:
    """Squares of differences above 1.8e19 are infinite in float32; a score of NaN would be below all honest ones."""
    stack = torch.cat([torch.randn(5, 16, 6, generator=torch.Generator().manual_seed(0)), torch.full((1, 16, 6), size)])
    assert auc(outlier_scores(stack), [False] * 5 + [True]) == 1.0
