"""ExpGuard against the authors' formula, and what it has to do to liars and to those that are rarely heard."""

import math

import numpy as np
import pytest
import torch

from peers.pooling.memory import LEAST, expguard, expguard_scores


def shares(weights: dict[int, float]) -> dict[int, float]:
    return {teacher: weight / sum(weights.values()) for teacher, weight in weights.items()}


def test_expguard__has_the_shares_of_the_formula() -> None:
    """w_j <- w_j exp(-eta score_j), normalised: the least score cancels."""
    rng, weights, plain = np.random.default_rng(0), {}, {teacher: 1.0 for teacher in range(4)}
    for _ in range(30):
        scores = {teacher: float(score) for teacher, score in enumerate(rng.random(4))}
        weights = expguard(weights, scores, eta=0.3)
        plain = {teacher: weight * math.exp(-0.3 * scores[teacher]) for teacher, weight in plain.items()}
    assert shares(weights) == pytest.approx(shares(plain))


def test_expguard__keeps_those_that_were_not_heard_and_does_not_change_its_argument() -> None:
    before = {1: 0.5, 2: 0.25}
    after = expguard(before, {2: 1.0, 3: 0.0}, eta=1.0)
    assert after == {1: 0.5, 2: pytest.approx(0.25 / math.e), 3: 1.0} and before == {1: 0.5, 2: 0.25}
    assert expguard(before, {}) == before


def test_expguard__never_comes_to_zero() -> None:
    weights: dict[int, float] = {}
    for _ in range(2000):
        weights = expguard(weights, {0: 0.1, 1: 1.4})
    assert weights == {0: 1.0, 1: LEAST}


def test_expguard__equal_teachers_keep_equal_weights_over_many_rounds() -> None:
    """The best of a round is another one each time; the student itself, and who is heard for the first time, have 1."""
    rng, weights = np.random.default_rng(3), {}
    for _ in range(3000):
        weights = expguard(weights, dict(enumerate((0.5 + 0.05 * rng.standard_normal(5)).tolist())))
    assert max(weights.values()) == 1.0 and min(weights.values()) > 0.2  # a random walk
    liar = expguard(weights, {**dict.fromkeys(range(5), 0.5), 5: 1.4})
    assert liar[5] < 1.0


def test_expguard_scores__are_mean_distances_to_the_median() -> None:
    stack = torch.from_numpy(np.random.default_rng(1).dirichlet(np.ones(4), size=(5, 6)))
    expected = np.linalg.norm(stack.numpy() - np.median(stack.numpy(), axis=0), axis=2).mean(axis=1)
    np.testing.assert_allclose(expguard_scores(stack, True), expected, atol=1e-12)
    np.testing.assert_allclose(expguard_scores(stack, False), expected / np.median(expected), atol=1e-12)


def test_expguard_scores__of_logits_do_not_depend_on_their_unit() -> None:
    stack = torch.randn(5, 6, 4, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(expguard_scores(100 * stack, False), expguard_scores(stack, False))
    assert expguard_scores(stack[:1].expand(3, 6, 4), False).tolist() == [0.0, 0.0, 0.0]


def test_expguard__finds_a_liar_among_honest_peers() -> None:
    rng, weights = np.random.default_rng(2), {}
    for _ in range(60):
        honest = 0.8 * rng.dirichlet(np.full(10, 0.5), size=32) + 0.2 * rng.dirichlet(np.ones(10), size=(5, 32))
        lie = np.eye(10)[honest.mean(axis=0).argmin(axis=1)]
        stack = torch.from_numpy(np.concatenate([honest, lie[None]]))
        weights = expguard(weights, dict(enumerate(expguard_scores(stack, True).tolist())))
    assert weights[5] < 0.05 and min(weights[teacher] for teacher in range(5)) > 0.8


@pytest.mark.parametrize("size", [1e12, 1e20, 3e38])
def test_expguard_scores__of_a_lie_of_infinite_square_are_a_number(size: float) -> None:
    stack = torch.cat([torch.randn(4, 8, 5, generator=torch.Generator().manual_seed(0)), torch.full((1, 8, 5), size)])
    scores = expguard_scores(stack, distribution=False)
    assert bool(scores.isfinite().all()) and int(scores.argmax()) == 4 and float(scores[:4].max()) < 10
