"""Examples by their numbers, as floats on the peers' device."""

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor

from peers.data.datasets import Dataset, pixels_of

Values = Float[Tensor, "batch *shape"]
Labels = Int64[Tensor, " batch"]


class Examples:
    """The training examples of a data set; pixels are in 0..1, other numbers as they are, neither normalised.

    resident: keep the data set on the GPU, and assemble batches there.
    """

    def __init__(self, dataset: Dataset, device: torch.device, resident: bool) -> None:
        self._dataset, self._device = dataset, device
        self._resident: tuple[Tensor, Tensor] | None = None
        if device.type == "cuda" and resident:
            images, labels = torch.tensor(dataset.train_images), torch.tensor(dataset.train_labels)
            self._resident = images.to(device), labels.to(device)

    def __call__(
        self, chosen: Int64[np.ndarray, " batch"], mirrored: Bool[np.ndarray, " batch"] | None = None
    ) -> tuple[Values, Labels]:
        """The chosen examples, in new memory, and their labels. mirrored: which images are flipped left to right."""
        if self._resident is not None:
            return of_resident(*self._resident, chosen, mirrored)
        images = self._dataset.train_images[chosen]
        if mirrored is not None:
            images[mirrored] = images[mirrored][..., ::-1]
        values, labels = pixels_of(images), torch.from_numpy(self._dataset.train_labels[chosen])
        if self._device.type == "cuda":  # copies from pinned memory do not block the host
            values, labels = (part.pin_memory().to(self._device, non_blocking=True) for part in (values, labels))
        return values, labels


def of_resident(
    examples: UInt8[Tensor, "train *shape"] | Float[Tensor, "train *shape"],
    labels: Int64[Tensor, " train"],
    chosen: Int64[np.ndarray, " batch"],
    mirrored: Bool[np.ndarray, " batch"] | None,
) -> tuple[Values, Labels]:
    """What `Examples` gives, of a data set that is on the peers' device.

    On a CPU the numbers are identical; a GPU multiplies by 1 / 255, which may change the last bit.
    """
    rows = torch.from_numpy(chosen).to(labels.device)
    images = examples[rows]
    if mirrored is not None:
        mask = torch.from_numpy(mirrored).to(labels.device)
        images = torch.where(mask[:, None, None, None], images.flip(-1), images)
    values = images.to(torch.float32)  # a copy either way, since rows were chosen
    return values.div_(255) if images.dtype == torch.uint8 else values, labels[rows]
