"""Data of your own: noisy sines, of which every class has another frequency, for a convolution over time.

    python configs/examples/own_data.py [section.key=value ...]      # such as hosting.pool=ray

`Dataset.from_arrays` takes NumPy arrays, torch tensors or lists: examples of any shape [examples, *shape], and labels
0..k-1, which are for the probes: training sees none. uint8 are pixels, floats are any numbers; a run normalises both,
channel by channel. For your work: put your arrays in the place of `sines`, with a network that takes their shape.
"""

import sys
from pathlib import Path

import numpy as np
from torch import nn

from coordinator import Dataset, load_config, simulate

QUICKSTART = Path(__file__).parents[1] / "quickstart.toml"
CHANGES = ["evaluation={probes=['linear'], controls=['alone']}", "hosting.pool=in-process"]
PROBED = {"raw_pixels": "the raw numbers", "calibrated": "untrained", "alone": "alone", "trained": "trained"}


def sines(seed: int, num: int = 2000) -> Dataset:
    draws, labels = np.random.default_rng(seed), np.arange(num) % 5
    phases, times = draws.uniform(0, 2 * np.pi, (num, 1)), np.linspace(0, 2 * np.pi, 64)
    waves = np.sin((1.5 + labels[:, None] / 2) * times + phases) + 0.5 * draws.standard_normal((num, 64))
    return Dataset.from_arrays(waves[:, None, :], labels, name="sines")  # 1 channel, 64 times; a fifth is held out


def convolution(shape: tuple[int, int]) -> nn.Module:
    layers = [nn.Conv1d(shape[0], 64, 16, stride=2), nn.BatchNorm1d(64), nn.ReLU(), nn.Conv1d(64, 64, 9), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool1d(1), nn.Flatten())  # gives [batch, 64 features]


if __name__ == "__main__":
    config = load_config(QUICKSTART, [*CHANGES, *sys.argv[1:]])
    row = simulate(config, data=sines(0), network=convolution).summary["probes"]["linear"]
    print("linear probe of", ", ".join(f"{what} {row[name]:.1%}" for name, what in PROBED.items()))
    print(f"over untrained: {row['verdict']}; over peers alone (own teachers): {row['controls']['alone']}")
