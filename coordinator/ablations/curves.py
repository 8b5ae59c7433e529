"""Curves averaged over the seeds of finished runs, with a pointwise 95% t-interval."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from jaxtyping import Float

from coordinator.measures.statistics import half_width
from coordinator.measures.units import Range

Points = Float[np.ndarray, " points"]


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
    tables = [_points(folder, x, y) for folder in folders]
    shared = sorted(set.intersection(*(set(table) for table in tables))) if tables else []
    if not shared:
        return None
    points = np.array([[table[round_index] for round_index in shared] for table in tables])
    return band(points[:, :, 0].mean(axis=0), points[:, :, 1])


def _points(folder: Path, x: str, y: str) -> dict[int, tuple[float, float]]:
    """(x, y) by round; empty if the run has no such column because it measured nothing."""
    path = folder / "metrics" / "rounds.parquet"
    if not {x, y} <= set(pq.read_schema(path).names):
        return {}
    rows = pq.read_table(path, columns=list({"round", x, y})).to_pylist()
    known = [row for row in rows if row[x] is not None and row[y] is not None]
    return {row["round"]: (float(row[x]), float(row[y])) for row in known if np.isfinite([row[x], row[y]]).all()}
