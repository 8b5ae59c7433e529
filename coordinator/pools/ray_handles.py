"""Typed handles of a pool's Ray actors: methods of hosts and evaluators that return references to their results."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Concatenate, ParamSpec, TypeVar

from coordinator.pools.base import Published, Ref
from peers.data.datasets import Dataset
from peers.exchange.assignment import Assignment, Rejoin, Study
from peers.exchange.sums import Sum
from peers.hosting.evaluator import Evaluator, State
from peers.hosting.host import PeerHost
from peers.hosting.postbox import Bundle
from peers.hosting.ways import Way
from peers.learning.settings import Execution, PeerSettings
from peers.probing.measuring import ProbeOutcome, ProbeSubject
from peers.probing.observing import Observations

P = ParamSpec("P")
T = TypeVar("T")
Method = Callable[..., Any]
Note = Callable[[str, Method, Any, Sequence[Any]], None]


class RayProcess:
    """The handle of an actor; if the actor is lost, the handle gets a replacement.

    name: used in messages to the user. note: called for every call with the process's name, the method, Ray's
    reference to the result (the last one if there are several), and the arguments.
    """

    def __init__(self, name: str, note: Note) -> None:
        self.name = name
        self.actor: Any = None  # until it has been started
        self._methods: tuple[Any, dict[str, Any]] = (None, {})  # an actor and its methods
        self._note = note

    def _call(self, method: Callable[Concatenate[Any, P], T], *arguments: P.args, **named: P.kwargs) -> Ref[T]:
        """Call a method that takes no references; its arguments are type-checked against the class."""
        assert not named, "arguments are given by position"
        return self._pass(method, *arguments)

    def _pass(self, method: Callable[..., T], *arguments: Any) -> Ref[T]:
        """Call a method that takes references among its arguments: Ray replaces them by their values."""
        (answer,) = self._submit(method, arguments, 1)
        return Ref(answer)

    def _submit(self, method: Method, arguments: Sequence[Any], num_returns: int) -> list[Any]:
        passed = [argument.value if isinstance(argument, Ref) else argument for argument in arguments]
        answer = self._bound(method, num_returns).remote(*passed)
        answers = [answer] if num_returns == 1 else list(answer)
        self._note(self.name, method, answers[-1], passed)
        return answers

    def _bound(self, method: Method, num_returns: int) -> Any:
        """The actor's method, made once for each actor: that takes as long as a call."""
        if self._methods[0] is not self.actor:
            self._methods = (self.actor, {})
        methods, name = self._methods[1], method.__name__
        if name not in methods:
            methods[name] = getattr(self.actor, name).options(num_returns=num_returns)
        return methods[name]


class RayHost(RayProcess):
    """A host in a Ray actor."""

    def __init__(self, peers: list[int], note: Note) -> None:
        first, last = peers[0], peers[-1]
        super().__init__(f"the host of peer {first}" if first == last else f"the host of peers {first} to {last}", note)
        self.peers = peers

    def _publish(self, method: Method, *arguments: Any) -> Published:
        """Call a method whose answer is a bundle and the peers' statistics."""
        bundle, stats = self._submit(method, arguments, 2)
        return Ref(bundle), Ref(stats)

    def open(
        self, settings: Sequence[PeerSettings], dataset: Ref[Dataset], num_threads: int, execution: Execution
    ) -> Ref[None]:
        return self._pass(PeerHost.open, settings, dataset, num_threads, execution)

    def trial(
        self, settings: Sequence[PeerSettings], dataset: Ref[Dataset], num_threads: int, ways: Sequence[Way]
    ) -> Ref[Way]:
        return self._pass(PeerHost.trial, settings, dataset, num_threads, ways)

    def touch(self, folder: str, name: str) -> Ref[None]:
        return self._call(PeerHost.touch, folder, name)

    def publish(
        self, assignments: Mapping[int, Assignment], live: Mapping[int, Sequence[int]] | None = None
    ) -> Published:
        return self._publish(PeerHost.publish, assignments, live)

    def advance(
        self, round_index: int, following: Mapping[int, Assignment | None], *arrived: Ref[Bundle | Sum]
    ) -> Published:
        return self._publish(PeerHost.advance, round_index, following, *arrived)

    def step(
        self, studies: Mapping[int, Study], following: Mapping[int, Assignment | None], *arrived: Ref[Bundle]
    ) -> Published:
        return self._publish(PeerHost.step, studies, following, *arrived)

    def rejoin(
        self, assignments: Mapping[int, Assignment], returns: Mapping[int, Rejoin], *states: Ref[Mapping[int, State]]
    ) -> Published:
        return self._publish(PeerHost.rejoin, assignments, returns, *states)

    def total(self, *bundles: Ref[Bundle]) -> Ref[Sum]:
        return self._pass(PeerHost.total, *bundles)

    def observe(self, grams: bool, keep: bool = False) -> Ref[Observations]:
        return self._call(PeerHost.observe, grams, keep)

    def probe(self, subject: ProbeSubject, rounds: Mapping[int, Sequence[int]]) -> Ref[dict[int, ProbeOutcome]]:
        return self._call(PeerHost.probe, subject, rounds)

    def states(self, peers: Sequence[int] | None = None) -> Ref[dict[int, State]]:
        return self._call(PeerHost.states, peers)

    def digest(self) -> Ref[dict[int, bytes]]:
        return self._call(PeerHost.digest)

    def save(self, folder: str, completed: int) -> Ref[dict[int, str]]:
        return self._call(PeerHost.save, folder, completed)

    def restore(self, folder: str, checksums: Mapping[int, str]) -> Ref[dict[int, int]]:
        return self._call(PeerHost.restore, folder, checksums)

    def restart(self, settings: Sequence[PeerSettings]) -> Ref[None]:
        return self._call(PeerHost.restart, settings)


class RayEvaluator(RayProcess):
    """An evaluator in a Ray actor."""

    def restart(self, settings: Sequence[PeerSettings]) -> Ref[None]:
        return self._call(Evaluator.restart, settings)

    def open(self, settings: Sequence[PeerSettings], dataset: Ref[Dataset], num_threads: int) -> Ref[None]:
        return self._pass(Evaluator.open, settings, dataset, num_threads)

    def probe(
        self, peer: int, subject: ProbeSubject, rounds: Sequence[int], states: Ref[dict[int, State]] | None
    ) -> Ref[dict[int, ProbeOutcome]]:
        return self._pass(Evaluator.probe, peer, subject, rounds, states)


RECOVERY = (PeerHost.open, Evaluator.open, PeerHost.restart, Evaluator.restart, PeerHost.restore)
"""The calls that bring lost processes back; any other call ends a recovery."""
