"""Peers in this process."""

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import torch

from coordinator.experiment.config import ConfigError, HostingConfig
from coordinator.pools.base import check_precision, choose_execution, on_device
from coordinator.pools.process_settings import agreed, torch_threads
from peers.data.datasets import Dataset
from peers.hosting.host import PeerHost
from peers.learning.settings import Execution, PeerSettings


class InProcessPool:
    """Every peer in this process, as one host; a call is done when `submit` returns."""

    execution: Execution
    evaluators = 0

    def __init__(self, settings: Sequence[PeerSettings], dataset: Dataset, hosting: HostingConfig) -> None:
        gpus = gpus_in_process(hosting)
        self._host = PeerHost()
        self.hosts = [[each.index for each in settings]]
        self.nodes, self.execution = [[0]], "loop"
        placed = [on_device(each, gpus > 0) for each in settings]
        with ExitStack() as settings_of_process:
            threads = hosting.threads
            settings_of_process.enter_context(agreed("hosting.threads", threads, lambda: torch_threads(threads)))
            if gpus:
                device = (hosting.precision, hosting.deterministic)  # `open` applies them
                named = "hosting.precision, hosting.deterministic"
                settings_of_process.enter_context(agreed(named, device, lambda: lambda: None))
            self.execution = choose_execution(self, hosting, placed, dataset)
            self._host.open(placed, dataset, threads, self.execution)
            self._settings_of_process = settings_of_process.pop_all()

    def submit(self, host: int, method: str, *args: Any, num_returns: int = 1) -> Any:
        return getattr(self._host, method)(*args)

    def evaluate(self, evaluator: int, *args: Any) -> Any:
        raise AssertionError("there are no evaluators in one process")

    def get(self, references: Sequence[Any]) -> list[Any]:
        return list(references)

    def done(self, references: Sequence[Any]) -> bool:
        return True

    def revive(self) -> None:
        raise AssertionError("this process is not lost")

    def advise(self, text: str) -> None:
        """There is nobody to say it."""

    def concluding(self) -> None:
        """There is nothing to lose."""

    def close(self) -> None:
        self._settings_of_process.close()


def gpus_in_process(hosting: HostingConfig) -> float:
    """GPUs that peers in this process ask for. Raises: ConfigError where they are not there."""
    gpus = float(hosting.device == "cuda") if hosting.gpus_per_peer == "auto" else hosting.gpus_per_peer
    if gpus and not torch.cuda.is_available():
        asked = "hosting.device is 'cuda'" if hosting.device == "cuda" else f"hosting.gpus_per_peer is {gpus:g}"
        better = "auto" if hosting.device == "cuda" else "0"
        raise ConfigError(f"{asked} but there is no CUDA device here: set it to {better}")
    check_precision(hosting, gpus > 0)
    return gpus
