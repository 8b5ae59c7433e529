"""The links of a run's document: their total variation at each frame, and the messages since the frame before."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from coordinator.documents.network import NetworkPart
from coordinator.documents.readers.folder_reader import RunReader
from coordinator.documents.readers.graph import NOT_COUNTED
from coordinator.documents.readers.numbers import FINE_STEPS, Kept, Number, listed, scale_end
from coordinator.measures.declared import TOTAL_VARIATION


class Links:
    """What the document says of links. Each pair is listed once, if both directions are there in every round.

    dropped: the round after which a peer dropped out, by peer: from then on it neither hears nor is heard.
    """

    def __init__(self, reader: RunReader, kept: Kept, dropped: Mapping[int, int]) -> None:
        self._reader, self._kept = reader, kept
        self._graph, self._rows, self._codes = reader.graph, reader.rows, reader.rows.sample.links
        self._dropped = dropped

    def part(self, frames: list[int], network: NetworkPart) -> dict[str, Any]:
        """The entry `links` of the document, with a row for each frame; `colourings` only with a simulated network."""
        graph, count = self._graph, max(self._reader.num_peers, 1)
        pairs = self._kept.of(
            "pairs", (self._codes,), lambda: [[code // count, code % count] for code in self._codes.tolist()]
        )
        values = [self._values(frame) for frame in frames]
        known, heard = graph.counts_messages(self._reader.total), network.messages(frames)
        windows = zip([0, *frames], frames, strict=False)
        if known and heard is None:
            heard = [self._messages(after, until) for after, until in windows]
        notes = [graph.note or ("" if heard is not None else NOT_COUNTED), graph.layout_note, network.note]
        return {
            "list": pairs,
            "directed": not graph.both_ways,
            "left_out": self._rows.sample.count - len(self._codes),
            "note": " ".join(filter(None, notes)),
            "title": TOTAL_VARIATION.detail,
            "unit": "",
            "scale": [0, self._scale_end(frames)],
            "values": values,
            "messages": heard,
            **({"colourings": network.link_colourings(frames)} if network.is_there else {}),
        }

    def _values(self, frame: int) -> list[Number]:
        measured = self._rows.links.get(frame)
        return self._kept.of(("link", frame), (measured, self._codes), lambda: self._aligned(measured))  # type: ignore[no-any-return]

    def _aligned(self, measured: Any) -> list[Number]:
        """The values in the order of the list, None for links that were not measured."""
        values = np.full(len(self._codes), np.nan)
        if measured is not None and len(self._codes):
            codes, found = measured
            places = np.minimum(np.searchsorted(self._codes, codes), len(self._codes) - 1)
            listed_ones = self._codes[places] == codes
            values[places[listed_ones]] = found[listed_ones]
        return listed(values.tolist())

    def _messages(self, after: int, until: int) -> list[int]:
        gone = tuple((peer, last) for peer, last in sorted(self._dropped.items()) if last < until)
        return self._kept.of(  # type: ignore[no-any-return]
            ("messages", after, until, gone),
            (self._graph, self._codes),
            lambda: self._heard(after, until, gone),
        )

    def _heard(self, after: int, until: int, gone: Iterable[tuple[int, int]]) -> list[int]:
        """The messages along each link in the rounds of (after, until]; none once one of its ends is gone."""
        codes, count = self._codes, self._reader.num_peers
        found = np.array(self._graph.messages(codes, after, until), dtype=np.int64)
        last = np.full(count, until)
        for peer, completed in gone:
            last[peer] = completed
        of_link = np.minimum(last[codes // count], last[codes % count])
        for end in np.unique(of_link[of_link < until]).tolist():
            places = of_link == end
            found[places] = self._graph.messages(codes[places], after, max(after, end))
        heard: list[int] = found.tolist()
        return heard

    def _scale_end(self, frames: list[int]) -> Number:
        """A round number above the largest value of the first frame with any; it stays the same for the whole run."""
        first = next((values for frame in frames if (values := self._rows.links.get(frame)) is not None), None)
        known = first[1][~np.isnan(first[1])] if first is not None else np.zeros(0)
        return scale_end(float(known.max()) if len(known) else 0.0, FINE_STEPS)
