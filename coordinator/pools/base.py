"""Where peers live: the interface of a pool, in this process or in Ray actors; the same numbers from both."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol, runtime_checkable

from coordinator.experiment.config import ConfigError, HostingConfig
from peers.data.datasets import Dataset
from peers.learning.settings import Execution, PeerSettings
from peers.probing.measuring import MAX_PAIRED

Load = Callable[[], tuple[Sequence[PeerSettings], Dataset]]
Tell = Callable[[str], None]


class HostLost(RuntimeError):
    """The process of some peers died, or the node it was on: killed, out of memory, unreachable, or hanging.

    again: part of a loss that was told before, and is still being made good. final: starting anew has been tried for
    long enough.
    """

    def __init__(self, what: str, again: bool = False, final: bool = False) -> None:
        super().__init__(what)
        self.again, self.final = again, final


@runtime_checkable
class Pool(Protocol):
    """Calls go to a host in the order of submission; what a call returns may be passed on without being opened.

    hosts: the peers of each host. nodes: the hosts of each machine. execution: how the hosts run their peers.
    evaluators: processes that only probe, by `evaluate`. advise: what is said should this process end abruptly.
    concluding: nothing is asked of the pool any more, so its loss does not matter.
    """

    hosts: list[list[int]]
    nodes: list[list[int]]
    execution: Execution
    evaluators: int

    def submit(self, host: int, method: str, *args: Any, num_returns: int = 1) -> Any: ...
    def evaluate(self, evaluator: int, *args: Any) -> Any: ...
    def get(self, references: Sequence[Any]) -> list[Any]: ...
    def done(self, references: Sequence[Any]) -> bool: ...
    def revive(self) -> None: ...
    def advise(self, text: str) -> None: ...
    def concluding(self) -> None: ...
    def close(self) -> None: ...


def ask(pool: Pool, method: str, arguments: Mapping[int, Sequence[Any]] | None = None) -> list[Any]:
    """What that method of every peer returns, in peer order; `arguments` by peer where it takes any."""
    return in_order(pool, pool.get(submit_each(pool, method, arguments)))


def submit_each(pool: Pool, method: str, arguments: Mapping[int, Sequence[Any]] | None = None) -> list[Any]:
    """A call of that method for every peer, without waiting: one reference a host, for `in_order`."""
    references = []
    for host, peers in enumerate(pool.hosts):
        own = {peer: arguments[peer] for peer in peers} if arguments is not None else None
        references.append(pool.submit(host, "each", method, own))
    return references


def submit_observations(pool: Pool) -> list[Any]:
    """A call of `observe` of every host, without waiting; one reference a host, for `in_order`."""
    grams = sum(map(len, pool.hosts)) <= MAX_PAIRED
    return [pool.submit(host, "observe", grams) for host in range(len(pool.hosts))]


def in_order(pool: Pool, answers: Sequence[Sequence[Any]]) -> list[Any]:
    """The hosts' lists of answers as one list in peer order."""
    by_peer = {
        peer: each
        for peers, given in zip(pool.hosts, answers, strict=True)
        for peer, each in zip(peers, given, strict=True)
    }
    return [by_peer[peer] for peer in sorted(by_peer)]


def choose_execution(pool: Pool, hosting: HostingConfig, settings: Sequence[PeerSettings], dataset: Any) -> Execution:
    """How hosts run their peers; "auto" times both ways on some peers of the first host, before any is made."""
    if hosting.execution != "auto":
        return hosting.execution
    loop, vectorised = pool.get([pool.submit(0, "trial", list(settings), dataset, hosting.threads)])[0]
    return "vectorised" if vectorised < loop else "loop"


def check_precision(hosting: HostingConfig, gpu: bool) -> None:
    """Raises: ConfigError where the peers' device does not have what is asked."""
    if hosting.precision == "tf32" and not gpu:
        raise ConfigError(
            "hosting.precision 'tf32' is a GPU's, but the peers run on the CPU: set it to float32, or "
            "hosting.device to cuda"
        )


def on_device(settings: PeerSettings, gpu: bool) -> PeerSettings:
    """The settings with the device that the pool gives; Ray shows an actor its own GPU as the first one."""
    return replace(settings, device="cuda" if gpu else "cpu")
