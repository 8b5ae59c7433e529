"""Targets: how long, and how many bytes or rounds, a run takes until a measure or a gain has come far enough."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import get_args

import numpy as np
from jaxtyping import Float

from peers.probing.config import ProbeName

GAIN = "_gain"  # after the name of a probe
NOT_REACHED = float("inf")  # the cost of what was not reached until the end of the run
Points = Float[np.ndarray, " points"]


class Paid(StrEnum):
    """In what a target is paid. Values are the first part of a target's name."""

    TIME = "time_to"  # virtual seconds
    BYTES = "bytes_to"
    ROUNDS = "rounds_to"

    @property
    def column(self) -> str:
        """The column of the table of rounds that counts it."""
        return {Paid.TIME: "virtual_seconds", Paid.BYTES: "bytes_so_far", Paid.ROUNDS: "round"}[self]


@dataclass(frozen=True)
class Target:
    """A level that a measure falls to, as a share of its value at round 0; or one that a probe's gain reaches.

    subject: `relative_distance`, or `linear_gain`. level: as it is written in the name, such as `0.1`.
    """

    paid: Paid
    subject: str
    level: str

    @classmethod
    def parse(cls, name: str) -> "Target | None":
        """The target of a dotted name such as `time_to.relative_distance.0.1`; None if it is not of such a form."""
        paid, _, rest = name.partition(".")
        subject, _, level = rest.partition(".")
        if paid not in list(Paid) or not subject or not level:
            return None
        return cls(Paid(paid), subject, level)

    @property
    def name(self) -> str:
        return f"{self.paid}.{self.subject}.{self.level}"

    @property
    def probe(self) -> ProbeName | None:
        """The probe whose gain over calibrated networks is meant; None for a measure."""
        probe = self.subject.removesuffix(GAIN)
        return next((each for each in get_args(ProbeName) if each == probe and self.subject.endswith(GAIN)), None)

    @property
    def share(self) -> float:
        """The level as a number. Raises: ValueError, if it is none."""
        return float(self.level)


def cost_of_fall(costs: Points, values: Points, share: float) -> float:
    """The cost at which values first fall to a share of the first one, linear between two measurements.

    costs: ascending. Returns: NOT_REACHED if they never do.
    """
    goal = share * values[0]
    below = np.flatnonzero(values <= goal)
    if not len(below):
        return NOT_REACHED
    after = int(below[0])
    if after == 0:
        return float(costs[0])
    before = after - 1
    part = (values[before] - goal) / (values[before] - values[after])
    return float(costs[before] + part * (costs[after] - costs[before]))


def cost_of_rise(costs: Points, values: Points, level: float) -> float:
    """The cost of the first measurement that is at least `level`: between two, accuracies are not known.

    Returns: NOT_REACHED if none is.
    """
    above = np.flatnonzero(values >= level)
    return float(costs[above[0]]) if len(above) else NOT_REACHED


def known(costs: Sequence[float], values: Sequence[float]) -> tuple[Points, Points]:
    """Both, without the measurements of which either is not finite."""
    pairs = np.array([costs, values], dtype=np.float64)
    kept = pairs[:, np.isfinite(pairs).all(axis=0)]
    return kept[0], kept[1]
