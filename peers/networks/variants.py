"""The kinds of networks and heads that `[peers]` names; every variant of a tagged union builds what it names."""

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field
from torch import nn

from peers.base.section import Variant
from peers.data.formats.shapes import Shape
from peers.networks import heads, models, torchvision_models
from peers.networks.brought import GivenHead, GivenModel, ImportedHead, ImportedModel
from peers.networks.models import Norm

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


class TorchvisionModel(Variant):
    """Any classifier of torchvision by its name, without its last layer."""

    kind: Literal["torchvision"] = "torchvision"
    name: str = Field(description="name of the model in torchvision, such as resnet34, vit_b_16 or convnext_tiny")
    args: dict[str, Any] = Field({}, description="keyword arguments of the model, such as image_size of a ViT")

    @classmethod
    def example(cls) -> "TorchvisionModel":
        return cls(name="resnet18")

    @property
    def origin(self) -> str:
        return f"peers.model '{self.name}'"

    def build(self, shape: Shape, norm: Norm) -> nn.Module:
        return torchvision_models.encoder(self.name, self.args, shape, norm)


ModelConfig = Annotated[
    PaperCNN | SmallCNN | MLP | ResNet18 | VGG11 | DenseNet121 | TorchvisionModel | ImportedModel | GivenModel,
    Field(discriminator="kind"),
]


FASTER_CHANNELS_LAST = (SmallCNN, PaperCNN)  # than contiguous, on the CPU: tests/benchmarks/layouts.py


def are_faster_channels_last(models: Sequence[ModelConfig]) -> bool:
    """Whether some networks are of a kind that is faster with channels last on the CPU, and all others do not mind.

    Nothing is timed for it, so that a config gives the same bits everywhere.
    """
    some = any(isinstance(model, FASTER_CHANNELS_LAST) for model in models)
    return some and all(isinstance(model, (*FASTER_CHANNELS_LAST, MLP)) for model in models)


# ---- heads ----


class Head(Variant):
    """A head of ours. last_layer: the names of its last layer's parameters."""

    last_layer: ClassVar[tuple[str, ...]] = ()

    def build(self, in_features: int) -> nn.Module:
        raise NotImplementedError

    def build_last_layer(self, in_features: int) -> nn.Module:
        """A head with a last layer as of `build`, whose draws depend on nothing but that layer's size."""
        return self.build(in_features)


class NoHead(Head):
    """No head: peers exchange the features themselves (arXiv 2604.18390)."""

    kind: Literal["none"] = "none"

    def build(self, in_features: int) -> nn.Module:
        return heads.identity()


class LinearHead(Head):
    """One affine layer."""

    kind: Literal["linear"] = "linear"
    last_layer: ClassVar[tuple[str, ...]] = ("weight", "bias")
    dim: int = Field(64, ge=2, le=2**24, description="number of outputs")

    def build(self, in_features: int) -> nn.Module:
        return heads.linear(in_features, self.dim)


class Prototypes(Head):
    """Cosines, in -1 to 1, of the features, centred over the batch, to learned prototypes (SwAV, Caron et al. 2020)."""

    kind: Literal["prototypes"] = "prototypes"
    last_layer: ClassVar[tuple[str, ...]] = ("prototypes",)
    dim: int = Field(128, ge=2, le=2**24, description="number of prototypes, which is that of outputs")

    def build(self, in_features: int) -> nn.Module:
        return heads.PrototypeHead(in_features, self.dim)


class Bottleneck(Head):
    """Three layers, an L2-normalised bottleneck, unit-norm output weights (Random Teachers, Sarnthein et al. 2023)."""

    kind: Literal["bottleneck"] = "bottleneck"
    last_layer: ClassVar[tuple[str, ...]] = ("directions",)
    dim: int = Field(65536, ge=2, le=2**24, description="number of outputs")
    hidden: Size = Field(2048, description="width of the two hidden layers")
    bottleneck: Size = Field(256, description="width of the bottleneck, whose values are scaled to unit length")

    @classmethod
    def example(cls) -> "Bottleneck":
        return cls(dim=6, hidden=256, bottleneck=64)

    def build(self, in_features: int) -> nn.Module:
        return heads.BottleneckHead(in_features, self.dim, self.hidden, self.bottleneck)

    def build_last_layer(self, in_features: int) -> nn.Module:
        """With the narrowest layers before it, so that what these draw depends on no width of the encoder."""
        return heads.BottleneckHead(1, self.dim, 1, self.bottleneck)


HeadConfig = Annotated[
    NoHead | LinearHead | Prototypes | Bottleneck | ImportedHead | GivenHead, Field(discriminator="kind")
]
