"""Probes in processes of their own: the same numbers, and rounds do not wait for them."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from coordinator import load_config, simulate
from coordinator.experiment.config import ConfigError, HostingConfig, RunConfig
from coordinator.pools.base import Ref
from coordinator.pools.resources import count_evaluators
from coordinator.scheduling.synchronous import Cadence, RoundLoop
from peers.exchange.assignment import Stats
from topologies.schedule import self_taught


def config_of(**hosting: Any) -> RunConfig:
    return load_config(
        {
            "run": {"rounds": 12, "seed": 1},
            "data": {"kind": "synthetic", "num_train": 128, "num_test": 64, "num_classes": 4, "batch_size": 32},
            "peers": {
                "count": 3,
                "model": {"kind": "small-cnn", "channels": [8]},
                "head": {"kind": "linear", "dim": 8},
            },
            "topology": {"kind": "random-pair"},
            "exchange": {"supervised": 0.5},
            "evaluation": {
                "probe_batch": 32,
                "every": 4,
                "probe_every": 3,
                "reset": True,
                "recalibrated": True,
                "controls": ["alone"],
            },
            "hosting": {"pool": "ray", "peers_per_host": 3, **hosting},
            "tracking": {"enabled": False},
        }
    )


@pytest.mark.parametrize("execution", [pytest.param("loop", marks=pytest.mark.slow), "vectorised"])
def test_evaluators__change_no_number(cluster: Any, tmp_path: Path, execution: str):
    """Controls, probes in the middle and at the end, consensus and digest; one evaluator beside one host."""
    results = [simulate(config_of(evaluators=n, execution=execution), tmp_path / str(n)) for n in (0, 1)]
    first, second = (result.summary for result in results)
    for name in ("probes", "consensus", "digest", "flags", "bytes_exchanged", "not_finite"):
        assert first[name] == second[name], name
    conditions = {"untrained", "calibrated", "trained", "reset", "recalibrated", "alone"}
    assert set(first["probes"]["knn"]) >= {"raw_pixels", *conditions}
    assert set(first["probes"]["top1"]) >= conditions and set(first["probes"]["top1"]["ensemble"]) == conditions
    tables = [pq.read_table(result.folder / "metrics" / "peers.parquet") for result in results]
    keys = [("round", "ascending"), ("peer", "ascending")]
    left, right = (table.select(sorted(table.column_names)).sort_by(keys) for table in tables)
    assert left.equals(right) and {3, 6, 9, 12} <= set(left["round"].to_pylist())
    assert second["evaluation_share"] > 0


class TwoCPUs:
    """A Ray with two CPUs, so many of them free, on one node or on two."""

    def __init__(self, free: float, on: int = 1) -> None:
        self.free, self.on = free, on

    def available_resources(self) -> dict[str, float]:
        return {"CPU": self.free}

    def nodes(self) -> list[dict[str, Any]]:
        return [{"Resources": {"CPU": 2.0 / self.on}}] * self.on


def test_evaluators__auto_takes_idle_cpus_only():
    def count(reservations: list[dict[str, float]], free: float = 2.0, **hosting: Any) -> int:
        return count_evaluators(TwoCPUs(free), config_of(**hosting).hosting, reservations)

    assert count([{"CPU": 1.0, "GPU": 0.0}]) == 1  # of two CPUs
    assert count([{"CPU": 0.5, "GPU": 0.0}]) == 1  # one a host at most
    assert count([{"CPU": 1.0, "GPU": 0.0}] * 2) == 0
    assert count([{"CPU": 1.0, "GPU": 1.0}]) == 0
    assert count([{"CPU": 1.0, "GPU": 0.0}], evaluators=0) == 0
    assert count([{"CPU": 1.0, "GPU": 0.0}], free=0.0) == 0
    halves = [{"CPU": 0.5, "GPU": 0.0}] * 2
    assert count_evaluators(TwoCPUs(2.0), config_of().hosting, halves) == 1
    assert count_evaluators(TwoCPUs(2.0, on=2), config_of().hosting, halves) == 0  # the halves may lie on both nodes
    assert count([{"CPU": 1.0, "GPU": 0.0}], free=0.0, evaluators=1) == 1  # of an earlier run, about to be given back
    with pytest.raises(ConfigError, match=r"hosting.evaluators: 2 ask for a CPU each, but the hosts leave 1: lower it"):
        count([{"CPU": 1.0, "GPU": 0.0}], evaluators=2)
    with pytest.raises(
        ConfigError, match=r"hosting.evaluators is 1 but hosting.pool is 'in-process': set hosting.pool"
    ):
        config_of(pool="in-process", evaluators=1)


class Logged:
    """The host of two peers, and the evaluator, that only note how they are called."""

    peers = [0, 1]  # noqa: RUF012

    def __init__(self, log: list[str]) -> None:
        self.log = log

    def publish(self, assignments: Any) -> Any:
        self.log.append("publish")
        return Ref(()), Ref({peer: Stats(sent_bytes=4) for peer in assignments})

    def advance(self, round_index: int, following: Any, *arrived: Any) -> Any:
        self.log.append("advance")
        return Ref(()), Ref({peer: Stats(sent_bytes=4) for peer in following})

    def states(self, peers: Any) -> Any:
        self.log.append("states")
        return Ref({0: {}, 1: {}})

    def probe(self, peer: int, *_: Any) -> Any:
        self.log.append(f"probe {peer}")
        return Ref("outcome")


class Slow:
    """A pool of one host whose evaluator answers only after the last round was submitted."""

    nodes, hosting, workers = [[0]], HostingConfig(), {}

    def __init__(self) -> None:
        self.log: list[str] = []
        self.hosts = self.evaluators = [Logged(self.log)]

    def done(self, references: Any) -> bool:
        return False

    def get(self, references: Any) -> list[Any]:
        values = [reference.value for reference in references]
        assert "outcome" not in values, "the loop waits for an evaluator"
        return values

    def restart(self, settings: Any) -> None: ...

    def revive(self) -> None: ...

    def advise(self, text: str) -> None: ...

    def concluding(self) -> None: ...

    def close(self) -> None: ...


def test_round_loop__does_not_wait_for_evaluators():
    pool = Slow()
    records = list(RoundLoop(pool, self_taught(2), Cadence(6, 2, probe_every=2)))
    assert [record.completed for record in records] == [1, 2, 3, 4, 5, 6]
    assert [record.completed for record in records if record.probes] == [2, 4]
    two, probed = ["advance"] * 2, ["states", "probe 0", "probe 1"]
    assert pool.log == ["publish", *two, *probed, *two, *probed, *two]
