"""What is printed of a plan and of a result: verdicts first, whole at any width, on a terminal and elsewhere."""

import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from coordinator import Result, load_config
from coordinator.experiment.config import to_table
from coordinator.planning.plan import prepare
from coordinator.records.files.result import Status
from coordinator.records.plain_text import PlainConsole
from coordinator.reports.durations import durations_in_words
from coordinator.reports.plan import print_plan
from coordinator.reports.result import print_result
from coordinator.reports.verdicts import verdict_lines

NUMBERS = re.compile(r"[-+]?\d[\d.,]*")
WIDTHS = [40, 60, 80, 120, 200]


def unknown(*_: Any) -> Any:
    raise AssertionError("what is printed needs no trained peer")


def filled(folder: Path) -> Result:
    """A finished run of two probes and three control runs, one of them void, with what people are told of it."""
    over = {"mean": 0.0139, "low": 0.0031, "high": 0.0247}
    linear = {"raw_pixels": 0.928, "untrained": 0.908, "calibrated": 0.9014, "trained": 0.9218, "gain": 0.0204}
    linear |= {"interval": [0.0043, 0.0361], "verdict": "learned (this run)", "alone": 0.9333, "over_alone": over}
    linear |= {"stranger": 0.9255, "over_stranger": {"mean": -0.0117, "low": -0.0198, "high": -0.0036}}
    linear |= {"controls": {"alone": "another function teaches (this run)", "stranger": "worse than the control"}}
    linear["controls"]["shuffled"] = "no verdict"
    sgd = {"untrained": 0.1041, "calibrated": 0.3724, "trained": 0.4351, "gain": 0.0627, "interval": [-0.0172, 0.1426]}
    config = load_config({"data": {"kind": "digits"}, "topology": {"kind": "ring"}, "peers": {"count": 4}})
    summary = {
        "rounds": 1234,
        "probes": {"linear": linear, "sgd": sgd},
        "controls": {"shuffled": {"void": "diverged"}},
        "flags": ["artefact", "control-not-finite"],
        "artefacts": ["sgd"],
        "not_finite": {},
        "faults": [{"round": 7, "what": "peer 3 was lost on 10.0.0.7 [bold]", "seconds": 12.0}],
        "consensus": {"relative_distance": {"first": 0.7153, "last": 0.4802}},
        "relative_weight_change": 0.0672,
        "rounds_per_second": 56.7,
        "bytes_exchanged": 890 * 2**20,
        "evaluation_share": 0.55,
        "seconds": {"start": 43.1, "rounds": 21.8, "control-runs": 65.4},
        "beside_rounds": ["controls"],
        "peers": [{"count": 4}],
        "config": to_table(config),
    }
    return Result(Status.FINISHED, summary, folder, config, unknown, unknown)


def printed(show: Callable[[Console], None], width: int, terminal: bool = True, **options: Any) -> str:
    text = io.StringIO()
    if not terminal:
        options |= {"soft_wrap": True}
    options |= {"_environ": {"TERM": "xterm-256color"}}
    show(PlainConsole(file=text, width=width, force_terminal=terminal, color_system=None, **options))
    return text.getvalue()


@pytest.mark.parametrize("width", WIDTHS)
def test_print_result__fits_and_keeps_every_number(width: int, tmp_path: Path) -> None:
    """Whatever the width: no line is longer, no number of the wide output is missing, no word is cut."""

    def show(to: Console) -> None:
        print_result(filled(tmp_path), to)

    whole = printed(show, 160, terminal=False)
    narrow = printed(show, width)
    laid_out = [line for line in narrow.splitlines() if not line.startswith(("results", "watch"))]
    assert max(map(cell_len, laid_out)) <= width and "…" not in narrow
    words, kept = ({word.strip(":,;()│") for word in text.split()} for text in (whole, narrow))
    assert not {word for word in words - kept if not word.startswith("─")}
    assert not set(NUMBERS.findall(whole)) - set(NUMBERS.findall(narrow))


def test_print_result__verdicts_come_first_in_the_words_of_the_reports(tmp_path: Path) -> None:
    result = filled(tmp_path)
    lines = [each.text for each in verdict_lines(result.summary)]
    plain = printed(lambda to: print_result(result, to), 160, terminal=False).splitlines()
    assert plain[: len(lines)] == lines and lines[0] == "linear: learned (this run), +2.0 points (+0.4 to +3.6)"
    assert not {"\x1b", "│"} & set("".join(plain))
    order = [
        "flag artefact",
        "flag control",
        "survived: peer 3 was lost on 10.0.0.7 [bold]",
        "consensus: ",
        "1234 rounds",
    ]
    places = [
        next(i for i, line in enumerate(plain) if line.startswith(start)) for start in (*order, "time", "results")
    ]
    assert places == sorted(places) and places[0] > len(lines)
    wide = printed(lambda to: print_result(result, to), 120)
    rows = [line.strip("│ ").split("  ") for line in wide.splitlines() if line.startswith("│")]
    assert [[cell.strip() for cell in row if cell] for row in rows][:2] == [
        ["linear", "learned (this run)", "+2.0 points (+0.4 to +3.6)"],
        ["linear over alone", "another function teaches (this run)", "+1.4 points (+0.3 to +2.5)"],
    ]


def test_print_result__times_of_this_command_and_of_those_before(tmp_path: Path) -> None:
    def line(seconds: dict[str, float] | None) -> str:
        text = printed(lambda to: print_result(filled(tmp_path), to, seconds), 160, terminal=False)
        return next(line for line in text.splitlines() if line.startswith("time "))

    beside = "(beside them controls)"
    stages = f"start 43 s, rounds 22 s {beside}, control runs 1 min 5 s"
    assert line(None) == f"time     2 min 10 s: {stages}"
    here = {"imports": 2.04, "start": 3.1, "rounds": 6.25, "report": 0.04}
    assert (
        line(here) == f"time     11.4 s: imports 2.0, start 3.1, rounds 6.2 {beside}; 2 min 1 s before it was resumed"
    )


@pytest.mark.parametrize("width", WIDTHS)
def test_print_plan__fits_and_keeps_every_number(width: int, tiny: Path) -> None:
    plan = prepare(load_config(tiny, ["evaluation.controls=['alone','shuffled']"]))
    whole = printed(lambda to: print_plan(plan, to, trial=False), 160, terminal=False)
    narrow = printed(lambda to: print_plan(plan, to, trial=False), width)
    assert max(map(cell_len, narrow.splitlines())) <= width and "…" not in narrow
    assert not set(NUMBERS.findall(whole)) - set(NUMBERS.findall(narrow))


def test_durations_in_words__nothing_where_nothing_is_known() -> None:
    assert durations_in_words({}) == durations_in_words({"start": 0.0}) == ""
    assert durations_in_words({"start": 3.14, "control-runs": 0.04}) == "3.2 s: start 3.1"
