"""How many peers one Ray actor hosts, where `hosting.peers_per_host` leaves that to the machine."""

from coordinator.experiment.sections import HostingConfig
from coordinator.planning.workers import forks

ACTOR_BYTES = 400 * 2**20  # of an actor without peers
FORKED_BYTES, ZYGOTE_BYTES = 80 * 2**20, 340 * 2**20  # an actor that is forked, and what all of these share
CROWD = 2  # peers for each core or GPU that may still have an actor each


def peers_per_host(hosting: HostingConfig, num_peers: int, cores: int, gpus: int, memory: float) -> int:
    """The number of peers in one actor, at most.

    "auto": one, where there is a core (or GPU, if peers use them) for each peer, or for every second one and memory for
    so many actors. Else, and where peers are vectorised, at most as many actors as cores or GPUs.

    memory: in bytes, for all actors of the run.
    """
    if hosting.peers_per_host != "auto":
        return hosting.peers_per_host
    places = max(1, gpus if on_gpus(hosting, num_peers, gpus) else cores)
    held = memory >= num_peers * (FORKED_BYTES if forks(hosting) else ACTOR_BYTES)
    if hosting.execution == "vectorised":
        most = max(2, -(-num_peers // places))
        while num_peers % most == 1 and most < num_peers:  # one left over has nothing to be stacked with
            most += 1
        return most
    if num_peers <= places or (num_peers <= CROWD * places and held):
        return 1
    return -(-num_peers // places)


def hosts_of(hosting: HostingConfig, num_peers: int) -> list[list[int]]:
    """The indices of the peers of each actor; `peers_per_host` is a number."""
    most = hosting.peers_per_host
    assert most != "auto", "it was resolved when the machine was known"
    return [list(range(first, min(first + most, num_peers))) for first in range(0, num_peers, most)]


def on_gpus(hosting: HostingConfig, num_peers: int, gpus: int) -> bool:
    """Whether peers are computed on GPUs where there are so many."""
    if hosting.device == "cpu":
        return False
    if hosting.gpus_per_peer == "auto":
        return hosting.device == "cuda" or gpus >= num_peers
    return hosting.gpus_per_peer > 0
