"""What a document says of a simulated network: virtual time, absent peers, ages of messages, a few facts."""

import math
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np

from coordinator.documents.readers.ages import AGES, ROUNDS, heard, means
from coordinator.documents.readers.folder_reader import RunReader, stride_of
from coordinator.documents.readers.numbers import Kept, Number, scale_end
from coordinator.documents.readers.presence import Change, PresenceSoFar
from coordinator.documents.readers.run_rows import AGE, AGE_SECONDS, LOST, ONLINE, SECONDS

DIGITS = 7  # of a virtual second: two rounds of a long run still differ
MOST_ABSENCES = 20_000  # marked; of more none is
TOO_MANY = "Absences of peers are not marked: there are too many."


class NetworkPart:
    """The parts of a run's document that are there with a simulated network only; `is_there`: whether it has one."""

    def __init__(self, reader: RunReader, kept: Kept) -> None:
        self._reader, self._rows, self._kept = reader, reader.rows, kept
        seconds = {number: row[SECONDS] for number, row in self._rows.rounds.items() if SECONDS in row}
        self._seconds = {0: 0.0, **seconds} if seconds else {}
        self._numbers = np.array(sorted(self._seconds), dtype=np.int64)
        self._times = np.array([self._seconds[number] for number in sorted(self._seconds)], dtype=np.float64)

    @property
    def is_there(self) -> bool:
        config = self._reader.config
        return bool(self._seconds) or (config is not None and config.network is not None)

    def time(self, last: int | None) -> dict[str, Any]:
        """The virtual second at which rounds ended: `virtual` of the document. last: the last round, once it is known.

        Of many rounds every so many are listed; between two of them time passes evenly.
        """
        stride = stride_of(self._reader.total + 1, self._reader.limits.points)
        shown = [number for number in sorted(self._seconds) if number % stride == 0 or number == last]
        return {
            "name": "virtual time",
            "unit": "s",
            "rounds": shown,
            "seconds": [_precise(self._seconds[number]) for number in shown],
        }

    def absences(self) -> dict[int, list[dict[str, Any]]]:
        """Marks of the times that peers were offline, by peer."""
        if self._are_too_many:
            return {}
        since: dict[int, float] = {}
        marks: dict[int, list[dict[str, Any]]] = {}
        if not len(self._times):
            return marks
        for seconds, peer, online in self._presence:
            if not online:
                since.setdefault(peer, seconds)
            elif peer in since:
                marks.setdefault(peer, []).append(self._absence(since.pop(peer), seconds))
        for peer, seconds in since.items():
            marks.setdefault(peer, []).append(self._absence(seconds, None))
        return marks

    @property
    def note(self) -> str:
        """What is left out; empty if nothing is."""
        return TOO_MANY if self._are_too_many else ""

    @property
    def _are_too_many(self) -> bool:
        return len(self._presence) > 2 * MOST_ABSENCES

    @cached_property
    def _presence(self) -> list[Change]:
        """From the table that a run writes at its end; before, by the config, as far as virtual time has come."""
        if self._rows.presence or not len(self._times):
            return self._rows.presence
        config = self._reader.config
        so_far: PresenceSoFar = self._kept.of("presence", (config,), lambda: PresenceSoFar(config))
        return so_far.until(float(self._times[-1]))

    def link_colourings(self, frames: list[int]) -> list[dict[str, Any]]:
        """What links are coloured by beside their total variation: ages of the messages since the frame before.

        Where the single events are not known, the mean over the run at the last frame. In rounds only where messages of
        all peers count the same rounds.
        """
        ages, codes = self._rows.ages, self._rows.sample.links
        if ages.by_measurement:
            windows = list(zip([-1, *frames], frames, strict=False))
            known = [ages.between(*window) for window in windows]
            places = [place for place, sums in enumerate(known) if len(sums.codes)]
            rows = [means(known[place], codes) for place in places]
        elif ages.of_run is not None and frames:
            places, rows = [len(frames) - 1], [means(ages.of_run, codes)]
        else:
            return []
        found = []
        for number, age in enumerate(AGES):
            if age.unit == ROUNDS and self._counts_by_peer:
                continue
            values = [row[number] for row in rows]
            largest = max((value for row in values for value in row if value is not None), default=0)
            if largest > 0:
                words = {
                    "name": age.name,
                    "title": age.title,
                    "unit": age.unit,
                    "scale": [0, scale_end(float(largest))],
                }
                found.append({**words, "frames": places, "values": values})
        return found

    @property
    def _counts_by_peer(self) -> bool:
        """Whether every peer counts its own acts, as in gossip, so that a difference of two counts is no age."""
        config = self._reader.config
        return config is not None and config.network is not None and config.network.clock == "gossip"

    def messages(self, frames: list[int]) -> list[list[int]] | None:
        """How many messages were learned from along each link since the frame before; None while it is not known."""
        ages, codes = self._rows.ages, self._rows.sample.links
        if not ages.by_measurement:
            return None
        windows = zip([-1, *frames], frames, strict=False)
        return [heard(ages.between(*window), codes) for window in windows]

    def facts(self) -> list[list[str]]:
        """Virtual time, messages lost, mean age of messages: each as a name and a text."""
        last = max(self._seconds, default=0)
        if not last:
            return []
        seconds = self._seconds[last]
        facts = [["virtual time", f"{_short(seconds)} s, {_short(seconds / last)} s a round"]]
        lost = [row[LOST] for row in self._rows.rounds.values() if LOST in row]
        if any(lost):
            facts.append(["messages that did not arrive", f"{int(sum(lost)):,}"])
        ages = self._mean_ages()
        if ages:
            facts.append(["mean age of messages", ", ".join(ages)])
        return facts

    def _mean_ages(self) -> list[str]:
        """The mean age of messages in seconds, and in rounds where it is not 0; as the summary has it, once there is
        one.
        """
        network = self._reader.results.get("network")
        found = []
        for column, name, unit in ((AGE_SECONDS, "age_seconds", "s"), (AGE, "age_rounds", "rounds")):
            table = network.get(name) if isinstance(network, Mapping) else None
            mean = table.get("mean") if isinstance(table, Mapping) else None
            if not isinstance(mean, int | float):
                known = [row[column] for row in self._rows.rounds.values() if column in row]
                mean = sum(known) / len(known) if known else None
            if mean is not None and (mean or unit == "s"):
                words = _short(mean)
                found.append(f"{words} {unit.removesuffix('s') if words == '1' and unit != 's' else unit}")
        return found

    def curves(self) -> list[tuple[str, str, str]]:
        """The columns of the table of rounds that say anything: each with a title and a unit."""
        count = self._reader.num_peers
        found = [(AGE_SECONDS, "mean age of messages", "s")]
        found += [(ONLINE, "peers online", "")] if self._any(ONLINE, lambda value: value < count) else []
        found += [(LOST, "messages that did not arrive", "a round")] if self._any(LOST, lambda value: value > 0) else []
        return found

    def _any(self, column: str, holds: Any) -> bool:
        return any(holds(row[column]) for row in self._rows.rounds.values() if column in row)

    def _absence(self, since: float, until: float | None) -> dict[str, Any]:
        if until is None:
            return {"kind": "offline", "words": f"offline since {_short(since)} s", "from": self._round_at(since)}
        words = f"offline from {_short(since)} s to {_short(until)} s"
        return {"kind": "offline", "words": words, "from": self._round_at(since), "until": self._round_at(until)}

    def _round_at(self, seconds: float) -> Number:
        """The part of the run that was done by then, in rounds; what comes after it is past the last one."""
        if seconds <= 0:
            return 0
        if seconds > self._times[-1]:
            return int(self._numbers[-1]) + 1
        return _precise(float(np.interp(seconds, self._times, self._numbers)))


def _precise(value: float) -> Number:
    short = float(f"{value:.{DIGITS}g}")
    return int(short) if short.is_integer() else short


def _short(value: float) -> str:
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e7 else f"{value:.3g}" if math.isfinite(value) else "?"
