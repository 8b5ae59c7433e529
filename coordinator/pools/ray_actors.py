"""Starts a pool's Ray actors: what each reserves, on which node, and whether its process is forked or started anew."""

import sys
from collections.abc import Callable, Mapping
from typing import Any

from coordinator.experiment.config import ConfigError, HostingConfig
from coordinator.planning.workers import forks
from coordinator.pools.forking.fork_server import socket_path
from coordinator.pools.placement import affinity_options
from peers.hosting.origin import Origin


class ActorStarter:
    """Starts hosts and evaluators. forking: whether those without GPUs are forked.

    Raises: ConfigError, if they must be forked and there is nothing to fork them from.
    """

    def __init__(self, hosting: HostingConfig) -> None:
        self._hosting = hosting
        self.forking = forks(hosting) and bool(socket_path())
        if hosting.workers == "forked" and not self.forking:
            raise ConfigError(
                "hosting.workers is 'forked', but the Ray of this process was started without that: end it before, or "
                "set hosting.workers to auto"
            )

    def host(self, reserved: Mapping[str, float], node: str) -> Any:
        """A new actor for a host. node: where it should be; see `affinity_options`."""
        from peers.hosting.actor import RemotePeerHost

        options: dict[str, Any] = {"num_cpus": reserved["CPU"], "num_gpus": reserved["GPU"]}
        options["resources"] = self._hosting.resources or None
        return RemotePeerHost.options(**options, **affinity_options(node), **self._process(reserved["GPU"])).remote()

    def evaluator(self) -> Any:
        """A new actor for an evaluator."""
        from peers.hosting.actor import RemoteEvaluator

        return RemoteEvaluator.options(num_cpus=1, **self._process()).remote()

    def tell_of(self, workers: Mapping[Origin, int], tell: Callable[[str], None]) -> None:
        """Say so where some of a pool's processes were not forked but should have been. workers: how many began how."""
        spawned = workers.get("spawned", 0)
        if self.forking and spawned:
            tell(
                f"{spawned} of {sum(workers.values())} worker processes were started anew, since the one to fork them "
                "from was lost: that takes more time and memory, and computes the same"
            )

    def _process(self, gpus: float = 0.0) -> dict[str, Any]:
        if gpus and self._hosting.workers == "forked":
            raise ConfigError(
                "hosting.workers is 'forked', but hosts have GPUs: set it to auto, or hosting.device to cpu"
            )
        return process_options(self.forking and not gpus)


def process_options(forked: bool) -> dict[str, Any]:
    """Ray's options for a task or an actor whose process is forked, or started anew, whatever Ray does by default."""
    return {} if forked or not socket_path() else {"runtime_env": {"py_executable": sys.executable}}
