"""Tracks unanswered calls, to distinguish a process that hangs from one that waits for its inputs."""

import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass
class PendingCall:
    """An unanswered call. ready_since: the time of the first check that found its inputs ready."""

    number: int
    method: str
    answer: Any
    inputs: list[Any]
    ready_since: float | None = None


class PendingCalls:
    """The unanswered calls of each process, in the order in which they were submitted and will be answered.

    References to a call's inputs are kept until the answer to it, or to a later call, has been read.
    """

    def __init__(self, ray: Any) -> None:
        self._ray = ray
        self._queues: dict[str, deque[PendingCall]] = {}
        self._submitted: dict[Any, tuple[str, int]] = {}  # answer -> process, number of its call
        self._count = 0

    def add(self, process: str, method: str, answer: Any, arguments: Iterable[Any]) -> None:
        """Add a submitted call. arguments: all of its arguments, whether or not they are references."""
        inputs = [argument for argument in arguments if isinstance(argument, self._ray.ObjectRef)]
        self._count += 1
        self._queues.setdefault(process, deque()).append(PendingCall(self._count, method, answer, inputs))
        self._submitted[answer] = (process, self._count)

    def read(self, answers: Iterable[Any]) -> None:
        """Remove the calls that these answers belong to, and all earlier calls to the same processes."""
        for answer in answers:
            process, number = self._submitted.get(answer, ("", 0))
            while process and self._queues[process] and self._queues[process][0].number <= number:
                self._submitted.pop(self._queues[process].popleft().answer, None)

    def clear(self) -> None:
        """Remove all calls."""
        self._queues.clear()
        self._submitted.clear()

    def stuck(self, seconds: float) -> dict[str, str]:
        """The processes busy with one call for longer than `seconds` since its inputs were ready: name -> method."""
        now = time.monotonic()
        found = {}
        for process, queue in self._queues.items():
            while queue and self._ready([queue[0].answer]):
                self._submitted.pop(queue.popleft().answer, None)
            if queue and self._ready(queue[0].inputs):
                call = queue[0]
                call.ready_since = call.ready_since if call.ready_since is not None else now
                if now - call.ready_since > seconds:
                    found[process] = call.method
        return found

    def _ready(self, references: list[Any]) -> bool:
        distinct = list(dict.fromkeys(references))
        if not distinct:
            return True
        ready, _ = self._ray.wait(distinct, num_returns=len(distinct), timeout=0, fetch_local=False)
        return len(ready) == len(distinct)
