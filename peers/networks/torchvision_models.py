"""Classifiers of torchvision, by name, as encoders: without their last layer, for images of any number of channels."""

import difflib
from collections.abc import Mapping
from typing import Any

from torch import nn

from peers.base.brought_errors import BroughtError
from peers.data.formats.shapes import Shape, require_images
from peers.networks.models import Norm, replace_norms

_CLASSES = 1000  # outputs by which the last layer is found


def encoder(name: str, args: Mapping[str, Any], shape: Shape, norm: Norm) -> nn.Module:
    """The model with random weights, without its last layer, and with a first convolution for the image's channels.

    Raises: ValueError, if torchvision has no such classifier, or it does not take these images or `args`.
    """
    require_images(f"peers.model: {name} needs", shape, "choose mlp, or bring a network of your own")
    from torchvision import models  # imported here because it costs 160 MiB and a second

    known = models.list_models(module=models)
    if name not in known:
        close = difflib.get_close_matches(name, known, 3)
        hint = f"did you mean {', '.join(close)}?" if close else f"it has {', '.join(known[:8])}, ..."
        raise ValueError(f"peers.model.name: torchvision has no classifier '{name}': {hint}")
    options = {"aux_logits": False, "init_weights": True} if name in ("googlenet", "inception_v3") else {}
    try:
        module: nn.Module = models.get_model(name, weights=None, **{**options, **args})
    except NotImplementedError as error:  # on the meta device: some draw their weights by values that they read
        raise BroughtError(f"peers.model: {name} cannot be built without data ({error})") from None
    except (TypeError, ValueError, AssertionError, RuntimeError) as error:
        reason = (str(error).splitlines() or [""])[0][:160]
        raise ValueError(f"peers.model.args: {name} does not take {dict(args)} ({reason}): change them") from None
    _for_channels(module, shape[0])
    _without_last(name, module)
    return module if norm == "batch" else replace_norms(module, norm)  # its own have settings and weights of their own


def _without_last(name: str, module: nn.Module) -> None:
    """Replace the layer that has an output per class by the identity, in place."""
    layers = [
        path
        for path, layer in module.named_modules()
        if (isinstance(layer, nn.Linear) and layer.out_features == _CLASSES)
        or (isinstance(layer, nn.Conv2d) and layer.out_channels == _CLASSES)
    ]
    if not layers:
        raise ValueError(f"peers.model.args: {name} must keep its {_CLASSES} classes: leave num_classes out")
    module.set_submodule(layers[-1], nn.Identity())


def _for_channels(module: nn.Module, channels: int) -> None:
    """Give the first convolution `channels` input channels, with weights drawn as PyTorch draws them, in place."""
    path, first = next((path, layer) for path, layer in module.named_modules() if isinstance(layer, nn.Conv2d))
    if first.in_channels == channels:
        return
    options = {name: getattr(first, name) for name in ("kernel_size", "stride", "padding", "dilation", "padding_mode")}
    module.set_submodule(path, nn.Conv2d(channels, first.out_channels, **options, bias=first.bias is not None))
