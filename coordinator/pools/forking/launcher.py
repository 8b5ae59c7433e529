"""What Ray starts in place of Python: asks the zygote for a fork that runs the worker, and stands in for it.

Run as a script, without the package and its imports: `python -I -S -E launcher.py SOCKET SCRIPT [ARGUMENT ...]`. It
forwards signals to the fork and ends as the fork ends; if it is killed, so is the fork. Where no zygote answers, it
becomes the ordinary worker: `python SCRIPT [ARGUMENT ...]`.
"""

import json
import os
import signal
import socket
import struct
import sys

PATIENCE = 60.0  # seconds that the zygote may take for its imports
FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
LENGTH = struct.Struct("!I")  # before a request
NUMBER = struct.Struct("!i")  # a process id, an exit status


def main(path: str, arguments: list[str]) -> int:
    """Have the zygote at a socket run a worker; returns its exit status, negative for a signal."""
    life_line, held = os.pipe()  # a pipe that closes when this process ends, however it ends
    try:
        connection, pid = request(path, arguments, life_line)
    except OSError:
        os.close(held)  # a fork that comes too late ends at once
        os.execv(sys.executable, [sys.executable, *arguments])  # nosec B606
    os.close(life_line)
    for number in FORWARDED:
        signal.signal(number, lambda received, _: os.kill(pid, received))
    try:
        status: int = NUMBER.unpack(receive(connection, NUMBER.size))[0]
        return status
    except OSError:  # the zygote was killed, and the fork, which has outlived it, has ended now
        return 1


def request(path: str, arguments: list[str], life_line: int) -> tuple[socket.socket, int]:
    """Ask for a fork with this process's environment, folder and standard streams; returns the answer's way, its pid.

    Raises: OSError, if there is no zygote or it does not fork.
    """
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(PATIENCE)
    connection.connect(path)
    niceness = os.getpriority(os.PRIO_PROCESS, 0)
    asked = {"arguments": arguments, "environment": dict(os.environ), "folder": os.getcwd(), "niceness": niceness}
    text = json.dumps(asked).encode()
    socket.send_fds(connection, [LENGTH.pack(len(text))], [0, 1, 2, life_line])
    connection.sendall(text)
    pid = NUMBER.unpack(receive(connection, NUMBER.size))[0]
    connection.settimeout(None)
    return connection, pid


def receive(connection: socket.socket, size: int) -> bytes:
    """So many bytes. Raises: OSError, if the connection ends before."""
    received = b""
    while len(received) < size:
        part = connection.recv(size - len(received))
        if not part:
            raise ConnectionResetError("the connection has ended")
        received += part
    return received


def end_as(status: int) -> None:
    """End with an exit status; if it is negative, by that signal."""
    if status < 0:
        signal.signal(-status, signal.SIG_DFL) if -status not in (signal.SIGKILL, signal.SIGSTOP) else None
        os.kill(os.getpid(), -status)
    sys.exit(status)


if __name__ == "__main__":
    end_as(main(sys.argv[1], sys.argv[2:]))
