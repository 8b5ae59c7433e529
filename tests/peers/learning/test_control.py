"""What peers do in control runs: messages that are replaced, gradients that are scaled, labels instead of teachers."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.func import functional_call

from coordinator.experiment.config import RunConfig
from coordinator.planning.plan import peer_settings, prepare
from coordinator.planning.schedules import build_schedule
from coordinator.pools.in_process import InProcessPool
from coordinator.scheduling.synchronous import Cadence, RoundLoop
from peers.exchange.assignment import Assignment, Link, Links
from peers.exchange.config import ExchangeConfig
from peers.exchange.losses import MSE
from peers.exchange.messages import Message, decode
from peers.exchange.sums import Sum, SumWeights
from peers.exchange.targets import PlainTarget
from peers.learning.control import Control, matching_factor, shuffled_order, with_labels_only
from peers.learning.peer import Peer
from peers.learning.settings import PeerSettings, initial_network, stranger_network
from peers.networks.config import Group, PeersConfig
from peers.networks.optimizers import SGD
from peers.networks.variants import MLP, LinearHead
from tests.peers.learning.test_peer import DATASET, both, outputs_message, settings_of
from tests.peers.learning.test_vectorised import config_of, relative

CPU = torch.device("cpu")
OWN_SHARE = Assignment(0, 0, Links.of(Link(0, 0.25), Link(1, 0.75)), True)  # of peer 0: a quarter of itself


def sent(settings: PeerSettings, assignment: Assignment) -> torch.Tensor:
    message, _ = Peer(settings, DATASET).publish(assignment)
    assert message is not None
    return decode(message, CPU)


@pytest.mark.parametrize("size", [2, 3, 16, 257])
def test_shuffled_order__is_one_cycle_through_all_samples(size: int):
    order = shuffled_order(3, 5, size).tolist()
    place, seen = order[0], [0]
    while place != 0:
        seen.append(place)
        place = order[place]
    assert sorted(seen) == list(range(size))  # so that no sample keeps its place
    assert order == shuffled_order(3, 5, size).tolist()
    assert size == 2 or order != shuffled_order(3, 6, size).tolist()


def test_shuffled__every_teacher_sends_its_own_outputs_in_one_order():
    order = shuffled_order(7, 0, 16)
    for index in (0, 1):
        settings = settings_of(index)
        expected = sent(settings, both(0, 1 - index))[order]
        assert torch.equal(sent(replace(settings, control=Control.SHUFFLED), both(0, 1 - index)), expected)


def test_stranger__sends_for_the_teacher_and_never_learns():
    """Its outputs are those of other random weights in train mode; the peer's own forward pass is as in the run."""
    plain, settings = settings_of(0), settings_of(0, control=Control.STRANGER)
    peer, same = Peer(settings, DATASET), Peer(plain, DATASET)
    network = stranger_network(settings, DATASET.shape)
    assert not torch.equal(next(network.parameters()), next(initial_network(settings, DATASET.shape).parameters()))
    for round_index in range(3):
        if round_index:
            step = (both(round_index - 1, 1), both(round_index, 1), outputs_message(1, round_index - 1))
            message, _ = peer.advance(*step)
            same.advance(*step)
        else:
            message, _ = peer.publish(both(0, 1))
            same.publish(both(0, 1))
        images, _ = peer.batches(round_index, 0)
        buffers = {name: buffer.clone() for name, buffer in network.named_buffers()}
        _, expected = functional_call(network, buffers, (images,))
        assert message is not None and torch.equal(decode(message, CPU), expected)
    assert peer.digest() == same.digest()


def test_stranger__is_as_far_from_the_first_peer_as_any_other():
    settings = settings_of(2, control=Control.STRANGER, peers={"locality": 0.0})
    ours, theirs = stranger_network(settings, DATASET.shape), initial_network(settings, DATASET.shape)
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))  # all are equal


@pytest.mark.parametrize("control", [Control.SHUFFLED, Control.STRANGER])
@pytest.mark.parametrize("summed", [False, True])
def test_replaced_messages__what_a_student_takes_of_itself_stays_its_own(control: Control, summed: bool):
    """By the mean squared error: its gradient at the outputs is 2 (y - target) / size, so the loss tells the target."""
    assignment = OWN_SHARE
    if summed:
        assignment = Assignment(0, 0, Links(), True, SumWeights(0.25, 0.75, True), summed=True)
    peer = Peer(settings_of(0, control=control), DATASET)
    message, _ = peer.publish(assignment)
    assert peer.pending is not None and message is not None
    own, other = peer.pending.outputs.detach().clone(), torch.linspace(-1, 1, 80).reshape(16, 5)
    teacher = Message(1, 0, message.wire, 5, message.wire.pack(other))
    received: list[Any] = [message, teacher]
    if summed:
        received = [Sum.of(0, [decode(message, CPU), other])]
    _, stats = peer.advance(assignment, None, *received)
    expected = F.mse_loss(own, 0.25 * own + 0.75 * other)
    assert stats.loss == pytest.approx(float(expected), rel=1e-5)
    assert not torch.allclose(decode(message, CPU), own)  # what it sent is something else


def test_alone_matched__the_step_has_the_norm_that_was_asked_for():
    """Plain SGD moves the weights by lr times the gradient's norm."""
    base = settings_of(0)
    for clip, wanted, norm in ((0.0, 3.0, 3.0), (2.0, 3.0, 2.0), (2.0, 0.125, 0.125)):
        optimizer = SGD(lr=0.5, clip_norm=clip)
        peer = Peer(replace(base, peers=base.peers.model_copy(update={"optimizer": optimizer})), DATASET)
        assignment = replace(both(0, 1), gradient_norm=wanted)
        peer.publish(assignment)
        _, stats = peer.advance(assignment, None, outputs_message(1, 0, 5.0))
        with torch.no_grad():
            steps = [p - q for p, q in zip(peer.network.parameters(), peer.initial, strict=True)]
        moved = torch.cat([step.flatten() for step in steps]).norm()
        assert float(moved) == pytest.approx(0.5 * norm, rel=1e-5)
        assert stats.gradient_norm is not None and stats.gradient_norm > 4.0  # the gradient's own, as in any run


def test_matching_factor__a_gradient_of_zero_stays_zero():
    assert matching_factor(0.0, 1.0, float("inf")) == 1.0


def test_supervised__the_loss_is_cross_entropy_on_labels_whatever_arrives():
    peers, exchange = with_labels_only(PeersConfig(count=2, head=LinearHead(dim=64)), ExchangeConfig(), 4)
    assert peers.head == LinearHead(dim=4)
    grouped = PeersConfig(groups=(Group(count=2, head=LinearHead(dim=9)), Group(count=1)))
    assert {group.head.dim for group in with_labels_only(grouped, ExchangeConfig(), 4)[0].groups} == {4}
    kept = ExchangeConfig(supervised=1.0)
    assert with_labels_only(grouped, kept, 4) == (grouped, kept)  # its outputs are of labels already
    settings = settings_of(0, control=Control.SUPERVISED, exchange=exchange)
    peer = Peer(settings, DATASET)
    peer.publish(both(0, 1))
    assert peer.pending is not None
    expected = F.cross_entropy(peer.pending.outputs.detach(), peer.batches(0, 0)[1])
    _, stats = peer.advance(both(0, 1), None, outputs_message(1, 0, 1e6))
    assert stats.loss == pytest.approx(float(expected), rel=1e-6)


PRIVATE = {
    "data": {"partition": {"kind": "iid"}, "public": {"kind": "share", "share": 0.25}, "private_batch_size": 8},
    "exchange": {"supervised": 0.5},
}
NEEDS: dict[Control, dict[str, Any]] = {
    Control.IRRELEVANT: {"irrelevant": {"kind": "synthetic", "num_train": 64, "num_test": 8}, "exchange": {"views": 2}},
    Control.PRIVATE_ONLY: PRIVATE,
    Control.POOLED: PRIVATE,
    Control.TRUTHFUL: {"peers": {"adversaries": [{"peers": [1], "attack": {"kind": "sign-flip"}}]}},
}


@pytest.mark.parametrize("control", list(Control))
@pytest.mark.parametrize("delivery", ["per-edge", "shared-sum"])
def test_vectorised__control_runs_equal_the_loop(control: Control, delivery: str):
    """With a share of a student's own in its target, so that replaced messages and own outputs both count."""
    if delivery == "shared-sum" and not control.replaces_messages:
        pytest.skip("only controls that replace messages treat sums in a way of their own")

    def tensors(execution: str) -> list[torch.Tensor]:
        needs = NEEDS.get(control, {})
        exchange = {"delivery": delivery, "target": PlainTarget(), "loss": MSE(), "teacher_ema": 0.5}
        peers = {"optimizer": {"kind": "sgd", "lr": 0.1}, "norm": "none", "model": MLP(hidden=(12, 8))}
        config: RunConfig = config_of(
            execution,
            **needs
            | {
                "run": {"rounds": 8, "seed": 2},
                "topology": {"kind": "complete", "self_weight": 0.25},
                "exchange": exchange | needs.get("exchange", {}),
                "peers": peers | needs.get("peers", {}),
                "evaluation": {"controls": [control]},
            },
        )
        plan = prepare(config)
        pool = InProcessPool(peer_settings(config, plan.dataset, control), plan.dataset, config.hosting)
        norms = None if control is not Control.ALONE_MATCHED else lambda round_index, peer: 0.5 + peer + round_index / 9
        cadence = Cadence(8, 3, gradient_norm=norms)
        schedule = build_schedule(config, control)
        for record in RoundLoop(pool, schedule, cadence, delivery == "shared-sum"):
            assert all(stats.loss is not None for stats in record.stats.values())
        pool.close()
        return [tensor for peer in pool._host.peers.values() for tensor in peer.network.state_dict().values()]

    loop, vectorised = tensors("loop"), tensors("vectorised")
    assert max(relative(b, a) for a, b in zip(loop, vectorised, strict=True)) < 1e-4
    assert np.isfinite(sum(float(tensor.double().sum()) for tensor in loop))
