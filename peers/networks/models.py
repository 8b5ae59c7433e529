"""Networks: encoders from images to features, and facts about networks that need no training."""

import math
from collections.abc import Sequence
from itertools import zip_longest
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.func import functional_call

from peers.base.brought_errors import BroughtError
from peers.data.formats.shapes import Shape, require_images
from peers.networks.network import off_meta

Norm = Literal["batch", "group", "layer", "none"]


def paper_cnn(shape: Shape, norm: Norm) -> nn.Module:
    """Four 3x3 convolutions, two max-pools, flattened: 16,384 features of a 32x32 image.

    Source: arXiv 2604.18390; its padding is not stated, and 1 is assumed here.
    """
    _require_size("paper-cnn", shape, 4)
    layers: list[nn.Module] = []
    in_channels = shape[0]
    for channels, pool in ((64, False), (128, True), (256, False), (256, True)):
        layers += [nn.Conv2d(in_channels, channels, 3, padding=1), norm_layer(norm, channels), nn.LeakyReLU()]
        layers += [nn.MaxPool2d(2)] if pool else []
        in_channels = channels
    return nn.Sequential(*layers, nn.Flatten())


def small_cnn(shape: Shape, channels: Sequence[int], norm: Norm) -> nn.Module:
    """Blocks of convolution, norm and ReLU, max-pools between them, averaged over space: channels[-1] features."""
    assert channels, "small_cnn needs a block"
    _require_size("small-cnn", shape, 2 ** (len(channels) - 1))
    layers: list[nn.Module] = []
    for index, (before, after) in enumerate(zip((shape[0], *channels), channels, strict=False)):
        layers += [nn.MaxPool2d(2)] if index else []
        layers += [nn.Conv2d(before, after, 3, padding=1), norm_layer(norm, after), nn.ReLU()]
    return Blocks(*layers, SpatialMean(1), nn.Flatten())


class Blocks(nn.Sequential):
    """Layers in turn; a ReLU before a max-pool comes after it where channels are last.

    Both orders give the same outputs and gradients to the bit; this one has the ReLU on a quarter of the numbers. Not
    under `vmap`: there the gradients' sums would round differently.
    """

    def forward(self, images: Tensor) -> Tensor:
        late: nn.Module | None = None
        for layer, following in zip_longest(self, list(self)[1:]):
            if isinstance(layer, nn.ReLU) and isinstance(following, nn.MaxPool2d) and _channels_last(images):
                late = layer
                continue
            images = layer(images)
            images, late = (images if late is None else late(images)), None
        return images


def _channels_last(images: Tensor) -> bool:
    return images.movedim(1, -1).is_contiguous()  # vmap can tell this, and not the memory format


class SpatialMean(nn.AdaptiveAvgPool2d):
    """The mean over space, as its base class computes it to the bit.

    Its gradient is one number for each channel and not an image in the other layout, which the ReLU before it would
    take three times as long to read. A sum of half precision is rounded before it is divided, and the mean is not:
    that is the same for powers of two only.
    """

    def forward(self, images: Tensor) -> Tensor:
        pixels = images.shape[-2] * images.shape[-1]
        rounded = images.dtype not in (torch.float32, torch.float64) and pixels.bit_count() > 1
        if rounded or images.is_cuda:  # autocast there has a rule of its own for sums
            return super().forward(images)
        return images.sum((-2, -1), keepdim=True) / pixels

    def _get_name(self) -> str:  # exported code names the layer by this
        return "AdaptiveAvgPool2d"


def mlp(shape: Shape, hidden: Sequence[int], norm: Norm) -> nn.Module:
    """Linear, norm and ReLU per width of `hidden`: hidden[-1] features."""
    assert hidden, "mlp needs a layer"
    layers: list[nn.Module] = [nn.Flatten()]
    for before, after in zip((math.prod(shape), *hidden), hidden, strict=False):
        layers += [nn.Linear(before, after), norm_layer(norm, after, spatial=False), nn.ReLU()]
    return nn.Sequential(*layers)


def resnet18(shape: Shape, norm: Norm) -> nn.Module:
    """ResNet-18 with a 3x3 stem of stride 1 and no max-pool: 512 features.

    Source: He et al. 2016; stem for small images as in Sarnthein et al. 2023.
    """
    from torchvision.models import resnet18  # imported here, and below, because it costs 160 MiB and a second

    _require_size("resnet18", shape, 1)
    model: Any = resnet18(weights=None)
    model.conv1 = nn.Conv2d(shape[0], 64, 3, padding=1, bias=False)
    nn.init.kaiming_normal_(model.conv1.weight, mode="fan_out", nonlinearity="relu")
    model.maxpool = nn.Identity()
    model.fc = nn.Identity()
    return replace_norms(model, norm)


def vgg11(shape: Shape, norm: Norm) -> nn.Module:
    """The convolutions of VGG-11, flattened: 512 features of a 32x32 image.

    Source: Simonyan and Zisserman 2015, configuration A.
    """
    _require_size("vgg11", shape, 32)
    from torchvision.models import vgg

    layers: nn.Sequential = vgg.make_layers(vgg.cfgs["A"], batch_norm=True)
    layers[0] = nn.Conv2d(shape[0], 64, 3, padding=1)
    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            assert layer.bias is not None
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(layer.bias)
    return replace_norms(layers.append(nn.Flatten()), norm)


def densenet121(shape: Shape, norm: Norm) -> nn.Module:
    """DenseNet-121 with a 3x3 stem of stride 1 and no max-pool: 1,024 features.

    Source: Huang et al. 2017, table 1.
    """
    _require_size("densenet121", shape, 8)
    from torchvision.models import densenet121

    model: Any = densenet121(weights=None)
    model.features.conv0 = nn.Conv2d(shape[0], 64, 3, padding=1, bias=False)
    nn.init.kaiming_normal_(model.features.conv0.weight)
    model.features.pool0 = nn.Identity()
    model.classifier = nn.Identity()
    return replace_norms(model, norm)


def norm_layer(norm: Norm, channels: int, spatial: bool = True) -> nn.Module:
    """A normalisation layer for `channels` channels of feature maps (`spatial`) or of vectors.

    GroupNorm has at most 32 groups of at least 8 channels: with groups of one channel, a vector would become zeros.
    Source: Wu and He 2018, equation 7.
    """
    if norm == "batch":
        return nn.BatchNorm2d(channels) if spatial else nn.BatchNorm1d(channels)
    if norm == "group":
        most = max(1, min(32, channels // 8))
        return nn.GroupNorm(max(groups for groups in range(1, most + 1) if channels % groups == 0), channels)
    return nn.GroupNorm(1, channels) if norm == "layer" else nn.Identity()


def replace_norms(model: nn.Module, norm: Norm) -> nn.Module:
    """Replace every BatchNorm2d of `model`, in place, by `norm`."""
    for name, module in list(model.named_modules()):
        if isinstance(module, nn.BatchNorm2d):
            model.set_submodule(name, norm_layer(norm, module.num_features))
    return model


def _require_size(model: str, shape: Shape, smallest: int) -> None:
    require_images(f"peers.model: {model} needs", shape, "choose mlp, or bring a network of your own")
    if min(shape[1:]) < smallest:
        raise ValueError(
            f"peers.model: {model} needs images of at least {smallest}x{smallest}, got {shape[1]}x{shape[2]}; "
            "choose a shallower model or larger images"
        )


def num_parameters(module: nn.Module) -> int:
    """Number of trainable scalars; shared ones count once."""
    return sum(parameter.numel() for parameter in module.parameters())


def layout(network: nn.Module) -> tuple[str, ...]:
    """The structure of a network as lines: class of every module, dtype and shape of every tensor, by name."""
    modules = [f"{name or 'network'}: {type(module).__name__}" for name, module in network.named_modules()]
    tensors = [
        f"{name}: {str(tensor.dtype).removeprefix('torch.')} {'x'.join(map(str, tensor.shape)) or 'scalar'}"
        for name, tensor in network.state_dict(keep_vars=True).items()
    ]
    return (*modules, *tensors)


def activation_bytes(network: nn.Module, shape: Shape, batch_size: int) -> int:
    """Bytes that one forward pass saves for backward, including the images, without parameters and buffers.

    Measured by two forward passes of few blank images, since it grows with them by equal steps. A network that is on
    the meta device and large is measured there, which takes no memory, but time; one of the user's own that does not
    run there, on two blank images, and multiplied. No buffer is changed.
    """
    if off_meta(network):
        few, more = (_saved_bytes(network, off_meta(network), torch.zeros(count, *shape)) for count in (2, 4))
        return few + (more - few) * (batch_size - 2) // 2
    try:
        return _saved_bytes(network, _on_meta(network), torch.empty(batch_size, *shape, device="meta"))
    except BroughtError:
        state = {name: tensor.detach().clone() for name, tensor in network.named_buffers()}
        return _saved_bytes(network, state, torch.zeros(2, *shape)) * batch_size // 2


def _saved_bytes(network: nn.Module, state: dict[str, Tensor], images: Tensor) -> int:
    kept: dict[int, Tensor] = {}  # by storage; keeping the tensors alive ensures that no address is reused

    def keep(tensor: Tensor) -> Tensor:
        kept.setdefault(_storage_id(tensor), tensor)
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        outputs = functional_call(network, state, images)
    own = {_storage_id(tensor) for tensor in (*state.values(), *network.parameters())}
    total = sum(tensor.untyped_storage().nbytes() for key, tensor in kept.items() if key not in own)
    del outputs
    return total


def interpolate_locality(network: nn.Module, reference: nn.Module, alpha: float) -> None:
    """Move `network`'s weights to [(1 - alpha) reference + alpha own] / sqrt((1 - alpha)^2 + alpha^2), in place.

    The divisor preserves the variance of independent weights. Parameters that are equal in both (BatchNorm gains, zero
    biases) and buffers are not changed. alpha 0 copies the reference, alpha 1 changes nothing.

    Raises:
        ValueError: alpha is outside 0..1, or the two have different architectures.
    Source: Sarnthein et al. 2023, locality of the student's initialisation.
    """
    if not 0 <= alpha <= 1:
        raise ValueError(f"peers.locality: alpha must be in 0..1, got {alpha}; 0 copies the reference, 1 ignores it")
    own, other = dict(network.named_parameters()), dict(reference.named_parameters())
    for name in sorted(own.keys() | other.keys()):
        if name not in own or name not in other or own[name].shape != other[name].shape:
            raise ValueError(f"peers.locality: the two networks differ at '{name}'; give both the same peers.model")
    scale = math.hypot(1 - alpha, alpha)
    with torch.no_grad():
        for name, parameter in own.items():
            if not torch.equal(parameter, other[name]):
                parameter.copy_(((1 - alpha) * other[name] + alpha * parameter) / scale)


def _on_meta(module: nn.Module) -> dict[str, Tensor]:
    """Tensors on the meta device, without data, for the parameters and buffers of `module`, by name."""
    state = {name: torch.empty_like(buffer, device="meta") for name, buffer in module.named_buffers()}
    for name, parameter in module.named_parameters():
        state[name] = torch.empty_like(parameter, device="meta", requires_grad=parameter.requires_grad)
    return state


def _storage_id(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)
