"""What happens in a trace, event by event: publish, send, arrive, lost, study, wait, offline, online."""

from collections.abc import Iterator
from typing import NamedTuple

from topologies.network.trace import SECOND, Cut, Delivery, Fate, MessageKey, Publication, Step, TimedRound

WORDS = {"ARRIVED": "", "LOST": "lost on the way", "REPLACED": "replaced by a newer one"}
REASONS = {fate: WORDS.get(fate.name, fate.name.lower().replace("_", " ")) for fate in Fate}
NOBODY = -1


class Event(NamedTuple):
    """An event at a virtual time.

    kind, with what peer and other are: `publish` (peer); `send` (peer to other); `arrive`, `lost` (at peer, from
    other); `study` (peer learns from other's message; a row for each message); `wait` (peer for other's message, or for
    nobody's: -1); `offline`, `online` (peer).
    version: of the message, or of the peer's own for which it waits; batch: that the message is about. -1: none.
    age, age_seconds: of a message that is studied, in rounds, and from its publication until it is taken. until: when
    studying or waiting ends, in seconds. reason: why a message was lost; else empty.
    """

    seconds: float
    kind: str
    peer: int
    other: int = NOBODY
    version: int = -1
    batch: int = -1
    age: int | None = None
    age_seconds: float | None = None
    until: float | None = None
    reason: str = ""


class EventLog:
    """Turns rounds into events; they have to be given in order. own_batches: as of the trace."""

    def __init__(self, own_batches: bool = False) -> None:
        self._own_batches = own_batches
        self._published: dict[MessageKey, Publication] = {}

    def at_start(self, cut: Cut) -> list[Event]:
        """What happens at second 0: those who are there publish, all others are offline."""
        away = [Event(cut.at / SECOND, "offline", peer) for peer, online in enumerate(cut.online) if not online]
        return away + [event for publication in cut.due.values() for event in self._publish(publication)]

    def of_round(self, round_: TimedRound) -> list[Event]:
        """The events of a round, in order of time.

        Rounds of peers that do not wait for each other overlap in time, so a later round may have earlier events.
        """
        found = [Event(each.at / SECOND, "online" if each.online else "offline", each.peer) for each in round_.presence]
        for wave in round_.waves:
            for publication in wave.returns:
                found += self._publish(publication)
            for step in wave.steps:
                found += self._study(step)
                if step.following is not None:
                    found += self._publish(step.following)
        found += map(_of_delivery, round_.deliveries)
        for sender, versions in round_.released.items():
            for version in versions:
                self._published.pop((sender, version), None)
        return sorted(found, key=lambda event: event.seconds)

    def _publish(self, publication: Publication) -> Iterator[Event]:
        peer, version, batch = publication.peer, publication.version, publication.batch
        if publication.useful:
            self._published[peer, version] = publication
        seconds = publication.at / SECOND
        yield Event(seconds, "publish", peer, NOBODY, version, batch)
        for receiver in publication.sent_to:
            yield Event(seconds, "send", peer, receiver, version, batch)

    def _study(self, step: Step) -> Iterator[Event]:
        start, finish = step.start / SECOND, step.finish / SECOND
        if step.start > step.published:
            own = (step.waited_for, step.version, step.batch)
            yield Event(step.published / SECOND, "wait", step.peer, *own, until=start)
        for edge in step.heard:
            version = step.version - edge.age
            heard = self._published.get((edge.teacher, version))
            age = (step.start - heard.at) / SECOND if heard is not None and edge.teacher != step.peer else None
            batch = step.batch if self._own_batches else version
            yield Event(start, "study", step.peer, edge.teacher, version, batch, edge.age, age, finish)


def _of_delivery(delivery: Delivery) -> Event:
    kind = "arrive" if delivery.fate is Fate.ARRIVED else "lost"
    seconds, reason = delivery.arrived / SECOND, REASONS[delivery.fate]
    return Event(seconds, kind, delivery.receiver, delivery.sender, delivery.version, reason=reason)
