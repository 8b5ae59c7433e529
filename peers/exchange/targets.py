"""The target transforms of `[exchange]`: from the average of the teachers' outputs to the student's target."""

from typing import Annotated, ClassVar, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from peers.base.brought import Brought, Given, Imported, call
from peers.base.brought_errors import BroughtError, explained
from peers.base.section import Temperature, Variant
from peers.exchange import objectives
from peers.exchange.losses import VECTOR_LOSSES, any_of

Batch = Float[Tensor, "batch dim"]
Centre = Float[Tensor, " dim"]


class Tempered(Variant):
    """A transform of the outputs themselves, and a softmax at a temperature where the loss wants a distribution."""

    temperature: Temperature = Field(
        1.0, description=f"temperature of the target's softmax; unused by {any_of(VECTOR_LOSSES)}"
    )
    makes_probs: ClassVar[bool] = False

    def vector(self, outputs: Batch, centre: Centre) -> Batch:
        return outputs

    def probs(self, logits: Batch, centre: Centre) -> Batch:
        return torch.softmax(self.vector(logits, centre) / self.temperature, dim=-1)

    def scaled(self, outputs: Batch, centre: Centre) -> Batch:
        """What a loss of the user's own gets: the transformed outputs, divided by the temperature."""
        return self.vector(outputs, centre) / self.temperature


class PlainTarget(Tempered):
    """The teachers' outputs as they are."""

    kind: Literal["none"] = "none"


class CentredTarget(Tempered):
    """Outputs less a running mean of them (DINO, Caron et al. 2021, section 3.1)."""

    kind: Literal["centre"] = "centre"
    temperature: Temperature = Field(0.04, description="temperature of the target's softmax (DINO: 0.04)")
    momentum: float = Field(0.9, ge=0, lt=1, description="momentum of the running mean (DINO: 0.9)")

    def vector(self, outputs: Batch, centre: Centre) -> Batch:
        return objectives.centre(outputs, centre)


class StandardisedTarget(Tempered):
    """Every output scaled to mean 0 and standard deviation 1 over the batch."""

    kind: Literal["standardise"] = "standardise"

    def vector(self, outputs: Batch, centre: Centre) -> Batch:
        return objectives.standardise(outputs)


class SinkhornTarget(Variant):
    """Distributions that use all outputs equally over the batch (Cuturi 2013; SwAV, Caron et al. 2020, section 3.1)."""

    kind: Literal["sinkhorn"] = "sinkhorn"
    epsilon: Temperature = Field(0.05, description="entropic regularisation, in units of the outputs (SwAV: 0.05)")
    iterations: int = Field(3, ge=1, description="number of times that columns and rows are scaled (SwAV: 3)")
    makes_probs: ClassVar[bool] = True
    temperature: ClassVar[None] = None

    def probs(self, logits: Batch, centre: Centre) -> Batch:
        return objectives.sinkhorn(logits, self.epsilon, self.iterations)

    def scaled(self, outputs: Batch, centre: Centre) -> Batch:
        """What a loss of the user's own gets: the probabilities."""
        return self.probs(outputs, centre)


class SharpenedTarget(Variant):
    """The softmax of the teachers' mean probabilities over a scale (DS-FL, arXiv 2008.06180).

    Where logits are sent, of the softmax of their mean.
    """

    kind: Literal["sharpen"] = "sharpen"
    scale: Temperature = Field(
        0.1, description="what probabilities are divided by: the smaller, the nearer to one class (DS-FL: 0.1)"
    )
    makes_probs: ClassVar[bool] = True
    temperature: ClassVar[None] = None

    def probs(self, logits: Batch, centre: Centre) -> Batch:
        return objectives.sharpen(logits, self.scale)

    def scaled(self, outputs: Batch, centre: Centre) -> Batch:
        """What a loss of the user's own gets: the probabilities."""
        return self.probs(outputs, centre)


class _BroughtTarget(Brought, Tempered):
    """A transform of the user's own: the teachers' outputs [batch, dim] -> their target of the same shape."""

    field: ClassVar[str] = "exchange.target"

    def vector(self, outputs: Batch, centre: Centre) -> Batch:
        with explained(self.origin):
            found = call(self.origin, "(outputs)", self.bring(), outputs)
        if not isinstance(found, Tensor) or found.shape != outputs.shape or found.dtype != outputs.dtype:
            is_tensor = isinstance(found, Tensor)
            what = f"{found.dtype} of shape {tuple(found.shape)}" if is_tensor else f"a {type(found).__name__}"
            raise BroughtError(
                f"{self.origin}: must return what it gets in form, {outputs.dtype} of shape {tuple(outputs.shape)}, "
                f"got {what}: keep samples and outputs"
            )
        return found


class ImportedTarget(Imported, _BroughtTarget):
    """A transform of your own: a function of the teachers' outputs [batch, dim], or a class of such."""

    @classmethod
    def example(cls) -> "ImportedTarget":
        return cls(target="torch:tanh")


class GivenTarget(Given, _BroughtTarget):
    """A transform that was given from Python, as a run's own config says; no file can ask for it."""

    argument: ClassVar[str] = "target"

    @classmethod
    def example(cls) -> "GivenTarget":
        return cls.of(torch.tanh)


TargetConfig = Annotated[
    PlainTarget | CentredTarget | StandardisedTarget | SinkhornTarget | SharpenedTarget | ImportedTarget | GivenTarget,
    Field(discriminator="kind"),
]
