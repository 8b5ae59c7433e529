"""Ctrl-C, SIGTERM and SIGHUP: the first one during rounds lets those in flight end, so that a checkpoint is written."""

import os
import signal
import time
from contextlib import suppress
from threading import Timer
from types import TracebackType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
NOTED = b"\ninterrupted: the rounds in flight end first, for a checkpoint; interrupt again to end at once\n"
GRACE = 10.0  # seconds that an end "at once" may take, whatever hangs
ECHO = 0.2  # seconds in which the same signal is the same
CODE = 130


class Interrupts:
    """Handlers of these signals for the length of a `with` block in the main thread, unless `handled` is false.

    asked: whether a signal has come that was only noted. gentle: whether the next one is noted; else, as where nothing
    is handled, it raises KeyboardInterrupt. A second one always ends the process: in order if that takes no longer than
    `GRACE` seconds. A third one ends it as it stands. Blocks may be nested: an inner one takes the signals back from
    whoever has taken them meanwhile, as Ray does when it starts.

    A signal that the process was started to ignore, as by nohup, stays ignored.
    """

    def __init__(self, handled: bool = False) -> None:
        self.asked = False
        self.gentle = False
        self._handled = handled
        self._before: list[dict[int, Any]] = []
        self._count = 0
        self._last = (0, 0.0)  # signal, and when it came
        self._last_resort: Timer | None = None

    def __enter__(self) -> "Interrupts":
        heeded = [number for number in SIGNALS if signal.getsignal(number) != signal.SIG_IGN] if self._handled else []
        self._before.append({number: signal.signal(number, self._handle) for number in heeded})
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.pop().items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        if not self._before and self._last_resort is not None:
            self._last_resort.cancel()

    def _handle(self, number: int, frame: Any) -> None:
        last, self._last = self._last, (number, time.monotonic())
        echo = number == last[0] and self._last[1] - last[1] < ECHO
        if self._count and (echo or number == signal.SIGHUP):
            return  # kernel and shell both tell of a terminal that has gone, and some commands signal a child twice
        self._count += 1
        if self._count == 1 and self.gentle:
            self.asked = True
            with suppress(OSError):  # the terminal may be gone
                os.write(2, NOTED)  # print is not safe in a handler
            return
        if self._count > 2:
            os._exit(CODE)
        if self._count == 2:
            self._last_resort = Timer(GRACE, os._exit, (CODE,))
            self._last_resort.daemon = True
            self._last_resort.start()
        raise KeyboardInterrupt
