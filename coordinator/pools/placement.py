"""Places a run's hosts on the nodes of a Ray cluster, waits for room, and gets the data to each node."""

import time
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Literal

from coordinator.experiment.config import ConfigError, HostingConfig
from coordinator.experiment.redaction import first_line
from coordinator.planning.loading import load_sections
from coordinator.pools.base import HostLost, RecoveryFailed, Ref, Tell
from coordinator.pools.resources import (
    Reservations,
    Resources,
    count_fitting,
    format_resources,
    node_resources,
    reservations_of_hosts,
)
from peers.data.config import DataConfig
from peers.data.dataset_check import digest_of
from peers.data.datasets import Dataset
from peers.learning.settings import PeerSettings

Placement = Literal["spread", "pack"]


def assign(reservations: Reservations, nodes: Mapping[str, Resources], placement: Placement) -> list[str]:
    """The id of the node for each host; "" if it fits on no node. Assumes that nothing else runs on the nodes.

    spread: each host goes to the node with the fewest hosts among those with room. pack: hosts fill up the largest
    node first, then the next.
    """
    held: dict[str, Reservations] = {name: [] for name in nodes}
    order = sorted(nodes, key=lambda name: (-nodes[name].get("GPU", 0.0), -nodes[name].get("CPU", 0.0)))
    assigned = []
    for reservation in reservations:
        able = [name for name in order if count_fitting([[*held[name], reservation]], [nodes[name]])]
        if placement == "spread":
            able.sort(key=lambda name: len(held[name]))
        assigned.append(able[0] if able else "")
        if able:
            held[able[0]].append(reservation)
    return assigned


def place(ray: Any, reservations: Reservations, hosts: Sequence[int], placement: Placement) -> list[str]:
    """The id of the node for each of these hosts, given by index, of a run with these reservations."""
    idle = assign(reservations, resources_by_node(ray), placement)
    return around([idle[host] for host in hosts], [reservations[host] for host in hosts], free_by_node(ray))


def around(targets: Sequence[str], reservations: Reservations, free: Mapping[str, Resources]) -> list[str]:
    """The same nodes for these hosts, but another where one is full of what else runs there and another is not.

    free: what each node has left. Ray does not look elsewhere for a host that was assigned to a node that is full.
    """
    held: dict[str, Reservations] = {name: [] for name in free}
    found = []
    for target, reservation in zip(targets, reservations, strict=True):
        able = [name for name in free if count_fitting([[*held[name], reservation]], [free[name]])]
        able.sort(key=lambda name: (len(held[name]), -free[name].get("CPU", 0.0)))
        chosen = target if target in able or not able else able[0]
        if chosen in held:
            held[chosen].append(reservation)
        found.append(chosen)
    return found


def affinity_options(node: str) -> dict[str, Any]:
    """Actor options that prefer a node (soft affinity); empty inside a placement group, which decides by itself."""
    from ray.util import get_current_placement_group
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    if not node or get_current_placement_group() is not None:
        return {}
    return {"scheduling_strategy": NodeAffinitySchedulingStrategy(node, soft=True)}


class DataOfNodes:
    """References to the data set for each node: one copy shared through the object store, or a copy loaded per node."""

    def __init__(self, ray: Any, dataset: Dataset, settings: PeerSettings) -> None:
        self._ray = ray
        self._section, self._seed, self._others = settings.data, settings.seed, settings.other_data
        self._digest = digest_of(dataset) if self._section.on_each_node else b""  # reads all images
        self._shared: Ref[Dataset] = Ref(ray.put(dataset))
        self._own: dict[str, Ref[Dataset]] = {ray.get_runtime_context().get_node_id(): self._shared}

    @property
    def per_node(self) -> bool:
        """Whether each node reads its own copy."""
        return self._section.on_each_node

    def on(self, node: str) -> Ref[Dataset]:
        """The data for processes on a node. Raises: ConfigError, if the node's own copy is unreadable or differs."""
        if not self.per_node:
            return self._shared
        if node not in self._own:
            self._own[node] = self._load_on(node)
        return self._own[node]

    def _load_on(self, node: str) -> Ref[Dataset]:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        on_node = NodeAffinitySchedulingStrategy(node, soft=False)
        load = _remote_load().options(scheduling_strategy=on_node, num_cpus=0, num_returns=2)
        dataset, digest = load.remote(self._section, self._seed, self._others)
        try:
            found = self._ray.get(digest)
        except self._ray.exceptions.RayError as error:
            if not isinstance(error, self._ray.exceptions.RayTaskError):
                raise HostLost(f"node {self._address(node)} was lost ({first_line(error)})") from None
            why = first_line(getattr(error, "cause", None) or error)
            raise ConfigError(
                f"data.on_each_node: node {self._address(node)} cannot read its copy ({why}): put it there, or set it "
                "to false"
            ) from None
        if found != self._digest:
            raise ConfigError(
                f"data.on_each_node: node {self._address(node)} has other {self._section.kind} than this one: copy it "
                "anew, or set it to false"
            )
        return Ref(dataset)

    def _address(self, node: str) -> str:
        addresses = {known["NodeID"]: known.get("NodeManagerAddress", "") for known in self._ray.nodes()}
        return f"{addresses.get(node, '')} ({node[:8]})"


def load_with_digest(
    section: DataConfig, seed: int, others: Mapping[str, DataConfig] | None = None
) -> tuple[Dataset, bytes]:
    """Load a data set on this machine, with the others of a run; returns it with its digest. Raises: ValueError."""
    dataset = load_sections(section, seed, others or {})
    return dataset, digest_of(dataset)


@cache
def _remote_load() -> Any:
    import ray

    return ray.remote(load_with_digest)


def resources_by_node(ray: Any) -> dict[str, Resources]:
    """The resources of every live node, by node id."""
    return {node["NodeID"]: node["Resources"] for node in ray.nodes() if node.get("Alive", True)}


def free_by_node(ray: Any) -> dict[str, Resources]:
    """What every live node has left, by node id, as Ray saw it a moment ago."""
    from ray._private.state import available_resources_per_node  # Ray has no public call for it
    from ray.util.client import ray as client

    live = resources_by_node(ray)
    if client.is_connected():  # by ray://: this process has no state of the cluster, one of its own has
        found = ray.get(ray.remote(num_cpus=0)(available_resources_per_node).remote())
    else:
        found = available_resources_per_node()
    return {node: free for node, free in found.items() if node in live}


def describe_shortage(ray: Any, reservations: Reservations) -> str:
    """A clause that compares the resources that hosts request with those that are free in the cluster, with advice."""
    per_host = format_resources(reservations[0])
    total, free = format_resources(ray.cluster_resources()), format_resources(ray.available_resources())
    return (
        f"they ask for {len(reservations)} x ({per_host}), and of {total} there are {free} free: end what else runs "
        "there, lower peers.count or raise hosting.start_timeout"
    )


def all_fit(ray: Any, reservations: Reservations, num_evaluators: int) -> bool:
    """Whether hosts and evaluators fit on the cluster together; otherwise evaluators could keep hosts from starting."""
    evaluators: Reservations = [{"CPU": 1.0}] * num_evaluators
    return count_fitting([[*reservations, *evaluators]], node_resources(ray)) == 1


def wait_for_room(ray: Any, hosting: HostingConfig, num_peers: int, tell: Tell) -> Reservations:
    """Wait until all hosts fit on the cluster; returns their reservations. Raises: RecoveryFailed, on a timeout."""
    seconds = hosting.start_timeout
    until, waiting = time.monotonic() + seconds, False
    while True:
        try:
            return reservations_of_hosts(ray, hosting, num_peers)
        except ConfigError as error:
            if time.monotonic() > until:
                raise RecoveryFailed(f"{error} (waited for {seconds:g} s)") from None
            if not waiting:
                tell(f"{error}; waiting up to {seconds:g} s for a node")
            waiting = True
            time.sleep(1.0)


def group_by_node(nodes: Sequence[str]) -> list[list[int]]:
    """Invert the list of each host's node: the hosts of each node, in order of the nodes' first appearance."""
    hosts: dict[str, list[int]] = {}
    for host, node in enumerate(nodes):
        hosts.setdefault(node, []).append(host)
    return list(hosts.values())
