"""The times of a run's rounds in a simulated network: when they end, how old the messages are, and what is lost."""

import numpy as np

from coordinator.scheduling.assignments import MemoByRound
from coordinator.scheduling.scheduler import RoundTiming
from topologies.network.trace import SECOND, Cut, Fate, MessageKey, Publication, Step, TimedRound
from topologies.round import Round

NOT_LOST = (Fate.ARRIVED, Fate.REPLACED)


class Timings:
    """The `RoundTiming` of each round of a trace, to be asked for in order, from a cut on.

    It remembers when those messages were published that somebody may still use. in_rounds: whether versions are rounds,
    so that their differences are ages; else ages are in seconds only.
    """

    def __init__(self, cut: Cut, in_rounds: bool = True) -> None:
        self._in_rounds = in_rounds
        self._published: dict[MessageKey, int] = dict(cut.live)
        for publication in cut.due.values():
            self._note(publication)

    def __call__(self, timed: TimedRound) -> RoundTiming:
        """The times of the round that follows the one before."""
        rounds = nanoseconds = count = 0
        for wave in timed.waves:
            for publication in wave.returns:
                self._note(publication)
            for step in wave.steps:
                if step.following is not None:
                    self._note(step.following)
                for teacher, _, age in step.heard:
                    if teacher != step.peer:
                        rounds, count = rounds + age, count + 1
                        nanoseconds += step.start - self._published[teacher, step.version - age]
        for sender, versions in timed.released.items():
            for version in versions:
                self._published.pop((sender, version), None)
        return timing(timed, rounds if self._in_rounds else None, nanoseconds, count)

    def _note(self, publication: Publication) -> None:
        if publication.useful:
            self._published[publication.peer, publication.version] = publication.at


class PlainTimings:
    """The same for a plain trace, in which all messages are of their own round: one array operation for all links."""

    def __init__(self) -> None:
        self._links = MemoByRound(_links)

    def __call__(self, timed: TimedRound, round_: Round) -> RoundTiming:
        """round_: the round of the schedule with this index."""
        steps = [step for wave in timed.waves for step in wave.steps]
        peers = np.array([step.peer for step in steps], dtype=np.int64)
        start, published = np.zeros(round_.num_peers, np.int64), np.zeros(round_.num_peers, np.int64)
        start[peers] = [step.start for step in steps]
        published[peers] = [step.published for step in steps]
        teachers, students = self._links(round_)
        return timing(timed, 0, int((start[students] - published[teachers]).sum()), len(teachers), steps)


def timing(
    timed: TimedRound, rounds: int | None, nanoseconds: int, count: int, steps: list[Step] | None = None
) -> RoundTiming:
    """A round's times. rounds, nanoseconds: the summed ages of `count` messages. steps: those of all waves."""
    taken: dict[int, int] = {}
    for step in (step for wave in timed.waves for step in wave.steps) if steps is None else steps:
        if step.heard:
            taken[step.peer] = taken.get(step.peer, 0) + 1
    return RoundTiming(
        virtual_seconds=timed.seconds,
        online=timed.online,
        lost=sum(delivery.fate not in NOT_LOST for delivery in timed.deliveries),
        mean_age=rounds / count if count and rounds is not None else None,
        mean_age_seconds=nanoseconds / count / SECOND if count else None,
        steps=taken,
    )


def _links(round_: Round) -> tuple[np.ndarray, np.ndarray]:
    """Teachers and students of all links between two peers."""
    links = round_.arrays()
    between = links.teachers != links.students
    return links.teachers[between], links.students[between]
