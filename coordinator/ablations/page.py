"""`report.html` of an ablation: one self-contained page that works offline and on a phone."""

from collections.abc import Sequence
from pathlib import Path

from coordinator.ablations.attack_tables import attack_tables
from coordinator.ablations.comparisons.attacks import AttackRow
from coordinator.ablations.comparisons.estimates import Comparison, Difference, Outcome
from coordinator.ablations.comparisons.sentences import not_reached, others, reached_by
from coordinator.measures import declared
from coordinator.measures.gains import Condition, Gain, GainMeasure
from coordinator.measures.statistics import Estimate
from coordinator.measures.verdict import Verdict
from coordinator.pages.parts import Table, Texts, pictures
from coordinator.pages.render import render
from coordinator.reports.formatting import listed, p_value
from coordinator.reports.verdicts import VerdictLine, tone_of
from coordinator.reports.wording import CONDITIONS, heading, interval, number, probe_name

CURVES = listed([measure.title for measure in declared.shown_in(declared.Shown.CURVE)]).capitalize()
DISAGREEMENT = declared.RELATIVE_DISTANCE.title

ABLATION_FIGURES: Texts = {
    "estimates": (
        "Mean and interval of every measure in every cell, as in the table that follows",
        "Mean over seeds and 95% interval. Gains are filled if they are told from 0 after Holm's correction; dotted: "
        "the mean of the reference.",
    ),
    "consensus": (
        f"{CURVES} over the rounds, one curve per cell",
        "How the peers came to agree: mean over seeds with 95% bands.",
    ),
    "seconds": (
        f"{DISAGREEMENT.capitalize()} and gains against virtual time, one curve per cell",
        "What the simulated network makes of it: lower left is faster agreement, upper left faster learning. Mean over "
        "seeds with 95% bands, at the mean virtual time of each round.",
    ),
    "connectivity": (
        "Gain over calibrated against the connectivity of the pooling matrix, one point per cell",
        "Do topologies that mix faster teach more? Mean gain over seeds with its 95% interval. The pooling matrix is "
        "what students average; its connectivity, 1 - λ2, is the rate at which students agree that move a little.",
    ),
    "bytes": (
        f"{DISAGREEMENT.capitalize()} against the bytes exchanged so far, one curve per cell",
        "What agreement costs: lower left is better. Cells that exchange nothing are not drawn.",
    ),
    "attacks": (
        "Gain of honest peers against the number of liars, one line per rule of pooling",
        "What lies cost under each rule: mean gain over calibrated of the honest peers, with 95% intervals over seeds.",
    ),
    "distances": (
        "Gain of a group's peers against their distance from another group, one line per cell",
        "Who hears the other group: mean gain of the peers that are so many links away from it, over calibrated and "
        "over each control run, with 95% intervals over seeds, not corrected.",
    ),
    **{
        measure.name: (
            f"Heat map per cell of {measure.formula}",
            f"{measure.question} at the last measured round, mean over seeds: {measure.scale}.",
        )
        for measure in declared.PAIRS
    },
    "topologies": (
        "Each cell's peers, coloured by their gain, with a line or an arrow for each link",
        "Who teaches whom in the first seed (a line without an arrow: both), and each peer's gain, mean over seeds.",
    ),
}

ONE_CELL = (
    "Mean over seeds and 95% interval, of each gain; the line at 0: no gain. Filled: told from 0 after Holm's "
    "correction, which asks for more than an interval without 0."
)

OUTCOMES = {
    Outcome.UNTESTED: "",
    Outcome.EQUAL: "equal with every seed",
    Outcome.NOT_FOUND: "no difference found",
    Outcome.ABOVE: "differs",
    Outcome.BELOW: "differs",
}


def render_ablation(
    title: str,
    asked: Sequence[tuple[str, str]],
    comparison: Comparison,
    figures: Path,
    command: str,
    config_text: str,
    failed: Sequence[str] = (),
    attacks: Sequence[AttackRow] = (),
) -> str:
    """The HTML of an ablation's page: what it comes to, a line an estimate, the tables, then all else.

    asked: the varied and the fixed settings, each with its subject. figures: the folder of the figures. command,
    config_text: how to repeat the ablation, without secrets. failed: a line per failed run.
    attacks: of cells in which liars vary.
    """
    several, texts = len(comparison.cells) > 1, dict(ABLATION_FIGURES)
    if not several:
        texts["estimates"] = (texts["estimates"][0], ONE_CELL)
    verdicts, drawn = _verdicts(comparison), pictures(figures, texts)
    return render(
        "ablation.html",
        title=title,
        verdicts=verdicts,
        headline=() if verdicts else comparison.headline,
        failed=failed,
        forest=[each for each in drawn if each.name == "estimates"],
        estimates=_estimates(comparison) if several else _of_one_cell(comparison),
        reference=comparison.reference,
        differences=_differences(comparison),
        attacks=attack_tables(attacks),
        attacked=[each for each in drawn if each.name == "attacks"],
        pictures=[each for each in drawn if each.name not in ("estimates", "attacks")],
        notes=comparison.words,
        asked=asked,
        command=command,
        config=config_text,
    )


def _verdicts(comparison: Comparison) -> list[VerdictLine]:
    """The verdicts on a single cell; none for several cells, whose table has them."""
    if len(comparison.cells) > 1:
        return []
    (cell,) = comparison.cells
    lines = []
    for measure in comparison.measures:
        gain, found = GainMeasure.parse(measure), comparison.estimates[cell, measure]
        words = comparison.verdict_in_words(cell, measure)
        if gain is None or not words or gain.gain.treated is not Condition.TRAINED:
            continue
        tone = tone_of(comparison.verdict(cell, measure) or Verdict.NONE)
        names = probe_name(gain.probe), CONDITIONS[gain.gain.control]
        over_calibrated = gain.gain is Gain.OVER_CALIBRATED
        lines.append(VerdictLine(*names, words, tone, found.mean, found.low, found.high, over_calibrated))
    return lines


def _estimates(comparison: Comparison) -> Table:
    """The table of estimates: a row per cell, a column per measure, and a column of flags if there are any."""
    rows, flagged = [], any(comparison.flags.values())
    for cell in comparison.cells:
        row = [f"{cell} (reference)" if cell == comparison.reference else cell]
        for measure in comparison.measures:
            verdict = comparison.verdict_in_words(cell, measure)
            found = _not_reached(comparison, cell, measure) or _estimate(
                comparison.estimates[cell, measure], measure, len(comparison.seeds)
            )
            row.append(f"{found}\n{verdict}" if verdict else found)
        rows.append(row + ([_flags(cell, comparison)] if flagged else []))
    names = ["cell", *map(heading, comparison.measures), *(["flags"] if flagged else [])]
    return Table(_caption(comparison), names, rows, words=names[1:])


def _of_one_cell(comparison: Comparison) -> Table:
    """The table of a single cell: a row per measure, and one of flags if there are any."""
    (cell,), rows = comparison.cells, []
    for measure in comparison.measures:
        found, p = comparison.estimates[cell, measure], comparison.p_holm.get((cell, measure))
        text = _not_reached(comparison, cell, measure) or _estimate(found, measure, len(comparison.seeds))
        mean, _, spread = text.partition(" (")
        texts = [mean, spread.removesuffix(")"), "" if p is None else p_value(p)]
        rows.append([heading(measure), *texts, comparison.verdict_in_words(cell, measure)])
    if any(comparison.flags.values()):
        rows.append(["flags (runs)", "", "", "", _flags(cell, comparison)])
    return Table(
        _caption(comparison), ("measure", "mean", "95% interval", "p (Holm)", "verdict"), rows, words=("verdict",)
    )


def _caption(comparison: Comparison) -> str:
    caption = f"Mean over {len(comparison.seeds)} seeds"
    if len(comparison.seeds) > 1:
        caption += ", 95% t-interval; verdicts after Holm's correction over all gains"
    if any(comparison.flags.values()):
        caption += "; flags with the number of runs that raised them"
    return f"{caption}."


def _flags(cell: str, comparison: Comparison) -> str:
    flags = comparison.flags[cell].items()
    return "\n".join(f"{flag} {count}/{comparison.finished[cell]}" for flag, count in flags)


def _differences(comparison: Comparison) -> list[Table]:
    """The differences from the reference: a table per measure."""
    names = ("cell", "difference", "seeds", "p", "p (Holm)", "after correction")
    return [
        Table(
            f"{heading(measure)}: cell less {comparison.reference}",
            names,
            [_difference(each) for each in comparison.differences_in(measure)],
            words=names[-1:],
        )
        for measure in comparison.measures_with_differences
    ]


def _difference(difference: Difference) -> list[str]:
    found = difference.estimate
    return [
        difference.cell,
        _estimate(found, difference.measure, found.n),
        str(found.n),
        "" if found.p is None else p_value(found.p),
        "" if difference.p_holm is None else p_value(difference.p_holm),
        OUTCOMES[difference.outcome],
    ]


def _not_reached(comparison: Comparison, cell: str, measure: str) -> str:
    """In how many seeds a target was not reached, such as `not reached in 2 of 3 seeds (the other: 12)`; else empty."""
    missed = comparison.missed.get((cell, measure))
    if missed is None:
        return ""
    rest = others(missed, measure)
    return f"{not_reached(measure)} {reached_by(missed)}" + (f" ({rest})" if rest else "")


def _estimate(found: Estimate, measure: str, num_seeds: int) -> str:
    """Mean and interval, such as `+2.5 (+1.8 to +3.3)`; with the number of seeds if some have no value."""
    if found.mean != found.mean:
        return "unknown"
    spread = ""
    if found.low is not None and found.high is not None:
        spread = f" ({interval(found.low, found.high, measure)})" if found.varies else " (all seeds equal)"
    return number(found.mean, measure) + spread + (f", {found.n} of {num_seeds} seeds" if found.n < num_seeds else "")
