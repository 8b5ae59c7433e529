"""The settings of private data: which examples each peer holds, and which are public."""

from typing import Annotated, Literal

import numpy as np
from jaxtyping import Int64
from pydantic import Field

from peers.base.section import Variant

Labels = Int64[np.ndarray, " examples"]
Indices = Int64[np.ndarray, " chosen"]


class PartitionVariant(Variant):
    """How training examples are dealt out to peers."""

    def split(self, labels: Labels, num_peers: int, seed: int) -> list[Indices]:
        """The examples of each peer: disjoint, together all of them. Raises: ValueError, of one line."""
        raise NotImplementedError


class IID(PartitionVariant):
    """Examples at random, in equal numbers."""

    kind: Literal["iid"] = "iid"


class Dirichlet(PartitionVariant):
    """Each class is dealt out by shares that are drawn from a Dirichlet distribution.

    Equal, index by index, to `DirichletPartitioner` of flwr-datasets 0.6.0 with the same seed.
    """

    kind: Literal["dirichlet"] = "dirichlet"
    alpha: float = Field(0.1, gt=0, description="concentration: small values give each peer few classes")
    smallest: int = Field(10, ge=1, strict=True, description="examples that every peer has at least")


class Classes(PartitionVariant):
    """Each peer has the examples of k classes; those of a class are divided equally among the peers that have it."""

    kind: Literal["classes"] = "classes"
    k: int = Field(2, ge=1, strict=True, description="classes of a peer")


class Quantity(PartitionVariant):
    """Peers have unequal numbers of examples, drawn from a lognormal distribution; classes are the same for all."""

    kind: Literal["quantity"] = "quantity"
    sigma: float = Field(1.0, gt=0, description="standard deviation of the logarithm of a peer's share")


class FromFile(PartitionVariant):
    """A JSON file with a list of indices of training examples for each peer; what is in no list is nobody's."""

    kind: Literal["file"] = "file"
    path: str = Field(description="name of the file")


PartitionConfig = Annotated[IID | Dirichlet | Classes | Quantity | FromFile, Field(discriminator="kind")]


class PublicVariant(Variant):
    """Which training examples are public: the ones that messages are about. The rest is dealt out to the peers."""

    def choose(self, labels: Labels, seed: int) -> Indices:
        """The public examples, in ascending order. Raises: ValueError, of one line."""
        raise NotImplementedError


class PublicShare(PublicVariant):
    """A random share."""

    kind: Literal["share"] = "share"
    share: float = Field(0.1, gt=0, lt=1, description="share of the training examples")


class PublicClasses(PublicVariant):
    """All examples of some classes, which no peer then holds."""

    kind: Literal["classes"] = "classes"
    classes: tuple[int, ...] = Field(min_length=1, description="numbers of the classes")


PublicConfig = Annotated[PublicShare | PublicClasses, Field(discriminator="kind")]
