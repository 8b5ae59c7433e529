"""The rows of a run's tables as arrays by round, merged from files that come one after the other."""

from collections.abc import Callable, Collection, Iterator

import numpy as np
import pyarrow as pa
from jaxtyping import Float64, Int64

from coordinator.documents.readers.ages import AGES, Ages
from coordinator.documents.readers.graph import distinct
from coordinator.measures import pooling
from coordinator.measures.declared import PEER, TOTAL_VARIATION, Shown, shown_in
from coordinator.measures.subjects import honest
from coordinator.records.files.probe_curves import SUFFIX
from coordinator.reports.wording import PROBES

Values = Float64[np.ndarray, " peers"]
Codes = Int64[np.ndarray, " links"]  # of links: teacher * number of peers + student
LOSS = "loss"
BYTES = "bytes_so_far"
SECONDS, ONLINE, LOST, AGE, AGE_SECONDS = "virtual_seconds", "online", "lost", "mean_age", "mean_age_seconds"
NETWORK = (SECONDS, ONLINE, LOST, AGE, AGE_SECONDS)  # with a simulated network only
CURVES = (LOSS, BYTES, *(measure.name for measure in shown_in(Shown.CURVE)), *pooling.COLUMNS, *NETWORK)
MEASURES = tuple(measure.name for measure in PEER)
ACCURACIES = tuple(f"{probe}{SUFFIX}" for probe in PROBES)
EVENTS, PRESENCE, LINKS = "events", "network_presence", "network_edges"  # of a simulated network, written at the end
TABLES = ("rounds", "peers", "edges", LINKS, PRESENCE, EVENTS)  # in this order: a later one is not behind an earlier
OF_NETWORK = ("seconds", "heard", "kind", "other", *(name for age in AGES for name in (age.column, age.of_link)))
COLUMNS = frozenset(
    ("round", "peer", "teacher", "student", *CURVES, *MEASURES, *ACCURACIES, TOTAL_VARIATION.name, *OF_NETWORK)
)


class RunRows:
    """What the tables say, by round.

    rounds: by round and column. peers: by column and round, nan where unknown. links: by round, the codes of the
    links and their total variation. stride: of the losses of peers only every so many rounds are kept, and the newest.
    loss_range: the lowest and the highest loss of a round, of honest peers. canonical: the codes of links, from
    teachers and students.
    presence: what peers went offline or came online, as (virtual second, peer, whether online), in order of time.
    ages: of the messages along links. An array is never written to: where values change, another takes its place.
    """

    def __init__(
        self,
        num_peers: int,
        stride: int,
        canonical: Callable[[Codes, Codes], Codes],
        links: "Sample",
        liars: Collection[int] = (),
    ) -> None:
        self._honest = np.array(honest(range(num_peers), liars), dtype=np.int64)
        self.num_peers, self._stride, self._canonical, self.sample = num_peers, stride, canonical, links
        self.rounds: dict[int, dict[str, float]] = {}
        self.peers: dict[str, dict[int, Values]] = {}
        self.links: dict[int, tuple[Codes, Float64[np.ndarray, " links"]]] = {}
        self.began = np.full(num_peers, np.inf)  # the round after which a peer had first studied
        self.loss_range: dict[int, tuple[float, float]] = {}
        self.presence: list[tuple[float, int, bool]] = []
        self.ages = Ages(canonical, num_peers)

    def take(self, table: str, rows: pa.Table) -> None:
        """Merge rows; a value that is known is never replaced by one that is not. Raises: KeyError, ValueError."""
        if rows.num_rows:
            takers = {"rounds": self._take_rounds, "peers": self._take_peers, "edges": self._take_edges}
            takers |= {PRESENCE: self._take_presence, LINKS: self._take_links, EVENTS: self._take_events}
            takers[table](rows)

    def _take_presence(self, rows: pa.Table) -> None:
        seconds, peers, online = floats(rows, "seconds"), whole_numbers(rows, "peer"), rows["online"].to_pylist()
        found = zip(seconds.tolist(), peers.tolist(), map(bool, online), strict=True)
        self.presence = [row for row in found if 0 <= row[1] < self.num_peers and row[0] == row[0]]

    def _take_links(self, rows: pa.Table) -> None:
        self.sample.add(distinct(self.ages.take_links(rows)))

    def _take_events(self, rows: pa.Table) -> None:
        self.sample.add(distinct(self.ages.take(rows, sorted(self.links))))

    def _take_rounds(self, rows: pa.Table) -> None:
        numbers = whole_numbers(rows, "round").tolist()
        for column in CURVES:
            if column in rows.column_names:
                values = floats(rows, column)
                for number, value in zip(numbers, values.tolist(), strict=True):
                    if value == value:
                        self.rounds.setdefault(number, {})[column] = value

    def _take_peers(self, rows: pa.Table) -> None:
        numbers, peers = whole_numbers(rows, "round"), whole_numbers(rows, "peer")
        inside = (peers >= 0) & (peers < self.num_peers)
        for column in rows.column_names:
            if column in ("round", "peer", "teacher", "student") or column not in COLUMNS:
                continue
            values = floats(rows, column)
            known = inside & ~np.isnan(values)
            if column == LOSS:
                np.minimum.at(self.began, peers[known], numbers[known])
            for number, places in _by_round(numbers, known):
                row = self.peers.setdefault(column, {}).get(number)
                row = np.full(self.num_peers, np.nan) if row is None else row.copy()
                row[peers[places]] = values[places]
                self.peers[column][number] = row
                counted = row[self._honest]
                if column == LOSS and not np.isnan(counted).all():
                    self.loss_range[number] = float(np.nanmin(counted)), float(np.nanmax(counted))
        self._thin_losses()

    def _thin_losses(self) -> None:
        losses = self.peers.get(LOSS, {})
        if self._stride > 1 and losses:
            newest = max(losses)
            for number in [each for each in losses if each % self._stride and each != newest]:
                del losses[number]

    def _take_edges(self, rows: pa.Table) -> None:
        numbers = whole_numbers(rows, "round")
        teachers, students = whole_numbers(rows, "teacher"), whole_numbers(rows, "student")
        inside = (np.minimum(teachers, students) >= 0) & (np.maximum(teachers, students) < self.num_peers)
        codes, values = self._canonical(teachers, students), floats(rows, TOTAL_VARIATION.name)
        self.sample.add(codes[inside])
        for number, places in _by_round(numbers, inside & self.sample.takes(codes)):
            old = self.links.get(number)
            merged = codes[places], values[places]
            if old is not None:
                merged = np.concatenate([merged[0], old[0]]), np.concatenate([merged[1], old[1]])
            found, first = np.unique(merged[0], return_index=True)  # the newer ones stand first
            self.links[number] = found, merged[1][first]


class Sample:
    """At most `most` of all links that were seen, drawn evenly and the same at every time: the lowest by a hash."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._seen: Codes = np.zeros(0, dtype=np.int64)
        self.links: Codes = self._seen  # those in the sample, ascending; another array only if it has changed
        self._limit = np.uint64(2**64 - 1)

    @property
    def count(self) -> int:
        """How many different links were seen."""
        return len(self._seen)

    def add(self, codes: Codes) -> None:
        new = distinct(codes)
        places = np.minimum(np.searchsorted(self._seen, new), max(len(self._seen) - 1, 0))
        new = new[self._seen[places] != new] if len(self._seen) else new
        if len(new):
            self._seen = np.sort(np.concatenate([self._seen, new]))
            if len(self._seen) > self._most:
                self._limit = np.partition(_hash(self._seen), self._most - 1)[self._most - 1]
            self.links = self._seen[self.takes(self._seen)]

    def takes(self, codes: Codes) -> "np.ndarray[tuple[int], np.dtype[np.bool_]]":
        """Which of the links are in the sample."""
        return _hash(codes) <= self._limit


def _hash(codes: Codes) -> "np.ndarray[tuple[int], np.dtype[np.uint64]]":
    """One-to-one and well mixed. Source: Steele, Lea and Flood, 2014 (SplitMix64)."""
    mixed = codes.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def _by_round(
    numbers: Int64[np.ndarray, " rows"], wanted: "np.ndarray[tuple[int], np.dtype[np.bool_]]"
) -> Iterator[tuple[int, Int64[np.ndarray, " some"]]]:
    """(round, places of its rows) of the rows that are wanted, in ascending order."""
    places = np.flatnonzero(wanted)
    places = places[np.argsort(numbers[places], kind="stable")]
    found, starts = np.unique(numbers[places], return_index=True)
    if len(places):
        yield from zip(found.tolist(), np.split(places, starts[1:]), strict=True)


def whole_numbers(rows: pa.Table, column: str) -> Int64[np.ndarray, " rows"]:
    """A column of whole numbers. Raises: KeyError, if there is none; ValueError, if it holds anything else."""
    if not pa.types.is_integer(rows.schema.field(column).type) or rows[column].null_count:
        raise ValueError(f"{column} holds what is no whole number")
    values: Int64[np.ndarray, " rows"] = rows[column].to_numpy().astype(np.int64)
    return values


def floats(rows: pa.Table, column: str) -> Float64[np.ndarray, " rows"]:
    """A column with nan for what is unknown, or not finite.

    Raises: KeyError, if there is no such column; ValueError, if it holds no numbers.
    """
    kind = rows.schema.field(column).type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_null(kind)):
        raise ValueError(f"{column} holds what is no number")
    values = rows[column].to_numpy()
    values = (
        values.astype(np.float64)
        if values.dtype != object
        else np.array([np.nan if value is None else value for value in values], dtype=np.float64)
    )
    return np.where(np.isfinite(values), values, np.nan)
