"""Heads: from an encoder's features to the outputs that peers exchange."""

import itertools

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


def identity() -> nn.Module:
    """No head: the outputs are the features."""
    return nn.Identity()


def linear(in_dim: int, dim: int) -> nn.Module:
    """One affine layer to `dim` outputs."""
    return nn.Linear(in_dim, dim)


class PrototypeHead(nn.Module):
    """Cosines, in -1..1, between batch-centred features and `dim` learned prototypes.

    The centre is the mean of the current batch in train and eval mode, so outputs depend on the whole batch.
    Source: Caron et al. 2020 (SwAV), prototypes; the centring is specific to this project.
    """

    def __init__(self, in_dim: int, dim: int) -> None:
        """Draw `dim` prototypes with uniformly distributed directions."""
        super().__init__()
        self.prototypes = nn.Parameter(torch.randn(dim, in_dim))

    def forward(self, features: Float[Tensor, "batch features"]) -> Float[Tensor, "batch outputs"]:
        """Cosine of every centred feature vector to every prototype."""
        centred = features - features.mean(dim=0, keepdim=True)
        return F.linear(F.normalize(centred, dim=1), F.normalize(self.prototypes, dim=1))


class BottleneckHead(nn.Module):
    """A three-layer MLP whose normalised result is compared with `dim` directions by cosine.

    Source: Caron et al. 2021 (DINO), projection head; Sarnthein et al. 2023, L2-bottleneck.
    """

    def __init__(self, in_dim: int, dim: int, hidden: int = 2048, bottleneck: int = 256) -> None:
        """Draw all weights from a truncated normal of standard deviation 0.02; biases are zero."""
        super().__init__()
        widths = (in_dim, hidden, hidden, bottleneck)
        first, second, third = (nn.Linear(a, b) for a, b in itertools.pairwise(widths))
        self.mlp = nn.Sequential(first, nn.GELU(), second, nn.GELU(), third)
        self.directions = nn.Parameter(torch.empty(dim, bottleneck))
        nn.init.trunc_normal_(self.directions, std=0.02)
        for layer in (first, second, third):
            nn.init.trunc_normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)

    def forward(self, features: Float[Tensor, "batch features"]) -> Float[Tensor, "batch outputs"]:
        """Cosine of every bottleneck vector to every direction; the length of a direction has no effect."""
        return F.linear(F.normalize(self.mlp(features), dim=1), F.normalize(self.directions, dim=1))
