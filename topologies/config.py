"""The `[topology]` section: a union tagged by `kind`; each variant builds the schedule it names.

A new kind is a function in `graphs` or `schedule`, with a test against an oracle, and a variant here, added to the
union at the end. Tests over all kinds and `peer-consensus topology list` find it in `KINDS`.
"""

import math
import pathlib
from typing import Annotated, Literal, get_args

import numpy as np
from pydantic import Field

from topologies import files, graphs, mixing, schedule
from topologies.links import Weights
from topologies.schedule import Schedule
from topologies.topology import Topology

Probability = Annotated[float, Field(ge=0, le=1)]
DISCONNECTED = "accept links that do not join all peers; false: draw anew, or refuse"


class _Undirected(Topology):
    """A static undirected graph; weights names its mixing matrix."""

    weights: Weights = Field(
        "metropolis-hastings",
        description="mixing weight of a link between peers of d_i and d_j neighbours: 1 / (1 + max(d_i, d_j)) (Xiao, "
        "Boyd and Lall 2005), or 1 / (1 + d_i)",
    )

    def _static(self, graph: graphs.Graph) -> Schedule:
        rule = mixing.metropolis_hastings if self.weights == "metropolis-hastings" else mixing.uniform
        return schedule.static(schedule.Round.from_mixing(rule(graph)))


class Ring(_Undirected):
    """A cycle: every peer exchanges with two neighbours."""

    kind: Literal["ring"] = "ring"

    def build(self, num_peers: int, seed: np.random.SeedSequence) -> Schedule:
        return self._static(graphs.ring(num_peers))


class Complete(_Undirected):
    """Every peer learns from all others."""

    kind: Literal["complete"] = "complete"

    def build(self, num_peers: int, seed: np.random.SeedSequence) -> Schedule:
        return schedule.complete(num_peers)  # all degrees are equal, so both weight rules agree


class SelfTaught(Topology):
    """Every peer is its own teacher."""

    kind: Literal["self"] = "self"

    def build(self, num_peers: int, seed: np.random.SeedSequence) -> Schedule:
        return schedule.self_taught(num_peers)


class Star(_Undirected):
    """Peer 0, the hub, exchanges with all others, which exchange with it alone."""

    kind: Literal["star"] = "star"

    def build(self, num_peers: int, seed: np.random.SeedSequence) -> Schedule:
        return self._static(graphs.star(num_peers))


class Path(_Undirected):
    """A line from the first peer to the last."""

    kind: Literal["path"] = "path"

    def build(self, num_peers: int, seed: np.random.SeedSequence) -> Schedule:
        return self._static(graphs.path(num_peers))


class Torus(_Undirected):
    """The most square two-dimensional grid whose rows and columns are closed to rings."""

    kind: Literal["torus"] = "torus"

    def build(self, num_peers: int, seed: np.random.SeedSequence) -> Schedule:
        return self._static(graphs.torus(num_peers))

    def check_count(self, num_peers: int) -> None:
        """The count must be a product of two sides of at least 2. Raises: ValueError."""
        graphs.torus_rows(num_peers)


class Hypercube(_Undirected):
    """Neighbours are peers whose indices differ in one binary digit; the number of peers is a power of two."""

    kind: Literal["hypercube"] = "hypercube"

    def build(self, num_peers: int, seed: np.random.SeedSequence) -> Schedule:
        return self._static(graphs.hypercube(num_peers))

    def check_count(self, num_peers: int) -> None:
        """The count must be a power of two. Raises: ValueError."""
        graphs.hypercube_dimension(num_peers)


class Exponential(Topology):
    """Directed: every peer learns from those 1, 2, 4, ... places further on (Ying et al. 2021)."""

    kind: Literal["exponential"] = "exponential"

    def build(self, num_peers: int, seed: np.random.SeedSequence) -> Schedule:
        return schedule.static(schedule.Round.from_mixing(mixing.uniform(graphs.exponential(num_peers))))


class RandomRegular(_Undirected):
    """One random graph of equal degrees, kept for the whole run."""

    kind: Literal["random-regular"] = "random-regular"
    degree: int = Field(ge=1, description="number of neighbours of every peer")
    allow_disconnected: bool = Field(False, description=DISCONNECTED)

    def build(self, num_peers: int, seed: np.random.SeedSequence) -> Schedule:
        rng = np.random.default_rng(seed)
        return self._static(graphs.random_regular(num_peers, self.degree, rng, self.allow_disconnected))

    @classmethod
    def example(cls, num_peers: int = 8) -> "RandomRegular":
        """Degree 4, or everyone linked with everyone else."""
        return cls(degree=max(1, min(4, num_peers - 1)))

    def check_count(self, num_peers: int) -> None:
        """There must be more peers than `degree`, and their product be even. Raises: ValueError."""
        graphs.check_regular(num_peers, self.degree)


class ErdosRenyi(_Undirected):
    """One random graph of independent links, kept for the whole run."""

    kind: Literal["erdos-renyi"] = "erdos-renyi"
    p: Probability = Field(description="probability of each pair of peers to be linked")
    allow_disconnected: bool = Field(False, description=DISCONNECTED)

    def build(self, num_peers: int, seed: np.random.SeedSequence) -> Schedule:
        rng = np.random.default_rng(seed)
        return self._static(graphs.erdos_renyi(num_peers, self.p, rng, self.allow_disconnected))

    @classmethod
    def example(cls, num_peers: int = 8) -> "ErdosRenyi":
        """Links that are likely to connect all peers, but not many more."""
        return cls(p=min(0.35, round(4 * math.log(max(num_peers, 2)) / max(num_peers, 2), 3)))


class WattsStrogatz(_Undirected):
    """One small-world graph, kept for the whole run."""

    kind: Literal["watts-strogatz"] = "watts-strogatz"
    degree: int = Field(default=4, ge=2, description="mean number of neighbours, an even number")
    rewire: Probability = Field(0.1, description="probability of each link of the ring lattice to be moved")
    allow_disconnected: bool = Field(False, description=DISCONNECTED)

    def build(self, num_peers: int, seed: np.random.SeedSequence) -> Schedule:
        rng = np.random.default_rng(seed)
        return self._static(graphs.watts_strogatz(num_peers, self.degree, self.rewire, rng, self.allow_disconnected))

    @classmethod
    def example(cls, num_peers: int = 8) -> "WattsStrogatz":
        """The default degree, or 2 among four peers or fewer."""
        return cls() if num_peers > 4 else cls(degree=2)

    def check_count(self, num_peers: int) -> None:
        """There must be more peers than `degree`. Raises: ValueError."""
        graphs.check_degree(num_peers, self.degree)


class Brought(Topology):
    """Links that a user brings: what is decided about them beside the links themselves."""

    weights: Weights | None = Field(
        None,
        description="mixing weights of links without weights of their own, as in ring; left out: metropolis-hastings "
        "where links are undirected, uniform where they are directed",
    )
    allow_disconnected: bool = Field(False, description=DISCONNECTED)


class File(Brought):
    """Links from a file, for all rounds, or in a CSV file for each round; peers without teachers only teach."""

    kind: Literal["file"] = "file"
    path: pathlib.Path = Field(
        description="CSV file with a line for each link: teacher,student or teacher,student,weight, in any order; with "
        "a column round (from 0), links change: a round without a line has no exchange, and after the last round the "
        "file begins again. Or a graph in *.graphml or *.gml, or an edge list in *.edgelist, *.edges or *.txt, with "
        "directed links from teacher to student"
    )
    directed: bool | None = Field(
        None,
        description="required for edge lists, which do not say it: true if the first peer of a line teaches the "
        "second, false if both learn from each other",
    )

    def build(self, num_peers: int, seed: np.random.SeedSequence) -> Schedule:
        return files.schedule_from(self.path, num_peers, self.directed, self.weights, self.allow_disconnected)

    @classmethod
    def example(cls, num_peers: int = 8) -> "File":
        """`edges.csv` in the current folder, which is for its user to write."""
        return cls(path=pathlib.Path("edges.csv"))


class Random(Topology):
    """Every peer draws its teachers anew in every round."""

    kind: Literal["random"] = "random"
    teachers: int = Field(default=1, ge=1, description="number of teachers of every peer")

    def build(self, num_peers: int, seed: np.random.SeedSequence) -> Schedule:
        return schedule.random_teachers(num_peers, self.teachers, seed)

    def check_count(self, num_peers: int) -> None:
        """There must be more peers than `teachers`. Raises: ValueError."""
        schedule.check_teachers(num_peers, self.teachers)


class RandomMatching(Topology):
    """In every round peers are paired at random; partners learn from each other, and an odd one is idle."""

    kind: Literal["random-matching"] = "random-matching"

    def build(self, num_peers: int, seed: np.random.SeedSequence) -> Schedule:
        return schedule.random_matching(num_peers, seed)


class RandomPair(Topology):
    """In every round one random peer learns from random teachers, and all others are idle (arXiv 2604.18390)."""

    kind: Literal["random-pair"] = "random-pair"
    teachers: int = Field(default=1, ge=1, description="number of teachers of the student (arXiv 2604.18390: 1 or 2)")

    def build(self, num_peers: int, seed: np.random.SeedSequence) -> Schedule:
        return schedule.random_pair(num_peers, self.teachers, seed)

    def check_count(self, num_peers: int) -> None:
        """There must be more peers than `teachers`. Raises: ValueError."""
        schedule.check_teachers(num_peers, self.teachers)


class OnePeerExponential(Topology):
    """In every round one teacher, 1, 2, 4, ... places further on in turn (Ying et al. 2021)."""

    kind: Literal["one-peer-exponential"] = "one-peer-exponential"

    def build(self, num_peers: int, seed: np.random.SeedSequence) -> Schedule:
        return schedule.one_peer_exponential(num_peers)


class Base(Topology):
    """The Base-(k+1) graph: the exact average after every period (Takezawa et al. 2023)."""

    kind: Literal["base"] = "base"
    max_degree: int = Field(default=1, ge=1, description="largest number of neighbours in a round, the k of its name")

    def build(self, num_peers: int, seed: np.random.SeedSequence) -> Schedule:
        return schedule.base(num_peers, self.max_degree)


TopologyConfig = Annotated[
    Ring
    | Complete
    | SelfTaught
    | Star
    | Path
    | Torus
    | Hypercube
    | Exponential
    | RandomRegular
    | ErdosRenyi
    | WattsStrogatz
    | File
    | Random
    | RandomMatching
    | RandomPair
    | OnePeerExponential
    | Base,
    Field(discriminator="kind"),
]

KINDS: dict[str, type[Topology]] = {
    variant.model_fields["kind"].default: variant for variant in get_args(get_args(TopologyConfig)[0])
}
