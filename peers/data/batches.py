"""The batch of every round, a pure function of (seed, round), created once for all peers of a host."""

from collections import OrderedDict
from collections.abc import Callable
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from peers.base.seeds import child, stream
from peers.data.datasets import Dataset, Normalisation, normalised
from peers.data.examples import Examples

KEPT = 2  # rounds memoised: the one being studied and the one being published

Batch = tuple[Float[Tensor, "batch *shape"], Int64[Tensor, " batch"]]


class Batches:
    """Images and labels of a round, a pure function of (seed, round). Callers must not write to them.

    flip: mirror half of the images, which the examples have to be. on_device: keep the data set on the GPU and assemble
    batches there.
    """

    def __init__(
        self,
        dataset: Dataset,
        *,
        seed: int,
        batch_size: int,
        flip: bool,
        normalisation: Normalisation,
        device: str = "cpu",
        on_device: bool = True,
        memory_format: torch.memory_format = torch.contiguous_format,
    ) -> None:
        self._examples = Examples(dataset, torch.device(device), on_device)
        self._num_examples, self._batch_size = len(dataset.train_labels), batch_size
        self._order, self._flips = stream(seed, "batches"), stream(seed, "flips") if flip else None
        self._normalisation = normalisation
        self._memory_format = memory_format
        self._kept: OrderedDict[int, Batch] = OrderedDict()
        self._most = KEPT

    def keep(self, count: int) -> None:
        """Memoise so many batches at least, as where peers of one process are at different rounds."""
        self._most = max(self._most, count)

    def __call__(self, round_index: int) -> Batch:
        """The normalised images of a round and their labels, on the peers' device."""
        if round_index not in self._kept:
            if len(self._kept) == self._most:
                self._kept.popitem(last=False)
            self._kept[round_index] = self._make(round_index)
        self._kept.move_to_end(round_index)
        return self._kept[round_index]

    def _make(self, round_index: int) -> Batch:
        chosen = batch_indices(self._num_examples, self._batch_size, self._order, round_index)
        mirrored = None if self._flips is None else flip_mask(self._flips, round_index, self._batch_size)
        values, labels = self._examples(chosen, mirrored)
        return normalised(values, *self._normalisation).to(memory_format=self._memory_format), labels


def batch_indices(
    num_examples: int,
    batch_size: int,
    seed: np.random.SeedSequence,
    round_index: int,
    permutation: Callable[[int, tuple[int, ...]], Int64[np.ndarray, " examples"]] | None = None,
) -> Int64[np.ndarray, " batch"]:
    """Indices of a round's examples: a permutation per epoch is cut into batches; the incomplete last one is dropped.

    permutation: of so many examples, by the words of a seed; None: one that keeps the last two.

    Raises:
        ValueError: the batch is larger than the data.
    """
    if batch_size > num_examples:
        raise ValueError(
            f"data.batch_size: must be at most the {num_examples} training images, got {batch_size}; lower it"
        )
    epoch, position = divmod(round_index, num_examples // batch_size)
    words = child(seed, epoch).generate_state(8).tolist()
    order = (permutation or _permutation)(num_examples, tuple(words))
    return order[position * batch_size : (position + 1) * batch_size].copy()


def flip_mask(seed: np.random.SeedSequence, round_index: int, batch_size: int) -> Bool[np.ndarray, " batch"]:
    """Which images of a round are mirrored: each with probability one half."""
    return np.random.default_rng(child(seed, round_index)).random(batch_size) < 0.5


@lru_cache(maxsize=2)  # the lookahead of rounds may span two epochs
def _permutation(num_examples: int, words: tuple[int, ...]) -> Int64[np.ndarray, " examples"]:
    return np.random.default_rng(words).permutation(num_examples)
