"""The distillation loss as a configuration composes it, against hand compositions."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError
from torch import Tensor

from peers.base.section import examples
from peers.exchange import objectives
from peers.exchange.config import ExchangeConfig
from peers.exchange.losses import BroughtLoss, LossConfig, VectorLoss
from peers.exchange.targets import TargetConfig
from peers.exchange.wire import Wire

BATCH, DIM = 12, 7
ZERO = torch.zeros(DIM)


def draws(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def exchange_of(**values: Any) -> ExchangeConfig:
    return ExchangeConfig.model_validate(values)


def loss_of(exchange: ExchangeConfig, student: Tensor, teachers: Tensor, weights: list[float]) -> Tensor:
    sent = torch.stack([exchange.sent(teacher) for teacher in teachers])
    return exchange.distillation_loss(student, sent, torch.tensor(weights), ZERO)


def test_kl__plain_temperatures_are_hintons():
    student, teacher = draws(BATCH, DIM), draws(BATCH, DIM, seed=1)
    exchange = exchange_of(target={"kind": "none", "temperature": 3.0}, loss={"kind": "kl", "temperature": 3.0})
    expected = 9 * F.kl_div(F.log_softmax(student / 3, dim=1), F.softmax(teacher / 3, dim=1), reduction="batchmean")
    assert loss_of(exchange, student, teacher[None], [1.0]).item() == pytest.approx(expected.item(), rel=1e-5)


def test_probabilities__are_what_crosses_the_link_and_give_the_logits_loss():
    """With one teacher, KL on what softmax sent equals KL on the logits: the receiver sharpens log p."""
    student, teacher = draws(BATCH, DIM), draws(1, BATCH, DIM, seed=1)
    common = {"target": {"kind": "none", "temperature": 0.5}, "loss": {"kind": "cross-entropy", "temperature": 0.1}}
    probabilities, logits = (exchange_of(what=what, **common) for what in ("probabilities", "logits"))
    torch.testing.assert_close(probabilities.sent(teacher[0]).sum(dim=1), torch.ones(BATCH))
    torch.testing.assert_close(
        loss_of(probabilities, student, teacher, [1.0]), loss_of(logits, student, teacher, [1.0])
    )


def test_vector_loss__on_probabilities_compares_both_sides_as_probabilities():
    student, teacher = draws(BATCH, DIM), draws(BATCH, DIM, seed=1)
    exchange = exchange_of(what="probabilities", target={"kind": "none"}, loss={"kind": "mse"})
    expected = (student.softmax(1) - teacher.softmax(1)).square().mean()
    torch.testing.assert_close(loss_of(exchange, student, teacher[None], [1.0]), expected)


@pytest.mark.parametrize("loss", examples(LossConfig), ids=lambda loss: loss.kind)
def test_average__losses_is_the_weighted_mean_of_one_loss_per_teacher(loss: LossConfig):
    student, teachers = draws(BATCH, DIM), draws(3, BATCH, DIM, seed=1)
    exchange = exchange_of(target={"kind": "none"}, loss=loss, average="losses")
    if isinstance(loss, VectorLoss | BroughtLoss):
        each = [loss(student, teacher) for teacher in teachers]
    else:
        each = [loss(student, teacher.softmax(1), 1.0) for teacher in teachers]
    expected = sum(weight * value for weight, value in zip([0.5, 0.3, 0.2], each, strict=True))
    torch.testing.assert_close(loss_of(exchange, student, teachers, [0.5, 0.3, 0.2]), expected)


@pytest.mark.parametrize(
    ("what", "loss", "same"),
    [
        ("logits", {"kind": "mse"}, True),
        ("probabilities", {"kind": "kl"}, True),
        ("logits", {"kind": "kl"}, False),
        ("logits", {"kind": "salient"}, False),
        ("probabilities", {"kind": "js"}, False),
    ],
)
def test_average__outputs_and_losses_have_one_gradient_where_the_docstring_says_so(what: str, loss: Any, same: bool):
    gradients = []
    for average in ("outputs", "losses"):
        student, teachers = draws(BATCH, DIM).requires_grad_(), draws(3, BATCH, DIM, seed=1)
        exchange = exchange_of(what=what, target={"kind": "none"}, loss=loss, average=average)
        loss_of(exchange, student, teachers, [0.5, 0.3, 0.2]).backward()
        gradients.append(student.grad)
    assert torch.allclose(gradients[0], gradients[1], rtol=1e-4, atol=1e-7) == same


def test_targets__composed_by_hand():
    student, teacher = draws(BATCH, DIM), draws(BATCH, DIM, seed=1)
    log_student = F.log_softmax(student / 0.1, dim=1)
    centre = draws(DIM, seed=2)
    standardised = (teacher - teacher.mean(0)) / (teacher.std(0, correction=0) + 1e-6)
    cases = [
        ({"kind": "standardise", "temperature": 0.5}, F.softmax(standardised / 0.5, dim=1)),
        ({"kind": "centre", "temperature": 0.04}, F.softmax((teacher - centre) / 0.04, dim=1)),
        ({"kind": "sinkhorn", "epsilon": 0.5, "iterations": 3}, objectives.sinkhorn(teacher, 0.5, 3)),
    ]
    for target, probs in cases:
        exchange = exchange_of(target=target, loss={"kind": "cross-entropy", "temperature": 0.1})
        loss = exchange.distillation_loss(student, teacher[None], torch.ones(1), centre)
        torch.testing.assert_close(loss, -(probs * log_student).sum(1).mean())


def test_updated_centre__is_dinos_and_only_kept_where_it_is_used():
    teachers, weights, centre = draws(2, BATCH, DIM), torch.tensor([0.25, 0.75]), draws(DIM, seed=3)
    expected = 0.9 * centre + 0.1 * (0.25 * teachers[0] + 0.75 * teachers[1]).mean(0)
    kept = exchange_of(target={"kind": "centre", "momentum": 0.9}).updated_centre(centre, teachers, weights)
    torch.testing.assert_close(kept, expected)
    assert exchange_of(target={"kind": "none"}).updated_centre(centre, teachers, weights) is centre


@pytest.mark.parametrize("average", ["outputs", "losses"])
def test_updated_centre__of_probabilities_centres_what_the_loss_centres(average: str):
    """Without momentum the new centre is the batch mean of the very logits that the loss subtracts it from."""
    exchange = exchange_of(what="probabilities", target={"kind": "centre", "momentum": 0.0}, average=average)
    probs, weights = draws(2, BATCH, DIM).mul(4).softmax(dim=2), torch.tensor([0.25, 0.75])
    pooled = (0.25 * probs[0] + 0.75 * probs[1]).log()
    each = 0.25 * probs[0].log() + 0.75 * probs[1].log()
    expected = (pooled if average == "outputs" else each).mean(0)
    torch.testing.assert_close(exchange.updated_centre(ZERO, probs, weights), expected)


def test_kl__on_sinkhorn_targets_is_not_scaled():
    student, teacher = draws(BATCH, DIM), draws(BATCH, DIM, seed=1)
    exchange = exchange_of(target={"kind": "sinkhorn", "epsilon": 0.05}, loss={"kind": "kl", "temperature": 0.1})
    probs = objectives.sinkhorn(teacher, 0.05, 3)
    expected = F.kl_div(F.log_softmax(student / 0.1, dim=1), probs, reduction="batchmean")
    torch.testing.assert_close(loss_of(exchange, student, teacher[None], [1.0]), expected)


def test_distillation_loss__gradients_reach_the_student_only():
    student, teachers = draws(BATCH, DIM).requires_grad_(), draws(2, BATCH, DIM, seed=1).requires_grad_()
    exchange_of().distillation_loss(student, teachers, torch.tensor([0.5, 0.5]), ZERO).backward()
    assert student.grad is not None and student.grad.abs().sum() > 0
    assert teachers.grad is None


@pytest.mark.parametrize("average", ["outputs", "losses"])
@pytest.mark.parametrize("what", ["logits", "probabilities"])
@pytest.mark.parametrize("loss", examples(LossConfig), ids=lambda loss: loss.kind)
def test_distillation_loss__vmap_over_students_equals_the_loop_for_every_target(
    loss: LossConfig, what: str, average: str
):
    """Losses, gradients and centres, of every target that the loss takes; of vectors, those without a temperature."""
    taken = 0
    for target in examples(TargetConfig):
        if isinstance(loss, VectorLoss) and target.temperature is not None:
            target = target.model_copy(update={"temperature": 1.0})
        try:
            exchange = exchange_of(what=what, target=target, loss=loss, average=average)
        except ValidationError:
            continue
        taken += 1
        students, outputs = draws(3, BATCH, DIM), draws(3, 2, BATCH, DIM, seed=1)
        teachers = torch.vmap(torch.vmap(exchange.sent))(outputs)
        weights, centres = torch.tensor([[0.5, 0.5], [0.25, 0.75], [1.0, 0.0]]), draws(3, DIM, seed=2)
        of_one = torch.func.grad_and_value(exchange.distillation_loss)
        gradients, losses = torch.vmap(of_one)(students, teachers, weights, centres)
        updated = torch.vmap(exchange.updated_centre)(centres, teachers, weights)
        for i in range(3):
            gradient, value = of_one(students[i], teachers[i], weights[i], centres[i])
            torch.testing.assert_close((gradients[i], losses[i]), (gradient, value))
            torch.testing.assert_close(updated[i], exchange.updated_centre(centres[i], teachers[i], weights[i]))
    few = isinstance(loss, VectorLoss) or (isinstance(loss, BroughtLoss) and what == "probabilities")
    assert taken >= (1 if few else len(examples(TargetConfig)))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"target": {"kind": "sinkhorn"}, "loss": {"kind": "mse"}}, "use kl, cross-entropy or js"),
        (
            {"what": "probabilities", "target": {"kind": "centre"}, "loss": {"kind": "mse"}},
            "takes exchange.target 'none'",
        ),
        ({"what": "features", "supervised": 1.0}, "needs class logits"),
        ({"target": {"kind": "none", "temperature": 0.5}, "loss": {"kind": "mse"}}, "temperature is 0.5, which"),
        ({"refresh_every": 5, "teacher_ema": 0.9}, "teacher_ema is 0.9 and exchange.refresh_every is 5, but"),
        ({"what": "logits", "top_k": 3}, "top_k is 3, which is for distributions, but exchange.what is 'logits': set"),
        ({"what": "features", "top_k": 3}, "but exchange.what is 'features': set it to probabilities, or"),
        ({"what": "probabilities", "top_k": -1}, "greater than or equal to 0"),
        ({"dtype": "int4"}, "'float32', 'float16', 'bfloat16' or 'int8'"),
    ],
)
def test_exchange__refuses_what_cannot_be_compared(values: dict[str, Any], message: str):
    with pytest.raises(ValidationError, match=message):
        exchange_of(**values)


def test_wire__is_as_configured_and_everything_in_float32_otherwise():
    assert exchange_of().wire == Wire("float32", 0)
    assert exchange_of(what="probabilities", dtype="int8", top_k=3).wire == Wire("int8", 3)


@pytest.mark.parametrize("what", ["logits", "probabilities"])
@pytest.mark.parametrize(("dtype", "error"), [("float32", 0.0), ("float16", 1e-3), ("bfloat16", 1e-2), ("int8", 2e-2)])
def test_distillation_loss__sees_what_was_sent_through_any_format(what: str, dtype: str, error: float):
    """The target's temperature is 1: an error of the outputs is not blown up."""
    target = {"kind": "none", "temperature": 1.0}
    exchange = exchange_of(what=what, dtype=dtype, target=target, loss={"kind": "cross-entropy", "temperature": 1.0})
    student, teachers = draws(BATCH, DIM), torch.stack([exchange.sent(each) for each in draws(2, BATCH, DIM, seed=1)])
    received = exchange.wire.unpack(exchange.wire.pack(teachers), DIM, teachers.device)
    assert torch.equal(received, teachers) == (dtype == "float32")
    weights = torch.tensor([0.5, 0.5])
    expected = exchange.distillation_loss(student, teachers, weights, ZERO).item()
    assert exchange.distillation_loss(student, received, weights, ZERO).item() == pytest.approx(expected, rel=error)
