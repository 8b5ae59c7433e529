"""The clocks `synchronous` and `neighbours` by events: for peers that come and go, or share their links' bandwidth."""

from dataclasses import dataclass, field

from topologies.network.event_driven import FINISH, EventDriven, best
from topologies.network.hearing import without
from topologies.network.links import Present
from topologies.network.trace import Cut, Delivery, Fate, MessageKey, Publication, Step, TimedRound, Wave
from topologies.network.waves import waves_of
from topologies.network.world import World
from topologies.schedule import Schedule

NEVER = 1 << 62


@dataclass
class Board:
    """A round that is under way. arrivals: by receiver and sender, when a message will be there, or would have been.

    missing: participants that have not published. reach: the last arrival anywhere of messages by now, and its sender.
    """

    missing: set[int]
    reach: tuple[int, int] = (-1, -1)
    arrivals: dict[tuple[int, int], tuple[int, Fate]] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    returns: list[Publication] = field(default_factory=list)
    deliveries: list[Delivery] = field(default_factory=list)
    abandoned: list[MessageKey] = field(default_factory=list)
    useful: list[int] = field(default_factory=list)

    def copy(self) -> "Board":
        """Another one that goes on by itself."""
        own = {name: value.copy() for name, value in self.__dict__.items() if name != "reach"}
        return Board(reach=self.reach, **own)


class Waiting(EventDriven):
    """Peers that wait for their teachers, or with a barrier for everybody, as long as these are online.

    planned: when a waiting peer will start and for whom it waited last, as far as is known; None: not known yet.
    frontier: the first round that some peer has yet to pass. last: the latest message by peer in order of rounds.
    """

    def __init__(self, world: World, schedule: Schedule, present: Present | None, barrier: bool) -> None:
        super().__init__(world, schedule, present)
        count = world.num_peers
        self.barrier, self.frontier = barrier, 0
        self.boards: dict[int, Board] = {}
        self.planned: list[tuple[int, int] | None] = [None] * count
        self.last: dict[int, Publication] = {}
        for peer in range(count):
            if self.online[peer]:
                self.due[peer] = self._prepared(peer, 0)
        first = [message for message in self.due if message is not None]
        self.last = {message.peer: message for message in first}
        for message in first:
            self._register(message)
        for message in first:
            self._publish(message)
        self._move_frontier()

    def copied(self) -> None:
        """Copy what `copy` has not."""
        self.boards = {index: board.copy() for index, board in self.boards.items()}

    def next_round(self) -> TimedRound | None:
        """The next round; None: nobody will ever come back to make it."""
        while self.frontier <= self.index:
            if not self.advance():
                return None
        board = self.boards.pop(self.index, None) or Board(set())
        _, presence = self.take_deliveries()
        acts: list[Step | Publication] = [*board.returns, *sorted(board.steps)]
        for act in acts:
            following = act.following if isinstance(act, Step) else act
            if following is not None:
                self.last[following.peer] = following
            if isinstance(act, Step):
                self.end = max(self.end, act.finish)
        waves = waves_of(acts) if board.returns else (Wave(tuple(sorted(board.steps))),) if board.steps else ()
        released = {peer: (self.index,) for peer in sorted(board.useful)}
        self.index += 1
        self.links.forget(self.index)
        return TimedRound(
            self.index - 1,
            self.end,
            waves,
            released,
            tuple(board.deliveries),
            presence,
            sum(self.online),
            tuple(sorted(board.abandoned)),
        )

    def cut(self) -> Cut:
        """What is under way."""
        due = {peer: message for peer, message in sorted(self.last.items()) if message.version >= self.index}
        return Cut(due, {}, tuple(self.online), self.end)

    def finished(self, peer: int) -> None:
        """A peer has learned: it publishes its next message."""
        due, planned = self.due[peer], self.planned[peer]
        assert due is not None and planned is not None
        index, (start, who) = due.version, planned
        board = self._board(index)
        plan = self.links.plan(index)
        lost = [
            teacher
            for teacher in plan.teachers[peer]
            if board.arrivals.get((peer, teacher), (NEVER, Fate.LOST))[1] is not Fate.ARRIVED
        ]
        edges = plan.edges[peer]
        heard = without(edges, peer, lost) if lost else edges
        following = self.due[peer] = self._prepared(peer, index + 1)
        board.steps.append(Step(peer, index, index, heard, due.at, start, self.now, who, following))
        if following is None:
            self.version[peer] = NEVER
        else:
            self._register(following)
            self._publish(following)
        self._move_frontier()

    def came(self, peer: int) -> None:
        """A peer is back: it joins the round that its links are in."""
        known = self.neighbours(peer)
        earliest = max([self.version[peer] + 1, self.frontier, *(version for version, _ in known)])
        message = self._prepared(peer, earliest) if earliest < NEVER else None
        if message is None:
            self.version[peer] = NEVER
        else:
            message = message._replace(back=self.back(peer, best(known, message.version)))
            self.due[peer] = message
            self._register(message)
            self._board(message.version).returns.append(message)
            self._publish(message)
            for other in range(len(self.online)):
                self._plan_again(other, peer)
        self._move_frontier()

    def left(self, peer: int) -> None:
        """A peer is gone: nobody waits for what it has not published."""
        due, self.due[peer], self.planned[peer] = self.due[peer], None, None
        if due is not None:
            self._board(due.version).abandoned.append((peer, due.version))
        for other in range(len(self.online)):
            self._plan_again(other, peer)
        self._move_frontier()

    def posted(self, sender: int, receiver: int, version: int, at: int, fate: Fate) -> None:
        """The arrival of a message is known."""
        board = self.boards.get(version)
        if board is None:  # its round is over for everybody
            self.late.append(self.deliveries.pop())
            return
        board.arrivals[receiver, sender] = (at, fate)
        board.deliveries.append(self.deliveries.pop())
        if fate is not Fate.RECEIVER_OFFLINE:
            board.reach = max(board.reach, (at, sender))
        if self.flows is not None:
            self._plan_round(version, receiver)

    def _prepared(self, peer: int, earliest: int) -> Publication | None:
        """The peer's message of the first round from `earliest` on in which it takes part."""
        version = self.links.following(peer, earliest)
        if version is None:
            return None
        receivers = self.links.plan(version).receivers[peer]
        return Publication(peer, version, version, self.now, receivers, bool(receivers))

    def _register(self, message: Publication) -> None:
        self.version[message.peer] = message.version
        board = self._board(message.version)
        board.missing.discard(message.peer)
        board.reach = max(board.reach, (message.at, message.peer))
        if message.useful:
            board.useful.append(message.peer)

    def _publish(self, message: Publication) -> None:
        """Send a message, and plan the steps that need nothing more."""
        self.planned[message.peer] = None
        self.send(message)
        if self.barrier:
            self._plan_round(message.version, None)
            return
        self._plan(message.peer, message.peer)
        for receiver in message.sent_to:
            self._plan_again(receiver, message.peer)

    def _board(self, index: int) -> Board:
        if index not in self.boards:
            self.boards[index] = Board(set(self.links.plan(index).participants))
        return self.boards[index]

    def _plan_round(self, version: int, receiver: int | None) -> None:
        """Plan the steps of a round anew: of one peer, or with a barrier of all."""
        if not self.barrier:
            assert receiver is not None
            self._plan_again(receiver, receiver)
            return
        if self._barrier(version) is not None:
            for peer in self.links.plan(version).participants:
                self._plan_again(peer, peer)

    def _plan_again(self, peer: int, cause: int) -> None:
        """Plan a peer's start anew if it has not started."""
        planned = self.planned[peer]
        if self.due[peer] is not None and (planned is None or planned[0] >= self.now):
            self._plan(peer, cause)

    def _plan(self, peer: int, cause: int) -> None:
        """Plan a peer's start, if all that it waits for is known. cause: the peer that made it known."""
        due = self.due[peer]
        assert due is not None
        found = self._barrier(due.version) if self.barrier else self._all_heard(peer, due.version)
        before = self.planned[peer]
        if found is not None:
            if found[0] < self.now:
                found = (self.now, cause)
            if found[0] <= due.at:
                found = (due.at, peer)
        if before == found:
            return
        self.tokens[peer] += 1
        self.planned[peer] = found
        if found is not None:
            number = self.computed[peer]
            self.computed[peer] += before is None and self.begun[peer] != due
            self.push(found[0] + self.world.step_ns(peer, number), FINISH, peer)

    def _all_heard(self, peer: int, version: int) -> tuple[int, int] | None:
        """When the last message of the peer's teachers is there, and whose it is; None: that is not known yet."""
        arrivals = self._board(version).arrivals
        latest = (-1, -1)
        for teacher in self.links.plan(version).teachers[peer]:
            known = arrivals.get((peer, teacher))
            if known is None:
                if self._is_due(teacher, version):
                    return None
            elif known[1] is not Fate.RECEIVER_OFFLINE and (known[0], teacher) > latest:
                latest = (known[0], teacher)
        return latest

    def _barrier(self, version: int) -> tuple[int, int] | None:
        """When the last message of a round is there, and whose it is; None: that is not known yet."""
        board = self._board(version)
        if any(self.online[peer] and self.version[peer] < version for peer in board.missing):
            return None
        return board.reach

    def _is_due(self, teacher: int, version: int) -> bool:
        """Whether a message that is not on its way yet will come."""
        return self.online[teacher] and self.version[teacher] < version

    def _move_frontier(self) -> None:
        """Pass the rounds that all who are online have passed."""
        here = [version for version, online in zip(self.version, self.online, strict=True) if online]
        if here:
            self.frontier = max(self.frontier, min(here))
