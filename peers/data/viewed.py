"""Images as a peer's view shows them in its deterministic form: their normalisation, and what its network gets."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, UInt8
from torch import Tensor

from peers.data.datasets import (
    Normalisation,
    channel_statistics,
    images_to_tensor,
    normalised,
    pixels_of,
    statistics_of_parts,
)
from peers.views.view import View

Values = UInt8[np.ndarray, "batch *shape"] | Float32[np.ndarray, "batch *shape"]


@dataclass(frozen=True)
class StillView:
    """What a peer's network gets of raw values where nothing is drawn: its view's sensors, then the normalisation."""

    view: View
    peer: int
    normalisation: Normalisation

    def __call__(self, values: Values, start: int = 0) -> Float32[Tensor, "batch *shape"]:
        """The normalised values on the CPU; start: index of the first among all that are looked at.

        Without sensors these are the bits of `images_to_tensor`.
        """
        if not self.view.still_steps:
            return images_to_tensor(values, *self.normalisation)
        return normalised(self.view.still(pixels_of(values), self.peer, start).clone(), *self.normalisation)


def statistics_of_view(values: Values, view: View, peer: int) -> Normalisation:
    """Mean and standard deviation per channel of what a peer's sensors make of all images.

    Without sensors equal to `channel_statistics`.
    """
    if not view.still_steps:
        return channel_statistics(values)

    def seen(first: int, last: int) -> Float32[np.ndarray, "part *shape"]:
        found: np.ndarray = view.still(pixels_of(values[first:last]), peer, first).numpy()
        return found

    return statistics_of_parts(seen, values.shape)
