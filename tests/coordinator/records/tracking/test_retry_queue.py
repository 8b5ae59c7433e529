import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from threading import Event, Timer, main_thread
from types import SimpleNamespace

import pytest

from coordinator.records.tracking.retry_queue import RetryQueue

BOUNDED = 40.0  # seconds: far more than these tests take on a busy machine, and less than where nothing has a limit


def is_away(error: Exception) -> bool:
    return isinstance(error, OSError)


def limits(monkeypatch: pytest.MonkeyPatch, limit: float, patience: float = 0.0) -> None:
    monkeypatch.setattr("coordinator.records.tracking.retry_queue.LIMIT", limit)
    monkeypatch.setattr("coordinator.records.tracking.retry_queue.GRACE", limit / 10)
    monkeypatch.setattr("coordinator.records.tracking.retry_queue.PATIENCE", patience)


def test_retry_queue__waits_for_an_action_that_hangs_only_once(monkeypatch: pytest.MonkeyPatch) -> None:
    limits(monkeypatch, 1.0)
    queue, answer, done = RetryQueue("hangs", is_away), Event(), list[int]()
    queue.send(answer.wait)
    queue.send(lambda: done.append(1))
    start = time.monotonic()
    for _ in range(100):  # as for each run of an ablation
        queue.settle()
    assert 0.9 < time.monotonic() - start < BOUNDED and not queue.idle
    queue.close()
    assert time.monotonic() - start < BOUNDED and list(queue.news) == [("lost", "2")]
    (thread,) = (each for each in threading.enumerate() if each.name == "hangs")
    answer.set()
    thread.join(BOUNDED)
    assert not thread.is_alive() and done == []  # what is told as lost does not arrive later
    queue.send(lambda: done.append(2))
    assert queue.idle


def test_close__waits_as_long_as_things_arrive(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each takes, on a clock of ours, a third of what a single one may take at most."""
    limits(monkeypatch, 1.0)
    now = [0.0]
    monkeypatch.setattr("coordinator.records.tracking.retry_queue.time", SimpleNamespace(monotonic=lambda: now[0]))
    queue, closing, done = RetryQueue("test", is_away), Event(), list[int]()

    def deliver(number: int) -> None:
        assert closing.wait(BOUNDED)
        time.sleep(0.05)  # in which `close` looks at the clock
        now[0] += 0.3
        done.append(number)

    for number in range(8):
        queue.send(lambda number=number: deliver(number))
    Timer(0.1, closing.set).start()
    queue.close()
    assert done == list(range(8)) and not queue.news


def test_close__tries_a_store_that_never_answered_once_more(monkeypatch: pytest.MonkeyPatch) -> None:
    limits(monkeypatch, 600.0, patience=60.0)
    monkeypatch.setattr("coordinator.records.tracking.retry_queue.PAUSE", 60.0)
    queue, tries = RetryQueue("test", is_away), list[float]()

    def away() -> None:
        tries.append(time.monotonic())
        raise ConnectionError("nobody there")

    queue.send(away)
    queue.settle()
    start = time.monotonic()
    queue.close()
    assert len(tries) == 2 and time.monotonic() - start < BOUNDED
    assert list(queue.news) == [("away", "nobody there"), ("lost", "1")]


def test_close__has_patience_with_a_store_that_has_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    limits(monkeypatch, 600.0, patience=1.0)
    monkeypatch.setattr("coordinator.records.tracking.retry_queue.PAUSE", 0.1)
    queue, tries = RetryQueue("test", is_away), list[float]()

    def away() -> None:
        tries.append(time.monotonic())
        raise ConnectionError("nobody there")

    queue.send(lambda: None)
    queue.send(away)
    queue.settle()
    start = time.monotonic()
    queue.close()
    assert 0.9 < time.monotonic() - start < BOUNDED
    assert len(tries) > 2  # more than once more


def test_close__that_is_interrupted_tells_what_is_lost_and_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    limits(monkeypatch, 600.0)
    queue, answer = RetryQueue("test", is_away), Event()
    queue.send(answer.wait)
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        Timer(0.5, signal.pthread_kill, (main_thread().ident, signal.SIGINT)).start()
        queue.close()
    assert time.monotonic() - start < BOUNDED and list(queue.news) == [("lost", "1")]
    answer.set()


def test_retry_queue__a_process_ends_while_an_action_hangs() -> None:
    code = (
        "import coordinator.records.tracking.retry_queue as c, threading\n"
        "c.LIMIT = c.GRACE = 0.2\n"
        "queue = c.RetryQueue('test', lambda error: False)\n"
        "queue.send(threading.Event().wait)\n"
        "queue.close()\n"
        "print('over', flush=True)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=Path(__file__).parents[4]
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "over\n", "")
