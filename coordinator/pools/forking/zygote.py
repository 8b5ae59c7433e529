"""The process that Ray's workers are forked from: it has imported torch and the peers' code, so that they need not.

Run as a script by `fork_server.py`: `python zygote.py LISTENING ROOT MODULE ...`, with the number of a listening
socket, the folder of the packages, and what to import. It ends when its standard input does. The protocol is that of
`launcher.py`. A fork has no thread, lock or open file of its parent: only pages of memory that both read.
"""

import gc
import importlib
import json
import os
import random
import runpy
import select
import signal
import socket
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fcntl import F_GETFL, F_SETFL, F_SETOWN, F_SETSIG, fcntl
from itertools import dropwhile
from pathlib import Path
from typing import Any

CREDENTIALS = struct.Struct("3i")  # of SO_PEERCRED: process, user, group
LENGTH, NUMBER = struct.Struct("!I"), struct.Struct("!i")  # as in launcher.py
PATIENCE = 10.0  # seconds that a launcher may take to send a request that it has begun
FORKED = "PEER_CONSENSUS_FORKED"  # set in the environment of forks; peers.hosting.origin reads it
FDS = 4  # standard input, output, error; and a pipe that closes when the launcher ends


@dataclass
class Request:
    """What a launcher asks for. fds: see FDS."""

    arguments: list[str]
    environment: dict[str, str]
    folder: str
    niceness: int
    fds: list[int]


def serve(listening: socket.socket) -> Request | None:
    """Fork for each request; returns the request in the fork, and None in the zygote once its standard input ends."""
    running: dict[int, socket.socket] = {}  # by process id, where its exit status is sent
    with _ended_children() as ended:
        while True:
            readable, _, _ = select.select([listening, sys.stdin, ended], [], [])
            if sys.stdin in readable:
                return None
            if ended in readable:
                ended.recv(4096)
                _report_ended(running)
            if listening in readable:
                connection, _ = listening.accept()
                request = _read(connection)
                if request is None:
                    connection.close()
                    continue
                # a lock that another thread holds would stay held in a fork: the launcher starts an ordinary worker
                pid = os.fork() if num_threads() == 1 else None
                if pid == 0:
                    break
                if pid is None:
                    connection.close()
                else:
                    running[pid] = connection
                for fd in request.fds:
                    os.close(fd)
    connection.sendall(NUMBER.pack(os.getpid()))
    connection.detach()  # stays open: if the zygote is killed, the launcher sees the fork's end by it
    for other in [listening, *running.values()]:
        other.close()
    return request


def num_threads() -> int:
    """Threads of this process, also those that Python does not know of."""
    return len(os.listdir("/proc/self/task"))


@contextmanager
def _ended_children() -> Iterator[socket.socket]:
    """A socket that becomes readable when a child has ended."""
    reader, writer = socket.socketpair()
    with reader, writer:
        writer.setblocking(False)
        before = signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        try:
            yield reader
        finally:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, before)


def _report_ended(running: dict[int, socket.socket]) -> None:
    """Send the exit status of each child that has ended to its launcher."""
    while running:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        with suppress(OSError), running.pop(pid) as connection:  # the launcher may be gone
            connection.sendall(NUMBER.pack(os.waitstatus_to_exitcode(status)))


def _read(connection: socket.socket) -> Request | None:
    """What a launcher asks for; None if it is of another user, or incomplete."""
    _, user, _ = CREDENTIALS.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size))
    if user != os.getuid():
        return None
    fds: list[int] = []
    try:
        connection.settimeout(PATIENCE)
        header, fds, _, _ = socket.recv_fds(connection, LENGTH.size, FDS)
        text, size = b"", LENGTH.unpack(header)[0]
        while len(text) < size:
            part = connection.recv(size - len(text))
            if not part:
                raise ConnectionResetError
            text += part
        connection.settimeout(None)
        asked: dict[str, Any] = json.loads(text)
        request = Request(**asked, fds=fds)
        if len(fds) == FDS:
            return request
    except (OSError, struct.error, ValueError, TypeError):
        pass
    for fd in fds:
        os.close(fd)
    return None


def become(request: Request) -> None:
    """Run the worker that was asked for in this process, as if it had been started: signals, streams, environment."""
    *streams, life_line = request.fds
    _end_with(life_line)
    os.setpgid(0, 0)  # as Ray's ordinary workers, which its raylet ends by process group
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        with suppress(OSError, ValueError):  # of the C library itself
            signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)  # as Python starts
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for target, fd in enumerate(streams):
        os.dup2(fd, target)
        os.close(fd)
    os.environ.clear()
    os.environ.update(request.environment, **{FORKED: "1"})
    os.chdir(request.folder)
    own = os.getpriority(os.PRIO_PROCESS, 0)
    os.setpriority(os.PRIO_PROCESS, 0, max(own, request.niceness))
    reseed()
    sys.argv = list(dropwhile(lambda each: each.startswith("-"), request.arguments))  # without Ray's flags for Python
    script = sys.argv[0]
    found = request.environment.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:0] = [str(Path(script).parent), *(each for each in found if each and each not in sys.path)]
    runpy.run_path(script, run_name="__main__")


def _end_with(life_line: int) -> None:
    """Have the kernel kill this process when the other end of a pipe closes, whatever it is doing then."""
    fcntl(life_line, F_SETOWN, os.getpid())
    fcntl(life_line, F_SETSIG, signal.SIGKILL)
    fcntl(life_line, F_SETFL, fcntl(life_line, F_GETFL) | os.O_ASYNC)
    if select.select([life_line], [], [], 0)[0]:  # it has closed before
        os.kill(os.getpid(), signal.SIGKILL)


def reseed() -> None:
    """New random states, which all forks would share otherwise."""
    random.seed()
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()
    if "torch" in sys.modules:
        sys.modules["torch"].default_generator.seed()  # torch.seed() would seed CUDA as well


def _import(root: str, modules: list[str]) -> None:
    """Import from the folder of the packages first; its place in sys.path is not inherited.

    What cannot be imported, workers that need it will report.
    """
    sys.path[0] = root  # in place of this script's own folder
    for module in modules:
        with suppress(ImportError):
            importlib.import_module(module)
    del sys.path[0]
    gc.collect()
    gc.freeze()  # collections in forks do not touch, and so copy, what is here


def main() -> None:
    """Import, then serve; in a fork, run the worker."""
    fd, root, *modules = sys.argv[1:]
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the command's to handle
    _import(root, modules)
    with socket.socket(fileno=int(fd)) as listening:
        request = serve(listening)
    if request is not None:
        become(request)


if __name__ == "__main__":
    main()
