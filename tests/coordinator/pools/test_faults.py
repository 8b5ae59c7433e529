"""Real faults: processes and nodes that are killed or hang. The result is that of the run without them, bit for bit."""

import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
import torch

from coordinator import ConfigError, Result, load_config, resume, simulate
from coordinator.pools.base import HostLost
from coordinator.pools.in_process import InProcessPool
from coordinator.pools.ray_pool import RayPool
from coordinator.records.events import Note, PeersRestored, Phase, RoundCompleted, RunEvent
from coordinator.run.stages import Simulation
from coordinator.scheduling.synchronous import RoundLoop
from peers.hosting.host import PeerHost
from peers.learning.peer import Peer

METRICS = ("rounds", "bytes_exchanged", "probes", "flags", "consensus", "relative_weight_change", "digest")
ROUNDS = 60


def table(**sections: Any) -> dict[str, Any]:
    """Four networks with BatchNorm in two processes, sixty rounds, checkpoints every ten."""
    base: dict[str, Any] = {
        "run": {"rounds": ROUNDS, "seed": 5},
        "data": {"kind": "synthetic", "num_train": 96, "num_test": 48, "batch_size": 16},
        "peers": {
            "count": 4,
            "model": {"kind": "small-cnn", "channels": [4]},
            "head": {"kind": "linear", "dim": 6},
            "optimizer": {"kind": "adam", "lr": 1e-3},
        },
        "topology": {"kind": "ring"},
        "evaluation": {"every": 20, "probe_every": 20, "probe_batch": 24, "probes": ["knn"], "reset": True},
        "hosting": {"pool": "ray", "peers_per_host": 2},
        "tracking": {"enabled": False},
        "checkpoint": {"every": 10, "seconds": 0},
    }
    return {name: {**base.get(name, {}), **sections.get(name, {})} for name in {**base, **sections}}


def straight(tmp_path: Path, **sections: Any) -> Result:
    """The run without faults, which the pools' equality lets us have in this process."""
    hosting = {"pool": "in-process", "peers_per_host": 1}
    return simulate(load_config(table(**{**sections, "hosting": hosting})), tmp_path / "straight")


def assert_same(result: Result, expected: Result) -> None:
    assert result.status == "finished", result.message
    for name in METRICS:
        assert result.summary[name] == expected.summary[name], name


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The process numbers of the hosts, and behind them the evaluators', as last started."""
    numbers: list[int] = []
    opened = RayPool._open

    def noting(self: RayPool, hosts: Any, evaluators: Any) -> None:
        opened(self, hosts, evaluators)
        numbers[:] = ray.get([process.actor.ready.remote() for process in [*self.hosts, *self.evaluators]])

    monkeypatch.setattr(RayPool, "_open", noting)
    return numbers


class At:
    """Does something once, when a round is first reported; keeps what it is told."""

    def __init__(self, completed: int, act: Callable[[], None]) -> None:
        self.completed, self.act, self.told = completed, act, list[RunEvent]()

    def observe(self, event: RunEvent) -> None:
        self.told.append(event)
        if isinstance(event, RoundCompleted) and event.completed == self.completed:
            self.completed = -1
            self.act()


def send(number: int, sent: signal.Signals, after: float = 0.0) -> None:
    """A signal, at once or while the caller goes on."""

    def act() -> None:
        time.sleep(after)
        os.kill(number, sent)

    threading.Thread(target=act).start() if after else os.kill(number, sent)


@pytest.mark.parametrize(
    "after", [pytest.param(0.0, id="between calls", marks=pytest.mark.slow), pytest.param(0.005, id="in a call")]
)
def test_faults__a_killed_host_costs_no_number(
    cluster: Any, tmp_path: Path, processes: list[int], after: float, runs: Path
):
    observer = At(25, lambda: send(processes[1], signal.SIGKILL, after))
    result = simulate(load_config(table()), tmp_path / "faulty", [observer])
    assert_same(result, straight(tmp_path))
    (fault,) = result.summary["faults"]
    assert (
        fault["what"].startswith("the host of peers 2 to 3 was lost (killed or crashed") and "\n" not in fault["what"]
    )
    assert (
        "memory" not in fault["what"]
        and fault["what"].endswith("; started anew, 1 of at most 5 times")
        and fault["seconds"] > 0
    )
    assert PeersRestored(Phase.ROUNDS, 20) in observer.told


def test_faults__killed_while_a_checkpoint_is_written(
    cluster: Any, tmp_path: Path, processes: list[int], monkeypatch: pytest.MonkeyPatch
):
    submit, killed = RoundLoop._submit_save, list[int]()

    def killing(self: RoundLoop, completed: int) -> Any:
        references = submit(self, completed)
        if completed == 30 and not killed:
            killed.append(processes[0])
            os.kill(processes[0], signal.SIGKILL)
        return references

    monkeypatch.setattr(RoundLoop, "_submit_save", killing)
    result = simulate(load_config(table()), tmp_path / "faulty")
    assert killed and len(result.summary["faults"]) == 1
    assert_same(result, straight(tmp_path))
    names = sorted(path.name for path in (result.folder / "checkpoints").iterdir())
    assert names == ["round-000050", "round-000060"]


NETWORKS: dict[str, dict[str, Any]] = {
    "neighbours": {"churn": {"kind": "exponential", "up": 9.0, "down": 2.0, "on_return": "neighbour"}},
    "deadline": {"deadline": 0.4, "late": "use", "loss": {"kind": "bernoulli", "probability": 0.1}},
    "free-running": {"churn": {"kind": "exponential", "up": 9.0, "down": 2.0, "on_return": "fresh"}},
    "gossip": {"loss": {"kind": "bernoulli", "probability": 0.1}, "wake_every": 2.0},
}


@pytest.mark.slow
@pytest.mark.parametrize("clock", NETWORKS)
def test_faults__a_killed_host_in_a_simulated_network_costs_no_number(
    cluster: Any, tmp_path: Path, processes: list[int], clock: str
):
    """The faults of the run are those of its processes; what the network loses is in its tables, and stays so."""
    compute, latency = {"kind": "lognormal", "sigma": 0.5}, {"kind": "lognormal", "seconds": 0.5, "sigma": 0.8}
    network = {"clock": clock, "compute": compute, "latency": latency, **NETWORKS[clock]}
    observer = At(25, lambda: send(processes[1], signal.SIGKILL))
    result = simulate(load_config(table(network=network)), tmp_path / "faulty", [observer])
    assert_same(result, straight(tmp_path, network=network))
    (fault,) = result.summary["faults"]
    assert fault["what"].startswith("the host of peers 2 to 3 was lost (killed or crashed")
    assert PeersRestored(Phase.ROUNDS, 20) in observer.told


@pytest.mark.slow
def test_faults__a_host_that_hangs_is_named_and_started_anew(cluster: Any, tmp_path: Path, processes: list[int]):
    """SIGSTOP: the process is there and never answers."""
    observer = At(25, lambda: send(processes[1], signal.SIGSTOP))
    result = simulate(load_config(table(hosting={"timeout": 4.0})), tmp_path / "faulty", [observer])
    assert_same(result, straight(tmp_path))
    (fault,) = result.summary["faults"]
    assert fault["what"].startswith(
        "the host of peers 2 to 3 has been at 'advance' for more than hosting.timeout = 4 s"
    )


@pytest.mark.slow
def test_faults__a_killed_evaluator_costs_no_number(cluster: Any, tmp_path: Path, processes: list[int]):
    hosting = {"peers_per_host": 4, "evaluators": 1}
    observer = At(41, lambda: send(processes[1], signal.SIGKILL))  # while it probes round 40
    result = simulate(load_config(table(hosting=hosting)), tmp_path / "faulty", [observer])
    assert_same(result, straight(tmp_path))
    assert len(result.summary["faults"]) == 1


@pytest.mark.slow
def test_faults__without_checkpoints_the_run_starts_again(cluster: Any, tmp_path: Path, processes: list[int]):
    light = {"evaluation": {"every": 20, "reset": False, "controls": ["alone"]}, "checkpoint": {"every": 0}}
    observer = At(12, lambda: send(processes[0], signal.SIGKILL))
    result = simulate(load_config(table(**light)), tmp_path / "faulty", [observer])
    assert_same(result, straight(tmp_path, **light))
    assert len(result.summary["faults"]) == 1 and not (result.folder / "checkpoints").exists()


@pytest.mark.slow
def test_faults__too_many_end_the_run_which_can_be_resumed(cluster: Any, tmp_path: Path, processes: list[int]):
    observer = At(25, lambda: send(processes[1], signal.SIGKILL))
    result = simulate(load_config(table(hosting={"max_failures": 0})), tmp_path / "faulty", [observer])
    assert result.status == "stopped" and "\n" not in result.message
    assert "hosting.max_failures is 0; in the rounds, with round 25 of 60 completed" in result.message
    assert "the last good checkpoint is of round 20; go on with: peer-consensus resume " in result.message
    hosting = ["hosting.pool=in-process", "hosting.peers_per_host=1"]
    assert_same(resume(result.folder, overrides=hosting), straight(tmp_path))


def test_faults__a_loss_on_the_way_to_a_stop_does_not_undo_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A loss that is not finite ends the run; what is lost before that is told makes it find the same again."""
    loss, read = Peer._loss, Simulation._read_late

    def poisoned(self: Peer, tasks: Any) -> Any:
        value = loss(self, tasks)
        return value * float("nan") if (self.index, tasks[0].pending.round_index) == (2, 13) else value

    def losing(self: Simulation, late: Any, most: int) -> None:
        read(self, late, most)
        if self.state.dropped and not self.state.faults:
            raise HostLost("a host of peers was lost (stand-in)")

    monkeypatch.setattr(Peer, "_loss", poisoned)
    monkeypatch.setattr(Simulation, "_read_late", losing)
    monkeypatch.setattr(InProcessPool, "revive", lambda self: None)
    result = simulate(load_config(table(hosting={"pool": "in-process", "peers_per_host": 1})), tmp_path)
    assert len(result.summary["faults"]) == 1 and result.status == "stopped"
    assert result.message.startswith("round 14, peer 2: the loss is nan; the last good checkpoint is of round 10")
    assert result.summary["rounds"] == 14


def test_faults__a_gpu_out_of_memory_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    advance = PeerHost.advance

    def full(self: PeerHost, round_index: int, *rest: Any) -> Any:
        if round_index == 12:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nGPU 0 has a total of ...")
        return advance(self, round_index, *rest)

    monkeypatch.setattr(PeerHost, "advance", full)
    result = simulate(load_config(table(hosting={"pool": "in-process", "peers_per_host": 1})), tmp_path)
    assert result.status == "stopped" and "\n" not in result.message
    assert result.message.startswith("hosting.device: the GPU's memory does not hold 4 peers, estimated at ")
    assert "(CUDA out of memory. Tried to allocate 2.00 GiB): lower data.batch_size or hosting" in result.message
    assert "with round 10 of 60 completed; the last good checkpoint is of round 10" in result.message


# ---- chaos ----


class Chaos:
    """Draws faults from a seed: what, which process, and after how many reported rounds."""

    def __init__(self, seed: int, count: int, processes: list[int], output: Path) -> None:
        self.draw = random.Random(seed)
        self.left, self.processes, self.output = count, processes, output
        self.done: dict[str, int] = {}
        self._wait = self.draw.randint(1, 30)

    def observe(self, event: RunEvent) -> None:
        self._wait -= isinstance(event, RoundCompleted)
        if self.left and self._wait <= 0:
            self.left -= 1
            self._wait = self.draw.randint(1, 30)
            kind = self.draw.choice(["killed between calls", "killed in a call", "hung", "killed, checkpoint damaged"])
            self.done[kind] = self.done.get(kind, 0) + 1
            victim = self.draw.choice(self.processes)
            if kind == "killed, checkpoint damaged":
                self._damage()
            after = self.draw.uniform(0.001, 0.05) if kind == "killed in a call" else 0.0
            send(victim, signal.SIGSTOP if kind == "hung" else signal.SIGKILL, after)

    def _damage(self) -> None:
        """Cut the newest checkpoint's file of some peer, or take it away."""
        files = sorted(self.output.glob("*/checkpoints/round-*/peer-*"))[-4:]
        if files:
            path = self.draw.choice(files)
            path.write_bytes(path.read_bytes()[:100]) if self.draw.random() < 0.5 else path.unlink()


def chaos(tmp_path: Path, processes: list[int], seed: int, count: int, rounds: int) -> tuple[Result, Chaos]:
    """A run with so many faults, and one without: equal. Phases beside the rounds are hit, too."""
    sections = {"run": {"rounds": rounds, "seed": seed}, "evaluation": {"controls": ["alone"]}}
    observer = Chaos(seed, count, processes, tmp_path / "faulty")
    hosting = {"timeout": 5.0, "max_failures": 3 * count, "peers_per_host": 2}
    result = simulate(load_config(table(**sections, hosting=hosting)), tmp_path / "faulty", [observer])
    assert_same(result, straight(tmp_path, **sections))
    assert observer.left == 0
    return result, observer


@pytest.mark.slow
def test_chaos__three_faults(cluster: Any, tmp_path: Path, processes: list[int], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("coordinator.run.lost_hosts.FIRST_PAUSE", 0.05)
    result, _ = chaos(tmp_path, processes, seed=1, count=3, rounds=50)
    assert result.summary["faults"]


@pytest.mark.slow
def test_chaos__fifty_faults(cluster: Any, tmp_path: Path, processes: list[int], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("coordinator.run.lost_hosts.LONGEST_PAUSE", 0.5)
    result, observer = chaos(tmp_path, processes, seed=2, count=50, rounds=700)
    seconds = [fault["seconds"] for fault in result.summary["faults"]]
    print(observer.done, f"faults told {len(seconds)}, seconds lost {sum(seconds):.0f}")
    assert sum(observer.done.values()) == 50


class Nodes:
    """A head and others of a CPU each on this machine, whose end Ray notices in seconds."""

    def __init__(self, others: int) -> None:
        from ray.cluster_utils import Cluster

        ray.shutdown()  # the file's own cluster: what needs nodes comes last
        quick = {"health_check_period_ms": 500, "health_check_failure_threshold": 2, "health_check_timeout_ms": 1000}
        self.cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "_system_config": quick})
        self.others = [self.cluster.add_node(num_cpus=1) for _ in range(others)]
        ray.init(address=self.cluster.address, log_to_driver=False, logging_level="ERROR")

    def lose(self, count: int) -> None:
        for _ in range(count):
            self.cluster.remove_node(self.others.pop(), allow_graceful=False)

    def close(self) -> None:
        ray.shutdown()
        self.cluster.shutdown()


@pytest.fixture
def nodes() -> Iterator[Callable[[int], Nodes]]:
    made: list[Nodes] = []

    def make(others: int) -> Nodes:
        made.append(Nodes(others))
        return made[-1]

    yield make
    for each in made:
        each.close()


def on_nodes(tmp_path: Path, evaluation: dict[str, Any] | None = None, **hosting: Any) -> Any:
    placed = {"peers_per_host": 1, "evaluators": 0, **hosting}
    shared = {"every": 10, "path": str(tmp_path / "shared")}
    return load_config(table(hosting=placed, checkpoint=shared, evaluation=evaluation or {}))


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 2], ids=["one", "two at once"])
def test_faults__nodes_that_are_lost_are_one_loss(nodes: Callable[[int], Nodes], tmp_path: Path, count: int):
    """They go with their hosts and objects, and do not come back; nobody is told to free memory."""
    cluster = nodes(3)
    observer = At(25, lambda: cluster.lose(count))
    result = simulate(on_nodes(tmp_path), tmp_path / "faulty", [observer])
    assert_same(result, straight(tmp_path))
    (fault,) = result.summary["faults"]
    assert fault["what"].count(" is gone)") == count and "memory" not in fault["what"]
    assert fault["what"].startswith("the host of peer ") and fault["what"].endswith(
        "; started anew, 1 of at most 5 times"
    )


@pytest.mark.slow
def test_faults__evaluators_give_way_to_hosts_that_were_lost(nodes: Callable[[int], Nodes], tmp_path: Path):
    """Two hosts and two evaluators on four CPUs, of which two go: an evaluator must not keep a host from starting."""
    cluster = nodes(3)
    config = on_nodes(tmp_path, peers_per_host=2, evaluators="auto", start_timeout=60.0)
    result = simulate(config, tmp_path / "faulty", [At(25, lambda: cluster.lose(2))])
    assert_same(result, straight(tmp_path))
    assert len(result.summary["faults"]) == 1


@pytest.mark.slow
def test_faults__control_runs_beside_give_way_to_hosts_that_were_lost(nodes: Callable[[int], Nodes], tmp_path: Path):
    """A run and a control run of two hosts each on four CPUs, of which two go: the control follows the run instead."""
    cluster, evaluation = nodes(3), {"controls": ["alone"]}
    observer = At(25, lambda: cluster.lose(2))
    config = on_nodes(tmp_path, evaluation, peers_per_host=2, start_timeout=60.0)
    result, expected = simulate(config, tmp_path / "faulty", [observer]), straight(tmp_path, evaluation=evaluation)
    assert_same(result, expected)
    assert result.summary["controls"] == expected.summary["controls"] and len(result.summary["faults"]) == 1
    rounds = [(each.phase, each.completed) for each in observer.told if isinstance(each, RoundCompleted)]
    assert rounds.index((Phase.ALONE, 20)) < rounds.index((Phase.ROUNDS, 25))  # it was beside the run before the loss


@pytest.mark.slow
def test_faults__a_node_that_comes_back_is_waited_for(nodes: Callable[[int], Nodes], tmp_path: Path):
    cluster = nodes(3)

    class Replacing(At):
        def observe(self, event: RunEvent) -> None:
            super().observe(event)
            if isinstance(event, Note) and event.text.endswith("; waiting up to 300 s for a node"):
                cluster.cluster.add_node(num_cpus=1)

    observer = Replacing(25, lambda: cluster.lose(1))
    result = simulate(on_nodes(tmp_path, cpus_per_peer=1.0), tmp_path / "faulty", [observer])
    assert_same(result, straight(tmp_path))
    assert len(result.summary["faults"]) == 1
    assert any(
        isinstance(each, Note)
        and "cannot be placed on nodes" in each.text
        and "waiting up to 300 s for a node" in each.text
        for each in observer.told
    )


@pytest.mark.slow
def test_faults__a_cluster_that_stays_too_small_ends_the_run(nodes: Callable[[int], Nodes], tmp_path: Path):
    cluster = nodes(3)
    observer = At(25, lambda: cluster.lose(1))
    result = simulate(on_nodes(tmp_path, cpus_per_peer=1.0, start_timeout=40.0), tmp_path / "faulty", [observer])
    assert result.status == "stopped" and "(waited for 40 s); in the rounds" in result.message
    assert len(result.summary["faults"]) == 1


@pytest.mark.slow
def test_faults__a_node_that_is_lost_while_another_is_made_good(
    nodes: Callable[[int], Nodes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    cluster, replaced = nodes(3), RayPool._replace_lost

    def losing(self: RayPool) -> None:
        if len(cluster.others) == 2:
            cluster.lose(1)
        replaced(self)

    monkeypatch.setattr(RayPool, "_replace_lost", losing)
    result = simulate(on_nodes(tmp_path), tmp_path / "faulty", At(25, lambda: cluster.lose(1)))
    assert_same(result, straight(tmp_path))
    assert len(cluster.others) == 1 and len(result.summary["faults"]) == 1


@pytest.mark.slow
def test_faults__out_of_memory_is_told_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Ray ends what uses most, here at any use at all."""
    ray.shutdown()
    monkeypatch.setenv("RAY_memory_usage_threshold", "0.0")
    monkeypatch.setenv("RAY_memory_monitor_refresh_ms", "100")
    with pytest.raises(ConfigError, match=r"while starting, .* out of memory: free some, or lower peers.count"):
        simulate(load_config(table()), tmp_path)
