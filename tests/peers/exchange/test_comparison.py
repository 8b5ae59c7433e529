"""Losses with two views, a peer's own terms, and samples for which no teacher answers."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError
from torch import Tensor
from torch.func import vmap

from peers.exchange.config import ExchangeConfig
from peers.exchange.losses import BroughtLoss, GivenLoss
from peers.exchange.objectives import sinkhorn, standardise
from peers.exchange.targets import GivenTarget

SAMPLES, WIDTH = 10, 5  # five images in two views
LABELS = torch.tensor([0, 1, 2, 3, 4] * 2)
ZERO = torch.zeros(WIDTH)
TWO = torch.full((2,), 0.5)


def of(**values: Any) -> ExchangeConfig:
    return ExchangeConfig.model_validate(values)


def drawn(*sizes: int, seed: int = 0) -> Tensor:
    return torch.randn(*sizes, generator=torch.Generator().manual_seed(seed))


def both(exchange: ExchangeConfig, student: Tensor, teacher: Tensor) -> Tensor:
    """The mean of the one-view losses of each half of the student against the other half of the teacher."""
    one = exchange.model_copy(update={"views": 1, "self_loss": 0.0, "target_self_share": 0.0, "self_target": None})
    first, second = student.chunk(2)
    before, after = teacher.chunk(2)
    losses = [
        one.distillation_loss(mine, said[None], torch.ones(1), ZERO)
        for mine, said in ((first, after), (second, before))
    ]
    return (losses[0] + losses[1]) / 2


TARGETS = [{"kind": "none"}, {"kind": "standardise", "temperature": 0.5}, {"kind": "sinkhorn"}, {"kind": "centre"}]
PAIRS = [({"kind": loss, "temperature": 0.3}, target) for loss in ("kl", "cross-entropy", "js") for target in TARGETS]
PAIRS += [
    ({"kind": loss}, {"kind": target}) for loss in ("mse", "salient", "cosine") for target in ("none", "standardise")
]


@pytest.mark.parametrize(("loss", "target"), PAIRS, ids=str)
@pytest.mark.parametrize("what", ["logits", "probabilities"])
def test_distillation_loss__of_two_views_compares_each_with_the_others_target(loss: Any, target: Any, what: str):
    if what == "probabilities" and loss["kind"] in ("mse", "salient", "cosine") and target["kind"] != "none":
        pytest.skip("vector losses compare probabilities as they are")
    exchange = of(loss=loss, target=target, what=what, views=2)
    student, teacher = drawn(SAMPLES, WIDTH), exchange.sent(drawn(SAMPLES, WIDTH, seed=1))
    found = exchange.distillation_loss(student, teacher[None], torch.ones(1), ZERO)
    torch.testing.assert_close(found, both(exchange, student, teacher))


@pytest.mark.parametrize("average", ["outputs", "losses"])
@pytest.mark.parametrize("share", [0.5, 0.9, 1.0])
def test_distillation_loss__of_two_views_averages_teachers_as_of_one(average: str, share: float):
    """By their weights, which need not be equal; a teacher of none counts for nothing."""
    exchange = of(average=average, views=2, target={"kind": "sinkhorn"}, loss={"kind": "kl", "temperature": 0.3})
    student, teachers = drawn(SAMPLES, WIDTH), drawn(2, SAMPLES, WIDTH, seed=1)
    pooled = both(exchange, student, share * teachers[0] + (1 - share) * teachers[1])
    apart = share * both(exchange, student, teachers[0]) + (1 - share) * both(exchange, student, teachers[1])
    found = exchange.distillation_loss(student, teachers, torch.tensor([share, 1 - share]), ZERO)
    torch.testing.assert_close(found, pooled if average == "outputs" else apart)


def test_target_self_share__mixes_targets_after_their_transforms():
    exchange = of(target_self_share=0.25, target={"kind": "standardise"}, self_target={"kind": "sinkhorn"})
    student, teacher = drawn(SAMPLES, WIDTH).requires_grad_(), drawn(SAMPLES, WIDTH, seed=1)
    assert exchange.num_views == 2
    mixed = []
    for mine, said in zip(student.detach().chunk(2), teacher.chunk(2), strict=True):
        mixed.append(0.25 * sinkhorn(mine, 0.05, 3) + 0.75 * torch.softmax(standardise(said), dim=1))
    target = torch.cat([mixed[1], mixed[0]])
    expected = 0.1 * F.kl_div(torch.log_softmax(student / 0.1, dim=1), target, reduction="batchmean")
    found = exchange.distillation_loss(student, teacher[None], torch.ones(1), ZERO)
    torch.testing.assert_close(found, expected)
    gradients = [torch.autograd.grad(loss, student, retain_graph=True)[0] for loss in (found, expected)]
    torch.testing.assert_close(*gradients)  # none through its own target


def test_own_loss__is_that_against_the_other_view_and_on_labels():
    exchange = of(
        self_loss=0.5, supervised=2.0, target={"kind": "sinkhorn"}, loss={"kind": "cross-entropy", "temperature": 0.1}
    )
    outputs, features = drawn(SAMPLES, WIDTH), drawn(SAMPLES, 3)
    expected = 0.5 * both(exchange, outputs, outputs) + 2 * F.cross_entropy(outputs, LABELS)
    torch.testing.assert_close(exchange.own_loss(features, outputs, ZERO, LABELS), expected)
    teachers = drawn(2, SAMPLES, WIDTH, seed=1)
    whole = exchange.loss_of(features, outputs, teachers, TWO, ZERO, LABELS)
    torch.testing.assert_close(whole, expected + exchange.exchange_loss(features, outputs, teachers, TWO, ZERO))
    with pytest.raises(ValueError, match="has no own terms"):
        ExchangeConfig().own_loss(features, outputs, ZERO, LABELS)


def test_own_loss__on_features():
    exchange = of(what="features", self_loss=1.0, loss={"kind": "mse"})
    outputs, features = drawn(SAMPLES, WIDTH), drawn(SAMPLES, 3)
    mixed = torch.cat([standardise(half) for half in features.chunk(2)][::-1])
    expected = (features - mixed).square().mean()
    torch.testing.assert_close(exchange.own_loss(features, outputs, torch.zeros(3), LABELS), expected)


@pytest.mark.parametrize(("loss", "target"), PAIRS, ids=str)
@pytest.mark.parametrize("views", [1, 2])
def test_kept__samples_that_no_teacher_answers_for_bring_no_gradient(loss: Any, target: Any, views: int):
    """They count in the batch's mean, with a divergence of 0; with two views it is the other view that is left out."""
    exchange = of(loss=loss, target=target, views=views)
    student, teacher = drawn(SAMPLES, WIDTH).requires_grad_(), drawn(1, SAMPLES, WIDTH, seed=1)
    kept = torch.tensor([True, False, True, True, False, True, True, False, True, True])
    learned = kept if views == 1 else torch.cat([kept[5:], kept[:5]])

    def gradient(mask: Tensor | None) -> Tensor:
        found = exchange.distillation_loss(student, teacher, torch.ones(1), ZERO, mask)
        return torch.autograd.grad(found, student)[0]

    assert not gradient(kept)[~learned].any()
    torch.testing.assert_close(gradient(kept)[learned], gradient(None)[learned])
    torch.testing.assert_close(gradient(torch.ones_like(kept)), gradient(None))
    nothing = exchange.distillation_loss(student, teacher, torch.ones(1), ZERO, torch.zeros_like(kept))
    if loss["kind"] != "cross-entropy":  # which is the target's entropy then
        assert nothing.item() == pytest.approx(0, abs=1e-6)


def test_losses__of_students_that_are_stacked_equal_the_loop():
    exchange = of(self_loss=0.5, target_self_share=0.5, supervised=1.0, self_target={"kind": "centre"})
    passed = drawn(3, SAMPLES, 4), drawn(3, SAMPLES, WIDTH, seed=1)
    said, weights = drawn(3, 2, SAMPLES, WIDTH, seed=2), TWO.expand(3, 2)
    centres, kept = drawn(3, 2, WIDTH, seed=3), drawn(3, SAMPLES, seed=4) > 0
    found = vmap(exchange.loss_of, in_dims=(0, 0, 0, 0, 0, None, 0))(*passed, said, weights, centres, LABELS, kept)
    rows = zip(*passed, said, weights, centres, [LABELS] * 3, kept, strict=True)
    torch.testing.assert_close(found, torch.stack([exchange.loss_of(*row) for row in rows]))


def test_centres__of_teachers_and_of_own_outputs_are_two():
    """Where a peer's own outputs are centred too, by a mean of their own; each half by the same one."""
    exchange = of(self_loss=1.0, target={"kind": "centre", "momentum": 0.75}, loss={"kind": "kl", "temperature": 0.1})
    centre = exchange.first_centre(WIDTH)
    assert centre.shape == (2, WIDTH) and exchange.keeps_centre
    teachers, outputs, features = drawn(2, SAMPLES, WIDTH), drawn(SAMPLES, WIDTH, seed=1), drawn(SAMPLES, 4)
    centre = exchange.updated_centre(centre, teachers, TWO)
    torch.testing.assert_close(centre, torch.stack([0.25 * teachers.mean(dim=(0, 1)), ZERO]))
    moved = exchange.updated_own_centre(centre, features, outputs)
    torch.testing.assert_close(moved, torch.stack([centre[0], 0.25 * outputs.mean(dim=0)]))
    own = moved[1].expand(2, WIDTH)  # a single centre is that of both
    assert exchange.own_loss(features, outputs, moved, LABELS) == exchange.own_loss(features, outputs, own, LABELS)
    plain = of(target={"kind": "centre"})
    assert plain.first_centre(WIDTH).shape == (WIDTH,) and plain.updated_own_centre(ZERO, features, outputs) is ZERO


def test_brought__loss_and_target_get_one_view_at_a_time():
    seen: list[tuple[str, tuple[int, ...]]] = []

    def target(outputs: Tensor) -> Tensor:
        seen.append(("target", tuple(outputs.shape)))
        return outputs * 2

    def loss(student: Tensor, wanted: Tensor) -> Tensor:
        seen.append(("loss", tuple(student.shape)))
        return (student - wanted).abs().mean()

    exchange = ExchangeConfig(loss=GivenLoss.of(loss), target=GivenTarget.of(target), views=2)
    assert isinstance(exchange.loss, BroughtLoss)
    student, teacher = drawn(SAMPLES, WIDTH), drawn(SAMPLES, WIDTH, seed=1)
    found = exchange.distillation_loss(student, teacher[None], torch.ones(1), ZERO)
    assert sorted(seen) == [("loss", (5, WIDTH))] * 2 + [("target", (5, WIDTH))] * 2
    swapped = torch.cat([teacher[5:], teacher[:5]])
    torch.testing.assert_close(found, (student - 2 * swapped).abs().mean())


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"views": 1, "self_loss": 1.0}, "exchange.views is 1, but exchange.self_loss compares two views"),
        ({"views": 1, "target_self_share": 0.5}, "exchange.views is 1, but exchange.target_self_share compares two"),
        ({"views": 1, "trust": {"kind": "self-agreement"}}, "exchange.views is 1, but exchange.trust compares two"),
        ({"self_target": {"kind": "none"}}, "set exchange.self_loss or exchange.target_self_share above 0"),
        (
            {"self_loss": 1.0, "loss": {"kind": "mse"}, "self_target": {"kind": "sinkhorn"}},
            "exchange.self_target: exchange.loss 'mse' compares vectors",
        ),
        (
            {"self_loss": 1.0, "loss": {"kind": "cosine"}, "self_target": {"kind": "none", "temperature": 0.5}},
            "without probabilities or temperature",
        ),
        (
            {
                "target_self_share": 0.5,
                "loss": {"kind": "import", "target": "torch.nn:HuberLoss"},
                "target": {"kind": "none"},
                "self_target": {"kind": "sinkhorn"},
            },
            "exchange.target_self_share mixes probabilities with other outputs",
        ),
    ],
)
def test_config__refuses_terms_that_do_not_fit_together(values: dict[str, Any], line: str):
    with pytest.raises(ValidationError, match="(?s).*" + line):
        of(**values)


def test_num_views__are_two_where_a_setting_compares_them():
    assert [of(**each).num_views for each in ({}, {"views": 1}, {"views": 2})] == [1, 1, 2]
    needing: tuple[dict[str, Any], ...] = (
        {"self_loss": 1.0},
        {"target_self_share": 0.1},
        {"trust": {"kind": "self-agreement"}},
    )
    assert [of(**each).num_views for each in needing] == [2, 2, 2]
