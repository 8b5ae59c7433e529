"""Probes and observations of the peers, submitted now and read once they exist."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from coordinator.pools.base import Pool, Ref, in_order
from peers.hosting.evaluator import State
from peers.probing.measuring import ProbeOutcome, ProbeSubject
from peers.probing.observing import MAX_PAIRED, Observations

OUTSTANDING = 2  # probes in the middle of a run that evaluators may lag behind: each holds a copy of every peer


@dataclass(frozen=True)
class Probing:
    """Outcomes to come, of the peers that are probed."""

    pool: Pool
    references: list[Ref[dict[int, ProbeOutcome]]]

    def done(self) -> bool:
        """Whether all outcomes exist."""
        return self.pool.done(self.references)

    def get(self) -> list[ProbeOutcome]:
        """Wait for the outcomes, which come in peer order."""
        return in_order(self.pool.get(self.references))


def probe(
    pool: Pool,
    subject: ProbeSubject,
    rounds: Mapping[int, Sequence[int]] | None = None,
    untrained: bool = False,
    peers: Sequence[int] | None = None,
) -> Probing:
    """Submit a probe of every peer in its present state: by the hosts themselves, or by evaluators where there are any.

    Evaluators get copies of the peers' states, which a host makes when it comes to that call; peers that are still
    `untrained` they make themselves. rounds: by peer, those of the calibrated control. peers: those to probe; all,
    unless given.
    """
    hosts = [(host, own) for host in pool.hosts if (own := [p for p in host.peers if peers is None or p in peers])]
    shown = {peer: list(rounds[peer]) if rounds is not None else [] for _, own in hosts for peer in own}
    if not pool.evaluators:
        return Probing(pool, [host.probe(subject, {peer: shown[peer] for peer in own}) for host, own in hosts])
    states: dict[int, Ref[dict[int, State]] | None] = {}
    for host, own in hosts:
        states |= dict.fromkeys(own, None if untrained else host.states())
    references = [
        pool.evaluators[place % len(pool.evaluators)].probe(peer, subject, shown[peer], states[peer])
        for place, peer in enumerate(sorted(shown))
    ]
    return Probing(pool, references)


@dataclass(frozen=True)
class Observing:
    """Observations to come, of all peers."""

    pool: Pool
    references: list[Ref[Observations]]

    def get(self) -> Observations:
        """Wait for the observations of all hosts."""
        return Observations.of_hosts(self.pool.get(self.references))


def observe(pool: Pool) -> Observing:
    """Submit an observation of every peer; Gram matrices leave the hosts only where every two peers are compared."""
    grams = sum(len(host.peers) for host in pool.hosts) <= MAX_PAIRED
    return Observing(pool, [host.observe(grams) for host in pool.hosts])
