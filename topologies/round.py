"""Who learns from whom in one round, and the mixing matrix that follows."""

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain, pairwise

import numpy as np
from jaxtyping import Float
from scipy.sparse import coo_array, csr_array


@dataclass(frozen=True)
class Round:
    """Who learns from whom in one round.

    teachers[i] ascends and is empty where peer i does not study; weights[i] pools those teachers and sums to 1.
    kept[i] is what gossip theory's W leaves peer i of its own opinion, 1 where it does not study; the rest of its row
    is spread by the weights. unheard are peers that look at the round's batch although nobody hears them.
    """

    teachers: tuple[tuple[int, ...], ...]
    weights: tuple[tuple[float, ...], ...]
    kept: tuple[float, ...] = field(compare=False, repr=False)
    unheard: frozenset[int] = frozenset()

    @cached_property
    def mixing(self) -> csr_array:
        """The row-stochastic W, peers by peers, made when it is first asked for."""
        index, kept = np.arange(len(self.teachers)), np.array(self.kept)
        rows = np.repeat(index, [len(row) for row in self.teachers])
        columns = np.fromiter(chain.from_iterable(self.teachers), np.int64, len(rows))
        shares = np.fromiter(chain.from_iterable(self.weights), float, len(rows)) * (1 - kept[rows])
        cells = (np.concatenate([shares, kept]), (np.concatenate([rows, index]), np.concatenate([columns, index])))
        mixing = coo_array(cells, shape=(len(index), len(index))).tocsr()
        mixing.eliminate_zeros()
        mixing.data.setflags(write=False)
        return mixing

    @cached_property
    def students(self) -> tuple[int, ...]:
        """The peers that learn, ascending."""
        return tuple(peer for peer, row in enumerate(self.teachers) if row)

    @property
    def teaching(self) -> frozenset[int]:
        """The peers that somebody learns from."""
        return frozenset(teacher for row in self.teachers for teacher in row)

    @property
    def edges(self) -> tuple[tuple[int, int], ...]:
        """(student, teacher) pairs, ascending."""
        return tuple((student, teacher) for student in self.students for teacher in self.teachers[student])

    def digest(self) -> str:
        """SHA-256 of who learns from whom, and with what weights."""
        return hashlib.sha256(repr((self.teachers, self.weights)).encode()).hexdigest()

    @classmethod
    def from_mixing(cls, mixing: csr_array | Float[np.ndarray, "peers peers"]) -> "Round":
        """Teachers are a row's off-diagonal non-zeros, pooled in proportion to them."""
        cells = csr_array(mixing).sorted_indices().tocoo()
        linked = (cells.row != cells.col) & (cells.data != 0)
        columns, shares = cells.col[linked], cells.data[linked]
        bounds = np.searchsorted(cells.row[linked], np.arange(cells.shape[0] + 1)).tolist()
        rows = [slice(*ends) for ends in pairwise(bounds)]
        return cls(
            teachers=tuple(tuple(columns[row].tolist()) for row in rows),
            weights=tuple(tuple((shares[row] / shares[row].sum()).tolist()) for row in rows),
            kept=tuple(cells.diagonal().tolist()),
        )
