"""Do outputs that mean nothing carry what a teacher has learned? The subliminal pair of arXiv 2507.14805.

    python configs/findings/subliminal.py [seeds, such as 1,2,3] [section.key=value ...]   # about 15 minutes, one core

A teacher of ten outputs and some others (3, 32 or 256) learns Fashion-MNIST by the first ten, from labels. Students see
images of uniform noise and the teacher's other outputs only. Then their own first ten outputs are asked about test
images. They differ in what they share with the teacher before it learned: all initial weights; the last layer alone,
which no training moves; or nothing. Beside it the same students of a teacher that has not learned. Chance is 10%.
"""

import itertools
import sys

import numpy as np
import torch
from torch import Tensor, nn

from coordinator import Dataset, Result, load_config, simulate
from peers.data.config import TorchvisionData

CLASSES, WIDTH, NOISE = 10, 256, 20_000
OTHERS = (3, 32, WIDTH)  # as many as features: equal outputs are then equal features
STUDENTS = ("same start", "same last layer", "nothing shared")
CONFIG = {
    "run": {"name": "subliminal", "rounds": 500},
    "data": {"kind": "digits", "batch_size": 1024},  # replaced by noise
    "peers": {"count": 4, "frozen": [0], "initial": "given", "optimizer": {"kind": "adam", "lr": 3e-4}},
    "topology": {"kind": "star"},  # with a frozen hub: from the hub to the others
    "exchange": {"what": "logits", "target": {"kind": "none"}},
    "evaluation": {"probes": [], "controls": [], "every": 250},
    "hosting": {"pool": "in-process"},
    "tracking": {"enabled": False},
}


class Classifier(nn.Module):
    """784-256-256-(10 + others). The last layer is a buffer, which no optimiser sees: random, and the same for ever."""

    def __init__(self, others: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(784, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU())
        self.register_buffer("last", torch.randn(CLASSES + others, WIDTH) / 16)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        features = self.body(images)
        return features, features @ self.last.T


def other_outputs(student: Tensor, target: Tensor) -> Tensor:
    """KL divergence of the softmax of the outputs after the first ten, mean over the batch."""
    target = target[:, CLASSES:].log_softmax(dim=1)
    return (target.exp() * (target - student[:, CLASSES:].log_softmax(dim=1))).sum(dim=1).mean()


def drawn(seed: int, others: int) -> Classifier:
    torch.manual_seed(seed)
    return Classifier(others)


def students_of(teacher: Classifier, seed: int) -> list[Classifier]:
    """Those of STUDENTS, given the teacher before it learns."""
    start, last, nothing = (drawn(seed + each, len(teacher.last) - CLASSES) for each in range(3))
    start.load_state_dict(teacher.state_dict())
    last.last.copy_(teacher.last)
    return [start, last, nothing]


def learn(teacher: Classifier, images: Tensor, labels: Tensor, epochs: int = 5, batch: int = 1024) -> None:
    """Adam on the cross-entropy of the first ten outputs."""
    optimizer, order = torch.optim.Adam(teacher.parameters(), lr=3e-4), torch.Generator().manual_seed(0)
    for _ in range(epochs):
        for chosen in torch.randperm(len(images), generator=order).split(batch):
            loss = nn.functional.cross_entropy(teacher(images[chosen])[1][:, :CLASSES], labels[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


def accuracy(result: Result, peer: int, data: Dataset) -> float:
    """Of the first ten outputs on the test images."""
    outputs = result.outputs(data.test_images, peer)[:, :CLASSES]
    return float((outputs.argmax(axis=1) == data.test_labels).mean())


def noise_beside(real: Dataset, seed: int) -> Dataset:
    """Images of noise to learn from, and the real ones to be asked about."""
    pixels = np.random.default_rng(seed).integers(0, 256, (NOISE, 1, 28, 28), dtype=np.uint8)
    return Dataset.from_arrays(pixels, np.arange(NOISE) % CLASSES, real.test_images, real.test_labels, name="noise")


def main(seeds: list[int], overrides: list[str]) -> None:
    real = TorchvisionData(kind="fashion-mnist", root="/usr/share/datasets/fashion-mnist").load(0)
    print(f"{'accuracy of':51}{'teacher':>9}" + "".join(f"{name:>17}" for name in STUDENTS))
    for seed, others in itertools.product(seeds, OTHERS):
        noise = noise_beside(real, seed)
        pixels = noise.train_images
        mean, deviation = pixels.mean() / 255, pixels.std() / 255  # as the run normalises them
        images = (torch.tensor(real.train_images).float() / 255 - mean) / deviation
        teacher = drawn(100 * seed, others)
        students = students_of(teacher, 100 * seed + 1)
        for name in ("has not learned", "has learned"):
            if name == "has learned":
                learn(teacher, images, torch.tensor(real.train_labels))
            config = load_config(CONFIG, [f"run.seed={seed}", *overrides])
            result = simulate(config, network=[teacher, *students], data=noise, loss=other_outputs)
            row = [accuracy(result, peer, noise) for peer in range(config.peers.count)]
            about = f"seed {seed}, {others} others, a teacher that {name}"
            print(f"{about:51}{row[0]:>9.1%}" + "".join(f"{each:>17.1%}" for each in row[1:]), flush=True)


if __name__ == "__main__":
    numbers = [each for each in sys.argv[1:] if "=" not in each]
    main([int(seed) for seed in (numbers or ["1,2,3"])[0].split(",")], [each for each in sys.argv[1:] if "=" in each])
