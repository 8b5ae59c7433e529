"""Submits probes and observations of the peers, whose results are read later."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from coordinator.pools.base import Host, Pool, Ref, in_order
from peers.hosting.evaluator import State
from peers.probing.measuring import ProbeOutcome, ProbeSubject
from peers.probing.observing import MAX_PAIRED, Observations

OUTSTANDING = 2  # evaluations of the probes that may be pending during the rounds: each holds a copy of every peer


@dataclass(frozen=True)
class Probing:
    """A future for the outcomes of the probed peers. tell: called once for each peer, when its outcome is known."""

    pool: Pool
    references: list[Ref[dict[int, ProbeOutcome]]]
    tell: Callable[[], None] | None = None
    told: int = 0

    def done(self) -> bool:
        """Whether all outcomes are available."""
        return self.pool.done(self.references)

    def get(self) -> list[ProbeOutcome]:
        """Wait for the outcomes, in peer order."""
        if self.tell is not None:
            for reference in self.references[self.told :]:
                self.pool.get([reference])
                self.tell()
        return in_order(self.pool.get(self.references))


def probe(
    pool: Pool,
    subject: ProbeSubject,
    rounds: Mapping[int, Sequence[int]] | None = None,
    untrained: bool = False,
    peers: Sequence[int] | None = None,
    tell: Callable[[], None] | None = None,
) -> Probing:
    """Submit a probe of every peer in its present state; evaluators do the work if there are any, else the hosts.

    Evaluators get copies of the peers' states, which a host makes when it reaches that call. If the peers are still
    `untrained`, evaluators create them without such copies. rounds: per peer, the rounds whose batches calibrate the
    BatchNorm control. peers: the peers to probe; default: all. tell: called once for each peer that is done, at the
    latest while the outcomes are waited for.
    """
    wanted = None if peers is None else frozenset(peers)
    hosts = [(host, own) for host in pool.hosts if (own := [p for p in host.peers if wanted is None or p in wanted])]
    rounds_of = {peer: list(rounds[peer]) if rounds is not None else [] for _, own in hosts for peer in own}
    if not pool.evaluators:
        return _on_hosts(pool, subject, hosts, rounds_of, tell)
    states: dict[int, Ref[dict[int, State]] | None] = {}
    for host, own in hosts:
        asked = None if peers is None else own
        states |= dict.fromkeys(own, None if untrained else host.states(asked))
    references = [
        pool.evaluators[place % len(pool.evaluators)].probe(peer, subject, rounds_of[peer], states[peer])
        for place, peer in enumerate(sorted(rounds_of))
    ]
    return Probing(pool, references, tell)


def _on_hosts(
    pool: Pool,
    subject: ProbeSubject,
    hosts: Sequence[tuple[Host, list[int]]],
    rounds_of: Mapping[int, list[int]],
    tell: Callable[[], None] | None,
) -> Probing:
    """A call for each peer where somebody wants to know how many are done, else for each host."""
    calls = [(host, some) for host, own in hosts for some in ([own] if tell is None else [[peer] for peer in own])]
    references: list[Ref[dict[int, ProbeOutcome]]] = []
    told = 0
    for host, some in calls:
        references.append(host.probe(subject, {peer: rounds_of[peer] for peer in some}))
        if tell is not None and told == len(references) - 1 and pool.done(references[-1:]):
            tell()
            told += 1
    return Probing(pool, references, tell, told)


@dataclass(frozen=True)
class Observing:
    """A future for the observations of all peers."""

    pool: Pool
    references: list[Ref[Observations]]

    def get(self) -> Observations:
        """Wait for the observations of all hosts."""
        return Observations.of_hosts(self.pool.get(self.references))


def observe(pool: Pool, keep: bool = False) -> Observing:
    """Submit an observation of every peer; hosts return Gram matrices only if all pairs of peers are compared.

    keep: whether the observations contain the peers' features and outputs.
    """
    grams = sum(len(host.peers) for host in pool.hosts) <= MAX_PAIRED
    return Observing(pool, [host.observe(grams, keep) for host in pool.hosts])
