"""The settings of private data: which examples each peer holds, and which are public."""

from typing import Annotated, Literal

import numpy as np
from jaxtyping import Int64
from pydantic import Field, PrivateAttr

from peers.base.section import Variant
from peers.base.seeds import stream
from peers.partitions import dealing, public
from peers.partitions.listed import Listed, check_lists, read_lists

Labels = Int64[np.ndarray, " examples"]
Indices = Int64[np.ndarray, " _"]


class PartitionVariant(Variant):
    """How training examples are dealt out to peers."""

    def split(self, labels: Labels, num_peers: int, seed: int) -> list[Indices]:
        """The examples of each peer, which are disjoint; together all of them, but for what a setting leaves out.

        Raises: ValueError, of one line.
        """
        raise NotImplementedError


class Dealt(PartitionVariant):
    """Examples that are dealt out by a rule, all of them."""

    per_class: int = Field(
        0,
        ge=0,
        strict=True,
        description="most examples of one class that a peer holds, as where private data are scarce; what is over is "
        "nobody's; 0: all",
    )

    def split(self, labels: Labels, num_peers: int, seed: int) -> list[Indices]:
        parts = self._deal(labels, num_peers, seed)
        return [dealing.capped(labels, part, self.per_class) for part in parts] if self.per_class else parts

    def _deal(self, labels: Labels, num_peers: int, seed: int) -> list[Indices]:
        """The examples of each peer: disjoint, together all of them. Raises: ValueError, of one line."""
        raise NotImplementedError


class IID(Dealt):
    """Examples at random, in equal numbers."""

    kind: Literal["iid"] = "iid"

    def _deal(self, labels: Labels, num_peers: int, seed: int) -> list[Indices]:
        return dealing.evenly(len(labels), num_peers, _generator(seed))


class Dirichlet(Dealt):
    """Each class is dealt out by shares that are drawn from a Dirichlet distribution.

    Equal, index by index, to `DirichletPartitioner` of flwr-datasets 0.6.0 with the same seed.
    """

    kind: Literal["dirichlet"] = "dirichlet"
    alpha: float = Field(0.1, ge=1e-4, le=1e6, description="concentration: small values give each peer few classes")
    smallest: int = Field(10, ge=1, strict=True, description="examples that every peer has at least")

    def _deal(self, labels: Labels, num_peers: int, seed: int) -> list[Indices]:
        _require_classes(labels, self.kind)
        return dealing.by_dirichlet(labels, num_peers, self.alpha, self.smallest, seed)


class Classes(Dealt):
    """Each peer has the examples of k classes; those of a class are divided equally among the peers that have it."""

    kind: Literal["classes"] = "classes"
    k: int = Field(2, ge=1, strict=True, description="classes of a peer")

    def _deal(self, labels: Labels, num_peers: int, seed: int) -> list[Indices]:
        _require_classes(labels, self.kind)
        return dealing.by_classes(labels, num_peers, self.k, _generator(seed))


class Quantity(Dealt):
    """Peers have unequal numbers of examples, drawn from a lognormal distribution; classes are the same for all."""

    kind: Literal["quantity"] = "quantity"
    sigma: float = Field(1.0, gt=0, le=100, description="standard deviation of the logarithm of a peer's share")

    def _deal(self, labels: Labels, num_peers: int, seed: int) -> list[Indices]:
        rng = _generator(seed)
        return dealing.by_shares(len(labels), dealing.lognormal_shares(num_peers, self.sigma, rng), rng)


class FromFile(PartitionVariant):
    """A JSON file with a list of numbers of training examples for each peer; those in no list are public or nobody's.

    The file is read once, by the coordinator; hosts get its lists with the settings.
    """

    kind: Literal["file"] = "file"
    path: str = Field(description="name of the file")
    digest: str = Field(
        "",
        pattern=r"^([0-9a-f]{64})?$",
        description="SHA-256 of the lists, noted in the run's own config; a run whose config has it refuses others",
    )
    _listed: Listed | None = PrivateAttr(None)

    @classmethod
    def example(cls) -> "FromFile":
        return cls(path="partition.json")

    @property
    def held(self) -> bool:
        """Whether the lists have been read."""
        return self._listed is not None

    def identified(self) -> "FromFile":
        """The variant with the lists of its file and their digest. Raises: ValueError, of one line."""
        listed = read_lists(self.path)
        if self.digest and self.digest != listed.digest:
            raise ValueError(
                f"data.partition.path: '{self.path}' has other lists than the run was started with (SHA-256 "
                f"{self.digest[:12]}, now {listed.digest[:12]}): put them back, or start a new run"
            )
        changed = self.model_copy(update={"digest": listed.digest})
        changed._listed = listed
        return changed

    def split(self, labels: Labels, num_peers: int, seed: int) -> list[Indices]:
        listed = self._listed or read_lists(self.path)
        check_lists(listed, len(labels), num_peers)
        return list(listed.parts)


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

    def choose(self, labels: Labels, seed: int) -> Indices:
        return public.random_share(len(labels), self.share, np.random.default_rng(stream(seed, "public")))


class PublicClasses(PublicVariant):
    """All examples of some classes, which no peer then holds."""

    kind: Literal["classes"] = "classes"
    classes: tuple[int, ...] = Field(min_length=1, description="numbers of the classes")

    @classmethod
    def example(cls) -> "PublicClasses":
        return cls(classes=(0,))

    def choose(self, labels: Labels, seed: int) -> Indices:
        return public.of_classes(labels, self.classes)


class PublicRest(PublicVariant):
    """All examples that are in no peer's list, where the partition is read from a file."""

    kind: Literal["rest"] = "rest"


PublicConfig = Annotated[PublicShare | PublicClasses | PublicRest, Field(discriminator="kind")]


def _generator(seed: int) -> np.random.Generator:
    return np.random.default_rng(stream(seed, "partition"))


def _require_classes(labels: Labels, kind: str) -> None:
    """Raises: ValueError, if a rule that deals out by class has only one."""
    if len(np.unique(labels)) < 2:
        raise ValueError(
            f"data.partition.kind: '{kind}' deals out by class, but all {len(labels):,} examples to deal out have one "
            "label: use iid or quantity, or name labels of several classes"
        )
