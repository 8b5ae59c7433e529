"""The summary figures of a topology."""

from dataclasses import dataclass

EPSILON = 1e-3  # disagreement that counts as agreement, relative to the worst possible start


@dataclass(frozen=True)
class TopologyFacts:
    """The summary figures of a topology; a degree is the number of teachers of a peer that studies in a round.

    Two row-stochastic matrices, students by teachers, describe how outputs mix in a round:

    - W, the **gossip matrix** of the theory, gives a student's own outputs a weight, too (Metropolis-Hastings weights,
      if the rule is that). `spectral_gap`, `rounds_to` and `rounds_over` are those of W. No student averages with it.
    - P, the **pooling matrix**, is what a student averages into its target: its teachers alone, or with
      `topology.self_weight` its own outputs, too; then W = P. The figures of P are called `pooling_...`.

    A student moves only a part c of the way to its target in a round, so the outputs Z become (I - c (I - P)) Z, and
    disagreement falls at the rate c times `pooling_connectivity` where c is small. The gap of P is for c = 1: it is 0
    where peers would swap their outputs for ever (eigenvalue -1: every graph of two groups that only hear each other,
    such as stars and even rings).

    If the rounds repeat, all figures are exact, with two exceptions for matrices that are neither symmetric nor the
    same from every peer (`agreement.repeated`): with hundreds of peers, rounds come from power iteration or are only
    bounded; and a gap is an average over simulated rounds if the second eigenvalue is not known.
    If every round is drawn at random, they are measured on a sample of rounds (`drawn.measured`), those of W and the
    mean of P; the gap and rounds of P are then None.
    """

    num_peers: int
    min_degree: int
    mean_degree: float
    max_degree: int
    edges: float  # mean number of teacher -> student links per round
    messages_per_round: float  # the same without links of peers to themselves
    diameter: int | None  # longest shortest path along the links of all rounds; None: see diameter_least, or none
    spectral_gap: float  # of W: 1 - contraction per round: asymptotic if periodic, measured on sampled rounds if random
    rounds_to: int | None  # of W: rounds until every disagreement is at most EPSILON; None: see rounds_over
    pooling_gap: float | None  # as spectral_gap, of P; None: rounds are drawn anew
    pooling_connectivity: float | None  # 1 - second-largest real part of an eigenvalue of P's mean; None: not known
    rounds_over: int | None = None  # if rounds_to is None: it takes more rounds than this; None: never reached
    diameter_least: int | None = None  # if there are too many peers for the diameter: it is at least this
    pooling_rounds_to: int | None = None  # as rounds_to, of P
    pooling_rounds_over: int | None = None  # as rounds_over, of P
