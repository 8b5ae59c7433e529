"""Steps of a simulated network: which messages they use, which of the last round are of use, several of one peer."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from statistics import fmean

from peers.exchange.assignment import Heard, Stats
from topologies.network.trace import MessageKey, Step, TimedRound, Wave
from topologies.round import Round


def without_next(timed: TimedRound) -> Iterator[Wave]:
    """The waves of the last round, without messages for later rounds only: a longer run publishes them anew.

    A message that its peer gives up in this very round, or replaces, stays: it has been sent, and its bytes count.
    """
    steps = [step for wave in timed.waves for step in wave.steps]
    used = {key for step in steps for key in ((step.peer, step.version), *heard_of_others(step))} | set(timed.abandoned)
    last: dict[int, int] = {}
    for after in (each for wave in timed.waves for each in (*wave.returns, *(step.following for step in wave.steps))):
        if after is not None:
            last[after.peer] = max(after.version, last.get(after.peer, -1))

    def ended(step: Step) -> Step:
        after = step.following
        if after is None or (after.peer, after.version) in used or after.version < last[after.peer]:
            return step
        return step._replace(following=None)

    return (wave._replace(steps=tuple(map(ended, wave.steps))) for wave in timed.waves)


def of_round(stats: Sequence[Stats]) -> Stats:
    """The stats of a peer's steps in a round: the means of what it learned, the sums of what it sent and took."""
    if len(stats) == 1:
        return stats[0]
    losses = [each.loss for each in stats if each.loss is not None]
    norms = [each.gradient_norm for each in stats if each.gradient_norm is not None]
    return replace(
        stats[-1],
        loss=fmean(losses) if losses else None,
        gradient_norm=fmean(norms) if norms else None,
        sent_bytes=sum(each.sent_bytes for each in stats),
        seconds=sum(each.seconds for each in stats),
        heard=Heard.together(each.heard for each in stats),
    )


def heard_of_others(step: Step) -> Iterator[MessageKey]:
    """The messages of others that a step uses."""
    return ((edge.teacher, step.version - edge.age) for edge in step.heard if edge.teacher != step.peer)


def has_self_edge(round_: Round) -> bool:
    """Whether a student of the round learns from itself, too."""
    return any(edge.teacher == student for student, edges in enumerate(round_.incoming) for edge in edges)
