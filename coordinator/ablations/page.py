"""`report.html` of an ablation: one self-contained page that works offline and on a phone."""

from collections.abc import Sequence
from html import escape
from pathlib import Path

from coordinator.ablations.estimates import Comparison, Outcome
from coordinator.measures import declared
from coordinator.reports import html
from coordinator.reports.formatting import listed, p_value
from coordinator.reports.html import Texts
from coordinator.reports.wording import heading, interval, number

CURVES = listed([measure.title for measure in declared.shown_in(declared.Shown.CURVE)]).capitalize()
DISAGREEMENT = declared.RELATIVE_DISTANCE.title

ABLATION_FIGURES: Texts = {
    "estimates": (
        "Mean and interval of every measure in every cell, as in the table that follows",
        "Mean over seeds (dot; the reference a diamond) and 95% interval (bar); the dashed line is no gain.",
    ),
    "consensus": (
        f"{CURVES} over the rounds, one curve per cell",
        "How the peers came to agree: mean over seeds with 95% bands.",
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
    **{
        measure.name: (
            f"Heat map per cell of {measure.formula}",
            f"{measure.question} at the last measured round, mean over seeds: {measure.scale}.",
        )
        for measure in declared.PAIRS
    },
    "topologies": (
        "Each cell's peers on a circle with arrows from teachers to students, coloured by their gain",
        "Who teaches whom in the first seed, and each peer's gain, mean over seeds.",
    ),
}

OUTCOMES = {
    Outcome.UNTESTED: "",
    Outcome.EQUAL: "equal with every seed",
    Outcome.NOT_FOUND: "no difference found",
    Outcome.ABOVE: "differs",
    Outcome.BELOW: "differs",
}


def render_ablation(
    title: str,
    asked: Sequence[str],
    words: Sequence[str],
    comparison: Comparison,
    figures: Path,
    command: str,
    config_text: str,
    failed: Sequence[str] = (),
) -> str:
    """The HTML of an ablation's page.

    asked: sentences on the varied and the fixed settings. words: sentences on the results. figures: the folder of the
    figures. command, config_text: how to repeat the ablation, without secrets. failed: a line per failed run.
    """
    body = html.section("What was asked", html.words(asked)) + html.section("What came out", html.words(words))
    if failed:
        items = "".join(f"<li>{escape(line)}</li>" for line in failed)
        body += html.section("What failed", f"<p>Left out of every table and picture:</p><ul>{items}</ul>")
    pictures = {name: text for name, text in ABLATION_FIGURES.items() if name != "estimates"}
    body += html.section("Estimates", html.figures(figures, {"estimates": ABLATION_FIGURES["estimates"]}))
    body += _estimates(comparison)
    if comparison.differences:
        body += html.section(f"Differences from {comparison.reference}", _differences(comparison))
    body += html.section("Figures", html.figures(figures, pictures)) + html.again(command, "ablation.toml", config_text)
    return html.page(title, body)


def _estimates(comparison: Comparison) -> str:
    """The table of estimates: a row per cell, a column per measure, and a column of flags if there are any."""
    rows, flagged = [], any(comparison.flags.values())
    for cell in comparison.cells:
        row = [f"{cell} (reference)" if cell == comparison.reference else cell]
        for measure in comparison.measures:
            found, verdict = comparison.estimates[cell, measure], comparison.verdict_in_words(cell, measure)
            row.append(_estimate(found.mean, found.low, found.high, measure) + (f"\n{verdict}" if verdict else ""))
        if flagged:
            flags = comparison.flags[cell].items()
            row.append("\n".join(f"{flag} {count}/{comparison.finished[cell]}" for flag, count in flags))
        rows.append(row)
    caption = f"Mean over {len(comparison.seeds)} seeds"
    if len(comparison.seeds) > 1:
        caption += ", 95% t-interval; verdicts after Holm's correction over all gains"
    if flagged:
        caption += "; flags with the number of runs that raised them"
    names = ["cell", *map(heading, comparison.measures), *(["flags"] if flagged else [])]
    return html.table(caption + ".", names, rows)


def _differences(comparison: Comparison) -> str:
    """The differences from the reference: a table per measure."""
    names = ["cell", "difference", "seeds", "p", "p (Holm)", "after correction"]
    tables = []
    for measure in comparison.measures_with_differences:
        rows = [
            [
                difference.cell,
                _estimate(difference.estimate.mean, difference.estimate.low, difference.estimate.high, measure),
                str(difference.estimate.n),
                "" if difference.estimate.p is None else p_value(difference.estimate.p),
                "" if difference.p_holm is None else p_value(difference.p_holm),
                OUTCOMES[difference.outcome],
            ]
            for difference in comparison.differences_in(measure)
        ]
        tables.append(html.table(f"{heading(measure)}: cell less {comparison.reference}", names, rows))
    note = (
        "Paired by seed, with 95% t-intervals; Holm's correction is over all differences of these measures, and the "
        "intervals are not corrected."
    )
    return html.words([note]) + "".join(tables)


def _estimate(mean: float, low: float | None, high: float | None, measure: str) -> str:
    if mean != mean:
        return "unknown"
    spread = "" if low is None or high is None else f" ({interval(low, high, measure)})"
    return number(mean, measure) + spread
