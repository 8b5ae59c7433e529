"""Whom the probes look at: a sample of the peers where these are many, drawn once for all conditions of a run."""

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from coordinator.experiment.config import RunConfig
from peers.base.seeds import stream
from topologies.schedule import Schedule

LOOKED_AT = 64  # rounds of a schedule in which students are looked for
LEAST = 2  # of each group: fewer have no spread


def probed_peers(config: RunConfig, schedule: Schedule) -> tuple[int, ...] | None:
    """The peers that are probed, ascending; None: all. A function of seed, groups, roles and who studies, liars."""
    count, most = config.peers.count, config.evaluation.probe_peers
    if count <= most:
        return None
    groups = config.peers.members or {"": range(count)}
    liars, frozen = config.peers.liars, frozenset(config.peers.frozen)
    students = _students(schedule, config.run.rounds, count - len(frozen)) - liars
    rng = np.random.default_rng(stream(config.run.seed, "probe-peers"))
    return sample(most, groups, students, [sorted(liars), sorted(frozen - liars)], count, rng)


def sample(
    most: int,
    groups: Mapping[str, Sequence[int]],
    students: Collection[int],
    further: Sequence[Sequence[int]],
    count: int,
    rng: np.random.Generator,
) -> tuple[int, ...]:
    """At most so many of `count` peers, ascending: students of each group in proportion, then others.

    At least LEAST of each group's students are there, even if these are more than `most` in all. further: peers that
    follow, list after list, where places are left; all others come last.
    """
    strata = [[peer for peer in members if peer in students] for members in groups.values()]
    chosen: set[int] = set()
    for members, places in zip(strata, shares([len(each) for each in strata], most), strict=True):
        chosen.update(_drawn(members, places, rng))
    for others in (*further, range(count)):
        left = [peer for peer in others if peer not in chosen and peer not in students]
        chosen.update(_drawn(left, min(len(left), most - len(chosen)), rng))
    return tuple(sorted(chosen))


def shares(sizes: Sequence[int], places: int) -> list[int]:
    """How many of `places` each group gets: LEAST, if it has so many, then each further one where most is lacking."""
    found = [min(LEAST, size) for size in sizes]
    quotas = [size * places / max(sum(sizes), 1) for size in sizes]
    for _ in range(min(places, sum(sizes)) - sum(found)):
        open_ = [group for group, size in enumerate(sizes) if found[group] < size]
        found[max(open_, key=lambda group: (quotas[group] - found[group], -group))] += 1
    return found


def _students(schedule: Schedule, rounds: int, most: int) -> set[int]:
    """The peers that learn in the first rounds; `most`: there cannot be more."""
    found: set[int] = set()
    for index in range(min(schedule.period or rounds, rounds, LOOKED_AT)):
        found.update(schedule(index).students)
        if len(found) >= most:
            break
    return found


def _drawn(members: Sequence[int], places: int, rng: np.random.Generator) -> list[int]:
    """So many of these peers, without repetition."""
    return [] if places <= 0 else [members[place] for place in rng.permutation(len(members))[:places].tolist()]
