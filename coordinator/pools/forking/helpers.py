"""What Ray starts in place of three of its helpers, of which a Ray for one command needs next to nothing.

Run as a script, without the package and its imports: `python -I -S -E helpers.py SOCKET [FLAG ...] SCRIPT [ARGUMENT
...]`. Each says to Ray what it waits for, then sleeps until the process that started it ends: the dashboard, whose
address `announcing.py` enters at SOCKET; the dashboard's agent, whose ports are -1, as where Ray is installed without
it; and the agent of runtime environments, which becomes the real one as soon as somebody calls it. Whatever goes wrong
makes it the real helper: `python [FLAG ...] SCRIPT [ARGUMENT ...]`.
"""

import os
import select
import socket
import sys
from contextlib import suppress
from typing import NoReturn

PATIENCE = 5.0  # seconds that the command may take to enter the dashboard's address
PORTS_OF_AGENT = ("metrics_agent_port", "metrics_export_port", "dashboard_agent_listen_port")
ENVIRONMENTS, PORT = "runtime_env_agent_port", "--runtime-env-agent-port"


def main(place: str, arguments: list[str]) -> None:
    """Stand in for the helper that the arguments name; returns where the real one has to be started with them."""
    script = next(each for each in arguments if each.endswith(".py"))
    options = dict(each.removeprefix("--").split("=", 1) for each in arguments if each.startswith("--") and "=" in each)
    parent = os.pidfd_open(os.getppid())  # readable once it has ended
    if script.endswith("dashboard.py"):
        announce(place, options)
    elif script.endswith("agent.py"):
        for name in PORTS_OF_AGENT:
            persist(options, name, -1)
    else:
        port = called(options, parent)
        arguments[:] = [f"{PORT}={port}" if each.startswith(f"{PORT}=") else each for each in arguments]
        return
    sleep_until_end_of(parent)


def announce(place: str, options: dict[str, str]) -> None:
    """Have the command enter the dashboard's address in Ray. Raises: OSError, if it does not."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(PATIENCE)
        connection.connect(place)
        connection.sendall(f"{options['gcs-address']} {options['cluster-id-hex']}\n".encode())
        if not connection.recv(1):
            raise ConnectionResetError("the address was not entered")


def called(options: dict[str, str], parent: int) -> int:
    """Wait until somebody calls the agent of runtime environments, who will try again; returns its port."""
    asked = options["node-ip-address"], int(options[PORT.removeprefix("--")])
    family, kind, protocol, _, address = socket.getaddrinfo(*asked, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind, protocol) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen()
        port: int = listening.getsockname()[1]
        persist(options, ENVIRONMENTS, port)
        if parent in select.select([listening.fileno(), parent], [], [])[0]:
            sys.exit()
    return port


def persist(options: dict[str, str], name: str, port: int) -> None:
    """Write a port where Ray's raylet waits for it."""
    path = f"{options['session-dir']}/{name}_{options['node-id']}"
    with open(f"{path}.new", "w") as file:
        file.write(str(port))
    os.rename(f"{path}.new", path)


def sleep_until_end_of(process: int) -> NoReturn:
    select.select([process], [], [])
    sys.exit()


if __name__ == "__main__":
    rest = sys.argv[2:]
    with suppress(OSError, KeyError, ValueError, AttributeError):  # AttributeError: a system without pidfds
        main(sys.argv[1], rest)
    os.execv(sys.executable, [sys.executable, *rest])  # nosec B606
