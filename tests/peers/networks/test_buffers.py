"""A network's forward pass with other buffers than its own."""

import copy

import pytest
import torch
from torch.func import functional_call

from peers.base.brought_errors import BroughtError
from peers.networks import drawing
from peers.networks.network import Network
from peers.networks.variants import LinearHead, SmallCNN

SHAPE = (1, 4, 4)


def network_of(seed: int) -> Network:
    def build() -> Network:
        encoder = SmallCNN(channels=(3, 2)).build(SHAPE, "batch")
        return Network(encoder, LinearHead(dim=2).build(2), SHAPE)

    return drawing.seeded(build, seed).train()


def test_with_buffers__equals_functional_call_and_leaves_its_own() -> None:
    network, images = network_of(1), torch.randn(5, *SHAPE, generator=torch.Generator().manual_seed(0))
    own = {name: buffer.clone() for name, buffer in network.named_buffers()}
    expected = {name: buffer.clone() for name, buffer in network.named_buffers()}
    outputs = functional_call(network, expected, (images,))
    found = network.copied_buffers()
    assert list(found) == list(expected)
    assert all(map(torch.equal, network.with_buffers(found, images), outputs))
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert any(not torch.equal(found[name], own[name]) for name in own)
    assert all(torch.equal(buffer, own[name]) for name, buffer in network.named_buffers())


def test_set_buffers__of_a_copy_leaves_the_original() -> None:
    network, images = network_of(1), torch.ones(3, *SHAPE)
    before = network.copied_buffers()
    twin, changed = copy.deepcopy(network), network.copied_buffers()
    twin.with_buffers(changed, images)
    twin.set_buffers(changed)
    assert all(torch.equal(buffer, changed[name]) for name, buffer in twin.named_buffers())
    assert all(torch.equal(buffer, before[name]) for name, buffer in network.named_buffers())


def test_set_buffers__one_that_a_forward_pass_has_made_is_refused_in_a_line() -> None:
    network = network_of(1)
    network.origin = "own.networks:Growing"
    before = network.copied_buffers()
    network.encoder.register_buffer("newcomer", torch.zeros(1))
    with pytest.raises(
        BroughtError, match=r"own\.networks:Growing has made the buffer 'encoder.newcomer' in a forward"
    ):
        network.set_buffers(before)
