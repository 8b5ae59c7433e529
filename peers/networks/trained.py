"""A trained network with what it takes to use it: the normalisation of its inputs, and their shape and dtype."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor, nn

from peers.data.datasets import Normalisation
from peers.networks.network import Network, OwnHead
from peers.views.section import Step
from peers.views.view import View

AT_ONCE = 256  # examples in one forward pass, so that memory does not grow with the number of examples
PIXEL = 255  # the largest value of a data set of bytes, which are divided by it


@dataclass(frozen=True)
class InputFormat:
    """What a network was trained on. shape, dtype: of an example as the data set has it. normalisation: see `datasets`.

    Bytes (`uint8`) are pixels from 0 to 255, which are divided by 255 before the normalisation; floats are not. view:
    the view of the network's `peer`, whose sensors come between; None: it has none.
    """

    shape: tuple[int, ...]
    dtype: str
    normalisation: Normalisation
    view: View | None = None
    peer: int = 0

    @property
    def is_pixels(self) -> bool:
        return self.dtype == "uint8"

    def to_json(self) -> dict[str, Any]:
        """The format as JSON types: the float32 values of the normalisation stay exactly what they are."""
        mean, std = (array.astype(np.float64).tolist() for array in self.normalisation)
        table = {"shape": list(self.shape), "dtype": self.dtype, "normalisation": {"mean": mean, "std": std}}
        return table if self.view is None else {**table, "view": self.view.to_json(), "peer": self.peer}

    @classmethod
    def from_json(cls, table: dict[str, Any]) -> "InputFormat":
        """The inverse of `to_json`, which ignores other keys. Raises: KeyError, if one is missing."""
        mean, std = (np.asarray(table["normalisation"][name], np.float32) for name in ("mean", "std"))
        view = View.from_json(table["view"]) if "view" in table else None
        return cls(tuple(table["shape"]), table["dtype"], (mean, std), view, table.get("peer", 0))

    @classmethod
    def of_peer(cls, table: dict[str, Any], peer: int) -> "InputFormat":
        """A peer's format, in a table of a run, where peers may have formats of their own. Raises: KeyError."""
        return cls.from_json(table["of_peers"][peer] if "of_peers" in table else table)

    @property
    def sensors(self) -> tuple[Step, ...]:
        """The steps of the view that are applied to examples before the normalisation."""
        return () if self.view is None else self.view.still_steps

    def check(self, examples: object) -> Tensor:
        """Raw examples as a tensor on the CPU, in the data set's dtype or in float32.

        Raises: ValueError, if they are not what the network was trained on: another shape, pixels outside 0..255,
            values that are normalised already.
        """
        if not isinstance(examples, np.ndarray | Tensor):
            raise ValueError(
                f"images: must be a NumPy array or a torch tensor, got {type(examples).__name__}; convert it"
            )
        array = examples.detach().cpu() if isinstance(examples, Tensor) else _tensor(examples)
        wanted = "x".join(map(str, self.shape))
        if not len(array) or array.shape[1:] != self.shape:
            raise ValueError(
                f"images: must be at least one of {wanted}, as the run's data, with the number of them as first axis; "
                f"got an array of {'x'.join(map(str, array.shape))}"
            )
        if array.dtype == torch.uint8 and self.is_pixels:
            return array
        if array.dtype == torch.uint8 or array.dtype.is_complex or array.dtype is torch.bool:
            name = str(array.dtype).removeprefix("torch.")
            raise ValueError(f"images: must be {self.dtype} as the run's data, got {name}; convert them as those were")
        values = array.to(torch.float32)
        if not torch.isfinite(values).all():
            raise ValueError("images: must be finite, got values that are not; replace or drop them")
        if self.is_pixels:
            _check_pixels(values)
        return values


def _tensor(array: np.ndarray) -> Tensor:
    if array.dtype.kind not in "buifc" or array.ndim == 0:
        raise ValueError(f"images: must be an array of numbers, got {array.dtype} on {array.ndim} axes; convert it")
    kept = array if array.dtype == np.uint8 or array.dtype.kind in "bc" else array.astype(np.float32)
    return torch.from_numpy(np.array(kept, order="C"))  # a copy, which is neither read-only nor strided


def _check_pixels(values: Tensor) -> None:
    low, high = values.min().item(), values.max().item()
    if low < 0 or high > PIXEL:
        raise ValueError(
            f"images: must be raw pixels from 0 to {PIXEL}, as the run's data, got {low:g} to {high:g}; leave the "
            "normalisation to the run"
        )
    if high <= 1 and bool((values != values.round()).any()):
        raise ValueError(
            f"images: must be raw pixels from 0 to {PIXEL}, as the run's data, got fractions up to {high:g}; multiply "
            f"them by {PIXEL}"
        )


class RawNetwork(nn.Module):
    """A network with its view's sensors and its normalisation inside: raw examples in, features and outputs out.

    Its examples have the values of the data set (pixels from 0 to 255, if that has bytes), in any dtype. It computes
    what the run does with them, bit for bit.
    """

    def __init__(self, network: Network, inputs: InputFormat) -> None:
        """Put the normalisation of `inputs` before `network`."""
        super().__init__()
        self.network = network
        self.is_pixels = inputs.is_pixels
        self.inputs = inputs
        ones = [1] * (len(inputs.shape) - 1)  # one value for each index of the first axis of an example
        for name, array in zip(("mean", "std"), inputs.normalisation, strict=True):
            self.register_buffer(name, torch.from_numpy(array.copy()).reshape(-1, *ones))
        self.mean: Tensor
        self.std: Tensor

    def normalised(self, examples: Tensor, start: int = 0) -> Tensor:
        """What the network gets for raw examples; start: index of the first, for the noise of a noisy sensor."""
        values = examples.to(torch.float32)
        values = values.div(PIXEL) if self.is_pixels else values
        if self.inputs.view is not None and self.inputs.sensors:
            values = self.inputs.view.still(values, self.inputs.peer, start)
        return values.sub(self.mean).div(self.std)

    def forward(self, examples: Tensor) -> tuple[Tensor, Tensor]:
        """Features [batch, features] and outputs [batch, outputs] of raw examples [batch, *shape]."""
        features, outputs = self.network(self.normalised(examples))
        return features, outputs


@dataclass(frozen=True)
class TrainedPeer:
    """A peer after `completed` rounds: its network, in eval mode on the CPU, and the format of its inputs.

    notes: what a user of it should know, such as that a newer checkpoint is damaged. index: the peer's in the run.
    """

    network: Network
    inputs: InputFormat
    completed: int
    notes: tuple[str, ...] = ()
    index: int = 0

    def with_normalisation(self) -> RawNetwork:
        """The network as a module that takes raw examples, as the data set has them."""
        return RawNetwork(self.network, self.inputs).eval()

    @torch.no_grad()
    def features(self, images: object) -> Float32[np.ndarray, "examples features"]:
        """The encoder's features of raw examples [examples, *shape]. Raises: ValueError, see `InputFormat.check`."""
        return self._in_parts(images, self.network.features).numpy()

    @torch.no_grad()
    def outputs(self, images: object) -> Float32[np.ndarray, "examples outputs"]:
        """The head's outputs of raw examples [examples, *shape]. Raises: as `features`.

        The head gets all of them at once: the outputs of prototypes depend on which examples they are computed with. A
        network that returns features and outputs itself gets a few hundred examples at a time.
        """
        if isinstance(self.network.head, OwnHead):
            return self._in_parts(images, lambda part: self.network(part)[1]).numpy()
        outputs: Tensor = self.network.head(torch.from_numpy(self.features(images)))
        return outputs.float().numpy()

    def _in_parts(self, images: object, function: Callable[[Tensor], Tensor]) -> Tensor:
        """A function of normalised examples, for all of them, a part at a time."""
        raw, examples = self.with_normalisation(), self.inputs.check(images)
        parts = enumerate(torch.split(examples, AT_ONCE))
        return torch.cat([function(raw.normalised(part, place * AT_ONCE)).float() for place, part in parts])
