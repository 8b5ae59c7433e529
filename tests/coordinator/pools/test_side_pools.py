"""Control runs beside the run, on hosts of their own: the same numbers as one after the other."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from coordinator import load_config, resume, simulate
from coordinator.experiment.config import ConfigError, HostingConfig, RunConfig
from coordinator.pools.ray_pool import RayPool
from coordinator.pools.side_pools import count_side_runs
from coordinator.records.events import RoundCompleted, RunEvent
from coordinator.run.signals import Interrupts
from coordinator.scheduling.scheduler import Phase

NAMES = ("probes", "controls", "consensus", "digest", "flags", "bytes_exchanged")


def config_of(side_runs: int | str, **sections: Any) -> RunConfig:
    return load_config(
        {
            "run": {"rounds": 12, "seed": 1},
            "data": {"kind": "synthetic", "num_train": 128, "num_test": 64, "batch_size": 32},
            "peers": {"count": 3, "model": {"kind": "mlp", "hidden": [8]}, "head": {"kind": "linear", "dim": 8}},
            "topology": {"kind": "ring"},
            "evaluation": {
                "probe_batch": 32,
                "every": 4,
                "probes": ["knn"],
                "controls": ["alone-matched", "alone", "stranger", "shuffled"],
            },
            "hosting": {"pool": "ray", "peers_per_host": 3, "evaluators": 0, "side_runs": side_runs},
            "tracking": {"enabled": False},
            "checkpoint": {"every": 4, "seconds": 0},
            **sections,
        }
    )


class Keeping:
    """Which rounds were told of, in order; interrupts after some round of a phase."""

    def __init__(self, last: tuple[Phase, int] | None = None) -> None:
        self.rounds = list[tuple[Phase, int]]()
        self._last = last

    def observe(self, event: RunEvent) -> None:
        if isinstance(event, RoundCompleted):
            self.rounds.append((event.phase, event.completed))
            if self.rounds[-1] == self._last:
                os.kill(os.getpid(), signal.SIGTERM)


def test_side_runs__change_no_number(cluster: Any, tmp_path: Path):
    """Beside the run goes the first control that may: the norms of the run are known only at its end."""
    after, keeping = simulate(config_of(0), tmp_path / "0").summary, Keeping()
    beside = simulate(config_of(1), tmp_path / "1", [keeping]).summary
    for name in NAMES:
        assert beside[name] == after[name], name
    assert keeping.rounds[:4] == [(Phase.ROUNDS, 1), (Phase.ALONE, 1), (Phase.ROUNDS, 2), (Phase.ALONE, 2)]
    assert keeping.rounds.index((Phase.ALONE_MATCHED, 1)) > keeping.rounds.index((Phase.ROUNDS, 12))
    assert simulate(config_of("auto"), tmp_path / "auto").summary["probes"] == after["probes"]


@pytest.mark.parametrize("last", [(Phase.ALONE, 6), (Phase.ROUNDS, 7), (Phase.STRANGER, 5)])
def test_side_runs__interrupted_and_resumed(cluster: Any, tmp_path: Path, last: tuple[Phase, int]):
    straight = simulate(config_of(0), tmp_path / "straight").summary
    first = simulate(config_of(1), tmp_path / "a", [Keeping(last)], interrupts=Interrupts(handled=True))
    assert first.status == "interrupted"
    again = Keeping()
    resumed = resume(first.folder, observers=[again])
    for name in NAMES:
        assert resumed.summary[name] == straight[name], name
    assert (last[0], 1) not in again.rounds  # it goes on from where it was


@pytest.mark.parametrize("phase", [Phase.ROUNDS, Phase.ALONE])
def test_side_runs__a_lost_host_of_either_costs_no_number(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, phase: Phase
):
    pools, made = list[RayPool](), RayPool.__init__

    def keep(self: RayPool, *arguments: Any, **named: Any) -> None:
        made(self, *arguments, **named)
        pools.append(self)

    class Killing:
        def observe(self, event: RunEvent) -> None:
            if isinstance(event, RoundCompleted) and (event.phase, event.completed) == (phase, 6) and pools:
                victim = pools[0 if phase is Phase.ROUNDS else 1]
                victim._ray.kill(victim.hosts[0].actor)
                pools.clear()

    straight = simulate(config_of(0), tmp_path / "straight").summary
    monkeypatch.setattr(RayPool, "__init__", keep)
    summary = simulate(config_of(1), tmp_path / "a", [Killing()]).summary
    assert len(summary["faults"]) == 1 and summary["status"] == "finished"
    for name in NAMES:
        assert summary[name] == straight[name], name


class CPUs:
    """A Ray of one node with so many CPUs, and so many of them free."""

    def __init__(self, cpus: float, free: float) -> None:
        self.cpus, self.free = cpus, free

    def available_resources(self) -> dict[str, float]:
        return {"CPU": float(self.free)}

    def nodes(self) -> list[dict[str, Any]]:
        return [{"Alive": True, "Resources": {"CPU": float(self.cpus)}}]


@pytest.mark.parametrize(
    ("cpus", "free", "evaluators", "expected"),
    [(16, 8, 4, 2), (16, 12, 0, 3), (16, 5, 0, 1), (4, 0, 0, 0), (7, 3, 0, 0), (32, 28, 0, 4)],
    ids=["beside evaluators", "as many as fit", "others are there", "none", "one too few", "as many as wanted"],
)
def test_count_side_runs__what_the_run_leaves_idle(cpus: float, free: float, evaluators: int, expected: int):
    reservations = [{"CPU": 1.0, "GPU": 0.0}] * 4
    assert count_side_runs(CPUs(cpus, free), HostingConfig(), reservations, evaluators, 4) == expected


def test_count_side_runs__more_than_fit_are_refused():
    with pytest.raises(ConfigError) as refused:
        count_side_runs(CPUs(8, 8), HostingConfig(side_runs=2), [{"CPU": 1.0, "GPU": 0.0}] * 4, 0, 4)
    assert str(refused.value) == (
        "hosting.side_runs: 2 control runs ask for 4 x (1 CPU) each, and beside the run there is room for 1: lower it"
    )
    with pytest.raises(ConfigError, match=r"^hosting.side_runs is 1 but hosting.pool is 'in-process': set "):
        load_config({**config_of(0).model_dump(), "hosting": {"pool": "in-process", "side_runs": 1}})


def test_simulate__too_many_side_runs_leave_nothing_behind(cluster: Any, tmp_path: Path):
    with pytest.raises(ConfigError, match=r"^hosting.side_runs: 4 control runs ask for 1 x \(1 CPU\) each, and beside"):
        simulate(config_of(4), tmp_path)
    assert not list(tmp_path.iterdir())
    assert simulate(config_of(4, evaluation={"controls": ["alone"]}), tmp_path).status == "finished"  # one is enough
