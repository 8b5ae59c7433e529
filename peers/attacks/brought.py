"""An attack that users bring."""

from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from peers.attacks.scene import Omniscient, Outputs, Scene
from peers.base.brought import Brought, Imported, call
from peers.base.brought_errors import BroughtError, explained

TAKES = "(own, honest)"
MOST_OFF = 1e-3  # what a distribution's sum may differ from 1


def negative_mean(own: Float[Tensor, "samples dim"], honest: Float[Tensor, "honest samples dim"]) -> Tensor:
    """The negative of the honest mean, as a distribution, as an example of an attack of one's own."""
    return torch.softmax(-honest.mean(dim=0), dim=1)


class BroughtAttack(Brought, Omniscient):
    """An attack of the user's own: (own outputs [samples, dim], honest messages [honest, samples, dim]) -> the lie.

    It is omniscient: made where the student pools, of the messages that this student hears. It may be anything of that
    form: one that is not finite is left out by whom it is sent to, and counted.
    """

    field: ClassVar[str] = "peers.adversaries.attack"

    def made(self, scene: Scene, rng: np.random.Generator) -> Outputs:
        with explained(self.origin):
            found = call(self.origin, TAKES, self.bring(), scene.own.clone(), scene.honest.clone())
        wanted = tuple(scene.own.shape)
        if not isinstance(found, Tensor) or tuple(found.shape) != wanted or not found.is_floating_point():
            is_tensor = isinstance(found, Tensor)
            what = f"{found.dtype} of shape {tuple(found.shape)}" if is_tensor else f"a {type(found).__name__}"
            raise BroughtError(
                f"{self.origin}: must return what is sent, of shape {wanted}, got {what}: keep samples and outputs"
            )
        if scene.distribution and bool(torch.isfinite(found).all()) and not _are_distributions(found):
            raise BroughtError(
                f"{self.origin}: must return distributions where exchange.what is 'probabilities', got rows that are "
                "negative or do not sum to 1: a softmax makes some"
            )
        return found.to(scene.own)


class ImportedAttack(Imported, BroughtAttack):
    """An attack of your own: a function (own outputs, honest messages) -> what is sent, or a class of such."""

    @classmethod
    def example(cls) -> "ImportedAttack":
        return cls(target="peers.attacks.brought:negative_mean")


def _are_distributions(rows: Tensor) -> bool:
    return bool((rows >= 0).all()) and bool(((rows.sum(dim=1) - 1).abs() <= MOST_OFF).all())
