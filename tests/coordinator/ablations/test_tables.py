"""What an ablation prints: tables that fit every width, a few lines of words, names as they are."""

import io
from pathlib import Path
from typing import Any

import pytest

from coordinator.ablations.ablate import AblationResult
from coordinator.ablations.comparisons.attacks import Attacked, AttackRow
from coordinator.ablations.comparisons.comparison import compare
from coordinator.ablations.comparisons.estimates import Comparison
from coordinator.ablations.console import print_ablation, print_cells
from coordinator.ablations.grids.grid import load_ablation
from coordinator.ablations.tables import print_comparison
from coordinator.measures.gains import Gain, GainMeasure
from coordinator.measures.statistics import estimate
from coordinator.records.files.result import Status
from coordinator.records.plain_text import PlainConsole, visible

KNN, ALONE, LINEAR = "probes.knn.gain", "probes.knn.over_alone.mean", "probes.linear.gain"
DISTANCE, SENT = "consensus.relative_distance.last", "bytes_exchanged"
LONG = "random-teachers, peers.count=128, exchange.target.kind=standardise"
HOSTILE = ("[bold]x[/bold] :smile:", "\u202eevil", "\x1b[31mred", "<script>", "n" * 100)


def console(width: int) -> PlainConsole:
    return PlainConsole(file=io.StringIO(), width=width, force_terminal=True, color_system=None)


def text_of(made: PlainConsole) -> str:
    assert isinstance(made.file, io.StringIO)
    return made.file.getvalue()


def printed(comparison: Comparison, width: int) -> list[str]:
    made = console(width)
    print_comparison(comparison, made)
    return text_of(made).splitlines()


def rows_of(cells: tuple[str, ...], flags: str = "") -> list[dict[str, Any]]:
    """Three seeds of each cell, of which one lacks some values; the numbers are as wide as they get."""
    values = {KNN: [-0.55, -0.551, None], ALONE: [0.25, 0.251, None], LINEAR: [-0.1, 0.1, None]}
    return [
        {"cell": cell, "seed": seed, "status": "finished", "flags": flags}
        | {name: each[seed] for name, each in values.items()}
        | {SENT: 1.2e9 * (seed + 1) * (place + 1), DISTANCE: 0.5}
        for place, cell in enumerate(cells)
        for seed in range(3)
    ]


def comparison_of(cells: tuple[str, ...]) -> Comparison:
    rows = rows_of(cells, flags="control-not-finite, dropped-peers")
    return compare(rows, cells, cells[-1], [KNN, ALONE, LINEAR, SENT, DISTANCE])


@pytest.mark.parametrize("width", [40, 47, 60, 80, 120, 200])
@pytest.mark.parametrize("cells", [("ring",), ("ring", "self"), (LONG, "the reference, with a long name too")])
def test_print_comparison__every_word_at_every_width(cells: tuple[str, ...], width: int) -> None:
    ours = comparison_of(cells)
    lines = printed(ours, width)
    assert max(map(len, lines)) <= width and not any("…" in line for line in lines)
    narrow = {word for line in _tables(lines) for word in line.split()}
    wide = {word for line in _tables(printed(ours, 1000)) for word in line.split()}
    assert {word for word in wide if word[0] in "+-<" or word[0].isdigit()} <= narrow and len(wide) > 20
    together = "".join("".join(lines).split())
    assert together.count("(2/3)") >= 3 * len(cells) and together.count("3/3") == 2 * len(cells)
    for cell in cells if len(cells) > 1 else ():
        assert "".join(cell.split()) in together or any(
            cell.startswith(line.split()[0]) for line in lines if line.strip()
        )


def _tables(lines: list[str]) -> list[str]:
    return lines[: len(lines) - len(_words(lines))]


def _words(lines: list[str]) -> list[str]:
    """The lines beneath the last empty one."""
    return lines[len(lines) - [*reversed(lines), ""].index("") :]


@pytest.mark.parametrize("width", [60, 80, 160])
@pytest.mark.parametrize("cells", [("ring",), ("ring", "line", "self")])
def test_print_comparison__five_lines_of_words_at_most(cells: tuple[str, ...], width: int) -> None:
    """What it comes to, and caveats as whole sentences: the weightiest first."""
    ours = comparison_of(cells)
    words = _words(printed(ours, width))
    assert 1 <= len(words) <= 5 and len(ours.headline) + len(ours.words) > 4
    said = " ".join(line.strip() for line in words)
    kept = [line for line in (*ours.headline, *ours.words) if line in said]
    assert said == " ".join(kept) and ours.headline[0] in kept


def test_print_comparison__rows() -> None:
    ours = comparison_of(("ring", "frozen=[0]"))
    rows = [line.split() for line in printed(ours, 100)]
    reference = next(row for row in rows if row[:1] == ["frozen=[0]"])
    assert reference[:7] == ["frozen=[0]", "*", "-55.0", "(2/3)", "-55.7", "to", "-54.4"]
    assert ["ring", "0.5", "all", "seeds", "equal"] in rows
    assert ["ring", "control-not-finite", "3/3"] in rows
    one = [line.strip() for line in printed(comparison_of(("ring",)), 100)]
    assert any(line.startswith("flags (runs)") and line.endswith("control-not-finite 3/3") for line in one)


@pytest.mark.parametrize("width", [40, 80, 200])
def test_print_ablation__names_are_printed_as_they_are(width: int, tmp_path: Path) -> None:
    """Cells, errors and folders: no markup, nothing that steers the terminal, nothing lost."""
    folder = tmp_path / "[bold]runs"
    rows = rows_of(HOSTILE)
    failed = [{"cell": name, "seed": 9, "status": "failed", "error": f"lost {name}"} for name in HOSTILE]
    comparison = compare(rows, HOSTILE, HOSTILE[0], [KNN, DISTANCE])
    made = console(width)
    print_ablation(AblationResult(Status.FAILED, folder, [*rows, *failed], comparison), made)
    text = text_of(made)
    assert "\x1b" not in text and "\u202e" not in text
    lines = text.splitlines()
    assert max(len(line) for line in lines if str(tmp_path) not in line) <= width
    together = "".join(text.split())
    for name in HOSTILE:
        shown = "".join(visible(name).split())
        assert f"failed:{shown},seed9:lost{shown}" in together
        assert together.count(shown) >= 4 if width >= 200 else shown[:12] in together
    assert f"report   {folder}/report.html" in text and "watch    peer-consensus watch " in text


@pytest.mark.parametrize("width", [40, 80, 200])
def test_print_cells__every_width_and_every_name(width: int) -> None:
    names, roots = ["n" * 60, "ring", "short"], ["[bold]x", "'quoted'", ":smile:"]
    base = {"data": {"kind": "cifar10"}, "topology": {"kind": "ring"}, "seeds": [0, 1]}
    made = console(width)
    print_cells(load_ablation({**base, "zip": {"run.name": names, "data.root": roots}}), made)
    text = text_of(made)
    assert max(map(len, text.splitlines())) <= width and "…" not in text
    assert all(root[:5] in text for root in roots) and "n" * 12 in text
    assert "6 runs: 3 cells, seeds 0, 1;" in " ".join(text.split())


@pytest.mark.parametrize("width", [40, 80, 200])
def test_print_comparison__liars_have_a_table_of_their_own(width: int) -> None:
    cell = Attacked("a", "krum(f=1)", "lma", 2, "", "")
    lost = estimate([0.02, 0.022, 0.024])
    rows = [AttackRow(cell, GainMeasure("knn", Gain.OVER_CALIBRATED), estimate([0.1, 0.1]), lost, None)]
    made = console(width)
    print_comparison(comparison_of(("ring", "self")), made, rows)
    lines = text_of(made).splitlines()
    assert max(map(len, lines)) <= width and "Liars and rules of pooling" in lines
    said = "".join("".join(lines).split())
    assert "krum(f=1)" in said and "+2.2(+1.7to+2.7)" in said and "notcorrected" in said
