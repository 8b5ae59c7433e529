"""What a run reserves of a Ray cluster, and whether its nodes hold that."""

import math
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from coordinator.experiment.config import ConfigError, HostingConfig

Bundles = list[dict[str, float]]
Node = Mapping[str, float]
NO_CPU = "hosting: the Ray cluster has no CPU to offer; start it with at least one"
SLACK = 1e-9  # of sums of fractions
KNOWN = ("memory", "object_store_memory")


def nodes_of(ray: Any) -> list[Node]:
    """The resources of each node that is up."""
    return [node["Resources"] for node in ray.nodes() if node.get("Alive", True)]


def bundles(ray: Any, hosting: HostingConfig, num_peers: int) -> Bundles:
    """What a run reserves: one bundle for each of its hosts. Raises: ConfigError when the cluster cannot hold it."""
    if hosting.pool == "ray":
        needs = shares_of_hosts(ray, hosting, num_peers)
    else:
        nodes, gpus = nodes_of(ray), 0.0
        if hosting.gpus_per_peer != "auto" or hosting.device == "cuda":
            gpus = gpus_of_a_host(gpus_of_a_peer(hosting, num_peers, _sum("GPU", nodes)), num_peers)
        able = [node for node in nodes if fitting([[{"GPU": gpus}]], [node])]
        cpus = _most_cpus(able) or _most_cpus(nodes)
        if cpus <= 0:
            raise ConfigError(NO_CPU)
        needs = [{"CPU": min(float(hosting.threads), cpus), "GPU": gpus}]
        _check_placeable(needs, nodes)
    return [{name: amount for name, amount in each.items() if amount} for each in needs]


def shares_of_hosts(ray: Any, hosting: HostingConfig, num_peers: int) -> Bundles:
    """CPUs and GPUs that each Ray actor of a run takes. Raises: ConfigError when the cluster cannot hold the peers."""
    return shares_on(nodes_of(ray), hosting, num_peers)


def check_here(hosting: HostingConfig, num_peers: int, cpus: int, gpus: int) -> Bundles:
    """The same on a Ray of one machine, which has so many; of its evaluators, too. Raises: ConfigError."""
    nodes: list[Node] = [{"CPU": float(cpus), "GPU": float(gpus)}]
    shares = shares_on(nodes, hosting, num_peers)
    _check_evaluators(hosting, shares, nodes)
    return shares


def shares_on(nodes: Sequence[Node], hosting: HostingConfig, num_peers: int) -> Bundles:
    """The same on nodes with these resources. Raises: ConfigError."""
    if _sum("CPU", nodes) <= 0:
        raise ConfigError(NO_CPU)
    each = gpus_of_a_peer(hosting, num_peers, _sum("GPU", nodes))
    sizes = _sizes(hosting, num_peers)
    gpus = [gpus_of_a_host(each, size) for size in sizes]
    asked = hosting.cpus_per_peer
    cpus = [asked * size for size in sizes] if asked != "auto" else [cpus_of_a_host(nodes, gpus)] * len(sizes)
    shares = [{"CPU": cpu, "GPU": gpu, **hosting.resources} for cpu, gpu in zip(cpus, gpus, strict=True)]
    _check_placeable(shares, nodes)
    return shares


def evaluators_of(ray: Any, hosting: HostingConfig, shares: Bundles) -> int:
    """How many processes that only probe there are beside the hosts, which have not been started.

    "auto": one for each CPU that is left over, at most one a host; none where the hosts have GPUs, which probe faster
    and round otherwise, and none in a placement group, whose CPUs are the hosts'.

    Raises: ConfigError when CPUs are too few.
    """
    from ray.util import get_current_placement_group

    taken = sum(share["CPU"] for share in shares) - SLACK
    if hosting.evaluators == "auto":
        beside = get_current_placement_group() is None and not any(share["GPU"] for share in shares)
        idle = int(ray.available_resources().get("CPU", 0.0) - taken)  # others may be at work on the cluster
        nodes = [int(node.get("CPU", 0.0)) for node in nodes_of(ray)]
        if len(nodes) > 1:  # wherever its share of a CPU is taken, a host leaves one whole CPU less
            idle = min(idle, sum(nodes) - len(shares))
        return max(0, min(idle, len(shares))) if beside else 0
    _check_evaluators(hosting, shares, nodes_of(ray))
    return hosting.evaluators


def _check_evaluators(hosting: HostingConfig, shares: Bundles, nodes: Sequence[Node]) -> None:
    """Raises: ConfigError, if more processes are asked for than there are CPUs, all of them free."""
    spare = int(
        _sum("CPU", nodes) - sum(share["CPU"] for share in shares) + SLACK
    )  # what others hold may be free in time
    if hosting.evaluators != "auto" and hosting.evaluators > spare:
        raise ConfigError(
            f"hosting.evaluators: {hosting.evaluators} ask for a CPU each, but the hosts leave {max(spare, 0)}: lower "
            "it, or raise hosting.peers_per_host"
        )


def with_memory(needs: Bundles, num_bytes: int, nodes: Sequence[Node]) -> Bundles:
    """The bundles with the memory that the run needs, split evenly, or as much as empty nodes hold of it.

    They stay as they are where the nodes report no memory.
    """
    asked = num_bytes / len(needs)
    less = {node.get("memory", 0.0) / hosts for node in nodes for hosts in range(1, len(needs) + 1)}
    for share in sorted({asked, *(amount for amount in less if amount < asked)}, reverse=True):
        reserved = [{**need, "memory": float(int(share))} for need in needs]
        if share >= 1 and fitting([reserved], nodes):
            return reserved
    return needs


def fitting(needs: Sequence[Bundles], nodes: Sequence[Node]) -> int:
    """How many of these runs, taken in order, empty nodes hold at once; a share of a GPU lies on one device."""
    free = [(dict(node), [1.0] * int(node.get("GPU", 0.0))) for node in nodes]
    for count, run in enumerate(needs):
        for bundle in run:
            if not any(_take(bundle, left, devices) for left, devices in free):
                return count
    return len(needs)


def told(bundle: Node) -> str:
    """A bundle or a node in words: `0.5 CPU, 1 GPU, 0.7 GiB`."""
    others = [name for name in bundle if ":" not in name and name not in (*KNOWN, "CPU", "GPU")]
    parts = [
        f"{bundle.get(name, 0.0):g} {name}" for name in ("CPU", "GPU", *others) if bundle.get(name) or name == "CPU"
    ]
    return ", ".join(parts + ([f"{bundle['memory'] / 2**30:.1f} GiB"] if bundle.get("memory") else []))


def gpus_of_a_host(gpus: float, num_peers: int) -> float:
    """What the peers of a host take together, which is one device at most unless each has several."""
    return min(gpus * num_peers, max(1.0, gpus))


def gpus_of_a_peer(hosting: HostingConfig, num_peers: int, gpus: float) -> float:
    """GPUs for each peer of a cluster that has `gpus`. Raises: ConfigError when they are too few."""
    asked = hosting.gpus_per_peer
    if hosting.device == "cpu":
        return 0.0
    if hosting.device == "cuda" and gpus < 1:
        raise ConfigError("hosting.device is 'cuda' but the cluster has no GPU: set it to auto")
    if asked == "auto" and hosting.device == "cuda":
        asked = 1.0 if gpus >= num_peers else _largest_share(hosting, num_peers, gpus)
    elif asked == "auto":
        asked = 1.0 if gpus >= num_peers else 0.0
        if 0 < gpus < num_peers:
            warnings.warn(
                f"{gpus:g} GPUs for {num_peers} peers: the run stays on the CPU; "
                f"hosting.gpus_per_peer={_largest_share(hosting, num_peers, gpus):g} shares them",
                stacklevel=2,
            )
    if asked > 1 and asked % 1:
        raise ConfigError(
            f"hosting.gpus_per_peer: must be a whole number above 1, got {asked:g}: set it to {asked // 1:g}"
        )
    if asked * num_peers > gpus + SLACK:
        raise ConfigError(
            f"hosting.gpus_per_peer asks for {asked:g} x {num_peers} peers = {asked * num_peers:g} GPUs but the "
            f"cluster has {gpus:g}: set it to {_largest_share(hosting, num_peers, gpus):g} or lower peers.count"
        )
    return asked


def cpus_of_a_host(nodes: Sequence[Node], gpus: Sequence[float]) -> float:
    """The largest share, at most one CPU, with which all hosts fit; none lies on two nodes.

    gpus: what each host takes of them.
    """
    there = [(node["CPU"], _most_hosts(node.get("GPU", 0.0), max(gpus))) for node in nodes if node.get("CPU")]
    counts = range(1, len(gpus) + 1)
    shares = sorted({share for cpus, _ in there for share in (1.0, *(cpus / k for k in counts)) if share <= 1})
    fit = (
        share
        for share in reversed(shares)
        if sum(min((cpus / share + SLACK) // 1, most) for cpus, most in there) >= len(gpus)
    )
    return int(next(fit, shares[0]) * 1000) / 1000


def _most_hosts(devices: float, gpus: float) -> float:
    """Hosts that take so many GPUs each, on one node."""
    if not gpus:
        return math.inf
    return devices // gpus if gpus > 1 else devices * ((1 / gpus + SLACK) // 1)


def _largest_share(hosting: HostingConfig, num_peers: int, gpus: float) -> float:
    """GPUs a peer, at most one, so that every host's share lies on one device; in hundredths, rounded down."""
    sizes = _sizes(hosting, num_peers)
    if gpus < 1:
        return 0.0
    return int(100 / (math.ceil(len(sizes) / gpus) * sizes[0])) / 100


def _sizes(hosting: HostingConfig, num_peers: int) -> list[int]:
    """Peers of each host."""
    most = hosting.peers_per_host if hosting.pool == "ray" else num_peers
    return [min(most, num_peers - first) for first in range(0, num_peers, most)]


def _take(bundle: Node, left: dict[str, float], devices: list[float]) -> bool:
    """Take a bundle from what a node has left, if it is there: GPUs from the devices that have least and enough."""
    others = {name: amount for name, amount in bundle.items() if name != "GPU"}
    gpus = bundle.get("GPU", 0.0)
    part = min(gpus, 1.0)
    able = sorted((place for place, free in enumerate(devices) if free + SLACK >= part), key=devices.__getitem__)
    if len(able) < math.ceil(gpus) or any(left.get(name, 0.0) + SLACK < amount for name, amount in others.items()):
        return False
    for name, amount in others.items():
        left[name] = left.get(name, 0.0) - amount
    for place in able[: math.ceil(gpus)]:
        devices[place] -= part
    return True


def _check_placeable(needs: Bundles, nodes: Sequence[Node]) -> None:
    """Raises: ConfigError, if empty nodes do not hold what a run needs."""
    if fitting([needs], nodes):
        return
    there = ", ".join(f"{count} x ({text})" for text, count in Counter(map(told, nodes)).items())
    raise ConfigError(
        f"hosting.{_field_of(needs[0])}: {len(needs)} x ({told(needs[0])}) cannot be placed on nodes with {there}: a "
        "host lies on one node and a share of a GPU on one device; lower it or peers.count, or give CPUs to the nodes "
        "with GPUs"
    )


def _field_of(bundle: Node) -> str:
    """The setting that asks for most that is not everywhere."""
    if any(name not in ("CPU", "GPU", *KNOWN) for name in bundle):
        return "resources"
    return "gpus_per_peer" if bundle.get("GPU") else "cpus_per_peer"


def _most_cpus(nodes: Sequence[Node]) -> float:
    return max((float(node.get("CPU", 0.0)) for node in nodes), default=0.0)


def _sum(name: str, nodes: Sequence[Node]) -> float:
    return sum(float(node.get(name, 0.0)) for node in nodes)
