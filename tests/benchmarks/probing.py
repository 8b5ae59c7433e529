"""How many times as fast peers are probed as one after another, probe by probe, with chunks of 256 images: in one run.

The old way, written out below, is contiguous float32. Answers are test images that a probe has right or wrong; with
`--layout contiguous --precision float32` the script ends with an error unless both ways give the same.
"""

import argparse
import copy
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, get_args

import numpy as np
import torch
import torch.nn.functional as F
from common import experiment, ratio, show
from torch import Tensor

from coordinator.planning.plan import peer_settings, prepare
from peers.base.layout import Layout
from peers.base.seeds import torch_seed
from peers.hosting.host import PeerHost
from peers.learning.peer import Peer
from peers.networks.network import Network
from peers.probing import probes
from peers.probing.measuring import ProbeSubject

Answers = dict[tuple[int, str, str], np.ndarray]
CHUNK = 256


def chunks_of(peer: Peer, network: Network, raw: np.ndarray) -> Tensor:
    """Features of images in large chunks."""
    look, parts = peer.settings.still_view, range(0, len(raw), CHUNK)
    return torch.cat([network.features(look(raw[start : start + CHUNK])) for start in parts])


def sgd(train: Tensor, train_labels: Tensor, test: Tensor, test_labels: Tensor, classes: int, peer: Peer) -> Tensor:
    """The SGD probe with a new copy of each batch."""
    generator = torch.Generator().manual_seed(torch_seed(peer.settings.seed, "sgd-probe", peer.index))
    bound, settings = train.shape[1] ** -0.5, peer.settings.probes.sgd
    weight = torch.empty(classes, train.shape[1]).uniform_(-bound, bound, generator=generator)
    bias = torch.empty(classes).uniform_(-bound, bound, generator=generator)
    one_hot = F.one_hot(train_labels, classes).to(train.dtype)
    for _ in range(settings.epochs):
        for batch in torch.split(torch.randperm(len(train), generator=generator), settings.batch_size):
            features = train[batch]
            error = (torch.softmax(F.linear(features, weight, bias), dim=1) - one_hot[batch]) / len(batch)
            weight -= settings.lr * error.T @ features
            bias -= settings.lr * error.sum(dim=0)
    return F.linear(test, weight, bias).argmax(dim=1) == test_labels


@torch.no_grad()
def one_by_one(peers: list[Peer], subjects: list[ProbeSubject], rounds: list[int]) -> Answers:
    """Each peer and condition after the other: a forward pass for each, features standardised for each probe."""
    answers: Answers = {}
    for subject in subjects:
        for peer in peers:
            network = copy.deepcopy(peer.network)
            if subject is ProbeSubject.CALIBRATED:
                probes.calibrate_batchnorm(network, (peer.batches(each, peer.index)[0] for each in rounds))
            network.eval()
            chosen, data = peer.probe_images, peer.dataset
            train = chunks_of(peer, network, data.train_images[chosen.train])
            test = chunks_of(peer, network, data.test_images[chosen.test])
            labels = [
                torch.from_numpy(data.train_labels[chosen.train]),
                torch.from_numpy(data.test_labels[chosen.test]),
            ]
            sets = (train, labels[0], test, labels[1], data.num_classes)
            found = {
                "knn": probes.knn(*sets, **peer.settings.probes.knn.model_dump()),
                "linear": probes.ridge(*sets),
                "sgd": sgd(*sets, peer),
            }
            answers |= {(peer.index, subject.value, name): each.numpy() for name, each in found.items()}
    return answers


def by_host(host: PeerHost, subjects: list[ProbeSubject], rounds: list[int]) -> Answers:
    """The way of the program."""
    answers: Answers = {}
    for subject in subjects:
        for index, outcome in host.probe(subject, dict.fromkeys(host.peers, rounds)).items():
            answers |= {(index, subject.value, name): each for name, each in outcome.correct.items()}
    return answers


def timed(way: Callable[[], Answers]) -> tuple[float, float, Answers]:
    """Seconds of the clock, of the CPU, and what was found."""
    wall, cpu = time.perf_counter(), time.process_time()
    found = way()
    return time.perf_counter() - wall, time.process_time() - cpu, found


def compared(asked: argparse.Namespace, norm: str) -> dict[str, Any]:
    config = experiment(
        asked.peers,
        asked.model,
        asked.batch,
        asked.passes,
        {"kind": "ring"},
        peers={"norm": norm},
        hosting={"pool": "in-process", "layout": asked.layout},
        evaluation={"probe_train": asked.train, "probe_test": asked.test, "precision": asked.precision},
        data={"num_train": 4 * asked.train, "num_test": 2 * asked.test} if asked.model != "mlp" else {},
    )
    plan, subjects = prepare(config), [ProbeSubject.AS_IS, ProbeSubject.CALIBRATED]
    rounds, times, differing = list(range(asked.passes)), [], []
    settings = peer_settings(config, plan.dataset)
    contiguous, host = PeerHost(), PeerHost()
    contiguous.open([replace(each, memory_layout="contiguous") for each in settings], plan.dataset, 1, "loop")
    for _ in range(asked.repeats):
        host.open(settings, plan.dataset, 1, "loop")  # anew: nothing is remembered
        old = timed(lambda: one_by_one(list(contiguous.peers.values()), subjects, rounds))
        new = timed(lambda: by_host(host, subjects, rounds))
        assert old[2].keys() == new[2].keys(), "the same peers, conditions and probes"
        differing.append(float(np.mean([old[2][key] != new[2][key] for key in old[2]])))
        same_bits = (asked.layout, asked.precision) == ("contiguous", "float32")
        assert not (same_bits and differing[-1]), f"other answers: a share of {differing[-1]}"
        times.append((old, new))
    ratios = {
        name: ratio([old[place] for old, _ in times], [new[place] for _, new in times])
        for place, name in enumerate(("wall", "cpu"))
    }
    return {**ratios, "answers_that_differ": max(differing)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="paper-cnn")
    parser.add_argument("--layout", choices=get_args(Layout), default="by-rule", help="of the new way")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32", help="of the new way")
    parser.add_argument("--norms", nargs="+", default=["batch", "group"])
    parser.add_argument("--peers", type=int, default=2)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--passes", type=int, default=4, help="batches shown to the calibrated control")
    parser.add_argument("--train", type=int, default=500)
    parser.add_argument("--test", type=int, default=300)
    parser.add_argument("--repeats", type=int, default=3)
    asked = parser.parse_args()
    found = {norm: compared(asked, norm) for norm in asked.norms}
    show({"benchmark": "probing", **vars(asked), "times_as_fast": found})


if __name__ == "__main__":
    main()
