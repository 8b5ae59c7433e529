"""What a student makes of messages: against a loop written out in torch, and values worked out by hand."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.func import functional_call

from peers.attacks.config import IPM, LMA, Adversaries, Constant, FreeRider, Random, SignFlip
from peers.base.seeds import stream
from peers.data.config import Synthetic
from peers.data.datasets import channel_statistics
from peers.exchange.assignment import Assignment, Heard, Links
from peers.exchange.config import ExchangeConfig
from peers.exchange.losses import MSE
from peers.exchange.targets import PlainTarget
from peers.hosting.host import PeerHost
from peers.learning.averaging import Received
from peers.learning.control import Control
from peers.learning.lies import Liar, attack_in
from peers.learning.listening import Ear, listen
from peers.learning.settings import Execution, PeerSettings, initial_network
from peers.networks.config import PeersConfig
from peers.networks.optimizers import SGD
from peers.networks.variants import MLP, LinearHead
from peers.pooling.brought import ImportedAggregation
from peers.pooling.config import Krum, Mean, Median, Nearest, SelfAgreement, SelfCentredClipping, TrimmedMean
from peers.pooling.memory import ETA, expguard_scores

DATA = Synthetic(num_train=96, num_test=40, batch_size=16)
DATASET = DATA.load(0)
COUNT, ROUNDS, LR, FROM = 5, 4, 0.5, 1
FLIPPER, OMNISCIENT = 3, 1
ADVERSARIES = (
    Adversaries(peers=(OMNISCIENT,), attack=LMA()),
    Adversaries(peers=(FLIPPER,), attack=SignFlip(), from_round=FROM),
)
EXECUTIONS = pytest.mark.parametrize("execution", ["loop", "vectorised"])


def settings_of(
    adversaries: Sequence[Adversaries] = (), index: int = 0, control: Control | None = None, **exchange: Any
) -> PeerSettings:
    peers = PeersConfig(
        count=COUNT,
        model=MLP(hidden=(12,)),
        norm="none",
        head=LinearHead(dim=6),
        optimizer=SGD(lr=LR),
        adversaries=tuple(adversaries),
    )
    asked = {"what": "probabilities", "target": PlainTarget(), "loss": MSE(), **exchange}
    statistics = channel_statistics(DATASET.train_images)
    settings = PeerSettings(index, 7, ROUNDS, peers, ExchangeConfig(**asked), DATA, _probes(), statistics)
    return replace(settings, control=control)


def _probes() -> Any:
    from peers.probing.config import ProbeConfig

    return ProbeConfig(probe_batch=16)


def host_of(execution: Execution, **settings: Any) -> PeerHost:
    host = PeerHost()
    host.open([settings_of(index=peer, **settings) for peer in range(COUNT)], DATASET, 1, execution)
    return host


def part(at: int) -> dict[int, Assignment]:
    """A complete graph in which everybody hears itself, too."""
    links = Links(tuple(range(COUNT)), (1 / COUNT,) * COUNT)
    return {peer: Assignment(at, at, links, True) for peer in range(COUNT)}


def trained(host: PeerHost, rounds: int = ROUNDS) -> list[dict[int, Heard | None]]:
    host.publish(part(0))
    stats = [host.advance(at, part(at + 1))[1] for at in range(rounds)]
    return [{peer: each.heard for peer, each in of_round.items()} for of_round in stats]


def weights(host: PeerHost) -> Tensor:
    state = (tensor for peer in host.peers.values() for tensor in peer.network.state_dict().values())
    return torch.cat([tensor.double().flatten() for tensor in state])


def trimmed(stack: Tensor) -> Tensor:
    """The mean without the largest and the smallest, entry by entry, as distributions."""
    middle = stack.sort(dim=0).values[1:-1].mean(dim=0).clamp_min(0)
    return middle / middle.sum(dim=1, keepdim=True)


def written_out() -> Tensor:
    """All peers' weights after the rounds, with the liars of `ADVERSARIES` and a trimmed mean, in plain torch."""
    settings = [settings_of(index=peer) for peer in range(COUNT)]
    networks = [initial_network(each, DATASET.shape) for each in settings]
    batches = settings[0].batches(DATASET)
    for at in range(ROUNDS):
        images, _ = batches(at)
        probs = [torch.softmax(functional_call(network, {}, (images,))[1], dim=1) for network in networks]
        truth = [each.detach() for each in probs]
        for student, network in enumerate(networks):
            heard = list(truth)
            flips = at >= FROM and student != FLIPPER
            if flips:
                heard[FLIPPER] = (1 - truth[FLIPPER]) / (truth[FLIPPER].shape[1] - 1)
            if student != OMNISCIENT:
                others = [each for peer, each in enumerate(heard) if peer != OMNISCIENT]
                honest = [
                    truth[peer] for peer in range(COUNT) if peer != OMNISCIENT and not (flips and peer == FLIPPER)
                ]
                assert len(honest) == len(others) - flips
                least = torch.stack(honest).mean(dim=0).argmin(dim=1)
                heard[OMNISCIENT] = torch.nn.functional.one_hot(least, truth[0].shape[1]).float()
            loss = torch.nn.functional.mse_loss(probs[student], trimmed(torch.stack(heard)))
            gradients = torch.autograd.grad(loss, list(network.parameters()))
            with torch.no_grad():
                for parameter, gradient in zip(network.parameters(), gradients, strict=True):
                    parameter -= LR * gradient
    return torch.cat([tensor.double().flatten() for network in networks for tensor in network.state_dict().values()])


@EXECUTIONS
def test_rounds__equal_a_loop_written_out_with_an_omniscient_and_a_local_liar(execution: Execution) -> None:
    host = host_of(execution, adversaries=ADVERSARIES, aggregation=TrimmedMean(b=1))
    start = weights(host)
    heard = trained(host)
    expected = written_out()
    assert (weights(host) - expected).abs().max() <= 1e-6
    assert (expected - start).abs().max() > 1e-3
    assert heard[0][0] is not None and (heard[0][0].honest, heard[0][0].lies) == (3, 1)
    assert heard[FROM][0] is not None and (heard[FROM][0].honest, heard[FROM][0].lies) == (2, 2)
    assert [heard[0][liar] for liar in (OMNISCIENT, FLIPPER)] == [None, None]  # what is told is of the honest


@EXECUTIONS
def test_rounds__liars_that_never_lie_change_no_bit(execution: Execution) -> None:
    never = [
        Adversaries(peers=(1,), attack=LMA(), from_round=99),
        Adversaries(peers=(2,), attack=Random(), from_round=99),
    ]
    plain, lying = host_of(execution), host_of(execution, adversaries=never)
    truthful = host_of(execution, adversaries=ADVERSARIES, control=Control.TRUTHFUL)
    assert trained(plain) == [dict.fromkeys(range(COUNT))] * ROUNDS
    trained(lying), trained(truthful)
    assert lying.digest() == truthful.digest() == plain.digest()


def test_listen__pools_by_the_rule_what_liars_have_made_of_it() -> None:
    received = [Received(peer, 3, 0.25, _probs(peer)) for peer in range(4)]
    for rule in (TrimmedMean(), Krum(), Median()):
        settings = settings_of(ADVERSARIES, aggregation=rule)
        one = listen(received, _probs(0), Ear(settings))
        expected = rule.pool(_probs(0), torch.stack(_lied(received)), torch.full((4,), 0.25), True)
        assert torch.equal(one.teachers[0][1], expected.outputs) and one.teachers[0][0] == 1.0


@pytest.mark.parametrize(
    "asked",
    [
        {"aggregation": SelfCentredClipping(), "teacher_ema": 0.9},  # pools around what it teaches with
        {"aggregation": Nearest(f=2), "memory": "expguard"},
        {"confident_share": 0.4},
        {"trust": SelfAgreement(sharpness=20.0), "views": 2},
    ],
    ids=str,
)
def test_rounds__in_a_loop_and_vectorised_agree(asked: dict[str, Any]) -> None:
    found = []
    for execution in ("loop", "vectorised"):
        host = host_of(execution, adversaries=ADVERSARIES, **asked)
        start = weights(host)
        heard = trained(host)
        found.append((weights(host), heard))
    (loop, told), (together, also_told) = found
    assert (loop - together).abs().max() <= 1e-6 and (loop - start).abs().max() > 1e-3
    assert told == also_told and told[-1][0] is not None and told[-1][0].lies == 2


def _probs(seed: int, rows: int = 8, dim: int = 6) -> Tensor:
    return torch.softmax(2 * torch.randn(rows, dim, generator=torch.Generator().manual_seed(seed)), dim=1)


def _lied(received: Sequence[Received]) -> list[Tensor]:
    """The messages to peer 0, with LMA in place of that of peer 1; peer 3 has lied before it sent."""
    least = torch.stack([received[peer].outputs for peer in (0, 2)]).mean(dim=0).argmin(dim=1)
    lie = torch.nn.functional.one_hot(least, 6).float()
    return [lie if each.sender == OMNISCIENT else each.outputs for each in received]


def test_listen__with_the_mean_gives_weights_and_outputs_on() -> None:
    received = [Received(peer, 3, 0.1 + peer, _probs(peer)) for peer in range(3)]
    for ear in (None, Ear(settings_of([Adversaries(peers=(4,), attack=Random())], index=0))):
        found = listen(received, _probs(0), ear)
        assert found.teachers == [(each.weight, each.outputs) for each in received] and found.kept is None
    assert Ear.of(settings_of()) is None and Ear.of(settings_of(aggregation=Median())) is not None


def test_listen__who_hears_itself_alone_takes_that() -> None:
    own = _probs(0)
    for ear in (None, Ear(settings_of(aggregation=Krum())), Ear(settings_of(memory="expguard"))):
        found = listen([Received(0, 3, 0.7, own)], None, ear)
        assert found.teachers == [(0.7, own)] and found.heard is None


def test_listen__trust_multiplies_weights_by_what_agreement_says() -> None:
    trust = SelfAgreement(sharpness=3.0)
    received = [Received(peer, 0, weight, _probs(peer, 12)) for peer, weight in ((0, 0.5), (1, 0.25), (2, 0.25))]
    received.append(Received(3, 0, 0.25, received[1].outputs.roll(6, 0)))
    one_view = _probs(9, 6)
    received.append(Received(4, 0, 0.25, torch.cat([one_view, one_view])))  # agrees with itself
    settings = settings_of(trust=trust, aggregation=Mean())
    found = listen(received, received[0].outputs, Ear(settings))
    factors = [math.exp(3.0 * float(trust.agreement(each.outputs.log(), 2))) for each in received]
    expected = np.array([each.weight * factor for each, factor in zip(received, factors, strict=True)])
    got = np.array([weight for weight, _ in found.teachers])
    assert got / got.sum() == pytest.approx(expected / expected.sum(), rel=1e-5)
    assert max(factors) > 1.5 * min(factors)


def test_listen__expguard_remembers_and_its_own_weight_stays() -> None:
    received = [Received(peer, 0, 1 / 4, _probs(peer)) for peer in range(4)]
    ear = Ear(settings_of(memory="expguard"))
    scores = expguard_scores(torch.stack([each.outputs for each in received]), True)[1:].tolist()
    for rounds in (1, 2):
        found = listen(received, received[0].outputs, ear)
        expected = {peer: math.exp(-ETA * rounds * (score - min(scores))) for peer, score in enumerate(scores, 1)}
        assert ear.memory == pytest.approx(expected)
        weights_ = np.array([weight for weight, _ in found.teachers])
        relative = np.array([1.0, *expected.values()])
        assert weights_ / weights_.sum() == pytest.approx(relative / relative.sum())


def test_listen__only_the_confident_label_a_sample() -> None:
    sure, unsure = [0.9, 0.1], [0.5, 0.5]
    one = torch.tensor([sure, unsure, unsure, [0.6, 0.4]])
    other = torch.tensor([[0.2, 0.8], unsure, unsure, [0.05, 0.95]])
    received = [Received(1, 0, 0.75, one), Received(2, 0, 0.25, other)]
    found = listen(received, one, Ear(settings_of(confident_share=0.25)))
    ((weight, pooled),) = found.teachers
    assert found.kept is not None and found.kept.tolist() == [True, False, False, True]
    assert weight == 1.0 and pooled.tolist() == [one[0].tolist(), *([unsure] * 2), other[3].tolist()]
    half = listen(received, one, Ear(settings_of(confident_share=0.5)))
    assert half.kept is not None and half.kept.tolist() == [True, False, False, True]
    assert torch.allclose(half.teachers[0][1][0], 0.75 * one[0] + 0.25 * other[0])


def test_listen__two_views_of_an_image_are_kept_together() -> None:
    outputs = torch.tensor([[0.9, 0.1], [0.55, 0.45], [0.5, 0.5], [0.45, 0.55]])
    settings = settings_of(confident_share=0.5, views=2)
    found = listen([Received(1, 0, 1.0, outputs)], outputs, Ear(settings))
    assert found.kept is not None and found.kept.tolist() == [True, False, True, False]  # mean maxima 0.7 and 0.5


def test_listen__counts_what_krum_drops_and_tells_lies_by_distance() -> None:
    base = _probs(0)
    near = [(0.98 * base + 0.02 * _probs(10 + peer)) for peer in range(4)]
    received = [Received(peer, 0, 0.25, near[peer]) for peer in (0, 1, 2)]
    received.append(Received(4, 0, 0.25, 1 - base[:, :].flip(1)))
    settings = settings_of([Adversaries(peers=(4,), attack=Constant())], aggregation=Krum(f=1))
    heard = listen(received, near[0], Ear(settings)).heard
    assert heard is not None and (heard.honest, heard.lies, heard.lies_dropped, heard.auc) == (2, 1, 1, 1.0)
    assert heard.honest_dropped == 1  # krum takes one message of three honest ones
    of_ones_own = settings_of([Adversaries(peers=(4,), attack=Constant())], aggregation=ImportedAggregation.example())
    assert listen(received, near[0], Ear(of_ones_own)).heard == Heard(2, None, 1, None, 1.0)


def test_heard_together__adds_counts_and_averages_what_is_known() -> None:
    assert Heard.together([None, None]) is None
    assert Heard.together([Heard(2, 1, 1, 0, 0.5), None, Heard(3, 0, 0, 0), Heard(1, 1, 2, 2, 1.0)]) == Heard(
        6, 2, 3, 2, 0.75
    )


def test_attack_in__from_a_round_on_for_a_share_of_rounds() -> None:
    settings = settings_of([Adversaries(peers=(1, 2), attack=SignFlip(), from_round=10, share=0.3)])
    lies = {peer: [attack_in(settings, peer, at) is not None for at in range(1010)] for peer in (0, 1, 2)}
    assert not any(lies[0]) and not any(lies[1][:10]) and lies[1] != lies[2]
    assert sum(lies[1]) / 1000 == pytest.approx(0.3, abs=0.06)
    assert attack_in(replace(settings, control=Control.ALONE), 1, 50) is None


def test_liar__a_free_rider_sends_its_first_message_whenever_it_lies() -> None:
    liar = Liar.of(settings_of([Adversaries(peers=(0,), attack=FreeRider(), from_round=2)]))
    assert liar is not None
    said = [liar.outputs(_probs(at), at) for at in range(4)]
    for at, first in enumerate([0, 1, 0, 0]):
        assert torch.equal(said[at], _probs(first))
    again = Liar.of(liar.settings)
    assert again is not None
    again.load(liar.tensors())
    assert torch.equal(again.outputs(_probs(5), 5), _probs(0))


def test_liar__draws_by_seed_peer_and_round() -> None:
    settings = settings_of([Adversaries(peers=(0,), attack=Random())], what="logits")
    liar = Liar.of(settings)
    assert liar is not None
    one = liar.outputs(torch.zeros(4, 6), 3)
    rng = np.random.default_rng(stream(7, "lies", 0, 3))
    assert torch.equal(one, Random().lie(_scene(4), rng)) and not torch.equal(one, liar.outputs(torch.zeros(4, 6), 4))


def _scene(rows: int) -> Any:
    from peers.attacks.config import Scene

    own = torch.zeros(rows, 6)
    return Scene(own, own.new_zeros(0, rows, 6), own.new_zeros(0), own, False)


@EXECUTIONS
def test_checkpoint__memory_and_first_messages_come_back(execution: Execution, tmp_path: Any) -> None:
    """Peers that go on from a checkpoint after two rounds end with the bits of those that were never interrupted."""
    asked: dict[str, Any] = {
        "adversaries": [Adversaries(peers=(2,), attack=FreeRider()), Adversaries(peers=(1,), attack=LMA(), share=0.5)],
        "memory": "expguard",
    }
    straight = host_of(execution, **asked)
    straight.publish(part(0))
    for at in range(2):
        straight.advance(at, part(at + 1))
    (tmp_path / "000002").mkdir()
    checksums = straight.save(str(tmp_path / "000002"), 2)
    again = host_of(execution, **asked)
    assert again.restore(str(tmp_path / "000002"), checksums) == dict.fromkeys(range(COUNT), 2)
    again.publish(part(2))
    ear, liar = again.peers[0].ear, again.peers[2].liar
    assert ear is not None and len(ear.memory) == COUNT - 1 and liar is not None and liar.first is not None
    for host in (straight, again):
        for at in (2, 3):
            host.advance(at, part(at + 1))
    assert again.digest() == straight.digest()


def test_listen__a_lie_that_no_link_can_carry_is_left_out() -> None:
    """An omniscient lie passes through the wire, as a message would; float16 has no number above 65,504."""
    received = [Received(peer, 0, 0.25, 4 * _probs(peer)) for peer in range(4)]
    liars = [Adversaries(peers=(1,), attack=IPM(epsilon=1e6))]
    heard = {}
    for dtype in ("float32", "float16"):
        settings = settings_of(liars, what="logits", dtype=dtype)
        found = listen(received, received[0].outputs, Ear(settings))
        heard[dtype] = (len(found.teachers), found.heard)
        assert all(bool(outputs.isfinite().all()) for _, outputs in found.teachers)
    assert heard["float32"] == (4, Heard(2, 0, 1, 0, 1.0)) and heard["float16"] == (3, Heard(2, 0, 0, 0, unusable=1))


def test_liar__a_free_rider_brings_its_first_weights_where_messages_are_weights() -> None:
    riding = Adversaries(peers=(0,), attack=FreeRider(), from_round=1)
    liar = Liar.of(replace(settings_of([riding]), message="checkpoint"))
    assert liar is not None
    said = [liar.weights((np.full(3, float(at)), np.array(at)), at) for at in range(3)]
    assert [payload[0].tolist() for payload in said] == [[0.0] * 3] * 3
    again = Liar.of(liar.settings)
    assert again is not None
    again.load(liar.tensors())
    assert [array.tolist() for array in again.weights((np.ones(3), np.array(7)), 7)] == [[0.0] * 3, 0]


def test_begin_again__a_peer_that_has_lost_its_weights_forgets_whom_it_trusted() -> None:
    host = host_of("loop", memory="expguard")
    trained(host, 1)
    peer = host.peers[0]
    assert peer.ear is not None and len(peer.ear.memory) == COUNT - 1
    peer.begin_again(host.peers[1].network.state_dict())
    assert peer.ear.memory == {}
