import io

import pytest
from rich.console import Console

from coordinator.records.terminal import Live, Monitor, Silent

MEASURED = {"relative_distance": 0.5, "agreement": 0.25}


def live(monkeypatch: pytest.MonkeyPatch, terminal: bool = False) -> tuple[Live, io.StringIO, list[float]]:
    """A monitor, what it has written, and its clock in seconds."""
    clock, text = [100.0], io.StringIO()
    monkeypatch.setattr("coordinator.records.terminal.time.monotonic", lambda: clock[0])
    width = 80 if terminal else 160
    return Live(Console(file=text, width=width, force_terminal=terminal, get_time=lambda: clock[0])), text, clock


def test_live__plain_lines_where_there_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monitor, text, clock = live(monkeypatch)
    monitor.round({"round": 0, **MEASURED})
    monitor.begin(40, "rounds")
    for completed in range(1, 41):
        clock[0] += 0.5
        measured = MEASURED if completed % 10 == 0 else {}
        monitor.round({"round": completed, "loss": 0.125, **measured})
    monitor.end()
    assert text.getvalue().splitlines() == [
        "before the first round: disagreement 0.500, agreement 25.0%",
        *(
            f"rounds {n}/40: 2.0 rounds/s, {20 - n // 2} s left, loss 0.125, disagreement 0.500, agreement 25.0%"
            for n in (10, 20, 30, 40)
        ),
    ]


def test_live__rounds_that_are_not_measured_are_told_every_ten_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monitor, text, clock = live(monkeypatch)
    monitor.round({"round": 0, **MEASURED})
    monitor.begin(30, "alone")
    for completed in range(1, 31):
        clock[0] += 1.0
        monitor.round({"round": completed})
    assert text.getvalue().splitlines()[1:] == [
        "alone 11/30: 1.0 rounds/s, 19 s left",
        "alone 22/30: 1.0 rounds/s, 8 s left",
        "alone 30/30: 1.0 rounds/s, 0 s left",
    ]


def test_live__bar_keeps_count_and_pace_at_eighty_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monitor, text, clock = live(monkeypatch, terminal=True)
    monitor.begin(200, "rounds")
    for completed in range(1, 201):
        clock[0] += 1 / 200
        monitor.round({"round": completed, "loss": 0.0126949, **MEASURED})
    monitor.end()
    shown = text.getvalue()
    assert "200/200" in shown and "200.0/s loss 0.0127, disagreement 0.500, agreement 25.0%" in shown


@pytest.mark.parametrize("terminal", [False, True])
def test_live__rounds_before_a_resume_are_no_pace(monkeypatch: pytest.MonkeyPatch, terminal: bool) -> None:
    monitor, text, clock = live(monkeypatch, terminal)
    monitor.begin(1040, "rounds")
    for completed in range(1001, 1021):
        clock[0] += 1.0
        monitor.round({"round": completed, **MEASURED})
    if monitor._bar is not None:
        (task,) = monitor._bar.tasks
        assert task.completed == 1020 and task.fields["shown"].startswith("1.0/s")
        assert task.time_remaining == 20  # at a round a second
    monitor.end()
    if not terminal:
        last = "rounds 1020/1040: 1.0 rounds/s, 20 s left, disagreement 0.500, agreement 25.0%"
        assert text.getvalue().splitlines()[-1] == last


def test_monitors__fit_the_protocol() -> None:
    assert isinstance(Silent(), Monitor) and isinstance(Live(Console()), Monitor)
