"""Steps whose links are told late: against the plain rounds, and against a loop written out in torch."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.func import functional_call

from peers.data.config import Synthetic
from peers.data.datasets import channel_statistics
from peers.exchange.assignment import Assignment, Link, Links, Study
from peers.exchange.config import ExchangeConfig
from peers.exchange.losses import MSE
from peers.exchange.targets import PlainTarget
from peers.hosting.host import PeerHost
from peers.hosting.postbox import Bundle
from peers.learning.control import Control
from peers.learning.settings import Execution, PeerSettings, initial_network
from peers.networks.config import PeersConfig
from peers.networks.optimizers import SGD, AdamW
from peers.networks.variants import MLP, LinearHead, SmallCNN
from peers.probing.config import ProbeConfig

DATA = Synthetic(num_train=96, num_test=40, batch_size=16)
DATASET = DATA.load(0)
EXECUTIONS = pytest.mark.parametrize("execution", ["loop", "vectorised"])
COUNT, ROUNDS = 4, 5
PLAIN = ExchangeConfig(target=PlainTarget(), loss=MSE())


def settings_of(count: int = COUNT, peers: Any = None, **changes: Any) -> list[PeerSettings]:
    few = {"count": count, "model": SmallCNN(channels=(4, 8)), "head": LinearHead(dim=5), "optimizer": AdamW(lr=1e-2)}
    kinds = PeersConfig(**{**few, **(peers or {})})
    statistics = channel_statistics(DATASET.train_images)
    base = PeerSettings(0, 7, 20, kinds, ExchangeConfig(), DATA, ProbeConfig(probe_batch=16), statistics)
    return [replace(base, index=peer, **changes) for peer in range(count)]


def hosts_of(execution: Execution, settings: list[PeerSettings], per_host: int = COUNT) -> list[PeerHost]:
    hosts = []
    for first in range(0, len(settings), per_host):
        hosts.append(PeerHost())
        hosts[-1].open(settings[first : first + per_host], DATASET, 1, execution)
    return hosts


def digests(hosts: list[PeerHost]) -> list[bytes]:
    return [digest for host in hosts for digest in host.digest().values()]


def ring(peer: int, own: float = 0.0, count: int = COUNT) -> Links:
    """Both neighbours, and itself with weight `own`."""
    rows = [Link(other % count, (1 - own) / 2) for other in (peer - 1, peer + 1)] + ([Link(peer, own)] if own else [])
    return Links.of(*sorted(rows))


def open_part(version: int, batch: int | None = None, **changes: Any) -> Assignment:
    """A part in a round whose links follow."""
    some = {"teaches": True, "remote": True, "kept": True, "links_follow": True, **changes}
    return Assignment(version, version if batch is None else batch, Links(), **some)


def advance_all(execution: Execution, settings: list[PeerSettings], own: float) -> tuple[list[bytes], list[Any]]:
    """Plain rounds on a ring."""
    (host,) = hosts_of(execution, settings)
    part = lambda at: {peer: Assignment(at, at, ring(peer, own), True) for peer in range(COUNT)}  # noqa: E731
    host.publish(part(0))
    losses = []
    for at in range(ROUNDS):
        _, stats = host.advance(at, part(at + 1))
        losses.append([(each.loss, each.gradient_norm, each.sent_bytes) for each in stats.values()])
    return digests([host]), losses


def step_all(execution: Execution, settings: list[PeerSettings], own: float) -> tuple[list[bytes], list[Any]]:
    """The same by steps whose links are told late."""
    (host,) = hosts_of(execution, settings)
    part = lambda at: {peer: open_part(at) for peer in range(COUNT)}  # noqa: E731
    host.publish(part(0))
    losses = []
    for at in range(ROUNDS):
        studies = {peer: Study(at, ring(peer, own), (at - 1,) if at else ()) for peer in range(COUNT)}
        _, stats = host.step(studies, part(at + 1))
        losses.append([(each.loss, each.gradient_norm, each.sent_bytes) for each in stats.values()])
        assert len(host.mailbox) == 2 * COUNT  # those of this round, which nobody has released yet, and of the next
    return digests([host]), losses


VARIANTS: list[dict[str, Any]] = [
    {},
    {"recompute": True},
    {"exchange": ExchangeConfig(teacher_ema=0.5)},
    {"exchange": ExchangeConfig(refresh_every=3)},
    {"exchange": ExchangeConfig(what="features", target=PlainTarget(), loss=MSE())},
    {"exchange": ExchangeConfig(what="probabilities", dtype="int8", top_k=2)},
    {"exchange": ExchangeConfig(target={"kind": "centre"}, average="losses", supervised=0.5)},
    {"control": Control.SHUFFLED},
    {"control": Control.STRANGER},
    {"control": Control.SUPERVISED},
    {"peers": {"groups": [{"count": 2}, {"count": 2, "model": MLP(hidden=(12,))}]}},
]


FEW = [VARIANTS[number] for number in (0, 1, 2, 5, 7, 10)]


def named(changes: dict[str, Any]) -> str:
    return " ".join(f"{name} {str(value)[:40]}" for name, value in changes.items())


@EXECUTIONS
@pytest.mark.parametrize("changes", [*VARIANTS, pytest.param({"own": 0.0}, marks=pytest.mark.slow)], ids=named)
def test_step__equals_advance_to_the_bit_where_nothing_is_late(execution: Execution, changes: dict[str, Any]):
    """With a quarter of itself, as a rule."""
    own = changes.get("own", 0.25)
    settings = settings_of(**{name: value for name, value in changes.items() if name != "own"})
    assert step_all(execution, settings, own) == advance_all(execution, settings, own)


# ---- messages of several ages, about several batches ----

# (peer, version, heard as (teacher, weight, age)), in the order in which they step; 0 publishes first on batch 0
TRACE = [
    (0, 0, [(1, 1.0, 0)]),
    (1, 0, [(0, 0.5, 0), (2, 0.5, 0)]),
    (0, 1, [(1, 0.25, 1), (1, 0.25, 0), (2, 0.5, 1)]),  # two batches: its own, and that of version 0
    (2, 0, []),  # computes, but does not learn
    (0, 2, [(2, 1.0, 2)]),  # only about an old batch
    (1, 1, [(0, 0.2, 0), (0, 0.3, 1), (1, 0.5, 0)]),  # hears itself, too
    (2, 1, [(0, 0.125, 1), (1, 0.125, 0), (2, 0.75, 1)]),  # and about an older batch
    (0, 3, [(1, 0.25, 1), (2, 0.25, 1), (2, 0.5, 2)]),
    (2, 2, [(0, 0.5, 0), (1, 0.25, 2), (1, 0.25, 1)]),  # three batches
]


def run_trace(
    hosts: list[PeerHost],
    trace: list[Any],
    links: Any,
    start: bool = True,
    versions: dict[int, int] | None = None,
    bundles: dict[int, list[Bundle]] | None = None,
) -> list[float | None]:
    """The trace, a step a call; every host gets every bundle that there ever was. Returns the losses."""
    host_of = {peer: host for host in hosts for peer in host.peers}
    bundles = {} if bundles is None else bundles
    if start:
        for number, host in enumerate(hosts):
            bundles[number] = [host.publish({peer: open_part(0) for peer in host.peers})[0]]
    losses = []
    for peer, version, heard in trace:
        host = host_of[peer]
        seen = [bundle for number, of_host in bundles.items() if hosts[number] is not host for bundle in of_host]
        bundle, stats = host.step({peer: Study(version, links(version, heard))}, {peer: open_part(version + 1)}, *seen)
        bundles[hosts.index(host)].append(bundle)
        losses.append(stats[peer].loss)
    return losses


def aged(version: int, heard: list[tuple[int, float, int]]) -> Links:
    """Each message is about the batch of its version."""
    rows = Links.of(*heard)
    return replace(rows, batches=tuple(version - age for _, _, age in heard)) if heard else rows


def independent(
    settings: list[PeerSettings], trace: list[Any], checkpoint: bool = False
) -> tuple[list[Any], list[Any]]:
    """Plain gradient descent on mean squared errors, written out: losses, and each peer's state."""
    networks = [initial_network(each, DATASET.shape) for each in settings]
    batches, rate = settings[0].batches(DATASET), settings[0].peers.optimizer.lr
    said: dict[tuple[int, int], Tensor] = {}
    states: dict[tuple[int, int], dict[str, Tensor]] = {}

    def looked(peer: int, batch: int) -> Tensor:
        outputs: Tensor = networks[peer](batches(batch)[0])[1]  # in train mode: moves BatchNorm's statistics
        return outputs

    def publish(peer: int, version: int) -> Tensor:
        states[peer, version] = {name: each.detach().clone() for name, each in networks[peer].state_dict().items()}
        outputs = looked(peer, version)
        said[peer, version] = outputs.detach()
        return outputs

    due = {peer: publish(peer, 0) for peer in range(len(networks))}
    losses = []
    for peer, version, heard in trace:
        network, own = networks[peer], due[peer]
        loss = torch.zeros(())
        for batch in sorted({version if checkpoint else version - age for _, _, age in heard}):
            about = [(t, w, version - a) for t, w, a in heard if checkpoint or version - a == batch]
            outputs = own if batch == version else looked(peer, batch)
            target, total = torch.zeros_like(outputs), sum(weight for _, weight, _ in about)
            for teacher, weight, number in about:
                if teacher == peer:
                    told = outputs.detach()
                elif checkpoint:
                    state = {name: each.clone() for name, each in states[teacher, number].items()}
                    told = functional_call(networks[teacher], state, (batches(version)[0],))[1].detach()
                else:
                    told = said[teacher, number]
                target = target + weight / total * told
            loss = loss + total * (outputs - target).square().mean()
        if heard:
            weights = list(network.parameters())
            slopes = torch.autograd.grad(loss, weights, allow_unused=True)
            with torch.no_grad():
                for weight, slope in zip(weights, slopes, strict=True):
                    weight.sub_(rate * slope)
        losses.append(loss.item() if heard else None)
        due[peer] = publish(peer, version + 1)
    return losses, [states[max(key for key in states if key[0] == peer)] for peer in range(len(networks))]


def assert_close(hosts: list[PeerHost], expected: list[dict[str, Tensor]]) -> None:
    found = [state for host in hosts for state in host.states().values()]
    for state, wanted in zip(found, expected, strict=True):
        for name, each in wanted.items():
            torch.testing.assert_close(torch.tensor(state[name]), each, rtol=1e-4, atol=1e-6)


@EXECUTIONS
@pytest.mark.parametrize("message", ["outputs", "checkpoint"])
@pytest.mark.parametrize("per_host", [3, 1])
def test_step__old_messages_teach_what_a_loop_written_out_in_torch_does(
    execution: Execution, message: str, per_host: int
):
    """Old outputs are studied on the batch that they are about, old weights on the student's own."""
    settings = settings_of(3, {"optimizer": SGD(lr=0.5)}, exchange=PLAIN, message=message)
    hosts = hosts_of(execution, settings, per_host)
    weights = message == "checkpoint"
    losses = run_trace(hosts, TRACE, (lambda version, heard: Links.of(*heard)) if weights else aged)
    expected, states = independent(settings, TRACE, weights)
    numbers = [[-1.0 if loss is None else loss for loss in each] for each in (losses, expected)]
    assert numbers[0] == pytest.approx(numbers[1], rel=1e-4)
    assert_close(hosts, states)  # before the last publication, whose pass moves no statistics until the next step
