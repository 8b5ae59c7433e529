"""The command's side of the process that watches over it and its Ray; see watcher.py."""

import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from threading import Lock, Thread

STOPPED = 2  # exit code
PAUSE = 1.5  # seconds: a signal to the whole process group ends Ray's processes at once, and the run in order
PATIENCE = 15.0  # seconds that the watcher may take to clean up
WATCHER = Path(__file__).with_name("watcher.py")


class Guard:
    """Starts the watcher and keeps it informed; `folder`: of the files of our own Ray, "" for somebody else's Ray."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self._advice: dict[object, str] = {}
        self._lock = Lock()
        self._left = False
        command = [sys.executable, "-I", "-S", str(WATCHER), folder]  # in a session of its own: Ctrl-C is not for it
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0, start_new_session=True
        )
        self._listening = Thread(target=self._exit_when_asked, name="guard", daemon=True)
        self._listening.start()

    def ready(self) -> None:
        """Ray is up."""
        self._write("ready")

    def advise(self, who: object, text: str) -> None:
        """Set what the user is told if the command ends abruptly, such as how to resume; one text for each `who`."""
        with self._lock:
            self._advice.pop(who, None)
            if text:
                self._advice[who] = " ".join(text.splitlines())
            self._write(f"advice {'; '.join(self._advice.values())}")

    def concluding(self, who: object) -> None:
        """A run makes no more calls; once all runs have said so, Ray may end."""
        self.advise(who, "")
        if not self._advice:
            self.leaving()

    def leaving(self) -> None:
        """Ray is not needed any more: its end does not end the command."""
        self._left = True
        self._write("leaving")

    def done(self) -> None:
        """Ray has ended: have the watcher remove what is left of it."""
        self._write("done")
        try:
            self._process.wait(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
        with self._process:  # closes the pipes
            self._listening.join()

    def _write(self, line: str) -> None:
        assert self._process.stdin is not None
        with suppress(OSError):  # somebody has ended it: the run does not need it
            self._process.stdin.write(os.fsencode(f"{line}\n"))

    def _exit_when_asked(self) -> None:
        """Exit when the watcher asks: Ray itself would take up to a minute, and may block the main thread meanwhile."""
        assert self._process.stdout is not None
        if self._process.stdout.read(1):
            time.sleep(PAUSE)
            if not self._left:
                os._exit(STOPPED)
