"""Derives from the schedule which peers take part in a round, and which messages cross between hosts."""

from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Generic, TypeVar

from peers.exchange.assignment import Assignment, Links
from peers.exchange.sums import SumWeights
from topologies.schedule import Round, Schedule

KEPT = 64  # size of the memo: more than the period of any schedule that repeats soon
T = TypeVar("T")


class MemoByRound(Generic[T]):
    """Memoises a function of a round by object identity: static schedules return the same object each round."""

    def __init__(self, compute: Callable[[Round], T]) -> None:
        self._compute = compute
        self._memo: dict[int, tuple[Round, T]] = {}  # by id, which stays unique because the round is kept alive

    def __call__(self, round_: Round) -> T:
        if id(round_) not in self._memo:
            if len(self._memo) == KEPT:
                self._memo.pop(next(iter(self._memo)))
            self._memo[id(round_)] = (round_, self._compute(round_))
        return self._memo[id(round_)][1]


class Routes:
    """Each peer's assignments in order of rounds, from `start` on; rounds are planned only when needed."""

    def __init__(
        self,
        schedule: Schedule,
        num_rounds: int,
        hosts: Sequence[Sequence[int]],
        shared_sum: bool = False,
        start: int = 0,
        gradient_norm: Callable[[int, int], float | None] | None = None,
    ) -> None:
        self._gradient_norm = gradient_norm
        self.host_of = {peer: host for host, peers in enumerate(hosts) for peer in peers}
        self.foreign = MemoByRound(self._foreign)
        self.listeners = MemoByRound(_listeners)
        self.summed = MemoByRound(lambda round_: shared_sum and sum_weights_of(round_) is not None)
        self._parts = MemoByRound(self._parts_of)
        self._schedule = schedule
        self._num_rounds = num_rounds
        self._planned = start
        self._queues: list[deque[Assignment]] = [deque() for _ in range(schedule.num_peers)]

    def following(self, peer: int) -> Assignment | None:
        """The peer's next assignment; None if it takes part in none of the remaining rounds."""
        while not self._queues[peer] and self._planned < self._num_rounds:
            for participant, make in self._parts(self._schedule(self._planned)).items():
                self._queues[participant].append(make(self._planned))
            self._planned += 1
        if not self._queues[peer]:
            return None
        found = self._queues[peer].popleft()
        if self._gradient_norm is None:
            return found
        return replace(found, gradient_norm=self._gradient_norm(found.round_index, peer))

    def _parts_of(self, round_: Round) -> dict[int, Callable[[int], Assignment]]:
        """For each participant, a function from the index of such a round to the peer's assignment."""
        maker = self._by_sum(round_) if self.summed(round_) else self._by_links(round_)
        return {peer: maker(peer) for peer in participants(round_)}

    def _by_sum(self, round_: Round) -> Callable[[int], Callable[[int], Assignment]]:
        """From a peer to its function in `_parts_of`, where students learn from the round's sum."""
        sum_weights, teaching, none = sum_weights_of(round_) or {}, round_.teaching, Links()

        def maker(peer: int) -> Callable[[int], Assignment]:
            own, teaches = sum_weights.get(peer), peer in teaching
            return lambda at: Assignment(at, at, none, teaches, sum_weights=own, summed=teaches)

        return maker

    def _by_links(self, round_: Round) -> Callable[[int], Callable[[int], Assignment]]:
        """From a peer to its function in `_parts_of`, where students learn from each of their teachers."""
        links, teaching = _links(round_), round_.teaching
        remote = {teacher for row in self.foreign(round_) for teacher in row}

        def maker(peer: int) -> Callable[[int], Assignment]:
            own, teaches, is_remote = links[peer], peer in teaching, peer in remote
            return lambda at: Assignment(at, batch_index=at, links=own, teaches=teaches, remote=is_remote)

        return maker

    def _foreign(self, round_: Round) -> list[list[int]]:
        """For each host, its students' remote teachers (those on other hosts), ascending."""
        found: list[set[int]] = [set() for _ in range(max(self.host_of.values()) + 1)]
        if len(found) > 1:
            for student, edges in enumerate(round_.incoming):
                found[self.host_of[student]].update([teacher for teacher, _, _ in edges])
        return [sorted(peer for peer in teachers if self.host_of[peer] != host) for host, teachers in enumerate(found)]


def participants(round_: Round) -> list[int]:
    """The peers that compute on a round's batch, as teachers, students or `unheard` peers; others get no call."""
    teaching = round_.teaching
    return [peer for peer, edges in enumerate(round_.incoming) if edges or peer in teaching or peer in round_.unheard]


def sum_weights_of(round_: Round) -> dict[int, SumWeights] | None:
    """Each student's weights if all of them learn from every teacher of the round; None otherwise.

    All other teachers must have equal weights; the student's own weight may be anything, including zero.
    """
    teaching = round_.teaching
    found: dict[int, SumWeights] = {}
    if any(edge.age for edges in round_.incoming for edge in edges):
        return None  # the sum contains the messages of one round only
    for student in round_.students:
        by_teacher = {edge.teacher: edge.weight for edge in round_.incoming[student]}
        own = by_teacher.pop(student, 0.0)
        if len(by_teacher) != len(teaching - {student}) or max(by_teacher.values(), default=0.0) > min(
            by_teacher.values(), default=0.0
        ) * (1 + 1e-9):
            return None
        found[student] = SumWeights(own, next(iter(by_teacher.values()), 0.0), student in teaching)
    return found or None


def _links(round_: Round) -> list[Links]:
    """Each peer's links in a round, in the type that peers use.

    Students with equal weights share the tuple of these, so that it is sent to a host only once.
    """
    shared: dict[tuple[float, ...], tuple[float, ...]] = {}
    rows = [Links.of(*edges) for edges in round_.incoming]
    return [replace(row, weights=shared.setdefault(row.weights, row.weights)) for row in rows]


def _listeners(round_: Round) -> dict[int, int]:
    """The number of other peers that each teacher sends to."""
    rows = enumerate(round_.incoming)
    return dict(Counter(teacher for student, edges in rows for teacher, _, _ in edges if teacher != student))


def last_rounds(schedule: Schedule, num_rounds: int, most: int) -> list[list[int]]:
    """The last rounds (at most `most`) in which each peer takes part, ascending."""
    found: list[list[int]] = [[] for _ in range(schedule.num_peers)]
    for round_index in reversed(range(num_rounds)):
        for peer in participants(schedule(round_index)):
            if len(found[peer]) < most:
                found[peer].insert(0, round_index)
        if all(len(rounds) == most for rounds in found):
            break
    return found
