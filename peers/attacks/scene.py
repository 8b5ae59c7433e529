"""What an attack is made of, and what every attack is."""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from peers.base.section import Variant

Outputs = Float[Tensor, "samples dim"]


@dataclass(frozen=True)
class Scene:
    """What an attack is made of.

    own: what the liar would have sent. honest: the honest messages that the attacked student hears of these samples,
    its own among them where it pools itself; empty for an attack that is not omniscient. weights: of the honest ones
    in the student's pool. student: the student's own outputs. distribution: whether rows are distributions. liars: how
    many of the student's teachers lie. lies_weight: their weight in its pool. views: the samples are this many views of
    the same images, one after the other. first: the liar's first message of all.
    """

    own: Outputs
    honest: Float[Tensor, "honest samples dim"]
    weights: Float[Tensor, " honest"]
    student: Outputs
    distribution: bool
    liars: int = 1
    lies_weight: float = 0.0
    views: int = 1
    first: Outputs | None = None

    def wide(self) -> "Scene":
        """The same in float32 at least, without gradients, with somebody honest, and with weights above 0.

        Where the student hears no honest peer, it is the honest one itself. Weights that are all 0 become equal ones.
        """
        dtype = torch.promote_types(self.own.dtype, torch.float32)
        own, student = self.own.detach().to(dtype), self.student.detach().to(dtype)
        honest, weights = self.honest.detach().to(dtype), self.weights.to(dtype)
        if not len(honest):
            honest, weights = student[None], weights.new_full((1,), max(1 - self.lies_weight, 0.0))
        if not bool(weights.sum() > 0):
            weights = torch.full_like(weights, 1 / len(weights))
        lies_weight = self.lies_weight if self.lies_weight > 0 else self.liars * float(weights.mean())
        return replace(self, own=own, student=student, honest=honest, weights=weights, lies_weight=lies_weight)


class Attack(Variant):
    """What a liar sends: a pure function.

    omniscient: whether it sees the honest messages, so that it is made where the student pools them; else it is made
    where the liar publishes. needs_outputs: whether it is about how likely outputs are, so that features will not do.
    keeps_first: whether it needs the liar's first message.
    """

    omniscient: ClassVar[bool] = False
    needs_outputs: ClassVar[bool] = False
    keeps_first: ClassVar[bool] = False

    def lie(self, scene: Scene, rng: np.random.Generator) -> Outputs:
        """The lie, in float32 at least; of the form of `scene.own`, and distributions where those are.

        rng: of the liar and the round. Raises: ValueError.
        """
        with torch.no_grad():
            return self.made(scene.wide(), rng)

    def made(self, scene: Scene, rng: np.random.Generator) -> Outputs:
        """`lie`, of a scene in float32 or float64 in which somebody is honest."""
        raise NotImplementedError


class Omniscient(Attack):
    """An attack that sees the honest messages of the student that it is meant for."""

    omniscient: ClassVar[bool] = True
