"""Watches a command and its Ray from a separate process; if either is killed, prints advice and cleans up.

Run as a script, without the package and its imports: `python -I -S watcher.py FOLDER`. FOLDER holds all files of a Ray
that the command started; "" if it joined another Ray. Protocol on stdin, line by line: `ready`: Ray is up;
`advice TEXT`: what to print if the command or Ray is killed; `leaving`: the command no longer needs Ray; `done`: Ray
has ended. A byte on stdout asks the command to exit at once.
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

MARK = "PEER_CONSENSUS_RAY"  # environment variable of every process that Ray starts
DAEMONS = ("gcs_server", "raylet")  # if either dies, Ray ends, but takes up to a minute for it
POLL, GRACE = 1.0, 5.0  # seconds: between checks of the command; for an orderly exit
SHOW_CURSOR = "\x1b[?25h"  # progress bars hide the cursor


def watch(folder: str) -> None:
    """Watch until the command is done or dead; then kill what remains of its Ray, and remove its files."""
    parent, advice, died, done, watched = os.getppid(), "", "", False, dict[int, str]()
    lines, deadline = _Lines(), math.inf
    while not done and not lines.ended and os.getppid() == parent:
        for line in lines.read(POLL, watched):
            word, _, text = line.partition(" ")
            if word == "ready":
                watched = _daemons(folder)
            elif word == "advice":
                advice = text
            elif word == "leaving":
                watched, deadline = {}, math.inf
            done = done or word == "done"
        ended = [watched[handle] for handle in select.select(list(watched), [], [], 0)[0]]
        if ended and _alive(parent):  # otherwise the daemons ended because the command did
            died, watched, deadline = " and ".join(ended), {}, time.monotonic() + GRACE
            with suppress(OSError):
                os.write(1, b"x")
        if time.monotonic() > deadline:
            with suppress(ProcessLookupError):
                os.kill(parent, signal.SIGKILL)
    if died and not done:
        _report(f"Ray's {died} was killed or crashed, and the run ends with it (its logs: {logs_in(folder)})", advice)
    elif not done:
        _report("the command was killed or crashed", advice)
    end_all(folder)
    if folder:
        _clear(folder, keep_logs=bool(died) and not done)


class _Lines:
    """Reads stdin line by line, with a timeout."""

    def __init__(self) -> None:
        self.ended = False
        self._rest = b""

    def read(self, seconds: float, others: Iterable[int] = ()) -> list[str]:
        """Wait up to `seconds`, or until one of the other files is readable; returns the complete lines received."""
        if 0 not in select.select([0, *others], [], [], seconds)[0]:
            return []
        received = os.read(0, 65536)
        self.ended = not received
        *whole, self._rest = (self._rest + received).split(b"\n")
        return [os.fsdecode(line) for line in whole]


def _report(error: str, advice: str) -> None:
    with suppress(OSError):  # the terminal may be gone
        cursor = SHOW_CURSOR if os.isatty(2) else ""
        os.write(2, os.fsencode(f"{cursor}error: {error}{'; ' if advice else ''}{advice}\n"))


def logs_in(folder: str) -> str:
    """The folder of Ray's logs. Ray's own folder lies one level deeper, since Ray makes it world-readable."""
    return f"{folder}/r/session_latest/logs"


def end_all(folder: str) -> None:
    """Kill all processes of the Ray whose files are in `folder`, and those that they start meanwhile."""
    deadline = time.monotonic() + GRACE
    while (found := _processes(folder)) and time.monotonic() < deadline:
        for pid in found:
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.1)


def _processes(folder: str) -> list[int]:
    """The processes of this Ray, recognised by their environment, whatever their parent is by now."""
    return [pid for pid in _all_pids() if folder and f"{MARK}={folder}".encode() in _read(pid, "environ").split(b"\0")]


def _all_pids() -> list[int]:
    try:
        return [int(name) for name in os.listdir("/proc") if name.isdecimal()]
    except FileNotFoundError:  # a system without /proc
        return []


def _name(pid: int) -> str:
    return os.path.basename(os.fsdecode(_read(pid, "cmdline").partition(b"\0")[0]))


def _daemons(folder: str) -> dict[int, str]:
    """For each of Ray's daemons, a pidfd (readable once it has ended) and its name; empty where there are no pidfds."""
    names = {pid: _name(pid) for pid in _processes(folder)}
    try:
        return {os.pidfd_open(pid): name for pid, name in names.items() if name in DAEMONS}
    except (AttributeError, OSError):
        return {}


def _alive(pid: int) -> bool:
    """Whether a process exists and is neither a zombie nor dead."""
    return _read(pid, "stat").rpartition(b") ")[2][:1] not in (b"", b"Z", b"X")


def _read(pid: int, name: str) -> bytes:
    try:
        with open(f"/proc/{pid}/{name}", "rb") as file:
            return file.read()
    except OSError:  # the process has ended, or belongs to another user
        return b""


def _clear(folder: str, keep_logs: bool) -> None:
    """Remove the folder, which may hold many spilled objects; `keep_logs` spares the logs, which say why Ray died."""
    if not keep_logs:
        shutil.rmtree(folder, ignore_errors=True)
        return
    for path in glob.glob(f"{glob.escape(folder)}/*/session_*/*"):
        if os.path.basename(path) != "logs":
            shutil.rmtree(path, ignore_errors=True)


if __name__ == "__main__":
    watch(sys.argv[1])
