"""The resources that a run reserves on a Ray cluster, and whether they fit on its nodes."""

import math
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from coordinator.experiment.config import ConfigError, HostingConfig
from coordinator.planning.hosts import hosts_of, peers_per_host

Resources = Mapping[str, float]
"""Amount by Ray's name of the resource: what a node has, or what a process reserves."""
Reservations = list[dict[str, float]]
"""The resources that each host of a run reserves."""
NO_CPU = "hosting: the Ray cluster has no CPU to offer; start it with at least one"
SLACK = 1e-9  # tolerance for rounding errors in sums of fractions
KNOWN = ("memory", "object_store_memory")


def node_resources(ray: Any) -> list[Resources]:
    """The resources of every live node."""
    return [node["Resources"] for node in ray.nodes() if node.get("Alive", True)]


def reservations_of_run(ray: Any, hosting: HostingConfig, num_peers: int) -> Reservations:
    """What a run reserves, whether in one process or in Ray actors. Raises: ConfigError if it does not fit."""
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
    """The resources that each Ray actor of a run reserves. Raises: ConfigError if they do not fit on the cluster."""
    return reservations_on(node_resources(ray), hosting, num_peers)


def reservations_on_machine(hosting: HostingConfig, num_peers: int, cpus: int, gpus: int) -> Reservations:
    """`reservations_of_hosts` for a single machine with the given CPUs and GPUs.

    Raises: ConfigError, if the hosts or the evaluators do not fit.
    """
    nodes: list[Resources] = [{"CPU": float(cpus), "GPU": float(gpus)}]
    reservations = reservations_on(nodes, hosting, num_peers)
    _check_evaluators(hosting, reservations, nodes)
    return reservations


def reservations_on(nodes: Sequence[Resources], hosting: HostingConfig, num_peers: int) -> Reservations:
    """`reservations_of_hosts` for nodes with these resources. Raises: ConfigError."""
    hosting = with_hosts(hosting, num_peers, nodes)
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


def with_hosts(hosting: HostingConfig, num_peers: int, nodes: Sequence[Resources]) -> HostingConfig:
    """The settings with the number of peers in an actor resolved from "auto" for nodes with these resources."""
    cores = sum(int(node.get("CPU", 0.0)) for node in nodes)
    held = _total("memory", nodes) if any("memory" in node for node in nodes) else math.inf
    number = peers_per_host(hosting, num_peers, cores, int(_total("GPU", nodes)), held)
    return hosting.model_copy(update={"peers_per_host": number})


def count_evaluators(ray: Any, hosting: HostingConfig, reservations: Reservations) -> int:
    """The number of evaluators (processes that only probe) to start beside the hosts; call it before they start.

    "auto": one for each CPU that the hosts leave idle, at most one per host. Zero if the hosts have GPUs, which probe
    faster and round differently, and zero in a placement group, whose CPUs are meant for the hosts.

    Raises: ConfigError if there are too few CPUs.
    """
    from ray.util import get_current_placement_group

    if hosting.evaluators != "auto":
        _check_evaluators(hosting, reservations, node_resources(ray))
        return hosting.evaluators
    if get_current_placement_group() is not None or any(reserved["GPU"] for reserved in reservations):
        return 0
    available = ray.available_resources().get("CPU", 0.0)  # other jobs may be using the cluster
    idle = int(available - _total("CPU", reservations) + SLACK)
    nodes = [int(node.get("CPU", 0.0)) for node in node_resources(ray)]
    if len(nodes) > 1:  # a host that takes a fraction of a CPU makes that whole CPU unavailable
        idle = min(idle, sum(nodes) - len(reservations))
    return max(0, min(idle, len(reservations)))


def _check_evaluators(hosting: HostingConfig, reservations: Reservations, nodes: Sequence[Resources]) -> None:
    """Raises: ConfigError, if `hosting.evaluators` exceeds the CPUs that the hosts of an idle cluster leave."""
    # CPUs that other jobs hold now may be free by then
    spare = int(_total("CPU", nodes) - _total("CPU", reservations) + SLACK)
    if hosting.evaluators != "auto" and hosting.evaluators > spare:
        raise ConfigError(
            f"hosting.evaluators: {hosting.evaluators} ask for a CPU each, but the hosts leave {max(spare, 0)}: lower "
            "it, or raise hosting.peers_per_host"
        )


def with_memory(needs: Reservations, num_bytes: int, nodes: Sequence[Resources]) -> Reservations:
    """The reservations with the run's memory added, split evenly over hosts, or less if otherwise idle nodes lack it.

    Unchanged if the nodes report no memory.
    """
    even = num_bytes / len(needs)
    divided = {node.get("memory", 0.0) / hosts for node in nodes for hosts in range(1, len(needs) + 1)}
    for memory in sorted({even, *(amount for amount in divided if amount < even)}, reverse=True):
        reserved = [{**need, "memory": float(int(memory))} for need in needs]
        if memory >= 1 and count_fitting([reserved], nodes):
            return reserved
    return needs


def count_fitting(needs: Sequence[Reservations], nodes: Sequence[Resources]) -> int:
    """How many of these runs, in order, fit on otherwise idle nodes at once; a GPU fraction must lie on one device."""
    free = [(dict(node), [1.0] * int(node.get("GPU", 0.0))) for node in nodes]
    for count, run in enumerate(needs):
        for reservation in run:
            if not any(_subtract(reservation, amounts, devices) for amounts, devices in free):
                return count
    return len(needs)


def format_resources(resources: Resources) -> str:
    """Resources as text: `0.5 CPU, 1 GPU, 0.7 GiB`."""
    others = [name for name in resources if ":" not in name and name not in (*KNOWN, "CPU", "GPU")]
    parts = [
        f"{resources.get(name, 0.0):g} {name}"
        for name in ("CPU", "GPU", *others)
        if resources.get(name) or name == "CPU"
    ]
    return ", ".join(parts + ([f"{resources['memory'] / 2**30:.1f} GiB"] if resources.get("memory") else []))


def gpus_per_host(gpus: float, num_peers: int) -> float:
    """The GPUs of a host: the sum over its peers, but at most one device unless each peer has several."""
    return min(gpus * num_peers, max(1.0, gpus))


def resolve_gpus_per_peer(hosting: HostingConfig, num_peers: int, gpus: float) -> float:
    """GPUs for each peer, on a cluster with `gpus` GPUs. Raises: ConfigError if there are too few."""
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
    """The largest number of CPUs per host, at most one, with which all hosts fit; no host spans two nodes.

    gpus: the GPUs of each host.
    """
    capacities = [
        (node["CPU"], _hosts_on_node(node.get("GPU", 0.0), max(gpus))) for node in nodes if node.get("CPU")
    ]  # of each node: CPUs, and the number of hosts for which its GPUs suffice
    counts = range(1, len(gpus) + 1)
    fractions = sorted({part for cpus, _ in capacities for part in (1.0, *(cpus / k for k in counts)) if part <= 1})
    fit = (
        fraction
        for fraction in reversed(fractions)
        if sum(min((cpus / fraction + SLACK) // 1, most) for cpus, most in capacities) >= len(gpus)
    )
    return int(next(fit, fractions[0]) * 1000) / 1000


def _hosts_on_node(devices: float, gpus: float) -> float:
    """The number of hosts that fit on a node with `devices` GPUs if each host takes `gpus`."""
    if not gpus:
        return math.inf
    return devices // gpus if gpus > 1 else devices * ((1 / gpus + SLACK) // 1)


def _largest_gpu_fraction(hosting: HostingConfig, num_peers: int, gpus: float) -> float:
    """The largest share of a GPU per peer such that each host fits on one device, rounded down to hundredths."""
    sizes = _host_sizes(hosting, num_peers)
    if gpus < 1:
        return 0.0
    return int(100 / (math.ceil(len(sizes) / gpus) * sizes[0])) / 100


def _host_sizes(hosting: HostingConfig, num_peers: int) -> list[int]:
    """The number of peers on each host."""
    if hosting.pool != "ray":
        return [num_peers]
    return [len(peers) for peers in hosts_of(hosting, num_peers)]


def _subtract(reservation: Resources, free: dict[str, float], devices: list[float]) -> bool:
    """Subtract a reservation from a node's free resources if it fits; GPUs come from the fullest devices with room."""
    others = {name: amount for name, amount in reservation.items() if name != "GPU"}
    gpus = reservation.get("GPU", 0.0)
    part = min(gpus, 1.0)
    able = sorted((place for place, share in enumerate(devices) if share + SLACK >= part), key=devices.__getitem__)
    if len(able) < math.ceil(gpus) or any(free.get(name, 0.0) + SLACK < amount for name, amount in others.items()):
        return False
    for name, amount in others.items():
        free[name] = free.get(name, 0.0) - amount
    for place in able[: math.ceil(gpus)]:
        devices[place] -= part
    return True


def _check_placeable(needs: Reservations, nodes: Sequence[Resources]) -> None:
    """Raises: ConfigError, if a run does not fit even on otherwise idle nodes."""
    if count_fitting([needs], nodes):
        return
    existing = ", ".join(f"{count} x ({text})" for text, count in Counter(map(format_resources, nodes)).items())
    raise ConfigError(
        f"hosting.{_limiting_setting(needs[0])}: {len(needs)} x ({format_resources(needs[0])}) cannot be placed on "
        f"nodes with {existing}: a host lies on one node and a share of a GPU on one device; lower it or peers.count, "
        "or give CPUs to the nodes with GPUs"
    )


def _limiting_setting(reservation: Resources) -> str:
    """The config key to name in the error: the one that requests the scarcest resource."""
    if any(name not in ("CPU", "GPU", *KNOWN) for name in reservation):
        return "resources"
    return "gpus_per_peer" if reservation.get("GPU") else "cpus_per_peer"


def _most_cpus(nodes: Sequence[Resources]) -> float:
    return max((float(node.get("CPU", 0.0)) for node in nodes), default=0.0)


def _total(name: str, nodes: Sequence[Resources]) -> float:
    return sum(float(node.get(name, 0.0)) for node in nodes)
