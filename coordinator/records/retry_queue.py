"""Actions on a store that may be away: carried out in order by a thread, and kept until it is back."""

import time
from collections import deque
from collections.abc import Callable
from threading import Condition, Thread
from typing import Literal

from coordinator.experiment.redaction import first_line

News = tuple[Literal["away", "back", "refused", "lost"], str]
PAUSE = 5.0  # seconds until a store that is away is tried again
PATIENCE = 20.0  # seconds that `close` waits for one that has been there
LIMIT = 30.0  # seconds after which nobody waits for an action any longer
GRACE = 5.0  # seconds that `close` waits at least for one that is on its way
REFUSALS = 3  # different ones that are told


class RetryQueue:
    """One thread that does one thing at a time; nobody waits for it but in `settle` and `close`, and not for ever.

    It may hang in an action, which nothing can end from outside: so it is a daemon, which no exit waits for.
    is_away: whether an error says that the store is not there now, so that the action is to be tried again; any other
    error is the action's own, and the next one is tried. `news` is for whoever tells the user.
    """

    def __init__(self, name: str, is_away: Callable[[Exception], bool]) -> None:
        self.news: deque[News] = deque()
        self._name, self._is_away = name, is_away
        self._state = Condition()
        self._thread: Thread | None = None
        self._waiting: deque[Callable[[], object]] = deque()
        self._since = 0.0  # when the first of them became the first
        self._again: float | None = None  # when to try a store that is away
        self._failures = 0  # tries of a store that was away
        self._answered = self._missed = self._closing = self._closed = False
        self._refusals: set[str] = set()

    @property
    def idle(self) -> bool:
        """Whether everything has been delivered or refused, as far as is known now."""
        return not self._waiting

    def send(self, action: Callable[[], object]) -> None:
        """Have an action carried out after those before it."""
        with self._state:
            if self._closed:
                return
            if not self._waiting:
                self._since = time.monotonic()
            self._waiting.append(action)
            if self._thread is None:
                self._thread = Thread(target=self._work, name=self._name, daemon=True)
                self._thread.start()
            self._state.notify_all()

    def settle(self) -> None:
        """Until everything that was sent has been tried, or waits because the store is away, or has hung for long."""
        with self._state:
            while self._waiting and self._again is None and (left := self._since + LIMIT - time.monotonic()) > 0:
                self._state.wait(left)

    def close(self) -> None:
        """Deliver what is left, with some patience where the store has been there before; then end the thread.

        A store that has never answered is tried once more. Whatever interrupts this ends the thread as well.
        """
        with self._state:
            if self._closed:
                return
            start, failures, self._closing = time.monotonic(), self._failures, True
            if self._again is not None:
                self._again = start
            self._state.notify_all()
            try:
                while self._waiting and (left := self._until(start, failures) - time.monotonic()) > 0:
                    self._state.wait(left)
            finally:
                if self._waiting:
                    self.news.append(("lost", str(len(self._waiting))))
                self._closed = True
                self._waiting.clear()
                self._state.notify_all()

    def _until(self, start: float, failures: int) -> float:
        """Up to when `close`, called at `start` after so many failures, waits as things are now."""
        if self._again is not None and self._answered:
            return start + PATIENCE
        if self._again is not None and self._failures > failures:
            return start
        return max(self._since + LIMIT, start + GRACE)

    def _work(self) -> None:
        while (action := self._next()) is not None:
            try:
                action()
            except Exception as error:
                self._failed(error)
            else:
                self._done()

    def _next(self) -> Callable[[], object] | None:
        """The action to carry out, once there is one and it is time; None when there will be none."""
        with self._state:
            while not self._closed:
                pause = None if self._again is None else self._again - time.monotonic()
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
                if not self._missed:
                    self.news.append(("away", why))
                self._missed = True
                self._again = time.monotonic() + (min(1.0, PAUSE) if self._closing else PAUSE)
                self._failures += 1
                self._state.notify_all()
                return
            if why not in self._refusals and len(self._refusals) < REFUSALS:
                self.news.append(("refused", why))
            self._refusals.add(why)
            self._drop()

    def _drop(self) -> None:
        """The first action is done with, and the store is there."""
        if self._closed:
            return
        self._waiting.popleft()
        self._since, self._again = time.monotonic(), None
        if self._missed and not self._waiting:
            self._missed = False
            self.news.append(("back", ""))
        self._state.notify_all()
