"""The description of a run in MLflow: its verdicts in Markdown, in which no name is taken for Markdown or HTML."""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from coordinator.reports import control_runs
from coordinator.reports.formatting import capitalised, points, points_between
from coordinator.reports.holdings import accuracy_table, scopes_meant
from coordinator.reports.sentences import in_words
from coordinator.reports.unequal import liars_of
from coordinator.reports.wording import buffers, examples, probe_name, untrained

NOTE = "mlflow.note.content"  # the tag that MLflow's page of a run shows as its description
LONGEST = 4500  # characters; MLflow takes a few more
LONGEST_TEXT = 1000
_MARKUP = re.compile(r"[\\`*_{}\[\]<>&|#!~@$^]|:(?=\S)|(?<=www)\.|^[-+](?=\s)", re.IGNORECASE)  # also links and emojis
_STEERING = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028\u2029\u202a-\u202e\u2060-\u2069\ufeff\ud800-\udfff]"
)
_UNBROKEN = re.compile(r"\S{40}(?=\S)")  # a longer word would push the page's other column out of sight
_ISOLATED = "\u2068{}\u2069"  # what is around a text from right to left stays where it is
_CALIBRATED = "Calibrated: {}, after the run's batches have passed through, forward only"


def escaped(text: str) -> str:
    """A text as Markdown that shows it as it is: marks of Markdown and HTML as entities, on one line, cut if long.

    Long words get places, without width, at which a line may break.
    """
    short = text if len(text) <= LONGEST_TEXT else f"{text[: LONGEST_TEXT - 3]}..."
    line = _STEERING.sub(lambda found: found[0].encode("unicode_escape", "surrogatepass").decode(), short)
    broken = _UNBROKEN.sub(lambda found: f"{found[0]}\u200b", line)
    safe = _MARKUP.sub(lambda found: f"&#{ord(found[0])};", broken)
    turns = any(unicodedata.bidirectional(letter) in ("R", "AL") for letter in line)
    return _ISOLATED.format(safe) if turns else safe


def table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a table in Markdown; all cells are escaped."""
    lines = [names, ["---"] * len(names), *([escaped(cell) for cell in row] for row in rows)]
    return [f"| {' | '.join(line)} |" for line in lines]


def run_note(summary: Mapping[str, Any], repeatable: bool = True) -> str:
    """A run's description: verdicts with their gains, what they are compared with, flags, and how to repeat it.

    repeatable: whether the run's config alone starts it again, without objects from Python.
    """
    parts = [_status(summary), _headline(summary), _verdicts(summary), _liars(summary), _held(summary)]
    parts.append("\n".join(f"- {escaped(line)}" for line in in_words(dict(summary))))
    command = "`peer-consensus run config.toml`" if repeatable else "from Python, as its first lines say"
    parts.append(
        f"Whole result: report.html and summary.json among the artifacts. Again: {command} (config.toml is there too)."
    )
    return fitting([part for part in parts if part])


def fitting(parts: Sequence[str]) -> str:
    """The parts as paragraphs, without those for which there is no room; the last one is always kept."""
    *others, last = parts
    kept: list[str] = []
    for part in others:
        if sum(map(len, kept)) + len(part) + len(last) < LONGEST:
            kept.append(part)
    return "\n\n".join([*kept, last])


def _status(summary: Mapping[str, Any]) -> str:
    message = f": {escaped(summary['message'])}" if summary.get("message") else ""
    return f"**{escaped(summary['status'])}**{message}" if message or summary["status"] != "finished" else ""


def _headline(summary: Mapping[str, Any]) -> str:
    """Whether the peers learned, by probe: MLflow's page shows three lines of a description, the rest on a click."""
    told = [(name, row) for name, row in summary["probes"].items() if "verdict" in row]
    return "; ".join(
        f"**{escaped(probe_name(name))}: {escaped(row['verdict'])}**, {points(row['gain'])} points "
        f"({points_between(*row['interval'])})"
        for name, row in told
    )


def _liars(summary: Mapping[str, Any]) -> str:
    """A table of who lies, and what became of their lies; empty if nobody does."""
    names, rows = liars_of(summary)
    return "\n".join(table(names, rows)) if rows else ""


def _held(summary: Mapping[str, Any]) -> str:
    """A table of the accuracies by whose classes the images are of, and what it means; empty if all peers hold all."""
    names, rows = accuracy_table(summary)
    return "\n".join([*table(names, rows), "", f"{escaped(capitalised(scopes_meant(summary)))}."]) if rows else ""


def _verdicts(summary: Mapping[str, Any]) -> str:
    """A table with a row per probe and control, and what its columns mean; empty without probes of trained peers."""
    compared = control_runs.compared_rows(summary)
    rows = []
    for name, row in summary["probes"].items():
        if "gain" in row:
            probe = probe_name(name, marked=True)
            spread = points_between(*row["interval"])
            rows.append([probe, "calibrated", points(row["gain"]), spread, row.get("verdict", "")])
            rows += [[probe, control, *gain] for of, control, _, _, *gain in compared if of == probe and gain[-1]]
    if not rows:
        return ""
    calibrated = _CALIBRATED.format(untrained(summary["config"]))
    meanings = "; ".join(filter(None, (calibrated, *control_runs.meanings(summary), buffers(summary["config"]))))
    return "\n".join(table(("probe", "over", "gain (points)", "95% interval", "verdict"), rows)) + (
        "\n\nGain: accuracy of the trained peers less that of the control, in percentage points; intervals are over "
        f"this run's peers and test {examples(summary)}, not over seeds. {escaped(meanings)}."
    )
