"""Calls a step of the user's own, with draws that are pure, and checks what it gives."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from peers.base.brought import taken
from peers.base.brought_errors import BroughtError, check_arguments, explained
from peers.base.finite import finite_rows
from peers.views.steps import Images

TAKES = "(images), or (images, rng)"


def apply(origin: str, value: Any, images: Images, rng: np.random.Generator, sensor: bool = False) -> Images:
    """The images after the user's step, which is a function, or a class that is built first.

    A function gets the images and the generator, or the images alone if it takes no more; a torch.nn.Module gets the
    images alone. torch's own generator is seeded from `rng`, and left as it was. sensor: it gets the images alone, and
    is refused if it takes the generator: it gives always the same of an image. Raises: BroughtError, of one line.
    """
    with torch.random.fork_rng(devices=[]), explained(origin):
        torch.manual_seed(int(rng.integers(2**63)))
        made = value() if isinstance(getattr(value, "func", value), type) else value
        if isinstance(made, torch.nn.Module):
            found = made(images.clone())
        else:
            arguments = taken(made, {"images": images.clone(), "rng": rng}, 1 if sensor else 2)
            if sensor and len(arguments) > 1:
                raise BroughtError(
                    f"{origin}: takes a generator, but a step with sensor = true draws nothing: leave out its second "
                    "argument, or sensor = true"
                )
            check_arguments(origin, made, arguments, TAKES)
            found = made(*arguments)
    return _checked(origin, found, images).detach()


def _checked(origin: str, found: Any, images: Images) -> Images:
    if not isinstance(found, Tensor):
        raise BroughtError(f"{origin}: must return a tensor of images, got a {type(found).__name__}: return that")
    if found.shape != images.shape or found.dtype != images.dtype:
        wanted, got = ("x".join(map(str, each.shape)) for each in (images, found))
        raise BroughtError(
            f"{origin}: must return {wanted} values in {_name(images)}, as it gets, got {got} in {_name(found)}: keep "
            "shape and dtype"
        )
    if not finite_rows(found).all():
        raise BroughtError(f"{origin}: must return finite values, got others: replace them")
    return found


def _name(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
