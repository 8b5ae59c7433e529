"""The `[topology]` section: a union tagged by `kind`; each variant builds the schedule it names."""

import pathlib
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from topologies import edge_file, graphs, mixing, schedule
from topologies.schedule import Schedule

Probability = Annotated[float, Field(ge=0, le=1)]


class _Variant(BaseModel):
    """Frozen, and unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    self_weight: Annotated[float, Field(ge=0, lt=1)] | None = Field(
        None,
        description="share of what a student teaches itself in its target; left out: none, and theory's own in W",
    )


class _Undirected(_Variant):
    """A static undirected graph; weights names its mixing matrix."""

    weights: Literal["metropolis-hastings", "uniform"] = "metropolis-hastings"

    def _static(self, graph: graphs.Graph) -> Schedule:
        rule = mixing.metropolis_hastings if self.weights == "metropolis-hastings" else mixing.uniform
        return schedule.static(schedule.Round.from_mixing(rule(graph)))


class Ring(_Undirected):
    """A cycle."""

    kind: Literal["ring"] = "ring"

    def build(self, num_peers: int, seed: np.random.SeedSequence) -> Schedule:
        """The schedule; nothing is drawn."""
        return self._static(graphs.ring(num_peers))


class Complete(_Undirected):
    """Everyone learns from everyone else."""

    kind: Literal["complete"] = "complete"

    def build(self, num_peers: int, seed: np.random.SeedSequence) -> Schedule:
        """The schedule; nothing is drawn."""
        return schedule.complete(num_peers)  # equal degrees: both rules of weights give the same


class Self(_Variant):
    """Every peer is its own teacher."""

    kind: Literal["self"] = "self"

    def build(self, num_peers: int, seed: np.random.SeedSequence) -> Schedule:
        """The schedule; nothing is drawn."""
        return schedule.self_taught(num_peers)


class Star(_Undirected):
    """Peer 0 is the hub."""

    kind: Literal["star"] = "star"

    def build(self, num_peers: int, seed: np.random.SeedSequence) -> Schedule:
        """The schedule; nothing is drawn."""
        return self._static(graphs.star(num_peers))


class Path(_Undirected):
    """A line of peers."""

    kind: Literal["path"] = "path"

    def build(self, num_peers: int, seed: np.random.SeedSequence) -> Schedule:
        """The schedule; nothing is drawn."""
        return self._static(graphs.path(num_peers))


class Torus(_Undirected):
    """The most square 2-D torus."""

    kind: Literal["torus"] = "torus"

    def build(self, num_peers: int, seed: np.random.SeedSequence) -> Schedule:
        """The schedule; nothing is drawn."""
        return self._static(graphs.torus(num_peers))


class Hypercube(_Undirected):
    """A power of two of peers, neighbours differing in one binary digit."""

    kind: Literal["hypercube"] = "hypercube"

    def build(self, num_peers: int, seed: np.random.SeedSequence) -> Schedule:
        """The schedule; nothing is drawn."""
        return self._static(graphs.hypercube(num_peers))


class Exponential(_Variant):
    """The static exponential graph, directed, with uniform weights."""

    kind: Literal["exponential"] = "exponential"

    def build(self, num_peers: int, seed: np.random.SeedSequence) -> Schedule:
        """The schedule; nothing is drawn."""
        return schedule.static(schedule.Round.from_mixing(mixing.uniform(graphs.exponential(num_peers))))


class RandomRegular(_Undirected):
    """One random graph of equal degrees, kept for the whole run."""

    kind: Literal["random-regular"] = "random-regular"
    degree: int = Field(ge=1)
    allow_disconnected: bool = False

    def build(self, num_peers: int, seed: np.random.SeedSequence) -> Schedule:
        """The schedule, its graph drawn from seed."""
        rng = np.random.default_rng(seed)
        return self._static(graphs.random_regular(num_peers, self.degree, rng, self.allow_disconnected))


class ErdosRenyi(_Undirected):
    """One random graph of independent links, kept for the whole run."""

    kind: Literal["erdos-renyi"] = "erdos-renyi"
    p: Probability
    allow_disconnected: bool = False

    def build(self, num_peers: int, seed: np.random.SeedSequence) -> Schedule:
        """The schedule, its graph drawn from seed."""
        rng = np.random.default_rng(seed)
        return self._static(graphs.erdos_renyi(num_peers, self.p, rng, self.allow_disconnected))


class WattsStrogatz(_Undirected):
    """One small-world graph, kept for the whole run."""

    kind: Literal["watts-strogatz"] = "watts-strogatz"
    degree: int = Field(default=4, ge=2)
    rewire: Probability = 0.1
    allow_disconnected: bool = False

    def build(self, num_peers: int, seed: np.random.SeedSequence) -> Schedule:
        """The schedule, its graph drawn from seed."""
        rng = np.random.default_rng(seed)
        return self._static(graphs.watts_strogatz(num_peers, self.degree, self.rewire, rng, self.allow_disconnected))


class File(_Variant):
    """Directed edges, with or without weights, from a CSV file; peers without teachers only teach."""

    kind: Literal["file"] = "file"
    path: pathlib.Path
    allow_disconnected: bool = False

    def build(self, num_peers: int, seed: np.random.SeedSequence) -> Schedule:
        """The schedule; nothing is drawn."""
        graph = edge_file.from_edge_file(self.path, num_peers, self.allow_disconnected)
        return schedule.static(schedule.Round.from_mixing(mixing.weighted(graph)))


class Random(_Variant):
    """Every peer draws its teachers anew each round."""

    kind: Literal["random"] = "random"
    teachers: int = Field(default=1, ge=1)

    def build(self, num_peers: int, seed: np.random.SeedSequence) -> Schedule:
        """The schedule, each round drawn from seed and its index."""
        return schedule.random_teachers(num_peers, self.teachers, seed)


class RandomMatching(_Variant):
    """Random partners each round."""

    kind: Literal["random-matching"] = "random-matching"

    def build(self, num_peers: int, seed: np.random.SeedSequence) -> Schedule:
        """The schedule, each round drawn from seed and its index."""
        return schedule.random_matching(num_peers, seed)


class RandomPair(_Variant):
    """One random student and its random teachers each round."""

    kind: Literal["random-pair"] = "random-pair"
    teachers: int = Field(default=1, ge=1)

    def build(self, num_peers: int, seed: np.random.SeedSequence) -> Schedule:
        """The schedule, each round drawn from seed and its index."""
        return schedule.random_pair(num_peers, self.teachers, seed)


class OnePeerExponential(_Variant):
    """One teacher a round, at distances 1, 2, 4, ... in turn."""

    kind: Literal["one-peer-exponential"] = "one-peer-exponential"

    def build(self, num_peers: int, seed: np.random.SeedSequence) -> Schedule:
        """The schedule; nothing is drawn."""
        return schedule.one_peer_exponential(num_peers)


class Base(_Variant):
    """The Base-(k+1) graph: the exact average after every period."""

    kind: Literal["base"] = "base"
    max_degree: int = Field(default=1, ge=1)

    def build(self, num_peers: int, seed: np.random.SeedSequence) -> Schedule:
        """The schedule; nothing is drawn."""
        return schedule.base(num_peers, self.max_degree)


TopologyConfig = Annotated[
    Ring
    | Complete
    | Self
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
