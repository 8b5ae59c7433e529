"""The interface of a pool: typed calls of the hosts that hold the peers, in this process or in Ray actors."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

from coordinator.experiment.config import ConfigError, HostingConfig
from peers.data.datasets import Dataset
from peers.exchange.assignment import Assignment, Stats
from peers.exchange.sums import Sum
from peers.hosting.evaluator import State
from peers.hosting.host import Bundle
from peers.learning.settings import Execution, PeerSettings
from peers.probing.measuring import ProbeOutcome, ProbeSubject
from peers.probing.observing import Observations

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
Load = Callable[[], tuple[Sequence[PeerSettings], Dataset]]
Tell = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class Ref(Generic[T_co]):
    """A reference to an answer of type `T_co`, which may not exist yet; only a pool looks inside.

    It may be given to other calls, which receive the answer itself, and is compared by identity.
    value: the answer in this process, an `ObjectRef` under Ray.
    """

    value: Any


Published = tuple[Ref[Bundle], Ref[dict[int, Stats]]]
"""What peers have sent to other hosts, and their stats by peer."""


@runtime_checkable
class Host(Protocol):
    """The methods of a `PeerHost` as a pool offers them: each returns references to its answer without waiting.

    Calls of one host are executed in the order in which they were made. To offer another method of `PeerHost`, add it
    here, in `InProcessHost` and in `RayHost`.
    """

    peers: list[int]

    def trial(
        self, settings: Sequence[PeerSettings], dataset: Ref[Dataset], num_threads: int
    ) -> Ref[tuple[float, float]]: ...
    def touch(self, folder: str, name: str) -> Ref[None]: ...
    def publish(self, assignments: Mapping[int, Assignment]) -> Published: ...
    def advance(
        self, round_index: int, following: Mapping[int, Assignment | None], *arrived: Ref[Bundle | Sum]
    ) -> Published: ...
    def total(self, *bundles: Ref[Bundle]) -> Ref[Sum]: ...
    def observe(self, grams: bool) -> Ref[Observations]: ...
    def probe(self, subject: ProbeSubject, rounds: Mapping[int, Sequence[int]]) -> Ref[dict[int, ProbeOutcome]]: ...
    def states(self) -> Ref[dict[int, State]]: ...
    def digest(self) -> Ref[dict[int, bytes]]: ...
    def save(self, folder: str, completed: int) -> Ref[dict[int, str]]: ...
    def restore(self, folder: str, checksums: Mapping[int, str]) -> Ref[dict[int, int]]: ...
    def restart(self) -> Ref[None]: ...


@runtime_checkable
class ProbeWorker(Protocol):
    """The methods of an `Evaluator` as a pool offers them."""

    def probe(
        self, peer: int, subject: ProbeSubject, rounds: Sequence[int], states: Ref[dict[int, State]] | None
    ) -> Ref[dict[int, ProbeOutcome]]: ...


@runtime_checkable
class Pool(Protocol):
    """The hosts of a run and how to read what they answer.

    nodes: the hosts of each machine. execution: how the hosts run their peers. evaluators: processes that only probe.
    """

    nodes: list[list[int]]
    execution: Execution

    @property
    def hosts(self) -> Sequence[Host]: ...
    @property
    def evaluators(self) -> Sequence[ProbeWorker]: ...

    def get(self, references: Sequence[Ref[T]]) -> list[T]:
        """Wait for answers. Raises: HostLost, or whatever a call has raised."""
        ...

    def done(self, references: Sequence[Ref[object]]) -> bool:
        """Whether all of these answers exist."""
        ...

    def revive(self) -> None:
        """Replace the processes that were lost; their peers are untrained. Raises: HostLost."""
        ...

    def advise(self, text: str) -> None:
        """Set what the user is told if this process ends abruptly."""
        ...

    def concluding(self) -> None:
        """Declare that no more calls follow: losing the pool's processes does not matter from here on."""
        ...

    def close(self) -> None:
        """End what the pool has started."""
        ...


class HostLost(RuntimeError):
    """The process of some peers died, or the node it was on: killed, out of memory, unreachable, or hanging."""


class SameLoss(HostLost):
    """More of a loss that was reported before and has not been recovered from yet."""


class RecoveryFailed(HostLost):
    """The lost processes could not be replaced: the cluster has stayed too small for them."""


def in_order(answers: Iterable[Mapping[int, T]]) -> list[T]:
    """The answers of several hosts, each by peer, as one list in peer order."""
    by_peer = {peer: answer for of_host in answers for peer, answer in of_host.items()}
    return [by_peer[peer] for peer in sorted(by_peer)]


def ask(pool: Pool, call: Callable[[Host], Ref[Mapping[int, T]]]) -> list[T]:
    """Make a call of every host and wait for the answers of all peers, in peer order."""
    return in_order(pool.get([call(host) for host in pool.hosts]))


def choose_execution(
    pool: Pool, hosting: HostingConfig, settings: Sequence[PeerSettings], dataset: Ref[Dataset]
) -> Execution:
    """How hosts run their peers; "auto" times both ways on some peers of the first host, before any are made."""
    if hosting.execution != "auto":
        return hosting.execution
    loop, vectorised = pool.get([pool.hosts[0].trial(list(settings), dataset, hosting.threads)])[0]
    return "vectorised" if vectorised < loop else "loop"


def check_precision(hosting: HostingConfig, gpu: bool) -> None:
    """Raises: ConfigError where the peers' device does not have the precision of the config."""
    if hosting.precision == "tf32" and not gpu:
        raise ConfigError(
            "hosting.precision 'tf32' is a GPU's, but the peers run on the CPU: set it to float32, or "
            "hosting.device to cuda"
        )


def on_device(settings: PeerSettings, gpu: bool) -> PeerSettings:
    """The settings with the device that the pool gives; Ray shows an actor its own GPU as the first one."""
    return replace(settings, device="cuda" if gpu else "cpu")
