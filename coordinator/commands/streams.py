"""Standard output and error that may go away, with a closed terminal or pipe or a full disk: no run ends for that."""

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any


class Forgiving:
    """A text stream that takes what cannot be written any more, and remembers why in `lost`."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.lost: OSError | None = None
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a name that the terminal cannot show ends no run either

    def write(self, text: str) -> int:
        with self._forgiven():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with self._forgiven():
            self._stream.flush()

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    @contextmanager
    def _forgiven(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.lost = self.lost or error
            with suppress(OSError, ValueError, AttributeError):  # a stream without a file needs no other
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, self._stream.fileno())  # what is buffered goes there, also when Python ends
                os.close(nowhere)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def forgiving() -> Iterator[Forgiving | None]:
    """Make standard output and error forgiving for the length of a `with` block; gives the former, if there is one."""
    before = sys.stdout, sys.stderr
    shown = Forgiving(sys.stdout) if sys.stdout is not None else None
    sys.stdout, sys.stderr = shown, Forgiving(sys.stderr) if sys.stderr is not None else None
    try:
        yield shown
    finally:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
        sys.stdout, sys.stderr = before


def why_lost(shown: Forgiving | None) -> str:
    """Why standard output could not be written; empty where it could, or where its reader had read enough."""
    if shown is None:
        return ""
    shown.flush()
    lost = shown.lost
    return "" if lost is None or lost.errno == errno.EPIPE else lost.strerror or str(lost)
