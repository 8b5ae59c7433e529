"""The verdicts of a run, each as one line with its number: learned or not, and what each control run shows."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from coordinator.measures.gains import Gain
from coordinator.measures.verdict import Verdict
from coordinator.reports.control_runs import OVER_CONTROL_RUNS, no_verdict_reason, with_interval
from coordinator.reports.wording import CONDITIONS, probe_name


class Tone(StrEnum):
    """How a verdict is marked for the eye; pages add a shape to the colour."""

    GOOD = "good"
    NEUTRAL = "neutral"
    BAD = "bad"
    VOID = "void"  # the control did nothing, or diverged: nothing is shown either way


_GOOD = (
    Verdict.LEARNED,
    Verdict.FUNCTION_TEACHES,
    Verdict.CONTENT_MATTERS,
    Verdict.EXPERIENCE_TEACHES,
    Verdict.THESE_IMAGES_TEACH,
    Verdict.EXCHANGE_ADDS,
    Verdict.POOLING_HELPS,
    Verdict.ABOVE_TRUTHFUL,
    Verdict.ABOVE_POOLED,
    Verdict.ABOVE_SUPERVISED,
    Verdict.ABOVE_UNTRAINED,
    Verdict.ABOVE_RESET,
)
_BAD = (
    Verdict.DEGRADED,
    Verdict.WORSE,
    Verdict.POOLING_HURTS,
    Verdict.GAIN_LOST,
    Verdict.BELOW_UNTRAINED,
    Verdict.BELOW_RESET,
)
_TONES = dict.fromkeys(_GOOD, Tone.GOOD) | dict.fromkeys(_BAD, Tone.BAD) | {Verdict.NONE: Tone.VOID}
_TONES_OF_WORDS = {
    words: tone for verdict, tone in _TONES.items() for words in (str(verdict), verdict.of_this_run())
}  # below supervised or pooled training is expected, and all that claims nothing is neutral


@dataclass(frozen=True)
class VerdictLine:
    """A verdict on a probe's gain. mean, low, high: the gain and its interval as fractions; None: unknown.

    probe, control: names as people read them. words: the verdict, with the reason if there is none.
    """

    probe: str
    control: str
    words: str
    tone: Tone
    mean: float | None
    low: float | None
    high: float | None
    over_calibrated: bool

    @property
    def subject(self) -> str:
        """`linear`, or `linear over alone`."""
        return self.probe if self.over_calibrated else f"{self.probe} over {self.control}"

    @property
    def gain_text(self) -> str:
        """The gain in points with its interval, such as `+2.8 (+0.5 to +5.0)`; empty if unknown."""
        if self.mean is None or self.low is None or self.high is None:
            return ""
        return with_interval(self.mean, self.low, self.high)

    @property
    def text(self) -> str:
        """The whole line, such as `linear: learned (this run), +2.8 points (+0.5 to +5.0)`."""
        mean, _, spread = self.gain_text.partition(" ")
        return f"{self.subject}: {self.words}" + (f", {mean} points {spread}" if mean else "")


def verdict_lines(summary: Mapping[str, Any]) -> list[VerdictLine]:
    """The verdicts of a run: for each probe whether the peers learned, then by control what it shows."""
    return [line for gain in (Gain.OVER_CALIBRATED, *OVER_CONTROL_RUNS) for line in _on(gain, summary)]


def tone_of(verdict: str) -> Tone:
    """The tone of a verdict as it stands in a summary; neutral for words of another version."""
    return _TONES_OF_WORDS.get(verdict, Tone.NEUTRAL)


def _on(gain: Gain, summary: Mapping[str, Any]) -> Iterator[VerdictLine]:
    for name, row in summary.get("probes", {}).items():
        learned = gain is Gain.OVER_CALIBRATED
        verdict = row.get("verdict") if learned else row.get("controls", {}).get(gain.control)
        if verdict is None:
            continue
        reason = no_verdict_reason(summary, gain.control) if verdict == Verdict.NONE else ""
        yield VerdictLine(
            probe=probe_name(name),
            control=CONDITIONS[gain.control],
            words=f"{verdict}: {reason}" if reason else verdict,
            tone=tone_of(verdict),
            **dict(zip(("mean", "low", "high"), _interval(row, gain), strict=True)),
            over_calibrated=learned,
        )


def _interval(row: Mapping[str, Any], gain: Gain) -> Sequence[float | None]:
    """The gain and the ends of its interval; None if the control has no numbers."""
    if gain is Gain.OVER_CALIBRATED:
        return (row["gain"], *row["interval"])
    over = row.get(gain.key, {})
    return over.get("mean"), over.get("low"), over.get("high")
