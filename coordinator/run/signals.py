"""Ctrl-C, SIGTERM and SIGHUP: the first signal during rounds lets the rounds in flight finish, then saves them."""

import os
import signal
import time
from contextlib import suppress
from threading import Timer
from types import TracebackType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
NOTED = b"\ninterrupted: the rounds in flight end first, for a checkpoint; interrupt again to end at once\n"
GRACE = 10.0  # seconds after the second signal until the process is ended by force
ECHO = 0.2  # seconds within which a repeated signal counts as a duplicate
CODE = 130


class Interrupts:
    """Handles these signals within a `with` block in the main thread, unless `handled` is false.

    gentle: if true, the first signal only sets `stop_requested`; if false, it raises KeyboardInterrupt.

    The second signal raises KeyboardInterrupt, and ends the process by force if it is still running after `GRACE`
    seconds. The third signal ends the process immediately. Blocks may be nested: an inner block installs the handlers
    again, because Ray replaces them when it starts.

    Signals that the process ignores from its start, for example under nohup, stay ignored.
    """

    def __init__(self, handled: bool = False) -> None:
        self.stop_requested = False
        self._gentle = False
        self._handled = handled
        self._previous_handlers: list[dict[int, Any]] = []
        self._count = 0
        self._last = (0, 0.0)  # the last signal and its arrival time
        self._last_resort: Timer | None = None

    @property
    def gentle(self) -> bool:
        return self._gentle

    @gentle.setter
    def gentle(self, gentle: bool) -> None:
        """Raises: KeyboardInterrupt, if a signal came before whose own was lost: Python discards those of callbacks."""
        self._gentle = gentle
        if gentle and self._count and not self.stop_requested:
            raise KeyboardInterrupt

    def __enter__(self) -> "Interrupts":
        numbers = [number for number in SIGNALS if signal.getsignal(number) != signal.SIG_IGN] if self._handled else []
        self._previous_handlers.append({number: signal.signal(number, self._handle) for number in numbers})
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous_handlers.pop().items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        if not self._previous_handlers and self._last_resort is not None:
            self._last_resort.cancel()

    def _handle(self, number: int, frame: Any) -> None:
        last, self._last = self._last, (number, time.monotonic())
        echo = number == last[0] and self._last[1] - last[1] < ECHO
        if self._count and (echo or number == signal.SIGHUP):
            return  # kernel and shell both report a closed terminal, and some commands signal a child twice
        self._count += 1
        if self._count == 1 and self.gentle:
            self.stop_requested = True
            with suppress(OSError):  # the terminal may be closed
                os.write(2, NOTED)  # print is not safe in a handler
            return
        if self._count > 2:
            os._exit(CODE)
        if self._count == 2:
            self._last_resort = Timer(GRACE, os._exit, (CODE,))
            self._last_resort.daemon = True
            self._last_resort.start()
        raise KeyboardInterrupt
