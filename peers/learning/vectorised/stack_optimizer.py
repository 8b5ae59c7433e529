"""One optimiser step of many networks at once, each with its own moments and its own count of steps."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool
from torch import Tensor

from peers.base.finite import finite_rows
from peers.learning.vectorised.network_stack import Rows, put
from peers.learning.vectorised.rowwise import take
from peers.networks.optimizers import OptimizerState


class StackOptimizer:
    """Keeps the moments of the peers' optimisers in tensors with a first axis; the peers' own become views of them.

    parameters: those of the stack, in the order of the optimisers'.
    """

    def __init__(self, states: Sequence[OptimizerState], parameters: Sequence[Tensor]) -> None:
        self._states = list(states)
        self._parameters = [each.detach() for each in parameters]
        for state in states:
            state.allocate()
        self._moments = {
            name: [torch.stack(each) for each in zip(*(state.moments[name] for state in states), strict=True)]
            for name in states[0].moments
        }
        for row, state in enumerate(states):
            for name, moments in self._moments.items():
                state.moments[name] = [moment[row] for moment in moments]

    def step(self, rows: Sequence[int], gradients: Sequence[Tensor | None], lr: float) -> None:
        """Move those rows, in place; their gradients are given in their order. All of one count of steps go at once."""
        by_steps: dict[int, list[int]] = {}
        for place, row in enumerate(rows):
            by_steps.setdefault(self._states[row].steps, []).append(place)
        for steps, places in by_steps.items():
            everything = None if len(places) == len(rows) else self._index(places)
            chosen = [each if each is None else take(each, everything) for each in gradients]
            self._step([rows[place] for place in places], chosen, steps, lr)

    @torch.no_grad()
    def _step(self, rows: list[int], gradients: Sequence[Tensor | None], steps: int, lr: float) -> None:
        index = None if len(rows) == len(self._states) else self._index(rows)
        moving = [place for place, gradient in enumerate(gradients) if gradient is not None]
        parameters = [take(self._parameters[i], index) for i in moving]
        moments = {name: [take(each[i], index) for i in moving] for name, each in self._moments.items()}
        given = [gradient for gradient in gradients if gradient is not None]
        self._states[0].config.update(parameters, given, moments, steps, lr, fused=True)
        if index is not None:  # what was stepped is a copy
            for place, i in enumerate(moving):
                put(self._parameters[i], index, parameters[place])
                for name, each in moments.items():
                    put(self._moments[name][i], index, each[place])
        for row in rows:
            self._states[row].steps += 1

    def finite(self) -> Bool[Tensor, " rows"]:
        """Whose parameters are all finite."""
        return torch.stack([finite_rows(each) for each in self._parameters]).all(dim=0)

    def _index(self, rows: list[int]) -> Rows:
        return torch.tensor(rows, dtype=torch.int64, device=self._parameters[0].device)
