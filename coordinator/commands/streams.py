"""Standard output and error that may become unwritable (closed terminal or pipe, full disk) without ending a run."""

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any


class Forgiving:
    """A text stream that discards text after a write error, and keeps the first error in `lost`."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.lost: OSError | None = None
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # an unprintable name must not end a run

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
            with suppress(OSError, ValueError, AttributeError):  # streams without a descriptor need nothing
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, self._stream.fileno())  # buffered text goes there, also when Python exits
                os.close(nowhere)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def forgiving() -> Iterator[Forgiving | None]:
    """Wrap standard output and error in `Forgiving` within a `with` block; yields the standard output, if any."""
    originals = sys.stdout, sys.stderr
    stdout = Forgiving(sys.stdout) if sys.stdout is not None else None
    sys.stdout, sys.stderr = stdout, Forgiving(sys.stderr) if sys.stderr is not None else None
    try:
        yield stdout
    finally:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
        sys.stdout, sys.stderr = originals


def why_lost(shown: Forgiving | None) -> str:
    """Why standard output could not be written; empty if it could, or if its reader just closed the pipe."""
    if shown is None:
        return ""
    shown.flush()
    lost = shown.lost
    return "" if lost is None or lost.errno == errno.EPIPE else lost.strerror or str(lost)
