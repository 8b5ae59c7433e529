"""Who takes part in which round, and what has to travel from host to host for it."""

from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from peers.exchange.assignment import Assignment, Link
from peers.exchange.sums import SumWeights
from topologies.schedule import Round, Schedule

KEPT = 64  # plans whose routes are remembered: more than the period of any schedule that repeats soon
T = TypeVar("T")


class OfPlan(Generic[T]):
    """What follows from a round's plan, computed once for each plan object: static schedules give the same one."""

    def __init__(self, compute: Callable[[Round], T]) -> None:
        self._compute = compute
        self._known: dict[int, tuple[Round, T]] = {}  # by identity; the plan stays alive, so its id is its own

    def __call__(self, plan: Round) -> T:
        if id(plan) not in self._known:
            if len(self._known) == KEPT:
                self._known.pop(next(iter(self._known)))
            self._known[id(plan)] = (plan, self._compute(plan))
        return self._known[id(plan)][1]


class Routes:
    """Each peer's assignments in order of rounds, from `start` on, planned no further ahead than somebody asks."""

    def __init__(
        self,
        schedule: Schedule,
        num_rounds: int,
        hosts: Sequence[Sequence[int]],
        shared_sum: bool = False,
        start: int = 0,
    ) -> None:
        self.host_of = {peer: host for host, peers in enumerate(hosts) for peer in peers}
        self.foreign = OfPlan(self._foreign)
        self.listeners = OfPlan(_listeners)
        self.summed = OfPlan(lambda plan: shared_sum and sum_weights_of(plan) is not None)
        self._parts = OfPlan(self._parts_of)
        self._schedule = schedule
        self._num_rounds = num_rounds
        self._planned = start
        self._queues: list[deque[Assignment]] = [deque() for _ in range(schedule.num_peers)]

    def following(self, peer: int) -> Assignment | None:
        """The peer's next assignment; None when it has no part in any round that is left."""
        while not self._queues[peer] and self._planned < self._num_rounds:
            for each, make in self._parts(self._schedule(self._planned)).items():
                self._queues[each].append(make(self._planned))
            self._planned += 1
        return self._queues[peer].popleft() if self._queues[peer] else None

    def _parts_of(self, plan: Round) -> dict[int, Callable[[int], Assignment]]:
        """The part of every peer in a round with this plan, once it is known which round."""
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
        """For each host the teachers of its students that live on another one, ascending."""
        found: list[set[int]] = [set() for _ in range(max(self.host_of.values()) + 1)]
        if len(found) > 1:
            for teacher, student in plan.links:
                if self.host_of[teacher] != self.host_of[student]:
                    found[self.host_of[student]].add(teacher)
        return [sorted(each) for each in found]


def participants(plan: Round) -> list[int]:
    """The peers that look at a round's batch, mostly to teach or study; the others get no call."""
    teaching = plan.teaching
    return [peer for peer, edges in enumerate(plan.incoming) if edges or peer in teaching or peer in plan.unheard]


def sum_weights_of(plan: Round) -> dict[int, SumWeights] | None:
    """Each student's weights where all learn from everybody who teaches; None where some do not.

    A student may leave itself out or weigh itself as it likes; the others weigh the same.
    """
    teaching = plan.teaching
    found: dict[int, SumWeights] = {}
    if any(edge.age for edges in plan.incoming for edge in edges):
        return None  # a sum is of one round's messages
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
    """A student's links in a round, as the peers take them."""
    return tuple(Link(edge.teacher, edge.weight, edge.age) for edge in plan.incoming[student])


def _listeners(plan: Round) -> dict[int, int]:
    """How many others listen to each teacher."""
    return dict(Counter(teacher for teacher, student in plan.links if teacher != student))


def last_rounds(schedule: Schedule, num_rounds: int, most: int) -> list[list[int]]:
    """Each peer's last rounds with a part in them, ascending, at most so many."""
    found: list[list[int]] = [[] for _ in range(schedule.num_peers)]
    for round_index in reversed(range(num_rounds)):
        for peer in participants(schedule(round_index)):
            if len(found[peer]) < most:
                found[peer].insert(0, round_index)
        if all(len(rounds) == most for rounds in found):
            break
    return found
