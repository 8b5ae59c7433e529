"""An early end in Ray's processes, with evaluators that lag, control runs beside, and lost hosts: as in one process."""

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray

from coordinator import Result, RunConfig, StopRun, load_config, resume, simulate
from coordinator.pools.ray_pool import RayPool
from coordinator.records.events import OutputsMeasured, Phase, RoundCompleted, RunEvent
from coordinator.run.signals import Interrupts

NAMES = ("rounds", "ended", "probes", "controls", "consensus", "digest", "flags", "bytes_exchanged")
GAIN = {"measure": "probes.knn.gain", "patience": 2, "min_delta": 1.0}  # no accuracy is better by so much: ends at 9
DISTANCE = {"patience": 1, "min_delta": 1e6}  # ends at 8


def config_of(stop: dict[str, Any] | None, rounds: int = 24, **hosting: Any) -> RunConfig:
    table: dict[str, Any] = {
        "run": {"rounds": rounds, "seed": 1} | ({"stop": stop} if stop else {}),
        "data": {"kind": "synthetic", "num_train": 128, "num_test": 64, "batch_size": 32},
        "peers": {
            "count": 4,
            "model": {"kind": "small-cnn", "channels": [4]},
            "head": {"kind": "linear", "dim": 8},
            "optimizer": {"kind": "adam", "lr": 1e-3},
        },
        "topology": {"kind": "ring"},
        "evaluation": {"probe_batch": 32, "every": 4, "probe_every": 3, "probes": ["knn"], "controls": ["alone"]},
        "hosting": {"pool": "ray", "peers_per_host": 2, "evaluators": 0, "side_runs": 0, **hosting},
        "tracking": {"enabled": False},
        "checkpoint": {"every": 5, "seconds": 0},
    }
    return load_config(table)


def simulated(output: Path, stop: dict[str, Any] | None, *observers: Any, **more: Any) -> Result:
    return simulate(config_of(stop, **more), output, observers)


def here(output: Path, stop: dict[str, Any] | None, *observers: Any, **more: Any) -> Result:
    return simulated(output, stop, *observers, pool="in-process", **more)


def assert_same(result: Result, expected: Result) -> None:
    assert result.status == "finished", result.message
    for name in NAMES:
        assert result.summary[name] == expected.summary[name], name


class Watching:
    """Keeps the outputs of round 8."""

    def __init__(self) -> None:
        self.seen = list[OutputsMeasured]()

    def wants_outputs(self, completed: int) -> bool:
        return completed == 8

    def observe(self, event: RunEvent) -> None:
        self.seen += [event] if isinstance(event, OutputsMeasured) else []


def test_early_end__two_processes_and_one_give_the_same(cluster: Any, tmp_path: Path):
    """Also the outputs that an observer asks for; in-process it is the run of 8 rounds."""
    watching, locally = Watching(), Watching()
    result = simulated(tmp_path / "ray", DISTANCE, watching)
    expected = here(tmp_path / "here", DISTANCE, locally)
    assert_same(result, expected)
    assert result.summary["ended"]["round"] == 8
    assert result.summary["digest"] == here(tmp_path / "planned", None, rounds=8).summary["digest"]
    (there,), (own,) = watching.seen, locally.seen
    for peer in range(4):
        assert np.array_equal(there.outputs[peer], own.outputs[peer]), peer
        assert np.array_equal(there.features[peer], own.features[peer]), peer
    with pytest.raises(ValueError, match="read-only"):
        there.features[0][:] = 0.0


@pytest.mark.slow
@pytest.mark.parametrize("hosting", [{"evaluators": 1}, {"side_runs": 1}], ids=["evaluators", "side runs"])
@pytest.mark.parametrize("stop", [GAIN, DISTANCE], ids=["gain", "distance"])
def test_early_end__with_processes_beside(cluster: Any, tmp_path: Path, stop: dict[str, Any], hosting: dict[str, Any]):
    result = simulated(tmp_path / "ray", stop, peers_per_host=4, **hosting)
    assert_same(result, here(tmp_path / "here", stop))


class Ending:
    """Ends the run after a round, without being waited for; keeps which rounds of the control were told of."""

    def __init__(self, completed: int) -> None:
        self.completed, self.control = completed, list[int]()

    def observe(self, event: RunEvent) -> None:
        if isinstance(event, RoundCompleted):
            if event.phase is Phase.ALONE and not event.replayed:
                self.control.append(event.completed)
            if event.phase is Phase.ROUNDS and event.completed == self.completed:
                raise StopRun("enough")


@pytest.mark.slow
def test_early_end__a_control_run_beside_goes_back_to_the_round_at_which_the_run_ended(cluster: Any, tmp_path: Path):
    """At 7 and two in flight; the control has then two more in flight, and goes back to its checkpoint of 5."""
    ending = Ending(7)
    result = simulated(tmp_path / "ray", None, ending, peers_per_host=4, side_runs=1)
    planned = here(tmp_path / "planned", None, rounds=9)
    for name in set(NAMES) - {"ended"}:
        assert result.summary[name] == planned.summary[name], name
    assert ending.control == list(range(1, 10))


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The process numbers of the hosts as last started."""
    numbers: list[int] = []
    opened = RayPool._open

    def noting(self: RayPool, hosts: Any, evaluators: Any) -> None:
        opened(self, hosts, evaluators)
        numbers[:] = ray.get([process.actor.ready.remote() for process in self.hosts])

    monkeypatch.setattr(RayPool, "_open", noting)
    return numbers


class At:
    """Sends a signal when a round is first reported."""

    def __init__(self, completed: int, sent: signal.Signals, processes: list[int] | None = None) -> None:
        self.completed, self.sent, self.processes = completed, sent, processes

    def observe(self, event: RunEvent) -> None:
        if isinstance(event, RoundCompleted) and event.phase is Phase.ROUNDS and event.completed == self.completed:
            self.completed = -1
            os.kill(self.processes[-1] if self.processes else os.getpid(), self.sent)


@pytest.mark.slow
@pytest.mark.parametrize("completed", [7, 8, 9], ids=["before", "unprobed", "at the end"])
def test_early_end__a_lost_host_costs_no_number(cluster: Any, tmp_path: Path, processes: list[int], completed: int):
    result = simulated(tmp_path / "faulty", GAIN, At(completed, signal.SIGKILL, processes))
    assert len(result.summary["faults"]) == 1
    assert_same(result, here(tmp_path / "here", GAIN))


@pytest.mark.slow
def test_early_end__interrupted_and_resumed(cluster: Any, tmp_path: Path):
    """In the last rounds; the control run beside has rounds in flight, too."""
    config = config_of(GAIN, peers_per_host=4, side_runs=1)
    with Interrupts(handled=True) as interrupts:
        first = simulate(config, tmp_path / "ray", [At(8, signal.SIGTERM)], interrupts=interrupts)
    assert first.status == "interrupted"
    assert_same(resume(first.folder), here(tmp_path / "here", GAIN))
