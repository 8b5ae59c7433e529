"""Objectives against hand values, scipy, torch's own losses and the identities that the documentation claims."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import special, stats
from scipy.spatial import distance
from torch import Tensor

from peers.base.section import examples
from peers.exchange import objectives
from peers.exchange.losses import DistributionLoss, LossConfig, VectorLoss

LOSSES = examples(LossConfig)
VECTOR_LOSSES = [loss for loss in LOSSES if isinstance(loss, VectorLoss)]
DISTRIBUTION_LOSSES = [loss for loss in LOSSES if isinstance(loss, DistributionLoss)]


def kind_of(loss: Any) -> str:
    return str(loss.kind)


def _normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _student_gradient(loss: Callable[[Tensor], Tensor], student: Tensor) -> Tensor:
    leaf = student.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(leaf), leaf)
    return gradient


def test_average_teachers__hand_value_normalises_weights():
    outputs = torch.tensor([[[1.0, 2.0]], [[3.0, 6.0]], [[100.0, 100.0]]])
    pooled = objectives.average_teachers(outputs, torch.tensor([1.0, 3.0, 0.0]))
    torch.testing.assert_close(pooled, torch.tensor([[2.5, 5.0]]))


def test_average_teachers__half_precision_is_summed_in_float32():
    outputs = torch.tensor([2048.0, 1.0], dtype=torch.float16).reshape(2, 1, 1)
    assert objectives.average_teachers(outputs, torch.tensor([0.5, 0.5])).item() == 1024.5  # float16 would give 1024


def test_probs_to_logits__softmax_returns_probs():
    probs = torch.softmax(3.0 * _normal(5, 7), dim=1).float()
    torch.testing.assert_close(torch.softmax(objectives.probs_to_logits(probs), dim=1), probs)
    assert objectives.probs_to_logits(torch.tensor([[0.0, 1.0]])).tolist() == [[pytest.approx(-87.3365), 0.0]]


def test_centre__running_centre_of_a_constant_batch_converges_to_it():
    logits = torch.tensor([[1.0, -2.0], [3.0, 4.0]])
    running = torch.zeros(2)
    for _ in range(3):
        running = objectives.update_centre(running, logits.mean(dim=0), 0.9)
    torch.testing.assert_close(running, (1 - 0.9**3) * torch.tensor([2.0, 1.0]))
    torch.testing.assert_close(
        objectives.centre(logits, torch.tensor([2.0, 1.0])), torch.tensor([[-1.0, -3.0], [1.0, 3.0]])
    )


def test_standardise__equals_zscore_and_zeroes_constant_dimension():
    logits = 1e-2 * _normal(32, 4).float() + 3.0
    torch.testing.assert_close(
        objectives.standardise(logits), torch.from_numpy(stats.zscore(logits.numpy())), rtol=1e-3, atol=1e-3
    )
    assert objectives.standardise(torch.full((8, 2), 5.0)).eq(0.0).all()
    assert objectives.standardise(torch.tensor([[4.0, -1.0]])).eq(0.0).all()  # a batch of one


@pytest.mark.parametrize("scale", [0.1, 0.02, 3.0])
def test_sharpen__is_the_softmax_of_probabilities_over_the_scale(scale: float):
    logits = _normal(6, 5)
    expected = special.softmax(special.softmax(logits.numpy(), axis=1) / scale, axis=1)
    np.testing.assert_allclose(objectives.sharpen(logits, scale).numpy(), expected, atol=1e-12)
    shifted = objectives.sharpen(logits + 100.0, scale)  # logits say the same up to a constant
    torch.testing.assert_close(shifted, torch.from_numpy(expected), rtol=1e-9, atol=1e-12)


def test_sinkhorn__matches_kernel_scaling_and_marginals():
    logits = 0.3 * _normal(12, 4)
    plan = np.exp(logits.numpy() / 0.5)
    for _ in range(5000):
        plan *= (12 / 4) / plan.sum(axis=0)
        plan /= plan.sum(axis=1, keepdims=True)
    probs = objectives.sinkhorn(logits, epsilon=0.5, iterations=200)
    np.testing.assert_allclose(probs.numpy(), plan, atol=1e-12)
    np.testing.assert_allclose(probs.sum(dim=0).numpy(), np.full(4, 3.0), atol=1e-12)


def test_sinkhorn__three_iterations_equal_swav_listing():
    logits = _normal(6, 3)
    plan = (logits / 0.2).exp().T
    plan /= plan.sum()
    for _ in range(3):
        plan /= plan.sum(dim=1, keepdim=True) * 3
        plan /= plan.sum(dim=0, keepdim=True) * 6
    torch.testing.assert_close(objectives.sinkhorn(logits, 0.2, 3), (plan * 6).T)


def test_sinkhorn__small_epsilon_stays_finite_and_rows_sum_to_one():
    probs = objectives.sinkhorn(100.0 * _normal(16, 5).float(), epsilon=0.01, iterations=3)
    torch.testing.assert_close(probs.sum(dim=1), torch.ones(16), rtol=0.0, atol=3e-7)


def test_vector_losses__hand_values():
    student = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    target = torch.tensor([[1.0, 0.0], [0.0, 3.0]])
    assert objectives.mse(student, target).item() == pytest.approx((0 + 4 + 9 + 1) / 4)
    assert objectives.salient(student, target).item() == pytest.approx((4 + 9) / 2)
    cosines = [1 - distance.cosine(s, t) for s, t in zip(student.numpy(), target.numpy(), strict=True)]
    assert objectives.cosine(student, target).item() == pytest.approx(1 - np.mean(cosines))


def test_cosine__is_half_the_squared_distance_of_unit_vectors():
    student, target = _normal(9, 5), _normal(9, 5, seed=1)
    half = 0.5 * (F.normalize(student, dim=1) - F.normalize(target, dim=1)).square().sum(dim=1).mean()
    torch.testing.assert_close(objectives.cosine(student, target), half)


@pytest.mark.parametrize("temperature", [0.1, 1.0, 4.0])
def test_distribution_losses__match_scipy(temperature: float):
    logits, target = _normal(6, 5), torch.softmax(_normal(6, 5, seed=1), dim=1)
    student = special.softmax(logits.numpy() / temperature, axis=1)
    divergence = stats.entropy(target.numpy(), student, axis=1).mean()
    entropy = stats.entropy(target.numpy(), axis=1).mean()
    js = np.mean([distance.jensenshannon(p, q) ** 2 for p, q in zip(target.numpy(), student, strict=True)])
    assert objectives.kl(logits, target, temperature).item() == pytest.approx(divergence)
    assert objectives.cross_entropy(logits, target, temperature).item() == pytest.approx(divergence + entropy)
    assert objectives.js(logits, target, temperature).item() == pytest.approx(js)


def test_kl__matches_torch_and_scales_by_both_temperatures():
    logits, target = _normal(6, 5), torch.softmax(_normal(6, 5, seed=1), dim=1)
    reference = F.kl_div(torch.log_softmax(logits / 3.0, dim=1), target, reduction="batchmean")
    torch.testing.assert_close(objectives.kl(logits, target, 3.0), reference)
    torch.testing.assert_close(objectives.kl(logits, target, 3.0, target_temperature=3.0), 9.0 * reference)


def test_cross_entropy__one_hot_targets_equal_the_label_loss():
    logits, labels = _normal(6, 4), torch.tensor([0, 1, 2, 3, 0, 1])
    target = F.one_hot(labels, 4).double()
    torch.testing.assert_close(objectives.cross_entropy(logits, target, 1.0), F.cross_entropy(logits, labels))
    torch.testing.assert_close(objectives.kl(logits, target, 1.0), F.cross_entropy(logits, labels))


@pytest.mark.parametrize("loss", DISTRIBUTION_LOSSES, ids=kind_of)
def test_distribution_losses__exact_zeros_and_far_logits_stay_finite(loss: Callable[..., Tensor]):
    target = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.5, 0.5]])
    student = torch.tensor([[-300.0, 300.0, 0.0], [300.0, -300.0, 0.0]])
    assert loss(student, target, 1.0).isfinite()
    assert _student_gradient(lambda s: loss(s, target, 1.0), student).isfinite().all()


def test_js__disjoint_supports_give_ln_2():
    target = torch.tensor([[1.0, 0.0]])
    assert objectives.js(torch.tensor([[-200.0, 200.0]]), target, 1.0).item() == pytest.approx(math.log(2.0))


def test_js__gradient_matches_finite_differences():
    target = torch.softmax(_normal(3, 4, seed=1), dim=1)
    student = _normal(3, 4).requires_grad_()
    assert torch.autograd.gradcheck(lambda s: objectives.js(s, target, 0.7), student)


@pytest.mark.parametrize("loss", VECTOR_LOSSES, ids=kind_of)
def test_vector_losses__gradient_reaches_the_student_only(loss: Callable[..., Tensor]):
    student, target = _normal(4, 3).requires_grad_(), _normal(4, 3, seed=1).requires_grad_()
    loss(student, target).backward()
    assert target.grad is None
    assert student.grad is not None and student.grad.abs().sum() > 0


@pytest.mark.parametrize("loss", DISTRIBUTION_LOSSES, ids=kind_of)
def test_distribution_losses__gradient_reaches_the_student_only(loss: Callable[..., Tensor]):
    student, logits = _normal(4, 3).requires_grad_(), _normal(4, 3, seed=1).requires_grad_()
    loss(student, torch.softmax(logits, dim=1), 0.5).backward()
    assert logits.grad is None
    assert student.grad is not None and student.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ("loss", "linear_in_target"), [(objectives.mse, True), (objectives.salient, False), (objectives.cosine, False)]
)
def test_vector_losses__mean_loss_or_loss_of_mean(loss: Callable[..., Tensor], linear_in_target: bool):
    student, teachers = _normal(5, 4), _normal(3, 5, 4, seed=1)
    mean_target = objectives.average_teachers(teachers, torch.ones(3))
    of_losses = _student_gradient(lambda s: torch.stack([loss(s, t) for t in teachers]).mean(), student)
    of_mean = _student_gradient(lambda s: loss(s, mean_target), student)
    assert torch.allclose(of_losses, of_mean, atol=1e-7) == linear_in_target


@pytest.mark.parametrize(
    ("loss", "linear_in_target"), [(objectives.kl, True), (objectives.cross_entropy, True), (objectives.js, False)]
)
def test_distribution_losses__mean_loss_or_loss_of_mean(loss: Callable[..., Tensor], linear_in_target: bool):
    student, probs = _normal(5, 4), torch.softmax(_normal(3, 5, 4, seed=1), dim=2)
    mean_probs = objectives.average_teachers(probs, torch.ones(3))
    of_losses = _student_gradient(lambda s: torch.stack([loss(s, p, 0.5) for p in probs]).mean(), student)
    of_mean = _student_gradient(lambda s: loss(s, mean_probs, 0.5), student)
    assert torch.allclose(of_losses, of_mean, atol=1e-7) == linear_in_target


def test_losses__half_precision_outputs_are_computed_in_float32():
    student, target = torch.tensor([[300.0, 0.0]]).half(), torch.tensor([[0.0, 1.0]]).half()
    assert objectives.mse(student, target).item() == pytest.approx(45000.5)  # 300^2 overflows float16
    assert objectives.kl(student, target, 1.0).item() == pytest.approx(300.0)


# ---- what vmap asks of a loss ----


def of_one_student(loss: Any) -> Callable[[Tensor, Tensor], Tensor]:
    """The loss of `[batch, dim]` outputs against those of a teacher."""
    if isinstance(loss, DistributionLoss):
        return lambda student, teacher: loss(student, torch.softmax(teacher, dim=1), 0.5)
    return loss


def vmap_like_the_loop(loss: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """The losses of three students; they and their gradients are those of one by one, and no argument is written to."""
    students, teachers = 3 * _normal(3, 5, 4), 3 * _normal(3, 5, 4, seed=1)
    before = students.clone(), teachers.clone()
    each = torch.func.grad_and_value(loss)
    gradients, values = torch.vmap(each)(students, teachers)
    assert values.shape == (3,)
    for place in range(3):
        gradient, value = each(students[place], teachers[place])
        torch.testing.assert_close(values[place], value)
        torch.testing.assert_close(gradients[place], gradient)
    assert torch.equal(students, before[0]) and torch.equal(teachers, before[1])
    return values


@pytest.mark.parametrize("loss", LOSSES, ids=kind_of)
def test_losses__vmap_over_students_equals_the_loop(loss: Any):
    assert vmap_like_the_loop(of_one_student(loss)).unique().numel() == 3


BROKEN: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "a number taken out": lambda s, t: (s - t).square().mean() * float(t.std()),
    "a branch on values": lambda s, t: (s - t).square().mean() if (s > t).any() else (s - t).abs().mean(),
    "a shape that depends on values": lambda s, t: (s - t)[s > t].square().mean(),
    "an argument written to": lambda s, t: t.sub_(s).square().mean(),
    "a value for each sample": lambda s, t: (s - t).square().mean(dim=1),
    "a draw": lambda s, t: (s - t).square().mean() + torch.rand(()),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_losses__the_test_above_finds_what_vmap_does_not_take(broken: str):
    with pytest.raises((RuntimeError, AssertionError)):
        vmap_like_the_loop(BROKEN[broken])
