"""What a run reserves of a Ray cluster, and whether its nodes hold that."""

import math
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from coordinator.experiment.config import ConfigError, HostingConfig

Resources = Mapping[str, float]
"""Amounts by Ray's names: those of a node, or those that a process reserves."""
Reservations = list[dict[str, float]]
"""What a run reserves, by host."""
NO_CPU = "hosting: the Ray cluster has no CPU to offer; start it with at least one"
SLACK = 1e-9  # of sums of fractions
KNOWN = ("memory", "object_store_memory")


def node_resources(ray: Any) -> list[Resources]:
    """The resources of each node that is up."""
    return [node["Resources"] for node in ray.nodes() if node.get("Alive", True)]


def reservations_of_run(ray: Any, hosting: HostingConfig, num_peers: int) -> Reservations:
    """What a run reserves, in this process or in Ray actors. Raises: ConfigError when the cluster cannot hold it."""
    if hosting.pool == "ray":
        needs = reservations_of_hosts(ray, hosting, num_peers)
    else:
        nodes, gpus = node_resources(ray), 0.0
        if hosting.gpus_per_peer != "auto" or hosting.device == "cuda":
            gpus = gpus_per_host(resolve_gpus_per_peer(hosting, num_peers, _total("GPU", nodes)), num_peers)
        able = [node for node in nodes if count_fitting([[{"GPU": gpus}]], [node])]
        cpus = _most_cpus(able) or _most_cpus(nodes)
        if cpus <= 0:
            raise ConfigError(NO_CPU)
        needs = [{"CPU": min(float(hosting.threads), cpus), "GPU": gpus}]
        _check_placeable(needs, nodes)
    return [{name: amount for name, amount in reservation.items() if amount} for reservation in needs]


def reservations_of_hosts(ray: Any, hosting: HostingConfig, num_peers: int) -> Reservations:
    """CPUs and GPUs that each Ray actor of a run takes. Raises: ConfigError when the cluster cannot hold the peers."""
    return reservations_on(node_resources(ray), hosting, num_peers)


def reservations_on_machine(hosting: HostingConfig, num_peers: int, cpus: int, gpus: int) -> Reservations:
    """`reservations_of_hosts` on a Ray of one machine with so many CPUs and GPUs. Raises: ConfigError.

    Also raised where that machine has too few CPUs for the evaluators.
    """
    nodes: list[Resources] = [{"CPU": float(cpus), "GPU": float(gpus)}]
    reservations = reservations_on(nodes, hosting, num_peers)
    _check_evaluators(hosting, reservations, nodes)
    return reservations


def reservations_on(nodes: Sequence[Resources], hosting: HostingConfig, num_peers: int) -> Reservations:
    """`reservations_of_hosts` on nodes with these resources. Raises: ConfigError."""
    if _total("CPU", nodes) <= 0:
        raise ConfigError(NO_CPU)
    gpus_per_peer = resolve_gpus_per_peer(hosting, num_peers, _total("GPU", nodes))
    sizes = _host_sizes(hosting, num_peers)
    gpus = [gpus_per_host(gpus_per_peer, size) for size in sizes]
    if hosting.cpus_per_peer == "auto":
        cpus = [cpus_per_host(nodes, gpus)] * len(sizes)
    else:
        cpus = [hosting.cpus_per_peer * size for size in sizes]
    reservations = [{"CPU": cpu, "GPU": gpu, **hosting.resources} for cpu, gpu in zip(cpus, gpus, strict=True)]
    _check_placeable(reservations, nodes)
    return reservations


def count_evaluators(ray: Any, hosting: HostingConfig, reservations: Reservations) -> int:
    """How many processes that only probe there are beside the hosts, which have not been started.

    "auto": one for each CPU that is left over, at most one a host; none where the hosts have GPUs, which probe faster
    and round otherwise, and none in a placement group, whose CPUs are the hosts'.

    Raises: ConfigError when CPUs are too few.
    """
    from ray.util import get_current_placement_group

    if hosting.evaluators != "auto":
        _check_evaluators(hosting, reservations, node_resources(ray))
        return hosting.evaluators
    if get_current_placement_group() is not None or any(reserved["GPU"] for reserved in reservations):
        return 0
    available = ray.available_resources().get("CPU", 0.0)  # others may be at work on the cluster
    idle = int(available - _total("CPU", reservations) + SLACK)
    nodes = [int(node.get("CPU", 0.0)) for node in node_resources(ray)]
    if len(nodes) > 1:  # wherever its fraction of a CPU is taken, a host leaves one whole CPU less
        idle = min(idle, sum(nodes) - len(reservations))
    return max(0, min(idle, len(reservations)))


def _check_evaluators(hosting: HostingConfig, reservations: Reservations, nodes: Sequence[Resources]) -> None:
    """Raises: ConfigError, if more processes are asked for than there are CPUs, all of them free."""
    # what others hold may be free in time
    spare = int(_total("CPU", nodes) - _total("CPU", reservations) + SLACK)
    if hosting.evaluators != "auto" and hosting.evaluators > spare:
        raise ConfigError(
            f"hosting.evaluators: {hosting.evaluators} ask for a CPU each, but the hosts leave {max(spare, 0)}: lower "
            "it, or raise hosting.peers_per_host"
        )


def with_memory(needs: Reservations, num_bytes: int, nodes: Sequence[Resources]) -> Reservations:
    """The reservations with the memory that the run needs, split evenly, or as much as empty nodes hold of it.

    They stay as they are where the nodes report no memory.
    """
    even = num_bytes / len(needs)
    divided = {node.get("memory", 0.0) / hosts for node in nodes for hosts in range(1, len(needs) + 1)}
    for memory in sorted({even, *(amount for amount in divided if amount < even)}, reverse=True):
        reserved = [{**need, "memory": float(int(memory))} for need in needs]
        if memory >= 1 and count_fitting([reserved], nodes):
            return reserved
    return needs


def count_fitting(needs: Sequence[Reservations], nodes: Sequence[Resources]) -> int:
    """How many of these runs, taken in order, empty nodes hold at once; a fraction of a GPU lies on one device."""
    free = [(dict(node), [1.0] * int(node.get("GPU", 0.0))) for node in nodes]
    for count, run in enumerate(needs):
        for reservation in run:
            if not any(_take(reservation, left, devices) for left, devices in free):
                return count
    return len(needs)


def format_resources(resources: Resources) -> str:
    """Resources in words: `0.5 CPU, 1 GPU, 0.7 GiB`."""
    others = [name for name in resources if ":" not in name and name not in (*KNOWN, "CPU", "GPU")]
    parts = [
        f"{resources.get(name, 0.0):g} {name}"
        for name in ("CPU", "GPU", *others)
        if resources.get(name) or name == "CPU"
    ]
    return ", ".join(parts + ([f"{resources['memory'] / 2**30:.1f} GiB"] if resources.get("memory") else []))


def gpus_per_host(gpus: float, num_peers: int) -> float:
    """What the peers of a host take together, which is one device at most unless each has several."""
    return min(gpus * num_peers, max(1.0, gpus))


def resolve_gpus_per_peer(hosting: HostingConfig, num_peers: int, gpus: float) -> float:
    """GPUs for each peer of a cluster that has `gpus`. Raises: ConfigError when they are too few."""
    gpus_per_peer = hosting.gpus_per_peer
    if hosting.device == "cpu":
        return 0.0
    if hosting.device == "cuda" and gpus < 1:
        raise ConfigError("hosting.device is 'cuda' but the cluster has no GPU: set it to auto")
    if gpus_per_peer == "auto" and hosting.device == "cuda":
        gpus_per_peer = 1.0 if gpus >= num_peers else _largest_gpu_fraction(hosting, num_peers, gpus)
    elif gpus_per_peer == "auto":
        gpus_per_peer = 1.0 if gpus >= num_peers else 0.0
        if 0 < gpus < num_peers:
            warnings.warn(
                f"{gpus:g} GPUs for {num_peers} peers: the run stays on the CPU; "
                f"hosting.gpus_per_peer={_largest_gpu_fraction(hosting, num_peers, gpus):g} shares them",
                stacklevel=2,
            )
    if gpus_per_peer > 1 and gpus_per_peer % 1:
        raise ConfigError(
            f"hosting.gpus_per_peer: must be a whole number above 1, got {gpus_per_peer:g}: set it to "
            f"{gpus_per_peer // 1:g}"
        )
    if gpus_per_peer * num_peers > gpus + SLACK:
        raise ConfigError(
            f"hosting.gpus_per_peer asks for {gpus_per_peer:g} x {num_peers} peers = {gpus_per_peer * num_peers:g} "
            f"GPUs but the cluster has {gpus:g}: set it to {_largest_gpu_fraction(hosting, num_peers, gpus):g} or "
            "lower peers.count"
        )
    return gpus_per_peer


def cpus_per_host(nodes: Sequence[Resources], gpus: Sequence[float]) -> float:
    """The largest number, at most one CPU, with which all hosts fit; no host spans two nodes.

    gpus: what each host takes of them.
    """
    capacities = [
        (node["CPU"], _hosts_on_node(node.get("GPU", 0.0), max(gpus))) for node in nodes if node.get("CPU")
    ]  # CPUs, and hosts that the GPUs are enough for
    counts = range(1, len(gpus) + 1)
    fractions = sorted({each for cpus, _ in capacities for each in (1.0, *(cpus / k for k in counts)) if each <= 1})
    fit = (
        fraction
        for fraction in reversed(fractions)
        if sum(min((cpus / fraction + SLACK) // 1, most) for cpus, most in capacities) >= len(gpus)
    )
    return int(next(fit, fractions[0]) * 1000) / 1000


def _hosts_on_node(devices: float, gpus: float) -> float:
    """Hosts that take so many GPUs each, on one node."""
    if not gpus:
        return math.inf
    return devices // gpus if gpus > 1 else devices * ((1 / gpus + SLACK) // 1)


def _largest_gpu_fraction(hosting: HostingConfig, num_peers: int, gpus: float) -> float:
    """GPUs a peer, at most one, so that those of every host lie on one device; in hundredths, rounded down."""
    sizes = _host_sizes(hosting, num_peers)
    if gpus < 1:
        return 0.0
    return int(100 / (math.ceil(len(sizes) / gpus) * sizes[0])) / 100


def _host_sizes(hosting: HostingConfig, num_peers: int) -> list[int]:
    """Peers of each host."""
    most = hosting.peers_per_host if hosting.pool == "ray" else num_peers
    return [min(most, num_peers - first) for first in range(0, num_peers, most)]


def _take(reservation: Resources, left: dict[str, float], devices: list[float]) -> bool:
    """Take it from what a node has left, if that is enough: GPUs from the devices that have least and enough."""
    others = {name: amount for name, amount in reservation.items() if name != "GPU"}
    gpus = reservation.get("GPU", 0.0)
    part = min(gpus, 1.0)
    able = sorted((place for place, free in enumerate(devices) if free + SLACK >= part), key=devices.__getitem__)
    if len(able) < math.ceil(gpus) or any(left.get(name, 0.0) + SLACK < amount for name, amount in others.items()):
        return False
    for name, amount in others.items():
        left[name] = left.get(name, 0.0) - amount
    for place in able[: math.ceil(gpus)]:
        devices[place] -= part
    return True


def _check_placeable(needs: Reservations, nodes: Sequence[Resources]) -> None:
    """Raises: ConfigError, if empty nodes do not hold what a run needs."""
    if count_fitting([needs], nodes):
        return
    existing = ", ".join(f"{count} x ({text})" for text, count in Counter(map(format_resources, nodes)).items())
    raise ConfigError(
        f"hosting.{_limiting_setting(needs[0])}: {len(needs)} x ({format_resources(needs[0])}) cannot be placed on "
        f"nodes with {existing}: a host lies on one node and a share of a GPU on one device; lower it or peers.count, "
        "or give CPUs to the nodes with GPUs"
    )


def _limiting_setting(reservation: Resources) -> str:
    """The setting that asks for most that is not everywhere."""
    if any(name not in ("CPU", "GPU", *KNOWN) for name in reservation):
        return "resources"
    return "gpus_per_peer" if reservation.get("GPU") else "cpus_per_peer"


def _most_cpus(nodes: Sequence[Resources]) -> float:
    return max((float(node.get("CPU", 0.0)) for node in nodes), default=0.0)


def _total(name: str, nodes: Sequence[Resources]) -> float:
    return sum(float(node.get(name, 0.0)) for node in nodes)
