"""Pooling over everybody at once: a round's messages are added up once, and each student takes its own away.

So the targets of a complete graph cost O(peers) in all. The sums are in float64: what is left after the subtraction
is then the sum of the others to float32's own precision.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor


@dataclass(frozen=True)
class Shares:
    """A student's weights where everybody who teaches is heard: of its own message, of each other one, and whether its
    own message is in the sum."""

    own: float
    other: float
    included: bool


@dataclass(frozen=True)
class Sum:
    """The sum of some of a round's messages and how many they are; those that dropped out are in neither."""

    round_index: int
    count: int
    values: Float64[np.ndarray, "batch dim"] | None

    @classmethod
    def of(cls, round_index: int, outputs: Sequence[Float[Tensor, "batch dim"]]) -> "Sum":
        if not outputs:
            return cls(round_index, 0, None)
        total = torch.zeros(outputs[0].shape, dtype=torch.float64, device=outputs[0].device)
        for each in outputs:
            total += each
        return cls(round_index, len(outputs), total.cpu().numpy())

    @classmethod
    def total(cls, parts: Iterable["Sum"]) -> "Sum":
        """The sum of sums of one round, added in their order."""
        parts = list(parts)
        rounds = {part.round_index for part in parts}
        if len(rounds) != 1:
            raise ValueError(f"sums of one round are added, got rounds {sorted(rounds)}")
        values: np.ndarray | None = None
        for part in parts:
            if part.values is not None:
                values = part.values.copy() if values is None else np.add(values, part.values, out=values)
        return cls(rounds.pop(), sum(part.count for part in parts), values)

    def check(self, batch: int, width: int, most: int) -> None:
        """Raises: ValueError, if this is no sum of at most so many messages."""
        shape = None if self.values is None else (str(self.values.dtype), self.values.shape)
        asked = ("float64", (batch, width)) if self.count else None
        if not 0 <= self.count <= most or shape != asked:
            raise ValueError(f"the sum for round {self.round_index} is {shape} of {self.count} messages, not {asked}")
        if self.values is not None and not np.isfinite(self.values).all():
            raise ValueError(f"the sum for round {self.round_index} has values that are not finite")

    def pooled(
        self, own: Float[Tensor, "*peers batch dim"] | None, shares: Shares, device: torch.device
    ) -> Float[Tensor, "*peers batch dim"] | None:
        """The weighted mean of what a student hears, in float32; None where nobody is heard.

        own: the student's message as others hear it, None if it has dropped out or does not teach; several students of
        equal shares may be asked for at once, along a leading axis.
        """
        mine = own is not None and shares.included
        others = self.count - mine
        weight = shares.other * others + shares.own * mine
        if self.values is None or weight == 0:
            return None
        total = torch.tensor(self.values, device=device)
        if own is not None and shares.included:
            total = shares.other * (total - own) + shares.own * own
        else:
            total = shares.other * total
        return (total / weight).to(torch.float32)
