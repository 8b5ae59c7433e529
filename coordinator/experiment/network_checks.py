"""What the section `[network]` does not go with in the other sections."""

from typing import Any

from coordinator.experiment.sections import EvaluationConfig
from peers.exchange.config import ExchangeConfig
from peers.learning.control import Control
from topologies.topology import Topology
from topologies.worlds.config import NetworkConfig

FIXED = ("file", "import", "given", "self")  # kinds of topologies of a given number of peers, or without links


def check_network(
    network: NetworkConfig, exchange: ExchangeConfig, evaluation: EvaluationConfig, topology: Topology, num_peers: int
) -> None:
    """Refuse what contradicts the simulated network. Raises: ValueError, in one line."""
    clock = network.clock
    if exchange.delivery == "shared-sum":
        _check_sum(network)
    if clock == "gossip" and exchange.roles == "one-student":
        raise ValueError(
            "exchange.roles 'one-student' draws a student for each round, but with network.clock 'gossip' peers wake "
            "by themselves, and both of a pair learn: set exchange.roles to every-peer, or take another clock"
        )
    if network.message == "checkpoint" and exchange.top_k:
        raise ValueError(
            f"exchange.top_k is {exchange.top_k}, which shortens outputs, but network.message is 'checkpoint', which "
            "sends weights: set top_k to 0, or network.message to outputs"
        )
    if Control.ALONE_MATCHED in evaluation.controls and not network.lock_step:
        raise ValueError(
            f"evaluation.controls: alone-matched takes the gradient norm of each peer and round from the run, but with "
            f"network.clock '{clock}' a peer has any number of steps in a round: leave it out, or take the clock "
            "neighbours or synchronous"
        )
    if clock == "gossip" and network.message == "outputs":
        _check_pairs(exchange)
    if network.rewire:
        _check_rewire(topology, num_peers)


def _check_pairs(exchange: ExchangeConfig) -> None:
    """Of gossip with outputs: a student hears one message about a batch, so that there is nothing to compare."""
    given = (
        (exchange.aggregation.needs() > 1, f"exchange.aggregation '{exchange.aggregation.kind}'"),
        (exchange.memory != "none", f"exchange.memory '{exchange.memory}'"),
        (exchange.trust.kind != "none", f"exchange.trust '{exchange.trust.kind}'"),
    )
    for holds, what in given:
        if holds:
            raise ValueError(
                f"{what} compares messages about the same images, but with network.clock 'gossip' a student hears one "
                "at a time: take another clock, or network.message = 'checkpoint', or leave it out"
            )


def _check_sum(network: NetworkConfig) -> None:
    """Of `exchange.delivery = "shared-sum"`: everybody hears the same, at once."""
    worlds: list[Any] = [network, *network.groups]
    given = (
        (not network.lock_step, f"network.clock is '{network.clock}'"),
        (network.message == "checkpoint", "network.message is 'checkpoint'"),
        (any(each.loss is not None and each.loss.kind != "none" for each in worlds), "network.loss loses some"),
        (
            any(each.churn is not None and each.churn.kind != "none" for each in worlds),
            "network.churn sends peers away",
        ),
    )
    for holds, what in given:
        if holds:
            raise ValueError(
                f"exchange.delivery 'shared-sum' needs every message of a round to reach everybody, but {what}: use "
                "per-edge"
            )


def _check_rewire(topology: Topology, num_peers: int) -> None:
    """Of `network.rewire`: the topology has to exist for any number of peers that may be online."""
    if topology.kind in FIXED:  # type: ignore[attr-defined]
        raise ValueError(
            f"network.rewire builds the topology anew for the peers that are online, but '{topology.kind}' is not one "  # type: ignore[attr-defined]
            "that exists for fewer of them: set network.rewire to false, or take another topology"
        )
    smallest = fewest_linked(topology, num_peers)
    wrong = next((count for count in range(smallest, num_peers + 1) if not topology.takes(count)), None)
    if wrong is not None:
        raise ValueError(
            f"network.rewire builds the topology anew for the peers that are online, but '{topology.kind}' does not "  # type: ignore[attr-defined]
            f"exist for {wrong} of them: set network.rewire to false, or take one that exists for any number, such as "
            "ring"
        )


def fewest_linked(topology: Topology, num_peers: int) -> int:
    """The smallest number of peers for which the topology exists: fewer have no links."""
    return next((count for count in range(2, num_peers + 1) if topology.takes(count)), num_peers)
