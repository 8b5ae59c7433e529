"""Counts over a sequence of rounds, without keeping the rounds."""

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import coo_array, csr_array, diags_array

from topologies.schedule import Round


class Tally:
    """Counts degrees and links of rounds, which are added one at a time."""

    def __init__(self, num_peers: int) -> None:
        self.num_peers = num_peers
        self.num_rounds = 0
        self.to_itself = 0
        self.degrees: list[int] = []
        self._pairs: list[Int[np.ndarray, " links"]] = []
        self._weights: list[Float[np.ndarray, " links"]] = []

    def add(self, round_: Round) -> None:
        """Count one more round."""
        self.num_rounds += 1
        teachers, students, weights = round_.arrays()
        self.degrees += [len(round_.incoming[student]) for student in round_.students]
        self.to_itself += int(np.count_nonzero(teachers == students))
        self._pairs.append(students * self.num_peers + teachers)
        self._weights.append(weights)

    def mean_pooling(self) -> csr_array:
        """The mean of the rounds' pooling matrices: a peer's row has the mean weights of what its targets average.

        A peer that does not study in a round keeps its outputs in it.
        """
        keys = np.concatenate(self._pairs)
        places = (keys // self.num_peers, keys % self.num_peers)
        shares = np.concatenate(self._weights) / self.num_rounds
        pooled = coo_array((shares, places), shape=(self.num_peers, self.num_peers)).tocsr()
        return (pooled + diags_array(1 - np.asarray(pooled.sum(axis=1)))).tocsr()

    def links(self) -> csr_array:
        """A matrix with 1 where the row's peer learns from the column's peer in some round, and on the diagonal."""
        own = np.arange(self.num_peers) * (self.num_peers + 1)
        keys = np.unique(np.concatenate([own, *self._pairs]))
        pairs = (keys // self.num_peers, keys % self.num_peers)
        return coo_array((np.ones(len(keys)), pairs), shape=(self.num_peers, self.num_peers)).tocsr()
