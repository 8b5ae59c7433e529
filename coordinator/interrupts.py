"""Ctrl-C and SIGTERM: the first one during rounds lets those in flight end, so that a checkpoint can be written."""

import os
import signal
from types import TracebackType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)
NOTED = b"\ninterrupted: the rounds in flight end first, for a checkpoint; interrupt again to end at once\n"


class Interrupts:
    """Handlers of both signals for the length of a `with` block in the main thread, unless `handled` is false.

    asked: whether a signal has come that was only noted. gentle: whether the next one is noted; else, as where nothing
    is handled, it raises KeyboardInterrupt.
    """

    def __init__(self, handled: bool = False) -> None:
        self.asked = False
        self.gentle = False
        self._handled = handled
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Interrupts":
        if self._handled:
            self._before = {number: signal.signal(number, self._handle) for number in SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: Any) -> None:
        if not self.gentle or self.asked:
            raise KeyboardInterrupt
        self.asked = True
        os.write(2, NOTED)  # print is not safe in a handler
