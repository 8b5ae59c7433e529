"""Many runs side by side on one Ray: as many at once as fit, and whatever happens to one, the others go on."""

import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from coordinator.config import ConfigError, HostingConfig, RunConfig, TrackingConfig, to_toml
from coordinator.pool import first_line, gpus_of_a_host, gpus_of_a_peer, shares_of_hosts
from coordinator.simulate import simulate

Bundles = list[dict[str, float]]


@dataclass(frozen=True)
class Outcome:
    """How a run ended, and the files of its folder by their relative names: none unless it finished."""

    status: Literal["finished", "stopped", "failed"]
    error: str
    files: dict[str, bytes]
    seconds: float


def run_aside(config: RunConfig) -> Outcome:
    """Run an experiment in a folder of its own that is gone afterwards, and without MLflow."""
    start = time.perf_counter()
    with TemporaryDirectory(prefix="peer-consensus-") as output:
        try:
            result = simulate(config.model_copy(update={"tracking": TrackingConfig(enabled=False)}), output)
        except Exception as error:  # whatever it is, it is this run's alone
            kind = "" if isinstance(error, ConfigError) else f"{type(error).__name__}: "
            return Outcome("failed", kind + first_line(error), {}, time.perf_counter() - start)
        files: dict[str, bytes] = {}
        if result.status == "finished":
            files = {path.relative_to(result.folder).as_posix(): path.read_bytes() for path in _files(result.folder)}
            files["config.toml"] = to_toml(config).encode()
        status: Literal["finished", "stopped"] = "finished" if result.status == "finished" else "stopped"
        return Outcome(status, result.message, files, time.perf_counter() - start)


class SideBySide:
    """Runs in Ray tasks, each in a placement group that holds all that it needs, so that none starts by halves."""

    def __init__(self, ray: Any, configs: Sequence[RunConfig]) -> None:
        self._ray = ray
        self._configs = configs
        self._needs = [bundles(ray, config.hosting, config.peers.count) for config in configs]
        self._running: dict[Any, tuple[int, Any]] = {}
        self.at_once = fitting(self._needs, [node["Resources"] for node in ray.nodes() if node.get("Alive", True)])
        assert self.at_once or not configs, "a run alone fits, or is refused with its bundles"

    def outcomes(self) -> Iterator[tuple[int, Outcome]]:
        """Each run's place in the sequence and its outcome, as they end."""
        waiting = deque(range(len(self._configs)))
        while waiting or self._running:
            while waiting and len(self._running) <= self.at_once:  # one more is queued with Ray, which starts it
                self._submit(waiting.popleft())
            (done, *_), _ = self._ray.wait(list(self._running), num_returns=1)
            place, group = self._running.pop(done)
            outcome = self._outcome(done)
            self._remove(group)
            yield place, outcome

    def close(self) -> None:
        """End what still runs."""
        while self._running:
            reference, (_, group) = self._running.popitem()
            self._ray.cancel(reference, force=True)
            self._remove(group)

    def _submit(self, place: int) -> None:
        from ray.util.placement_group import placement_group
        from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

        needs, in_process = self._needs[place], self._configs[place].hosting.pool == "in-process"
        group = placement_group(needs, strategy="PACK")
        options = {
            "num_cpus": needs[0]["CPU"] if in_process else 0,  # else it only waits for its actors
            "num_gpus": needs[0].get("GPU", 0) if in_process else 0,
            "max_retries": 0,
            "scheduling_strategy": PlacementGroupSchedulingStrategy(group, placement_group_capture_child_tasks=True),
        }
        reference = self._ray.remote(run_aside).options(**options).remote(self._configs[place])
        self._running[reference] = (place, group)

    def _outcome(self, reference: Any) -> Outcome:
        try:
            outcome: Outcome = self._ray.get(reference)
            return outcome
        except self._ray.exceptions.RayError as error:
            return Outcome("failed", f"its process was lost ({type(error).__name__}: {first_line(error)})", {}, 0.0)

    def _remove(self, group: Any) -> None:
        from ray.util.placement_group import remove_placement_group

        remove_placement_group(group)


def bundles(ray: Any, hosting: HostingConfig, num_peers: int) -> Bundles:
    """What a run reserves: one bundle for each of its hosts. Raises: ConfigError when the cluster cannot hold it."""
    if hosting.pool == "ray":
        needs = shares_of_hosts(ray, hosting, num_peers)
    else:
        there = [node["Resources"] for node in ray.nodes()]
        cpus = max((node.get("CPU", 0.0) for node in there), default=0.0)
        if cpus <= 0:
            raise ConfigError("hosting: the Ray cluster has no CPU to offer; start it with at least one")
        gpus = 0.0
        if hosting.gpus_per_peer != "auto":
            gpus = gpus_of_a_peer(hosting, num_peers, sum(node.get("GPU", 0.0) for node in there))
        needs = [{"CPU": min(float(hosting.threads), cpus), "GPU": gpus_of_a_host(gpus, num_peers)}]
    return [{name: amount for name, amount in each.items() if amount} for each in needs]


def fitting(needs: Sequence[Bundles], nodes: Sequence[Mapping[str, float]]) -> int:
    """How many of these runs, taken in order, empty nodes hold at once."""
    free = [dict(node) for node in nodes]
    for count, run in enumerate(needs):
        for bundle in run:
            node = next((node for node in free if _holds(node, bundle)), None)
            if node is None:
                return count
            for name, amount in bundle.items():
                node[name] -= amount
    return len(needs)


def _holds(node: Mapping[str, float], bundle: Mapping[str, float]) -> bool:
    return all(node.get(name, 0.0) + 1e-9 >= amount for name, amount in bundle.items())


def _files(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.rglob("*")) if path.is_file()]
