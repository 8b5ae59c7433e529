"""Actions on a store that may be away: carried out in order by a thread, and kept until it is back."""

import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

News = tuple[Literal["away", "back", "refused", "lost"], str]
PAUSE = 5.0  # seconds until a store that is away is tried again
PATIENCE = 20.0  # seconds that `close` waits for one that has been there


class Courier:
    """One thread that does one thing at a time; nobody waits for it but in `settle` and `close`.

    is_away: whether an error says that the store is not there now, so that the action is to be tried again; any other
    error is the action's own, and the next one is tried. `news` is for whoever tells the user.
    """

    def __init__(self, name: str, is_away: Callable[[Exception], bool]) -> None:
        self.news: deque[News] = deque()
        self._is_away = is_away
        self._thread: ThreadPoolExecutor | None = ThreadPoolExecutor(1, name)
        self._waiting: deque[Callable[[], object]] = deque()
        self._again: float | None = None  # when to try a store that is away
        self._answered = self._refused = False

    @property
    def idle(self) -> bool:
        """Whether everything has been delivered or refused, as far as is known now."""
        return not self._waiting

    def send(self, action: Callable[[], object]) -> None:
        """Have an action carried out after those before it."""
        if self._thread is not None:
            self._thread.submit(self._take, action)

    def settle(self) -> None:
        """Until everything that was sent has been tried, or waits because the store is away."""
        if self._thread is not None:
            self._thread.submit(lambda: None).result()

    def close(self) -> None:
        """Deliver what is left, with some patience where the store has been there before; then end the thread."""
        if self._thread is None:
            return
        until = time.monotonic() + (PATIENCE if self._answered else 0.0)
        while True:
            self._thread.submit(self._deliver).result()
            if self.idle or time.monotonic() >= until:
                break
            time.sleep(min(1.0, PAUSE))
        if self._waiting:
            self.news.append(("lost", str(len(self._waiting))))
        self._thread.shutdown()
        self._thread = None

    def _take(self, action: Callable[[], object]) -> None:
        self._waiting.append(action)
        if self._again is None or time.monotonic() >= self._again:
            self._deliver()

    def _deliver(self) -> None:
        while self._waiting:
            try:
                self._waiting[0]()
                self._answered = True
            except Exception as error:
                why = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
                if self._is_away(error):
                    if self._again is None:
                        self.news.append(("away", why))
                    self._again = time.monotonic() + PAUSE
                    return
                if not self._refused:
                    self.news.append(("refused", why))
                self._refused = True
            self._waiting.popleft()
        if self._again is not None:
            self._again = None
            self.news.append(("back", ""))
