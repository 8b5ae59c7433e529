"""Probes of all peers, asked for now and read when they are there."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from coordinator.pools.base import Pool, in_order, submit_each
from peers.probing.measuring import ProbeOutcome, ProbeSubject

OUTSTANDING = 2  # probes in the middle of a run that evaluators may lag behind: each holds a copy of every peer


@dataclass(frozen=True)
class Probing:
    """Outcomes to come, one for each peer, in peer order."""

    pool: Pool
    references: list[Any]
    arrange: Callable[[list[Any]], list[ProbeOutcome]]

    def done(self) -> bool:
        """Whether they are all there."""
        return self.pool.done(self.references)

    def get(self) -> list[ProbeOutcome]:
        """Wait for them."""
        return self.arrange(self.pool.get(self.references))


def probe(
    pool: Pool,
    subject: ProbeSubject,
    rounds: Mapping[int, Sequence[int]] | None = None,
    untrained: bool = False,
    peers: Sequence[int] | None = None,
) -> Probing:
    """Ask for a probe of every peer as it stands now: of the hosts themselves, or of evaluators where there are any.

    Evaluators get copies of the peers' states, which the hosts make in their turn; peers that are still `untrained`
    they make themselves. rounds: of the calibrated control. peers: those that are asked; all, unless given.
    """
    hosts = {peer: host for host, members in enumerate(pool.hosts) for peer in members}
    everybody = peers is None
    peers = sorted(hosts) if peers is None else peers
    shown = {peer: list(rounds[peer]) if rounds is not None else [] for peer in peers}
    if not pool.evaluators and everybody:
        references = submit_each(pool, "probe", {peer: (subject, shown[peer]) for peer in peers})
        return Probing(pool, references, lambda answers: in_order(pool, answers))
    if not pool.evaluators:
        references = [pool.submit(hosts[peer], "one", peer, "probe", subject, shown[peer]) for peer in peers]
        return Probing(pool, references, list)
    states = {host: pool.submit(host, "states") for host in {hosts[peer] for peer in peers} if not untrained}
    references = [
        pool.evaluate(place % pool.evaluators, peer, subject, shown[peer], states.get(hosts[peer]))
        for place, peer in enumerate(peers)
    ]
    return Probing(pool, references, list)
