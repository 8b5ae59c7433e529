"""What the GPU's checks share: where they run, runs with and without probes, comparisons, the device's memory."""

import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from typing import Any, TypeVar

import torch
from common import experiment, run

from coordinator.experiment.config import RunConfig, load_config
from coordinator.planning.plan import Plan, peer_settings, prepare
from coordinator.pools.base import ask
from coordinator.pools.opening import open_pool
from coordinator.records.events import Digested, RoundCompleted, RunEnded, RunEvent, StageEntered
from coordinator.records.files.result import Result
from coordinator.run.simulate import simulate
from coordinator.scheduling.choice import scheduler_of
from coordinator.scheduling.scheduler import Cadence, Phase
from peers.data.datasets import Dataset

ROOT = Path(__file__).parents[2]
MIB = 2**20
FULL = "the GPU's memory does not hold"  # of the message that is to be told
Figures = dict[str, Any]
Losses = list[dict[int, float]]
T = TypeVar("T")


class Mismatch(Exception):
    """Something was computed, but it is not what the project claims."""


class Skipped(Exception):
    """A check cannot be made here; the message says why."""


@dataclass(frozen=True)
class Place:
    """Where the checks run: the device of the peers ("cuda" or "cpu"), and whether all sizes are tiny."""

    device: str
    quick: bool = False

    def size(self, full: T, tiny: T) -> T:
        return tiny if self.quick else full

    def config(
        self, model: str = "small-cnn", count: int = 4, batch: int = 64, rounds: int = 10, **sections: Any
    ) -> RunConfig:
        """Peers on a ring unless `topology` is given, in this process unless `hosting` says otherwise."""
        hosting = {"pool": "in-process", "device": self.device, **sections.pop("hosting", {})}
        topology = sections.pop("topology", {"kind": "ring"})
        return experiment(count, model, batch, rounds, topology, hosting=hosting, **sections)

    def paper(self, *overrides: str) -> RunConfig:
        """The preset of the paper's main run; on random images of CIFAR-10's shape where the data set is not found."""
        shape = ["data.kind=synthetic", "data.shape=[3, 32, 32]", "data.num_classes=10"]
        data = [*shape, "data.num_train=50000", "data.num_test=10000"]
        folder = os.environ.get("PEER_CONSENSUS_CIFAR10", "")
        if folder and Path(folder).is_dir():
            data = [f"data.path={folder}"]
        if self.quick:
            few = ("probe_train=40", "probe_test=20", "probe_batch=20", "calibration_passes=1", "every=2")
            data = [*shape, "data.num_train=64", "data.num_test=40", "data.batch_size=8", "run.rounds=3"]
            data += ["peers.count=3", *(f"evaluation.{each}" for each in few)]
        always = ["hosting.pool=in-process", f"hosting.device={self.device}", "tracking.enabled=false"]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of keys that another kind of data does not have
            return load_config(ROOT / "configs/paper/main.toml", [*data, *always, *overrides])


# ---- runs ----


@dataclass(frozen=True)
class Trained:
    """Rounds without probes: losses by round and peer, the peers' digests, and the seconds after the warm-up."""

    losses: Losses
    digests: list[bytes]
    seconds: float
    execution: str


def trained(config: RunConfig, warm_up: int = 0, plan: Plan | None = None) -> Trained:
    """All rounds of a config after `warm_up` further ones, whose losses come first."""
    plan = plan or prepare(config)
    with open_pool(peer_settings(config, plan.dataset), plan.dataset, config.hosting) as pool:
        records = run(pool, plan, config, warm_up, False) if warm_up else []
        start = time.perf_counter()
        records += run(pool, plan, config, config.run.rounds, False)
        seconds = time.perf_counter() - start
        losses = [{peer: s.loss for peer, s in each.stats.items() if s.loss is not None} for each in records]
        return Trained(losses, ask(pool, lambda host: host.digest()), seconds, pool.way.execution)


def in_network(config: RunConfig) -> list[bytes]:
    """The peers' digests after all rounds of a config, with a section `[network]` or without."""
    plan = prepare(config)
    with open_pool(peer_settings(config, plan.dataset), plan.dataset, config.hosting) as pool:
        scheduler = scheduler_of(pool, plan.trace, shared_sum=False)
        cadence = Cadence(config.run.rounds, config.hosting.lookahead)
        for _ in scheduler.records(plan.schedule, cadence, 0, lambda: False):
            pass
        return ask(pool, lambda host: host.digest())


@dataclass
class Watch:
    """Observes a run: losses by round and peer, digests, seconds of each stage, and what it warned of."""

    losses: Losses = field(default_factory=list)
    digests: list[bytes] = field(default_factory=list)
    stages: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    _stage: str = ""
    _since: float = 0.0

    def observe(self, event: RunEvent) -> None:
        if isinstance(event, StageEntered | RunEnded):
            now = time.perf_counter()
            if self._stage:
                self.stages[self._stage] = round(self.stages.get(self._stage, 0.0) + now - self._since, 2)
            self._stage = event.stage.name.lower() if isinstance(event, StageEntered) else ""
            self._since = now
        elif isinstance(event, RoundCompleted) and event.phase is Phase.ROUNDS and not event.replayed:
            self.losses.append(event.losses)
        elif isinstance(event, Digested):
            self.digests = event.digests


def simulated(config: RunConfig, watch: Watch | None = None, dataset: Dataset | None = None) -> tuple[Result, Watch]:
    """A whole run in a temporary folder; dataset: as for `simulate`. Raises: Mismatch, if it does not finish."""
    watch = watch or Watch()
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        result = simulate(config, folder, [watch], data=dataset)
    watch.notes = [str(each.message) for each in caught if each.category is UserWarning]
    if result.status != "finished":
        raise Mismatch(f"the run {result.status}: {result.message}")
    return result, watch


def told_by(start: list[str], overrides: list[str]) -> Figures:
    """How a run of the command line ends for which there is too little memory on the device.

    start: what Python is started with. It should end with exit code 2, one line that tells why, and no traceback.
    """
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, *start, "run", "configs/paper/main.toml", *overrides, "--output", folder]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
        began = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, timeout=150)
    printed = f"{done.stdout}\n{done.stderr}".splitlines()
    told, traceback = [line for line in printed if FULL in line], any(line.startswith("Traceback") for line in printed)
    return {
        "as_claimed": done.returncode == 2 and len(told) == 1 and not traceback,
        "exit_code": done.returncode,
        "lines": told,
        "traceback": traceback,
        "seconds": round(time.perf_counter() - began, 2),
        "end": " | ".join(printed[-4:])[:600],
    }


def missing(package: str) -> str:
    """Why a package cannot be imported; empty if it can."""
    try:
        __import__(package)
    except ImportError as error:
        return f"{package} cannot be imported ({error})"
    return ""


# ---- comparisons ----


def deviations(one: Losses, other: Losses) -> list[float]:
    """By round, the largest relative difference of a peer's losses; infinite where not the same peers have one."""

    def of_round(a: Mapping[int, float], b: Mapping[int, float]) -> float:
        if a.keys() != b.keys():
            return math.inf
        return max((abs(a[peer] - b[peer]) / max(abs(a[peer]), abs(b[peer]), 1e-12) for peer in a), default=0.0)

    return [of_round(a, b) for a, b in zip(one, other, strict=True)]


def compare_losses(one: Losses, other: Losses, first: float, later: float) -> Figures:
    """The deviations of the first round and of the worst one. Raises: Mismatch, if they exceed `first` and `later`."""
    found = deviations(one, other)
    if found[0] > first or max(found) > later:
        raise Mismatch(f"losses differ by {found[0]:.2g} in the first round and at most by {max(found):.2g}")
    return {"first_round": found[0], "worst_round": max(found)}


def ratios(seconds: Mapping[str, Sequence[float]], base: str) -> dict[str, float]:
    """How many times as fast as `base` each variant is: the median over the repeats."""
    return {
        name: round(statistics.median(a / b for a, b in zip(seconds[base], each, strict=True)), 3)
        for name, each in seconds.items()
    }


# ---- the device's memory ----


class Memory:
    """The device's memory in a `with` block, in MiB: the peak of this process, and of all processes beside what was.

    Empty on a CPU. That of all processes is sampled, so that a short peak may be missed.
    """

    def __init__(self, place: Place) -> None:
        self.figures: Figures = {}
        self._stack = ExitStack()
        self._active = place.device == "cuda"

    def __enter__(self) -> "Memory":
        if self._active:
            torch.cuda.init()
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
            self._before = self._peak = _used()
            self._end = Event()
            self._thread = Thread(target=self._sample, daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if not self._active:
            return
        self._end.set()
        self._thread.join()
        peaks = {
            "allocated_mib": torch.cuda.max_memory_allocated(),
            "reserved_mib": torch.cuda.max_memory_reserved(),
            "of_all_processes_mib": self._peak - self._before,
        }
        self.figures |= {name: round(num_bytes / MIB) for name, num_bytes in peaks.items()}

    def _sample(self) -> None:
        while not self._end.wait(0.02):
            self._peak = max(self._peak, _used())


def _used() -> int:
    free, total = torch.cuda.mem_get_info()
    return total - free
