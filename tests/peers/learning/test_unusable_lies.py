"""Lies that are not finite: sent as what they are, left out by who gets them, counted; whoever sends them stays."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from peers.attacks.brought import ImportedAttack
from peers.attacks.config import IPM, Adversaries, Attack, Random
from peers.exchange.assignment import Assignment, Heard, Links, Study
from peers.exchange.messages import Message, check
from peers.exchange.sums import SumWeights
from peers.hosting.host import PeerHost
from peers.learning.averaging import Received
from peers.learning.listening import Ear, listen
from peers.learning.settings import Execution
from tests.peers.learning.test_listening import COUNT, EXECUTIONS, host_of, part, settings_of, trained, weights

LIAR, ROUNDS = 3, 3
FAR, BEYOND = Random(sigma=1e6), IPM(epsilon=1e9)  # of which float16 has next to nothing


def not_a_number(own: Tensor, honest: Tensor) -> Tensor:
    return torch.full_like(own, math.nan)


def lying(attack: Attack, **more: Any) -> dict[str, Any]:
    return {"adversaries": [Adversaries(peers=(LIAR,), attack=attack)], "what": "logits", "dtype": "float16", **more}


ATTACKS = pytest.mark.parametrize("attack", [FAR, BEYOND, ImportedAttack(target=f"{__name__}:not_a_number")])


@EXECUTIONS
@ATTACKS
def test_a_lie_that_is_not_finite__is_as_if_nobody_had_sent_it(execution: Execution, attack: Attack) -> None:
    """The others learn what they learn without the liar's links, and the liar what an honest peer learns."""
    host = host_of(execution, **lying(attack))
    told = trained(host, ROUNDS)
    without = host_of(execution, **lying(attack))
    others = tuple(peer for peer in range(COUNT) if peer != LIAR)

    def unheard(at: int) -> dict[int, Assignment]:
        links = [(*others, LIAR) if peer == LIAR else others for peer in range(COUNT)]
        return {peer: Assignment(at, at, Links(of, (1 / COUNT,) * len(of)), True) for peer, of in enumerate(links)}

    without.publish(unheard(0))
    for at in range(ROUNDS):
        without.advance(at, unheard(at + 1))
    assert (weights(host) - weights(without)).abs().max() <= 1e-6
    assert not any(peer.failure for peer in host.peers.values())
    assert all(of_round[LIAR] is None for of_round in told)
    assert all(of_round[peer] == Heard(COUNT - 2, 0, unusable=1) for of_round in told for peer in others)


@EXECUTIONS
def test_with_no_other_teacher__nothing_is_learned_but_it_is_counted(execution: Execution) -> None:
    """As with teachers that have dropped out; own terms go on."""
    for own in ({}, {"supervised": 0.5}):
        host = host_of(execution, **lying(FAR, **own))
        before = weights(host)
        links = {peer: Links((LIAR,), (1.0,)) if peer != LIAR else Links() for peer in range(COUNT)}
        at = [{peer: Assignment(number, number, links[peer], True) for peer in range(COUNT)} for number in range(2)]
        host.publish(at[0])
        _, stats = host.advance(0, at[1])
        assert all(stats[peer].heard == Heard(unusable=1) for peer in range(COUNT) if peer != LIAR)
        assert all((stats[peer].loss is not None) == bool(own) for peer in range(COUNT) if peer != LIAR)
        assert torch.equal(before, weights(host)) != bool(own)


@pytest.mark.parametrize("own", [{}, {"supervised": 0.5}])
@pytest.mark.parametrize("beside", [True, False])
def test_late_messages__of_a_batch_of_lies_alone_count_for_nothing(own: dict[str, Any], beside: bool) -> None:
    """A batch of which only lies tell has no share in the loss: both executions agree."""
    found = []
    for execution in ("loop", "vectorised"):
        host = host_of(execution, **lying(FAR, **own))  # type: ignore[arg-type]
        for at in range(2):
            assignment = Assignment(at, at, Links(), True, links_follow=True, kept=True)
            host.publish(dict.fromkeys(range(COUNT), assignment)) if at == 0 else None
            if at == 0:
                first = {peer: Study(0, Links((peer,), (1.0,), batches=(0,)), step_round=0) for peer in range(COUNT)}
                host.step(first, dict.fromkeys(range(COUNT), replace(assignment, round_index=1, batch_index=1)))
        student = 0
        heard = [(1, 0.5, 0), (LIAR, 0.5, 1)] if beside else [(LIAR, 1.0, 1)]
        links = Links(
            tuple(peer for peer, _, _ in heard),
            tuple(weight for _, weight, _ in heard),
            tuple(age for _, _, age in heard),
            tuple(1 - age for _, _, age in heard),
        )
        before = weights(host)
        _, stats = host.step({student: Study(1, links, step_round=1)}, {})
        assert stats[student].heard is not None and stats[student].heard.unusable == 1
        assert (stats[student].loss is not None) == (beside or bool(own))
        found.append((stats[student].loss, weights(host) - before))
    (loss, moved), (also, as_well) = found
    assert (moved - as_well).abs().max() <= 1e-6 and loss == (also if loss is None else pytest.approx(also, rel=1e-4))
    assert bool(moved.abs().max() > 0) == (beside or bool(own))


@EXECUTIONS
@pytest.mark.parametrize("own_weight", [0.0, 0.3])
def test_a_shared_sum__is_without_them(execution: Execution, own_weight: float) -> None:
    """Each student learns what it would from messages of its own, and counts what could not be added."""
    other = (1 - own_weight) / (COUNT - 1)

    def summed(at: int) -> dict[int, Assignment]:
        shares = SumWeights(own_weight, other, included=True)
        return {peer: Assignment(at, at, Links(), True, sum_weights=shares, summed=True) for peer in range(COUNT)}

    def per_edge(at: int) -> dict[int, Assignment]:
        found = {}
        for peer in range(COUNT):
            links = [(each, own_weight if each == peer else other, 0) for each in range(COUNT)]
            found[peer] = Assignment(at, at, Links.of(*[link for link in links if link[1]]), True)
        return found

    hosts: list[PeerHost] = []
    for parts in (summed, per_edge):
        host = host_of(execution, **lying(FAR))
        host.publish(parts(0))
        for at in range(ROUNDS):
            _, stats = host.advance(at, parts(at + 1))
            assert [each.heard.unusable if each.heard else 0 for each in stats.values()] == [1, 1, 1, 0, 1]
        hosts.append(host)
    assert (weights(hosts[0]) - weights(hosts[1])).abs().max() <= 1e-5


def test_listen__who_has_itself_alone_left_takes_that() -> None:
    own = torch.randn(8, 6, generator=torch.Generator().manual_seed(0))
    received = [Received(0, 0, 0.5, own), Received(LIAR, 0, 0.5, torch.full_like(own, math.inf))]
    settings = settings_of([Adversaries(peers=(LIAR,), attack=FAR)], what="logits")
    found = listen(received, own, Ear(settings))
    assert found.teachers == [(0.5, own)] and found.heard == Heard(unusable=1) and found.weight == 0.5


def test_check__a_liars_message_from_another_host_may_be_anything_of_its_form() -> None:
    settings = settings_of(what="logits", dtype="int8")
    wire = settings.exchange.wire
    message = Message(LIAR, 0, wire, 6, wire.pack(torch.full((8, 6), math.nan)))
    check(message, wire, 6, 8, distribution=False, lie=True)
    with pytest.raises(ValueError, match="values that are not finite"):
        check(message, wire, 6, 8, distribution=False)
    with pytest.raises(ValueError, match="arrays of"):
        check(message, wire, 6, 9, distribution=False, lie=True)


@EXECUTIONS
def test_a_liar_whose_own_outputs_are_not_finite__drops_out(execution: Execution) -> None:
    """Whatever it would have sent: it is dropped for what its network says, as every peer."""
    host = host_of(execution, **lying(Random()))
    with torch.no_grad():
        next(iter(host.peers[LIAR].network.parameters())).fill_(math.nan)
    host.publish(part(0))
    assert host.peers[LIAR].failure == "outputs are not finite in float16"
    _, stats = host.advance(0, part(1))
    assert stats[0].heard == Heard(COUNT - 2, 0)
