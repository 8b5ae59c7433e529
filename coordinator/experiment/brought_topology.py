"""Topologies that users bring: from Python, or imported. Here, since topologies know nothing of what peers share."""

from typing import Any, ClassVar

import networkx as nx
import numpy as np

from peers.base.brought import Given, Imported
from peers.base.content import digest_of
from topologies.config import Brought as BroughtLinks
from topologies.given import content_of, imported, schedule_of
from topologies.schedule import Schedule


class ImportedTopology(Imported, BroughtLinks):
    """Links of your own: a graph, a matrix, a function of the round, or a function of the number of peers (and a seed).

    A function is called with the number of peers, `args`, and a seed if it has such a parameter; it gives a graph, a
    matrix, edges (teacher, student, weight), or a function of the round that gives one of these.
    """

    field: ClassVar[str] = "topology"

    @classmethod
    def example(cls, num_peers: int = 8) -> "ImportedTopology":
        return cls(target="networkx:cycle_graph")

    def build(self, num_peers: int, seed: np.random.SeedSequence) -> Schedule:
        self.bring()  # refuses other code than that of the config's digest
        weights, disconnected = self.weights, self.allow_disconnected
        return imported(
            self.found(),
            num_peers,
            seed,
            self.args,
            weights=weights,
            allow_disconnected=disconnected,
            name=self.origin,
        )


class GivenTopology(Given, BroughtLinks):
    """Links that were given from Python, as a run's own config says; no file can ask for them."""

    field: ClassVar[str] = "topology"
    argument: ClassVar[str] = "topology"

    @classmethod
    def example(cls, num_peers: int = 8) -> "GivenTopology":
        return cls.of(nx.cycle_graph(num_peers))

    @classmethod
    def digest_of(cls, value: Any) -> str:
        try:
            return digest_of(content_of(value))
        except ValueError:  # a function of the round
            return digest_of(value)

    def build(self, num_peers: int, seed: np.random.SeedSequence) -> Schedule:
        weights, disconnected = self.weights, self.allow_disconnected
        return schedule_of(self.bring(), num_peers, weights=weights, allow_disconnected=disconnected, name=self.origin)
