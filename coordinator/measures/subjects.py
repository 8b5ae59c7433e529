"""Whom means are about: honest peers only, and some of them where groups or distances tell them apart.

A peer that lies learns as all others do, and what it computes is measured as theirs. But no mean, gain, verdict,
agreement or ensemble counts it; numbers of single peers, links and pairs are told of liars, too.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from peers.networks.config import PeersConfig


def honest(peers: Iterable[int], liars: Collection[int]) -> list[int]:
    """The peers that do not lie, in their order; none, where only liars are left."""
    return [peer for peer in peers if peer not in liars]


def left_out(summary: Mapping[str, Any]) -> set[int]:
    """The peers of a run that no mean counts, by its summary: those that dropped out, and liars."""
    return {int(peer) for peer in summary.get("not_finite", ())} | set(summary.get("liars", ()))


@dataclass(frozen=True)
class Scope:
    """Some of the honest peers, of whom there are gains and verdicts of their own.

    name: in dotted names, after `groups.`: that of a group, or `GROUP.hops.NUMBER` for those of its peers that are so
    many links away from the nearest peer of another group.
    """

    name: str
    peers: tuple[int, ...]


def group_scopes(peers: PeersConfig) -> list[Scope]:
    """A scope for each group, with its honest peers; none without groups."""
    return [
        Scope(name, tuple(peer for peer in members if peer not in peers.liars))
        for name, members in peers.members.items()
    ]
