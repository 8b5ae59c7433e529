"""A server of the live page in a process of its own, and a client that follows its events."""

import http.client
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from coordinator.documents.changes import applied

ROOT = Path(__file__).parents[3]


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "coordinator", *arguments]


def address_in(process: Any, before: str = "http://127.0.0.1:") -> int:
    """The port that a process tells, in the first line with an address."""
    for line in process.stdout:
        if before in line:
            return int(line.partition(before)[2].split()[0].strip("/"))
    raise AssertionError("it told no address")


def get(port: int, path: str, host: str = "") -> tuple[int, bytes]:
    """Status and content of an address, which is sent as it is."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        connection.putrequest("GET", path, skip_host=bool(host))
        if host:
            connection.putheader("Host", host)
        connection.endheaders()
        with connection.getresponse() as answer:
            return answer.status, answer.read()


def until(holds: Callable[[], Any], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.02)


def listens(port: int) -> bool:
    with socket.socket() as trial:
        return trial.connect_ex(("127.0.0.1", port)) == 0


class Follower:
    """Follows the events of a run in a thread: its document as a page has it, and when each event came."""

    def __init__(self, port: int, token: str = "main") -> None:
        self.document: dict[str, Any] = {}
        self.events: list[tuple[float, str, dict[str, Any]]] = []
        self.ended = False
        threading.Thread(target=self._follow, args=(port, token), daemon=True).start()

    def _follow(self, port: int, token: str) -> None:
        kind = ""
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            connection.request("GET", f"/events/{token}")
            answer = connection.getresponse()
            for raw in answer:
                line = raw.decode().rstrip("\n")
                if line.startswith("event: "):
                    kind = line.removeprefix("event: ")
                elif line.startswith("data: "):
                    data = json.loads(line.removeprefix("data: "))
                    self.document = data if kind == "document" else applied(self.document, data)
                    self.events.append((time.time(), kind, data))
        except (OSError, http.client.HTTPException):
            pass
        answer.close()
        connection.close()
        self.ended = True


def memory_of(process: int) -> int:
    """Bytes of memory that a process has in use."""
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
