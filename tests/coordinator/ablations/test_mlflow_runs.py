"""What an ablation's parent run in MLflow says: a description, and of a single cell its gains over the seeds."""

from typing import Any

import pytest

from coordinator.ablations.comparisons.estimates import Comparison
from coordinator.ablations.mlflow_runs import MOST_ROWS, _over_seeds, ablation_note
from coordinator.measures.statistics import Estimate
from coordinator.records.tracking.mlflow_rules import LONGEST_TAG

HOSTILE = ["<script>alert(1)</script>", "a | b", "`code` **bold** _it_", "[here](http://evil.example)", "x" * 100]
NAMES = ("probes.linear.gain", "probes.linear.over_alone.mean", "consensus.agreement.last")


def comparison(cells: tuple[str, ...], measures: tuple[str, ...], **more: Any) -> Comparison:
    found = Estimate(0.02, 0.01, 0.03, 5, 0.001)
    keys = [(cell, measure) for cell in cells for measure in measures]
    tested = [key for key in keys if key[1].startswith("probes")]
    return Comparison(
        cells=cells,
        seeds=(0, 1, 2, 3, 4),
        reference=cells[0],
        measures=measures,
        estimates=dict.fromkeys(keys, found),
        p_holm=dict.fromkeys(tested, 0.01),
        differences=(),
        words=tuple(HOSTILE),
        finished=dict.fromkeys(cells, 5),
        flags={},
        void={},
        **more,
    )


def test_ablation_note__a_row_for_each_gain_within_what_mlflow_takes() -> None:
    cells = tuple(f"{text} {number}" for number in range(10) for text in HOSTILE)
    note = ablation_note(comparison(cells, NAMES[:1]))
    rows = [line for line in note.splitlines() if line.startswith("| linear gain")]
    assert len(note) <= LONGEST_TAG and "<" not in note
    assert len(rows) == MOST_ROWS and f"{len(cells) - MOST_ROWS} more gains are in report.html" in note
    assert rows[0].endswith(" (reference) | +2.0 | +1.0 to +3.0 | 0.010 | learned |")
    assert "`peer-consensus ablate ablation.toml`" in note


def test_ablation_note__measures_without_a_verdict_are_no_rows() -> None:
    note = ablation_note(comparison(("only",), NAMES), repeatable=False)
    assert [line.split(" | ")[0] for line in note.splitlines() if line.startswith("| l")] == [
        "| linear gain",
        "| linear over alone",
    ]
    assert "(reference)" not in note and "from Python" in note


def test_over_seeds__the_gains_of_a_single_cell_in_points() -> None:
    names = {f"{name}{end}" for name in ("linear/gain", "linear/over_alone") for end in ("", "_low", "_high")}
    expected = {"": 2.0, "_low": 1.0, "_high": 3.0}
    found = _over_seeds(comparison(("only",), NAMES))
    assert found == pytest.approx(
        {
            f"{'uncertainty' if end else 'probes'}/{gain}{end}": value
            for gain in ("linear/gain", "linear/over_alone")
            for end, value in expected.items()
        }
    )
    assert {name.partition("/")[2] for name in found} == names
    assert _over_seeds(comparison(("one", "other"), NAMES)) == {}
