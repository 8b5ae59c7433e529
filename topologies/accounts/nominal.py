"""The mean pooling matrix of a schedule over the rounds that a trace has come to: what was asked of it."""

import numpy as np
from scipy.sparse import coo_array, csr_array, diags_array

from topologies.accounts.sums import KeyedSums
from topologies.analysis.connectivity import algebraic_connectivity
from topologies.participation import participants
from topologies.schedule import Round, Schedule

KEPT = 64  # different rounds that are counted before they are added up: more than the period of most schedules
MOST_CELLS = 4_000_000  # of a matrix whose gap is computed, and peers squared where it is not sparse


class NominalMixing:
    """Adds up the pooling matrices of rounds; a peer's row is the mean over the rounds in which it takes part."""

    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule
        self._counted: dict[int, tuple[Round, int]] = {}  # by id, which stays unique because the round is kept alive
        self._weights = KeyedSums(1)
        self._rounds = np.zeros(schedule.num_peers)

    def add(self, index: int) -> None:
        """Add the round of this index."""
        round_ = self._schedule(index)
        _, count = self._counted.get(id(round_), (round_, 0))
        self._counted[id(round_)] = (round_, count + 1)
        if len(self._counted) >= KEPT:
            self._add_up()

    def matrix(self) -> csr_array:
        """Students by teachers; a peer that does not study in a round keeps its outputs in it."""
        self._add_up()
        return mean_matrix(self._weights, self._rounds)

    def _add_up(self) -> None:
        for round_, count in self._counted.values():
            links = round_.arrays()
            keys = links.students * self._schedule.num_peers + links.teachers
            self._weights.extend(keys, count * links.weights[:, None])
            self._rounds[participants(round_)] += count
        self._counted.clear()


def mean_matrix(weights: KeyedSums, counts: np.ndarray) -> csr_array:
    """The row-stochastic matrix of sums of weights, by student * peers + teacher, over how often each student stepped.

    What is missing to 1 in a row is the student's own.
    """
    num_peers = len(counts)
    keys, sums = weights.table()
    students, teachers = keys // num_peers, keys % num_peers
    shares = sums[:, 0] / np.maximum(counts[students], 1)
    pooled = coo_array((shares, (students, teachers)), shape=(num_peers, num_peers)).tocsr()
    own = np.maximum(1 - np.asarray(pooled.sum(axis=1)).ravel(), 0.0)
    own[own < 1e-12] = 0.0  # what rounding leaves
    whole: csr_array = (pooled + diags_array(own)).tocsr()
    return whole


def gap_of(pooling: csr_array) -> float | None:
    """1 - the second-largest real part of an eigenvalue: how fast peers agree that move a little in each step.

    From 0 (peers apart) to n / (n - 1) (complete graph). None: not known, as of thousands of peers.
    """
    if pooling.shape[0] < 2 or pooling.nnz > MOST_CELLS:
        return None
    return algebraic_connectivity(pooling, None, exchangeable=False)
