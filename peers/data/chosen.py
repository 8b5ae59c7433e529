"""Which examples are in the batches of a run, public and private: pure functions of seed, round and peer."""

from functools import lru_cache

import numpy as np
from jaxtyping import Int64

from peers.base.seeds import stream
from peers.data.batches import batch_indices
from peers.data.datasets import Dataset
from peers.data.holdings import holdings, private_batch
from peers.data.section import DataSection

Indices = Int64[np.ndarray, " _"]

PUBLIC = "public"  # in `Dataset.others`: another data set, whose training images are the public ones
KEPT = 128  # orders of private examples, memoised: 60 MiB at most for 60,000 examples


class Chosen:
    """The examples of every batch. One for all peers of a process; it holds no images.

    source: the data set of whose training examples the rounds' batches are, which messages are about.
    """

    def __init__(self, data: DataSection, dataset: Dataset, num_peers: int, seed: int) -> None:
        self._seed = seed
        self._size, self._private_size = data.batch_size, private_batch(data)[0]
        split = data.partition is not None
        self.holdings = holdings(data, dataset.train_labels, num_peers, seed) if split else None
        self._subset = self.holdings.public if self.holdings is not None and data.public is not None else None
        self.source = dataset.others[PUBLIC] if split and data.public is None else dataset

    def public(self, round_index: int) -> Indices:
        """The round's batch, numbers of training examples of `source`: today's batch, where all peers hold all."""
        seed = stream(self._seed, "batches")
        if self._subset is None:
            return batch_indices(len(self.source.train_labels), self._size, seed, round_index)
        chosen: Indices = self._subset[batch_indices(len(self._subset), self._size, seed, round_index)]
        return chosen

    def private(self, round_index: int, peer: int, pooled: bool = False) -> Indices:
        """The peer's private batch in a round, numbers of training examples of the run's data set.

        Its examples are gone through in an order of its own, epoch by epoch; an incomplete last batch is dropped.
        pooled: as if it held the private examples of all peers.
        """
        assert self.holdings is not None, "private batches need data.partition"
        held = self.holdings.pooled if pooled else self.holdings.private[peer]
        seed = stream(self._seed, "private", peer)
        chosen: Indices = held[batch_indices(len(held), self._private_size, seed, round_index, _permutation)]
        return chosen


@lru_cache(maxsize=KEPT)
def _permutation(num_examples: int, words: tuple[int, ...]) -> Int64[np.ndarray, " examples"]:
    return np.random.default_rng(words).permutation(num_examples)
