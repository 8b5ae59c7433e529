"""The losses of `[exchange]`: each variant compares one student's outputs with one target.

Rules for a loss, so that `vmap` (torch.func) can run it for all students at once:

- Both arguments are [batch, dim]; the result is one scalar, the mean over the batch.
- It uses torch operations only: no `.item()`, `.tolist()`, `numpy` or `float(tensor)`.
- No `if` or `while` on a tensor's values, and no result whose shape depends on them: `torch.where`, not `x[x > 0]`.
- It modifies neither argument: `x - y`, not `x.sub_(y)`.
- It uses no random numbers, and has no state between calls.
- The target receives no gradient: `.detach()`.
"""

from typing import Annotated, ClassVar, Literal

from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from peers.base.brought import Brought, Given, Imported, call
from peers.base.brought_errors import BroughtError, explained
from peers.base.section import Temperature, Variant, kinds, variants
from peers.exchange import objectives

Batch = Float[Tensor, "batch dim"]
Scalar = Float[Tensor, ""]


# ---- between vectors ----


class VectorLoss(Variant):
    """Compares the exchanged vectors themselves: `(student, target) -> loss`. Its targets have no temperature."""


class MSE(VectorLoss):
    """Mean squared difference."""

    kind: Literal["mse"] = "mse"

    def __call__(self, student: Batch, target: Batch) -> Scalar:
        return objectives.mse(student, target)


class Salient(VectorLoss):
    """Squared difference of each sample's most different output, mean over the batch (arXiv 2604.18390)."""

    kind: Literal["salient"] = "salient"

    def __call__(self, student: Batch, target: Batch) -> Scalar:
        return objectives.salient(student, target)


class Cosine(VectorLoss):
    """1 - cosine similarity of each sample, mean over the batch."""

    kind: Literal["cosine"] = "cosine"

    def __call__(self, student: Batch, target: Batch) -> Scalar:
        return objectives.cosine(student, target)


# ---- between distributions ----


class DistributionLoss(Variant):
    """Compares the student's softmax at `temperature` with the target's probabilities.

    Called as `(student_logits, target_probs, target_temperature) -> loss`; the target's temperature is None where its
    transform has none, and only kl uses it.
    """

    temperature: Temperature = Field(1.0, description="temperature of the student's softmax")

    @classmethod
    def example(cls) -> "DistributionLoss":
        return cls(temperature=0.5)


class KL(DistributionLoss):
    """KL divergence of student from target, in nats, times both temperatures (Hinton's T^2 where they are equal).

    Sinkhorn targets have no temperature: there it is not scaled. The scale matters to SGD, clipping and `supervised`,
    not to Adam.
    """

    kind: Literal["kl"] = "kl"

    def __call__(self, student_logits: Batch, target_probs: Batch, target_temperature: float | None) -> Scalar:
        return objectives.kl(student_logits, target_probs, self.temperature, target_temperature)


class CrossEntropy(DistributionLoss):
    """Cross-entropy of the student under the target, in nats."""

    kind: Literal["cross-entropy"] = "cross-entropy"

    def __call__(self, student_logits: Batch, target_probs: Batch, target_temperature: float | None) -> Scalar:
        return objectives.cross_entropy(student_logits, target_probs, self.temperature)


class JS(DistributionLoss):
    """Jensen-Shannon divergence of student and target, in nats."""

    kind: Literal["js"] = "js"

    def __call__(self, student_logits: Batch, target_probs: Batch, target_temperature: float | None) -> Scalar:
        return objectives.js(student_logits, target_probs, self.temperature)


# ---- of the user's own ----


class BroughtLoss(Brought):
    """A loss of the user's own: (student, target) -> scalar, under the rules above.

    student: the student's outputs in the form in which they are exchanged (logits, probabilities or features). target:
    the average of its teachers' outputs after the target's transform and divided by its temperature, or probabilities
    where the transform makes them, without gradients. Both are float32 [batch, dim].
    """

    field: ClassVar[str] = "exchange.loss"

    def __call__(self, student: Batch, target: Batch) -> Scalar:
        with explained(self.origin):
            found = call(self.origin, "(student, target)", self.bring(), student, target.detach())
        if not isinstance(found, Tensor) or found.ndim or not found.is_floating_point():
            is_tensor = isinstance(found, Tensor)
            what = f"{found.dtype} of shape {tuple(found.shape)}" if is_tensor else f"a {type(found).__name__}"
            raise BroughtError(f"{self.origin}: must return one number (a scalar tensor), got {what}: average it")
        return found


class ImportedLoss(Imported, BroughtLoss):
    """A loss of your own: a function (student, target) -> scalar, or a class of such, as in torch.nn."""

    @classmethod
    def example(cls) -> "ImportedLoss":
        return cls(target="torch.nn:HuberLoss", args={"delta": 0.5})


class GivenLoss(Given, BroughtLoss):
    """A loss that was given from Python, as a run's own config says; no file can ask for it."""

    argument: ClassVar[str] = "loss"

    @classmethod
    def example(cls) -> "GivenLoss":
        return cls.of(objectives.mse)


# ---- the union ----


LossConfig = Annotated[
    MSE | Salient | Cosine | KL | CrossEntropy | JS | ImportedLoss | GivenLoss, Field(discriminator="kind")
]


def _kinds_of(base: type[Variant]) -> tuple[str, ...]:
    return tuple(kind for variant in variants(LossConfig) if issubclass(variant, base) for kind in kinds(variant))


def any_of(names: tuple[str, ...]) -> str:
    """`a, b or c`, for sentences that name the losses."""
    return f"{', '.join(names[:-1])} or {names[-1]}"


VECTOR_LOSSES = _kinds_of(VectorLoss)
DISTRIBUTION_LOSSES = _kinds_of(DistributionLoss)
