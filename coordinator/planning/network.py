"""The simulated network of a run: its trace, and what follows from it before any peer has learned."""

import hashlib
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path

from coordinator.experiment.config import NETWORK_FILES, RunConfig
from coordinator.experiment.network_checks import fewest_linked
from coordinator.planning.schedules import with_own_terms
from peers.base.seeds import stream
from peers.learning.control import Control
from topologies.combinators import among
from topologies.network import combinators, simulation
from topologies.network.trace import Step, Trace, Weights
from topologies.schedule import Schedule
from topologies.worlds.world import World


def trace_of(config: RunConfig, schedule: Schedule, world: World | None) -> Trace | None:
    """The trace of a run in its world; None without a simulated network. Raises: ValueError."""
    if config.network is None or world is None:
        return None
    present = rewired(config) if config.network.rewire else None
    return simulation.trace_of(config.network, world, schedule, present)


def trace_of_control(trace: Trace | None, control: Control | None, seed: int) -> Trace | None:
    """The same trace for a control run: who hears whom may change, but no time, no step and no batch does."""
    if trace is None or control is None or trace.plain:  # of a plain trace, the schedule says who hears whom
        return trace
    if control is Control.SINGLE_TEACHER:
        return combinators.one_teacher(trace, stream(seed, "single-teacher"))
    return trace if control.exchanges else combinators.alone(trace)


def world_of(config: RunConfig, message_bytes: Sequence[int]) -> World | None:
    """The world that the trace is of; None without a simulated network. message_bytes: of a message, by sender.

    Raises: ValueError.
    """
    if config.network is None:
        return None
    return World.of(config.network, config.peers.count, stream(config.run.seed, "network"), tuple(message_bytes))


def files_digest(config: RunConfig) -> str:
    """SHA-256 of the files that the section names; empty if it names none. Raises: OSError."""
    network = config.network
    sections = () if network is None else (network, *network.groups)
    found = [getattr(getattr(section, law), "path", None) for section in sections for law in NETWORK_FILES]
    digests = [hashlib.sha256(Path(path).read_bytes()).hexdigest() for path in found if path is not None]
    return hashlib.sha256("\n".join(digests).encode()).hexdigest() if digests else ""


def rewired(config: RunConfig) -> Callable[[Sequence[int]], Schedule]:
    """A function from the peers that are online, ascending, to the schedule of the topology among them.

    Peers that are fewer than the topology takes have no links. Raises: ValueError, where it cannot be built.
    """
    topology, num_peers, seed = config.topology, config.peers.count, stream(config.run.seed, "topology")
    fewest = fewest_linked(topology, num_peers)

    def present(peers: Sequence[int]) -> Schedule:
        links = topology.build(len(peers), seed) if len(peers) >= fewest else None
        return with_own_terms(config, among(links, peers, num_peers), peers)

    return present


def last_batches(trace: Trace, num_rounds: int, most: int) -> list[list[int]]:
    """The last batches (at most `most`) that each peer's network has seen, in their order.

    A step passes its own batch through the network, then the others that its messages are about, from the oldest on;
    BatchNorm keeps them until the peer comes back with other weights.
    """
    seen: list[deque[int]] = [deque(maxlen=most) for _ in range(trace.num_peers)]
    for timed in islice(trace.rounds(), num_rounds):
        for wave in timed.waves:
            for back in (publication for publication in wave.returns if publication.back is not None):
                weights, source = back.back.weights, back.back.source  # type: ignore[union-attr]
                if weights is not Weights.OWN:
                    seen[back.peer] = deque(() if weights is Weights.FRESH else seen[source], most)
            for step in wave.steps:
                seen[step.peer].extend(_batches(step, trace.own_batches))
    return [list(batches) for batches in seen]


def _batches(step: Step, own_batches: bool) -> list[int]:
    if own_batches or not any(edge.age for edge in step.heard):
        return [step.batch]
    return [step.batch, *sorted({step.version - edge.age for edge in step.heard} - {step.batch})]
