"""The graph of a run as its config tells it: the links, where peers are drawn, and the messages along each link."""

from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Int64

from coordinator.experiment.brought_topology import GivenTopology, ImportedTopology
from coordinator.experiment.config import RunConfig
from coordinator.planning.schedules import build_schedule
from peers.base.brought_errors import BroughtError
from topologies.layouts import Positions, has_waves, places, positions
from topologies.round import Round
from topologies.schedule import Schedule

Codes = Int64[np.ndarray, " links"]  # of links: teacher * number of peers + student
MOST_ROUNDS = 64  # of a period, whose links are kept
MOST_LINKS = 5_000_000  # of the graph, which would not fit
MOST_DRAWN = 500_000  # in all rounds of a run that have to be drawn again to count their messages
NOT_REBUILT = "the links are those that were measured; the graph itself was given from Python or is not to be had here"
WAVES = "The circle is drawn in waves, so that {} peers have room."
NOT_COUNTED = "the messages of each link are not counted: there are too many rounds with links of their own"


@dataclass
class Graph:
    """Who teaches whom. schedule: None if it cannot be built from the config alone; `note` says why.

    base: the links of the rounds that repeat, else of the first round. both_ways: for every link there is the opposite
    one, in every round: pairs are then listed once, from the lower peer to the higher one. known: the links of rounds
    that repeat, twice for a pair that is listed once. mean_messages: of these rounds; None if they are drawn anew.
    """

    num_peers: int
    kind: str
    schedule: Schedule | None
    note: str = ""
    base: Codes = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    both_ways: bool = False
    known: dict[int, Codes] = field(default_factory=dict)
    mean_messages: float | None = None
    _windows: dict[tuple[int, int], tuple[Codes, Codes]] = field(default_factory=dict)

    def canonical(self, teachers: Codes, students: Codes) -> Codes:
        """The codes of links; of a pair the same in both directions, if it is listed once."""
        if self.both_ways:
            teachers, students = np.minimum(teachers, students), np.maximum(teachers, students)
        codes: Codes = teachers * self.num_peers + students
        return codes

    def places(self, measured: Codes) -> list[list[float]]:
        """A place for each peer in the unit square, y down. measured: links that were seen, if no schedule is known."""
        if self.schedule is not None:
            with suppress(BroughtError, ValueError):  # of a round of a user's
                return _rounded(places(self.schedule, self.kind))
        codes = self.base if self.schedule is not None else measured
        pairs = zip((codes // self.num_peers).tolist(), (codes % self.num_peers).tolist(), strict=True)
        return _rounded(positions(self.num_peers, pairs, self.kind))

    @property
    def layout_note(self) -> str:
        """Why a circle does not look like one; empty if it does."""
        return WAVES.format(f"{self.num_peers:,}") if has_waves(self.num_peers, self.kind) else ""

    def counts_messages(self, total: int) -> bool:
        """Whether the messages of each link are counted, in a run of so many rounds."""
        if self.schedule is None:
            return False
        return bool(self.known) or total * len(self.base) <= MOST_DRAWN

    def links(self, after: int, until: int) -> Codes:
        """The different links of the rounds that were completed in (after, until], ascending."""
        return self._window(after, until)[0]

    def messages(self, links: Codes, after: int, until: int) -> list[int]:
        """The messages along each of the links (ascending) in the rounds that were completed in (after, until]."""
        if (after, until) not in self._windows:
            self._windows[after, until] = self._window(after, until)
        codes, counts = self._windows[after, until]
        found = np.zeros(len(links), dtype=np.int64)
        places = np.searchsorted(links, codes)
        inside = places < len(links)
        inside[inside] = links[places[inside]] == codes[inside]
        found[places[inside]] = counts[inside]
        listed: list[int] = found.tolist()
        return listed

    def _window(self, after: int, until: int) -> tuple[Codes, Codes]:
        """The links of the rounds with these indices, ascending, and how often each was there."""
        assert self.schedule is not None
        period = self.schedule.period or max(until - after, 1)
        codes, times = [], []
        for index in range(after, min(after + period, until)):
            of_round = self._at(index % period if self.schedule.period else index)
            codes.append(of_round)
            times.append(np.full(len(of_round), len(range(index, until, period)), dtype=np.int64))
        if not codes:
            return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
        found, places = np.unique(np.concatenate(codes), return_inverse=True)
        return found, np.bincount(places.ravel(), np.concatenate(times), len(found)).astype(np.int64)

    def _at(self, round_index: int) -> Codes:
        """The codes of a round's links, twice for a pair that is listed once; none of a round that cannot be built."""
        assert self.schedule is not None
        if round_index in self.known:
            return self.known[round_index]
        try:
            return self.canonical(*_ends(self.schedule(round_index)))
        except (BroughtError, ValueError):  # of a user's
            return np.zeros(0, dtype=np.int64)


def graph_of(config: RunConfig | None, num_peers: int, schedule: Schedule | None = None) -> Graph:
    """The graph of a run; without a schedule if the folder cannot tell it: no code of a user's is run for a page.

    schedule: the run's, where it is at hand.
    """
    if config is None or (schedule is None and isinstance(config.topology, ImportedTopology | GivenTopology)):
        return Graph(num_peers, "", None, NOT_REBUILT)
    try:
        schedule = schedule or build_schedule(config)
        if schedule.facts is not None and schedule.facts.edges > MOST_LINKS:
            return Graph(num_peers, config.topology.kind, None, NOT_COUNTED)
        graph = Graph(num_peers, config.topology.kind, schedule)
        rounds = [schedule(index) for index in range(min(schedule.period or 1, MOST_ROUNDS))]
    except (BroughtError, ValueError, OSError) as error:  # such as a file of links that is gone
        return Graph(num_peers, "", None, f"{NOT_REBUILT} ({str(error).splitlines()[0][:200]})")
    ends = [_ends(each) for each in rounds]
    repeats = schedule.period is not None and schedule.period <= MOST_ROUNDS
    graph.both_ways = repeats and all(_is_symmetric(num_peers, *each) for each in ends)
    codes = [graph.canonical(*each) for each in ends]
    graph.base = distinct(np.concatenate(codes))
    if repeats:
        graph.known = dict(enumerate(codes))
        graph.mean_messages = sum(map(len, codes)) / len(codes)
    return graph


def _rounded(found: Positions) -> list[list[float]]:
    return [[round(x, 4), round(y, 4)] for x, y in found.tolist()]


def _ends(round_: Round) -> tuple[Codes, Codes]:
    """Teachers and students of a round's links, without those of peers to themselves."""
    arrays = round_.arrays()
    between = arrays.teachers != arrays.students
    return arrays.teachers[between], arrays.students[between]


def _is_symmetric(num_peers: int, teachers: Codes, students: Codes) -> bool:
    return np.array_equal(np.sort(teachers * num_peers + students), np.sort(students * num_peers + teachers))


def distinct(codes: Codes) -> Int64[np.ndarray, " distinct"]:
    """The different ones, ascending: by sorting, many times as fast as `np.unique` for millions."""
    ordered = np.sort(codes)
    found: Int64[np.ndarray, " distinct"] = ordered[np.diff(ordered, prepend=-1) != 0]
    return found
