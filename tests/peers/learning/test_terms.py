"""A student's terms against a loop that is written out in torch: own views, two of them, private data, no teachers."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from coordinator.experiment.config import RunConfig
from coordinator.experiment.plan import Plan, peer_settings, prepare
from coordinator.experiment.schedules import build_schedule
from coordinator.pools.in_process import InProcessPool
from coordinator.scheduling.scheduler import Cadence
from coordinator.scheduling.synchronous import RoundLoop
from peers.base.seeds import stream
from peers.data.batches import batch_indices
from peers.data.holdings import holdings
from peers.learning.control import Control
from peers.learning.settings import initial_network

ROUNDS, RATE, BATCH, HEAT = 4, 0.05, 12, 0.5
KINDS = [
    {"count": 2, "view": [{"kind": "crop", "padding": 1}, {"kind": "colour-jitter", "joint": True}, "left"]},
    {"count": 2, "view": [{"kind": "crop", "padding": 1}, {"kind": "colour-jitter", "joint": True}, "top"]},
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


def trained(config: RunConfig, control: Control | None = None) -> list[dict[str, Tensor]]:
    """Every peer's state after the run, by the program."""
    plan = prepare(config)
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
        held = holdings(config.data, plan.dataset.train_labels, config.peers.count, self.seed) if plan.holdings else None
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
            yield float((mine[name].double() - tensor.double()).abs().max() / tensor.double().abs().max().clamp_min(1.0))


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
