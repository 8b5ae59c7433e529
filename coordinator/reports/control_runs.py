"""The control runs of one run, as rows and sentences: the trained peers against each, and what each training did."""

from collections.abc import Iterator, Mapping
from typing import Any

from coordinator.measures.gains import Condition, Gain
from coordinator.measures.verdict import Verdict, Void
from coordinator.reports.formatting import points, points_between
from coordinator.reports.wording import CONDITIONS, CONTROLS, MORE_THAN, probe_name

COMPARED = ("probe", "control", "accuracy", "trained", "gain", "95% interval", "verdict")
TRAINED = ("training", "first gradient norm", "steps a student", "relative weight change")
OVER_CONTROL_RUNS = tuple(gain for gain in Gain if gain.is_over_control_run)
WHY_VOID = {Void.IDLE: "its first gradient was rounding", Void.DIVERGED: "it diverged"}
MOST = 8  # peers that are listed in a sentence
LEAST_SPAN = 0.01  # supervised less calibrated: below this, a share of the way between them says nothing


def compared_rows(summary: Mapping[str, Any]) -> list[list[str]]:
    """A row per probe and control run, with the columns `COMPARED`."""
    rows = []
    for name, gain, row in _compared(summary):
        over, verdict = row.get(gain.key), row.get("controls", {}).get(gain.control, "")
        reason = no_verdict_reason(summary, gain.control) if verdict == Verdict.NONE else ""
        rows.append(
            [
                probe_name(name, marked=True),
                CONDITIONS[gain.control],
                f"{row[gain.control]:.1%}" if over else "",
                f"{row[gain.treated]:.1%}",
                points(over["mean"]) if over else "",
                points_between(over["low"], over["high"]) if over else "",
                f"{verdict}: {reason}" if reason else verdict,
            ]
        )
    return rows


def training_rows(summary: Mapping[str, Any]) -> list[list[str]]:
    """A row for the run and for each control run, with the columns `TRAINED`; values that are unknown are empty."""
    rows = []
    for name, did in summary.get("controls", {}).items():
        norm, steps, moved = (did.get(key) for key in ("first_gradient_norm", "steps", "relative_weight_change"))
        rows.append(
            [
                "the run" if name == "exchange" else name,
                ("" if norm is None else f"{norm:.2g}") + (" (rounding)" if did.get("void") == Void.IDLE else ""),
                "" if steps is None else f"{steps:g}",
                "" if moved is None else f"{moved:.2%}",
            ]
        )
    return rows


def meanings(summary: Mapping[str, Any]) -> list[str]:
    """What each control run that was compared changes, and what a gain over it rules out; a line each."""
    gains = dict.fromkeys(gain for _, gain, _ in _compared(summary))
    return [
        f"{CONDITIONS[gain.control]}: {CONTROLS[gain][1]}{_by_snapshot(summary, gain)}{_blind(summary, gain)}"
        + (f"; a gain over it rules out: {MORE_THAN[gain]}" if gain in MORE_THAN else "")
        for gain in gains
    ]


def _by_snapshot(summary: Mapping[str, Any], gain: Gain) -> str:
    """What a peer that is its own teacher teaches with, if not with its weights as they are."""
    exchange = summary.get("config", {}).get("exchange", {})
    if gain is not Gain.OVER_ALONE:
        return ""
    found = ["snapshot"] if exchange.get("refresh_every", 1) != 1 else []
    found += ["average"] if exchange.get("teacher_ema") else []
    found += ["anchored weights"] if exchange.get("teacher_anchor", 1) < 1 else []
    return f" (by its own {' and '.join(found)})" if found else ""


def _blind(summary: Mapping[str, Any], gain: Gain) -> str:
    """Of networks that saw nothing of the data that they were to learn from."""
    peers = summary.get("controls", {}).get(gain.control.control_run, {}).get("saw_nothing", [])
    if not peers:
        return ""
    whose = f"{'peer' if len(peers) == 1 else 'peers'} {', '.join(map(str, peers[:MOST]))}"
    more = f" and {len(peers) - MOST} more" if len(peers) > MOST else ""
    return f" (in the place of {whose}{more} they see nothing of those and learn nothing, so there they are strangers)"


def no_verdict_reason(summary: Mapping[str, Any], control: Condition) -> str:
    """Why there is no verdict from a control run; empty if the summary does not say."""
    run = control.control_run
    why = summary.get("controls", {}).get(run, {}).get("void")
    return WHY_VOID[Void(why)] if why else ""


def idle_in_words(summary: Mapping[str, Any]) -> str:
    """Which control runs were idle, with the norms of their first gradient and of the run's; empty if none was."""
    trainings = summary.get("controls", {})
    norm = trainings.get("exchange", {}).get("first_gradient_norm")
    beside = "" if norm is None else f", {norm:.2g} in the run"
    parts = []
    for name, did in trainings.items():
        if did.get("void") == Void.IDLE:
            own = did.get("first_gradient_norm")
            size = "" if own is None else f" (norm {own:.2g}{beside})"
            parts.append(f"the first gradient of {name} was rounding{size}, so there is no verdict from it")
    return "; ".join(parts)


def upper_marks(summary: Mapping[str, Any]) -> list[str]:
    """Sentences on what peers lack of pooled training, and how far they came from calibrated to supervised ones.

    The latter only if supervised is above calibrated.
    """
    probes = summary.get("probes", {}).items()
    gaps = [(probe_name(name, marked=True), row.get(Gain.OVER_POOLED.key, {}).get("mean", 0.0)) for name, row in probes]
    short = [f"{name} {points(-gap).removeprefix('+')}" for name, gap in gaps if gap < 0]
    parts = []
    for name, row in summary.get("probes", {}).items():
        if not {Condition.CALIBRATED, Condition.TRAINED, Condition.SUPERVISED} <= row.keys():
            continue
        span = row[Condition.SUPERVISED] - row[Condition.CALIBRATED]
        share = (row[Condition.TRAINED] - row[Condition.CALIBRATED]) / span if span >= LEAST_SPAN else -1.0
        if share >= 0:
            parts.append(f"{probe_name(name, marked=True)} {share:.0%}")
    return [
        *([f"short of pooled training by (points): {', '.join(short)}"] if short else []),
        *([f"of the way from calibrated to supervised peers: {', '.join(parts)}"] if parts else []),
    ]


def _compared(summary: Mapping[str, Any]) -> Iterator[tuple[str, Gain, Mapping[str, Any]]]:
    """(probe, gain, row of the probe) for each comparison with a control run."""
    for name, row in summary["probes"].items():
        for gain in OVER_CONTROL_RUNS:
            if gain.key in row or gain.control in row.get("controls", {}):
                yield name, gain, row


def with_interval(mean: float, low: float, high: float) -> str:
    return f"{points(mean)} ({points_between(low, high)})"
