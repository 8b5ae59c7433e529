"""Rules of pooling against byzfl, and against numpy and scipy where that has none."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from scipy import optimize
from torch import Tensor

from peers.pooling.config import (
    Aggregation,
    Cronus,
    GeometricMedian,
    Krum,
    Mean,
    Median,
    MultiKrum,
    Nearest,
    SelfCentredClipping,
    TrimmedMean,
)
from peers.pooling.geometric import geometric_median

SAMPLES, DIM = 5, 4


def messages(num_teachers: int, seed: int = 0, distribution: bool = False) -> Tensor:
    stack = torch.from_numpy(np.random.default_rng(seed).normal(size=(num_teachers, SAMPLES, DIM)))
    return torch.softmax(2 * stack, dim=2) if distribution else stack


def equal(num_teachers: int) -> Tensor:
    return torch.full((num_teachers,), 1 / num_teachers, dtype=torch.float64)


def pooled(rule: Aggregation, stack: Tensor, own: Tensor | None = None, weights: Tensor | None = None) -> Tensor:
    weights = equal(len(stack)) if weights is None else weights
    return rule.pool(stack[0] if own is None else own, stack, weights, False).outputs


RULES: list[tuple[Aggregation, Callable[[Any], Any]]] = [
    (Mean(), lambda byzfl: byzfl.Average()),
    (Median(), lambda byzfl: byzfl.Median()),
    (TrimmedMean(b=1), lambda byzfl: byzfl.TrMean(f=1)),
    (TrimmedMean(b=2), lambda byzfl: byzfl.TrMean(f=2)),
    (GeometricMedian(), lambda byzfl: byzfl.GeometricMedian(nu=0.1, T=3)),
    (GeometricMedian(nu=0.5, iterations=20), lambda byzfl: byzfl.GeometricMedian(nu=0.5, T=20)),
    (Krum(f=1), lambda byzfl: byzfl.Krum(f=1)),
    (Krum(f=2), lambda byzfl: byzfl.Krum(f=2)),
    (MultiKrum(f=1), lambda byzfl: byzfl.MultiKrum(f=1)),
    (MultiKrum(f=2), lambda byzfl: byzfl.MultiKrum(f=2)),
    (Nearest(f=1), lambda byzfl: byzfl.MoNNA(f=1, idx=0)),
    (Nearest(f=2), lambda byzfl: byzfl.MoNNA(f=2, idx=0)),
]


@pytest.mark.parametrize(
    ("rule", "reference"), RULES, ids=lambda each: repr(each) if isinstance(each, Aggregation) else ""
)
@pytest.mark.parametrize("num_teachers", [5, 6, 9])
@pytest.mark.parametrize("distribution", [False, True])
def test_rules__are_those_of_byzfl(
    rule: Aggregation, reference: Callable[[Any], Any], num_teachers: int, distribution: bool, byzfl: ModuleType
) -> None:
    """Of a whole message, or of each sample by itself; byzfl takes NumPy's arrays in float64."""
    for seed in range(5):
        stack = messages(num_teachers, seed, distribution)
        expected = reference(byzfl)(stack.flatten(1).numpy()).reshape(SAMPLES, DIM)
        np.testing.assert_allclose(pooled(rule, stack), expected, atol=1e-6, rtol=0)
        if hasattr(rule, "per_sample"):
            of_samples = rule.model_copy(update={"per_sample": True})
            rows = np.stack([reference(byzfl)(stack[:, sample].numpy()) for sample in range(SAMPLES)])
            np.testing.assert_allclose(pooled(of_samples, stack), rows, atol=1e-6, rtol=0)


@pytest.mark.parametrize("tau", [0.5, 2.0, 100.0])
def test_self_centred_clipping__is_byzfls_centred_clipping_around_the_student(tau: float, byzfl: ModuleType) -> None:
    stack, own = messages(7), messages(1, seed=9)[0]
    moved = byzfl.CenteredClipping(tau=tau)((stack - own).flatten(1).numpy()).reshape(SAMPLES, DIM)
    np.testing.assert_allclose(pooled(SelfCentredClipping(tau=tau), stack, own), own.numpy() + moved, atol=1e-6, rtol=0)
    rows = np.stack([byzfl.CenteredClipping(tau=tau)((stack - own)[:, k].numpy()) for k in range(SAMPLES)])
    of_samples = SelfCentredClipping(tau=tau, per_sample=True)
    np.testing.assert_allclose(pooled(of_samples, stack, own), own.numpy() + rows, atol=1e-6, rtol=0)


def test_self_centred_clipping__adaptive_takes_the_second_largest_length() -> None:
    own = torch.zeros(1, 2)
    stack = torch.tensor([[[3.0, 4.0]], [[0.0, 2.0]], [[1.0, 0.0]], [[0.0, 0.0]]])  # lengths 5, 2, 1 and its own
    found = SelfCentredClipping().pool(own, stack, torch.full((4,), 0.25), False)
    torch.testing.assert_close(found.outputs, 0.25 * torch.tensor([[0.6 * 2 + 1, 0.8 * 2 + 2]]))
    torch.testing.assert_close(found.used, torch.tensor([0.4, 1.0, 1.0, 1.0]) / 3.4)


def test_self_centred_clipping__of_one_neighbour_clips_nothing() -> None:
    own, other = torch.zeros(1, 2), torch.tensor([[3.0, 4.0]])
    found = SelfCentredClipping().pool(own, torch.stack([own, other]), torch.tensor([0.5, 0.5]), False)
    torch.testing.assert_close(found.outputs, other / 2)


def test_krum__of_three_teachers_is_one_of_the_closest_pair() -> None:
    stack = torch.tensor([[[5.0]], [[1.0]], [[1.5]]])
    assert pooled(Krum(f=1), stack).item() == 1.0
    assert Krum(f=1).pool(stack[0], stack, torch.ones(3) / 3, False).used.tolist() == [0.0, 1.0, 0.0]


def test_multi_krum__averages_the_best_m_by_their_weights() -> None:
    stack = torch.tensor([[[1.0]], [[1.2]], [[1.45]], [[9.0]]])
    weights = torch.tensor([0.1, 0.3, 0.1, 0.5])
    found = MultiKrum(f=1, m=2).pool(stack[0], stack, weights, False)  # scores: 0.24, 0.10, 0.27, 118
    torch.testing.assert_close(found.outputs, torch.tensor([[(0.1 * 1.0 + 0.3 * 1.2) / 0.4]]))
    torch.testing.assert_close(found.used, torch.tensor([0.25, 0.75, 0.0, 0.0]))


def test_median__with_weights_has_at_most_half_of_them_on_either_side() -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        weights = rng.dirichlet(np.ones(6))
        stack = torch.from_numpy(rng.normal(size=(6, 3, 2)))
        found = pooled(Median(), stack, weights=torch.from_numpy(weights)).numpy()
        for sample, output in np.ndindex(3, 2):
            column = stack[:, sample, output].numpy()
            assert weights[column < found[sample, output] - 1e-12].sum() <= 0.5
            assert weights[column > found[sample, output] + 1e-12].sum() <= 0.5


def test_median__of_half_the_weight_is_between() -> None:
    stack = torch.tensor([[[0.0]], [[10.0]], [[4.0]]])
    found = Median().pool(stack[0], stack, torch.tensor([0.5, 0.25, 0.25]), False)
    assert found.outputs.item() == 2.0  # between the first, which has half of the weight, and the next
    assert found.used.tolist() == [0.5, 0.0, 0.5]


def test_trimmed_mean__weighs_what_is_left() -> None:
    stack = torch.tensor([[[0.0]], [[10.0]], [[4.0]], [[5.0]]])
    found = TrimmedMean(b=1).pool(stack[0], stack, torch.tensor([0.4, 0.3, 0.1, 0.2]), False)
    assert found.outputs.item() == pytest.approx((0.1 * 4 + 0.2 * 5) / 0.3)
    torch.testing.assert_close(found.used, torch.tensor([0.0, 0.0, 1 / 3, 2 / 3]))


def test_geometric_median__converges_to_the_least_sum_of_weighted_distances() -> None:
    stack, weights = messages(6, seed=3), torch.tensor([0.3, 0.1, 0.1, 0.2, 0.2, 0.1], dtype=torch.float64)
    points = stack.flatten(1).numpy()

    def total(point: np.ndarray) -> float:
        return float(weights.numpy() @ np.linalg.norm(points - point, axis=1))

    least = optimize.minimize(total, points.mean(axis=0), method="BFGS", options={"gtol": 1e-9})
    found, shares = geometric_median(stack, weights, nu=1e-6, iterations=300, per_sample=False)
    assert total(found.flatten().numpy()) == pytest.approx(least.fun, abs=1e-9)
    np.testing.assert_allclose(found.flatten(), least.x, atol=1e-4)
    np.testing.assert_allclose(found, np.einsum("t,tsd->sd", shares, stack), atol=1e-9)


def cronus_by_hand(stack: np.ndarray, alpha: float) -> np.ndarray:
    """By an eigenvector of each sample's covariance matrix."""
    rows = []
    for sample in range(stack.shape[1]):
        left, count = stack[:, sample], int(alpha * len(stack) / 2)
        for _ in range(2):
            vector = np.linalg.eigh(np.cov(left, rowvar=False))[1][:, -1]
            lengths = np.abs((left - left.mean(axis=0)) @ vector)
            left = left[np.argsort(lengths)[: len(left) - count]]
        rows.append(left.mean(axis=0))
    return np.stack(rows)


@pytest.mark.parametrize("num_teachers", [5, 8, 12])
@pytest.mark.parametrize("alpha", [0.25, 0.4, 0.6])
def test_cronus__is_the_definition_with_covariance_matrices(num_teachers: int, alpha: float) -> None:
    for seed in range(5):
        stack = messages(num_teachers, seed, distribution=True)
        np.testing.assert_allclose(pooled(Cronus(alpha=alpha), stack), cronus_by_hand(stack.numpy(), alpha), atol=1e-9)


def test_cronus__drops_what_lies_far_off_in_any_direction() -> None:
    stack = 0.01 * messages(10, seed=2)
    stack[3] += 1.0
    stack[6] -= 2.0
    found = Cronus(alpha=0.2).pool(stack[0], stack, equal(10), False)  # one each time
    assert found.used.tolist() == [0 if teacher in (3, 6) else pytest.approx(1 / 8) for teacher in range(10)]


@pytest.mark.parametrize("rule", [Krum(f=3), MultiKrum(f=3), MultiKrum(f=2, m=9), Nearest(f=3), TrimmedMean(b=3)])
def test_rules__bear_what_fewer_teachers_allow(rule: Any) -> None:
    """Four teachers of seven are there: one of them may lie."""
    stack = messages(4)
    less = {"f": 1} if hasattr(rule, "f") else {"b": 1}
    fitting = rule.model_copy(update=less | ({"m": 3} if getattr(rule, "m", 0) else {}))
    torch.testing.assert_close(pooled(rule, stack), pooled(fitting, stack), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("rule", "least"),
    [
        (Mean(), 1),
        (Median(), 3),
        (TrimmedMean(b=2), 5),
        (Krum(f=1), 3),
        (MultiKrum(f=1, m=4), 5),
        (Nearest(f=2), 5),
        (Cronus(alpha=0.4), 5),
        (Cronus(alpha=0.3), 7),
        (SelfCentredClipping(), 2),
        (SelfCentredClipping(tau=1.0), 1),
    ],
)
def test_needs__is_more_than_twice_the_liars(rule: Aggregation, least: int) -> None:
    assert rule.needs() == least
