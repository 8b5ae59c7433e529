"""The links of each round as the simulation asks for them: teachers, receivers, and who takes part."""

from collections.abc import Callable, Sequence
from functools import cached_property

from topologies.participation import participants
from topologies.round import Edge, Round
from topologies.schedule import Schedule

KEPT = 2_000_000  # links and peers of rounds that are kept at hand
SCANNED = 20_000  # rounds in which a peer of a schedule that does not repeat is looked for

Present = Callable[[tuple[int, ...]], Schedule]
"""The schedule of all peers whose links are among these peers alone."""


class Plan:
    """A round's links. teachers, receivers: of each peer, without itself, ascending."""

    def __init__(self, round_: Round) -> None:
        self.edges: tuple[tuple[Edge, ...], ...] = round_.incoming
        self.teachers: list[tuple[int, ...]] = []
        receivers: list[list[int]] = [[] for _ in round_.incoming]
        for student, edges in enumerate(round_.incoming):
            others = tuple(edge[0] for edge in edges if edge[0] != student)
            self.teachers.append(others)
            for teacher in others:
                receivers[teacher].append(student)
        self.receivers: list[tuple[int, ...]] = [tuple(row) for row in receivers]
        self.participants: tuple[int, ...] = tuple(participants(round_))
        self.sending: tuple[int, ...] = tuple(peer for peer in self.participants if receivers[peer])

    @cached_property
    def takes_part(self) -> tuple[bool, ...]:
        """By peer."""
        found = [False] * len(self.edges)
        for peer in self.participants:
            found[peer] = True
        return tuple(found)

    @cached_property
    def linked(self) -> list[tuple[int, ...]]:
        """The peers that a peer hears or teaches, ascending."""
        return [tuple(sorted({*a, *b})) for a, b in zip(self.teachers, self.receivers, strict=True)]

    @cached_property
    def weights(self) -> list[dict[int, float]]:
        """By peer, the weight of each of its links."""
        return [{edge.teacher: edge.weight for edge in row} for row in self.edges]

    @property
    def size(self) -> int:
        return len(self.edges) + sum(map(len, self.edges))


class Links:
    """The plans of a schedule. It keeps no state but what can be computed anew."""

    rewired = False

    def __init__(self, schedule: Schedule) -> None:
        self.num_peers = schedule.num_peers
        self.schedule = schedule
        self._by_round: dict[int, tuple[Round, Plan]] = {}
        self._by_index: dict[int, Plan] = {}
        self._size = 0
        self._only = self._of(schedule(0)) if schedule.period == 1 else None

    @property
    def fixed(self) -> bool:
        """Whether all rounds have the same links."""
        return self._only is not None

    def plan(self, index: int) -> Plan:
        """The plan of a round."""
        if self._only is not None:
            return self._only
        found = self._by_index.get(index)
        if found is None:
            found = self._of(self.schedule(index))
            if self.schedule.period is None:
                self._by_index[index] = found
                self._size += found.size
                while self._size > KEPT and len(self._by_index) > 1:
                    self._size -= self._by_index.pop(next(iter(self._by_index))).size
        return found

    def now(self, index: int) -> Plan:
        """The plan of a round for a clock whose peers count by themselves: of those online now, where it matters."""
        return self.plan(index)

    def meet(self, index: int, peer: int, other: int) -> bool:
        """Whether a peer that comes back is linked, either way, with one that is in this round."""
        return peer in self.plan(index).linked[other]

    def following(self, peer: int, index: int) -> int | None:
        """The first round from `index` on in which a peer takes part; None if there is none."""
        for later in range(index, index + (self.schedule.period or SCANNED)):
            if self.plan(later).takes_part[peer]:
                return later
        return None

    def copy(self, online: Sequence[bool]) -> "Links":
        """For a copy of the simulation in which these peers are online."""
        return self

    def forget(self, before: int) -> None:
        """No earlier round will be asked for."""

    def _of(self, round_: Round) -> Plan:
        if self.schedule.period is None:
            return Plan(round_)
        if id(round_) not in self._by_round:
            if len(self._by_round) >= max(64, self.schedule.period):
                self._by_round.clear()
            self._by_round[id(round_)] = (round_, Plan(round_))
        return self._by_round[id(round_)][1]


class Rewired(Links):
    """A round has the links of the topology that is built for the peers online when it is first asked for."""

    rewired = True

    def __init__(self, schedule: Schedule, present: Present, online: Sequence[bool]) -> None:
        super().__init__(schedule)
        self._only = None
        self._present = present
        self._online = online
        self._chosen: dict[int, tuple[int, ...]] = {}
        self._plans: dict[tuple[int, ...], Links] = {}

    def plan(self, index: int) -> Plan:
        """The plan of a round, for those who are online at the first call."""
        peers = self._chosen.get(index)
        if peers is None:
            peers = self._chosen[index] = self._present_peers()
        return self._among(peers).plan(index)

    def now(self, index: int) -> Plan:
        """The plan of a round for those who are online now."""
        return self._among(self._present_peers()).plan(index)

    def meet(self, index: int, peer: int, other: int) -> bool:
        """Every two meet: the links of a round that is under way are among those who were there as it began."""
        return True

    def copy(self, online: Sequence[bool]) -> "Links":
        """The same choices so far; later rounds are for these peers."""
        other = Rewired(self.schedule, self._present, online)
        other._chosen, other._plans = dict(self._chosen), self._plans
        return other

    def following(self, peer: int, index: int) -> int | None:
        """The first round from `index` on in which a peer takes part; None if there is none."""
        for later in range(index, index + SCANNED):
            if self.plan(later).takes_part[peer]:
                return later
        return None

    def forget(self, before: int) -> None:
        """No earlier round will be asked for."""
        while self._chosen and next(iter(self._chosen)) < before:
            self._chosen.pop(next(iter(self._chosen)))

    def _present_peers(self) -> tuple[int, ...]:
        return tuple(peer for peer, here in enumerate(self._online) if here)

    def _among(self, peers: tuple[int, ...]) -> Links:
        if peers not in self._plans:
            if len(self._plans) >= 64:
                self._plans.clear()
            self._plans[peers] = Links(self._schedule_of(peers))
        return self._plans[peers]

    def _schedule_of(self, peers: tuple[int, ...]) -> Schedule:
        if len(peers) == self.num_peers:
            return self.schedule
        if len(peers) > 1:
            return self._present(peers)
        alone = Round(((),) * self.num_peers, (1.0,) * self.num_peers, frozenset(peers))
        return Schedule(self.num_peers, 1, lambda _: alone)
