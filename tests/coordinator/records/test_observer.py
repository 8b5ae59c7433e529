"""A monitor that raises, wherever and whatever: the run ends in order and keeps its numbers, then it is raised."""

import json
from pathlib import Path
from typing import Any

import pytest

from coordinator import ConfigError, load_config, resume, simulate
from coordinator.pools.base import HostLost
from coordinator.records.terminal import Silent


class Odd(BaseException):
    """Not even an Exception."""


class Raising(Silent):
    """Raises at a call of a method, when its argument says so, and is told nothing after that."""

    def __init__(self, method: str, when: Any, error: BaseException) -> None:
        self.method, self.when, self.error, self.after = method, when, error, 0

    def _seen(self, method: str, what: Any) -> None:
        self.after += self.when is None
        if self.method == method and self.when is not None and self.when == what:
            self.when = None
            raise self.error

    def phase(self, text: str) -> None:
        self._seen("phase", text)

    def begin(self, num_rounds: int, title: str) -> None:
        self._seen("begin", title)

    def round(self, row: dict[str, Any]) -> None:
        self._seen("round", row["round"])

    def end(self) -> None:
        self._seen("end", "")


ERRORS = [ValueError("mine"), ConfigError("mine"), HostLost("mine"), OSError(28, "mine"), SystemExit(3), Odd("mine")]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_simulate__whatever_the_monitor_raises(small: dict[str, Any], tmp_path: Path, error: BaseException):
    monitor = Raising("round", 4, error)
    with pytest.raises(type(error)) as raised:
        simulate(load_config(small), tmp_path, monitor)
    assert raised.value is error and monitor.after == 0
    (folder,) = tmp_path.iterdir()
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["status"] == "stopped" and 4 <= summary["rounds"] < 8
    assert (
        summary["message"].startswith(f"the monitor raised {type(error).__name__}") and "resume" in summary["message"]
    )
    assert (folder / "metrics" / "rounds.parquet").is_file() and (folder / "report.html").is_file()
    straight = simulate(load_config(small), tmp_path / "straight")
    assert resume(folder).summary["digest"] == straight.summary["digest"]


@pytest.mark.parametrize(
    ("method", "when", "rounds"),
    [
        ("phase", "probing the controls: raw pixels, untrained, calibrated", 0),
        ("begin", "rounds", 0),
        ("end", "", 8),
        ("phase", "probing the trained peers", 8),
        ("begin", "alone", 8),
    ],
)
def test_simulate__wherever_it_raises(small: dict[str, Any], tmp_path: Path, method: str, when: str, rounds: int):
    with pytest.raises(ValueError, match="mine"):
        simulate(load_config(small), tmp_path, Raising(method, when, ValueError("mine")))
    (folder,) = tmp_path.iterdir()
    summary = json.loads((folder / "summary.json").read_text())
    assert (summary["status"], summary["rounds"]) == ("stopped", rounds)
    assert "alone" not in summary["probes"].get("knn", {})
    assert resume(folder).status == "finished"


def test_simulate__raises_before_anything_is_written(small: dict[str, Any], tmp_path: Path):
    with pytest.raises(ValueError, match="mine"):
        simulate(load_config(small), tmp_path, Raising("phase", "loading synthetic", ValueError("mine")))
    assert not list(tmp_path.iterdir())


def test_simulate__raises_when_all_is_done_but_the_figures(small: dict[str, Any], tmp_path: Path):
    with pytest.raises(ValueError, match="mine"):
        simulate(load_config(small), tmp_path, Raising("phase", "drawing figures", ValueError("mine")))
    (folder,) = tmp_path.iterdir()
    assert json.loads((folder / "summary.json").read_text())["status"] == "finished"
    assert (folder / "report.html").is_file()
