"""The control `irrelevant`: a network that learns from other data answers in the teacher's place."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.func import functional_call

from peers.data import datasets
from peers.data.config import Synthetic
from peers.exchange.assignment import Assignment, Link, Links
from peers.exchange.messages import Message, decode
from peers.hosting.stacking import stacks_of
from peers.learning.control import Control
from peers.learning.peer import Peer
from peers.learning.peer_files import PeerFiles, write
from peers.learning.settings import PeerSettings, initial_network, stranger_network
from tests.peers.learning.test_peer import DATASET, MSE, both, exchange_rounds, outputs_message, settings_of

OTHER = Synthetic(num_train=80, num_test=20).load(5)
PAIR = replace(DATASET, others={"irrelevant": OTHER})
SUPERVISED = MSE.model_copy(update={"supervised": 1.0})
CPU = torch.device("cpu")


def irrelevant(index: int, **changes: Any) -> PeerSettings:
    other = datasets.channel_statistics(OTHER.train_images)
    changes = {"exchange": SUPERVISED, **changes}
    return settings_of(index, control=Control.IRRELEVANT, other_normalisation=other, **changes)


def itself(round_index: int, index: int) -> Assignment:
    return Assignment(round_index, round_index, Links.of(Link(index, 1.0)), True)


def alone(index: int, rounds: int, **changes: Any) -> Peer:
    """A peer of a plain run on the other data in which all are alone, that starts from a stranger's weights."""
    changes = {"exchange": SUPERVISED, **changes}
    settings = settings_of(index, normalisation=datasets.channel_statistics(OTHER.train_images), **changes)
    peer = Peer(settings, OTHER)
    peer.network.load_state_dict(stranger_network(settings, OTHER.shape).state_dict())
    if peer.teacher is not None:
        peer.teacher.begin(peer.network)
    message, _ = peer.publish(itself(0, index))
    for round_index in range(rounds):
        message, _ = peer.advance(itself(round_index, index), itself(round_index + 1, index), message)
    return peer


TEACHING: list[dict[str, Any]] = [{}, {"teacher_ema": 0.5}, {"refresh_every": 3}, {"teacher_anchor": 0.25}]


@pytest.mark.parametrize("teaching", TEACHING, ids=str)
def test_irrelevant__the_twin_is_a_peer_alone_on_the_other_data_to_the_bit(teaching: dict[str, Any]):
    exchange = SUPERVISED.model_copy(update=teaching)
    peers = [Peer(irrelevant(index, exchange=exchange), PAIR) for index in range(2)]
    exchange_rounds(peers, 0, 6)
    for peer in peers:
        plain = alone(peer.index, 6, exchange=exchange)
        assert peer.twin is not None and peer.twin.peer.digest() == plain.digest()
        assert peer.digest() != plain.digest()


def test_irrelevant__students_get_the_twins_answers_on_the_runs_images():
    """And the peer itself learns as beside any other teacher: its own forward pass is that of the run."""
    peer, said = Peer(irrelevant(0), PAIR), []
    message, _ = peer.publish(both(0, 1))
    for round_index in range(3):
        said.append(message)
        teacher = Message(1, round_index, message.wire, 5, message.wire.pack(torch.full((16, 5), 0.5)))
        message, _ = peer.advance(both(round_index, 1), both(round_index + 1, 1), teacher)
    for round_index, each in enumerate(said):
        network = alone(0, round_index).network
        images, _ = peer.batches(round_index, 0)
        buffers = {name: buffer.clone() for name, buffer in network.named_buffers()}
        _, expected = functional_call(network, buffers, (images,))
        assert torch.equal(decode(each, CPU), expected)
    assert not torch.equal(decode(said[0], CPU), decode(said[2], CPU))


def test_irrelevant__nothing_that_a_student_hears_depends_on_the_runs_other_images():
    """The twin's weights are the same whatever the run's data are."""
    first, second = Peer(irrelevant(0), PAIR), Peer(irrelevant(0), replace(PAIR, train_images=255 - PAIR.train_images))
    digests = []
    for peer in (first, second):
        exchange_rounds([peer, Peer(irrelevant(1), PAIR)], 0, 3)
        assert peer.twin is not None
        digests.append(peer.twin.peer.digest())
    assert digests[0] == digests[1] and first.digest() != second.digest()


@pytest.mark.parametrize("teaching", TEACHING, ids=str)
def test_irrelevant__resumes_to_the_bit(tmp_path: Path, teaching: dict[str, Any]):
    exchange = SUPERVISED.model_copy(update=teaching)
    whole, first, resumed = ([Peer(irrelevant(i, exchange=exchange), PAIR) for i in range(2)] for _ in range(3))
    expected = exchange_rounds(whole, 0, 8)
    exchange_rounds(first, 0, 5)
    for peer in first:
        write([(peer.index, peer.content(5))], str(tmp_path), together=False)
    assert [peer.restore(PeerFiles(str(tmp_path)).content(peer.index)) for peer in resumed] == [(5, []), (5, [])]
    assert exchange_rounds(resumed, 5, 8) == expected[5:]
    for one, other in zip(whole, resumed, strict=True):
        assert one.twin is not None and other.twin is not None
        assert one.digest() == other.digest() and one.twin.peer.digest() == other.twin.peer.digest()


def test_irrelevant__weights_as_messages_are_the_twins():
    peer = Peer(irrelevant(0, message="checkpoint"), PAIR)
    assignment = replace(both(0, 1), links_follow=True)
    first, _ = peer.publish(assignment)
    second, _ = peer.step(both(0, 1), replace(assignment, round_index=1, batch_index=1), lambda *of: None)
    for rounds, message in ((0, first), (1, second)):
        expected = alone(0, rounds).network.state_dict()
        assert message is not None and message.payload is not None
        names = [name for name, _ in (*peer.network.named_parameters(), *peer.network.named_buffers())]
        for name, array in zip(names, message.payload, strict=True):
            assert torch.equal(torch.tensor(array), expected[name])


def test_irrelevant__the_twin_takes_the_steps_of_its_peer():
    """It teaches without studying, does neither, and studies."""
    peer = Peer(irrelevant(0), PAIR)
    assert peer.twin is not None
    steps = []
    for number, (links, teaches) in enumerate([(Links(), True), (Links(), False), (Links.of(Link(1, 1.0)), False)]):
        assignment = Assignment(number, number, links, teaches)
        peer.publish(assignment)
        peer.advance(assignment, None, *[outputs_message(1, number)] * len(links))
        steps.append((peer.twin.peer.optimizer.steps, peer.optimizer.steps))
    assert steps == [(0, 0), (0, 0), (1, 1)]


def test_irrelevant__who_never_learns_has_a_twin_that_does_not():
    peer = Peer(irrelevant(0, peers={"frozen": (0,)}), PAIR)
    assert peer.twin is not None
    start = peer.twin.peer.digest()
    teaching = Assignment(0, 0, Links(), True)
    peer.publish(teaching)
    peer.advance(teaching, None)
    assert peer.twin.peer.digest() == start


def test_irrelevant__a_twin_that_diverges_takes_its_peer_out():
    peer = Peer(irrelevant(0), PAIR)
    peer.publish(both(0, 1))
    assert peer.twin is not None
    with torch.no_grad():
        next(iter(peer.twin.peer.network.parameters())).fill_(float("inf"))
    teacher = Message(1, 0, peer.sent.wire, 5, peer.sent.wire.pack(torch.zeros(16, 5)))  # type: ignore[union-attr]
    _, stats = peer.advance(both(0, 1), both(1, 1), teacher)
    assert stats.failure.startswith("in the network that teaches in its place, outputs are not finite")
    assert stats.failure_round == 0


def test_irrelevant__runs_in_the_loop():
    peers = [Peer(irrelevant(index), PAIR) for index in range(3)]
    assert stacks_of(peers) == []
    assert len(stacks_of([Peer(settings_of(index), DATASET) for index in range(3)])) == 1


def test_starts_as__a_stranger():
    settings = settings_of(1, starts_as="stranger")
    ours, theirs = initial_network(settings, DATASET.shape), stranger_network(settings_of(1), DATASET.shape)
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))
