"""Descriptions in MLflow: what they say, and that no name in them is taken for Markdown or HTML."""

import html
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.reports.markdown import escaped, run_note, table

HOSTILE = [
    "<script>alert(1)</script>",
    "a | b",
    "`code` **bold** _it_ ~~no~~",
    "[here](http://evil.example)",
    "![x](y) www.evil.example",
    "@somebody :octocat: #1",
    "&lt; &amp; \"quoted\" 'so'",
    "- item",
    "a\nb\r\n# c",
    "שלום",
    "x" * 100,
]


def shown(markdown: str) -> str:
    """What a reader sees of escaped text."""
    return html.unescape(markdown).translate(dict.fromkeys(map(ord, "\u2068\u2069\u200b")))


@pytest.mark.parametrize("text", HOSTILE)
def test_escaped__is_read_as_it_was(text: str) -> None:
    markdown = escaped(text)
    assert not re.search(r"[<>|`*_~\[\]!@\n\r]|&(?!#\d+;)|www\.|://", markdown)
    assert shown(markdown) == text.replace("\n", "\\n").replace("\r", "\\r")


@given(st.text(max_size=300))
def test_escaped__whatever_it_is(text: str) -> None:
    markdown = escaped(text)
    assert len(markdown.splitlines()) <= 1 and not set("<>|`*_[]\\") & set(markdown)
    assert not re.search("[\u202a-\u202e\u2066\u2067]", markdown)


def test_escaped__direction_and_length_stay_where_they_are() -> None:
    (hebrew,) = (text for text in HOSTILE if text.isalpha() and not text.isascii())
    assert escaped(hebrew) == f"\u2068{hebrew}\u2069"
    assert escaped("a\u202eb") == "a&#92;u202eb"
    assert escaped("y" * 2000).count("y") == 997
    assert max(map(len, escaped("x" * 1000).split("\u200b"))) == 40


def test_table__has_the_cells_that_it_was_given() -> None:
    head, rule, *rows = table(("a", "b"), [[first, "1"] for first in HOSTILE])
    assert (head, rule) == ("| a | b |", "| --- | --- |")
    cells = [[shown(cell) for cell in row.strip("| ").split(" | ")] for row in rows if "item" not in row]
    assert all(len(row) == 2 for row in cells) and cells[0] == [HOSTILE[0], "1"]


def summary(**more: Any) -> dict[str, Any]:
    gain = {"mean": 0.02, "low": -0.01, "high": 0.05}
    linear = {
        "calibrated": 0.8,
        "trained": 0.85,
        "alone": 0.83,
        "gain": 0.05,
        "interval": [0.01, 0.09],
        "over_alone": gain,
        "verdict": "learned (this run)",
        "controls": {"alone": "no difference"},
    }
    sgd = {"calibrated": 0.4, "trained": 0.5, "alone": 0.4, "gain": 0.1, "interval": [0.0, 0.2], "over_alone": gain}
    base = {
        "status": "finished",
        "message": "",
        "rounds": 10,
        "probes": {"linear": linear, "sgd": sgd},
        "controls": {},
        "consensus": {},
        "relative_weight_change": 0.1,
        "rounds_per_second": 2.0,
        "bytes_exchanged": 2048,
        "evaluation_share": 0.25,
        "artefacts": [],
        "not_finite": {},
        "flags": ["collapsed"],
        "config": {"peers": {}},
    }
    return base | more


def test_run_note__verdicts_first_then_table_flags_and_command() -> None:
    first, found, meaning, sentences, last = run_note(summary()).split("\n\n")
    assert first == "**linear: learned (this run)**, +5.0 points (+1.0 to +9.0)"
    assert found.splitlines() == [
        "| probe | over | gain (points) | 95% interval | verdict |",
        "| --- | --- | --- | --- | --- |",
        "| linear | calibrated | +5.0 | +1.0 to +9.0 | learned (this run) |",
        "| linear | alone | +2.0 | -1.0 to +5.0 | no difference |",
        "| SGD&#42; | calibrated | +10.0 | +0.0 to +20.0 |  |",
    ]
    assert "not over seeds" in meaning and "alone: the same rounds" in meaning
    assert sentences.startswith("- flag collapsed: ") and "2.0 KiB exchanged" in sentences
    assert "`peer-consensus run config.toml`" in last
    assert "from Python" in run_note(summary(), repeatable=False) and "peer-consensus run" not in run_note(
        summary(), repeatable=False
    )


def test_run_note__liars_and_held_classes_have_tables() -> None:
    lies = {"count": 4, "adversaries": [{"peers": [1], "attack": {"kind": "lma"}}]}
    accuracies = {"linear": {"held": {"trained": 0.9, "calibrated": 0.5}}}
    config = {"peers": lies}
    of_unequal = summary(
        config=config, liars=[1], peers=[{"count": 4}], class_accuracy=accuracies, pooling={"lies_unusable": 3}
    )
    parts = run_note(of_unequal).split("\n\n")
    assert "| 1 | lma |  | 3 |" in parts[3].splitlines()
    assert parts[4].splitlines()[0].startswith("| accuracy on | calibrated | trained |")
    assert any("3 lies that honest students got" in part for part in parts)


def test_run_note__of_a_run_that_was_stopped_by_somebody_with_a_name() -> None:
    note = run_note(summary(status="stopped", message=HOSTILE[0], probes={}, flags=[]))
    assert note.startswith("**stopped**: &#60;script&#62;alert(1)&#60;/script&#62;\n\n- 10 rounds")
