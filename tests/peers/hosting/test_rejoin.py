"""Peers that come back online: with their own weights, with fresh ones, or with a neighbour's."""

from pathlib import Path
from typing import Any

import pytest
import torch

from peers.exchange.assignment import Links, Rejoin, StaleRound, Study
from peers.exchange.config import ExchangeConfig
from peers.hosting.host import PeerHost
from peers.learning.settings import Execution, fresh_network, initial_network
from peers.networks.variants import MLP
from tests.peers.hosting.test_step import COUNT, DATASET, EXECUTIONS, hosts_of, open_part, ring, settings_of

TEACHING = ExchangeConfig(target={"kind": "centre"}, teacher_ema=0.5)


def trained(execution: Execution, per_host: int = COUNT, **changes: Any) -> list[PeerHost]:
    """Hosts after three rounds of the ring; version 3 is due."""
    hosts = hosts_of(execution, settings_of(**{"exchange": TEACHING, **changes}), per_host)
    bundles = [host.publish({peer: open_part(0) for peer in host.peers})[0] for host in hosts]
    for at in range(3):
        bundles = [
            host.step(
                {peer: Study(at, ring(peer), (at - 1,)) for peer in host.peers},
                {peer: open_part(at + 1) for peer in host.peers},
                *bundles,
            )[0]
            for host in hosts
        ]
    return hosts


def state(host: PeerHost, peer: int) -> dict[str, torch.Tensor]:
    return {name: each.clone() for name, each in host.peers[peer].network.state_dict().items()}


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(each, other[name]) for name, each in one.items())


@EXECUTIONS
def test_rejoin__own_weights_are_what_they_were(execution: Execution):
    (host,) = trained(execution)
    before, steps = state(host, 1), host.peers[1].optimizer.steps
    host.rejoin({1: open_part(7)}, {1: Rejoin("own")})
    assert equal(state(host, 1), before) and host.peers[1].optimizer.steps == steps == 3
    assert host.peers[1].due == open_part(7) and bool(host.peers[1].centre.any())


@EXECUTIONS
def test_rejoin__fresh_weights_are_a_function_of_seed_peer_and_count_and_all_else_starts_anew(execution: Execution):
    (host,) = trained(execution)
    settings, others = host.peers[1].settings, {peer: state(host, peer) for peer in (0, 2, 3)}
    seen = []
    for count in (1, 2, 1):
        (message,), _ = host.rejoin({1: open_part(6 + len(seen))}, {1: Rejoin("fresh", count)})
        peer = host.peers[1]
        assert equal(state(host, 1), dict(fresh_network(settings, DATASET.shape, count).state_dict()))
        assert peer.optimizer.steps == 0 and not any(m.any() for of in peer.optimizer.moments.values() for m in of)
        assert peer.teacher is not None and equal(dict(peer.teacher.network.state_dict()), state(host, 1))
        assert not peer.centre.any() and message.sender == 1
        seen.append(state(host, 1))
    assert equal(seen[0], seen[2]) and not equal(seen[0], seen[1])
    assert not equal(seen[0], dict(initial_network(settings, DATASET.shape).state_dict()))
    assert all(equal(state(host, peer), before) for peer, before in others.items())
    for peer in (0, 2, 3):  # whose forward passes were made beside that of the old weights
        _, stats = host.step({peer: Study(3, Links((peer ^ 1,), (1.0,)) if peer != 0 else Links((2,), (1.0,)))}, {})
        assert stats[peer].loss is not None


@EXECUTIONS
@pytest.mark.parametrize("per_host", [COUNT, 2])
def test_rejoin__a_neighbours_weights_are_its_own_before_either_comes_back(execution: Execution, per_host: int):
    """Two peers that take each other's weights at once exchange them."""
    hosts = trained(execution, per_host)
    before = {peer: state(host, peer) for host in hosts for peer in host.peers}
    states = [host.states([peer for peer in host.peers if peer in (1, 2)]) for host in hosts]
    for host in hosts:
        returns = {peer: Rejoin("neighbour", 1, 3 - peer) for peer in host.peers if peer in (1, 2)}
        host.rejoin({peer: open_part(5) for peer in returns}, returns, *(states if per_host == 2 else []))
    after = {peer: state(host, peer) for host in hosts for peer in host.peers}
    assert equal(after[1], before[2]) and equal(after[2], before[1]) and equal(after[0], before[0])
    assert all(host.peers[peer].optimizer.steps == 0 for host in hosts for peer in host.peers if peer in (1, 2))


def test_rejoin__refuses_weights_of_another_network_and_those_that_have_not_come():
    kinds = {"groups": [{"count": 2}, {"count": 2, "model": MLP(hidden=(12,))}]}
    (host,) = trained("loop", peers=kinds)
    before = host.digest()
    with pytest.raises(ValueError, match="peer 1 cannot take over a neighbour's weights, whose network is another"):
        host.rejoin({1: open_part(5)}, {1: Rejoin("neighbour", 1, 2)})
    with pytest.raises(ValueError, match=r"weights of peers \[9\], which have not arrived"):
        host.rejoin({1: open_part(5)}, {1: Rejoin("neighbour", 1, 9)})
    assert host.digest() == before


def test_rejoin__what_was_due_is_dropped_and_a_peer_that_dropped_out_stays_out():
    (host,) = trained("loop")
    host.rejoin({1: open_part(5)}, {1: Rejoin("own")})
    assert host.mailbox.find((1, 5)) is not None
    with pytest.raises(StaleRound, match="peer 1 has not published for round 3"):
        host.step({1: Study(3, Links())}, {})
    host.peers[1].drop("the loss is inf", 4)
    (notice,), stats = host.rejoin({1: open_part(6)}, {1: Rejoin("fresh", 2)})
    assert notice.is_dropout_notice and stats[1].failure == "the loss is inf"


@EXECUTIONS
def test_step__a_message_that_nobody_asked_to_keep_goes_with_its_senders_step(execution: Execution):
    (host,) = hosts_of(execution, settings_of())
    host.publish({peer: open_part(0, kept=peer == 0) for peer in range(COUNT)})
    host.step({peer: Study(0, ring(peer)) for peer in range(COUNT)}, {0: open_part(1)})
    assert [key for key in host.post.kept] == [(0, 0), (0, 1)] and len(host.mailbox) == 2
    host.step({0: Study(1, Links(), (0, 1))}, {})
    assert len(host.mailbox) == 0 and not host.post.kept
    host.publish({2: open_part(4, kept=False)})
    host.publish({2: open_part(5, kept=False)})  # in its place
    assert [key for key in host.post.kept] == [(2, 5)]


@EXECUTIONS
def test_step__refuses_what_has_not_arrived_before_anything_is_learned(execution: Execution):
    (host,) = hosts_of(execution, settings_of())
    host.publish({peer: open_part(2) for peer in range(COUNT)})
    before = host.digest()
    with pytest.raises(
        ValueError, match=r"steps of peers \[0, 1\]: no message has arrived of \(peer, round\) \[\(9, 1\)\]"
    ):
        host.step({0: Study(2, ring(0)), 1: Study(2, Links((9,), (1.0,), (1,)))}, {})
    with pytest.raises(StaleRound, match="peer 1 has not published for round 3"):
        host.step({1: Study(3, Links())}, {})
    assert host.digest() == before


def test_publish__hands_out_once_more_what_a_checkpoint_has_kept_and_may_still_be_used(tmp_path: Path):
    (host,) = trained("loop")
    assert sorted({number for _, number in host.post.kept}) == [2, 3]
    host.save(str(tmp_path), 3)
    (again,) = hosts_of("loop", settings_of(exchange=TEACHING))
    again.restore(str(tmp_path), dict.fromkeys(range(COUNT), ""))
    bundle, _ = again.publish({peer: open_part(3) for peer in (0, 1)}, {0: (2,), 3: (3,)})
    assert [message.key for message in bundle] == [(0, 3), (1, 3), (0, 2), (3, 3)]
    assert again.publish({})[0] == ()
    for message in bundle:
        kept = host.mailbox.find(message.key)
        assert kept is not None and kept.payload is not None and message.payload is not None
        assert all((one == other).all() for one, other in zip(kept.payload, message.payload, strict=True))
