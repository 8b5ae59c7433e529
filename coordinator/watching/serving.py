"""Serves the pages on this machine's loopback until a signal comes, and then ends at once."""

import asyncio
import fcntl
import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path

from coordinator.watching.sources import Sources

HOST = "127.0.0.1"
PORT = 8800
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
GRACE = 1  # seconds that connections have after a signal
LAST_LOOK = 5.0  # seconds at most for a last look at the folder, when the run that the server is beside has ended
CODE = 130  # as of other commands that a signal ends


def bound(port: int) -> socket.socket:
    """A socket on this port of the loopback, on any free one for 0. Raises: OSError.

    Its descriptor is none of the standard streams', even where these are closed: they are others' in a child.
    """
    with socket.socket() as first:
        found = socket.socket(fileno=fcntl.fcntl(first, fcntl.F_DUPFD_CLOEXEC, 3))
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port that was just left
        found.bind((HOST, port))
        found.listen(128)
    except OSError:
        found.close()
        raise
    return found


def serve(folder: Path, listening: socket.socket, tell: Callable[[str], object], until_closed: int = -1) -> int:
    """Serve until a signal comes; returns the exit code. `tell` gets the address.

    until_closed: a descriptor whose closing ends the server, too, such as a pipe from the process that started it.
    """
    return asyncio.run(_serve(folder, listening, tell, until_closed))


async def _serve(folder: Path, listening: socket.socket, tell: Callable[[str], object], until_closed: int) -> int:
    from coordinator.watching.server import server_of  # imported here: commands without a page do without uvicorn

    port, sources = listening.getsockname()[1], Sources(folder)
    hosts = {f"{name}:{port}" for name in (HOST, "localhost", "[::1]")}
    server, loop = server_of(sources, hosts, GRACE), asyncio.get_running_loop()

    def end() -> None:
        sources.close()
        server.should_exit = True

    leaving: list[asyncio.Task[None]] = []

    async def leave() -> None:
        await sources.last_look(LAST_LOOK)  # so that pages show how the run has ended
        end()

    def read() -> None:
        if not os.read(until_closed, 1024):
            loop.remove_reader(until_closed)
            leaving.append(loop.create_task(leave()))

    heeded = [number for number in SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
    for number in heeded:
        loop.add_signal_handler(number, end)
    if until_closed >= 0:
        loop.add_reader(until_closed, read)
    tell(f"http://{HOST}:{port}")
    await server.serve(sockets=[listening])
    for number in heeded:
        loop.remove_signal_handler(number)
    return CODE


def main() -> None:
    """The process beside a run: FOLDER and the number of a listening socket that it inherits. It ends with its parent.

    It has low priority: a run's peers go first.
    """
    folder, descriptor = Path(sys.argv[1]), int(sys.argv[2])
    os.nice(10)
    code = serve(folder, socket.socket(fileno=descriptor), lambda address: None, until_closed=sys.stdin.fileno())
    sys.stdout.flush()
    os._exit(code)  # a thread that still reads is not waited for


if __name__ == "__main__":
    main()
