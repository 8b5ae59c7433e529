"""Derives from the schedule which peers take part in a round, and which messages cross between hosts."""

from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from peers.exchange.assignment import Assignment, Link
from peers.exchange.sums import SumWeights
from topologies.schedule import Round, Schedule

KEPT = 64  # size of the memo: more than the period of any schedule that repeats soon
T = TypeVar("T")


class MemoByPlan(Generic[T]):
    """Memoises a function of a round's plan by object identity: static schedules return the same plan each round."""

    def __init__(self, compute: Callable[[Round], T]) -> None:
        self._compute = compute
        self._memo: dict[int, tuple[Round, T]] = {}  # by id, which stays unique because the plan is kept alive

    def __call__(self, plan: Round) -> T:
        if id(plan) not in self._memo:
            if len(self._memo) == KEPT:
                self._memo.pop(next(iter(self._memo)))
            self._memo[id(plan)] = (plan, self._compute(plan))
        return self._memo[id(plan)][1]


class Routes:
    """Each peer's assignments in order of rounds, from `start` on; rounds are planned only when needed."""

    def __init__(
        self,
        schedule: Schedule,
        num_rounds: int,
        hosts: Sequence[Sequence[int]],
        shared_sum: bool = False,
        start: int = 0,
    ) -> None:
        self.host_of = {peer: host for host, peers in enumerate(hosts) for peer in peers}
        self.foreign = MemoByPlan(self._foreign)
        self.listeners = MemoByPlan(_listeners)
        self.summed = MemoByPlan(lambda plan: shared_sum and sum_weights_of(plan) is not None)
        self._parts = MemoByPlan(self._parts_of)
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
        return self._queues[peer].popleft() if self._queues[peer] else None

    def _parts_of(self, plan: Round) -> dict[int, Callable[[int], Assignment]]:
        """For each participant, a function from the index of a round with this plan to the peer's assignment."""
        sum_weights = sum_weights_of(plan) if self.summed(plan) else None
        remote = {teacher for row in self.foreign(plan) for teacher in row}
        teaching = plan.teaching

        def maker(peer: int) -> Callable[[int], Assignment]:
            teaches, is_remote = peer in teaching, peer in remote
            if sum_weights is None:
                links = _links(plan, peer)
                return lambda at: Assignment(at, batch_index=at, links=links, teaches=teaches, remote=is_remote)
            own = sum_weights.get(peer)
            return lambda at: Assignment(at, batch_index=at, links=(), teaches=teaches, sum_weights=own, summed=teaches)

        return {peer: maker(peer) for peer in participants(plan)}

    def _foreign(self, plan: Round) -> list[list[int]]:
        """For each host, its students' remote teachers (those on other hosts), ascending."""
        found: list[set[int]] = [set() for _ in range(max(self.host_of.values()) + 1)]
        if len(found) > 1:
            for teacher, student in plan.links:
                if self.host_of[teacher] != self.host_of[student]:
                    found[self.host_of[student]].add(teacher)
        return [sorted(teachers) for teachers in found]


def participants(plan: Round) -> list[int]:
    """The peers that compute on a round's batch, as teachers, students or `unheard` peers; others get no call."""
    teaching = plan.teaching
    return [peer for peer, edges in enumerate(plan.incoming) if edges or peer in teaching or peer in plan.unheard]


def sum_weights_of(plan: Round) -> dict[int, SumWeights] | None:
    """Each student's weights if all of them learn from every teacher of the round; None otherwise.

    All other teachers must have equal weights; the student's own weight may be anything, including zero.
    """
    teaching = plan.teaching
    found: dict[int, SumWeights] = {}
    if any(edge.age for edges in plan.incoming for edge in edges):
        return None  # the sum contains the messages of one round only
    for student in plan.students:
        by_teacher = {edge.teacher: edge.weight for edge in plan.incoming[student]}
        own = by_teacher.pop(student, 0.0)
        if len(by_teacher) != len(teaching - {student}) or max(by_teacher.values(), default=0.0) > min(
            by_teacher.values(), default=0.0
        ) * (1 + 1e-9):
            return None
        found[student] = SumWeights(own, next(iter(by_teacher.values()), 0.0), student in teaching)
    return found or None


def _links(plan: Round, student: int) -> tuple[Link, ...]:
    """A student's links in a round, in the type that peers use."""
    return tuple(Link(edge.teacher, edge.weight, edge.age) for edge in plan.incoming[student])


def _listeners(plan: Round) -> dict[int, int]:
    """The number of other peers that each teacher sends to."""
    return dict(Counter(teacher for teacher, student in plan.links if teacher != student))


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
