"""round_index -> Round: pure, seekable, without internal state; and the topologies whose rounds need no graph.

Functions that change the rounds of another schedule are in `combinators`.
"""

import hashlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np

from topologies.base_graph import base_rounds
from topologies.facts import EPSILON, TopologyFacts
from topologies.graphs import check_num_peers
from topologies.round import Edge, edges_from
from topologies.round import Round as Round

SAMPLED = 100  # rounds that identify a schedule that does not repeat


@dataclass(frozen=True)
class Schedule:
    """The rounds of a run: the same index always returns the same round, in any order of calls.

    period: the number of rounds after which they repeat, 1 for a static schedule; None: each round is drawn at random,
    or comes from a function that a user gave.
    facts: the topology's figures, if they are known without computing any round.
    exchangeable: rounds are drawn such that renaming the peers changes no probability.
    """

    num_peers: int
    period: int | None
    round_at: Callable[[int], Round]
    facts: TopologyFacts | None = None
    exchangeable: bool = False

    def __call__(self, round_index: int) -> Round:
        """The round of this index."""
        assert round_index >= 0
        return self.round_at(round_index)

    def telling(self, rounds: int | None = None) -> Iterator[Round]:
        """The rounds that tell of all: those of one period, or the first SAMPLED ones where they do not repeat.

        rounds: of a run; no later ones are given.
        """
        count = self.period or SAMPLED
        return map(self, range(count if rounds is None else min(rounds, count)))

    def digest(self) -> str:
        """SHA-256 of the links of the rounds that tell of all."""
        digests = [each.digest() for each in self.telling()]
        if self.period == 1:
            return digests[0]
        return hashlib.sha256("\n".join(digests).encode()).hexdigest()


def static(round_: Round) -> Schedule:
    """The same round forever."""
    return periodic((round_,))


def periodic(rounds: tuple[Round, ...]) -> Schedule:
    """These rounds in turn, over and over."""
    return Schedule(rounds[0].num_peers, len(rounds), lambda round_index: rounds[round_index % len(rounds)])


def self_taught(num_peers: int) -> Schedule:
    """Every peer is its own only teacher: the control without exchange."""
    check_num_peers(num_peers)
    return static(Round(tuple((Edge(peer, 1.0),) for peer in range(num_peers)), kept=(0.0,) * num_peers))


def complete(num_peers: int) -> Schedule:
    """Everyone learns from everyone else, with equal weights including itself: plain averaging agrees after one round.

    The n (n - 1) links are created at first use; all students share the same n edge objects.
    """
    check_num_peers(num_peers)
    others, links = num_peers - 1, float(num_peers * (num_peers - 1))

    @cache
    def round_() -> Round:
        shares = np.full(others, 1 / num_peers)
        weight = float((shares / shares.sum())[0])
        everyone = edges_from(range(num_peers), [weight] * num_peers)
        incoming = tuple(everyone[:student] + everyone[student + 1 :] for student in range(num_peers))
        return Round(incoming, kept=(1 / num_peers,) * num_peers)

    facts = TopologyFacts(
        num_peers,
        others,
        float(others),
        others,
        links,
        links,
        diameter=1,
        spectral_gap=1.0,
        rounds_to=1,
        pooling_gap=1 - 1 / others,  # the eigenvalues of P are 1 and -1 / (n - 1)
        pooling_connectivity=num_peers / others,
        # an exact 0.001 must not fail because of its last bit
        pooling_rounds_to=math.ceil(-math.log(EPSILON) / math.log(others) - 1e-9) if others > 1 else None,
    )
    return Schedule(num_peers, 1, lambda _: round_(), facts)


def random_teachers(num_peers: int, num_teachers: int, seed: np.random.SeedSequence) -> Schedule:
    """In every round each peer draws its teachers uniformly from all others.

    Raises:
        ValueError: when there are too few other peers.
    """
    check_teachers(num_peers, num_teachers)
    edges = _equal_edges(num_peers, num_teachers)

    def round_at(round_index: int) -> Round:
        rng = round_rng(seed, round_index)
        draws = [rng.choice(num_peers - 1, num_teachers, replace=False) for _ in range(num_peers)]
        # skipping the student itself turns a draw among n-1 into one among the others
        return _uniform_round(edges, {i: (draw + (draw >= i)).tolist() for i, draw in enumerate(draws)})

    return Schedule(num_peers, None, round_at, exchangeable=True)


def random_matching(num_peers: int, seed: np.random.SeedSequence) -> Schedule:
    """In every round a uniformly drawn matching; partners teach each other, and with odd n one peer is idle.

    E||deviation||^2 shrinks by (n - 2) / (2 (n - 1)) per round if n is even, by half if odd.
    """
    check_num_peers(num_peers)
    edges = _equal_edges(num_peers, 1)

    def round_at(round_index: int) -> Round:
        order = round_rng(seed, round_index).permutation(num_peers).tolist()
        pairs = list(zip(order[0:-1:2], order[1::2], strict=True))
        return _uniform_round(edges, {i: [j] for a, b in pairs for i, j in ((a, b), (b, a))})

    return Schedule(num_peers, None, round_at, exchangeable=True)


def random_pair(num_peers: int, num_teachers: int, seed: np.random.SeedSequence) -> Schedule:
    """In every round one random student learns from distinct random teachers; all others are idle.

    Raises:
        ValueError: when there are too few other peers.
    Source: arXiv 2604.18390, the role sampling of its listing.
    """
    check_teachers(num_peers, num_teachers)
    edges = _equal_edges(num_peers, num_teachers)

    def round_at(round_index: int) -> Round:
        student, *teachers = round_rng(seed, round_index).choice(num_peers, num_teachers + 1, replace=False).tolist()
        return _uniform_round(edges, {student: teachers})

    return Schedule(num_peers, None, round_at, exchangeable=True)


def one_peer_exponential(num_peers: int) -> Schedule:
    """In round t student i learns from i + 2^(t mod ceil(log2 n)), with half of its weight on itself.

    Source: Ying et al., 2021 (arXiv 2110.13363): the exact average after log2 n rounds if n is a power of two.
    """
    check_num_peers(num_peers)
    edges = _equal_edges(num_peers, 1)
    hops = [2**k for k in range((num_peers - 1).bit_length())]
    return periodic(
        tuple(_uniform_round(edges, {i: [(i + hop) % num_peers] for i in range(num_peers)}) for hop in hops)
    )


def base(num_peers: int, max_degree: int) -> Schedule:
    """Base-(k+1) graph of maximal degree k: the exact average after every period, for any number of peers."""
    check_num_peers(num_peers)
    if max_degree < 1:
        raise ValueError(f"topology.max_degree: must be at least 1, got {max_degree}; raise topology.max_degree")
    return periodic(
        tuple(Round.from_mixing(mixing) for mixing in base_rounds(num_peers, min(max_degree, num_peers - 1)))
    )


def round_rng(seed: np.random.SeedSequence, *key: int) -> np.random.Generator:
    """A generator for one round. SeedSequence.spawn() counts its calls, and so would not allow seeking."""
    return np.random.default_rng(np.random.SeedSequence(seed.entropy, spawn_key=(*seed.spawn_key, *key)))


def check_teachers(num_peers: int, num_teachers: int) -> None:
    """Refuse a number of teachers that exceeds the number of other peers.

    Raises:
        ValueError: when there are too few other peers.
    """
    check_num_peers(num_peers)
    if not 1 <= num_teachers < num_peers:
        raise ValueError(
            f"topology.teachers: must be from 1 to peers.count - 1 = {num_peers - 1}, got {num_teachers}; "
            "change topology.teachers or peers.count"
        )


def _equal_edges(num_peers: int, num_teachers: int) -> tuple[Edge, ...]:
    """An edge from every peer with weight 1 / num_teachers; rounds and students share these objects."""
    return edges_from(range(num_peers), [1 / num_teachers] * num_peers)


def _uniform_round(edges: tuple[Edge, ...], teachers: dict[int, list[int]]) -> Round:
    """The round in which each student in `teachers` learns from its teachers; W weighs the student like each of them.

    edges: one by each teacher. Peers that are not in `teachers` are idle.
    """
    incoming: list[tuple[Edge, ...]] = [()] * len(edges)
    kept = [1.0] * len(edges)
    for student, row in teachers.items():
        incoming[student] = tuple(edges[teacher] for teacher in sorted(row))
        kept[student] = 1 / (len(row) + 1)
    return Round(tuple(incoming), tuple(kept))
