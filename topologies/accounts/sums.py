"""Sums, maxima and histograms of millions of numbers, in memory that does not grow with how many they are."""

import numpy as np
from jaxtyping import Float, Int

BUFFERED = 50_000  # rows that are added up at once
BINS_OF_A_DECADE = 50  # of a histogram of seconds: a bin is 4.7% wide


class KeyedSums:
    """Sums and maxima by a whole number, such as a link; memory grows with the different keys alone.

    A row that is added has a value for each sum, then one for each maximum.
    """

    def __init__(self, num_sums: int, num_maxima: int = 0) -> None:
        self._num_sums = num_sums
        self._keys = np.empty(0, np.int64)
        self._table = np.empty((0, num_sums + num_maxima))
        self._rows: list[tuple[float | int, ...]] = []

    def add(self, key: int, *values: float | int) -> None:
        """Add a row."""
        self._rows.append((key, *values))
        if len(self._rows) >= BUFFERED:
            self._add_up()

    def extend(self, keys: Int[np.ndarray, " rows"], values: Float[np.ndarray, "rows columns"]) -> None:
        """Add many rows at once."""
        self._merge(keys, values)

    def table(self) -> tuple[Int[np.ndarray, " keys"], Float[np.ndarray, "keys columns"]]:
        """The keys, ascending, and the sums and maxima of each."""
        self._add_up()
        return self._keys, self._table

    def _add_up(self) -> None:
        if self._rows:
            rows = np.array(self._rows, np.float64)
            self._rows = []
            self._merge(rows[:, 0].astype(np.int64), rows[:, 1:])

    def _merge(self, keys: Int[np.ndarray, " rows"], values: Float[np.ndarray, "rows columns"]) -> None:
        if not len(keys):
            return
        keys, values = np.concatenate([self._keys, keys]), np.concatenate([self._table, values])
        order = np.argsort(keys, kind="stable")
        keys, values = keys[order], values[order]
        starts = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
        sums = np.add.reduceat(values[:, : self._num_sums], starts)
        maxima = np.maximum.reduceat(values[:, self._num_sums :], starts)
        self._keys, self._table = keys[starts], np.concatenate([sums, maxima], axis=1)


class Histogram:
    """How often values occur; its quantiles are means of bins, so they are exact where a bin has one value only.

    logarithmic: bins are a few percent wide, for times; else each whole number has a bin of its own.
    """

    def __init__(self, logarithmic: bool) -> None:
        self._logarithmic = logarithmic
        self._bins = KeyedSums(2, 1)
        self._new: list[float | int] = []

    def add(self, value: float | int) -> None:
        self._new.append(value)
        if len(self._new) >= BUFFERED:
            self._add_up()

    def extend(self, values: Float[np.ndarray, " values"]) -> None:
        """Add many values at once."""
        if not len(values):
            return
        if self._logarithmic:
            with np.errstate(divide="ignore"):
                keys = np.where(values > 0, np.floor(np.log10(values) * BINS_OF_A_DECADE), -(10.0**6))
        else:
            keys = np.floor(values)
        self._bins.extend(keys.astype(np.int64), np.stack([np.ones_like(values), values, values], axis=1))

    def bins(self) -> Float[np.ndarray, "bins 2"]:
        """The bins that are not empty, ascending: the mean of their values, and how many they are."""
        self._add_up()
        _, table = self._bins.table()
        return np.stack([table[:, 1] / table[:, 0], table[:, 0]], axis=1)

    def quantile(self, share: float) -> float | None:
        """The value that this share of all values does not exceed; None if there are none."""
        bins = self.bins()
        if not len(bins):
            return None
        below = np.cumsum(bins[:, 1])
        return float(bins[np.searchsorted(below, share * below[-1] * (1 - 1e-12)), 0])

    def figures(self) -> dict[str, float | None]:
        """Mean, median, 95th percentile and maximum; each None if there are no values."""
        self._add_up()
        _, table = self._bins.table()
        if not len(table):
            return dict.fromkeys(("mean", "p50", "p95", "max"))
        mean = float(table[:, 1].sum() / table[:, 0].sum())
        return {"mean": mean, "p50": self.quantile(0.5), "p95": self.quantile(0.95), "max": float(table[:, 2].max())}

    def _add_up(self) -> None:
        if self._new:
            values, self._new = np.array(self._new, np.float64), []
            self.extend(values)
