"""The pool whose peers live in Ray actors: starts the actors, monitors them, and replaces lost ones."""

import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from typing import Any, TypeVar

from coordinator.experiment.config import ConfigError, HostingConfig
from coordinator.experiment.redaction import first_line
from coordinator.planning.hosts import hosts_of
from coordinator.planning.workers import forks
from coordinator.pools.base import (
    HostLost,
    Load,
    Ref,
    SameLoss,
    Tell,
    check_precision,
    choose_way,
    on_device,
    with_way,
)
from coordinator.pools.forking.fork_server import HOSTS
from coordinator.pools.lost_processes import describe_losses, describe_lost_node, find_lost, lost_with_node
from coordinator.pools.pending_calls import PendingCalls
from coordinator.pools.placement import (
    DataOfNodes,
    all_fit,
    describe_shortage,
    group_by_node,
    place,
    resources_by_node,
    wait_for_room,
)
from coordinator.pools.ray_actors import ActorStarter
from coordinator.pools.ray_cluster import shared_ray
from coordinator.pools.ray_handles import RECOVERY, Method, RayEvaluator, RayHost, RayProcess
from coordinator.pools.resources import count_evaluators, node_resources, reservations_of_hosts, with_hosts
from coordinator.pools.unaltered import check_unaltered
from coordinator.pools.watcher import logs_in
from peers.data.datasets import Dataset
from peers.hosting.origin import Origin
from peers.hosting.ways import USUAL
from peers.learning.settings import OtherNetwork, PeerSettings

POLLS = 8  # checks for hanging processes within the time limit of one call
PATIENCE = 3.0  # seconds in which an actor on a lost node turns out to be unreachable; silent ones may be busy
T = TypeVar("T")


class RayPool:
    """Each Ray actor hosts up to `peers_per_host` peers; each node holds the data set once.

    load: returns the peers' settings and the data; called after the actors have been requested, to overlap with their
    start. tell: called with a line about what the pool waits for. data: that of another pool of this process, to share.
    """

    def __init__(
        self,
        num_peers: int,
        hosting: HostingConfig,
        load: Load,
        tell: Tell = lambda text: None,
        data: DataOfNodes | None = None,
    ) -> None:
        import ray

        self._ray, self._tell, self._calls = ray, tell, PendingCalls(ray)
        self.hosts, self.evaluators = list[RayHost](), list[RayEvaluator]()
        self._node_of, self.workers = dict[str, str](), dict[Origin, int]()  # by process, the id of its node
        self._replaced: set[str] = set()  # processes that were started since the last loss
        self._unopened: set[str] = set()  # processes that were started but have not created their peers yet
        self._recovering, self._stack, self.way = False, ExitStack(), USUAL
        self._guard = self._stack.enter_context(shared_ray(hosting.address, HOSTS if forks(hosting) else ()))
        try:
            self.hosting = hosting = with_hosts(hosting, num_peers, node_resources(ray))
            self.hosts = [RayHost(peers, self._note) for peers in hosts_of(hosting, num_peers)]
            self.nodes = [list(range(len(self.hosts)))]  # until processes are placed
            self._starter = ActorStarter(hosting)
            check_unaltered("peers")
            self._start_actors()
            self._settings, dataset = load()
            self.data = data or DataOfNodes(ray, dataset, self._settings[0])
            self.way = choose_way(self, hosting, self._placed(0), self._data_of(self.hosts[:1])[0])
            self.hosting = with_way(hosting, self.way)
            self._settings = [self.way.of(each) for each in self._settings]
            self._open(range(len(self.hosts)), range(len(self.evaluators)))
        except HostLost as error:
            self.close()
            raise ConfigError(f"hosting: while starting, {error}") from None
        except BaseException:
            self.close()
            raise

    def _start_actors(self) -> None:
        self.reservations = reservations_of_hosts(self._ray, self.hosting, self._num_peers)
        check_precision(self.hosting, all(reserved["GPU"] > 0 for reserved in self.reservations))
        count = count_evaluators(self._ray, self.hosting, self.reservations)
        self.evaluators = [RayEvaluator(f"evaluator {place}", self._note) for place in range(count)]
        self._start(range(len(self.hosts)), range(count))

    def _start(self, hosts: Sequence[int], evaluators: Sequence[int]) -> None:
        """Start new actors for these hosts and evaluators, given by index."""
        targets = place(self._ray, self.reservations, hosts, self.hosting.placement)
        for host, target in zip(hosts, targets, strict=True):
            self.hosts[host].actor = self._starter.host(self.reservations[host], target)
        for evaluator in evaluators:
            self.evaluators[evaluator].actor = self._starter.evaluator()

    def _placed(self, host: int) -> list[PeerSettings]:
        """The settings of a host's peers, including their device."""
        return [on_device(self._settings[peer], self.reservations[host]["GPU"] > 0) for peer in self.hosts[host].peers]

    def _open(self, hosts: Sequence[int], evaluators: Sequence[int]) -> None:
        """Have these hosts and evaluators (given by index) create their peers, and wait until they have."""
        threads, settings = self.hosting.threads, list(self._settings)
        opened, probing = [self.hosts[host] for host in hosts], [self.evaluators[place] for place in evaluators]
        data, probed = self._data_of(opened), self._data_of(probing)
        waiting = [
            self.hosts[host].open(self._placed(host), dataset, threads, self.way.execution)
            for host, dataset in zip(hosts, data, strict=True)
        ]
        waiting += [process.open(settings, dataset, threads) for process, dataset in zip(probing, probed, strict=True)]
        self._wait_until_ready(waiting)
        names = [process.name for process in self._processes]
        self._node_of = dict(zip(names, self._nodes(self._processes), strict=True))
        self.nodes = group_by_node([self._node_of[host.name] for host in self.hosts])
        began = self.get([Ref[Origin](process.actor.began.remote()) for process in self._processes])
        self.workers = dict(Counter(began))
        self._starter.tell_of(self.workers, self._tell)

    def _data_of(self, processes: Sequence[RayProcess]) -> list[Ref[Dataset]]:
        """The data for each process. Waits for the processes to start only if each node reads its own copy."""
        nodes = self._nodes(processes) if self.data.per_node else [""] * len(processes)
        return [self.data.on(node) for node in nodes]

    def _nodes(self, processes: Sequence[RayProcess]) -> list[str]:
        """Wait until the processes have started; returns the id of each one's node."""
        return self._wait_until_ready([Ref[str](process.actor.node.remote()) for process in processes])

    @property
    def _num_peers(self) -> int:
        return sum(len(host.peers) for host in self.hosts)

    @property
    def _processes(self) -> list[RayProcess]:
        return [*self.hosts, *self.evaluators]

    def _note(self, process: str, method: Method, answer: Any, arguments: Sequence[Any]) -> None:
        """Register a submitted call."""
        self._calls.add(process, method.__name__, answer, arguments)
        self._recovering = self._recovering and method in RECOVERY

    def done(self, references: Sequence[Ref[object]]) -> bool:
        waiting = [reference.value for reference in references]
        ready, _ = self._ray.wait(waiting, num_returns=len(waiting), timeout=0)
        return len(ready) == len(waiting)

    def get(self, references: Sequence[Ref[T]]) -> list[T]:
        waiting = [reference.value for reference in references]
        self._wait(waiting)
        try:
            values = list(self._ray.get(waiting))
        except self._ray.exceptions.RayError as error:
            cause = getattr(error, "cause", None) or error  # the failure of the call itself, or of one of its arguments
            if not isinstance(cause, self._ray.exceptions.RayError):
                raise cause from None  # the peer's own exception, as in the in-process pool
            raise self._loss(cause) from None
        self._calls.read(waiting)
        return values

    def _loss(self, cause: Exception) -> HostLost:
        """The exception for lost processes; during a recovery a `SameLoss`, unless a replacement was lost by itself.

        A replacement that was lost together with its node still counts as the same loss.
        """
        found = find_lost(self._ray, self._actors(), PATIENCE, self._tell)
        lost = {name: reason for name, reason in found.items() if reason}
        failed = self._replaced & lost.keys() - lost_with_node(self._ray, lost, self._node_of)
        logs = logs_in(self._guard.folder) if self._guard and self._guard.folder else ""
        what = describe_losses(self._ray, lost, self._node_of, logs) or (
            f"what a host had sent was lost ({type(cause).__name__}: {first_line(cause)})"
        )
        return SameLoss(what) if self._recovering and lost and not failed else HostLost(what)

    def revive(self) -> None:
        """Replace the lost processes by ones with untrained peers; replace all processes if the cluster has shrunk.

        Further processes that are lost meanwhile are replaced, too. Raises: HostLost.
        """
        if not self._recovering:
            self._recovering, self._replaced = True, set()
        self._calls.clear()
        while True:
            try:
                self._replace_lost()
                return
            except ConfigError as error:  # such as data that a node cannot read
                raise HostLost(str(error)) from None
            except SameLoss as error:
                self._tell(f"{error}; part of the same loss")

    def _replace_lost(self) -> None:
        lost = self._end_lost()
        hosts = [place for place, host in enumerate(self.hosts) if host.name in lost]
        evaluators = [place for place, evaluator in enumerate(self.evaluators) if evaluator.name in lost]
        possible = wait_for_room(self._ray, self.hosting, self._num_peers, self._tell)
        if possible != self.reservations or not all_fit(self._ray, self.reservations, len(self.evaluators)):
            self._kill_all()
            self._start_actors()
            hosts, evaluators = list(range(len(self.hosts))), list(range(len(self.evaluators)))
        else:
            self._start(hosts, evaluators)
        self._unopened = {self.hosts[place].name for place in hosts}
        self._unopened |= {self.evaluators[place].name for place in evaluators}
        self._replaced |= self._unopened
        self._open(hosts, evaluators)
        self._unopened = set()

    def restart(self, settings: Sequence[PeerSettings]) -> None:
        self._settings = settings
        waiting = [host.restart(self._placed(place)) for place, host in enumerate(self.hosts)]
        self.get([*waiting, *(evaluator.restart(list(settings)) for evaluator in self.evaluators)])

    def advise(self, text: str) -> None:
        if self._guard:
            self._guard.advise(self, text)

    def concluding(self) -> None:
        if self._guard:
            self._guard.concluding(self)

    def close(self) -> None:
        try:
            self._kill_all()
            started = [host.actor for host in self.hosts if host.actor is not None]
            if not self._guard and started:
                # killed actors may live on for a moment: wait until a call to each of them has failed
                ended = [actor.ready.remote() for actor in started]
                self._ray.wait(ended, num_returns=len(ended), timeout=5)
        finally:
            self._stack.close()

    def _kill_all(self) -> None:
        for process in self._processes:
            with suppress(Exception):
                self._ray.kill(process.actor)

    def _actors(self) -> dict[str, Any]:
        """The actors by process name, hosts first."""
        return {process.name: process.actor for process in self._processes}

    def _wait(self, references: Sequence[Any]) -> None:
        """Wait until all references have resolved or failed. Raises: HostLost, after killing processes that hang."""
        seconds = self.hosting.timeout
        distinct = list(dict.fromkeys(references))
        while distinct:
            _, late = self._ray.wait(distinct, num_returns=len(distinct), timeout=seconds / POLLS)
            if not late:
                return
            stuck = self._calls.stuck(seconds)
            if stuck:
                for process in self._processes:
                    if process.name in stuck:
                        self._ray.kill(process.actor)
                what = ", ".join(f"{name} has been at '{method}'" for name, method in stuck.items())
                raise HostLost(f"{what} for more than hosting.timeout = {seconds:g} s and was ended")

    def _end_lost(self) -> set[str]:
        """Kill the processes that are lost or do not answer within `hosting.timeout`; returns their names."""
        actors = self._actors()
        opened = {name: actor for name, actor in actors.items() if name not in self._unopened}
        lost = self._unopened | find_lost(self._ray, opened, self.hosting.timeout, self._tell).keys()
        for name in lost:
            with suppress(Exception):
                self._ray.kill(actors[name])
        return lost

    def _wait_until_ready(self, references: list[Ref[T]]) -> list[T]:
        """Wait for results of processes that are starting. Raises: ConfigError, after `hosting.start_timeout`."""
        seconds = self.hosting.start_timeout
        waiting = [reference.value for reference in references]
        up, deadline = resources_by_node(self._ray).keys(), time.monotonic() + seconds
        while waiting:
            remaining = max(deadline - time.monotonic(), 0.0)
            _, late = self._ray.wait(waiting, num_returns=len(waiting), timeout=min(remaining, PATIENCE))
            if not late:
                break
            down = [node for node in self._ray.nodes() if node["NodeID"] in up and not node.get("Alive", True)]
            if down and self._recovering:  # its processes might not fit on the other nodes
                raise SameLoss(" and ".join(map(describe_lost_node, down)))
            if not remaining:
                what = f"{len(late)} of {len(waiting)} processes did not start in {seconds:g} s"
                raise ConfigError(f"hosting: {what}; {describe_shortage(self._ray, self.reservations)}")
        try:
            return self.get(references)
        except OtherNetwork as error:
            raise ConfigError(str(error)) from None
