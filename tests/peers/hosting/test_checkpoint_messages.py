"""Messages that bring weights: without ages they teach what outputs would, to the bit; with ages, the older network."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from peers.learning.checkpoint_messages import checkpoint_bytes
from peers.learning.settings import initial_network
from tests.peers.hosting.test_step import (
    DATASET,
    VARIANTS,
    advance_all,
    named,
    settings_of,
    step_all,
)


class Noisy(torch.nn.Module):
    """Draws in its forward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(64, 6)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.dropout(self.layer(images.flatten(1)), 0.3)


@pytest.mark.parametrize("run", [advance_all, step_all])
@pytest.mark.parametrize("own", [0.0, 0.25])
@pytest.mark.parametrize("changes", VARIANTS, ids=named)
def test_checkpoint__teaches_what_outputs_would_to_the_bit(run: Any, own: float, changes: dict[str, Any]):
    settings = settings_of(**changes)
    digests, outputs = run("loop", settings, own)
    same, weights = run("loop", [replace(each, message="checkpoint") for each in settings], own)
    assert same == digests
    for one, other in zip(outputs, weights, strict=True):
        assert [each[:2] for each in one] == [each[:2] for each in other]
    sizes = [checkpoint_bytes(initial_network(each, DATASET.shape)) for each in settings]
    assert [each[2] for each in weights[0]] == sizes


@pytest.mark.parametrize("changes", VARIANTS[:6], ids=named)
def test_checkpoint__stacked_peers_learn_what_the_loop_does(changes: dict[str, Any]):
    settings = [replace(each, message="checkpoint") for each in settings_of(**changes)]
    _, loop = step_all("loop", settings, 0.25)
    _, stacked = step_all("vectorised", settings, 0.25)
    for one, other in zip(loop, stacked, strict=True):
        assert np.allclose([each[0] for each in one], [each[0] for each in other], rtol=1e-4)
