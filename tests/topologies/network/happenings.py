"""What the slow simulators share: the events of a network in their order, messages, and steps that are done."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

from topologies.network.trace import Fate
from topologies.round import Edge


class Draws(Protocol):
    """What the simulation needs of a world."""

    def step_ns(self, peer: int, number: int) -> int: ...
    def is_online(self, peer: int, at: int) -> bool: ...
    def change_after(self, peer: int, at: int) -> tuple[int, bool] | None: ...


class Kind(IntEnum):
    """Events at the same time happen in this order."""

    OFFLINE = 0
    ONLINE = 1
    FINISH = 2
    ARRIVE = 3
    TIMER = 4
    START = 5


@dataclass(frozen=True)
class Rules:
    """A clock and what it needs to know. deadline: nanoseconds. link: (nanoseconds on the way, lost) of a message."""

    clock: str
    deadline: int = 0
    late: str = "drop"
    max_age: int = 10
    crash: bool = False
    link: Callable[[int, int, int], tuple[int, bool]] = lambda sender, receiver, number: (0, False)


@dataclass
class Message:
    """A message on one link; fate is None while it is on its way."""

    sender: int
    receiver: int
    version: int
    sent: int
    arrives: int
    lost: bool
    fate: Fate | None = None


@dataclass(frozen=True)
class Did:
    """A step that has been finished."""

    peer: int
    version: int
    heard: tuple[Edge, ...]
    published: int
    start: int
    finish: int
