"""Steps whose links are told late: against the plain rounds, and against a loop written out in torch."""

from dataclasses import replace
from typing import Any

import pytest

from peers.data.config import Synthetic
from peers.data.datasets import channel_statistics
from peers.exchange.assignment import Assignment, Link, Links, Study
from peers.exchange.config import ExchangeConfig
from peers.exchange.losses import MSE
from peers.exchange.targets import PlainTarget
from peers.hosting.host import PeerHost
from peers.learning.control import Control
from peers.learning.settings import Execution, PeerSettings
from peers.networks.config import PeersConfig
from peers.networks.optimizers import AdamW
from peers.networks.variants import MLP, LinearHead, SmallCNN
from peers.probing.config import ProbeConfig

DATA = Synthetic(num_train=96, num_test=40, batch_size=16)
DATASET = DATA.load(0)
EXECUTIONS = pytest.mark.parametrize("execution", ["loop", "vectorised"])
COUNT, ROUNDS = 4, 8
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


def named(changes: dict[str, Any]) -> str:
    return " ".join(f"{name} {str(value)[:40]}" for name, value in changes.items())


@EXECUTIONS
@pytest.mark.parametrize("own", [0.0, 0.25])
@pytest.mark.parametrize("changes", VARIANTS, ids=named)
def test_step__equals_advance_to_the_bit_where_nothing_is_late(
    execution: Execution, own: float, changes: dict[str, Any]
):
    settings = settings_of(**changes)
    assert step_all(execution, settings, own) == advance_all(execution, settings, own)
