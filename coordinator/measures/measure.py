"""Computes the declared measures from the peers' observations of one round: of the group, each peer and each link."""

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from coordinator.measures import consensus, declared
from coordinator.measures.declared import Observed
from peers.probing.observing import KERNEL_UNIT, KernelSum, Observations
from topologies.schedule import Round


@dataclass(frozen=True)
class Pairing:
    """The input for comparing all pairs of peers; `observed` is None for more than MAX_PAIRED peers."""

    observed: Observed | None
    peers: list[int]

    def pairs(self) -> dict[tuple[int, int], dict[str, float]]:
        """The pair measures by (peer, other), where peer < other, of all pairs, whether linked or not.

        Time: O(peers^2 examples outputs).
        """
        if self.observed is None:
            return {}
        places = np.argwhere(np.triu(np.ones((len(self.peers), len(self.peers)), dtype=bool), k=1))
        columns = {measure.name: measure.compute(self.observed, places) for measure in declared.PAIRS}
        return {
            (self.peers[i], self.peers[j]): {name: float(values[row]) for name, values in columns.items()}
            for row, (i, j) in enumerate(places.tolist())
        }


@dataclass(frozen=True)
class Measures:
    """All measures after a round, over the peers that have not dropped out.

    scalars: of those of them that are honest, measures of the group, and means over peers of the others; empty where
    only liars are left. peers: by peer. edges: by (teacher, student).
    """

    scalars: dict[str, float]
    peers: dict[int, dict[str, float]]
    edges: dict[tuple[int, int], dict[str, float]]


def measure(
    observations: Observations, round_: Round, temperature: float, liars: Collection[int] = ()
) -> tuple[Measures, Pairing]:
    """Compute all measures, those of links along the links of `round_`; also returns the input for comparing pairs.

    temperature: of the softmax that turns outputs into distributions; the students' temperature in training. liars:
    peers that no mean and no measure of the group is about.
    """
    alive = [peer for peer, entry in observations.peers.items() if not entry.failed] or list(observations.peers)
    about = [place for place, peer in enumerate(alive) if peer not in liars]
    seen = [observations.peers[peer] for peer in alive]
    outputs = np.stack([observation.outputs for observation in seen])
    grams = [observation.gram for observation in seen if observation.gram is not None]
    cka = consensus.linear_cka(np.stack(grams)) if len(grams) == len(seen) else None
    mean_cka = _mean_cka(cka, observations.kernels) if len(seen) > 1 else float("nan")
    observed = Observed(outputs, consensus.probabilities(outputs, temperature), seen, cka, mean_cka)
    truthful = observed if len(about) in (0, len(alive)) else _only(observed, about)
    num_peers = len(observations.peers)
    per_peer = {each.name: each.compute(observed) for each in declared.PEER if each.cost.allows(num_peers)}
    group = [measure for measure in declared.GROUP if len(about) > 1 and measure.cost.allows(num_peers)]
    measures = Measures(
        scalars={measure.name: measure.compute(truthful) for measure in group}
        | {name: float(values[about].mean()) for name, values in per_peer.items() if about},
        peers={
            peer: {name: float(values[place]) for name, values in per_peer.items()} for place, peer in enumerate(alive)
        },
        edges=_edges(observed, alive, round_),
    )
    if cka is None:
        return measures, Pairing(None, [])
    return measures, Pairing(
        replace(observed, observations=()), alive
    )  # free their Gram matrices: `cka` is all that pairs need


def _only(observed: Observed, places: list[int]) -> Observed:
    """The input of measures of some of the peers. Their mean CKA is unknown without a matrix: a sum has all peers."""
    cka = None if observed.cka is None else observed.cka[np.ix_(places, places)]
    return Observed(
        observed.outputs[places],
        observed.probs[places],
        [observed.observations[place] for place in places],
        cka,
        _mean_cka(cka, None) if len(places) > 1 else float("nan"),
    )


def _mean_cka(cka: Float[np.ndarray, "peers peers"] | None, kernels: KernelSum | None) -> float:
    """Mean CKA over all pairs, from the CKA matrix or else from the sum of kernels; nan if that is undefined."""
    if cka is not None:
        return float(cka[~np.eye(len(cka), dtype=bool)].mean())
    if kernels is None or not kernels.defined:
        return float("nan")
    return consensus.mean_cka(kernels.values * KERNEL_UNIT, kernels.count)


def _edges(observed: Observed, alive: list[int], round_: Round) -> dict[tuple[int, int], dict[str, float]]:
    place = {peer: index for index, peer in enumerate(alive)}
    weights = {(edge.teacher, s): edge.weight for s in round_.students for edge in round_.incoming[s]}
    links = [(t, s) for t, s in weights if s != t and s in place and t in place]
    if not links:
        return {}
    places = np.array([[place[t], place[s]] for t, s in links], dtype=np.int64)
    columns = {measure.name: measure.compute(observed, places) for measure in declared.LINKS}
    return {
        link: {"weight": weights[link]} | {name: float(values[row]) for name, values in columns.items()}
        for row, link in enumerate(links)
    }
