"""The ages of the messages along each link, from the events of a run's simulated network: between two measurements."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Float64, Int64

from coordinator.documents.readers.numbers import Number, listed

Codes = Int64[np.ndarray, " links"]  # of links: teacher * number of peers + student
ROUNDS = "rounds"  # a unit of ages
STUDY = "study"  # the kind of the events that are read: a student learns from a teacher's message


@dataclass(frozen=True)
class Age:
    """A way to say how old messages are. column: in the table of events; of_link: in the table of links."""

    name: str
    title: str
    unit: str
    column: str
    of_link: str


AGES = (
    Age("age_seconds", "age of messages", "s", "age_seconds", "mean_age_seconds"),
    Age("age", "age in rounds", ROUNDS, "age", "mean_age"),
)


class Sums(NamedTuple):
    """Of the messages along links, ascending by code: how many there were, and the sum of each of `AGES`."""

    codes: Codes
    counts: Int64[np.ndarray, " links"]
    ages: Float64[np.ndarray, "ages links"]


NONE = Sums(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((len(AGES), 0)))


def merged(parts: Sequence[Sums]) -> Sums:
    """The sums of several stretches of time together."""
    codes = np.concatenate([NONE.codes, *(part.codes for part in parts)])
    found, places = np.unique(codes, return_inverse=True)
    counts = np.concatenate([NONE.counts, *(part.counts for part in parts)])
    ages = np.concatenate([NONE.ages, *(part.ages for part in parts)], axis=1)
    added = [np.bincount(places.ravel(), row, len(found)) for row in (counts, *ages)]
    return Sums(found, added[0].astype(np.int64), np.stack(added[1:]))


class Ages:
    """Sums by the measurement that follows, so that memory grows with measurements and not with events."""

    def __init__(self, canonical: Callable[[Codes, Codes], Codes], num_peers: int) -> None:
        self._canonical, self._num_peers = canonical, num_peers
        self.by_measurement: dict[int, Sums] = {}
        self.of_run: Sums | None = None  # of the whole run, where the single events are not known

    def take(self, events: pa.Table, measured: Sequence[int]) -> Codes:
        """Add some events; returns the codes of their links. measured: the numbers of rounds, ascending.

        What came after the last measurement counts to it. Raises: KeyError, ValueError.
        """
        kinds = events["kind"].cast(pa.string())
        rows = events.filter(pc.equal(kinds, STUDY))
        if not rows.num_rows or not measured:
            return NONE.codes
        rounds, students, teachers = (_whole(rows, name) for name in ("round", "peer", "other"))
        kept = (np.minimum(teachers, students) >= 0) & (np.maximum(teachers, students) < self._num_peers)
        kept &= teachers != students
        codes = self._canonical(teachers[kept], students[kept])
        ages = np.stack([_numbers(rows, age.column)[kept] for age in AGES])
        ends = np.asarray(measured)[np.minimum(np.searchsorted(measured, rounds[kept]), len(measured) - 1)]
        for end in np.unique(ends).tolist():
            some = ends == end
            part = Sums(codes[some], np.ones(int(some.sum()), np.int64), ages[:, some])
            self.by_measurement[end] = merged([self.by_measurement.get(end, NONE), part])
        return codes

    def take_links(self, links: pa.Table) -> Codes:
        """The means over the whole run, by link; returns the codes. Raises: KeyError, ValueError."""
        teachers, students, heard = (_whole(links, name) for name in ("teacher", "student", "heard"))
        kept = (np.minimum(teachers, students) >= 0) & (np.maximum(teachers, students) < self._num_peers)
        kept &= (teachers != students) & (heard > 0)
        codes, counts = self._canonical(teachers[kept], students[kept]), heard[kept]
        ages = np.stack([_numbers(links, age.of_link)[kept] * counts for age in AGES])
        self.of_run = merged([Sums(codes, counts, ages)])
        return codes

    def between(self, after: int, until: int) -> Sums:
        """Of the measurements in (after, until]."""
        return merged([sums for number, sums in self.by_measurement.items() if after < number <= until])


def means(sums: Sums, codes: Codes) -> list[list[Number]]:
    """By age, the mean along each of the links (ascending codes); None for links along which nothing was heard."""
    found = np.full((len(AGES), len(codes)), np.nan)
    known, places = _found(sums, codes)
    found[:, known] = sums.ages[:, places] / sums.counts[places]
    return [listed(row) for row in found.tolist()]


def heard(sums: Sums, codes: Codes) -> list[int]:
    """How many messages were learned from along each of the links (ascending codes)."""
    found = np.zeros(len(codes), dtype=np.int64)
    known, places = _found(sums, codes)
    found[known] = sums.counts[places]
    counts: list[int] = found.tolist()
    return counts


def _found(sums: Sums, codes: Codes) -> tuple["np.ndarray[Any, np.dtype[np.bool_]]", Int64[np.ndarray, " known"]]:
    """Which of the links are in the sums, and the places there of those that are."""
    if not len(sums.codes):
        return np.zeros(len(codes), dtype=bool), np.zeros(0, dtype=np.int64)
    places = np.minimum(np.searchsorted(sums.codes, codes), len(sums.codes) - 1)
    known = sums.codes[places] == codes
    return known, places[known]


def _whole(rows: pa.Table, column: str) -> Int64[np.ndarray, " rows"]:
    if not pa.types.is_integer(rows.schema.field(column).type) or rows[column].null_count:
        raise ValueError(f"{column} holds what is no whole number")
    values: Int64[np.ndarray, " rows"] = rows[column].to_numpy().astype(np.int64)
    return values


def _numbers(rows: pa.Table, column: str) -> Float64[np.ndarray, " rows"]:
    """A column with 0 for what is unknown. Raises: ValueError, if it holds no numbers."""
    kind = rows.schema.field(column).type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_null(kind)):
        raise ValueError(f"{column} holds what is no number")
    values = pc.fill_null(rows[column].cast(pa.float64()), 0.0).to_numpy()
    return np.where(np.isfinite(values), values, 0.0)
