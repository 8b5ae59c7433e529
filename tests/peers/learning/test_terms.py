"""A student's terms against a loop that is written out in torch: own views, two of them, private data, no teachers."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from coordinator.experiment.config import RunConfig
from coordinator.planning.plan import Plan, peer_settings, prepare
from coordinator.planning.schedules import build_schedule
from coordinator.pools.in_process import InProcessPool
from coordinator.scheduling.event_driven import EventDrivenScheduler
from coordinator.scheduling.scheduler import Cadence
from coordinator.scheduling.synchronous import RoundLoop
from peers.base.seeds import stream
from peers.data.batches import batch_indices
from peers.data.datasets import Dataset
from peers.data.holdings import holdings
from peers.exchange.assignment import Assignment, Links, Study
from peers.exchange.messages import Message
from peers.hosting.host import PeerHost
from peers.learning.control import Control
from peers.learning.settings import Execution, initial_network

ROUNDS, RATE, BATCH, HEAT = 4, 0.05, 12, 0.5
KINDS = [
    {"count": 2, "view": ["left", {"kind": "crop", "padding": 1}, {"kind": "colour-jitter", "joint": True}]},
    {"count": 2, "view": ["top", {"kind": "crop", "padding": 1}, {"kind": "colour-jitter", "joint": True}]},
]
Weights = list[dict[int, float]]


def config_of(**sections: Any) -> RunConfig:
    """Four peers of two sensors, whose convolutions have BatchNorm, on digits."""
    tables: dict[str, Any] = {
        "run": {"rounds": ROUNDS, "seed": 5},
        "data": {"kind": "digits", "batch_size": BATCH, "train_limit": 300},
        "peers": {"groups": KINDS, "model": {"kind": "small-cnn", "channels": [4, 6]}, "head": {"dim": 8}},
        "topology": {"kind": "ring"},
        "exchange": {"target": {"kind": "sinkhorn"}, "loss": {"kind": "cross-entropy", "temperature": HEAT}},
        "evaluation": {"every": ROUNDS, "probes": ["knn"], "probe_batch": 20},
        "hosting": {"pool": "in-process"},
        "tracking": {"enabled": False},
    }
    for name, section in sections.items():
        tables[name] = {**tables.get(name, {}), **section}
    tables["peers"] = {"optimizer": {"kind": "sgd", "lr": RATE}, **tables["peers"]}
    return RunConfig.model_validate(tables)


def trained(
    config: RunConfig, control: Control | None = None, dataset: Dataset | None = None
) -> list[dict[str, Tensor]]:
    """Every peer's state after the run, by the program."""
    plan = prepare(config, dataset)
    pool = InProcessPool(peer_settings(config, plan.dataset, control), plan.dataset, config.hosting)
    loop = RoundLoop(pool, build_schedule(config, control), Cadence(config.run.rounds, config.run.rounds))
    for record in loop:
        assert all(stats.failure == "" for stats in record.stats.values())
    return [peer.network.state_dict() for peer in pool._host.peers.values()]


# ---- the loop, written out ----


class Loop:
    """The same by hand, for the settings of these tests: plain gradient descent, and each half of a batch by itself."""

    def __init__(self, plan: Plan, teachers: Weights, pooled: bool = False) -> None:
        config = plan.config
        self.exchange, self.teachers, self.seed = config.exchange, teachers, config.run.seed
        self.data, self.labels = torch.tensor(plan.dataset.train_images), torch.tensor(plan.dataset.train_labels)
        self.views = [config.peers.view_of(peer, self.seed) for peer in range(config.peers.count)]
        self.networks = [initial_network(each, plan.dataset.shape) for each in peer_settings(config, plan.dataset)]
        held = (
            holdings(config.data, plan.dataset.train_labels, config.peers.count, self.seed) if plan.holdings else None
        )
        everything = np.arange(len(self.labels))
        self.public = everything if held is None else held.public
        self.private = None if held is None else [held.pooled] * len(self.views) if pooled else list(held.private)
        self.private_size = config.data.private_batch_size or config.data.batch_size
        seen = [view.still(self.data / 255, peer) for peer, view in enumerate(self.views)]
        self.scale = [(each.mean(dim=(0, 2, 3)), each.std(dim=(0, 2, 3), correction=0)) for each in seen]

    def look(self, peer: int, chosen: np.ndarray, number: int, first: int) -> Tensor:
        mean, std = self.scale[peer]
        pixels = self.data[chosen] / 255
        views = range(first, first + self.exchange.num_views)
        images = [self.views[peer].draw(pixels, peer, number, view) for view in views]
        return (torch.cat(images) - mean[:, None, None]) / std[:, None, None]

    def outputs(self, peer: int, images: Tensor) -> Tensor:
        found: Tensor = self.networks[peer](images)[1]  # in train mode: moves BatchNorm's statistics
        return found

    def target(self, said: Tensor) -> Tensor:
        """Balanced distributions of each half, in the places of the other half."""
        halves = []
        for half in said.chunk(self.exchange.num_views):
            plan = (half / 0.05).double().exp()
            for _ in range(3):
                plan = plan / plan.sum(dim=0, keepdim=True)
                plan = plan / plan.sum(dim=1, keepdim=True)
            halves.append(plan.float())
        return torch.cat(halves[::-1])

    def loss(self, outputs: Tensor, target: Tensor) -> Tensor:
        return -(target.detach() * torch.log_softmax(outputs / HEAT, dim=1)).sum(dim=1).mean()

    def own_terms(self, outputs: Tensor, labels: Tensor) -> Tensor:
        total = torch.zeros(())
        if self.exchange.self_loss:
            total = total + self.exchange.self_loss * self.loss(outputs, self.target(outputs))
        if self.exchange.supervised:
            twice = torch.cat([labels] * self.exchange.num_views)
            total = total + self.exchange.supervised * F.cross_entropy(outputs, twice)
        return total

    def round(self, number: int, exchanges: bool) -> None:
        chosen = self.public[batch_indices(len(self.public), BATCH, stream(self.seed, "batches"), number)]
        everybody = range(len(self.networks))
        outputs = [self.outputs(peer, self.look(peer, chosen, number, 0)) for peer in everybody]
        said = [each.detach() for each in outputs]
        for peer in everybody:
            teachers = self.teachers[peer]
            if not teachers:
                continue
            loss, share = torch.zeros(()), self.exchange.target_self_share
            if exchanges:
                pooled = sum((weight * said[teacher] for teacher, weight in teachers.items()), torch.zeros(()))
                target = share * self.target(said[peer]) + (1 - share) * self.target(pooled)
                loss = loss + self.loss(outputs[peer], target)
            if self.private is None:
                loss = loss + self.own_terms(outputs[peer], self.labels[chosen])
            else:
                mine = self.private[peer]
                order = batch_indices(len(mine), self.private_size, stream(self.seed, "private", peer), number)
                again = self.outputs(peer, self.look(peer, mine[order], number, 2))
                loss = loss + self.own_terms(again, self.labels[mine[order]])
            self.step(self.networks[peer], loss)

    def step(self, network: nn.Module, loss: Tensor) -> None:
        weights = list(network.parameters())
        for weight, slope in zip(weights, torch.autograd.grad(loss, weights), strict=True):
            with torch.no_grad():
                weight.sub_(RATE * slope)

    def run(self, exchanges: bool = True) -> list[dict[str, Tensor]]:
        for number in range(ROUNDS):
            self.round(number, exchanges)
        return [network.state_dict() for network in self.networks]


RING: Weights = [{1: 0.5, 3: 0.5}, {0: 0.5, 2: 0.5}, {1: 0.5, 3: 0.5}, {0: 0.5, 2: 0.5}]
STAR: Weights = [{0: 1.0}, {0: 1.0}, {0: 1.0}, {0: 1.0}]  # the hub, which nobody teaches, learns from itself
PRIVATE = {"partition": {"kind": "iid"}, "private_batch_size": 10, "public": {"kind": "share", "share": 0.2}}


def differences(found: list[dict[str, Tensor]], expected: list[dict[str, Tensor]]) -> Iterator[float]:
    for mine, wanted in zip(found, expected, strict=True):
        for name, tensor in wanted.items():
            yield float(
                (mine[name].double() - tensor.double()).abs().max() / tensor.double().abs().max().clamp_min(1.0)
            )


CASES: dict[str, tuple[dict[str, Any], dict[str, Any], str, Weights]] = {
    "one view, mutual": ({}, {}, "ring", RING),
    "two views, no own terms": ({"views": 2}, {}, "ring", RING),
    "self-loss, mutual": ({"self_loss": 0.7}, {}, "ring", RING),
    "self-loss, directed": ({"self_loss": 0.7}, {}, "file", STAR),
    "half of the target its own": ({"target_self_share": 0.5}, {}, "ring", RING),
    "all of it": ({"self_loss": 0.3, "target_self_share": 0.25, "supervised": 0.5}, {}, "ring", RING),
    "labels on private data": ({"supervised": 1.0}, PRIVATE, "ring", RING),
    "self-loss on private data": ({"self_loss": 0.5, "target_self_share": 0.5}, PRIVATE, "ring", RING),
    "private data, directed": ({"self_loss": 0.5, "supervised": 0.5}, PRIVATE, "file", STAR),
}


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A file of links from peer 0 to all others."""
    path = tmp_path_factory.mktemp("links") / "hub.csv"
    path.write_text("teacher,student\n0,1\n0,2\n0,3\n")
    return str(path)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("execution", ["loop", "vectorised"])
def test_terms__equal_a_loop_written_out_in_torch(case: str, execution: str, hub: str):
    exchange, data, topology, teachers = CASES[case]
    links = {"kind": topology, "path": hub} if topology == "file" else {"kind": topology}
    outputs = {"peers": {"head": {"dim": 10}}} if "supervised" in exchange else {}
    config = config_of(exchange=exchange, data=data, topology=links, hosting={"execution": execution}, **outputs)
    expected = Loop(prepare(config), teachers).run()
    assert max(differences(trained(config), expected)) < 1e-6


# ---- control runs ----


@pytest.mark.parametrize("execution", ["loop", "vectorised"])
@pytest.mark.parametrize("control", [Control.PRIVATE_ONLY, Control.POOLED])
def test_terms__of_the_controls_without_exchange(control: Control, execution: str):
    """Own terms alone; pooled: on batches of what all peers hold together."""
    exchange = {"self_loss": 0.5, "target_self_share": 0.5}
    config = config_of(exchange=exchange, data=PRIVATE, hosting={"execution": execution})
    expected = Loop(prepare(config), RING, pooled=control is Control.POOLED).run(exchanges=False)
    assert max(differences(trained(config, control), expected)) < 1e-6


def test_terms__of_the_supervised_control_are_labels_of_the_peers_own_data():
    """Nothing of what the run's own terms are else."""
    sections = {"data": PRIVATE, "peers": {"head": {"dim": 10}}}
    found = trained(config_of(exchange={"supervised": 1.0, "self_loss": 0.5}, **sections), Control.SUPERVISED)
    labels = config_of(exchange={"supervised": 1.0, "views": 2}, **sections)
    assert not any(differences(found, trained(labels, Control.PRIVATE_ONLY)))


# ---- students that have heard nothing ----


def hosted(config: RunConfig, execution: Execution) -> PeerHost:
    plan = prepare(config)
    host = PeerHost()
    host.open(peer_settings(config, plan.dataset)[:2], plan.dataset, 1, execution)
    return host


def weights(host: PeerHost) -> list[Tensor]:
    return [weight.detach() for peer in host.peers.values() for weight in peer.network.state_dict().values()]


@pytest.mark.parametrize("data", [{}, PRIVATE], ids=["on the round's batch", "on private data"])
@pytest.mark.parametrize("late", [False, True], ids=["in a round", "in a simulated network"])
def test_terms__a_student_that_hears_nobody_goes_on_by_itself(data: dict[str, Any], late: bool):
    """Peer 1's only teacher has dropped out: it learns its own terms alone. Peer 0 hears peer 1."""
    config = config_of(exchange={"self_loss": 0.5}, data=data)
    links = {0: Links((1,), (1.0,)), 1: Links((3,), (1.0,))}
    gone = Message(3, 0, config.exchange.wire, 8, None)
    found = {}
    for execution in ("loop", "vectorised"):
        host = hosted(config, execution)
        loop = Loop(prepare(config), [{}] * 4)
        if late:
            host.publish({peer: Assignment(0, 0, Links(), True, links_follow=True) for peer in links})
            _, stats = host.step({peer: Study(0, row) for peer, row in links.items()}, {}, (gone,))
        else:
            host.publish({peer: Assignment(0, 0, row, True) for peer, row in links.items()})
            _, stats = host.advance(0, dict.fromkeys(links), (gone,))
        chosen = loop.public[batch_indices(len(loop.public), BATCH, stream(5, "batches"), 0)]
        outputs = loop.outputs(1, loop.look(1, chosen, 0, 0))
        if loop.private is not None:
            mine = loop.private[1][batch_indices(len(loop.private[1]), 10, stream(5, "private", 1), 0)]
            outputs = loop.outputs(1, loop.look(1, mine, 0, 2))
        assert stats[1].loss == pytest.approx(loop.own_terms(outputs, loop.labels[:0]).item(), rel=1e-5)
        assert stats[0].loss is not None and stats[0].loss > stats[1].loss
        found[execution] = weights(host)
    for one, other in zip(found["loop"], found["vectorised"], strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-6)


@pytest.mark.parametrize("clock", ["synchronous", "free-running", "gossip"])
@pytest.mark.parametrize("data", [{}, PRIVATE], ids=["on the round's batch", "on private data"])
def test_terms__in_a_simulated_network_stacks_equal_the_loop(clock: str, data: dict[str, Any]):
    """Messages are late and lost, so that steps have heard of several batches, of none, or of others than their own."""
    found = []
    for execution in ("loop", "vectorised"):
        network = {
            "clock": clock,
            "loss": {"kind": "bernoulli", "probability": 0.4},
            "latency": {"kind": "constant", "seconds": 1.5},
        }
        config = config_of(
            run={"rounds": 4},
            exchange={"self_loss": 0.5, "target_self_share": 0.25},
            data=data,
            network=network,
            hosting={"execution": execution},
        )
        plan = prepare(config)
        assert plan.trace is not None
        pool = InProcessPool(peer_settings(config, plan.dataset), plan.dataset, config.hosting)
        records = EventDrivenScheduler(pool, plan.trace).records(plan.schedule, Cadence(4, 4), 0, lambda: False)
        assert all(stats.loss is not None for record in records for stats in record.stats.values())
        found.append([each for peer in pool._host.peers.values() for each in peer.network.state_dict().values()])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


# ---- what peers cannot see ----


def test_terms__a_peer_that_sees_left_halves_learns_the_same_whatever_the_right_ones_show():
    kinds = [{"count": 4, "view": [{"kind": "colour-jitter", "joint": True}, "left"]}]
    config = config_of(peers={"groups": kinds}, exchange={"self_loss": 1.0})
    dataset = prepare(config).dataset
    images = dataset.train_images.copy()
    images[..., 4:] = 255 - images[..., 4:]
    other = replace(dataset, train_images=images)
    assert not any(differences(trained(config, dataset=other), trained(config, dataset=dataset)))
    seeing = config_of(peers={"groups": [{"count": 4, "view": ["noisy", "right"]}]}, exchange={"self_loss": 1.0})
    assert max(differences(trained(seeing, dataset=other), trained(seeing, dataset=dataset))) > 1e-3
