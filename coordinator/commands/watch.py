"""`peer-consensus watch`: the live page of a run or of a folder of runs; and the same beside a run, by `--watch`."""

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread
from types import TracebackType
from typing import Any

from coordinator.commands.outcome import INTERRUPTED, tell
from coordinator.experiment.reading import ConfigError
from coordinator.watching import serving
from coordinator.watching.sources import ABLATION, is_watchable

ENDING = serving.LAST_LOOK + serving.GRACE + 2.0  # seconds that the process beside a run has to end
LOOK = 0.2  # seconds between two looks for a folder that is not there yet


def watch(folder: Path, port: int) -> int:
    """Serve the page of a folder until a signal comes; returns the exit code. Raises: ConfigError."""
    if not is_watchable(folder):
        raise ConfigError(f"watch: '{folder}' has no run: name a run's folder such as runs/NAME-TIME, or that of runs")
    try:
        listening = serving.bound(port)
    except OSError as error:
        raise ConfigError(f"--port: {port} cannot be used ({error.strerror}): choose another, or 0 for any") from None
    return serving.serve(folder.resolve(), listening, lambda address: print(f"{address}  (Ctrl-C ends it)", flush=True))


class Beside:
    """The live page beside a run or an ablation, served by a process of its own; what happens to it never hurts a run.

    Nothing is done unless `wanted`. port: None: the usual one. stays: after the run the page is kept until Ctrl-C.
    say: prints a line. As an observer it starts the process as soon as the run has a folder.

    Raises: ConfigError, for a port without a page.
    """

    def __init__(self, wanted: bool, port: int | None, stays: bool, say: Callable[[str], object]) -> None:
        if port is not None and not wanted:
            raise ConfigError(f"--port: is the live page's, got {port} without --watch: add --watch, or leave it out")
        self._stays, self._say = stays, say
        self._process: subprocess.Popen[bytes] | None = None
        self._left = Event()
        self._listening = None
        try:
            self._listening = serving.bound(serving.PORT if port is None else port) if wanted else None
        except OSError as error:
            chosen = serving.PORT if port is None else port
            tell(f"--port: {chosen} cannot be used ({error.strerror}): there is no live page; choose another by --port")

    @property
    def observers(self) -> list[Any]:
        return [] if self._listening is None else [self]

    def observe(self, event: object) -> None:
        """Start with the event that first names the run's folder."""
        folder = getattr(event, "folder", None)
        if folder is not None and type(event).__name__ in ("RunStarted", "RunReopened"):
            self.start(folder)

    def start_when_there(self, folder: Path) -> None:
        """Start as soon as an ablation's folder is there."""
        if self._listening is not None:
            Thread(target=self._wait_for, args=(folder,), daemon=True).start()

    def start(self, folder: Path) -> None:
        """Start the process, unless that was done."""
        if self._listening is None or self._process is not None:
            return
        port, descriptor = self._listening.getsockname()[1], self._listening.fileno()
        paths = [str(Path(serving.__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
        # no shell; -P: files in the current folder shadow no modules
        command = [sys.executable, "-P", "-m", serving.__name__, str(folder), str(descriptor)]
        try:
            self._process = subprocess.Popen(
                command,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                pass_fds=[descriptor],
                start_new_session=True,
            )
        except OSError as error:
            tell(f"--watch: the live page cannot be started ({error.strerror}); the run goes on")
            return
        self._say(f"live page  http://{serving.HOST}:{port}")

    def __enter__(self) -> "Beside":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._left.set()
        code = getattr(error, "exit_code", None)  # of a run that has not finished: its page is of use, too
        try:
            if self._stays and self._process is not None and (error is None or code not in (None, INTERRUPTED)):
                self._stay(self._process)
        finally:
            if self._listening is not None:
                self._listening.close()
            if self._process is not None:
                _end(self._process)

    def _stay(self, process: "subprocess.Popen[bytes]") -> None:
        from coordinator.run.signals import Interrupts

        if process.poll() is None and self._listening is not None:
            self._say(f"live page  http://{serving.HOST}:{self._listening.getsockname()[1]} stays until Ctrl-C")
            with suppress(KeyboardInterrupt), Interrupts(handled=True):
                process.wait()

    def _wait_for(self, folder: Path) -> None:
        while not self._left.wait(LOOK):
            if (folder / ABLATION).is_file():
                self.start(folder)
                return


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Close the pipe at whose end the process ends; by force, if it does not."""
    assert process.stdin is not None
    with suppress(OSError):
        process.stdin.close()
    try:
        process.wait(ENDING)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
