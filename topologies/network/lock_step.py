"""The clocks `synchronous` and `neighbours` round by round, where nobody leaves and links are not shared.

x_i(k + 1) = c_i + max(x_i(k), max over teachers j of x_j(k) + l_ij), where x_i(k) is when peer i publishes message k;
under `synchronous` the maximum is over all peers of the round. This is linear in the max-plus algebra.
"""

from collections.abc import Iterable

from topologies.network.hearing import without
from topologies.network.links import Links, Plan
from topologies.network.trace import Cut, Delivery, Fate, Publication, Step, TimedRound, Wave
from topologies.worlds.world import World


class LockStep:
    """The state at the start of a round: the message of each peer that is due, None if it never takes part again."""

    def __init__(self, world: World, links: Links, barrier: bool) -> None:
        self.index = 0
        self.barrier = barrier
        self._world, self._links = world, links
        self._end = 0
        self._steps = [0] * links.num_peers
        self._sent: list[dict[int, int]] | None = None if links.fixed else [{} for _ in range(links.num_peers)]
        self._due = [self._publication(peer, 0, 0) for peer in range(links.num_peers)]

    def copy(self) -> "LockStep":
        """Another one that goes on by itself."""
        other = object.__new__(LockStep)
        other.__dict__.update(self.__dict__)
        other._steps, other._due = self._steps[:], self._due[:]
        other._sent = None if self._sent is None else [dict(row) for row in self._sent]
        return other

    def cut(self) -> Cut:
        """What is under way."""
        due = {peer: message for peer, message in enumerate(self._due) if message is not None}
        return Cut(due, {}, (True,) * len(self._due), self._end)

    def next_round(self) -> TimedRound:
        """Run a round."""
        index, plan = self.index, self._links.plan(self.index)
        deliveries, waits, lost = self._deliver(plan)
        if self.barrier and waits:
            last = max(*waits.values(), *((self._due[peer].at, peer) for peer in waits))  # type: ignore[union-attr]
            waits = dict.fromkeys(waits, last)
        steps = tuple(self._step(peer, plan, waits[peer], lost.get(peer, ())) for peer in plan.participants)
        self.index += 1
        return TimedRound(
            index,
            self._end,
            (Wave(steps),) if steps else (),
            dict.fromkeys(plan.sending, (index,)),
            tuple(deliveries),
            (),
            len(self._due),
        )

    def _deliver(self, plan: Plan) -> tuple[list[Delivery], dict[int, tuple[int, int]], dict[int, list[int]]]:
        """All messages of the round; for each peer the last arrival and its sender; the senders that it misses."""
        transmission, due, index = self._world.transmission, self._due, self.index
        arrived, gone = Fate.ARRIVED, Fate.LOST
        deliveries: list[Delivery] = []
        waits: dict[int, tuple[int, int]] = {}
        lost: dict[int, list[int]] = {}
        for student in plan.participants:
            latest, who = -1, -1
            for teacher in plan.teachers[student]:
                sent: int = due[teacher].at  # type: ignore[union-attr]
                took = transmission(teacher, student, index if self._sent is None else self._number(teacher, student))
                fate = arrived
                if took < 0:
                    took, fate = ~took, gone
                    lost.setdefault(student, []).append(teacher)
                at = sent + took
                deliveries.append(Delivery(teacher, student, index, sent, at, fate))
                if at >= latest:
                    latest, who = at, teacher
            waits[student] = (latest, who)
        return deliveries, waits, lost

    def _number(self, teacher: int, student: int) -> int:
        """The number of messages on this link before this one."""
        assert self._sent is not None
        row = self._sent[teacher]
        number = row.get(student, 0)
        row[student] = number + 1
        return number

    def _step(self, peer: int, plan: Plan, wait: tuple[int, int], lost: Iterable[int]) -> Step:
        """The peer's step of the round; its next message becomes due."""
        due = self._due[peer]
        assert due is not None
        published = due.at
        start, who = wait if wait[0] > published else (published, peer)
        finish = start + self._world.step_ns(peer, self._steps[peer])
        self._steps[peer] += 1
        if finish > self._end:
            self._end = finish
        following = self._due[peer] = self._publication(peer, self.index + 1, finish)
        heard = without(plan.edges[peer], peer, lost) if lost else plan.edges[peer]
        return Step(peer, self.index, self.index, heard, published, start, finish, who, following)

    def _publication(self, peer: int, earliest: int, at: int) -> Publication | None:
        """The peer's message of the first round from `earliest` on in which it takes part."""
        links = self._links
        version = earliest if links.plan(earliest).takes_part[peer] else links.following(peer, earliest + 1)
        if version is None:
            return None
        receivers = links.plan(version).receivers[peer]
        return Publication(peer, version, version, at, receivers, bool(receivers))
