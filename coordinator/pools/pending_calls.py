"""Calls whose answers have not been read, so that a process that hangs can be told from one that waits for it."""

import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass
class Call:
    """A call that is on its way; `since`: when it was first seen to lack nothing but time."""

    number: int
    method: str
    answer: Any
    arguments: list[Any]
    since: float | None = None


class Calls:
    """The calls of each process in the order of submission; a process answers in that order.

    It holds references to what calls were given until an answer to them, or to a later one, has been read.
    """

    def __init__(self, ray: Any) -> None:
        self._ray = ray
        self._queues: dict[str, deque[Call]] = {}
        self._places: dict[Any, tuple[str, int]] = {}  # answer -> process, number
        self._count = 0

    def add(self, process: str, method: str, answer: Any, arguments: Iterable[Any]) -> None:
        """Note a call that was submitted; `arguments`: all that it was given, references or not."""
        references = [each for each in arguments if isinstance(each, self._ray.ObjectRef)]
        self._count += 1
        self._queues.setdefault(process, deque()).append(Call(self._count, method, answer, references))
        self._places[answer] = (process, self._count)

    def read(self, answers: Iterable[Any]) -> None:
        """These have come, and so has all that their processes were asked before."""
        for answer in answers:
            process, number = self._places.get(answer, ("", 0))
            while process and self._queues[process] and self._queues[process][0].number <= number:
                self._places.pop(self._queues[process].popleft().answer, None)

    def forget(self) -> None:
        """Nothing that was asked matters any more."""
        self._queues.clear()
        self._places.clear()

    def stuck(self, seconds: float) -> dict[str, str]:
        """The methods of processes that have been at one call for longer, though it lacked nothing, by process."""
        now = time.monotonic()
        found = {}
        for process, queue in self._queues.items():
            while queue and self._ready([queue[0].answer]):
                self._places.pop(queue.popleft().answer, None)
            if queue and self._ready(queue[0].arguments):
                call = queue[0]
                call.since = call.since if call.since is not None else now
                if now - call.since > seconds:
                    found[process] = call.method
        return found

    def _ready(self, references: list[Any]) -> bool:
        distinct = list(dict.fromkeys(references))
        if not distinct:
            return True
        ready, _ = self._ray.wait(distinct, num_returns=len(distinct), timeout=0, fetch_local=False)
        return len(ready) == len(distinct)
