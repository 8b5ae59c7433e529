import json
import os
import pty
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from coordinator.documents.document import RunDocument
from coordinator.records.files.progress import PROGRESS
from tests.coordinator.documents.run_folders import Staged, finished_run
from tests.coordinator.watching.streams import Follower, address_in, command, get, listens, memory_of, until

Started = Callable[..., AbstractContextManager[Any]]
ENDING = 2.0  # seconds


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finished_run(tmp_path_factory.mktemp("runs"), rounds=8)


@pytest.fixture
def watched(started: Started) -> Callable[[Path], AbstractContextManager[tuple[Any, int]]]:
    """`peer-consensus watch` on a free port."""

    @contextmanager
    def watch(folder: Path) -> Iterator[tuple[Any, int]]:
        with started(command("watch", str(folder), "--port", "0")) as server:
            yield server, address_in(server)

    return watch


Watched = Callable[[Path], AbstractContextManager[tuple[Any, int]]]


def test_serving__fifty_pages_see_every_state_and_a_slow_one_costs_nothing(
    run: Path, tmp_path: Path, watched: Watched
) -> None:
    staged = Staged(run, tmp_path / "going")
    staged.live(0)
    with watched(staged.path) as (server, port):
        first = Follower(port)
        until(lambda: first.document)
        before = memory_of(server.pid)
        others = [Follower(port) for _ in range(49)]
        with socket.create_connection(("127.0.0.1", port)) as slow:
            slow.sendall(f"GET /events/main HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())  # and never reads
            for completed in range(1, 9):
                staged.live(completed, anew=completed % 3 == 0)
                until(lambda seen=completed: first.document["completed"] == seen)
            staged.checkpoint()
            staged.end()
            until(lambda: all(follower.document.get("status") == "finished" for follower in [first, *others]))
            expected = json.loads(json.dumps(RunDocument(staged.path).read()))
            assert all(follower.document == expected for follower in [first, *others])
            assert [kind for _, kind, _ in first.events].count("document") == 1
            assert memory_of(server.pid) - before < 50 * 2**20
        began = time.monotonic()
        server.send_signal(signal.SIGTERM)
        assert server.wait(30) == 130 and time.monotonic() - began < ENDING
        until(lambda: all(follower.ended for follower in [first, *others]), 5)
        assert not listens(port)


def test_bound__takes_no_place_of_a_closed_standard_stream() -> None:
    program = "import os; os.close(0); os.close(1); from coordinator.watching.serving import bound; "
    assert subprocess.run([sys.executable, "-c", f"{program} os._exit(bound(0).fileno() < 3)"]).returncode == 0


def test_serving__ctrl_c_ends_it_at_once(run: Path, watched: Watched) -> None:
    with watched(run) as (server, port):
        follower = Follower(port)
        until(lambda: follower.document)
        began = time.monotonic()
        server.send_signal(signal.SIGINT)
        assert server.wait(30) == 130 and time.monotonic() - began < ENDING
        assert not listens(port)
        assert "Traceback" not in server.stdout.read()


def test_serving__raw_requests(run: Path, watched: Watched, tmp_path: Path) -> None:
    """As they are on the wire: clients of Python tidy addresses up."""
    (tmp_path / "runs").mkdir()
    (tmp_path / "secret.txt").write_text("secret")
    shutil.copytree(run, tmp_path / "runs" / "shown")
    with watched(tmp_path / "runs") as (_, port):
        for path in (
            "/../secret.txt",
            "/static/../../secret.txt",
            "/data/../../secret.txt",
            "/run/%2e%2e/%2e%2e/secret.txt",
        ):
            status, content = get(port, path)
            assert status == 404 and b"secret" not in content
        assert get(port, "/", "evil.example")[0] == 421
        with socket.create_connection(("127.0.0.1", port)) as raw:
            raw.sendall(b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n")
            raw.settimeout(10)
            assert raw.recv(100).startswith(b"HTTP/1.1 4")
        (entry,) = json.loads(get(port, "/data/main")[1])["runs"]
        assert json.loads(get(port, f"/data/{entry['id']}")[1])["status"] == "finished"


def test_run_watch__shows_the_rounds_as_they_come_and_the_end(started: Started, tiny: Path) -> None:
    """A run that is watched from its start: its server ends with it, as nobody is at a terminal.

    The run waits in its first round until the page shows it, however busy the machine is.
    """
    Path("waits.py").write_text(
        "import pathlib, time\n"
        "def target(outputs):\n"
        f"    while [*pathlib.Path('out').glob('*/{PROGRESS}')] and not pathlib.Path('seen').exists():\n"
        "        time.sleep(0.02)\n"
        "    return outputs\n"
    )
    settings = ["run.rounds=60", "evaluation.every=5", "data.num_train=4000", "evaluation.controls=[]"]
    waiting = ["exchange.target={kind='import', target='waits:target'}"]
    with started(command("run", str(tiny), *settings, *waiting, "--output", "out", "--watch", "--port", "0")) as it:
        port = address_in(it, "live page  http://127.0.0.1:")
        follower = Follower(port)
        until(lambda: follower.document.get("status") == "running", 300)
        assert follower.document["completed"] < 60
        Path("seen").touch()
        output = it.stdout.read()
        assert it.wait(300) == 0, output
    until(lambda: follower.ended)
    (folder,) = Path("out").iterdir()
    assert follower.document["status"] == "finished" and follower.document["completed"] == 60
    assert follower.document["frames"] == list(range(0, 61, 5))
    assert follower.document == json.loads(json.dumps(RunDocument(folder).read()))
    assert not listens(port)
    assert json.loads((folder / PROGRESS).read_text())["status"] == "finished"


@pytest.mark.slow
def test_run_watch__a_killed_run_takes_its_server_along(started: Started, tiny: Path) -> None:
    with started(command("run", str(tiny), "run.rounds=100000", "--output", "out", "--watch", "--port", "0")) as it:
        port = address_in(it, "live page  http://127.0.0.1:")
        follower = Follower(port)
        until(lambda: follower.document)
        it.send_signal(signal.SIGKILL)
        until(lambda: not listens(port), 10)
        until(lambda: follower.ended, 5)


@pytest.mark.slow
def test_run_watch__on_a_terminal_the_page_stays_until_ctrl_c(started: Started, tiny: Path) -> None:
    """And Ctrl-C then ends the page alone: the run has finished, and so says the exit code."""
    terminal, its = pty.openpty()
    run_it = command("run", str(tiny), "--watch", "--port", "0")
    with os.fdopen(terminal, "rb", buffering=0) as told, started(run_it, stdout=its, stderr=its, stdin=its) as it:
        os.close(its)
        shown = b""
        while b"stays until Ctrl-C" not in shown:
            shown += told.read(1)
        port = int(shown.split(b"http://127.0.0.1:")[1].split()[0])
        follower = Follower(port)
        until(lambda: follower.document.get("status") == "finished")
        it.send_signal(signal.SIGINT)
        assert it.wait(30) == 0
        until(lambda: not listens(port), 5)
