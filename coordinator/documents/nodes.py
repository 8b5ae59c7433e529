"""The peers of a run's document: where they are drawn, what they are, and their values at the rounds of the frames."""

from collections.abc import Mapping
from functools import cached_property, partial
from typing import Any

import numpy as np
from jaxtyping import Float64

from coordinator.documents.readers.folder_reader import RunReader, stride_of
from coordinator.documents.readers.numbers import Kept, Number, listed, scale_end
from coordinator.documents.readers.run_rows import MEASURES
from coordinator.documents.readers.status_files import RUNNING
from coordinator.measures.declared import PEER, Measure
from coordinator.measures.gains import Condition
from coordinator.measures.subjects import honest
from coordinator.measures.verdict import COLLAPSED_SHARE
from coordinator.records.files.probe_curves import SUFFIX
from coordinator.reports.settings import lie
from coordinator.reports.wording import probe_name
from peers.base.brought import called
from peers.networks.config import PeerKind

PROBES = ("linear", "knn", "top1", "sgd")  # the first one that is known colours the peers
FIRST = "mean_entropy"  # colours them until then
FEW = (FIRST, "rankme", "feature_std", "weight_change")  # of very many peers
COLLAPSES = tuple(measure for measure in PEER if measure.collapse_below is not None)
Values = Float64[np.ndarray, " peers"]
Mark = dict[str, Any]


class Nodes:
    """What the document says of each peer.

    frames: the rounds that are shown, ascending. Of many, every so many are, and the last one of a run that has ended:
    so a frame that is shown stays.
    """

    def __init__(self, reader: RunReader, kept: Kept) -> None:
        self._reader, self._rows, self._kept = reader, reader.rows, kept
        self.dropped = _dropped(reader)
        self.frames = self._shown(self._measured)

    @property
    def left(self) -> dict[int, int]:
        """The round after which a peer dropped out, by peer."""
        return {peer: after for peer, (after, _) in self.dropped.items() if peer < self._reader.num_peers}

    @cached_property
    def liars(self) -> frozenset[int]:
        return self._reader.config.peers.liars if self._reader.config is not None else frozenset()

    @cached_property
    def counted(self) -> list[int]:
        """The peers that means are about: honest ones that have not dropped out."""
        return [peer for peer in honest(range(self._reader.num_peers), self.liars) if peer not in self.dropped]

    @cached_property
    def students(self) -> list[int]:
        """The honest peers that have studied and have not dropped out; where nobody has, all that are not frozen."""
        frozen = self._reader.config.peers.frozen if self._reader.config is not None else ()
        alive = [peer for peer in self.counted if peer not in frozen]
        return [peer for peer in alive if np.isfinite(self._rows.began[peer])] or alive

    def baseline(self, probe: str) -> Values | None:
        """The accuracy of each peer's calibrated self, nan where it is unknown; None if nobody's is known."""
        reader = self._reader
        found = np.full(reader.num_peers, np.nan)
        known = accuracies_so_far(reader, Condition.CALIBRATED, probe)
        if known is not None:
            found = known
        else:
            gained = _table(_table(_table(reader.results, "probes"), probe), "peers")
            last = self._rows.peers.get(f"{probe}{SUFFIX}", {}).get(reader.completed)
            for peer, gain in zip(gained.get("peer", ()), gained.get("gain", ()), strict=False):
                if last is not None and 0 <= peer < len(found) and gain is not None:
                    found[peer] = last[peer] - gain
        if np.isnan(found).all():
            return None
        same: Values = self._kept.of(
            ("baseline", probe, found.tobytes()), (), lambda: found
        )  # one object if it is equal
        return same

    def peers(self, absences: Mapping[int, list[Mark]]) -> dict[str, Any]:
        """Count, positions, groups and marks. absences: marks by peer of the times that it was offline."""
        reader, sample = self._reader, self._rows.sample
        links = reader.graph.base if reader.graph.schedule is not None else sample.links
        places = self._kept.of("positions", (reader.graph, links), lambda: reader.graph.places(links))
        groups, names, group_of = _groups(reader)
        return {
            "count": reader.num_peers,
            "positions": places if reader.num_peers else [],
            "groups": groups,
            "group_names": names,
            "group_of": group_of,
            "marks": self._marks(absences),
        }

    def colourings(self) -> list[dict[str, Any]]:
        """The gains over calibrated that are known, then the measures of single peers."""
        found = [entry for probe in PROBES for entry in self._gain(probe)]
        names = [name for name in MEASURES if name in self._rows.peers]
        if self._is_large:
            names = [name for name in FEW if name in names]
        names.sort(key=lambda name: name != FIRST)
        declared = {measure.name: measure for measure in PEER}
        return found + [self._measure(declared[name]) for name in names]

    def written(self, column: str, frame: int, less: Values | None = None, factor: float = 1.0) -> list[Number]:
        """A column's values at a round, less those of an array, times a factor."""
        row = self._rows.peers[column][frame]
        values: list[Number] = self._kept.of(
            (column, frame, factor, less is None),
            (row, less),
            lambda: listed(((row - less if less is not None else row) * factor).tolist()),
        )
        return values

    @cached_property
    def _measured(self) -> list[int]:
        rows = self._rows
        columns = [*MEASURES, *(f"{probe}{SUFFIX}" for probe in PROBES)]
        return sorted({*rows.links}.union(*(rows.peers.get(column, {}) for column in columns)))

    @cached_property
    def expected(self) -> int:
        """How many frames a run will have had at its end; known before they come."""
        config, total = self._reader.config, self._reader.total
        if config is None:
            return len(self._measured)
        every = [count for count in (config.evaluation.every, config.evaluation.probe_every) if count > 0]
        return 2 + sum(total // count for count in every)

    @property
    def _is_large(self) -> bool:
        """Whether there are so many peers that only a few of their measures are shown."""
        size = self._reader.num_peers * len(MEASURES) * self.expected
        return size > self._reader.limits.numbers_of_peers

    def _shown(self, rounds: list[int]) -> list[int]:
        limits, count = self._reader.limits, max(self._reader.num_peers, 1)
        columns = 2 + (len(FEW) if self._is_large else len(MEASURES))
        of_peers = stride_of(self.expected, limits.numbers_of_peers // (count * columns))
        of_links = stride_of(self.expected, limits.numbers_of_links // max(len(self._rows.sample.links), 1))
        stride = max(of_peers, of_links)
        last = self.last_of(rounds)
        return [frame for place, frame in enumerate(rounds) if place % stride == 0 or frame == last]

    def last_of(self, rounds: list[int]) -> int | None:
        """The round that is shown as the last one: of a run that goes on, only if it is the last of all."""
        if not rounds or (self._reader.status == RUNNING and rounds[-1] < self._reader.total):
            return None
        return rounds[-1]

    def _gain(self, probe: str) -> list[dict[str, Any]]:
        column, base = f"{probe}{SUFFIX}", self.baseline(probe)
        known = [place for place, frame in enumerate(self.frames) if frame in self._rows.peers.get(column, {})]
        if base is None or not known:
            return []
        values = [self.written(column, self.frames[place], base, 100.0) for place in known]
        end = max(scale_end(self._largest(values)) or 1, 1)
        return [
            {
                "name": f"{probe}_gain",
                "title": f"{probe_name(probe)} gain over calibrated",
                "unit": "points",
                "scale": [-end, end],
                "kind": "diverging",
                "frames": known,
                "values": values,
            }
        ]

    def _largest(self, values: list[list[Number]]) -> float:
        """The largest size of a value, without peers that drop out: theirs would leave the others one colour."""
        alive = [peer for peer in range(self._reader.num_peers) if peer not in self.dropped]
        sizes = (abs(row[peer] or 0) for row in values for peer in alive)
        return float(max(sizes, default=0))

    def _measure(self, measure: Measure[Any]) -> dict[str, Any]:
        of_measure = self._rows.peers[measure.name]
        known = [place for place, frame in enumerate(self.frames) if frame in of_measure]
        values = [self.written(measure.name, self.frames[place]) for place in known]
        return {
            "name": measure.name,
            "title": measure.title,
            "unit": measure.unit.name,
            "scale": [0, scale_end(self._largest(values))],
            "kind": "sequential",
            "frames": known,
            "values": values,
        }

    def _marks(self, absences: Mapping[int, list[Mark]]) -> dict[str, list[Mark]]:
        marks: dict[str, list[Mark]] = {}
        for peer, (after, reason) in sorted(self.dropped.items()):
            words = f"dropped in round {after}: {reason}"
            seen = min(after, self._reader.completed)  # of a run that ended in this round
            marks.setdefault(str(peer), []).append({"kind": "dropped", "words": words, "from": seen})
        for peer, since in sorted(self._collapsed_since().items()):
            words = f"collapsed since round {since}: the outputs or features tell images apart no more"
            marks.setdefault(str(peer), []).append({"kind": "collapsed", "words": words, "from": since})
        for peer in self._reader.config.peers.frozen if self._reader.config is not None else ():
            frozen = {"kind": "frozen", "words": "frozen: teaches and never learns", "from": 0}
            marks.setdefault(str(peer), []).append(frozen)
        for some in self._reader.config.peers.adversaries if self._reader.config is not None else ():
            for peer in some.peers:
                words = f"lies to its students: {lie(some.model_dump(mode='json'))}; no mean counts it"
                marks.setdefault(str(peer), []).append({"kind": "lying", "words": words, "from": some.from_round})
        for peer, times in sorted(absences.items()):
            marks.setdefault(str(peer), []).extend(times)
        return marks

    def _collapsed_since(self) -> dict[int, int]:
        """The frame since which a student is collapsed, by peer: by the rule for the median, on it alone."""
        columns = [self._rows.peers.get(measure.name, {}) for measure in COLLAPSES]
        frames = [frame for frame in self.frames if all(frame in column for column in columns)]
        since: dict[int, int] = {}
        students = set(self.students)
        for frame in frames[1:]:
            first, now = ([column[each] for column in columns] for each in (frames[0], frame))
            fallen = self._kept.of(("collapsed", frame), (*first, *now), partial(_fallen, first, now))
            since = {peer: since.get(peer, frame) for peer in fallen if peer in students}
        return since


def accuracies_so_far(reader: RunReader, condition: Condition, probe: str) -> Values | None:
    """Each peer's accuracy in a condition, as far as a run knows it while it goes on, nan of one that is not probed.

    None if nobody's is known.
    """
    known = _table(_table(reader.progress, "probes"), condition).get(probe)
    peers = reader.progress.get("probed")
    rows = np.arange(reader.num_peers) if peers is None else np.array(peers, dtype=np.int64)
    if not isinstance(known, list) or len(known) != len(rows) or (rows >= reader.num_peers).any():
        return None
    found = np.full(reader.num_peers, np.nan)
    found[rows] = known
    return found


def _fallen(first: list[Values], now: list[Values]) -> list[int]:
    """The peers that have collapsed between two frames, from the columns of `COLLAPSES`: by `collapsed`, each alone."""
    fallen = np.zeros(len(now[0]), dtype=bool)
    for measure, before, after in zip(COLLAPSES, first, now, strict=True):
        assert measure.collapse_below is not None
        fallen |= (after < measure.collapse_below) & (after < COLLAPSED_SHARE * before)
    found: list[int] = np.flatnonzero(fallen).tolist()
    return found


def _groups(reader: RunReader) -> tuple[list[str], list[str], list[int]]:
    """The different groups of peers: what they are made of in words, what they are called; and which each peer is in.

    Groups without a name that are alike are one.
    """
    if reader.config is None:
        return [], [], []
    peers = reader.config.peers
    kinds: list[tuple[PeerKind, int]] = [(group, group.count) for group in peers.groups] or [(peers, peers.count)]
    made = [_made_of(kind) for kind, _ in kinds]
    names = [getattr(kind, "name", "") for kind, _ in kinds]
    words = [f"{name}: {what}" if name else what for name, what in zip(names, made, strict=True)]
    called_ = dict(zip(words, (name or what for name, what in zip(names, made, strict=True)), strict=True))
    found = list(called_)
    return (
        found,
        list(called_.values()),
        [found.index(word) for word, (_, count) in zip(words, kinds, strict=True) for _ in range(count)],
    )


def _made_of(kind: PeerKind) -> str:
    """Network, norm, head and view of a peer, in words."""
    sees = f", sees {' '.join(called(step) for step in kind.view)}" if kind.view else ""
    return f"{called(kind.model)}, {kind.norm} norm, {called(kind.head)} head{sees}"


def _dropped(reader: RunReader) -> dict[int, tuple[int, str]]:
    """The round after which a peer dropped out, and the reason, by peer."""
    found = {}
    for peer, failure in _table(reader.results, "not_finite").items() or _table(reader.progress, "dropped").items():
        if str(peer).isdecimal() and isinstance(failure, dict) and isinstance(failure.get("round"), int):
            found[int(peer)] = failure["round"], str(failure.get("reason", ""))
    return found


def _table(table: dict[str, Any], key: str) -> dict[str, Any]:
    found = table.get(key)
    return found if isinstance(found, dict) else {}
