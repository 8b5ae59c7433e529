"""A sensor, a lie and a rule of pooling of your own, which own_peers.toml names; each is a function of tensors.

    python configs/examples/own_peers.py [section.key=value ...]     # in the folder that has configs/

A sensor gets images [batch, channels, height, width] in 0..1. A lie is made of what the liar would have sent, [batch,
outputs], and of the honest messages that a student hears, [peers, batch, outputs]. A rule gets the student's own
outputs, its teachers' messages and their weights, which sum to 1. Where probabilities are exchanged, a lie has to be
such, and what a rule gives is clipped at 0 and scaled to sum to 1. For your work: name yours in a config like this one.
"""

import sys
from pathlib import Path

import torch
from torch import Tensor

from coordinator import load_config, simulate


def mosaic(images: Tensor, size: int = 2) -> Tensor:
    """Squares of size x size pixels, each of one grey."""
    small = torch.nn.functional.avg_pool2d(images, size, ceil_mode=True)
    return torch.nn.functional.interpolate(small, images.shape[2:])


def contrary(own: Tensor, honest: Tensor, factor: float = 1.0) -> Tensor:
    return -factor * honest.mean(dim=0)


def closest_half(own: Tensor, messages: Tensor, weights: Tensor) -> Tensor:
    apart = (messages - own).square().sum(dim=(1, 2))
    nearest = apart.argsort(stable=True)[: len(messages) // 2 + 1]
    return torch.einsum("m,mbo->bo", weights[nearest] / weights[nearest].sum(), messages[nearest])


if __name__ == "__main__":
    result = simulate(load_config(Path(__file__).with_suffix(".toml"), sys.argv[1:]))
    row = result.summary["probes"]["linear"]
    print(f"linear probe {100 * row['gain']:+.1f} points: {row['verdict']}; truthful: {row['controls']['truthful']}")
