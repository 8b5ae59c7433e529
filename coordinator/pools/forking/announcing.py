"""Enters the address of a dashboard that there is none of in a Ray that is being started, which waits for it."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Thread

PATIENCE = 5.0  # seconds that the caller may take for its line
ADDRESS, NAMESPACE = b"dashboard", b"dashboard"
NOWHERE = b"127.0.0.1:-1"


@contextmanager
def announcing(path: str) -> Iterator[None]:
    """Answer at a socket, in the `with` block, a line `GCS_ADDRESS CLUSTER_ID` by a byte once Ray has the address."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen()
        thread = Thread(target=_answer, args=(listening,), name="announcing", daemon=True)
        thread.start()
        try:
            yield
        finally:
            with suppress(OSError):
                listening.shutdown(socket.SHUT_RDWR)  # ends `accept`
            thread.join(PATIENCE)
            os.unlink(path)


def _answer(listening: socket.socket) -> None:
    while True:
        try:
            connection, _ = listening.accept()
        except OSError:  # shut down
            return
        with connection, suppress(Exception):  # the caller then starts the real dashboard
            connection.settimeout(PATIENCE)
            with connection.makefile() as lines:
                _enter(*lines.readline().split())
            connection.sendall(b"x")


def _enter(address: str, cluster: str) -> None:
    from ray._raylet import GcsClient  # type: ignore[attr-defined]

    GcsClient(address=address, cluster_id=cluster).internal_kv_put(ADDRESS, NOWHERE, True, NAMESPACE)
