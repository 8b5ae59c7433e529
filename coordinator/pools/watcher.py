"""Watches over a command and its Ray from outside; tells how to go on, and ends what is left, when either is killed.

Started as a file, without the package and its imports: `python -I -S watcher.py FOLDER`, FOLDER being the one that all
of this Ray's files are in, or "" for somebody else's Ray. Lines on stdin: `ready`, once Ray is up; `advice TEXT`, what
to say then; `leaving`, when it needs Ray no more; `done`, once that has ended. What comes on stdout asks the command to
end at once.
"""

import glob
import math
import os
import select
import shutil
import signal
import sys
import time
from collections.abc import Iterable
from contextlib import suppress

MARK = "PEER_CONSENSUS_RAY"  # in the environment of all that Ray starts
DAEMONS = ("gcs_server", "raylet")  # Ray does not go on without either: its own end of it takes up to a minute
POLL, GRACE = 1.0, 5.0  # seconds between looks at the command; that it has to end in order
SHOW_CURSOR = "\x1b[?25h"  # a progress bar hides it


def watch(folder: str) -> None:
    """Until the command says that it is done, or is no more; then there is nothing left of its Ray."""
    parent, advice, died, done, watched = os.getppid(), "", "", False, dict[int, str]()
    lines, until = _Lines(), math.inf
    while not done and not lines.ended and os.getppid() == parent:
        for line in lines.read(POLL, watched):
            word, _, text = line.partition(" ")
            if word == "ready":
                watched = _daemons(folder)
            elif word == "advice":
                advice = text
            elif word == "leaving":
                watched, until = {}, math.inf
            done = done or word == "done"
        ended = [watched[each] for each in select.select(list(watched), [], [], 0)[0]]
        if ended and _alive(parent):  # else they have ended because the command has
            died, watched, until = " and ".join(ended), {}, time.monotonic() + GRACE
            with suppress(OSError):
                os.write(1, b"x")
        if time.monotonic() > until:
            with suppress(ProcessLookupError):
                os.kill(parent, signal.SIGKILL)
    if died and not done:
        _tell(f"Ray's {died} was killed or crashed, and the run ends with it (its logs: {logs_in(folder)})", advice)
    elif not done:
        _tell("the command was killed or crashed", advice)
    end_all(folder)
    if folder:
        _clear(folder, keep_logs=bool(died) and not done)


class _Lines:
    """What comes on stdin, by lines."""

    def __init__(self) -> None:
        self.ended = False
        self._rest = b""

    def read(self, seconds: float, others: Iterable[int] = ()) -> list[str]:
        """Those that have come within `seconds`, or before one of the other files has something."""
        if 0 not in select.select([0, *others], [], [], seconds)[0]:
            return []
        received = os.read(0, 65536)
        self.ended = not received
        *whole, self._rest = (self._rest + received).split(b"\n")
        return [os.fsdecode(line) for line in whole]


def _tell(what: str, advice: str) -> None:
    with suppress(OSError):  # the terminal may be gone
        cursor = SHOW_CURSOR if os.isatty(2) else ""
        os.write(2, os.fsencode(f"{cursor}error: {what}{'; ' if advice else ''}{advice}\n"))


def logs_in(folder: str) -> str:
    """Where Ray's logs are. It keeps its files a level deeper, since it opens its own folder to everybody."""
    return f"{folder}/r/session_latest/logs"


def end_all(folder: str) -> None:
    """Kill the processes of the Ray whose files are in a folder; one may start another meanwhile."""
    until = time.monotonic() + GRACE
    while (found := _processes(folder)) and time.monotonic() < until:
        for pid in found:
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.1)


def _processes(folder: str) -> list[int]:
    """Those that were started with this Ray: the folder is in their environment, whoever is their parent by now."""
    return [pid for pid in _numbers() if folder and f"{MARK}={folder}".encode() in _read(pid, "environ").split(b"\0")]


def _numbers() -> list[int]:
    try:
        return [int(name) for name in os.listdir("/proc") if name.isdecimal()]
    except FileNotFoundError:  # a system without it
        return []


def _name(pid: int) -> str:
    return os.path.basename(os.fsdecode(_read(pid, "cmdline").partition(b"\0")[0]))


def _daemons(folder: str) -> dict[int, str]:
    """Files that have something once a daemon has ended, and its name; none on systems without such."""
    names = {pid: _name(pid) for pid in _processes(folder)}
    try:
        return {os.pidfd_open(pid): name for pid, name in names.items() if name in DAEMONS}
    except (AttributeError, OSError):
        return {}


def _alive(pid: int) -> bool:
    """Whether it is there, and not only waits for its last threads to end."""
    return _read(pid, "stat").rpartition(b") ")[2][:1] not in (b"", b"Z", b"X")


def _read(pid: int, name: str) -> bytes:
    try:
        with open(f"/proc/{pid}/{name}", "rb") as file:
            return file.read()
    except OSError:  # ended meanwhile, or somebody else's
        return b""


def _clear(folder: str, keep_logs: bool) -> None:
    """Remove the folder, in which Ray may have spilled much; its logs stay where they tell why it ended."""
    if not keep_logs:
        shutil.rmtree(folder, ignore_errors=True)
        return
    for path in glob.glob(f"{glob.escape(folder)}/*/session_*/*"):
        if os.path.basename(path) != "logs":
            shutil.rmtree(path, ignore_errors=True)


if __name__ == "__main__":
    watch(sys.argv[1])
