"""The two matrices of a topology, the gossip matrix and the pooling matrix, worded for people."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from topologies.facts import TopologyFacts

LEGEND = {
    "W": "gossip matrix: that of the theory, with self-weights (Metropolis-Hastings, unless topology.weights says "
    "otherwise); students average with it only where topology.self_weight makes both the same",
    "P": "pooling matrix: what a student averages into its target: its teachers, and itself with topology.self_weight",
    "1 - λ2": "algebraic connectivity of P: where students move a small part c of the way to their targets, "
    "disagreement falls at the rate c (1 - λ2) a round",
}
DRAWN = "rounds drawn anew have another P each: only its mean is known, by 1 - λ2"
SWAPS = (
    "P has a gap of 0 because of an eigenvalue of modulus 1, such as -1: students that took on their targets entirely "
    "would pass their outputs around for ever; students that move a part of the way do agree"
)


def swaps(facts: TopologyFacts) -> bool:
    """Whether P has a gap of 0 although it connects the peers."""
    return facts.pooling_gap is not None and facts.pooling_gap < 1e-12 < (facts.pooling_connectivity or 0.0)


def rounds_to(count: int | None, over: int | None) -> str:
    """The rounds until agreement, of which `over` is a lower bound if `count` is None."""
    if count is not None:
        return f"{count:,}"
    return "never" if over is None else f"more than {over:,}"


def pooling_cells(facts: TopologyFacts) -> tuple[str, str, str]:
    """Gap, rounds to agreement and connectivity of P; "-" where they are not known."""
    connectivity = "-" if facts.pooling_connectivity is None else f"{facts.pooling_connectivity:.4g}"
    if facts.pooling_gap is None:  # rounds are drawn anew
        return "-", "-", connectivity
    return f"{facts.pooling_gap:.4g}", rounds_to(facts.pooling_rounds_to, facts.pooling_rounds_over), connectivity


def spectra(facts: Mapping[str, Any]) -> dict[str, str]:
    """A line on each matrix by its name. facts: those of `TopologyFacts`, as in `summary.json`."""
    known = TopologyFacts(**{field.name: facts[field.name] for field in fields(TopologyFacts) if field.name in facts})
    gap, _, connectivity = pooling_cells(known)
    gap = "" if gap == "-" else f"spectral gap {gap}, "
    return {
        "gossip": f"matrix W, with self-weights: spectral gap {known.spectral_gap:.4g}",
        "pooling": f"matrix P, which students average with: {gap}1 - λ2 {connectivity}",
    }
