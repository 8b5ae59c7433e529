"""A queue of actions on a store that may be unreachable: a thread executes them in order and retries."""

import time
from collections import deque
from collections.abc import Callable
from threading import Condition, Thread
from typing import Literal

from coordinator.experiment.redaction import first_line

News = tuple[Literal["away", "back", "refused", "lost"], str]
PAUSE = 5.0  # seconds between retries while the store is unreachable
PATIENCE = 20.0  # seconds that `close` waits for an unreachable store that answered before
LIMIT = 30.0  # seconds after which waiting for a hanging action ends
GRACE = 5.0  # seconds that `close` waits at least for an action being executed
REFUSALS = 3  # the number of distinct refusals that are reported


class RetryQueue:
    """Executes actions one at a time in a thread; only `settle` and `close` wait for it, and both have time limits.

    It is a daemon thread, since a hanging action cannot be cancelled and must not delay the exit of the process.
    is_away: whether an error means that the store is unreachable, so that the action is retried; after any other error
    the action is dropped as refused. news: events for the caller to report to the user.
    """

    def __init__(self, name: str, is_away: Callable[[Exception], bool]) -> None:
        self.news: deque[News] = deque()
        self._name, self._is_away = name, is_away
        self._state = Condition()
        self._thread: Thread | None = None
        self._waiting: deque[Callable[[], object]] = deque()
        self._head_since = 0.0  # when the action at the head of the queue got there
        self._retry_at: float | None = None  # time of the next retry while the store is unreachable
        self._failures = 0  # number of attempts while the store was unreachable
        self._answered = self._was_away = self._closing = self._closed = False
        self._refusals: set[str] = set()

    @property
    def idle(self) -> bool:
        """Whether all actions so far have been delivered or refused."""
        return not self._waiting

    def send(self, action: Callable[[], object]) -> None:
        """Queue an action."""
        with self._state:
            if self._closed:
                return
            if not self._waiting:
                self._head_since = time.monotonic()
            self._waiting.append(action)
            if self._thread is None:
                self._thread = Thread(target=self._work, name=self._name, daemon=True)
                self._thread.start()
            self._state.notify_all()

    def settle(self) -> None:
        """Wait until all actions have been tried, the store is found unreachable, or an action exceeds `LIMIT`."""
        with self._state:
            while (
                self._waiting and self._retry_at is None and (rest := self._head_since + LIMIT - time.monotonic()) > 0
            ):
                self._state.wait(rest)

    def close(self) -> None:
        """Deliver the remaining actions within the time limits, then end the thread.

        An unreachable store that answered before gets `PATIENCE` seconds; one that never answered is tried once more.
        If this is interrupted, the thread ends, too.
        """
        with self._state:
            if self._closed:
                return
            start, failures, self._closing = time.monotonic(), self._failures, True
            if self._retry_at is not None:
                self._retry_at = start
            self._state.notify_all()
            try:
                while self._waiting and (rest := self._deadline(start, failures) - time.monotonic()) > 0:
                    self._state.wait(rest)
            finally:
                if self._waiting:
                    self.news.append(("lost", str(len(self._waiting))))
                self._closed = True
                self._waiting.clear()
                self._state.notify_all()

    def _deadline(self, start: float, failures: int) -> float:
        """The present deadline of a `close` that was called at `start`, when there had been `failures` failures."""
        if self._retry_at is not None and self._answered:
            return start + PATIENCE
        if self._retry_at is not None and self._failures > failures:
            return start
        return max(self._head_since + LIMIT, start + GRACE)

    def _work(self) -> None:
        while (action := self._next()) is not None:
            try:
                action()
            except Exception as error:
                self._failed(error)
            else:
                self._done()

    def _next(self) -> Callable[[], object] | None:
        """Wait for the next action that is due; None once the queue is closed."""
        with self._state:
            while not self._closed:
                pause = None if self._retry_at is None else self._retry_at - time.monotonic()
                if self._waiting and (pause is None or pause <= 0):
                    return self._waiting[0]
                self._state.wait(pause if self._waiting else None)
            return None

    def _done(self) -> None:
        with self._state:
            self._answered = True
            self._drop()

    def _failed(self, error: Exception) -> None:
        why = first_line(error, type(error).__name__)
        with self._state:
            if self._closed:
                return
            if self._is_away(error):
                if not self._was_away:
                    self.news.append(("away", why))
                self._was_away = True
                self._retry_at = time.monotonic() + (min(1.0, PAUSE) if self._closing else PAUSE)
                self._failures += 1
                self._state.notify_all()
                return
            if why not in self._refusals and len(self._refusals) < REFUSALS:
                self.news.append(("refused", why))
            self._refusals.add(why)
            self._drop()

    def _drop(self) -> None:
        """Remove the first action after the store has answered it."""
        if self._closed:
            return
        self._waiting.popleft()
        self._head_since, self._retry_at = time.monotonic(), None
        if self._was_away and not self._waiting:
            self._was_away = False
            self.news.append(("back", ""))
        self._state.notify_all()
