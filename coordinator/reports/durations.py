"""How long the stages of a run took, in words."""

from collections.abc import Collection, Mapping

from coordinator.records.event_kinds import Stage
from coordinator.records.stage_clock import duration
from coordinator.reports.formatting import listed

LEAST = 0.05  # seconds: shorter stages are left out
IN_SECONDS = 99.5  # in all: below, the stages are written without a unit


def durations_in_words(seconds: Mapping[str, float | int], beside: Collection[str] = ()) -> str:
    """Such as `12.4 s: start 3.1, rounds 6.2, control runs 1.9`; empty if nothing is known.

    seconds: by stage, as in `summary.json`. beside: stages that went on beside the rounds, wholly or in part.
    """
    total = sum(seconds.values())
    if not total:
        return ""
    short = total < IN_SECONDS
    written = {
        stage: f"{value:.1f}" if short else duration(value) for stage, value in seconds.items() if value >= LEAST
    }
    if Stage.ROUNDS in written and beside:
        written[Stage.ROUNDS] += f" (beside them {listed([_name(stage) for stage in beside])})"
    parts = [f"{_name(stage)} {time}" for stage, time in written.items()]
    return f"{f'{total:.1f} s' if short else duration(total)}: {', '.join(parts)}"


def _name(stage: str) -> str:
    return stage.replace("-", " ")
