"""The table of peers of a long run of many: rows of the measured rounds only, which is told."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from coordinator import load_config, simulate
from coordinator.records.events import Note, RunEvent
from coordinator.records.files import tables


class Notes(list[str]):
    def observe(self, event: RunEvent) -> None:
        if isinstance(event, Note):
            self.append(event.text)


def rows(small: dict[str, Any], folder: Path, notes: Notes) -> list[tuple[int, int, float]]:
    config = load_config(small, ["evaluation.controls=[]", "evaluation.every=3"])
    table = pq.read_table(simulate(config, folder, [notes]).folder / "metrics" / "peers.parquet").to_pylist()
    return [(row["round"], row["peer"], row["loss"]) for row in table if row["loss"] is not None]


def test_tables__too_many_rows_are_thinned(
    small: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = rows(small, tmp_path / "whole", none := Notes())
    assert {number for number, _, _ in whole} == set(range(1, 9)) and not none
    monkeypatch.setattr(tables, "MOST_ROWS", 3 * 8 - 1)
    thin = rows(small, tmp_path / "thin", told := Notes())
    assert thin == [row for row in whole if row[0] in (3, 6, 8)]
    assert len(told) == 1 and "24 rows" in told[0]


def test_thinned__alone_matched_needs_the_norms_of_every_round(
    small: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "MOST_ROWS", 1)
    assert tables.thinned(load_config(small, [])) and not tables.thinned(
        load_config(small, ['evaluation.controls=["alone-matched"]'])
    )
