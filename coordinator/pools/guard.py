"""The main process's handle on the watcher process, which cleans up if the command or its Ray dies; see watcher.py."""

import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from threading import Lock, Thread

from coordinator.experiment.redaction import visible
from coordinator.pools.forking.fork_server import ForkServer

STOPPED = 2  # exit code
PAUSE = 1.5  # seconds: a signal to the process group ends Ray at once, but the run first ends in order
PATIENCE = 15.0  # seconds that the watcher has for cleaning up
WATCHER = Path(__file__).with_name("watcher.py")


class Guard:
    """Starts the watcher and reports to it. folder: the files of the Ray that we start; "" if we join another Ray.

    forks: what the workers of that Ray are forked from, if they are.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.forks: ForkServer | None = None
        self._advice: dict[object, str] = {}
        self._lock = Lock()
        self._ray_is_optional = False
        command = [sys.executable, "-I", "-S", str(WATCHER), folder]  # its own session: Ctrl-C does not reach it
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0, start_new_session=True
        )
        self._listening = Thread(target=self._exit_on_request, name="guard", daemon=True)
        self._listening.start()

    def ready(self) -> None:
        """Report that Ray is up."""
        self._write("ready")

    def advise(self, who: object, text: str) -> None:
        """Set the advice printed if the command is killed, such as how to resume; one text for each `who`."""
        with self._lock:
            self._advice.pop(who, None)
            if text:
                self._advice[who] = visible(" ".join(text.splitlines()))
            self._write(f"advice {'; '.join(self._advice.values())}")

    def concluding(self, who: object) -> None:
        """Report that a run makes no more calls; once all runs have done so, Ray may end."""
        self.advise(who, "")
        if not self._advice:
            self.leaving()

    def leaving(self) -> None:
        """Report that Ray is no longer needed: if it dies now, the command goes on."""
        self._ray_is_optional = True
        self._write("leaving")

    def done(self) -> None:
        """Report that Ray has ended, and wait until the watcher has removed its remaining processes and files."""
        self._write("done")
        try:
            self._process.wait(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
        with self._process:  # closes the pipes
            self._listening.join()

    def _write(self, line: str) -> None:
        assert self._process.stdin is not None
        with suppress(OSError):  # the watcher was killed; the run works without it
            self._process.stdin.write(os.fsencode(f"{line}\n"))

    def _exit_on_request(self) -> None:
        """Exit when the watcher requests it: Ray itself needs up to a minute to exit, and may block the main thread."""
        assert self._process.stdout is not None
        if self._process.stdout.read(1):
            time.sleep(PAUSE)
            if not self._ray_is_optional:
                os._exit(STOPPED)
