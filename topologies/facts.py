"""The figures of a topology."""

from dataclasses import dataclass


@dataclass(frozen=True)
class TopologyFacts:
    """The figures of a topology; degrees count the teachers of a peer that studies in a round.

    Where the rounds repeat, all are exact, but for two figures of averaging that is neither symmetric nor the same from
    every peer (`agreement.repeated`): among hundreds of peers `rounds_to` is found by power iteration, or bounded; and
    `spectral_gap` is measured, as a mean over the rounds followed, where the second eigenvalue is not known.
    Where each round is drawn anew they are measured on the rounds looked at (`drawn.measured`).
    """

    num_peers: int
    min_degree: int
    mean_degree: float
    max_degree: int
    edges: float  # teacher -> student links a round, mean
    messages_per_round: float  # the same without a peer's link to itself
    diameter: int | None  # longest shortest path along the links of all rounds; None: some peer is unreached
    spectral_gap: float  # 1 - contraction a round: asymptotic if periodic, measured on the rounds looked at if random
    rounds_to: int | None  # rounds until any disagreement is down to EPSILON; None: see rounds_over
    rounds_over: int | None = None  # where rounds_to is None: it takes more rounds than this; None: it never happens
