"""How far peers are from those of another group, in links, and when what they gain from it has arrived.

Who hears four good sensors among sixteen poor ones? A link runs from teacher to student, and a path along the links of
any round: what a peer knows travels a link a round at most. Where links are drawn anew in every round, soon everybody
is one link away from everybody.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int
from scipy.sparse import coo_array
from scipy.sparse.csgraph import dijkstra

from coordinator.measures.gains import Gain
from coordinator.measures.subjects import Scope, group_scopes
from peers.networks.config import PeersConfig
from topologies.schedule import Schedule

MOST_ROUNDS = 64  # of a schedule whose links are put together
UNREACHED = -1
HALF = 0.5  # of the final gain: what has to be exceeded
Hops = Int[np.ndarray, " peers"]


def hops(num_peers: int, links: Int[np.ndarray, "links 2"], sources: list[int]) -> Hops:
    """The least number of links from any of the sources to each peer; 0 of a source, UNREACHED where no path leads.

    links: rows of (teacher, student).
    """
    if not sources:
        return np.full(num_peers, UNREACHED)
    graph = coo_array((np.ones(len(links)), (links[:, 0], links[:, 1])), shape=(num_peers, num_peers)).tocsr()
    found = dijkstra(graph, directed=True, indices=sources, unweighted=True, min_only=True)
    steps: Hops = np.where(np.isfinite(found), found, UNREACHED).astype(np.int64)
    return steps


def links_of(schedule: Schedule, rounds: int) -> Int[np.ndarray, "links 2"]:
    """The different links of a run's rounds (of a period, and of at most so many), as rows of (teacher, student)."""
    found = []
    for index in range(min(schedule.period or rounds, rounds, MOST_ROUNDS)):
        arrays = schedule(index).arrays()
        found.append(np.unique(arrays.teachers * schedule.num_peers + arrays.students))
    codes = np.unique(np.concatenate(found)) if found else np.zeros(0, dtype=np.int64)
    return np.stack(np.divmod(codes, schedule.num_peers), axis=1)


def hops_to_other_groups(peers: PeersConfig, schedule: Schedule, rounds: int) -> Hops | None:
    """Each peer's number of links from the nearest honest peer of another group; None unless groups have names."""
    if not any(group.name for group in peers.groups):
        return None
    links, found = links_of(schedule, rounds), np.full(peers.count, UNREACHED)
    for members in peers.members.values():
        sources = [peer for peer in range(peers.count) if peer not in members and peer not in peers.liars]
        found[list(members)] = hops(peers.count, links, sources)[list(members)]
    return found


def distance_scopes(peers: PeersConfig, distances: Hops | None) -> list[Scope]:
    """Of each group the honest peers at each distance from other groups, nearest first; none without distances."""
    if distances is None:
        return []
    scopes = []
    for group in group_scopes(peers):
        reached = sorted({int(distances[peer]) for peer in group.peers} - {UNREACHED})
        for steps in reached:
            members = tuple(peer for peer in group.peers if distances[peer] == steps)
            scopes.append(Scope(f"{group.name}.hops.{steps}", members))
    return scopes


def round_of_arrival(gains: Mapping[int, float], share: float = HALF) -> int | None:
    """The first round from which on a gain stays above a share of its final value; None unless that is positive.

    gains: by number of completed rounds.
    """
    rounds = sorted(gains)
    if not rounds or not gains[rounds[-1]] > 0:
        return None
    level = share * gains[rounds[-1]]
    below = [place for place, completed in enumerate(rounds) if not gains[completed] > level]
    return rounds[below[-1] + 1 if below else 0]


@dataclass(frozen=True)
class Arrival:
    """The round of arrival of a probe's gain, at one distance: `groups.poor.hops.2.arrival.knn.over_alone`.

    scope: as `Scope.name`.
    """

    scope: str
    probe: str
    gain: Gain

    @property
    def name(self) -> str:
        return f"groups.{self.scope}.arrival.{self.probe}.{self.gain.key}"

    @classmethod
    def parse(cls, name: str) -> "Arrival | None":
        """The arrival of a dotted name; None if it is not the name of one."""
        found = _NAME_OF_ARRIVAL.fullmatch(name)
        gain = next((each for each in Gain if found and each.key == found["gain"]), None)
        return cls(found["scope"], found["probe"], gain) if found and gain else None


_NAME_OF_ARRIVAL = re.compile(r"groups\.(?P<scope>[^.]+\.hops\.\d+)\.arrival\.(?P<probe>[^.]+)\.(?P<gain>[^.]+)")
