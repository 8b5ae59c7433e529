"""The trace of a simulated network: which step of which peer uses which message of whom, and when.

A trace knows no learned value: it follows from the network's settings, the schedule of links and a seed. Times are
whole nanoseconds of virtual time.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from topologies.round import Edge
from topologies.worlds.churn import Weights as Weights

SECOND = 1_000_000_000
MessageKey = tuple[int, int]
"""Names a message: (sender, version)."""


class Return(NamedTuple):
    """How a peer comes back online. count: how many times it has come back, from 1. source: whose weights it copies.

    A copy is of the neighbour's state at the time of the publication that follows. source is -1 but for NEIGHBOUR.
    """

    weights: Weights
    count: int  # type: ignore[assignment]  # no use for the tuple's own count
    source: int = -1


class Publication(NamedTuple):
    """A message that a peer publishes: its outputs on a batch, or its weights.

    version: its number, which grows with every message of a peer; but for the clock `gossip` it is the peer's round,
    and `batch` is the same. at: when, in nanoseconds. sent_to: the other peers that it is sent to, ascending, with
    those for which it is lost. useful: whether any of them may come to use it. back: set if the peer has just come back
    online.
    """

    peer: int
    version: int
    batch: int
    at: int
    sent_to: tuple[int, ...]
    useful: bool
    back: Return | None = None


class Step(NamedTuple):
    """A peer's step on its message `version`: it takes what it has heard, learns from it, and publishes the next one.

    heard: the messages that it learns from, ascending by teacher; the weights sum to 1, and a message has the version
    `version - age` of its teacher. Empty: it computes, but does not learn. published, start, finish: when its own
    message was published, when it takes its messages, and when it has learned. waited_for: the peer whose message it
    waited for last, itself if it waited for nobody, -1 if a deadline or a wake-up ended the wait. following: what it
    publishes at `finish`; None: nothing, as it publishes later.
    """

    peer: int
    version: int
    batch: int
    heard: tuple[Edge, ...]
    published: int
    start: int
    finish: int
    waited_for: int
    following: Publication | None


class Fate(IntEnum):
    """What became of a message on one link. REPLACED: a newer one took its place while it waited for the link."""

    ARRIVED = 0
    LOST = 1
    RECEIVER_OFFLINE = 2
    SENDER_CRASHED = 3
    REPLACED = 4


class Delivery(NamedTuple):
    """A message on one link. arrived: when it arrived, or would have; or when its transfer ended early."""

    sender: int
    receiver: int
    version: int
    sent: int
    arrived: int
    fate: Fate


class Presence(NamedTuple):
    """A peer goes offline, or comes online."""

    peer: int
    at: int
    online: bool


class Wave(NamedTuple):
    """What can be computed side by side: no peer steps twice, and no message is used that a step in it publishes.

    returns: publications between steps: of peers that have come back, and others without `back`, of peers whose last
    step published nothing. They, and the copies that they take, come before the steps, which may be on them.
    """

    steps: tuple[Step, ...]
    returns: tuple[Publication, ...] = ()


@dataclass(frozen=True)
class TimedRound:
    """One round of a run, in the order in which it is to be computed.

    A round of the clocks synchronous and neighbours is the step of every peer with this index. One of the other clocks
    ends after as many steps as there are peers, or after so many virtual seconds; all steps that finish by then, and no
    others, are in it or in earlier rounds. end: the latest time of any step until then. released: versions, by sender,
    that nobody will use after this round. deliveries: messages whose fate is known by now, and was not before.
    abandoned: messages on which their peers never step, as they went offline first.
    """

    index: int
    end: int
    waves: tuple[Wave, ...]
    released: dict[int, tuple[int, ...]]
    deliveries: tuple[Delivery, ...]
    presence: tuple[Presence, ...]
    online: int
    abandoned: tuple[MessageKey, ...] = ()

    @property
    def seconds(self) -> float:
        return self.end / SECOND


@dataclass(frozen=True)
class Cut:
    """What is under way at the start of a round.

    due: the message of each peer on which it has not stepped yet, if there is one. live: older messages that somebody
    may still use, in order of sender and version, with the time of their publication. online: by peer. at: nanoseconds.
    """

    due: dict[int, Publication]
    live: dict[MessageKey, int]
    online: tuple[bool, ...]
    at: int


@dataclass(frozen=True)
class Trace:
    """The rounds of a run in virtual time: pure and seekable, endless unless a peer's network ends.

    plain: whether it differs from the schedule of links in nothing but time: every message of a round is used in that
    round, by every student. own_batches: whether all messages that a step uses are about the step's own batch; else
    each is about the batch of its version.
    """

    num_peers: int
    plain: bool
    own_batches: bool
    rounds_from: Callable[[int], Iterator[TimedRound]]
    cut_at: Callable[[int], Cut]

    def rounds(self, start: int = 0) -> Iterator[TimedRound]:
        """The rounds from index `start` on."""
        return self.rounds_from(start)
