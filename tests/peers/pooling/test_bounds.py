"""What pooling promises: symmetry, distributions that stay such, and what a minority of liars can do at most."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import Tensor

from peers.base.means import weighted_mean
from peers.base.section import examples
from peers.pooling.config import (
    AggregationConfig,
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

RULES = examples(AggregationConfig)
OF_SAMPLES = [rule.model_copy(update={"per_sample": True}) for rule in RULES if hasattr(rule, "per_sample")]
ALL = [*RULES, *OF_SAMPLES]
OF_MESSAGES = {"krum", "multi-krum", "nearest", "cronus"}  # they drop messages, or samples of these
BEAR_ONE = OF_MESSAGES | {"median", "trimmed-mean", "geometric-median", "self-centred-clipping"}  # one lie
few_examples = settings(max_examples=40, deadline=None)


def named(rule: Any) -> str:
    return f"{rule.kind}{'-by-sample' if getattr(rule, 'per_sample', False) else ''}"


def equal(num_teachers: int) -> Tensor:
    return torch.full((num_teachers,), 1 / num_teachers, dtype=torch.float64)


def by_trust(num_teachers: int) -> Tensor:
    """Very unequal weights, as trust and memory make them; the last one is next to nothing."""
    agreements = torch.from_numpy(np.random.default_rng(4).uniform(0.2, 1, num_teachers))
    weights = torch.softmax(8 * agreements, dim=0)
    weights[-1] = 1e-30
    return weights / weights.sum()


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))


def distributions(num_teachers: int) -> st.SearchStrategy[Tensor]:
    """Stacks [teachers, 3 samples, 4 outputs] of distributions, those with zeros and those that are equal, too."""
    counts = arrays(np.int64, (num_teachers, 3, 4), elements=st.integers(0, 5))

    def scaled(found: np.ndarray) -> Tensor:
        found[..., 0] += found.sum(axis=-1) == 0
        return torch.from_numpy(found / found.sum(axis=-1, keepdims=True))

    return counts.map(scaled)


@pytest.mark.parametrize("rule", ALL, ids=named)
@pytest.mark.parametrize("distribution", [False, True])
@pytest.mark.parametrize("weights", [equal(7), by_trust(7)], ids=["equal", "by trust"])
def test_rules__do_not_depend_on_the_order_of_teachers(rule: Any, distribution: bool, weights: Tensor) -> None:
    stack = normal(7, 4, 5)
    stack = torch.softmax(stack, dim=2) if distribution else stack
    own, order = stack[0], torch.from_numpy(np.random.default_rng(1).permutation(7))
    first = rule.pool(own, stack, weights, distribution)
    second = rule.pool(own, stack[order], weights[order], distribution)
    torch.testing.assert_close(second.outputs, first.outputs)
    torch.testing.assert_close(second.used, first.used[order])
    assert bool((first.used >= 0).all()) and first.used.sum().item() == pytest.approx(1)


@pytest.mark.parametrize("rule", [rule for rule in ALL if rule.kind in OF_MESSAGES], ids=named)
def test_rules__drop_the_same_messages_whatever_these_weigh(rule: Any) -> None:
    """Distances say which: their mean is by weight, of whole messages and of each sample by itself."""
    stack, own, weights = normal(7, 4, 5), normal(4, 5, seed=1), by_trust(7)
    found = rule.pool(own, stack, weights, False)
    for sample in range(4):
        part = slice(sample, sample + 1) if rule.kind == "cronus" or rule.per_sample else slice(0, 4)
        kept = (rule.pool(own[part], stack[:, part], equal(7), False).used > 0).numpy()
        assert 0 < kept.sum() < 7
        expected = np.average(stack[kept, sample].numpy(), axis=0, weights=weights[kept].numpy())
        np.testing.assert_allclose(found.outputs[sample], expected, rtol=1e-9)


AS_REPEATED = [rule for rule in ALL if rule.kind in ("mean", "median", "geometric-median")]
AS_REPEATED += [SelfCentredClipping(tau=1.5), SelfCentredClipping(tau=0.7, per_sample=True)]


@pytest.mark.parametrize("rule", AS_REPEATED, ids=named)
def test_rules__take_a_message_of_twice_the_weight_as_two_messages(rule: Any) -> None:
    stack, own, times = normal(4, 4, 5), normal(4, 5, seed=1), torch.tensor([3, 1, 2, 1])
    found = rule.pool(own, stack, times / times.sum(), False)
    repeated = rule.pool(own, stack.repeat_interleave(times, dim=0), equal(7), False)
    torch.testing.assert_close(found.outputs, repeated.outputs, rtol=1e-6, atol=1e-6)
    if rule.kind != "median":  # one of equal messages stands for all of them
        used = torch.stack([part.sum() for part in repeated.used.split(times.tolist())])
        torch.testing.assert_close(found.used, used, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("rule", ALL, ids=named)
@few_examples
@given(data=st.data())
def test_rules__keep_distributions(rule: Any, data: st.DataObject) -> None:
    stack = data.draw(distributions(data.draw(st.integers(1, 7))))
    weights = data.draw(st.sampled_from([equal, by_trust]))(len(stack))
    found = rule.pool(stack[0], stack, weights, True)
    assert bool((found.outputs >= -1e-12).all())
    torch.testing.assert_close(found.outputs.sum(dim=1), torch.ones(3, dtype=torch.float64))
    assert bool((found.used >= 0).all()) and found.used.sum().item() == pytest.approx(1)


@pytest.mark.parametrize("rule", ALL, ids=named)
@pytest.mark.parametrize("num_teachers", [1, 2, 5])
def test_rules__of_equal_messages_is_that_message(rule: Any, num_teachers: int) -> None:
    message = normal(4, 5)
    found = rule.pool(message, message.expand(num_teachers, 4, 5), equal(num_teachers), False)
    torch.testing.assert_close(found.outputs, message)


@pytest.mark.parametrize("rule", ALL, ids=named)
def test_rules__compute_in_float32_without_gradients_and_leave_messages_alone(rule: Any) -> None:
    stack = normal(5, 4, 3).to(torch.float16).requires_grad_()
    before = stack.detach().clone()
    found = rule.pool(stack[0], stack, torch.full((5,), 0.2), False)
    assert found.outputs.dtype is torch.float32 and not found.outputs.requires_grad
    torch.testing.assert_close(stack.detach(), before, rtol=0, atol=0)
    again = rule.pool(stack[0], stack, torch.full((5,), 0.2), False)
    assert torch.equal(found.outputs, again.outputs)


MOVES_ALONG = [Mean(), Median(), TrimmedMean(b=2), Krum(), MultiKrum(), Nearest(), Cronus(), SelfCentredClipping()]


@pytest.mark.parametrize("rule", MOVES_ALONG, ids=named)
def test_rules__move_and_scale_with_the_messages(rule: Any) -> None:
    """Not the geometric median: its few steps start at 0, and its smoothing has a length."""
    stack, shift = normal(7, 4, 5), normal(4, 5, seed=1)
    plain = rule.pool(stack[0], stack, equal(7), False)
    moved = 3 * stack + shift
    found = rule.pool(moved[0], moved, equal(7), False)
    torch.testing.assert_close(found.outputs, 3 * plain.outputs + shift)
    torch.testing.assert_close(found.used, plain.used)


def test_geometric_median__of_many_steps_moves_along() -> None:
    stack, shift = normal(7, 4, 5), normal(4, 5, seed=1)
    rule = GeometricMedian(iterations=200, nu=1e-6)
    torch.testing.assert_close(
        rule.pool(stack[0], stack + shift, equal(7), False).outputs,
        rule.pool(stack[0], stack, equal(7), False).outputs + shift,
    )


AS_MEAN = [
    TrimmedMean(b=0),
    MultiKrum(f=0),
    MultiKrum(f=0, per_sample=True),
    Nearest(f=0),
    SelfCentredClipping(tau=1e9),
    Cronus(alpha=0.2),
]


@pytest.mark.parametrize("rule", AS_MEAN, ids=named)
@pytest.mark.parametrize("distribution", [False, True])
def test_rules__that_drop_nobody_are_the_weighted_mean(rule: Any, distribution: bool) -> None:
    stack = normal(6, 4, 5)
    stack = torch.softmax(stack, dim=2) if distribution else stack
    weights = torch.from_numpy(np.random.default_rng(2).dirichlet(np.ones(6)))
    found = rule.pool(normal(4, 5, seed=3), stack, weights, distribution)
    torch.testing.assert_close(found.outputs, weighted_mean(stack, weights))
    torch.testing.assert_close(found.used, weights)


@few_examples
@given(honest=distributions(6), lies=distributions(6), count=st.integers(0, 6))
def test_mean__of_distributions_is_moved_by_at_most_the_share_of_liars(
    honest: Tensor, lies: Tensor, count: int
) -> None:
    """In total variation, whatever the liars say."""
    attacked = torch.cat([lies[:count], honest[count:]])
    before, after = (Mean().pool(each[0], each, equal(6), True).outputs for each in (honest, attacked))
    assert bool((0.5 * (after - before).abs().sum(dim=1) <= count / 6 + 1e-12).all())


def test_mean__of_distributions_is_moved_that_far_by_the_opposite_answer() -> None:
    honest = torch.tensor([[1.0, 0.0]]).expand(4, 1, 2)
    attacked = torch.cat([honest[:3], torch.tensor([[[0.0, 1.0]]])])
    assert Mean().pool(honest[0], attacked, torch.full((4,), 0.25), True).outputs.tolist() == [[0.75, 0.25]]


def test_mean__of_logits_goes_wherever_one_liar_wants() -> None:
    stack, wanted = normal(8, 4, 5), 1e6 * normal(4, 5, seed=5)
    lie = 8 * wanted - stack[1:].sum(dim=0)
    attacked = torch.cat([lie[None], stack[1:]])
    torch.testing.assert_close(Mean().pool(stack[1], attacked, equal(8), False).outputs, wanted)


def test_log_linear_pool__is_vetoed_by_one_zero() -> None:
    """Why means of logarithms are not pooled: the output that seven of eight are sure of gets the probability 0."""
    honest = torch.tensor([0.98, 0.01, 0.01]).expand(7, 1, 3)
    stack = torch.cat([honest, torch.tensor([[[0.0, 0.5, 0.5]]])])
    weights = torch.full((8,), 1 / 8)
    log_linear = torch.softmax(weighted_mean(stack.log(), weights), dim=1)
    assert log_linear[0, 0] == 0
    assert Mean().pool(stack[0], stack, weights, True).outputs[0, 0] > 0.85


BEARS_TWO = [
    Median(),
    TrimmedMean(b=2),
    GeometricMedian(),
    GeometricMedian(per_sample=True),
    Krum(f=2),
    Krum(f=2, per_sample=True),
    MultiKrum(f=2),
    MultiKrum(f=2, per_sample=True),
    Nearest(f=2),
    Nearest(f=2, per_sample=True),
    SelfCentredClipping(tau=4.0),
    Cronus(alpha=0.6),
]


@pytest.mark.parametrize("rule", BEARS_TWO, ids=named)
@pytest.mark.parametrize("size", [10.0, 1e4, 1e8, 1e30])
@pytest.mark.parametrize("apart", [False, True])
def test_rules__are_moved_a_bounded_way_by_two_liars_of_seven(rule: Any, size: float, apart: bool) -> None:
    """Liars together or on both sides, however far away; float32, as in runs."""
    honest = normal(5, 3, 4).float()
    direction = normal(3, 4, seed=7).float()
    lies = torch.stack([size * direction, (-size if apart else size) * direction])
    stack = torch.cat([honest, lies])
    found = rule.pool(honest[0], stack, torch.full((7,), 1 / 7), False).outputs
    radius = (honest - honest.mean(dim=0)).flatten(1).norm(dim=1).max()
    assert (found - honest.mean(dim=0)).norm() <= 4 * radius


@few_examples
@given(data=st.data())
@pytest.mark.parametrize("rule", [Median(), TrimmedMean(b=2)], ids=named)
def test_entry_wise_rules__stay_among_the_honest_values(rule: Any, data: st.DataObject) -> None:
    numbers = st.floats(-100, 100, width=32)
    honest = torch.from_numpy(data.draw(arrays(np.float32, (5, 2, 3), elements=numbers))).double()
    lies = torch.from_numpy(data.draw(arrays(np.float32, (2, 2, 3), elements=numbers))).double() * 1e6
    found = rule.pool(honest[0], torch.cat([lies, honest]), equal(7), False).outputs
    assert bool((found >= honest.amin(dim=0) - 1e-9).all()) and bool((found <= honest.amax(dim=0) + 1e-9).all())


@pytest.mark.parametrize(("rule", "liars"), [(Median(), 4), (TrimmedMean(b=2), 3), (MultiKrum(f=2), 3)], ids=str)
def test_rules__break_down_with_more_liars_than_they_bear(rule: Any, liars: int) -> None:
    """So the bound above is not for nothing."""
    stack = normal(7, 3, 4)
    stack[:liars] = 1e8 + stack[:liars] * 1e-3
    if isinstance(rule, MultiKrum):
        stack[:liars] = 1e8  # close together
    assert rule.pool(stack[6], stack, equal(7), False).outputs.abs().max() > 1e6


def test_median__of_distributions_that_are_sure_of_different_outputs_says_nothing() -> None:
    stack = torch.eye(3)[:, None]  # entry by entry it is 0
    assert Median().pool(stack[0], stack, torch.full((3,), 1 / 3), True).outputs.tolist() == [
        [pytest.approx(1 / 3)] * 3
    ]


@pytest.mark.gpu
@pytest.mark.parametrize("rule", ALL, ids=named)
def test_rules__on_a_gpu_are_those_of_the_cpu(rule: Any) -> None:
    stack = torch.softmax(normal(7, 16, 5), dim=2).float()
    here = rule.pool(stack[0], stack, torch.full((7,), 1 / 7), True)
    there = rule.pool(stack[0].cuda(), stack.cuda(), torch.full((7,), 1 / 7, device="cuda"), True)
    torch.testing.assert_close(there.outputs.cpu(), here.outputs, atol=1e-5, rtol=0)
    torch.testing.assert_close(there.used.cpu(), here.used, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("rule", "setting"), [(GeometricMedian, "nu"), (SelfCentredClipping, "tau")])
def test_rules__of_a_length_beyond_float32_are_refused_or_taken(rule: Any, setting: str) -> None:
    """As peers.optimizer.lr, which is at most 1e38: no RuntimeError in the middle of a run."""
    try:
        asked = rule(**{setting: 1e39})
    except ValueError as refused:  # pydantic's
        assert setting in str(refused)
        return
    stack = torch.randn(4, 5, 3, generator=torch.Generator().manual_seed(0))
    assert bool(asked.pool(stack[0], stack, torch.full((4,), 0.25), False).outputs.isfinite().all())


@pytest.mark.parametrize("rule", [rule for rule in ALL if rule.kind in BEAR_ONE], ids=named)
@pytest.mark.parametrize("size", [-3e38, 1e20, 3e38])
def test_rules__a_lie_of_infinite_square_moves_the_pool_no_more_than_a_nearer_one(rule: Any, size: float) -> None:
    """Squares of float32 numbers above 1.8e19 are infinite: such a lie must neither win nor spoil the pool."""
    honest = normal(6, 4, 3).float()
    stack = torch.cat([honest, torch.full((1, 4, 3), size)])
    found = rule.pool(honest[0], stack, equal(7), False)
    assert found.outputs.dtype is torch.float32 and bool(found.outputs.isfinite().all())
    assert float(found.outputs.abs().max()) <= 3 * float(honest.abs().max())
    nearer = rule.pool(honest[0], stack.clamp(-1e12, 1e12), equal(7), False)
    torch.testing.assert_close(found.outputs, nearer.outputs, rtol=1e-4, atol=1e-4)
