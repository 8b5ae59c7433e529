"""The `[peers]` and `[data]` sections: every variant of a tagged union builds what it names."""

from typing import Annotated, Any, Literal

import torch
from pydantic import Field, model_validator
from torch import nn

from peers import data, heads, models
from peers.data import Dataset
from peers.models import Norm
from peers.optimizers import AdamW, OptimizerConfig
from peers.section import Section, leaves_out_kind
from peers.seeds import stream

Shape = tuple[int, int, int]
Size = Annotated[int, Field(ge=1, le=65536)]


# ---- networks ----


class PaperCNN(Section):
    kind: Literal["paper-cnn"] = "paper-cnn"

    def build(self, shape: Shape, norm: Norm) -> nn.Module:
        return models.paper_cnn(shape, norm)


class SmallCNN(Section):
    kind: Literal["small-cnn"] = "small-cnn"
    channels: tuple[Size, ...] = Field((16, 32, 64), min_length=1)

    def build(self, shape: Shape, norm: Norm) -> nn.Module:
        return models.small_cnn(shape, self.channels, norm)


class MLP(Section):
    kind: Literal["mlp"] = "mlp"
    hidden: tuple[Size, ...] = Field((128, 128), min_length=1)

    def build(self, shape: Shape, norm: Norm) -> nn.Module:
        return models.mlp(shape, self.hidden, norm)


class TorchvisionModel(Section):
    kind: Literal["resnet18", "vgg11", "densenet121"]

    def build(self, shape: Shape, norm: Norm) -> nn.Module:
        build = {"resnet18": models.resnet18, "vgg11": models.vgg11, "densenet121": models.densenet121}[self.kind]
        return build(shape, norm)


ModelConfig = Annotated[PaperCNN | SmallCNN | MLP | TorchvisionModel, Field(discriminator="kind")]


# ---- heads ----


class NoHead(Section):
    """Features go out as they are, as in the paper."""

    kind: Literal["none"] = "none"

    def build(self, in_features: int) -> nn.Module:
        return heads.identity()


class LinearHead(Section):
    kind: Literal["linear"] = "linear"
    dim: int = Field(64, ge=2, le=2**24)

    def build(self, in_features: int) -> nn.Module:
        return heads.linear(in_features, self.dim)


class Prototypes(Section):
    kind: Literal["prototypes"] = "prototypes"
    dim: int = Field(128, ge=2, le=2**24)

    def build(self, in_features: int) -> nn.Module:
        return heads.PrototypeHead(in_features, self.dim)


class Bottleneck(Section):
    """Sarnthein et al. 2023: three layers, an L2 bottleneck, unit-norm output weights."""

    kind: Literal["bottleneck"] = "bottleneck"
    dim: int = Field(65536, ge=2, le=2**24)
    hidden: Size = 2048
    bottleneck: Size = 256

    def build(self, in_features: int) -> nn.Module:
        return heads.BottleneckHead(in_features, self.dim, self.hidden, self.bottleneck)


HeadConfig = Annotated[NoHead | LinearHead | Prototypes | Bottleneck, Field(discriminator="kind")]


# ---- the section ----


class PeerKind(Section):
    """What one peer is made of."""

    model: ModelConfig = SmallCNN()
    norm: Norm = "batch"
    head: HeadConfig = LinearHead()
    optimizer: OptimizerConfig = AdamW()

    def build_network(self, shape: Shape) -> models.Network:
        """A network with weights drawn from torch's current generator; see `models.seeded`."""
        encoder = self.model.build(shape, self.norm)
        feature_dim = models.feature_dim(encoder, shape)
        return models.Network(encoder, self.head.build(feature_dim), shape)


class Group(PeerKind):
    count: int = Field(ge=1, strict=True)


class PeersConfig(PeerKind):
    """`count` equal peers, or `groups` of peers with their own model, norm, head and optimiser."""

    count: int = Field(4, strict=True, le=8192, description="at least 2")
    groups: tuple[Group, ...] = ()
    frozen: tuple[int, ...] = Field((), description="peers that teach, in train mode, and never study")
    locality: float = Field(1.0, ge=0, le=1, description="1: independent weights; 0: all start as peer 0")
    channels_last: bool = Field(False, description="convolutions on NHWC memory: faster, equal to rounding only")

    @property
    def memory_format(self) -> torch.memory_format:
        return torch.channels_last if self.channels_last else torch.contiguous_format

    @model_validator(mode="before")
    @classmethod
    def _count_the_groups(cls, values: object) -> object:
        """`count` may be left out where groups say it; keys that a group leaves out are those of the section."""
        if not isinstance(values, dict) or not isinstance(values.get("groups"), list | tuple):
            return values
        shared = {key: values[key] for key in ("model", "norm", "head", "optimizer") if key in values}
        groups = [_shared_with(group, shared) if isinstance(group, dict) else group for group in values["groups"]]
        counts = [group.get("count") if isinstance(group, dict) else getattr(group, "count", None) for group in groups]
        if groups and all(isinstance(count, int) for count in counts):
            values = {"count": sum(counts), **values}
        return {**values, "groups": groups}

    @model_validator(mode="after")
    def _check(self) -> "PeersConfig":
        if self.count < 2:
            raise ValueError(f"peers.count must be at least 2, got {self.count}: one peer has nobody to learn from")
        if self.groups and sum(group.count for group in self.groups) != self.count:
            total = sum(group.count for group in self.groups)
            raise ValueError(
                f"peers.count is {self.count} but peers.groups add up to {total}: leave peers.count out, or set it to "
                f"{total}"
            )
        for peer in self.frozen:
            if not 0 <= peer < self.count:
                raise ValueError(f"peers.frozen must name peers 0 to {self.count - 1}, got {peer}")
        if len(set(self.frozen)) == self.count:
            raise ValueError(f"peers.frozen must leave somebody to study, got all {self.count} peers")
        if self.groups and self.locality < 1:
            raise ValueError("peers.locality below 1 needs equal networks: leave peers.groups out")
        return self

    def kind_of(self, peer: int) -> PeerKind:
        for group in self.groups:
            if peer < group.count:
                return group
            peer -= group.count
        return self


def _shared_with(group: dict[str, Any], shared: dict[str, Any]) -> dict[str, Any]:
    """A group's table with what it leaves out, also within tables that do not say another kind."""
    tables = {key: value.model_dump() if isinstance(value, Section) else value for key, value in shared.items()}
    within = {
        key: tables[key] | value
        for key, value in group.items()
        if leaves_out_kind(value) and isinstance(tables.get(key), dict)
    }
    return {**shared, **group, **within}


# ---- data ----


class DataSection(Section):
    batch_size: int = Field(128, ge=2, le=2**24, strict=True)
    flip: bool = Field(False, description="horizontal flips, p = 0.5, the same view for every peer")
    train_limit: int = Field(0, ge=0, strict=True, description="a seeded subset of so many images; 0: all")
    test_limit: int = Field(0, ge=0, strict=True)
    on_each_node: bool = Field(
        False,
        description="every node of a Ray cluster reads its own copy; false: the object store carries the coordinator's",
    )
    validation: int = Field(
        0,
        ge=0,
        strict=True,
        description="so many training images stand in for the test images: a search never sees those",
    )

    def limited(self, dataset: Dataset, seed: int) -> Dataset:
        """The images that the limits leave. Raises: ValueError, if a limit is larger than the data."""
        return data.limit(dataset, self.train_limit, self.test_limit, stream(seed, "data", 1))


class Digits(DataSection):
    """scikit-learn's 1,797 digits of 8x8 pixels, which need no download."""

    kind: Literal["digits"] = "digits"

    def load(self, seed: int) -> Dataset:
        dataset = data.load_digits(stream(seed, "data"))
        return self.limited(dataset, seed)


class TorchvisionData(DataSection):
    kind: Literal["cifar10", "cifar100", "mnist", "fashion-mnist", "stl10", "svhn"]
    root: str = "data"
    download: bool = False

    def load(self, seed: int) -> Dataset:
        dataset = data.load_torchvision(self.kind, self.root, self.download)
        return self.limited(dataset, seed)


class ParquetData(DataSection):
    kind: Literal["parquet"] = "parquet"
    path: str
    image_column: str = "image"
    label_column: str = "label"
    image_size: int = Field(0, ge=0, le=65536, description="resize to so many pixels a side; 0: as they are")
    test_fraction: float = Field(0.2, gt=0, lt=1, description="held out where the files name no test split")

    def load(self, seed: int) -> Dataset:
        return data.load_parquet(
            self.path,
            image_column=self.image_column,
            label_column=self.label_column,
            image_size=self.image_size,
            train_limit=self.train_limit,
            test_limit=self.test_limit,
            test_fraction=self.test_fraction,
            seed=stream(seed, "data"),
        )


class Synthetic(DataSection):
    """Noisy class means: for tests and timings."""

    kind: Literal["synthetic"] = "synthetic"
    num_train: int = Field(512, ge=2)
    num_test: int = Field(256, ge=2)
    num_classes: int = Field(4, ge=2)
    shape: tuple[Size, Size, Size] = (1, 8, 8)

    def load(self, seed: int) -> Dataset:
        dataset = data.load_synthetic(self.num_train, self.num_test, self.num_classes, self.shape, stream(seed, "data"))
        return self.limited(dataset, seed)


class Given(DataSection):
    """Images and labels that `simulate` was given from Python, as a run's own config says; no file can ask for them."""

    kind: Literal["given"] = "given"
    name: str = Field(description="what the data set calls itself")
    digest: str = Field(pattern=r"^[0-9a-f]{64}$", description="SHA-256 of its images and labels")

    def load(self, seed: int) -> Dataset:
        raise ValueError(
            f"data.kind: 'given' means images that were given from Python ('{self.name}', SHA-256 {self.digest[:12]}), "
            "which no file holds: go on with resume(RUN, dataset=...), or start anew with simulate(..., dataset=...)"
        )


DataConfig = Annotated[Digits | TorchvisionData | ParquetData | Synthetic | Given, Field(discriminator="kind")]
