"""The page of an ablation: what it comes to first, its tables, and names that try to be more than names."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from coordinator.ablations.comparisons.comparison import compare
from coordinator.ablations.comparisons.estimates import Comparison
from coordinator.ablations.page import ABLATION_FIGURES, render_ablation

Read = Callable[[str], Any]
ALONE = "probes.knn.over_alone.mean"
MEASURES = ("probes.knn.gain", "consensus.relative_distance.last")
HEBREW = "\u05d0\u05d1 \u05d2"
HOSTILE = (
    "<script>alert(1)</script>",
    "\u202eevil",
    "n" * 100,
    "\"a\" 'b'",
    "[bold]x",
    "{{ 7*7 }}",
    "\u05d0\u05d1 \u05d2",
)


def rows_of(cells: dict[str, tuple[float, float]]) -> list[dict[str, Any]]:
    return [
        {"cell": cell, "seed": seed, "status": "finished", MEASURES[0]: gain + 0.001 * seed, MEASURES[1]: distance}
        for cell, (gain, distance) in cells.items()
        for seed in (0, 1, 2)
    ]


@pytest.fixture
def comparison() -> Comparison:
    return compare(rows_of({"a < b": (0.1, 0.5), "ring": (0.0, 0.25)}), ["a < b", "ring"], "ring", MEASURES)


def page(found: Comparison, folder: Path, **values: Any) -> str:
    given = {"title": "t", "asked": [], "command": "x", "config_text": "", **values}
    return render_ablation(given.pop("title"), given.pop("asked"), found, folder, **given)


def cells_of(text: str) -> list[list[str]]:
    """The texts of the cells of every row of every table, their lines joined by a bar."""
    rows = re.findall(r'<tr role="row">(.*?)</tr>', text.replace("<br>", "|"), re.DOTALL)
    cells = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL) for row in rows]
    return [[re.sub(r"<[^>]*>", "", cell) for cell in row] for row in cells]


def test_render_ablation__flags_stand_in_the_estimates(tmp_path: Path, read_page: Read) -> None:
    rows = [
        {"cell": cell, "seed": seed, "status": "finished", "flags": flags if seed else "", ALONE: gain + 0.001 * seed}
        for cell, flags, gain in (("ring", "artefact, collapsed", 0.0), ("self", "", 0.0))
        for seed in (0, 1, 2)
    ]
    found = compare(rows, ["ring", "self"], "self", [ALONE])
    text = page(found, tmp_path)
    assert ["cell", "kNN over alone (points)", "flags"] in cells_of(text)
    assert any(row[0] == "ring" and row[2] == "artefact 2/3|collapsed 2/3" for row in cells_of(text))
    assert "no difference" in text and "Flags: collapsed: " in read_page(text).text
    assert "Differences" not in text  # a gain over another control has none


def test_render_ablation__everything_is_there_and_escaped(
    tmp_path: Path, comparison: Comparison, read_page: Read
) -> None:
    for name in ("cka", "estimates", "unknown"):
        (tmp_path / f"{name}.png").write_bytes(name.encode())
    asked, failed, command = [("Varied", "axis <x>")], ["'a < b', seed 2: lost"], "peer-consensus ablate a&b.toml"
    config = '[grid]\n"topology.kind" = ["<ring>"]'
    text = page(comparison, tmp_path, title="<quick>", asked=asked, command=command, config_text=config, failed=failed)
    reader = read_page(text)
    for said in ("<quick>", "Varied", "axis <x>", *comparison.headline, *comparison.words, *failed, command, config):
        assert said in reader.text, said
    first, second = (each["alt"] for each in reader.of("img"))  # the estimates come first, whatever the folder's order
    assert (first, second) == (ABLATION_FIGURES["estimates"][0], ABLATION_FIGURES["cka"][0])
    rows = cells_of(text)
    assert rows[2] == ["ring (reference)", "+0.1 (-0.1 to +0.3)|not distinguishable", "0.25 (all seeds equal)"]
    assert ["a < b".replace("<", "&lt;"), "+10.0 (all seeds equal)", "3", "", "", ""] in rows  # a difference, in points
    assert len(reader.of("table")) == 1 + len(MEASURES) and "flags" not in rows[0]


def test_render_ablation__order(tmp_path: Path, comparison: Comparison, read_page: Read) -> None:
    """What it comes to, what failed, forest, table; caveats are folded, and say nothing that stands above."""
    (tmp_path / "estimates.png").write_bytes(b"x")
    text = page(comparison, tmp_path, failed=["ring, seed 7: lost"])
    first = comparison.headline[0].replace("'", "&#39;").replace("<", "&lt;")
    places = [
        text.index(part) for part in (first, "seed 7", "<img", "<table", "Differences from", "<details", "Run it")
    ]
    assert places == sorted(places) and len(places) == 7
    folded = re.findall(r"<details.*?</details>", text, re.DOTALL)
    assert comparison.words[0][:40] in folded[0] and len(comparison.words) <= 10
    assert "<details" not in text[: text.index("seed 7")]  # what failed stays visible
    assert not set(comparison.headline) & set(comparison.words)


def test_render_ablation__of_one_cell_a_row_a_measure_and_its_verdicts(tmp_path: Path, read_page: Read) -> None:
    rows = [{**row, ALONE: 0.02 + 0.001 * row["seed"], "flags": "artefact"} for row in rows_of({"ring": (0.1, 0.5)})]
    found = compare(rows, ["ring"], "ring", [*MEASURES, ALONE])
    (tmp_path / "estimates.png").write_bytes(b"x")
    text = page(found, tmp_path)
    reader = read_page(text)
    items = re.findall(r'<li class="(\w+)">(.*?)</li>', text, re.DOTALL)
    said = [(tone, *re.sub(r"<[^>]*>", "", inner).split("\n")) for tone, inner in items]
    assert said == [
        ("good", "▲", "kNN over calibrated", "+10.1 (+9.9 to +10.3)", "learned"),
        ("good", "▲", "kNN over alone", "+2.1 (+1.9 to +2.3)", "another function teaches"),
    ]
    table = cells_of(text)
    assert table[0] == ["measure", "mean", "95% interval", "p (Holm)", "verdict"]
    assert table[1] == ["kNN gain (points)", "+10.1", "+9.9 to +10.3", "&lt; 0.001", "learned"]
    assert table[2][:3] == ["disagreement at the end", "0.5", "all seeds equal"]
    assert table[-1] == ["flags (runs)", "", "", "", "artefact 3/3"]
    assert found.headline[0] not in reader.text and "Differences" not in reader.text
    assert "Filled: told from 0 after Holm's correction" in reader.text  # as its axis says


def test_render_ablation__one_cell_and_one_seed(tmp_path: Path, read_page: Read) -> None:
    rows = [{"cell": "ring", "seed": 0, "status": "finished", MEASURES[0]: 0.01}]
    alone = compare(rows, ["ring"], "ring", MEASURES)
    reader = read_page(page(alone, tmp_path))
    assert "Differences" not in reader.text and "Failed runs" not in reader.text and not reader.of("img")
    assert "+1.0" in reader.text and "unknown" in reader.text  # a measure that no run has
    assert alone.headline[0] in reader.text  # why there is no verdict


@pytest.mark.parametrize("hostile", HOSTILE)
def test_render_ablation__names_come_back_as_text(hostile: str, tmp_path: Path, read_page: Read) -> None:
    """The page of plain names and that of hostile ones have the same elements, and texts that differ by these alone."""
    pages = []
    for prefix in ("", hostile):
        cells = {f"{prefix}Q1Z": (0.1, 0.5), f"{prefix}Q2Z": (0.0, 0.25), f"{prefix}Q3Z": (-0.1, 0.3)}
        rows = rows_of(cells)
        rows[0][MEASURES[1]], rows[4][MEASURES[0]] = 0.7, 0.02
        found = compare(rows, list(cells), f"{prefix}Q2Z", MEASURES)
        asked = [(f"{prefix}Q4Z", f"{prefix}Q5Z = {prefix}Q6Z, 3")]
        failed = [f"{name}, seed 9: lost {prefix}Q7Z (after 3 s)" for name in cells]
        title, config = f"{prefix}Q8Z", f"a = '{prefix}Q9Z'"
        text = page(found, tmp_path, title=title, asked=asked, failed=failed, command=config, config_text=config)
        pages.append(read_page(text))
    plain, other = pages
    marks = re.findall("Q[0-9]Z", plain.text)
    assert {int(mark[1]) for mark in marks} == set(range(1, 10)) and len(marks) > 25
    quoted = re.sub("'?(Q[0-9]Z)'?", r"\1", plain.text)
    unquoted = re.sub(f"'?({re.escape(hostile)}Q[0-9]Z)'?", r"\1", other.text)
    assert unquoted == re.sub("(Q[0-9]Z)", lambda mark: hostile + mark[0], quoted)
    assert [tag for tag, _ in plain.tags if tag != "bdi"] == [tag for tag, _ in other.tags if tag != "bdi"]
    for piece, isolated in other.pieces:
        assert isolated or not set(piece) & {*"\u202e\u05d0\u05d1\u05d2"}, piece
