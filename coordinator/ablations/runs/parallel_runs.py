"""Runs many experiments in parallel on one Ray cluster, as many at once as fit; a failed run does not stop others."""

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from coordinator.ablations.grids.grid import data_key
from coordinator.experiment.config import (
    CheckpointConfig,
    ConfigError,
    HostingConfig,
    RunConfig,
    TrackingConfig,
    to_toml,
)
from coordinator.experiment.redaction import first_line
from coordinator.planning.plan import load_data
from coordinator.pools.ray_actors import process_options
from coordinator.pools.resources import (
    Reservations,
    count_fitting,
    format_resources,
    node_resources,
    reservations_of_run,
    with_memory,
)
from coordinator.records.files.result import Status
from coordinator.run.simulate import simulate, simulate_loaded
from peers.data.brought import GivenData
from peers.data.datasets import Dataset

PREFIX = "peer-consensus-"  # of the names of temporary folders


class RunStatus(StrEnum):
    """How a cell's run ended, as stored in `results.parquet`."""

    FINISHED = "finished"
    STOPPED = "stopped"
    FAILED = "failed"
    NOT_RUN = "not run"


@dataclass(frozen=True)
class Outcome:
    """How a run ended, and the files of its folder by relative name, which are empty unless it finished."""

    status: RunStatus
    error: str
    files: dict[str, bytes]
    seconds: float


def run_isolated(config: RunConfig, dataset: Dataset | None = None, prefix: str = PREFIX) -> Outcome:
    """Run an experiment in a temporary folder of its own, without MLflow and checkpoints.

    prefix: start of the folder's name, by which the folder can be found and removed if this process is killed.
    """
    start = time.perf_counter()
    with TemporaryDirectory(prefix=prefix) as output:
        try:
            bare = {"tracking": TrackingConfig(enabled=False), "checkpoint": CheckpointConfig(every=0)}
            alone = config.model_copy(update=bare)
            result = simulate(alone, output) if dataset is None else simulate_loaded(alone, output, dataset)
        except Exception as error:  # any error affects this run only
            kind = "" if isinstance(error, ConfigError) else f"{type(error).__name__}: "
            return Outcome(RunStatus.FAILED, kind + first_line(error), {}, time.perf_counter() - start)
        files: dict[str, bytes] = {}
        if result.status is Status.FINISHED:
            files = {path.relative_to(result.folder).as_posix(): path.read_bytes() for path in _files(result.folder)}
            files["config.toml"] = to_toml(config).encode()
        status = RunStatus.FINISHED if files else RunStatus.STOPPED
        return Outcome(status, result.message, files, time.perf_counter() - start)


@dataclass
class _Queued:
    """A run that waits for resources. ready: resolves once it has them. mentioned: whether the wait was reported."""

    place: int
    ready: Any
    mentioned: bool = False


class ParallelRuns:
    """Runs experiments in Ray tasks, each in a placement group that reserves all its resources before it starts.

    memory: bytes that each run needs. tell: receives a line when nothing could start for a long time. prefix: start of
    the names of their temporary folders, which remain if a run is killed.
    """

    def __init__(
        self,
        ray: Any,
        configs: Sequence[RunConfig],
        memory: Sequence[int],
        tell: Callable[[str], None],
        prefix: str = PREFIX,
    ) -> None:
        self._ray = ray
        self._configs = configs  # with data from Python, which goes to the runs through the object store
        self._tell = tell
        self._prefix = prefix
        nodes = node_resources(ray)

        @cache  # cells often need the same
        def needs(hosting: str, num_peers: int, num_bytes: int) -> Reservations:
            reservations = reservations_of_run(ray, HostingConfig.model_validate_json(hosting), num_peers)
            return with_memory(reservations, num_bytes, nodes)

        self._needs = [
            needs(config.hosting.model_dump_json(), config.peers.count, num_bytes)
            for config, num_bytes in zip(configs, memory, strict=True)
        ]
        self._running: dict[Any, tuple[int, Any]] = {}  # includes the queued run
        self._queued: _Queued | None = None
        self._keys = [data_key(config) for config in configs]
        self._data: dict[Any, Any] = {}
        smallest_first = sorted(self._needs, key=lambda run: sum(bundle["CPU"] for bundle in run))
        self.at_once = count_fitting(smallest_first, nodes)
        assert self.at_once or not configs, "a run alone fits, or is refused with its bundles"

    def outcomes(self) -> Iterator[tuple[int, Outcome]]:
        """Yields each run's index in `configs` and its outcome, in the order in which they end."""
        waiting = deque(range(len(self._configs)))
        while waiting or self._running:
            if waiting and self._queued is None:  # one more than fit is queued, so that Ray starts it at once
                self._submit(waiting.popleft(), waiting)
            done = self._next()
            if done is not None:
                place, group = self._running.pop(done)
                outcome = self._outcome(done)
                self._remove(group)
                yield place, outcome

    def close(self) -> None:
        """Cancel the runs that are still going, and wait up to 5 seconds for them to end."""
        ended = list(self._running)
        while self._running:
            reference, (_, group) = self._running.popitem()
            self._ray.cancel(reference, force=True)
            self._remove(group)
        if ended:
            self._ray.wait(ended, num_returns=len(ended), timeout=5)

    def _submit(self, place: int, waiting: Sequence[int]) -> None:
        from ray.util.placement_group import placement_group
        from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

        needs, in_process = self._needs[place], self._configs[place].hosting.pool == "in-process"
        data = self._data_of(place, waiting)
        group = placement_group(needs, strategy="PACK")
        options = {
            "num_cpus": needs[0]["CPU"] if in_process else 0,  # with Ray actors, the task itself only waits for them
            "num_gpus": needs[0].get("GPU", 0) if in_process else 0,
            "max_retries": 0,
            "scheduling_strategy": PlacementGroupSchedulingStrategy(group, placement_group_capture_child_tasks=True),
        }
        forked = self._configs[place].hosting.workers != "spawned" and not options["num_gpus"]
        options |= process_options(forked)
        reference = (
            self._ray.remote(run_isolated)
            .options(**options)
            .remote(_without_data(self._configs[place], data), data, self._prefix)
        )
        self._running[reference] = (place, group)
        self._queued = _Queued(place, group.ready())

    def _next(self) -> Any:
        """The reference of a run that has ended; None if the queued run has started, or if nothing has run for long."""
        queued = self._queued
        if queued is None:
            (done, *_), _ = self._ray.wait(list(self._running), num_returns=1)
            return done
        hosting = self._configs[queued.place].hosting
        patience = hosting.start_timeout if len(self._running) == 1 and not queued.mentioned else None
        ready, _ = self._ray.wait([queued.ready, *self._running], num_returns=1, timeout=patience)
        if not ready:
            needs, free = self._needs[queued.place], format_resources(self._ray.available_resources())
            self._tell(
                f"nothing runs for {hosting.start_timeout:g} s: the next run waits for {len(needs)} x "
                f"({format_resources(needs[0])}), and of the cluster {free} are free: end what else runs there, or "
                "interrupt"
            )
            queued.mentioned = True
            return None
        if ready[0] == queued.ready:
            self._queued = None
            return None
        if self._running[ready[0]][0] == queued.place:
            self._queued = None
        return ready[0]

    def _data_of(self, place: int, waiting: Sequence[int]) -> Any:
        """A reference to the run's data set, which is loaded once for all its runs and freed after the last one.

        None if it cannot be loaded: the run then tries itself, and reports the error.
        """
        key = self._keys[place]
        if key not in self._data:
            try:
                self._data[key] = self._ray.put(load_data(self._configs[place]))
            except (ValueError, MemoryError):
                return None
        wanted = any(self._keys[place_waiting] == key for place_waiting in waiting)
        return self._data[key] if wanted else self._data.pop(key)

    def _outcome(self, reference: Any) -> Outcome:
        try:
            outcome: Outcome = self._ray.get(reference)
            return outcome
        except self._ray.exceptions.RayError as error:
            return Outcome(
                RunStatus.FAILED, f"its process was lost ({type(error).__name__}: {first_line(error)})", {}, 0.0
            )

    def _remove(self, group: Any) -> None:
        from ray.util.placement_group import remove_placement_group

        remove_placement_group(group)


def _without_data(config: RunConfig, data: Any) -> RunConfig:
    """The config without the object of data from Python, if the run gets it by a reference."""
    if data is None or not isinstance(config.data, GivenData):
        return config
    return config.model_copy(update={"data": config.data.without_object()})


def _files(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.rglob("*")) if path.is_file()]
