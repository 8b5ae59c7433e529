"""The clocks `synchronous` and `neighbours` by events: for peers that come and go, or share their links' bandwidth."""

from dataclasses import dataclass, field

from topologies.network.event_driven import FINISH, NEVER, EventDriven, best
from topologies.network.hearing import without
from topologies.network.links import Present
from topologies.network.trace import Cut, Delivery, Fate, MessageKey, Publication, Step, TimedRound, Wave
from topologies.network.waves import waves_of
from topologies.schedule import Schedule
from topologies.worlds.world import World


@dataclass
class Board:
    """A round that is under way. arrivals: by receiver and sender, when a message will be there, or would have been.

    missing: participants that have not published. transfers: how many are under way. reach: the last arrival of a
    message anywhere, as far as is known, and its sender.
    """

    missing: set[int]
    transfers: int = 0
    reach: tuple[int, int] = (-1, -1)
    arrivals: dict[tuple[int, int], tuple[int, Fate]] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    returns: list[Publication] = field(default_factory=list)
    deliveries: list[Delivery] = field(default_factory=list)
    abandoned: list[MessageKey] = field(default_factory=list)
    useful: list[int] = field(default_factory=list)

    def is_there(self, sender: int, receiver: int, at: int) -> bool:
        """Whether a message has arrived by then."""
        arrived, fate = self.arrivals.get((receiver, sender), (NEVER, Fate.LOST))
        return fate is Fate.ARRIVED and arrived <= at

    def forget(self, receiver: int, teachers: tuple[int, ...], by: int) -> None:
        """A peer loses what has arrived before."""
        for teacher in teachers:
            at, _ = self.arrivals.get((receiver, teacher), (by, Fate.LOST))
            if at < by:
                self.arrivals[receiver, teacher] = (at, Fate.RECEIVER_OFFLINE)

    def copy(self) -> "Board":
        """Another one that goes on by itself."""
        return Board(*(value.copy() if hasattr(value, "copy") else value for value in self.__dict__.values()))


class Waiting(EventDriven):
    """Peers that wait for their teachers, or with a barrier for everybody, as long as these are online.

    planned: when a waiting peer will start and for whom it waited last, as far as is known; None: not known yet.
    frontier: the first round that some peer has yet to pass. last: the latest message by peer in order of rounds.
    """

    def __init__(self, world: World, schedule: Schedule, present: Present | None, barrier: bool) -> None:
        super().__init__(world, schedule, present, single=False)
        count = world.num_peers
        self.barrier, self.frontier = barrier, 0
        self.boards: dict[int, Board] = {}
        self.planned: list[tuple[int, int] | None] = [None] * count
        self.counts = {-1: sum(self.online)}  # by version, the peers online that have published it last
        for peer in range(count):
            if self.online[peer]:
                self._set(peer, self._prepared(peer, 0))
        first = [message for message in self.due if message is not None]
        self.last = {message.peer: message for message in first}
        for message in first:
            self._send(message)
        for message in {each.version: each for each in first}.values() if barrier else first:  # a barrier's round once
            self._plan_after(message)

    def copied(self) -> None:
        """Copy what `copy` has not."""
        self.boards = {index: board.copy() for index, board in self.boards.items()}

    def next_round(self) -> TimedRound | None:
        """The next round; None: nobody will ever come back to make it."""
        while self.frontier <= self.index:
            if not self.advance():
                return None
        board = self.boards.pop(self.index, None) or Board(set())
        late, presence = self.take_deliveries()
        steps = sorted(board.steps, key=lambda step: step.peer)
        acts: list[Step | Publication] = [*board.returns, *steps]
        for act in acts:
            following = act.following if isinstance(act, Step) else act
            if following is not None:
                self.last[following.peer] = following
            if isinstance(act, Step):
                self.end = max(self.end, act.finish)
        waves = waves_of(acts) if board.returns else (Wave(tuple(steps)),) if steps else ()
        released: dict[int, tuple[int, ...]] = dict.fromkeys(sorted(board.useful), (self.index,))
        self.index += 1
        self.links.forget(self.index)
        return TimedRound(
            self.index - 1,
            self.end,
            waves,
            released,
            (*board.deliveries, *late),
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
        lost = [teacher for teacher in plan.teachers[peer] if not board.is_there(teacher, peer, start)]
        edges = plan.edges[peer]
        heard = without(edges, peer, lost) if lost else edges
        self.computed[peer] += 1
        following = self._prepared(peer, index + 1)
        board.steps.append(Step(peer, index, index, heard, due.at, start, self.now, who, following))
        self._set(peer, following)
        if following is not None:
            self._publish(following)

    def came(self, peer: int) -> None:
        """A peer is back: it joins the round that its links are in."""
        known = self.neighbours(peer)
        earliest = max([self.version[peer] + 1, self.frontier, *(version for version, _ in known)])
        message = self._prepared(peer, earliest) if earliest < NEVER else None
        if message is not None:
            source = best(known, message.version)
            if source is None and self.links.rewired:  # it joins a round that nobody has begun
                source = best([each for each in known if each[0] >= self.version[peer]])
            back = self.back(peer, source)
            message = message._replace(back=back)
            copied = self.version[back.source] if back.source >= 0 else message.version  # of which round the state is
        self.counts[self.version[peer]] = self.counts.get(self.version[peer], 0) + 1
        self._set(peer, message)
        if message is not None:
            self._board(copied).returns.append(message)
            self._publish(message)
            for other in range(len(self.online)):
                self._plan_again(other, peer)

    def left(self, peer: int) -> None:
        """A peer is gone: nobody waits for what it has not published."""
        due, planned = self.due[peer], self.planned[peer]
        self.due[peer] = self.planned[peer] = None
        self.tokens[peer] += 1
        if planned is not None and planned[0] < self.now:
            self.computed[peer] += 1
        if due is not None:
            self._board(due.version).abandoned.append((peer, due.version))
        for index, board in self.boards.items():
            board.forget(peer, self.links.plan(index).teachers[peer], self.now)
        self._pass(self.version[peer])
        for other in range(len(self.online)):
            self._plan_again(other, peer)

    def posted(self, sender: int, receiver: int, version: int, at: int, fate: Fate) -> None:
        """The arrival of a message is known."""
        board = self.boards.get(version)
        if board is None:
            return  # its round is over for everybody
        board.arrivals[receiver, sender] = (at, fate)
        board.deliveries.append(self.deliveries.pop())
        board.reach = max(board.reach, (at, sender))
        if self.transfers is not None:
            board.transfers -= 1
            self._plan_round(version, receiver, sender)

    def _prepared(self, peer: int, earliest: int) -> Publication | None:
        """The peer's message of the first round from `earliest` on in which it takes part."""
        version = self.links.following(peer, earliest)
        if version is None:
            return None
        receivers = self.links.plan(version).receivers[peer]
        return Publication(peer, version, version, self.now, receivers, bool(receivers))

    def _set(self, peer: int, message: Publication | None) -> None:
        """Make a message due; without one, the peer has passed all rounds."""
        before, self.due[peer], self.planned[peer] = self.version[peer], message, None
        version = self.version[peer] = NEVER if message is None else message.version
        self.counts[version] = self.counts.get(version, 0) + 1
        if message is not None:
            board = self._board(version)
            board.missing.discard(peer)
            board.reach = max(board.reach, (message.at, peer))
            if message.useful:
                board.useful.append(peer)
        self._pass(before)

    def _pass(self, version: int) -> None:
        """A peer that was online is no longer at this version: the frontier moves past what all have passed."""
        left = self.counts.get(version, 0) - 1
        if left > 0:
            self.counts[version] = left
        else:
            self.counts.pop(version, None)
            if self.counts:
                self.frontier = max(self.frontier, min(self.counts))

    def _publish(self, message: Publication) -> None:
        """Send a message, and plan the steps that need nothing more."""
        self._send(message)
        self._plan_after(message)

    def _send(self, message: Publication) -> None:
        if self.transfers is not None:
            self._board(message.version).transfers += len(message.sent_to)
        self.send(message)

    def _plan_after(self, message: Publication) -> None:
        if self.barrier:
            self._plan_round(message.version, message.peer, message.peer)
            return
        self._plan(message.peer, message.peer)
        for receiver in message.sent_to:
            self._plan_again(receiver, message.peer)

    def _board(self, index: int) -> Board:
        if index not in self.boards:
            self.boards[index] = Board(set(self.links.plan(index).participants))
        return self.boards[index]

    def _plan_round(self, version: int, peer: int, cause: int) -> None:
        """Plan the steps of a round anew: of one peer, or with a barrier of all."""
        if not self.barrier:
            self._plan_again(peer, cause)
        elif self._barrier(version) is not None:
            for other in self.links.plan(version).participants:
                due = self.due[other]
                if due is not None and due.version == version:
                    self._plan_again(other, cause)

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
            self.push(found[0] + self.world.step_ns(peer, self.computed[peer]), FINISH, peer)

    def _all_heard(self, peer: int, version: int) -> tuple[int, int] | None:
        """When the last message of the peer's teachers is there, and whose it is; None: that is not known yet."""
        arrivals = self._board(version).arrivals
        latest = (-1, -1)
        for teacher in self.links.plan(version).teachers[peer]:
            known = arrivals.get((peer, teacher))
            if known is None:
                comes = self.online[teacher] and self.version[teacher] < version
                if comes or (self.transfers is not None and self.transfers.has(teacher, peer, version)):
                    return None
            elif (known[0], teacher) > latest:
                latest = (known[0], teacher)
        return latest

    def _barrier(self, version: int) -> tuple[int, int] | None:
        """When the last message of a round is there, and whose it is; None: that is not known yet."""
        board = self._board(version)
        if board.transfers or any(self.online[peer] and self.version[peer] < version for peer in board.missing):
            return None
        return board.reach
