"""The `[peers]` section: networks, heads and optimisers; every variant of a tagged union builds what it names."""

from typing import Annotated, Any, Literal

import torch
from pydantic import Field, model_validator
from torch import nn

from peers.base.section import Section, Variant, leaves_out_kind
from peers.data.shapes import Shape
from peers.networks import heads, models
from peers.networks.models import Norm
from peers.networks.optimizers import AdamW, OptimizerConfig

Size = Annotated[int, Field(ge=1, le=65536)]


# ---- networks ----


class PaperCNN(Variant):
    """Four 3x3 convolutions and two max-pools, flattened: 16,384 features of a 32x32 image (arXiv 2604.18390)."""

    kind: Literal["paper-cnn"] = "paper-cnn"

    def build(self, shape: Shape, norm: Norm) -> nn.Module:
        return models.paper_cnn(shape, norm)


class SmallCNN(Variant):
    """Blocks of 3x3 convolution, normalisation and ReLU, max-pools between them, then the mean over space."""

    kind: Literal["small-cnn"] = "small-cnn"
    channels: tuple[Size, ...] = Field(
        (16, 32, 64), min_length=1, description="output channels of each block; the last is the number of features"
    )

    def build(self, shape: Shape, norm: Norm) -> nn.Module:
        return models.small_cnn(shape, self.channels, norm)


class MLP(Variant):
    """Fully connected layers, each with normalisation and ReLU, on the flattened image, vector or series."""

    kind: Literal["mlp"] = "mlp"
    hidden: tuple[Size, ...] = Field(
        (128, 128), min_length=1, description="widths of the layers; the last is the number of features"
    )

    def build(self, shape: Shape, norm: Norm) -> nn.Module:
        return models.mlp(shape, self.hidden, norm)


class ResNet18(Variant):
    """ResNet-18 (He et al. 2016) with a first 3x3 convolution of stride 1 and no max-pool: 512 features."""

    kind: Literal["resnet18"] = "resnet18"

    def build(self, shape: Shape, norm: Norm) -> nn.Module:
        return models.resnet18(shape, norm)


class VGG11(Variant):
    """The convolutions of VGG-11 (Simonyan and Zisserman 2015), with random weights."""

    kind: Literal["vgg11"] = "vgg11"

    def build(self, shape: Shape, norm: Norm) -> nn.Module:
        return models.vgg11(shape, norm)


class DenseNet121(Variant):
    """DenseNet-121 (Huang et al. 2017) with a first 3x3 convolution of stride 1 and no max-pool: 1,024 features."""

    kind: Literal["densenet121"] = "densenet121"

    def build(self, shape: Shape, norm: Norm) -> nn.Module:
        return models.densenet121(shape, norm)


ModelConfig = Annotated[PaperCNN | SmallCNN | MLP | ResNet18 | VGG11 | DenseNet121, Field(discriminator="kind")]


# ---- heads ----


class NoHead(Variant):
    """No head: peers exchange the features themselves (arXiv 2604.18390)."""

    kind: Literal["none"] = "none"

    def build(self, in_features: int) -> nn.Module:
        return heads.identity()


class LinearHead(Variant):
    """One affine layer."""

    kind: Literal["linear"] = "linear"
    dim: int = Field(64, ge=2, le=2**24, description="number of outputs")

    def build(self, in_features: int) -> nn.Module:
        return heads.linear(in_features, self.dim)


class Prototypes(Variant):
    """Cosines, in -1 to 1, of the features, centred over the batch, to learned prototypes (SwAV, Caron et al. 2020)."""

    kind: Literal["prototypes"] = "prototypes"
    dim: int = Field(128, ge=2, le=2**24, description="number of prototypes, which is that of outputs")

    def build(self, in_features: int) -> nn.Module:
        return heads.PrototypeHead(in_features, self.dim)


class Bottleneck(Variant):
    """Three layers, an L2-normalised bottleneck, unit-norm output weights (Random Teachers, Sarnthein et al. 2023)."""

    kind: Literal["bottleneck"] = "bottleneck"
    dim: int = Field(65536, ge=2, le=2**24, description="number of outputs")
    hidden: Size = Field(2048, description="width of the two hidden layers")
    bottleneck: Size = Field(256, description="width of the bottleneck, whose values are scaled to unit length")

    @classmethod
    def example(cls) -> "Bottleneck":
        return cls(dim=6, hidden=256, bottleneck=64)

    def build(self, in_features: int) -> nn.Module:
        return heads.BottleneckHead(in_features, self.dim, self.hidden, self.bottleneck)


HeadConfig = Annotated[NoHead | LinearHead | Prototypes | Bottleneck, Field(discriminator="kind")]


# ---- the section ----


class PeerKind(Section):
    """What one peer is made of."""

    model: ModelConfig = Field(SmallCNN(), description="the encoder, from images to features")
    norm: Norm = Field(
        "batch",
        description="normalisation layers of the encoder: BatchNorm; GroupNorm of at least 8 channels a group (Wu and "
        "He 2018); LayerNorm, which is one group; or none",
    )
    head: HeadConfig = Field(LinearHead(), description="from features to the outputs that peers exchange")
    optimizer: OptimizerConfig = Field(AdamW(), description="the optimiser of a student's steps")

    def build_network(self, shape: Shape) -> models.Network:
        """A network with weights drawn from torch's current generator; see `models.seeded`."""
        encoder = self.model.build(shape, self.norm)
        feature_dim = models.feature_dim(encoder, shape)
        return models.Network(encoder, self.head.build(feature_dim), shape)


class Group(PeerKind):
    """Some peers of one make."""

    count: int = Field(ge=1, strict=True, description="number of peers in this group")


class PeersConfig(PeerKind):
    """`count` equal peers, or `groups` of peers with their own model, norm, head and optimiser."""

    count: int = Field(
        4, strict=True, le=8192, description="number of peers, at least 2; may be left out where groups say it"
    )
    groups: tuple[Group, ...] = Field(
        (),
        description="peers of unequal make, in this order: each a table of count, and of model, norm, head and "
        "optimizer where they differ from the section's",
    )
    frozen: tuple[int, ...] = Field(
        (), description="indices of peers that teach and never learn, such as a random teacher (Sarnthein et al. 2023)"
    )
    locality: float = Field(
        1.0,
        ge=0,
        le=1,
        description="how far initial weights lie from peer 0's: 1: independent; 0: equal to them; between: a "
        "normalised interpolation (locality alpha of Sarnthein et al. 2023)",
    )
    channels_last: bool = Field(
        False,
        description="keep convolutions' images and weights in channels-last memory order: faster on some devices, "
        "equal up to rounding",
    )

    @property
    def memory_format(self) -> torch.memory_format:
        return torch.channels_last if self.channels_last else torch.contiguous_format

    @model_validator(mode="before")
    @classmethod
    def _count_the_groups(cls, values: object) -> object:
        """`count` defaults to the sum over groups, and a group's missing keys to those of the section."""
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
    """A group's table with its missing keys filled in, also within nested tables that do not set another kind."""
    tables = {key: value.model_dump() if isinstance(value, Section) else value for key, value in shared.items()}
    within = {
        key: tables[key] | value
        for key, value in group.items()
        if leaves_out_kind(value) and isinstance(tables.get(key), dict)
    }
    return {**shared, **group, **within}
