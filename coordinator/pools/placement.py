"""Where on a Ray cluster a run's hosts go, and what data each node has."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Literal

from coordinator.experiment.config import ConfigError
from coordinator.experiment.plan import load_section
from coordinator.experiment.redaction import first_line
from coordinator.pools.base import HostLost
from coordinator.pools.resources import Bundles, Node, fitting, told
from peers.data.config import DataConfig
from peers.data.dataset_check import digest_of
from peers.data.datasets import Dataset

Placement = Literal["spread", "pack"]


def assign(shares: Bundles, nodes: Mapping[str, Node], placement: Placement) -> list[str]:
    """The node of each host, by id; "" where empty nodes do not hold it.

    spread: each on the node with the fewest of them, of those with room. pack: on as few nodes as hold them, the
    largest first.
    """
    held: dict[str, Bundles] = {name: [] for name in nodes}
    order = sorted(nodes, key=lambda name: (-nodes[name].get("GPU", 0.0), -nodes[name].get("CPU", 0.0)))
    found = []
    for share in shares:
        able = [name for name in order if fitting([[*held[name], share]], [nodes[name]])]
        if placement == "spread":
            able.sort(key=lambda name: len(held[name]))
        found.append(able[0] if able else "")
        if able:
            held[able[0]].append(share)
    return found


def near(node: str) -> dict[str, Any]:
    """Options of an actor that is to be on a node, if that has room; none where another placement group decides."""
    from ray.util import get_current_placement_group
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    if not node or get_current_placement_group() is not None:
        return {}
    return {"scheduling_strategy": NodeAffinitySchedulingStrategy(node, soft=True)}


class DataOfNodes:
    """References to the data set for each node: one copy that the object store carries, or each node's own."""

    def __init__(self, ray: Any, dataset: Dataset, section: DataConfig, seed: int) -> None:
        self._ray = ray
        self._section, self._seed = section, seed
        self._digest = digest_of(dataset) if section.on_each_node else b""  # reads all images
        self._shared = ray.put(dataset)
        self._own: dict[str, Any] = {ray.get_runtime_context().get_node_id(): self._shared}

    @property
    def per_node(self) -> bool:
        """Whether it matters which node is asked for."""
        return self._section.on_each_node

    def on(self, node: str) -> Any:
        """What the processes of a node are given. Raises: ConfigError, if its own data cannot be read or differ."""
        if not self.per_node:
            return self._shared
        if node not in self._own:
            self._own[node] = self._load_on(node)
        return self._own[node]

    def _load_on(self, node: str) -> Any:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        there = NodeAffinitySchedulingStrategy(node, soft=False)
        load = _remote_load().options(scheduling_strategy=there, num_cpus=0, num_returns=2)
        dataset, digest = load.remote(self._section, self._seed)
        try:
            found = self._ray.get(digest)
        except self._ray.exceptions.RayError as error:
            if not isinstance(error, self._ray.exceptions.RayTaskError):
                raise HostLost(f"node {self._told(node)} was lost ({first_line(error)})") from None
            why = first_line(getattr(error, "cause", None) or error)
            raise ConfigError(
                f"data.on_each_node: node {self._told(node)} cannot read its copy ({why}): put it there, or set it to "
                "false"
            ) from None
        if found != self._digest:
            raise ConfigError(
                f"data.on_each_node: node {self._told(node)} has other {self._section.kind} than this one: copy it "
                "anew, or set it to false"
            )
        return dataset

    def _told(self, node: str) -> str:
        addresses = {each["NodeID"]: each.get("NodeManagerAddress", "") for each in self._ray.nodes()}
        return f"{addresses.get(node, '')} ({node[:8]})"


def load_with_digest(section: DataConfig, seed: int) -> tuple[Dataset, bytes]:
    """A data set as this machine has it, and its digest. Raises: ValueError."""
    dataset = load_section(section, seed)
    return dataset, digest_of(dataset)


@cache
def _remote_load() -> Any:
    import ray

    return ray.remote(load_with_digest)


def ids_of(ray: Any) -> dict[str, Node]:
    """The resources of each node that is up, by its id."""
    return {node["NodeID"]: node["Resources"] for node in ray.nodes() if node.get("Alive", True)}


def held_up(ray: Any, shares: Sequence[Node]) -> str:
    """What hosts ask for and what of the cluster is free, in words."""
    asked = f"{len(shares)} x ({told(shares[0])})"
    return (
        f"they ask for {asked}, and of {told(ray.cluster_resources())} there are {told(ray.available_resources())} free"
    )
