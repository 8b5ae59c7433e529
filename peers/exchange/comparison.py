"""How a student's outputs are compared with what its teachers say, and with what it says itself of another view."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from peers.exchange import objectives
from peers.exchange.losses import BroughtLoss, DistributionLoss, LossConfig, VectorLoss
from peers.exchange.targets import CentredTarget, SharpenedTarget, SinkhornTarget, TargetConfig

Batch = Float[Tensor, "samples dim"]
Centre = Float[Tensor, "*own dim"]
"""Of the teachers' outputs; with two rows, the second is that of a peer's own."""


@dataclass(frozen=True)
class Comparison:
    """Loss, target and views of the `[exchange]` section; all is pure and runs under `vmap`.

    With two views the samples are all images in their first view, then all in their second. Targets are made of each
    view's outputs by themselves, and each view's target is made of the other view's outputs.
    """

    what: Literal["probabilities", "logits", "features"]
    loss: LossConfig
    target: TargetConfig
    own_target: TargetConfig
    own_share: float
    self_loss: float
    supervised: float
    by_teacher: bool
    num_views: int

    @property
    def has_own_terms(self) -> bool:
        """Whether a peer learns something where nobody teaches it."""
        return self.self_loss > 0 or self.supervised > 0

    @property
    def keeps_own_centre(self) -> bool:
        """Whether a peer's own outputs are centred where it learns from them, by a running mean of their own."""
        return (self.self_loss > 0 or self.own_share > 0) and isinstance(self.own_target, CentredTarget)

    def exchanged(
        self, features: Float[Tensor, "samples features"], outputs: Float[Tensor, "samples outputs"]
    ) -> Batch:
        """The result of a forward pass that peers exchange and are compared by: features, or outputs (logits)."""
        return features if self.what == "features" else outputs

    def sent(self, exchanged: Batch) -> Batch:
        """The exchanged values as they are sent: softmax probabilities, or unchanged."""
        return torch.softmax(exchanged, dim=-1) if self.what == "probabilities" else exchanged

    def to_teachers(
        self,
        student: Batch,
        teachers: Float[Tensor, "teachers samples dim"],
        weights: Float[Tensor, " teachers"],
        centre: Centre,
        kept: Bool[Tensor, " samples"] | None = None,
    ) -> Float[Tensor, ""]:
        """See `StudentLoss.distillation_loss`."""
        teachers = teachers.detach()
        own = self._own_target_of(student, centre) if self.own_share else None
        if not self.by_teacher:
            return self._to(student, objectives.average_teachers(teachers, weights), centre, own, kept)
        losses = [self._to(student, teacher, centre, own, kept) for teacher in teachers]
        return (torch.stack(losses) * weights).sum()

    def to_itself(self, student: Batch, centre: Centre) -> Float[Tensor, ""]:
        """The loss against a target that is made of the student's own outputs."""
        return self._compare(student, self._own_target_of(student, centre), self.own_target)

    def updated_centre(
        self, centre: Centre, teachers: Float[Tensor, "teachers samples dim"], weights: Float[Tensor, " teachers"]
    ) -> Centre:
        """See `StudentLoss.updated_centre`."""
        if not isinstance(self.target, CentredTarget):
            return centre
        if self.by_teacher:
            means = torch.stack([self._logits(teacher).mean(dim=0) for teacher in teachers])
            batch_mean = (means * weights[:, None]).sum(dim=0)
        else:  # the mean of the logits that the centre is subtracted from
            batch_mean = self._logits(objectives.average_teachers(teachers, weights)).mean(dim=0)
        found = objectives.update_centre(_row(centre, 0), batch_mean, self.target.momentum)
        return found if centre.ndim == 1 else torch.stack([found, centre[1]])

    def updated_own_centre(self, centre: Centre, student: Batch) -> Centre:
        """See `StudentLoss.updated_own_centre`."""
        if centre.ndim == 1 or not isinstance(self.own_target, CentredTarget):
            return centre
        batch_mean = self._logits(self.sent(student.detach())).mean(dim=0)
        return torch.stack([centre[0], objectives.update_centre(centre[1], batch_mean, self.own_target.momentum)])

    def _to(
        self, student: Batch, received: Batch, centre: Centre, own: Batch | None, kept: Bool[Tensor, " samples"] | None
    ) -> Float[Tensor, ""]:
        target = self._swapped(received, lambda half: self._transformed(half, self.target, _row(centre, 0)))
        if own is not None:
            target = self.own_share * own + (1 - self.own_share) * target
        if kept is not None:
            rows = self._swapped(kept, lambda half: half)[:, None]
            target = torch.where(rows, target, self._as_target(student.detach()))
            student = torch.where(rows, student, student.detach())
        return self._compare(student, target, self.target)

    def _compare(self, student: Batch, target: Batch, transform: TargetConfig) -> Float[Tensor, ""]:
        """The loss between outputs and a target that `transform` has made."""
        if isinstance(self.loss, BroughtLoss):
            pairs = zip(self._halves(self.sent(student)), self._halves(target), strict=True)
            losses = [self.loss(half, its_target) for half, its_target in pairs]
            return losses[0] if len(losses) == 1 else (losses[0] + losses[1]) / 2
        if isinstance(self.loss, VectorLoss):
            return self.loss(self.sent(student), target)
        return self.loss(student, target, transform.temperature)

    def _transformed(self, received: Batch, transform: TargetConfig, centre: Float[Tensor, " dim"]) -> Batch:
        """Outputs as they are sent, made into a target of the form that the loss compares with."""
        if isinstance(self.loss, BroughtLoss):
            return transform.scaled(received, centre)
        if isinstance(self.loss, VectorLoss):
            assert not isinstance(transform, SinkhornTarget | SharpenedTarget)
            return transform.vector(received, centre)
        return transform.probs(self._logits(received), centre)

    def _own_target_of(self, student: Batch, centre: Centre) -> Batch:
        own = self.sent(student.detach())
        return self._swapped(own, lambda half: self._transformed(half, self.own_target, _row(centre, 1)))

    def _as_target(self, student: Batch) -> Batch:
        """The target at which a student already is."""
        if isinstance(self.loss, DistributionLoss):
            return torch.softmax(student / self.loss.temperature, dim=-1)
        return torch.softmax(student, dim=-1) if self.target.makes_probs else self.sent(student)

    def _halves(self, samples: Tensor) -> tuple[Tensor, ...]:
        """The samples of each view."""
        return samples.chunk(2) if self.num_views == 2 else (samples,)

    def _swapped(self, samples: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
        """Each view's samples changed by themselves; with two views, each in the place of the other."""
        if self.num_views == 1:
            return change(samples)
        first, second = self._halves(samples)
        return torch.cat([change(second), change(first)])

    def _logits(self, received: Batch) -> Batch:
        return objectives.probs_to_logits(received) if self.what == "probabilities" else received


def _row(centre: Centre, row: int) -> Float[Tensor, " dim"]:
    """The centre of the teachers' outputs (0) or of its own (1): one and the same where only one is kept."""
    return centre if centre.ndim == 1 else centre[row]
