"""Do three outputs that mean nothing carry what a teacher has learned? The subliminal pair of arXiv 2507.14805.

    python configs/findings/subliminal.py [seeds, such as 1,2,3] [section.key=value ...]      # minutes on one core

A teacher of 10 + 3 outputs learns Fashion-MNIST by the first ten, from labels. Students see images of uniform noise
and the teacher's three other outputs only. Then their own first ten outputs are asked about test images. They differ in
what they share with the teacher before it learned: all initial weights; the last layer alone, which no training moves;
or nothing. Beside it the same students of a teacher that has not learned. Chance is 10%.
"""

import sys

import numpy as np
import torch
from torch import Tensor, nn

from coordinator import Dataset, Result, load_config, simulate
from peers.data.config import TorchvisionData

CLASSES, OTHERS, NOISE = 10, 3, 20_000
STUDENTS = ("same start", "same last layer", "nothing shared")
CONFIG = {
    "run": {"name": "subliminal", "rounds": 1000},
    "data": {"kind": "digits", "batch_size": 1024},  # replaced by noise
    "peers": {"count": 4, "frozen": [0], "initial": "given", "optimizer": {"kind": "adam", "lr": 3e-4}},
    "topology": {"kind": "star"},  # with a frozen hub: from the hub to the others
    "exchange": {"what": "logits", "target": {"kind": "none"}},
    "evaluation": {"probes": [], "controls": [], "every": 500},
    "hosting": {"pool": "in-process"},
    "tracking": {"enabled": False},
}


class Classifier(nn.Module):
    """784-256-256-13. The last layer is a buffer, which no optimiser sees: random, and the same for ever."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU())
        self.register_buffer("last", torch.randn(CLASSES + OTHERS, 256) / 16)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        features = self.body(images)
        return features, features @ self.last.T


def other_outputs(student: Tensor, target: Tensor) -> Tensor:
    """KL divergence of the softmax of the last three outputs, mean over the batch."""
    target = target[:, CLASSES:].log_softmax(dim=1)
    return (target.exp() * (target - student[:, CLASSES:].log_softmax(dim=1))).sum(dim=1).mean()


def drawn(seed: int) -> Classifier:
    torch.manual_seed(seed)
    return Classifier()


def students_of(teacher: Classifier, seed: int) -> list[Classifier]:
    """Those of STUDENTS, given the teacher before it learns."""
    start, last, nothing = drawn(seed), drawn(seed + 1), drawn(seed + 2)
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


def main(seeds: list[int], overrides: list[str]) -> None:
    real = TorchvisionData(kind="fashion-mnist", root="/usr/share/datasets/fashion-mnist").load(0)
    print(f"{'accuracy of':38}{'teacher':>10}" + "".join(f"{name:>18}" for name in STUDENTS))
    for seed in seeds:
        pixels = np.random.default_rng(seed).integers(0, 256, (NOISE, 1, 28, 28), dtype=np.uint8)
        test = real.test_images, real.test_labels
        noise = Dataset.from_arrays(pixels, np.arange(NOISE) % CLASSES, *test, name="noise")
        mean, deviation = pixels.mean() / 255, pixels.std() / 255  # as the run normalises them
        images = (torch.tensor(real.train_images).float() / 255 - mean) / deviation
        teacher = drawn(100 * seed)
        students = students_of(teacher, 100 * seed + 1)
        for name in ("a teacher that has not learned", "a teacher that has learned"):
            if name == "a teacher that has learned":
                learn(teacher, images, torch.tensor(real.train_labels))
            config = load_config(CONFIG, [f"run.seed={seed}", *overrides])
            result = simulate(config, network=[teacher, *students], data=noise, loss=other_outputs)
            row = [accuracy(result, peer, noise) for peer in range(config.peers.count)]
            print(f"seed {seed}, {name:30}{row[0]:>10.1%}" + "".join(f"{each:>18.1%}" for each in row[1:]), flush=True)


if __name__ == "__main__":
    numbers = [each for each in sys.argv[1:] if "=" not in each]
    main([int(seed) for seed in (numbers or ["1,2,3"])[0].split(",")], [each for each in sys.argv[1:] if "=" in each])
