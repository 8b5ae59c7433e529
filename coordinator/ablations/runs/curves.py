"""Curves averaged over the seeds of finished runs, with a pointwise 95% t-interval."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from coordinator.ablations.runs.costs import Curve, column, gains
from coordinator.experiment.reading import from_json
from coordinator.measures.statistics import half_width
from coordinator.measures.targets import Paid
from coordinator.measures.units import Range

Points = Float[np.ndarray, " points"]
Table = dict[int, tuple[float, float]]  # (x, y) by round


@dataclass(frozen=True)
class Band:
    """The mean curve of several runs with its interval; `low` and `high` are None for a single run."""

    x: Points
    mean: Points
    low: Points | None
    high: Points | None

    def within(self, range_: Range) -> "Band":
        """The same with its interval cut where the measure cannot be; the mean is left as it is."""
        low, high = (None if each is None else range_.clip(each) for each in (self.low, self.high))
        return Band(self.x, self.mean, low, high)


def band(x: Points, runs: Float[np.ndarray, "runs points"], confidence: float = 0.95) -> Band:
    """The mean over runs at each x, with Student's t-interval if there are at least two runs."""
    mean = runs.mean(axis=0)
    if len(runs) < 2:
        return Band(x, mean, None, None)
    half = half_width(runs, confidence)
    return Band(x, mean, mean - half, mean + half)


def curve(folders: Sequence[Path], x: str, y: str) -> Band | None:
    """Column `y` of the runs' rounds tables against column `x`, in the rounds where every run has both finite.

    `x` is averaged over runs as well. None if the runs share no such round.
    """
    return _shared([_points(column(folder, x), column(folder, y), x) for folder in folders])


def gain_curve(folders: Sequence[Path], x: str, probe: str) -> Band | None:
    """A probe's gain over calibrated networks against column `x`, as `curve`; as a fraction."""
    tables = []
    for folder in folders:
        summary = from_json((folder / "summary.json").read_bytes())
        tables.append(_points(column(folder, x), gains(folder, summary, probe), x))
    return _shared(tables)


def _shared(tables: Sequence[Table]) -> Band | None:
    shared = sorted(set.intersection(*(set(table) for table in tables))) if tables else []
    if not shared:
        return None
    points = np.array([[table[round_index] for round_index in shared] for table in tables])
    return band(points[:, :, 0].mean(axis=0), points[:, :, 1])


def _points(x: Curve, y: Curve, column_of_x: str) -> Table:
    """(x, y) by round; empty if the run has no such column because it measured nothing."""
    if column_of_x == Paid.TIME.column and x:
        x = {0: 0.0, **x}  # before the first round no time has passed
    return {round_: (x[round_], y[round_]) for round_ in y if round_ in x}
