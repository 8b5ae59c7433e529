"""The pool whose peers all live in this process."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import TypeVar

import torch

from coordinator.experiment.config import ConfigError, HostingConfig
from coordinator.pools.base import ProbeWorker, Published, Ref, check_precision, choose_way, on_device, with_way
from coordinator.pools.process_settings import hold_setting, torch_threads
from peers.data.datasets import Dataset
from peers.exchange.assignment import Assignment, Rejoin, Study
from peers.exchange.sums import Sum
from peers.hosting.evaluator import State
from peers.hosting.host import PeerHost
from peers.hosting.origin import Origin
from peers.hosting.postbox import Bundle
from peers.hosting.ways import USUAL, Way
from peers.learning.settings import PeerSettings
from peers.probing.measuring import ProbeOutcome, ProbeSubject
from peers.probing.observing import Observations

T = TypeVar("T")


class InProcessHost:
    """A host in this process: each call runs at once, and raises its exceptions here."""

    def __init__(self, host: PeerHost, peers: list[int]) -> None:
        self.peers = peers
        self._host = host

    def trial(
        self, settings: Sequence[PeerSettings], dataset: Ref[Dataset], num_threads: int, ways: Sequence[Way]
    ) -> Ref[Way]:
        return _ref(self._host.trial(settings, dataset.value, num_threads, ways))

    def touch(self, folder: str, name: str) -> Ref[None]:
        self._host.touch(folder, name)
        return _ref(None)

    def publish(
        self, assignments: Mapping[int, Assignment], live: Mapping[int, Sequence[int]] | None = None
    ) -> Published:
        bundle, stats = self._host.publish(assignments, live)
        return _ref(bundle), _ref(stats)

    def advance(
        self, round_index: int, following: Mapping[int, Assignment | None], *arrived: Ref[Bundle | Sum]
    ) -> Published:
        bundle, stats = self._host.advance(round_index, following, *(reference.value for reference in arrived))
        return _ref(bundle), _ref(stats)

    def step(
        self, studies: Mapping[int, Study], following: Mapping[int, Assignment | None], *arrived: Ref[Bundle]
    ) -> Published:
        bundle, stats = self._host.step(studies, following, *(reference.value for reference in arrived))
        return _ref(bundle), _ref(stats)

    def rejoin(
        self, assignments: Mapping[int, Assignment], returns: Mapping[int, Rejoin], *states: Ref[Mapping[int, State]]
    ) -> Published:
        bundle, stats = self._host.rejoin(assignments, returns, *(reference.value for reference in states))
        return _ref(bundle), _ref(stats)

    def total(self, *bundles: Ref[Bundle]) -> Ref[Sum]:
        return _ref(self._host.total(*(reference.value for reference in bundles)))

    def observe(self, grams: bool, keep: bool = False) -> Ref[Observations]:
        return _ref(self._host.observe(grams, keep))

    def probe(self, subject: ProbeSubject, rounds: Mapping[int, Sequence[int]]) -> Ref[dict[int, ProbeOutcome]]:
        return _ref(self._host.probe(subject, rounds))

    def states(self, peers: Sequence[int] | None = None) -> Ref[dict[int, State]]:
        return _ref(self._host.states(peers))

    def digest(self) -> Ref[dict[int, bytes]]:
        return _ref(self._host.digest())

    def save(self, folder: str, completed: int) -> Ref[dict[int, str]]:
        return _ref(self._host.save(folder, completed))

    def restore(self, folder: str, checksums: Mapping[int, str]) -> Ref[dict[int, int]]:
        return _ref(self._host.restore(folder, checksums))

    def restart(self, settings: Sequence[PeerSettings]) -> Ref[None]:
        self._host.restart(settings)
        return _ref(None)


class InProcessPool:
    """Every peer in this process, as one host."""

    evaluators: tuple[ProbeWorker, ...] = ()

    def __init__(self, settings: Sequence[PeerSettings], dataset: Dataset, hosting: HostingConfig) -> None:
        gpus = gpus_in_process(hosting)
        self._host = PeerHost()
        self.hosts = [InProcessHost(self._host, [peer_settings.index for peer_settings in settings])]
        self.nodes, self.workers = [[0]], dict[Origin, int]()
        self.hosting, self.way = hosting, USUAL
        self._gpu = gpus > 0
        placed = self._placed(settings)
        with ExitStack() as settings_of_process:
            threads = hosting.threads
            settings_of_process.enter_context(hold_setting("hosting.threads", threads, lambda: torch_threads(threads)))
            if gpus:
                device = (hosting.precision, hosting.deterministic)  # `open` applies them
                named = "hosting.precision, hosting.deterministic"
                settings_of_process.enter_context(hold_setting(named, device, lambda: lambda: None))
            self.way = choose_way(self, hosting, placed, Ref(dataset))
            self.hosting = with_way(hosting, self.way)
            self._host.open([self.way.of(each) for each in placed], dataset, threads, self.way.execution)
            self._settings_of_process = settings_of_process.pop_all()

    def _placed(self, settings: Sequence[PeerSettings]) -> list[PeerSettings]:
        return [on_device(peer_settings, self._gpu) for peer_settings in settings]

    def restart(self, settings: Sequence[PeerSettings]) -> None:
        self._host.restart(self._placed(settings))

    def get(self, references: Sequence[Ref[T]]) -> list[T]:
        return [reference.value for reference in references]

    def done(self, references: Sequence[Ref[object]]) -> bool:
        return True

    def revive(self) -> None:
        raise AssertionError("this process is not lost")

    def advise(self, text: str) -> None:
        """Does nothing: this process has no watcher."""

    def concluding(self) -> None:
        """Does nothing: there are no other processes to lose."""

    def close(self) -> None:
        self._settings_of_process.close()


def gpus_in_process(hosting: HostingConfig) -> float:
    """The number of GPUs that peers in this process use. Raises: ConfigError if there is no CUDA device."""
    gpus = float(hosting.device == "cuda") if hosting.gpus_per_peer == "auto" else hosting.gpus_per_peer
    if gpus and not torch.cuda.is_available():
        given = "hosting.device is 'cuda'" if hosting.device == "cuda" else f"hosting.gpus_per_peer is {gpus:g}"
        better = "auto" if hosting.device == "cuda" else "0"
        raise ConfigError(f"{given} but there is no CUDA device here: set it to {better}")
    check_precision(hosting, gpus > 0)
    return gpus


def _ref(answer: T) -> Ref[T]:
    return Ref(answer)
