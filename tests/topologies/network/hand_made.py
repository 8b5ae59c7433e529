"""Traces by hand: lock-step rounds of peers whose computing and delays never change, from the recursion of max-plus."""

from collections.abc import Callable, Iterable, Iterator, Mapping

from topologies.network.trace import (
    SECOND,
    Cut,
    Delivery,
    Fate,
    Publication,
    Step,
    TimedRound,
    Wave,
)
from topologies.round import Edge, Round
from topologies.schedule import Schedule, static

Lost = Callable[[int, int, int], bool]  # sender, receiver, version


def schedule_of(teachers: Mapping[int, Iterable[int]], num_peers: int) -> Schedule:
    """Each student learns from its teachers with equal weights."""
    rows = {student: sorted(each) for student, each in teachers.items()}
    incoming = tuple(
        tuple(Edge(teacher, 1 / len(rows[peer])) for teacher in rows[peer]) if peer in rows else ()
        for peer in range(num_peers)
    )
    return static(Round(incoming, kept=tuple(1 / (1 + len(edges)) for edges in incoming)))


def start_of(schedule: Schedule, offline: Iterable[int] = ()) -> Cut:
    """The cut at round 0."""
    online = tuple(peer not in set(offline) for peer in range(schedule.num_peers))
    sent = receivers(schedule)
    due = {peer: Publication(peer, 0, 0, 0, sent[peer], bool(sent[peer])) for peer, there in enumerate(online) if there}
    return Cut(due, {}, online, 0)


def receivers(schedule: Schedule) -> list[tuple[int, ...]]:
    return [
        tuple(
            student
            for student, edges in enumerate(schedule(0).incoming)
            if student != teacher and teacher in {edge.teacher for edge in edges}
        )
        for teacher in range(schedule.num_peers)
    ]


def neighbours(
    schedule: Schedule,
    compute: list[float],
    latency: float | Callable[[int, int], float],
    lost: Lost = lambda sender, receiver, version: False,
) -> Iterator[TimedRound]:
    """Rounds of the clock `neighbours`: each step begins when all messages of its round have arrived, or would have."""
    delay = latency if callable(latency) else lambda sender, receiver: latency
    published, sent, latest = [0] * schedule.num_peers, receivers(schedule), 0
    index = 0
    while True:
        steps, deliveries, finished = [], [], list(published)
        for student, edges in enumerate(schedule(index).incoming):
            arrivals = {
                edge.teacher: published[edge.teacher] + nanoseconds(delay(edge.teacher, student)) for edge in edges
            }
            start, last = max([(published[student], -student), *((at, -peer) for peer, at in arrivals.items())])
            heard = [edge for edge in edges if not lost(edge.teacher, student, index)]
            total = sum(edge.weight for edge in heard)
            scaled = tuple(edge._replace(weight=edge.weight / total) for edge in heard)
            finished[student] = finish = start + nanoseconds(compute[student])
            following = Publication(student, index + 1, index + 1, finish, sent[student], bool(sent[student]))
            waited_for = student if start == published[student] else -last
            steps.append(Step(student, index, index, scaled, published[student], start, finish, waited_for, following))
            for teacher, at in arrivals.items():
                fate = Fate.LOST if lost(teacher, student, index) else Fate.ARRIVED
                deliveries.append(Delivery(teacher, student, index, published[teacher], at, fate))
        latest = max(latest, *finished)
        released = {peer: (index,) for peer in range(schedule.num_peers) if sent[peer]}
        yield TimedRound(index, latest, (Wave(tuple(steps)),), released, tuple(deliveries), (), schedule.num_peers)
        published, index = finished, index + 1


def nanoseconds(seconds: float) -> int:
    return round(seconds * SECOND)
