"""Peers in Ray actors: started, called, watched, and started anew where they are lost."""

import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from typing import Any

from coordinator.experiment.config import ConfigError, HostingConfig
from coordinator.experiment.redaction import first_line
from coordinator.pools.base import HostLost, Load, Tell, check_precision, choose_execution, on_device
from coordinator.pools.lost_processes import find_lost, gone, gone_with, in_words
from coordinator.pools.pending_calls import Calls
from coordinator.pools.placement import DataOfNodes, assign, held_up, ids_of, near
from coordinator.pools.ray_cluster import shared_ray
from coordinator.pools.resources import Bundles, evaluators_of, fitting, nodes_of, shares_of_hosts
from coordinator.pools.unaltered import check_unaltered
from coordinator.pools.watcher import logs_in
from peers.learning.settings import Execution, OtherNetwork, PeerSettings

POLLS = 8  # looks at processes that hang, in the time that they may take
PATIENCE = 3.0  # seconds in which a process whose node is gone is seen to be out of reach; others may be at work


class RayPool:
    """`peers_per_host` peers in each of as many Ray actors as it takes; the data set once per node.

    load: gives the peers' settings and the data; it is called once the actors have been asked for, which meanwhile
    start and import. tell: of what is waited for.
    """

    execution: Execution

    def __init__(self, num_peers: int, hosting: HostingConfig, load: Load, tell: Tell = lambda text: None) -> None:
        import ray

        self._ray = ray
        self._hosting, self._tell = hosting, tell
        self._hosts: list[Any] = []
        self._evaluators: list[Any] = []
        self._calls = Calls(ray)
        most = hosting.peers_per_host
        self.hosts = [list(range(first, min(first + most, num_peers))) for first in range(0, num_peers, most)]
        self.nodes, self.execution = [list(range(len(self.hosts)))], "loop"  # until it is known
        self._where: dict[str, str] = {}  # the node of each process
        self._new: set[str] = set()  # what was started anew since the last loss
        self._unopened: set[str] = set()  # what has been started anew, and has not made its peers yet
        self._reviving = False
        self._stack = ExitStack()
        self._guard = self._stack.enter_context(shared_ray(hosting.address))
        try:
            check_unaltered("peers")
            self._start_actors()
            self._settings, dataset = load()
            self._data = DataOfNodes(ray, dataset, self._settings[0].data, self._settings[0].seed)
            self.execution = choose_execution(self, hosting, self._placed(0), self._data_of(self._hosts[:1])[0])
            self._open(range(len(self._hosts)), range(len(self._evaluators)))
        except HostLost as error:
            self.close()
            raise ConfigError(f"hosting: while starting, {error}") from None
        except BaseException:
            self.close()
            raise

    def _start_actors(self) -> None:
        self._shares = shares_of_hosts(self._ray, self._hosting, sum(map(len, self.hosts)))
        check_precision(self._hosting, all(share["GPU"] > 0 for share in self._shares))
        self.evaluators = evaluators_of(self._ray, self._hosting, self._shares)
        self._targets = assign(self._shares, ids_of(self._ray), self._hosting.placement)
        self._hosts = [self._start_host(host) for host in range(len(self.hosts))]
        self._evaluators = [self._start_evaluator() for _ in range(self.evaluators)]

    def _start_host(self, host: int) -> Any:
        from peers.hosting.actor import RemotePeerHost

        share, resources = self._shares[host], self._hosting.resources
        options = {"num_cpus": share["CPU"], "num_gpus": share["GPU"], "resources": resources or None}
        return RemotePeerHost.options(**options, **near(self._targets[host])).remote()

    def _start_evaluator(self) -> Any:
        from peers.hosting.actor import RemoteEvaluator

        return RemoteEvaluator.options(num_cpus=1).remote()

    def _placed(self, host: int) -> list[PeerSettings]:
        """The settings of a host's peers, with the device that they are on."""
        return [on_device(self._settings[peer], self._shares[host]["GPU"] > 0) for peer in self.hosts[host]]

    def _open(self, hosts: Sequence[int], evaluators: Sequence[int]) -> None:
        """Have these processes make their peers, and wait for them."""
        threads, settings = self._hosting.threads, list(self._settings)
        own, probing = [self._hosts[each] for each in hosts], [self._evaluators[each] for each in evaluators]
        data, shown = self._data_of(own), self._data_of(probing)
        opened = [
            process.open.remote(self._placed(host), each, threads, self.execution)
            for host, process, each in zip(hosts, own, data, strict=True)
        ]
        opened += [process.open.remote(settings, each, threads) for process, each in zip(probing, shown, strict=True)]
        self._wait_until_ready(opened)
        processes = self._processes()
        self._where = dict(zip(processes, self._nodes(list(processes.values())), strict=True))
        self.nodes = _alike([self._where[self._name(host)] for host in range(len(self._hosts))])

    def _data_of(self, processes: Sequence[Any]) -> list[Any]:
        """What each process is given as data; it has to have started only where nodes read their own."""
        nodes = self._nodes(processes) if self._data.per_node else [""] * len(processes)
        return [self._data.on(node) for node in nodes]

    def _nodes(self, processes: Sequence[Any]) -> list[str]:
        """The node that each process is on, once it has started."""
        return self._wait_until_ready([each.node.remote() for each in processes])

    def submit(self, host: int, method: str, *args: Any, num_returns: int = 1) -> Any:
        answer = getattr(self._hosts[host], method).options(num_returns=num_returns).remote(*args)
        self._calls.add(self._name(host), method, answer[-1] if num_returns > 1 else answer, args)
        self._reviving = self._reviving and method == "each"  # by which peers are restored
        return answer

    def evaluate(self, evaluator: int, *args: Any) -> Any:
        answer = self._evaluators[evaluator].probe.remote(*args)
        self._calls.add(f"evaluator {evaluator}", "probe", answer, args)
        self._reviving = False
        return answer

    def done(self, references: Sequence[Any]) -> bool:
        ready, _ = self._ray.wait(list(references), num_returns=len(references), timeout=0)
        return len(ready) == len(references)

    def get(self, references: Sequence[Any]) -> list[Any]:
        self._wait(references)
        try:
            values = list(self._ray.get(list(references)))
        except self._ray.exceptions.RayError as error:
            cause = getattr(error, "cause", None) or error  # of a call that failed, or whose argument did
            if not isinstance(cause, self._ray.exceptions.RayError):
                raise cause from None  # the peer's own exception, as in the other pool
            raise self._loss(cause) from None
        self._calls.read(references)
        return values

    def _loss(self, cause: Exception) -> HostLost:
        """What is lost, once Ray knows it. It is part of the last loss if nothing of it had been started anew since."""
        found = find_lost(self._ray, self._processes(), PATIENCE, self._tell)
        lost = {name: reason for name, reason in found.items() if reason}
        again = (
            self._reviving and bool(lost) and not (self._new & lost.keys() - gone_with(self._ray, lost, self._where))
        )
        logs = logs_in(self._guard.folder) if self._guard and self._guard.folder else ""
        what = in_words(self._ray, lost, self._where, logs) or (
            f"what a host had sent was lost ({type(cause).__name__}: {first_line(cause)})"
        )
        return HostLost(what, again)

    def revive(self) -> None:
        """Start the processes that are lost anew, with untrained peers; all if the cluster has become smaller.

        What is lost meanwhile, or with another node, is started as well. Raises: HostLost.
        """
        if not self._reviving:
            self._reviving, self._new = True, set()
        self._calls.forget()
        while True:
            try:
                self._replace_lost()
                return
            except ConfigError as error:  # such as data that a node cannot read
                raise HostLost(str(error)) from None
            except HostLost as error:
                if not error.again:
                    raise
                self._tell(f"{error}; part of the same loss")

    def _replace_lost(self) -> None:
        lost = self._lost()
        hosts = [host for host in range(len(self._hosts)) if self._name(host) in lost]
        evaluators = [each for each in range(len(self._evaluators)) if f"evaluator {each}" in lost]
        if self._shares_when_there_is_room() != self._shares or not self._all_fit():
            self._kill_all()
            self._start_actors()
            hosts, evaluators = list(range(len(self._hosts))), list(range(len(self._evaluators)))
        else:
            self._targets = assign(self._shares, ids_of(self._ray), self._hosting.placement)
            for host in hosts:
                self._hosts[host] = self._start_host(host)
            for each in evaluators:
                self._evaluators[each] = self._start_evaluator()
        self._unopened = {self._name(host) for host in hosts} | {f"evaluator {each}" for each in evaluators}
        self._new |= self._unopened
        self._open(hosts, evaluators)
        self._unopened = set()

    def _all_fit(self) -> bool:
        """Whether the cluster still holds hosts and evaluators together, or these would keep those from starting."""
        evaluators: Bundles = [{"CPU": 1.0}] * len(self._evaluators)
        return fitting([[*self._shares, *evaluators]], nodes_of(self._ray)) == 1

    def _shares_when_there_is_room(self) -> Any:
        """What each host takes of the cluster. Raises: HostLost, if it is too small for them, and stays so."""
        seconds = self._hosting.start_timeout
        until, told = time.monotonic() + seconds, False
        while True:
            try:
                return shares_of_hosts(self._ray, self._hosting, len(self._settings))
            except ConfigError as error:
                if time.monotonic() > until:
                    raise HostLost(f"{error} (waited for {seconds:g} s)", final=True) from None
                if not told:
                    self._tell(f"{error}; waiting up to {seconds:g} s for a node")
                told = True
                time.sleep(1.0)

    def advise(self, text: str) -> None:
        if self._guard:
            self._guard.advise(self, text)

    def concluding(self) -> None:
        if self._guard:
            self._guard.concluding(self)

    def close(self) -> None:
        try:
            self._kill_all()
            if not self._guard and self._hosts:
                # killed actors may still be at work for a moment: a call that fails says that they are gone
                gone = [host.ready.remote() for host in self._hosts]
                self._ray.wait(gone, num_returns=len(gone), timeout=5)
        finally:
            self._stack.close()

    def _kill_all(self) -> None:
        for host in [*self._hosts, *self._evaluators]:
            with suppress(Exception):
                self._ray.kill(host)

    def _name(self, host: int) -> str:
        first, last = self.hosts[host][0], self.hosts[host][-1]
        return f"the host of peer {first}" if first == last else f"the host of peers {first} to {last}"

    def _processes(self) -> dict[str, Any]:
        """All of them by name, hosts first."""
        evaluators = {f"evaluator {place}": each for place, each in enumerate(self._evaluators)}
        return {self._name(host): each for host, each in enumerate(self._hosts)} | evaluators

    def _wait(self, references: Sequence[Any]) -> None:
        """Until they are there, or failed. Raises: HostLost, when a process is too long at one call: it is killed."""
        seconds = self._hosting.timeout
        distinct = list(dict.fromkeys(references))
        while distinct:
            _, late = self._ray.wait(distinct, num_returns=len(distinct), timeout=seconds / POLLS)
            if not late:
                return
            stuck = self._calls.stuck(seconds)
            if stuck:
                for name, process in self._processes().items():
                    if name in stuck:
                        self._ray.kill(process)
                told = ", ".join(f"{name} has been at '{method}'" for name, method in stuck.items())
                raise HostLost(f"{told} for more than hosting.timeout = {seconds:g} s and was ended")

    def _lost(self) -> set[str]:
        """The names of those that do not answer, in the time that a call may take; they are ended for sure."""
        processes = self._processes()
        asked = {name: each for name, each in processes.items() if name not in self._unopened}
        lost = self._unopened | find_lost(self._ray, asked, self._hosting.timeout, self._tell).keys()
        for name in lost:
            with suppress(Exception):
                self._ray.kill(processes[name])
        return lost

    def _wait_until_ready(self, waiting: list[Any]) -> list[Any]:
        seconds = self._hosting.start_timeout
        up, until = ids_of(self._ray).keys(), time.monotonic() + seconds
        while waiting:
            left = max(until - time.monotonic(), 0.0)
            _, late = self._ray.wait(waiting, num_returns=len(waiting), timeout=min(left, PATIENCE))
            if not late:
                break
            lost = [gone(node) for node in self._ray.nodes() if node["NodeID"] in up and not node.get("Alive", True)]
            if lost and self._reviving:  # what was to start there might not find room elsewhere
                raise HostLost(" and ".join(lost), again=True)
            if not left:
                raise ConfigError(
                    f"hosting: {len(late)} of {len(waiting)} processes did not start in {seconds:g} s; "
                    f"{held_up(self._ray, self._shares)}: end what else runs there, lower peers.count or raise "
                    "hosting.start_timeout"
                )
        try:
            return self.get(waiting)
        except OtherNetwork as error:
            raise ConfigError(str(error)) from None


def _alike(names: Sequence[str]) -> list[list[int]]:
    """The places of each name, in order of first appearance."""
    places: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        places.setdefault(name, []).append(place)
    return list(places.values())
