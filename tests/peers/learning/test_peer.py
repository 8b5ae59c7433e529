"""One peer: what it refuses, how it drops out, what it leaves untouched, and what a checkpoint brings back."""

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from peers.base.section import examples
from peers.data import datasets
from peers.data.config import Synthetic
from peers.exchange import losses
from peers.exchange.assignment import Assignment, Link, Links, StaleRound
from peers.exchange.config import ExchangeConfig
from peers.exchange.losses import LossConfig
from peers.exchange.messages import Message, decode
from peers.exchange.targets import PlainTarget, TargetConfig
from peers.exchange.wire import Wire
from peers.learning.peer import Peer
from peers.learning.peer_files import PeerFiles, write
from peers.learning.settings import PeerSettings, initial_network
from peers.networks.config import PeersConfig
from peers.networks.optimizers import SGD, AdamW, OptimizerConfig
from peers.networks.variants import MLP, HeadConfig, LinearHead, SmallCNN
from peers.probing.config import ProbeConfig
from peers.probing.measuring import ProbeSubject

DATA = Synthetic(num_train=64, num_test=40, batch_size=16)
DATASET = DATA.load(0)
MSE = ExchangeConfig(target=PlainTarget(), loss=losses.MSE())


def settings_of(index: int = 0, **changes: Any) -> PeerSettings:
    peers = PeersConfig(
        count=3, model=MLP(hidden=(12,)), head=LinearHead(dim=5), optimizer=AdamW(lr=1e-2), **changes.pop("peers", {})
    )
    base = PeerSettings(
        index=index,
        seed=7,
        num_rounds=10,
        peers=peers,
        exchange=MSE,
        data=DATA,
        probes=ProbeConfig(probe_batch=16),
        normalisation=datasets.channel_statistics(DATASET.train_images),
    )
    return replace(base, **changes)


def both(round_index: int, teacher: int) -> Assignment:
    return Assignment(round_index, round_index, Links.of(Link(teacher, 1.0)), True)


def exchange_rounds(peers: list[Peer], start: int, stop: int) -> list[tuple[float | None, float | None]]:
    """Two peers that teach each other; returns their losses."""
    messages = [peer.publish(both(start, 1 - i))[0] for i, peer in enumerate(peers)]
    losses = []
    for t in range(start, stop):
        answers = [peer.advance(both(t, 1 - i), both(t + 1, 1 - i), messages[1 - i]) for i, peer in enumerate(peers)]
        messages = [message for message, _ in answers]
        losses.append((answers[0][1].loss, answers[1][1].loss))
    return losses


def message_with(sender: int, round_index: int, outputs: torch.Tensor) -> Message:
    return Message(sender, round_index, Wire(), 5, Wire().pack(outputs))


def outputs_message(sender: int, round_index: int, value: float = 0.5) -> Message:
    return message_with(sender, round_index, torch.full((16, 5), value))


def weights_are_initial(peer: Peer) -> bool:
    return all(torch.equal(p, q) for p, q in zip(peer.network.parameters(), peer.initial, strict=True))


def test_advance__refuses_a_round_that_it_did_not_publish_for():
    peer = Peer(settings_of(), DATASET)
    with pytest.raises(StaleRound, match="peer 0 has not published for round 0"):
        peer.advance(both(0, 1), None, outputs_message(1, 0))
    peer.publish(both(3, 1))
    with pytest.raises(StaleRound, match="round 4"):
        peer.advance(both(4, 1), None, outputs_message(1, 4))


@pytest.mark.parametrize(("sender", "round_index"), [(2, 0), (1, 1), (0, 0)])
def test_advance__refuses_a_message_that_is_not_on_its_list(sender: int, round_index: int):
    peer = Peer(settings_of(), DATASET)
    peer.publish(both(0, 1))
    before = peer.digest()
    with pytest.raises(ValueError, match=r"peer 0 learns from \(peer, round\) \[\(1, 0\)\]"):
        peer.advance(both(0, 1), None, outputs_message(sender, round_index))
    assert peer.digest() == before


def sgd_step(settings: PeerSettings, batch_index: int, target: torch.Tensor) -> list[torch.Tensor]:
    """The weights after one step of plain gradient descent from the initial ones, on the mean squared error."""
    network = initial_network(settings, DATASET.shape)
    outputs = network(settings.batches(DATASET)(batch_index)[0])[1]
    gradients = torch.autograd.grad((outputs - target).square().mean(), list(network.parameters()))
    return [weight.detach() - 0.5 * slope for weight, slope in zip(network.parameters(), gradients, strict=True)]


@pytest.mark.parametrize("recompute", [False, True])
def test_advance__learns_from_a_message_of_the_previous_round_on_that_rounds_batch(recompute: bool):
    settings = settings_of(recompute=recompute)
    settings = replace(settings, peers=settings.peers.model_copy(update={"optimizer": SGD(lr=0.5)}))
    late = Assignment(round_index=4, batch_index=3, links=Links.of(Link(1, 1.0, age=1)), teaches=False)
    target = torch.randn(16, 5, generator=torch.Generator().manual_seed(1))
    peer = Peer(settings, DATASET)
    peer.publish(late)
    _, stats = peer.advance(late, None, message_with(1, 3, target))
    assert stats.loss is not None
    expected = sgd_step(settings, 3, target)
    other = sgd_step(settings, 4, target)  # what it must not be: the batch of its own round
    for weight, value in zip(peer.network.parameters(), expected, strict=True):
        torch.testing.assert_close(weight.detach(), value)
    assert not all(torch.allclose(one, two) for one, two in zip(expected, other, strict=True))


def test_advance__averages_messages_of_unlike_ages_by_their_weights():
    settings = settings_of()
    settings = replace(settings, peers=settings.peers.model_copy(update={"optimizer": SGD(lr=0.5)}))
    links = Links.of(Link(1, 0.25, age=2), Link(2, 0.5), Link(1, 0.25, age=1))
    mixed = Assignment(round_index=6, batch_index=6, links=links, teaches=False)
    old, new, between = torch.randn(3, 16, 5, generator=torch.Generator().manual_seed(1))
    peer = Peer(settings, DATASET)
    peer.publish(mixed)
    peer.advance(mixed, None, message_with(1, 4, old), message_with(2, 6, new), message_with(1, 5, between))
    expected = sgd_step(settings, 6, 0.25 * old + 0.5 * new + 0.25 * between)
    for weight, value in zip(peer.network.parameters(), expected, strict=True):
        torch.testing.assert_close(weight.detach(), value)


@pytest.mark.parametrize(("age", "round_index"), [(1, 4), (1, 2), (0, 3), (2, 3)])
def test_advance__refuses_a_message_of_another_age(age: int, round_index: int):
    peer = Peer(settings_of(), DATASET)
    late = Assignment(4, 4, Links.of(Link(1, 1.0, age)), teaches=False)
    peer.publish(late)
    before = peer.digest()
    expected = rf"peer 0 learns from \(peer, round\) \[\(1, {4 - age}\)\], got messages of \[\(1, {round_index}\)\]"
    with pytest.raises(ValueError, match=expected):
        peer.advance(late, None, outputs_message(1, round_index))
    assert peer.digest() == before


def test_publish__is_the_forward_pass_on_the_assignments_batch():
    said = [
        Peer(settings_of(), DATASET).publish(Assignment(round_index, batch_index, Links(), teaches=True))[0]
        for round_index, batch_index in ((5, 2), (2, 2), (5, 5))
    ]
    assert [message.round_index for message in said if message is not None] == [5, 2, 5]
    older, same_batch, own = (decode(message, torch.device("cpu")) for message in said if message is not None)
    assert torch.equal(older, same_batch) and not torch.equal(older, own)


def test_advance__a_teacher_without_teachers_keeps_its_weights():
    peer = Peer(settings_of(), DATASET)
    teach = [Assignment(t, t, Links(), True) for t in range(3)]
    peer.publish(teach[0])
    _, stats = peer.advance(teach[0], teach[1])
    assert stats.loss is None
    assert weights_are_initial(peer)


def test_advance__one_forward_a_round(monkeypatch: pytest.MonkeyPatch):
    peers = [Peer(settings_of(i), DATASET) for i in range(2)]
    count = 0
    forward = type(peers[0].network).forward

    def counted(self: Any, images: Any) -> Any:
        nonlocal count
        count += 1
        return forward(self, images)

    monkeypatch.setattr(type(peers[0].network), "forward", counted)
    exchange_rounds(peers, 0, 4)
    assert count == 2 * 5  # four rounds that were learned, and the published forward of the fifth


def test_messages__keep_their_values_when_the_sender_steps():
    peers = [Peer(settings_of(i), DATASET) for i in range(2)]
    messages = [peer.publish(both(0, 1 - i))[0] for i, peer in enumerate(peers)]
    assert messages[0] is not None and messages[0].payload is not None
    before = messages[0].payload[0].copy()
    peers[0].advance(both(0, 1), both(1, 1), messages[1])
    np.testing.assert_array_equal(messages[0].payload[0], before)


def test_advance__a_loss_that_is_not_finite_drops_the_peer_and_keeps_its_weights():
    peer = Peer(settings_of(), DATASET)
    peer.publish(both(0, 1))
    message, stats = peer.advance(both(0, 1), both(1, 1), outputs_message(1, 0, float("inf")))
    assert (stats.failure, stats.failure_round, stats.loss) == ("the loss is inf", 0, None)
    assert message is not None and message.payload is None and message.num_bytes == 0
    assert weights_are_initial(peer)
    before = peer.digest()
    _, stats = peer.advance(both(1, 1), None, outputs_message(1, 1))
    assert stats.loss is None and peer.digest() == before


def test_publish__outputs_that_overflow_the_wire_drop_the_peer():
    settings = settings_of(exchange=MSE.model_copy(update={"dtype": "float16"}))
    peer = Peer(settings, DATASET)
    with torch.no_grad():
        peer.network.head.bias.fill_(1e6)
    message, stats = peer.publish(both(4, 1))
    assert message is not None and message.payload is None
    assert (stats.failure, stats.failure_round) == ("outputs are not finite in float16", 4)


def test_publish__a_peer_nobody_hears_is_checked_as_well():
    peer = Peer(settings_of(), DATASET)
    with torch.no_grad():
        peer.network.head.bias.fill_(float("inf"))
    _, stats = peer.publish(Assignment(4, 4, Links.of(Link(1, 1.0)), False))
    assert (stats.failure, stats.failure_round) == ("outputs are not finite in float32", 4)


def test_advance__does_without_teachers_that_dropped_out():
    """The remaining weights are scaled to sum to 1: the same step as with the other teacher alone."""
    pair = Assignment(0, 0, Links.of(Link(1, 0.25), Link(2, 0.75)), False)
    alone = Assignment(0, 0, Links.of(Link(2, 1.0)), False)
    first, second = Peer(settings_of(), DATASET), Peer(settings_of(), DATASET)
    first.publish(pair)
    second.publish(alone)
    gone = Message(1, 0, Wire(), 5, None)
    first.advance(pair, None, gone, outputs_message(2, 0))
    second.advance(alone, None, outputs_message(2, 0))
    assert first.digest() == second.digest()
    third = Peer(settings_of(), DATASET)
    third.publish(pair)
    third.advance(pair, None, gone, Message(2, 0, Wire(), 5, None))
    assert weights_are_initial(third)


@pytest.mark.parametrize("teacher", [{}, {"refresh_every": 3}, {"refresh_every": 0}, {"teacher_ema": 0.5}])
def test_restore__goes_on_bit_for_bit(tmp_path: Path, teacher: dict[str, Any]):
    exchange = MSE.model_copy(update=teacher)
    whole, first, resumed = ([Peer(settings_of(i, exchange=exchange), DATASET) for i in range(2)] for _ in range(3))
    expected = exchange_rounds(whole, 0, 8)
    exchange_rounds(first, 0, 5)
    for peer in first:
        write([(peer.index, peer.content(5))], str(tmp_path), together=False)
    assert [peer.restore(PeerFiles(str(tmp_path)).content(peer.index)) for peer in resumed] == [(5, []), (5, [])]
    assert exchange_rounds(resumed, 5, 8) == expected[5:]
    assert [peer.digest() for peer in resumed] == [peer.digest() for peer in whole]


UNIONS = {"head": HeadConfig, "optimizer": OptimizerConfig, "target": TargetConfig, "loss": LossConfig}
KINDS = [(name, each) for name, union in UNIONS.items() for each in examples(union)]


@pytest.mark.parametrize(("name", "example"), KINDS, ids=[f"{name}-{each.kind}" for name, each in KINDS])
def test_restore__goes_on_bit_for_bit_with_every_kind_in_another_process(tmp_path: Path, name: str, example: Any):
    """The peers that go on are made from settings that were pickled, as those of a Ray actor are."""
    if name in ("target", "loss"):
        kinds = [settings_of(i, exchange=ExchangeConfig(**{name: example})) for i in range(2)]
    else:
        plain = [settings_of(i) for i in range(2)]
        kinds = [replace(each, peers=each.peers.model_copy(update={name: example})) for each in plain]
    whole, first = ([Peer(each, DATASET) for each in kinds] for _ in range(2))
    resumed = [Peer(pickle.loads(pickle.dumps(each)), DATASET) for each in kinds]
    expected = exchange_rounds(whole, 0, 5)
    assert expected[-1][0] != expected[0][0] and None not in expected[-1]
    exchange_rounds(first, 0, 3)
    for peer in first:
        write([(peer.index, peer.content(3))], str(tmp_path), together=False)
    assert [peer.restore(PeerFiles(str(tmp_path)).content(peer.index)) for peer in resumed] == [(3, []), (3, [])]
    assert exchange_rounds(resumed, 3, 5) == expected[3:]
    assert [peer.digest() for peer in resumed] == [peer.digest() for peer in whole]


def test_teacher__a_moving_average_without_memory_is_the_peer_itself():
    itself = [Peer(settings_of(i), DATASET) for i in range(2)]
    slow = [Peer(settings_of(i, exchange=MSE.model_copy(update={"teacher_ema": 1e-12})), DATASET) for i in range(2)]
    losses, again = exchange_rounds(itself, 0, 6), exchange_rounds(slow, 0, 6)
    assert np.allclose(losses, again, rtol=1e-5)


def test_teacher__never_renewed_keeps_saying_what_the_untrained_peer_said():
    peers = [Peer(settings_of(i, exchange=MSE.model_copy(update={"refresh_every": 0})), DATASET) for i in range(2)]
    untrained = Peer(settings_of(0), DATASET)
    exchange_rounds(peers, 0, 6)
    said, expected = (decode(peer.publish(both(9, 1))[0], torch.device("cpu")) for peer in (peers[0], untrained))
    assert not weights_are_initial(peers[0])
    assert torch.equal(said, expected)


def test_restart__is_a_new_peer():
    peer = Peer(settings_of(exchange=MSE.model_copy(update={"teacher_ema": 0.5})), DATASET)
    start = peer.digest()
    peer.publish(both(0, 1))
    peer.advance(both(0, 1), both(1, 1), outputs_message(1, 0))
    assert peer.digest() != start
    peer.restart()
    assert peer.digest() == start and peer.due is None
    assert peer.teacher is not None
    assert all(torch.equal(p, q) for p, q in zip(peer.teacher.network.parameters(), peer.initial, strict=True))


def test_channels_last__is_the_same_arithmetic_up_to_rounding():
    losses = []
    for layout, channels_last in (("contiguous", False), ("channels-last", True), ("by-rule", True)):
        peers = PeersConfig(count=2, model=SmallCNN(channels=(4, 8)))
        pair = [replace(settings_of(i), peers=peers, memory_layout=layout) for i in range(2)]
        built = [Peer(each, DATASET) for each in pair]
        second = [p for p in built[0].network.parameters() if p.dim() == 4][1]
        assert second.is_contiguous(memory_format=torch.channels_last) == channels_last
        losses.append(exchange_rounds(built, 0, 4))
    assert np.allclose(losses[0], losses[1], rtol=1e-4)
    assert losses[1] == losses[2]


def test_initial_weights__differ_between_peers_and_locality_0_makes_them_equal():
    independent = {Peer(settings_of(i), DATASET).digest() for i in range(3)}
    local = {Peer(settings_of(i, peers={"locality": 0.0}), DATASET).digest() for i in range(3)}
    assert len(independent) == 3
    assert local == {Peer(settings_of(0), DATASET).digest()}


def test_construction__leaves_the_global_generator_alone():
    before = torch.random.get_rng_state()
    peers = [Peer(settings_of(i), DATASET) for i in range(2)]
    exchange_rounds(peers, 0, 2)
    peers[0].probe(ProbeSubject.CALIBRATED)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_learning_rate__follows_the_round_not_the_number_of_steps():
    optimizer = AdamW(lr=0.1, schedule="cosine")
    rates = [optimizer.lr_at(t, 10) for t in range(11)]
    expected = [0.05 * (1 + np.cos(np.pi * t / 10)) for t in range(11)]
    np.testing.assert_allclose(rates, expected, rtol=1e-12, atol=1e-15)
    peer = Peer(settings_of(peers={}), DATASET)
    peer.kind = peer.kind.model_copy(update={"optimizer": optimizer})
    peer.publish(both(7, 1))
    peer.advance(both(7, 1), None, outputs_message(1, 7))
    moved = max((p - q).abs().max().item() for p, q in zip(peer.network.parameters(), peer.initial, strict=True))
    assert moved == pytest.approx(rates[7], rel=1e-3)  # Adam's first step moves by the learning rate


def test_clipping__a_step_of_sgd_is_as_long_as_the_clipped_gradient():
    changes = {"optimizer": SGD(lr=1.0, clip_norm=0.01)}
    settings = settings_of()
    settings = replace(settings, peers=settings.peers.model_copy(update=changes))
    peer = Peer(settings, DATASET)
    peer.publish(both(0, 1))
    _, stats = peer.advance(both(0, 1), None, outputs_message(1, 0, 3.0))
    moves = [(p.detach() - q).flatten() for p, q in zip(peer.network.parameters(), peer.initial, strict=True)]
    assert stats.gradient_norm is not None and stats.gradient_norm > 0.01
    assert torch.cat(moves).norm().item() == pytest.approx(0.01, rel=1e-4)


def test_supervised__adds_lambda_times_the_cross_entropy_on_labels():
    labelled = MSE.model_copy(update={"supervised": 0.5})
    losses = []
    for exchange in (MSE, labelled):
        peer = Peer(settings_of(exchange=exchange), DATASET)
        peer.publish(both(0, 1))
        assert peer.pending is not None
        cross_entropy = torch.nn.functional.cross_entropy(peer.pending.outputs, peer.pending.labels).item()
        losses.append(peer.advance(both(0, 1), None, outputs_message(1, 0))[1].loss)
    assert losses[1] == pytest.approx(losses[0] + 0.5 * cross_entropy, rel=1e-6)
