"""From the peers' observations of one round to named numbers: for the group, for each peer, for each edge."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from coordinator.measures import consensus
from coordinator.measures.verdict import CollapseMeasures
from peers.probing.measuring import KERNEL_UNIT, KernelSum, Observation, Observations
from topologies.schedule import Round

PerPeer = Float[np.ndarray, " peers"]


@dataclass(frozen=True)
class GroupMeasures:
    """Of two peers or more together, as `consensus` computes them."""

    relative_distance: float
    consensus_distance: float
    js: float
    agreement: float
    fleiss_kappa: float
    cka: float


@dataclass(frozen=True)
class PeerMeasures:
    """Of each peer by itself; the group's are their means over peers."""

    marginal_entropy: PerPeer
    mean_entropy: PerPeer
    mutual_information: PerPeer
    scaled_information: PerPeer
    feature_std: PerPeer
    rankme: PerPeer
    participation_ratio: PerPeer
    weight_change: PerPeer


@dataclass(frozen=True)
class Pairing:
    """What every two peers are compared by: softmax outputs, the CKA of their features, and which peers these are.

    Of more than MAX_PAIRED peers it holds nothing.
    """

    probs: Float[np.ndarray, "peers examples outputs"]
    cka: Float[np.ndarray, "peers peers"]
    peers: list[int]

    def pairs(self) -> dict[tuple[int, int], dict[str, float]]:
        """Disagreement and similarity by (peer, other), peer < other, whether or not a link joins them.

        Takes O(peers^2 examples outputs).
        """
        places = np.argwhere(np.triu(np.ones_like(self.cka, dtype=bool), k=1))
        variation = consensus.edge_disagreement(self.probs, places)
        return {
            (self.peers[i], self.peers[j]): {"total_variation": float(distance), "cka": float(self.cka[i, j])}
            for (i, j), distance in zip(places.tolist(), variation, strict=True)
        }


@dataclass(frozen=True)
class Measures:
    """All measures after a round, of the peers that have not dropped out.

    scalars: the group's, with the collapse measures as means over peers; peers, edges: by peer and (teacher, student).
    """

    scalars: dict[str, float]
    peers: dict[int, dict[str, float]]
    edges: dict[tuple[int, int], dict[str, float]]

    def collapse(self, peers: list[int]) -> CollapseMeasures:
        """The collapse measures of these peers."""
        names = ("scaled_information", "feature_std", "rankme")
        columns = [np.array([self.peers[peer][name] for peer in peers]) for name in names]
        return CollapseMeasures(*columns)


def measure(observations: Observations, plan: Round, temperature: float) -> tuple[Measures, Pairing]:
    """Consensus, collapse and similarity, and the disagreement along the links of `plan`; and what pairs need.

    Distributions are softmax(outputs / temperature), the students' own temperature in training.
    """
    alive = [peer for peer, of_peer in observations.peers.items() if not of_peer.failed] or list(observations.peers)
    seen = [observations.peers[peer] for peer in alive]
    outputs = np.stack([each.outputs for each in seen])
    probs = consensus.probabilities(outputs, temperature)
    per_peer = vars(_each(outputs, probs, seen))
    paired = all(each.gram is not None for each in seen)
    cka = consensus.linear_cka(np.stack([each.gram for each in seen if each.gram is not None])) if paired else None
    group = vars(_group(outputs, probs, _mean_cka(cka, observations.kernels))) if len(seen) > 1 else {}
    measures = Measures(
        scalars=group | {name: float(values.mean()) for name, values in per_peer.items()},
        peers={
            peer: {name: float(values[place]) for name, values in per_peer.items()} for place, peer in enumerate(alive)
        },
        edges=_edges(outputs, probs, alive, plan),
    )
    pairing = Pairing(probs, cka, alive) if cka is not None else Pairing(probs[:0], np.zeros((0, 0)), [])
    return measures, pairing


def _mean_cka(cka: Float[np.ndarray, "peers peers"] | None, kernels: KernelSum | None) -> float:
    """Over all pairs: from the matrix, or from the sum of the kernels; nan where these are not defined."""
    if cka is not None:
        return float(cka[~np.eye(len(cka), dtype=bool)].mean())
    if kernels is None or not kernels.defined:
        return float("nan")
    return consensus.mean_cka(kernels.values * KERNEL_UNIT, kernels.count)


def _each(outputs: np.ndarray, probs: np.ndarray, seen: list[Observation]) -> PeerMeasures:
    return PeerMeasures(
        marginal_entropy=consensus.marginal_entropy(probs),
        mean_entropy=consensus.mean_entropy(probs),
        mutual_information=consensus.mutual_information(probs),
        scaled_information=consensus.scaled_information(outputs),
        feature_std=np.array([each.feature_std for each in seen]),
        rankme=np.array([each.rankme for each in seen]),
        participation_ratio=np.array([each.participation_ratio for each in seen]),
        weight_change=np.array([each.weight_change for each in seen]),
    )


def _group(outputs: np.ndarray, probs: np.ndarray, cka: float) -> GroupMeasures:
    return GroupMeasures(
        relative_distance=consensus.relative_consensus_distance(outputs),
        consensus_distance=consensus.consensus_distance(outputs),
        js=consensus.generalised_js(probs),
        agreement=consensus.argmax_agreement(outputs),
        fleiss_kappa=consensus.fleiss_kappa(outputs),
        cka=cka,
    )


def _edges(
    outputs: np.ndarray, probs: np.ndarray, alive: list[int], plan: Round
) -> dict[tuple[int, int], dict[str, float]]:
    place = {peer: index for index, peer in enumerate(alive)}
    weights = {(edge.teacher, s): edge.weight for s in plan.students for edge in plan.incoming[s]}
    links = [(t, s) for t, s in weights if s != t and s in place and t in place]
    if not links:
        return {}
    pairs = np.array([[place[t], place[s]] for t, s in links], dtype=np.int64)
    disagreement = consensus.edge_disagreement(probs, pairs)
    distance = consensus.edge_squared_distance(outputs, pairs)
    return {
        link: {"weight": weights[link], "total_variation": float(d), "squared_distance": float(q)}
        for link, d, q in zip(links, disagreement, distance, strict=True)
    }
