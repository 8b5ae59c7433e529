"""Optimisers against the classes of torch.optim, and what every kind of them must keep to."""

from typing import Any

import pytest
import torch
from torch import Tensor

from peers.base.section import examples
from peers.networks import optimizers
from peers.networks.optimizers import SGD, Adam, AdamW, OptimizerConfig, OptimizerState, clipped

REFERENCES: list[tuple[OptimizerConfig, type[torch.optim.Optimizer], dict[str, Any]]] = [
    (SGD(lr=0.1, weight_decay=0.01), torch.optim.SGD, {"lr": 0.1, "weight_decay": 0.01}),
    (SGD(lr=0.1, momentum=0.9), torch.optim.SGD, {"lr": 0.1, "momentum": 0.9}),
    (Adam(betas=(0.8, 0.9)), torch.optim.Adam, {"betas": (0.8, 0.9)}),
    (Adam(weight_decay=0.05), torch.optim.Adam, {"weight_decay": 0.05}),
    (AdamW(weight_decay=0.05), torch.optim.AdamW, {"weight_decay": 0.05}),
]


def draws(step: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(step)
    return [torch.randn(shape, generator=generator) for shape in ((3, 2), (4,), (2, 2))]


@pytest.mark.parametrize("together", [optimizers.TOGETHER, 0])
@pytest.mark.parametrize(("config", "reference", "arguments"), REFERENCES)
def test_step__equals_torch_optim(
    config: OptimizerConfig,
    reference: type,
    arguments: dict[str, Any],
    together: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Steps in which the last parameter never has a gradient, and none has one in the end; in both memory orders."""
    monkeypatch.setattr(optimizers, "TOGETHER", together)
    ours, theirs = ([*draws(99), torch.ones(4, 3, 3, 3).to(memory_format=torch.channels_last)] for _ in range(2))
    state, other = OptimizerState(config, ours), reference(theirs, **arguments)
    for step in range(5):
        gradients: list[Tensor | None] = [*draws(step)[:2], None, torch.full((4, 3, 3, 3), step / 7)]
        if step == 4:
            gradients = [None] * 4
        state.step(gradients, config.lr)
        for parameter, gradient in zip(theirs, gradients, strict=True):
            parameter.grad = gradient
        other.step()
    torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


@pytest.mark.parametrize("config", examples(OptimizerConfig), ids=lambda config: config.kind)
def test_step__goes_down_and_goes_on_from_its_saved_state(config: OptimizerConfig) -> None:
    """On a bowl, x^2 / 2, whose gradient is x; the state that is saved is all that the next step depends on."""
    ours = draws(1)
    before = sum(float(each.square().sum()) for each in ours)
    state = OptimizerState(config, ours)
    for _ in range(3):
        state.step([each.clone() for each in ours], config.lr)
    assert sum(float(each.square().sum()) for each in ours) < before
    saved = {name: each.clone() for name, each in state.tensors().items()}
    others = [each.clone() for each in ours]
    resumed = OptimizerState(config, others)
    resumed.load(saved)
    for each, parameters in ((state, ours), (resumed, others)):
        each.step([parameter.clone() for parameter in parameters], config.lr)
    assert all(torch.equal(*pair) for pair in zip(ours, others, strict=True))


@pytest.mark.parametrize("most", [0.0, 0.5, 100.0])
def test_clipped__equals_torch_bit_for_bit(most: float) -> None:
    def parameters() -> list[torch.nn.Parameter]:
        made = [
            torch.nn.Parameter(torch.zeros(3, 2)),
            torch.nn.Parameter(torch.zeros(4)),
            torch.nn.Parameter(torch.ones(1)),
        ]
        for number, each in enumerate(made[:2]):
            each.grad = torch.randn(each.shape, generator=torch.Generator().manual_seed(number))
        return made

    own, reference = parameters(), parameters()
    norm = torch.nn.utils.clip_grad_norm_(reference, most or float("inf"), foreach=False)
    assert clipped(own, most) == norm.item()
    for one, other in zip(own[:2], reference[:2], strict=True):
        assert one.grad is not None and other.grad is not None and torch.equal(one.grad, other.grad)
