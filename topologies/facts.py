"""The summary figures of a topology."""

from dataclasses import dataclass


@dataclass(frozen=True)
class TopologyFacts:
    """The summary figures of a topology; a degree is the number of teachers of a peer that studies in a round.

    If the rounds repeat, all figures are exact, with two exceptions for mixing matrices that are neither symmetric nor
    the same from every peer (`agreement.repeated`): with hundreds of peers, `rounds_to` comes from power iteration or
    is only bounded; and `spectral_gap` is an average over simulated rounds if the second eigenvalue is not known.
    If every round is drawn at random, they are measured on a sample of rounds (`drawn.measured`).
    """

    num_peers: int
    min_degree: int
    mean_degree: float
    max_degree: int
    edges: float  # mean number of teacher -> student links per round
    messages_per_round: float  # the same without links of peers to themselves
    diameter: int | None  # longest shortest path along the links of all rounds; None: not every peer reaches all
    spectral_gap: float  # 1 - contraction per round: asymptotic if periodic, measured on sampled rounds if random
    rounds_to: int | None  # rounds until every disagreement is at most EPSILON; None: see rounds_over
    rounds_over: int | None = None  # if rounds_to is None: it takes more rounds than this; None: never reached
