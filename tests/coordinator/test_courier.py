import signal
import subprocess
import sys
import time
from pathlib import Path
from threading import Event, Timer, main_thread

import pytest

from coordinator.courier import Courier


def is_away(error: Exception) -> bool:
    return isinstance(error, OSError)


def limits(monkeypatch: pytest.MonkeyPatch, limit: float, patience: float = 0.0) -> None:
    monkeypatch.setattr("coordinator.courier.LIMIT", limit)
    monkeypatch.setattr("coordinator.courier.GRACE", limit / 10)
    monkeypatch.setattr("coordinator.courier.PATIENCE", patience)


def test_courier__waits_for_an_action_that_hangs_only_once(monkeypatch: pytest.MonkeyPatch) -> None:
    limits(monkeypatch, 1.0)
    courier, answer, done = Courier("test", is_away), Event(), list[int]()
    courier.send(answer.wait)
    courier.send(lambda: done.append(1))
    start = time.monotonic()
    for _ in range(50):  # as for each run of an ablation
        courier.settle()
    assert 0.9 < time.monotonic() - start < 3 and not courier.idle
    courier.close()
    assert time.monotonic() - start < 4 and list(courier.news) == [("lost", "2")]
    answer.set()
    time.sleep(0.1)
    assert done == []  # what is told as lost does not arrive later
    courier.send(lambda: done.append(2))
    assert courier.idle


def test_close__waits_as_long_as_things_arrive(monkeypatch: pytest.MonkeyPatch) -> None:
    limits(monkeypatch, 1.0)
    courier, done = Courier("test", is_away), list[int]()
    for number in range(8):
        courier.send(lambda number=number: (time.sleep(0.3), done.append(number)))
    courier.close()
    assert done == list(range(8)) and not courier.news


def test_close__tries_a_store_that_never_answered_once_more(monkeypatch: pytest.MonkeyPatch) -> None:
    limits(monkeypatch, 5.0, patience=60.0)
    monkeypatch.setattr("coordinator.courier.PAUSE", 60.0)
    courier, tries = Courier("test", is_away), list[float]()

    def away() -> None:
        tries.append(time.monotonic())
        raise ConnectionError("nobody there")

    courier.send(away)
    courier.settle()
    start = time.monotonic()
    courier.close()
    assert len(tries) == 2 and time.monotonic() - start < 3
    assert list(courier.news) == [("away", "nobody there"), ("lost", "1")]


def test_close__has_patience_with_a_store_that_has_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    limits(monkeypatch, 5.0, patience=1.0)
    monkeypatch.setattr("coordinator.courier.PAUSE", 0.1)
    courier, tries = Courier("test", is_away), list[float]()

    def away() -> None:
        tries.append(time.monotonic())
        raise ConnectionError("nobody there")

    courier.send(lambda: None)
    courier.send(away)
    courier.settle()
    start = time.monotonic()
    courier.close()
    assert 0.9 < time.monotonic() - start < 3 and len(tries) >= 4


def test_close__that_is_interrupted_tells_what_is_lost_and_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    courier, answer = Courier("test", is_away), Event()
    courier.send(answer.wait)
    Timer(0.5, signal.pthread_kill, (main_thread().ident, signal.SIGINT)).start()
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        courier.close()
    assert time.monotonic() - start < 5 and list(courier.news) == [("lost", "1")]
    answer.set()


def test_courier__a_process_ends_while_an_action_hangs() -> None:
    code = (
        "import coordinator.courier as c, threading\n"
        "c.LIMIT = c.GRACE = 0.2\n"
        "courier = c.Courier('test', lambda error: False)\n"
        "courier.send(threading.Event().wait)\n"
        "courier.close()\n"
        "print('over', flush=True)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=Path(__file__).parents[2]
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "over\n", "")
