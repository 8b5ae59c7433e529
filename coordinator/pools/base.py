"""The pool interface: typed calls to the hosts that hold the peers, in this process or in Ray actors."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

from coordinator.experiment.config import ConfigError, HostingConfig
from peers.base.layout import Layout
from peers.base.precision import Precision
from peers.data.datasets import Dataset
from peers.exchange.assignment import Assignment, Rejoin, Stats, Study
from peers.exchange.sums import Sum
from peers.hosting.evaluator import State
from peers.hosting.origin import Origin
from peers.hosting.postbox import Bundle
from peers.hosting.ways import Way
from peers.learning.settings import Execution, PeerSettings
from peers.probing.measuring import ProbeOutcome, ProbeSubject
from peers.probing.observing import Observations

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
Load = Callable[[], tuple[Sequence[PeerSettings], Dataset]]
Tell = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class Ref(Generic[T_co]):
    """A future for a result of type `T_co`; only a pool looks inside.

    Passed as an argument to another call, it arrives there as the result itself. Compared by identity.
    value: the result itself in this process, an `ObjectRef` under Ray.
    """

    value: Any


Published = tuple[Ref[Bundle], Ref[dict[int, Stats]]]
"""The outgoing messages of a host's peers, and the stats of each of these peers."""


@runtime_checkable
class Host(Protocol):
    """The methods of `PeerHost` that a pool exposes: each returns references to its result without waiting.

    A host executes its calls in the order of submission. To expose another method of `PeerHost`, add it here, in
    `InProcessHost` and in `RayHost`.
    """

    peers: list[int]

    def trial(
        self, settings: Sequence[PeerSettings], dataset: Ref[Dataset], num_threads: int, ways: Sequence[Way]
    ) -> Ref[Way]: ...
    def touch(self, folder: str, name: str) -> Ref[None]: ...
    def publish(
        self, assignments: Mapping[int, Assignment], live: Mapping[int, Sequence[int]] | None = None
    ) -> Published: ...
    def advance(
        self, round_index: int, following: Mapping[int, Assignment | None], *arrived: Ref[Bundle | Sum]
    ) -> Published: ...
    def step(
        self, studies: Mapping[int, Study], following: Mapping[int, Assignment | None], *arrived: Ref[Bundle]
    ) -> Published: ...
    def rejoin(
        self, assignments: Mapping[int, Assignment], returns: Mapping[int, Rejoin], *states: Ref[Mapping[int, State]]
    ) -> Published: ...
    def total(self, *bundles: Ref[Bundle]) -> Ref[Sum]: ...
    def observe(self, grams: bool, keep: bool = False) -> Ref[Observations]: ...
    def probe(self, subject: ProbeSubject, rounds: Mapping[int, Sequence[int]]) -> Ref[dict[int, ProbeOutcome]]: ...
    def states(self, peers: Sequence[int] | None = None) -> Ref[dict[int, State]]: ...
    def digest(self) -> Ref[dict[int, bytes]]: ...
    def save(self, folder: str, completed: int) -> Ref[dict[int, str]]: ...
    def restore(self, folder: str, checksums: Mapping[int, str]) -> Ref[dict[int, int]]: ...
    def restart(self, settings: Sequence[PeerSettings]) -> Ref[None]: ...


@runtime_checkable
class ProbeWorker(Protocol):
    """The methods of `Evaluator` that a pool exposes."""

    def restart(self, settings: Sequence[PeerSettings]) -> Ref[None]: ...

    def probe(
        self, peer: int, subject: ProbeSubject, rounds: Sequence[int], states: Ref[dict[int, State]] | None
    ) -> Ref[dict[int, ProbeOutcome]]: ...


@runtime_checkable
class Pool(Protocol):
    """The hosts of a run, and how to wait for their results.

    nodes: the indices of the hosts on each machine. hosting: the settings, with what was found where one is "auto".
    evaluators: processes that only run probes. workers: how many of its processes began in which way; none if all is in
    this one.
    """

    nodes: list[list[int]]
    hosting: HostingConfig
    workers: dict[Origin, int]

    @property
    def hosts(self) -> Sequence[Host]: ...
    @property
    def evaluators(self) -> Sequence[ProbeWorker]: ...

    def get(self, references: Sequence[Ref[T]]) -> list[T]:
        """Wait for results. Raises: HostLost, or the exception that a call raised."""
        ...

    def done(self, references: Sequence[Ref[object]]) -> bool:
        """Whether all of these results are available."""
        ...

    def restart(self, settings: Sequence[PeerSettings]) -> None:
        """Replace all peers by untrained ones with these settings, in peer order. Raises: HostLost."""
        ...

    def revive(self) -> None:
        """Replace the lost processes; their peers are untrained afterwards. Raises: HostLost."""
        ...

    def advise(self, text: str) -> None:
        """Set the advice printed if this process is killed."""
        ...

    def concluding(self) -> None:
        """Declare that no more calls follow, so that lost processes no longer matter."""
        ...

    def close(self) -> None:
        """Stop all processes that the pool started."""
        ...


class HostLost(RuntimeError):
    """A process that hosts peers, or its node, is lost: killed, out of memory, unreachable, or hanging."""


class SameLoss(HostLost):
    """A further symptom of a loss that was already reported and whose recovery is not finished."""


class RecoveryFailed(HostLost):
    """The lost processes could not be replaced, because the cluster stayed too small for them."""


def in_order(answers: Iterable[Mapping[int, T]]) -> list[T]:
    """Merge the per-peer results of several hosts into one list, in peer order."""
    by_peer = {peer: answer for host_answers in answers for peer, answer in host_answers.items()}
    return [by_peer[peer] for peer in sorted(by_peer)]


def ask(pool: Pool, call: Callable[[Host], Ref[Mapping[int, T]]]) -> list[T]:
    """Call every host and wait for the results of all peers, in peer order."""
    return in_order(pool.get([call(host) for host in pool.hosts]))


def with_way(hosting: HostingConfig, way: Way) -> HostingConfig:
    """The settings with how the hosts compute their peers."""
    return hosting.model_copy(update=asdict(way))


def choose_way(pool: Pool, hosting: HostingConfig, settings: Sequence[PeerSettings], dataset: Ref[Dataset]) -> Way:
    """How hosts compute their peers; where a setting is "auto", the fastest on the first host, on trial peers."""
    ways = _ways(hosting, settings)
    return ways[0] if len(ways) == 1 else pool.get([pool.hosts[0].trial(settings, dataset, hosting.threads, ways)])[0]


def _ways(hosting: HostingConfig, settings: Sequence[PeerSettings]) -> list[Way]:
    executions: list[Execution] = ["loop"] if hosting.execution == "auto" else [hosting.execution]
    if hosting.execution == "auto" and all(each.vectorisable for each in settings):
        executions.append("vectorised")
    layouts: list[Layout] = ["contiguous", "channels-last"] if hosting.layout == "auto" else [hosting.layout]
    precisions: list[Precision] = ["float32"] if hosting.precision == "auto" else [hosting.precision]
    if hosting.precision == "auto":
        precisions += ["bfloat16"] if settings[0].device == "cpu" else ["tf32", "bfloat16"]
    pairs = [(each, layout) for each in executions for layout in (layouts if each == "loop" else layouts[:1])]
    return [Way(execution, layout, precision) for execution, layout in pairs for precision in precisions]


def check_precision(hosting: HostingConfig, gpu: bool) -> None:
    """Check that the peers' device supports `hosting.precision`. Raises: ConfigError."""
    if hosting.precision == "tf32" and not gpu:
        raise ConfigError(
            "hosting.precision 'tf32' is a GPU's, but the peers run on the CPU: set it to float32, or "
            "hosting.device to cuda"
        )


def on_device(settings: PeerSettings, gpu: bool) -> PeerSettings:
    """The settings with their device set; plain "cuda" suffices, since Ray shows an actor its own GPU as the first."""
    return replace(settings, device="cuda" if gpu else "cpu")
