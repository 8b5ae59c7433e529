"""The weights that a peer teaches with, drawn back to its first ones (`exchange.teacher_anchor`)."""

from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from peers.exchange.config import ExchangeConfig
from peers.learning.peer import Peer
from peers.learning.peer_files import PeerFiles, write
from tests.peers.learning.test_peer import DATASET, MSE, exchange_rounds, settings_of


def pair(**exchange: Any) -> list[Peer]:
    return [Peer(settings_of(index, exchange=MSE.model_copy(update=exchange)), DATASET) for index in range(2)]


@pytest.mark.parametrize(
    ("anchored", "same"),
    [
        ({"teacher_anchor": 0.0}, {"refresh_every": 0}),
        ({"teacher_anchor": 0.0, "teacher_ema": 0.5}, {"refresh_every": 0}),
        ({"teacher_anchor": 1.0, "teacher_ema": 0.5}, {"teacher_ema": 0.5}),
        ({"teacher_anchor": 1.0}, {}),
    ],
    ids=str,
)
def test_teacher_anchor__its_ends_are_a_frozen_teacher_and_none(anchored: dict[str, Any], same: dict[str, Any]):
    ours, theirs = pair(**anchored), pair(**same)
    assert exchange_rounds(ours, 0, 6) == exchange_rounds(theirs, 0, 6)
    assert [peer.digest() for peer in ours] == [peer.digest() for peer in theirs]


@pytest.mark.parametrize("momentum", [0.0, 0.75])
def test_teacher_anchor__is_the_interpolation_of_first_weights_and_average(momentum: float):
    peers = pair(teacher_anchor=0.25, teacher_ema=momentum)
    peer = peers[0]
    first = [weight.detach().clone() for weight in peer.network.parameters()]
    average = [weight.clone() for weight in first]
    for start in range(5):
        exchange_rounds(peers, start, start + 1)
        now = [weight.detach() for weight in peer.network.parameters()]
        average = [momentum * old + (1 - momentum) * new for old, new in zip(average, now, strict=True)]
    assert peer.teacher is not None
    for teaching, start_, mean in zip(peer.teacher.network.parameters(), first, average, strict=True):
        assert torch.allclose(teaching, 0.75 * start_ + 0.25 * mean, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("momentum", [0.0, 0.5])
def test_teacher_anchor__resumes_to_the_bit_and_begins_again(tmp_path: Path, momentum: float):
    exchange = {"teacher_anchor": 0.5, "teacher_ema": momentum}
    whole, first, resumed = (pair(**exchange) for _ in range(3))
    expected = exchange_rounds(whole, 0, 8)
    exchange_rounds(first, 0, 5)
    for peer in first:
        write([(peer.index, peer.content(5))], str(tmp_path), together=False)
    assert [peer.restore(PeerFiles(str(tmp_path)).content(peer.index)) for peer in resumed] == [(5, []), (5, [])]
    assert exchange_rounds(resumed, 5, 8) == expected[5:]
    assert [peer.digest() for peer in resumed] == [peer.digest() for peer in whole]
    peer = whole[0]
    peer.begin_again(first[1].network.state_dict())
    assert peer.teacher is not None and peer.teacher.anchor == 0.5
    for kept in (peer.teacher.first, peer.teacher.average or peer.teacher.first, peer.teacher.network.parameters()):
        assert all(torch.equal(a, b) for a, b in zip(kept, first[1].network.parameters(), strict=True))


def test_teacher_anchor__is_refused_beside_a_snapshot():
    with pytest.raises(ValidationError, match=r"teacher_anchor is 0.5 and exchange.refresh_every is 3, but a snapshot"):
        ExchangeConfig(teacher_anchor=0.5, refresh_every=3)
