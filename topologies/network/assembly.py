"""The acts of peers, put together to rounds; and which messages somebody may still use."""

from topologies.network.trace import (
    SECOND,
    Cut,
    Delivery,
    MessageKey,
    Presence,
    Publication,
    Step,
    TimedRound,
)
from topologies.network.waves import waves_of


class Assembly:
    """The round that is being made. A round ends after as many passages as there are peers, or after some seconds.

    holds: by message, how many receivers or steps may still use it, and when it was published.
    """

    def __init__(self, num_peers: int, round_seconds: float | None) -> None:
        self._every = None if round_seconds is None else max(round(round_seconds * SECOND), 1)
        self._num_peers = num_peers
        self._index, self._end, self._passages = 0, 0, 0
        self._acts: list[Step | Publication] = []
        self._holds: dict[MessageKey, int] = {}
        self._published: dict[MessageKey, int] = {}
        self._released: dict[int, list[int]] = {}
        self._abandoned: list[MessageKey] = []
        self._due: dict[int, Publication] = {}

    def copy(self) -> "Assembly":
        """Another one that goes on by itself."""
        other = object.__new__(Assembly)
        for name, value in self.__dict__.items():
            other.__dict__[name] = value.copy() if isinstance(value, list | dict) else value
        other._released = {sender: versions.copy() for sender, versions in self._released.items()}
        return other

    def begin(self, message: Publication) -> None:
        """A message that is published before the first round."""
        self._due[message.peer] = message
        self._note(message)

    def publish(self, message: Publication) -> None:
        """A message that is published by itself."""
        self._acts.append(message)
        self.begin(message)

    def step(self, step: Step, counts: bool = True) -> None:
        """A step that has ended, and with it the peer's message. counts: whether it is a passage."""
        self._acts.append(step)
        if step.finish > self._end:
            self._end = step.finish
        following = step.following
        if following is None:
            self._due.pop(step.peer, None)
        else:
            self._due[step.peer] = following
            self._note(following)
        self._passages += counts

    def passed(self, now: int) -> None:
        """A round that a peer has idled through."""
        self._passages += 1
        if now > self._end:
            self._end = now

    def abandon(self, message: Publication) -> None:
        """A message on which its peer never steps."""
        self._due.pop(message.peer, None)
        self._abandoned.append((message.peer, message.version))

    def hold(self, message: MessageKey, times: int = 1) -> None:
        """Somebody may use a message."""
        self._holds[message] = self._holds.get(message, 0) + times

    def is_held(self, message: MessageKey) -> bool:
        """Whether anybody may use a message."""
        return self._holds.get(message, 0) > 0

    def release(self, message: MessageKey) -> None:
        """One of those who might have used it does so no more."""
        left = self._holds[message] - 1
        if left:
            self._holds[message] = left
            return
        del self._holds[message]
        if self._published.pop(message, None) is not None:
            self._released.setdefault(message[0], []).append(message[1])

    def is_closed(self, following: int | None) -> bool:
        """Whether the round has ended. following: when the next event is; None: there is none."""
        if self._every is None:
            return self._passages >= self._num_peers
        return following is not None and following > (self._index + 1) * self._every

    def take(self, deliveries: tuple[Delivery, ...], presence: tuple[Presence, ...], online: int) -> TimedRound:
        """The round, and begin the next one."""
        found = TimedRound(
            self._index,
            self._end,
            waves_of(self._acts),
            {sender: tuple(sorted(versions)) for sender, versions in sorted(self._released.items())},
            deliveries,
            presence,
            online,
            tuple(self._abandoned),
        )
        self._index += 1
        self._passages = 0
        self._acts, self._released, self._abandoned = [], {}, []
        return found

    def cut(self, online: list[bool]) -> Cut:
        """What is under way."""
        due = dict(sorted(self._due.items()))
        named = {(peer, message.version) for peer, message in due.items()}
        live = {key: at for key, at in sorted(self._published.items()) if key not in named}
        return Cut(due, live, tuple(online), self._end)

    def _note(self, message: Publication) -> None:
        if message.useful:
            self._published[message.peer, message.version] = message.at
