"""Who learns from whom in one round, and the mixing matrix that follows."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain, pairwise
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import coo_array, csr_array


class Edge(NamedTuple):
    """A link into a student: the teacher, the weight of its message in the student's target, and the message's age."""

    teacher: int
    weight: float
    age: int = 0  # in rounds: 0 is what the teacher publishes in this round


class LinkArrays(NamedTuple):
    """The links of a round as arrays of one length, ordered by student, then teacher."""

    teachers: Int[np.ndarray, " links"]
    students: Int[np.ndarray, " links"]
    weights: Float[np.ndarray, " links"]


@dataclass(frozen=True)
class Round:
    """Who learns from whom in one round. Peers are 0..n-1, and every link runs teacher -> student.

    incoming[i]: the edges into peer i, ascending by teacher; their weights sum to 1. Empty if peer i does not study.
    kept[i]: peer i's diagonal entry in the gossip matrix W of the theory, 1 if it does not study. Students average
    with the weights of `incoming` alone (`as_pooled`).
    unheard: peers that run the round's batch although nobody learns from them.
    """

    incoming: tuple[tuple[Edge, ...], ...]
    kept: tuple[float, ...] = field(compare=False, repr=False)
    unheard: frozenset[int] = frozenset()

    @property
    def num_peers(self) -> int:
        return len(self.incoming)

    @cached_property
    def students(self) -> tuple[int, ...]:
        """The peers that learn, ascending."""
        return tuple(peer for peer, edges in enumerate(self.incoming) if edges)

    @cached_property
    def teaching(self) -> frozenset[int]:
        """The peers that somebody learns from."""
        return frozenset({teacher for edges in self.incoming for teacher, _, _ in edges})

    @property
    def links(self) -> tuple[tuple[int, int], ...]:
        """(teacher, student) pairs, ordered by student, then teacher: new at every call, one object for each link."""
        return tuple((edge.teacher, student) for student in self.students for edge in self.incoming[student])

    def arrays(self) -> LinkArrays:
        """The links as arrays, which are new at every call."""
        edges = list(chain.from_iterable(self.incoming))
        return LinkArrays(
            np.fromiter((edge.teacher for edge in edges), np.int64, len(edges)),
            np.repeat(np.arange(self.num_peers), [len(row) for row in self.incoming]),
            np.fromiter((edge.weight for edge in edges), float, len(edges)),
        )

    @cached_property
    def mixing(self) -> csr_array:
        """The sparse row-stochastic W of gossip theory, students by teachers, made at first use; ages are ignored."""
        teachers, students, weights = self.arrays()
        peers, kept = np.arange(self.num_peers), np.array(self.kept)
        values = np.concatenate([weights * (1 - kept[students]), kept])
        places = (np.concatenate([students, peers]), np.concatenate([teachers, peers]))
        mixing = coo_array((values, places), shape=(self.num_peers, self.num_peers)).tocsr()
        mixing.eliminate_zeros()
        mixing.data.setflags(write=False)
        return mixing

    def as_pooled(self) -> "Round":
        """The same round with the pooling matrix P as its mixing matrix: what students average into their targets."""
        return replace(self, kept=tuple(0.0 if edges else 1.0 for edges in self.incoming))

    def digest(self) -> str:
        """SHA-256 of teachers, students and weights, and of the ages if any of them is above 0."""
        columns = [tuple(tuple(edge[place] for edge in edges) for edges in self.incoming) for place in range(3)]
        aged = any(map(any, columns[2]))
        return hashlib.sha256(repr(tuple(columns if aged else columns[:2])).encode()).hexdigest()

    @classmethod
    def from_mixing(cls, mixing: csr_array | Float[np.ndarray, "peers peers"]) -> "Round":
        """The round of a mixing matrix: a row's off-diagonal non-zeros are its teachers, with proportional weights."""
        cells = csr_array(mixing).sorted_indices().tocoo()
        linked = (cells.row != cells.col) & (cells.data != 0)
        everybody = list(range(cells.shape[0]))  # one int object per peer, not one per link
        teachers, shares = [everybody[peer] for peer in cells.col[linked]], cells.data[linked]
        bounds = np.searchsorted(cells.row[linked], np.arange(cells.shape[0] + 1)).tolist()
        rows = [slice(*ends) for ends in pairwise(bounds)]
        return cls(
            incoming=tuple(edges_from(teachers[row], (shares[row] / shares[row].sum()).tolist()) for row in rows),
            kept=tuple(cells.diagonal().tolist()),
        )


def edges_from(teachers: Iterable[int], weights: Iterable[float]) -> tuple[Edge, ...]:
    """Edges from these teachers with these weights, in the order given, without age."""
    return tuple(map(Edge, teachers, weights))
