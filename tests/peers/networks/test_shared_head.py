"""`peers.head_shared`: one frozen random head, or its last layer, for all peers."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from peers.learning.control import with_labels_only
from peers.learning.peer import Peer
from peers.learning.settings import PeerSettings, fresh_network, initial_network, stranger_network
from peers.networks.brought import GivenHead, GivenModel
from peers.networks.config import Group, PeersConfig
from peers.networks.network import Network
from peers.networks.optimizers import AdamW
from peers.networks.shared_head import check_shared_heads
from peers.networks.variants import MLP, Bottleneck, HeadConfig, LinearHead, Prototypes
from peers.probing.observing import observe
from tests.peers.learning.test_peer import DATASET, exchange_rounds, settings_of

HEADS: list[HeadConfig] = [LinearHead(dim=5), Prototypes(dim=5), Bottleneck(dim=5, hidden=8, bottleneck=4)]
SHARED: list[Any] = [True, "last-layer"]
LAST = {"linear": {"weight", "bias"}, "prototypes": {"prototypes"}, "bottleneck": {"directions"}}


def shared(index: int, head: HeadConfig = HEADS[0], which: Any = True, **changes: Any) -> PeerSettings:
    base = settings_of(index, **changes)
    return replace(base, peers=base.peers.model_copy(update={"head": head, "head_shared": which}))


def fixed_of(network: Network) -> dict[str, torch.Tensor]:
    return {name: each.detach().clone() for name, each in network.named_parameters() if not each.requires_grad}


@pytest.mark.parametrize("head", HEADS, ids=lambda head: head.kind)
@pytest.mark.parametrize("which", SHARED)
def test_head_shared__is_equal_in_all_networks_and_another_with_another_seed(head: HeadConfig, which: Any):
    settings = [shared(index, head, which) for index in range(3)]
    networks = [initial_network(each, DATASET.shape) for each in settings]
    networks += [stranger_network(settings[0], DATASET.shape), fresh_network(settings[1], DATASET.shape, 2)]
    first = fixed_of(networks[0])
    names = {name.removeprefix("head.") for name in first}
    assert names == (LAST[head.kind] if which == "last-layer" else {*dict(networks[0].head.named_parameters())})
    for network in networks[1:]:
        assert all(torch.equal(first[name], each) for name, each in fixed_of(network).items())
        weights = zip(networks[0].own_parameters(), network.own_parameters(), strict=True)
        assert any(not torch.equal(one, other) for one, other in weights)
    other = fixed_of(initial_network(replace(settings[0], seed=8), DATASET.shape))
    assert not all(torch.equal(first[name], each) for name, each in other.items())
    assert any(each.any() for each in first.values())


def test_head_shared__the_last_layer_of_bottlenecks_of_any_width_is_the_same():
    groups = tuple(
        Group(count=1, model=MLP(hidden=(width,)), head=Bottleneck(dim=5, hidden=hidden, bottleneck=4))
        for width, hidden in ((12, 8), (20, 6))
    )
    peers = PeersConfig(groups=groups, count=2, head_shared="last-layer")
    networks = [initial_network(replace(settings_of(index), peers=peers), DATASET.shape) for index in (0, 1)]
    one, other = map(fixed_of, networks)
    assert one.keys() == {"head.directions"} and torch.equal(one["head.directions"], other["head.directions"])
    check_shared_heads(peers, [*enumerate(networks)])
    with pytest.raises(
        ValueError, match=r"peers 0 and 1 cannot have one head, since 'head.mlp.0.bias' is 8 and 6: give"
    ):
        check_shared_heads(peers.model_copy(update={"head_shared": True}), [*enumerate(networks)])


def test_head_shared__locality_and_the_rest_of_the_weights_are_as_without():
    plain = settings_of(1, peers={"locality": 0.0})
    ours = shared(1, peers={"locality": 0.0})
    networks = [initial_network(each, DATASET.shape) for each in (plain, ours, shared(0, peers={"locality": 0.0}))]
    for name, weight in networks[1].encoder.named_parameters():
        assert torch.equal(weight, networks[0].encoder.get_parameter(name))
    assert all(
        torch.equal(one, other) for one, other in zip(networks[1].parameters(), networks[2].parameters(), strict=True)
    )


@pytest.mark.parametrize("which", SHARED)
def test_head_shared__nothing_moves_it_and_all_else_moves(which: Any):
    head = HEADS[2]
    base = [shared(index, head, which) for index in range(2)]
    decaying = [
        replace(each, peers=each.peers.model_copy(update={"optimizer": AdamW(lr=1e-2, weight_decay=0.5)}))
        for each in base
    ]
    peers = [Peer(each, DATASET) for each in decaying]
    before = [fixed_of(peer.network) for peer in peers]
    exchange_rounds(peers, 0, 4)
    for peer, kept in zip(peers, before, strict=True):
        assert kept and all(torch.equal(kept[name], each) for name, each in fixed_of(peer.network).items())
        assert all(
            not torch.equal(now, then) for now, then in zip(peer.network.own_parameters(), peer.initial, strict=True)
        )
        assert len(peer.optimizer.moments["exp_avg"]) == len(peer.optimizer.parameters)
        assert len(peer.optimizer.parameters) + len(kept) == len(list(peer.network.parameters()))


def test_head_shared__weight_change_is_of_what_may_change():
    peer = Peer(shared(0), DATASET)
    with torch.no_grad():
        for parameter in peer.network.own_parameters():
            parameter.mul_(1.5)
    images = torch.zeros(4, *DATASET.shape)
    seen = observe(peer.network, peer.initial, images, peer.settings.exchange, False)
    assert seen.weight_change == pytest.approx(0.5, rel=1e-5)


def test_head_shared__the_supervised_control_learns_heads_of_its_own():
    peers, _ = with_labels_only(shared(0).peers, shared(0).exchange, 4)
    assert peers.head_shared is False and peers.head.dim == 4


def test_head_shared__a_head_of_the_users_own_is_drawn_once_or_kept_as_given():
    built = nn.Linear(12, 5)
    for initial in ("drawn", "given"):
        base = settings_of(0)
        peers = base.peers.model_copy(
            update={"head": GivenHead.of(built), "initial": initial, "head_shared": True, "model": GivenModel.of(flat)}
        )
        heads = [
            initial_network(replace(base, peers=peers, index=index), DATASET.shape).head.get_parameter("weight")
            for index in range(2)
        ]
        assert torch.equal(*heads) and torch.equal(heads[0], built.weight) == (initial == "given")
        assert not heads[0].requires_grad


def flat(shape: tuple[int, ...]) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(int(np.prod(shape)), 12))


class Pair(nn.Module):
    """Returns features and outputs."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.one, self.two = flat(shape), nn.Linear(12, 5)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features = self.one(images)
        return features, self.two(features)


def test_head_shared__refuses_what_cannot_be_shared():
    with pytest.raises(ValueError, match=r"peers.head_shared shares a head's weights, but peers.head is 'none'"):
        PeersConfig.model_validate({"count": 2, "head": {"kind": "none"}, "head_shared": True})
    own = settings_of(0).peers.model_copy(update={"model": GivenModel.of(Pair), "head_shared": True})
    networks = [
        (
            0,
            initial_network(
                replace(settings_of(0), peers=own.model_copy(update={"head_shared": False})), DATASET.shape
            ),
        )
    ]
    with pytest.raises(ValueError, match=r"returns features and outputs, so its head cannot be told from the rest"):
        check_shared_heads(own, networks)
    brought = settings_of(0).peers.model_copy(
        update={"head": GivenHead.of(nn.Linear(12, 5)), "head_shared": "last-layer"}
    )
    networks = [
        (
            0,
            initial_network(
                replace(settings_of(0), peers=brought.model_copy(update={"head_shared": True})), DATASET.shape
            ),
        )
    ]
    with pytest.raises(ValueError, match=r"which layer of .* is the last is not known: set it to true"):
        check_shared_heads(brought, networks)
    groups = PeersConfig(
        groups=(Group(count=1, model=MLP(hidden=(12,))), Group(count=1, model=MLP(hidden=(20,)))),
        count=2,
        head_shared=True,
    )
    plain = groups.model_copy(update={"head_shared": False})
    networks = [(index, initial_network(replace(settings_of(index), peers=plain), DATASET.shape)) for index in (0, 1)]
    with pytest.raises(ValueError, match=r"peers 0 and 1 cannot have one head, since 'head.weight' is 64x12 and 64x20"):
        check_shared_heads(groups, networks)
