"""Warnings of liars that change nothing: they begin after the run, lie in none of its rounds, or nobody hears them."""

import warnings
from collections.abc import Sequence

from coordinator.experiment.config import RunConfig
from peers.learning.lies import lies_in
from topologies.schedule import SAMPLED, Schedule

MOST_DRAWS = 20_000  # rounds that are looked at, for whether a liar lies in one of them


def warn_of_idle_liars(config: RunConfig, schedule: Schedule) -> None:
    """Warn, in a line each, of liars that lie in no round of the run, and of those whom nobody hears.

    In a network without rounds in step, a peer may send more messages than the run has rounds: there nothing is said
    about when they lie. Looks at the first rounds of a schedule that does not repeat.
    """
    for line in (*_that_never_lie(config), *_whom_nobody_hears(config, schedule)):
        warnings.warn(f"peers.adversaries.{line}", stacklevel=4)


def _that_never_lie(config: RunConfig) -> list[str]:
    rounds, lines = config.run.rounds, []
    if config.network is not None and not config.network.lock_step:
        return []
    for some in config.peers.adversaries:
        if some.from_round >= rounds:
            lines.append(
                f"from_round is {some.from_round}, but the run has {rounds} rounds, 0 to {rounds - 1}: "
                f"no lie of {_named(some.peers)} is ever sent; lower it, or raise run.rounds"
            )
        elif some.share < 1 and rounds - some.from_round <= MOST_DRAWS:
            at = range(some.from_round, rounds)
            never = [peer for peer in some.peers if not any(lies_in(some, config.run.seed, peer, each) for each in at)]
            if never:
                lines.append(
                    f"share is {some.share:g}, and in rounds {some.from_round} to {rounds - 1} no draw makes "
                    f"{_named(never)} lie; raise it, or run.rounds"
                )
    return lines


def _whom_nobody_hears(config: RunConfig, schedule: Schedule) -> list[str]:
    unheard, rounds = set(config.peers.liars), config.run.rounds
    for full in schedule.telling(rounds):
        for student in full.students:
            unheard -= {edge.teacher for edge in full.incoming[student] if edge.teacher != student}
        if not unheard:
            return []
    told = "" if schedule.period or rounds <= SAMPLED else f" in the first {SAMPLED} rounds"
    return [
        f"peers: nobody hears {_named(sorted(unheard))}{told}, so that lies of theirs change nothing; name peers with "
        "students, or give them some by topology, exchange.roles or peers.frozen"
    ]


def _named(peers: Sequence[int]) -> str:
    """`peer 3`, `peers 3, 5`."""
    return f"peer{'s' if len(peers) > 1 else ''} {', '.join(map(str, peers))}"
