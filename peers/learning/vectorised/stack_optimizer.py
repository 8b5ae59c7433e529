"""Optimiser steps of many networks at once; each network has its own moments and its own number of steps."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool
from torch import Tensor

from peers.base.finite import finite_rows
from peers.learning.vectorised.network_stack import Rows, put
from peers.learning.vectorised.rowwise import take
from peers.networks.optimizers import OptimizerState


class StackOptimizer:
    """Keeps the moments of the peers' optimisers in stacked tensors; the peers' own moments become views of them.

    parameters: the stacked parameters, in the order of the optimisers' parameters.
    """

    def __init__(self, states: Sequence[OptimizerState], parameters: Sequence[Tensor]) -> None:
        self._states = list(states)
        self._parameters = [parameter.detach() for parameter in parameters]
        for state in states:
            state.allocate()
        self._moments = {
            name: [torch.stack(moments) for moments in zip(*(state.moments[name] for state in states), strict=True)]
            for name in states[0].moments
        }
        for row, state in enumerate(states):
            for name, moments in self._moments.items():
                state.moments[name] = [moment[row] for moment in moments]

    def step(self, rows: Sequence[int], gradients: Sequence[Tensor | None], lr: float) -> None:
        """Update `rows` in place with their gradients, in the same order; rows with equal step counts go together."""
        by_steps: dict[int, list[int]] = {}
        for place, row in enumerate(rows):
            by_steps.setdefault(self._states[row].steps, []).append(place)
        for steps, places in by_steps.items():
            index = None if len(places) == len(rows) else self._index(places)
            chosen = [gradient if gradient is None else take(gradient, index) for gradient in gradients]
            self._step([rows[place] for place in places], chosen, steps, lr)

    @torch.no_grad()
    def _step(self, rows: list[int], gradients: Sequence[Tensor | None], steps: int, lr: float) -> None:
        index = None if len(rows) == len(self._states) else self._index(rows)
        moving = [place for place, gradient in enumerate(gradients) if gradient is not None]
        parameters = [take(self._parameters[i], index) for i in moving]
        moments = {name: [take(stacked[i], index) for i in moving] for name, stacked in self._moments.items()}
        given = [gradient for gradient in gradients if gradient is not None]
        self._states[0].config.update(parameters, given, moments, steps, lr, fused=True)
        if index is not None:  # the step was on copies
            for place, i in enumerate(moving):
                put(self._parameters[i], index, parameters[place])
                for name, stepped in moments.items():
                    put(self._moments[name][i], index, stepped[place])
        for row in rows:
            self._states[row].steps += 1

    def finite(self) -> Bool[Tensor, " rows"]:
        """For each row, whether all of its parameters are finite."""
        return torch.stack([finite_rows(parameter) for parameter in self._parameters]).all(dim=0)

    def _index(self, rows: list[int]) -> Rows:
        return torch.tensor(rows, dtype=torch.int64, device=self._parameters[0].device)
