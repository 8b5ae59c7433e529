"""Which peers of a host share a stack, and that one stack shows each of its rows what that peer sees."""

from typing import Any

import pytest
import torch

from coordinator.planning.plan import peer_settings, prepare
from peers.hosting.stacking import stacks_of
from peers.learning.checkpoint_messages import CheckpointReader
from peers.learning.peer import Peer
from peers.learning.settings import PeerSettings
from peers.learning.sight import Sight
from tests.peers.learning.test_terms import config_of

LEFT, TOP = {"count": 2, "view": ["left"]}, {"count": 2, "view": ["top"]}
SGD = {"kind": "sgd", "lr": 0.01}


def made(*groups: dict[str, Any]) -> tuple[list[PeerSettings], list[Peer]]:
    plan = prepare(config_of(peers={"groups": list(groups)}))
    settings = peer_settings(plan.config, plan.dataset)
    sight = Sight(settings, plan.dataset)
    return settings, [Peer(each, plan.dataset, sight) for each in settings]


@pytest.mark.parametrize(
    ("groups", "stacks"),
    [
        ([LEFT, TOP], [[0, 1, 2, 3]]),
        ([LEFT | {"count": 1}, TOP | {"count": 1}, LEFT | {"name": "more", "count": 2}], [[0, 1, 2, 3]]),
        ([LEFT, TOP | {"optimizer": SGD}], [[0, 1], [2, 3]]),
        ([LEFT, LEFT | {"norm": "group"}, TOP], [[0, 1, 4, 5], [2, 3]]),
        ([LEFT, LEFT | {"head": {"dim": 8, "kind": "prototypes"}}], [[0, 1], [2, 3]]),
        ([LEFT | {"model": {"kind": "mlp", "hidden": [4]}, "count": 1}, LEFT, TOP], [[1, 2, 3, 4]]),
    ],
    ids=["two views", "three groups", "two optimisers", "two norms", "two heads", "one alone"],
)
def test_stacks_of__those_of_one_network_and_optimiser(groups: list[dict[str, Any]], stacks: list[list[int]]) -> None:
    _, peers = made(*groups)
    assert [[peer.index for peer in stack.peers] for stack in stacks_of(peers)] == stacks


def test_stack__each_row_is_shown_what_its_peer_sees() -> None:
    """In one pass over both views, features and outputs of each row are those of its own network on its own images."""
    _, peers = made(LEFT, TOP)
    images = torch.stack([peer.batches(3, peer.index)[0] for peer in peers])
    assert not torch.equal(images[0], images[2])
    expected = [[part.detach() for part in peer.network(images[peer.index])] for peer in peers]
    (stack,) = stacks_of(made(LEFT, TOP)[1])
    rows = [2, 0, 3]
    forward = stack.forward(stack.networks, rows, stack.sight.together(3, rows)[0])
    for place, row in enumerate(rows):
        torch.testing.assert_close(forward.features[place], expected[row][0], rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(forward.outputs[place], expected[row][1], rtol=1e-5, atol=1e-6)


def test_checkpoint_reader__runs_senders_of_one_architecture_in_one_network() -> None:
    settings, peers = made(LEFT, TOP | {"optimizer": SGD}, TOP | {"norm": "group"})
    reader = CheckpointReader(settings[0], peers[0].dataset.shape, peers[0].batches, 6)
    networks = [reader._network(sender) for sender in range(6)]
    assert networks[0] is networks[1] is networks[2] is networks[3] is not networks[4] is networks[5]
