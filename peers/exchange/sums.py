"""Averaging by a shared sum: a round's messages are added up once, and each student subtracts its own message.

The targets of a complete graph therefore cost O(peers) in total. Sums are in float64, so that after the subtraction the
sum of the others is accurate to float32 precision.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor


@dataclass(frozen=True)
class SumWeights:
    """A student's weights for its own and each other message; included: whether its own message is in the sum."""

    own: float
    other: float
    included: bool


@dataclass(frozen=True)
class Sum:
    """The sum of some of a round's messages, and their number, both without peers that dropped out.

    unusable: lies that are not finite, which are not in the sum.
    """

    round_index: int
    count: int
    values: Float64[np.ndarray, "batch dim"] | None
    unusable: int = 0

    @classmethod
    def of(cls, round_index: int, outputs: Sequence[Float[Tensor, "batch dim"]], unusable: int = 0) -> "Sum":
        if not outputs:
            return cls(round_index, 0, None, unusable)
        total = torch.zeros(outputs[0].shape, dtype=torch.float64, device=outputs[0].device)
        for message_outputs in outputs:
            total += message_outputs
        return cls(round_index, len(outputs), total.cpu().numpy(), unusable)

    @classmethod
    def total(cls, parts: Iterable["Sum"]) -> "Sum":
        """The sum of partial sums of one round, added in order. Raises: ValueError for sums of several rounds."""
        parts = list(parts)
        rounds = {part.round_index for part in parts}
        if len(rounds) != 1:
            raise ValueError(f"sums of one round are added, got rounds {sorted(rounds)}")
        values: np.ndarray | None = None
        for part in parts:
            if part.values is not None:
                values = part.values.copy() if values is None else np.add(values, part.values, out=values)
        return cls(rounds.pop(), sum(part.count for part in parts), values, sum(part.unusable for part in parts))

    def check(self, batch: int, width: int, most: int) -> None:
        """Raises: ValueError unless this is a finite sum of at most `most` messages of `batch` samples."""
        found = None if self.values is None else (str(self.values.dtype), self.values.shape)
        expected = ("float64", (batch, width)) if self.count else None
        if min(self.count, self.unusable) < 0 or self.count + self.unusable > most or found != expected:
            raise ValueError(
                f"the sum for round {self.round_index} is {found} of {self.count} messages, not {expected}"
            )
        if self.values is not None and not np.isfinite(self.values).all():
            raise ValueError(f"the sum for round {self.round_index} has values that are not finite")

    def average(
        self,
        own: Float[Tensor, "*peers batch dim"] | None,
        weights: SumWeights,
        device: torch.device,
        own_share: Float[Tensor, "*peers batch dim"] | None = None,
        is_in_sum: bool = True,
    ) -> Float[Tensor, "*peers batch dim"] | None:
        """The weighted mean of the messages that a student learns from, in float32; None if there are none.

        own: the student's message as others read it, None if it has dropped out or does not teach; several students
        with equal weights may be stacked along a leading axis. own_share: what the student takes of itself, where that
        is not its message. is_in_sum: False: its message is a lie that was left out of the sum.
        """
        has_own = own is not None and weights.included
        num_others = self.count - (has_own and is_in_sum)
        weight = weights.other * num_others + weights.own * has_own
        if weight == 0 or (self.values is None and is_in_sum):
            return None
        if own is None or not weights.included:
            total = weights.other * torch.tensor(self.values, device=device)
        else:
            others = torch.zeros_like(own) if self.values is None else torch.tensor(self.values, device=device)
            others = others - own if is_in_sum else others
            total = weights.other * others + weights.own * (own if own_share is None else own_share)
        return (total / weight).to(torch.float32)
