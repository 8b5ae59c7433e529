"""What a trace can tell before a run: that its peers would never hear each other."""

from collections import Counter
from collections.abc import Iterator
from itertools import islice

from topologies.network.trace import Fate, TimedRound, Trace
from topologies.round import Edge
from topologies.schedule import Schedule
from topologies.worlds.config import NetworkConfig

LOOKED_AT = 100  # rounds of a schedule that does not repeat


def check_trace(trace: Trace, network: NetworkConfig, schedule: Schedule, num_rounds: int, ends: bool = False) -> None:
    """Refuse a network in which no peer ever hears another; of others, only the first rounds are looked at.

    ends: whether all peers are offline for ever in the end (`World.ends`): then all rounds are looked at.

    Raises:
        ValueError: one line that names the setting to change.
    """
    if network.clock == "gossip":
        _check_gossip(schedule, num_rounds)
    if ends:
        _check_end(trace, num_rounds)
    if not any(edge.teacher != peer for peer, edge in _edges(schedule, num_rounds)):
        return  # the topology has nobody hear another
    fates: Counter[Fate] = Counter()
    rounds = 0
    for timed in islice(trace.rounds(), num_rounds):
        if _hears(timed):
            return
        fates.update(each.fate for each in timed.deliveries)
        rounds += 1
    raise ValueError(_why(network, fates, rounds))


def _check_end(trace: Trace, num_rounds: int) -> None:
    """The rounds have to be over before the last peer has left. Raises: ValueError."""
    known = sum(1 for _ in islice(trace.rounds(), num_rounds))
    if known < num_rounds:
        raise ValueError(
            f"network.churn: must leave somebody online for all {num_rounds} rounds, got nobody after round {known}; "
            "lower run.rounds, or let peers come back"
        )


def _check_gossip(schedule: Schedule, num_rounds: int) -> None:
    """Gossip needs links, and in both directions. Raises: ValueError."""
    if not any(edge.teacher != peer for peer, edge in _edges(schedule, num_rounds)):
        raise ValueError(
            "network.clock: gossip must have links, got a topology in which nobody hears another; choose another "
            "topology.kind, or another clock"
        )
    for index in range(min(num_rounds, schedule.period or LOOKED_AT)):
        links = set(schedule(index).links)
        for teacher, student in sorted(links):
            if (student, teacher) not in links:
                raise ValueError(
                    f"network.clock: gossip must have links in both directions, got one from peer {teacher} to peer "
                    f"{student} alone in round {index}; choose an undirected topology.kind, or another clock"
                )


def _edges(schedule: Schedule, num_rounds: int) -> Iterator[tuple[int, Edge]]:
    """(student, edge) of the first rounds."""
    for index in range(min(num_rounds, schedule.period or LOOKED_AT)):
        for peer, edges in enumerate(schedule(index).incoming):
            for edge in edges:
                yield peer, edge


def _hears(timed: TimedRound) -> bool:
    """Whether any peer learns from another one."""
    return any(edge.teacher != step.peer for wave in timed.waves for step in wave.steps for edge in step.heard)


def _why(network: NetworkConfig, fates: Counter[Fate], rounds: int) -> str:
    """The setting that keeps peers apart."""
    seen = f"in the first {rounds} rounds no peer hears another"
    if fates[Fate.ARRIVED] and network.clock == "deadline":
        use = "raise network.max_age" if network.late == "use" else "set network.late to use"
        return (
            f"network.deadline: must leave messages the time to arrive, got {network.deadline:g} seconds: {seen}; "
            f"raise it above network.latency, or {use}"
        )
    if fates[Fate.ARRIVED] and network.clock == "free-running":
        if network.max_age >= rounds:
            return (
                f"network.latency: must let messages arrive within the run, got {network.latency.kind}: {seen}; lower "
                "it, or raise run.rounds, network.compute or network.round_seconds"
            )
        return (
            f"network.max_age: must be at least the age of messages when they arrive, got {network.max_age}: {seen}; "
            "raise it, or lower network.latency"
        )
    if network.bandwidth.kind != "none" and fates.total() == fates[Fate.REPLACED]:
        return (
            f"network.bandwidth: must let messages through within the run, got {network.bandwidth.kind}: {seen}, "
            "as all are still being transferred; raise it, send less (network.message, exchange), or run more rounds"
        )
    if fates[Fate.LOST] > fates[Fate.RECEIVER_OFFLINE] + fates[Fate.SENDER_CRASHED]:
        return f"network.loss: must let messages through, got {fates[Fate.LOST]} lost: {seen}; lower its probability"
    return (
        f"network.churn: must let two peers be online at once for as long as a message takes, got "
        f"{network.churn.kind}: {seen}; raise the time online, lower the time offline, "
        "add peers or rounds, or set network.rewire to true"
    )
