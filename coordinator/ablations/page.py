"""`report.html` of an ablation: one self-contained page, readable without a network and on a phone."""

from collections.abc import Sequence
from html import escape
from pathlib import Path

from coordinator.ablations.estimates import Comparison, Difference
from coordinator.reports import html
from coordinator.reports.html import Texts
from coordinator.reports.wording import heading, interval, number, p_value

ABLATION_FIGURES: Texts = {
    "estimates": (
        "Mean and interval of every measure in every cell, as in the table that follows",
        "Mean over seeds (dot; the reference a diamond) and 95% interval (bar); the dashed line is no gain.",
    ),
    "consensus": (
        "Disagreement and agreement over the rounds, one curve per cell",
        "How the peers came to agree: mean over seeds with 95% bands.",
    ),
    "spectral_gap": (
        "Gain over calibrated against spectral gap, one point per cell",
        "Do topologies that mix faster teach more? Mean gain over seeds with its 95% interval.",
    ),
    "bytes": (
        "Disagreement against the bytes exchanged so far, one curve per cell",
        "What agreement costs: lower left is better. Cells that exchange nothing are not drawn.",
    ),
    "total_variation": (
        "Heat map per cell of the total variation between every two peers' outputs",
        "Who disagrees with whom at the last measured round, mean over seeds: 0 is agreement.",
    ),
    "cka": (
        "Heat map per cell of the linear CKA of every two peers' features",
        "Whose features are alike at the last measured round, mean over seeds: 1 is the same representation.",
    ),
    "topologies": (
        "Each cell's peers on a circle with arrows from teachers to students, coloured by their gain",
        "Who teaches whom in the first seed, and each peer's gain, mean over seeds.",
    ),
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
    """An ablation's page as text.

    asked: what was varied and held, a sentence each. words: what came out. figures: the folder of the pictures.
    command, config_text: what repeats it, without secrets. failed: a line for each run that did not finish.
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
    """A line per cell, a column per measure, and one of flags where there are any."""
    rows, flagged = [], any(comparison.flags.values())
    for cell in comparison.cells:
        row = [f"{cell} (reference)" if cell == comparison.reference else cell]
        for measure in comparison.measures:
            each, verdict = comparison.estimates[cell, measure], comparison.verdict(cell, measure)
            row.append(_estimate(each.mean, each.low, each.high, measure) + (f"\n{verdict}" if verdict else ""))
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
    """A table per measure."""
    names = ["cell", "difference", "seeds", "p", "p (Holm)", "after correction"]
    tables = []
    for measure in comparison.compared:
        rows = [
            [
                each.cell,
                _estimate(each.estimate.mean, each.estimate.low, each.estimate.high, each.measure),
                str(each.estimate.n),
                "" if each.estimate.p is None else p_value(each.estimate.p),
                "" if each.p_holm is None else p_value(each.p_holm),
                _said(each),
            ]
            for each in comparison.differences
            if each.measure == measure
        ]
        tables.append(html.table(f"{heading(measure)}: cell less {comparison.reference}", names, rows))
    note = (
        "Paired by seed, with 95% t-intervals; Holm's correction is over all differences of these measures, and the "
        "intervals are not corrected."
    )
    return html.words([note]) + "".join(tables)


def _said(each: Difference) -> str:
    if each.p_holm is None:
        return ""
    if not each.estimate.varies:
        return "equal with every seed"
    return "differs" if each.found else "no difference found"


def _estimate(mean: float, low: float | None, high: float | None, measure: str) -> str:
    if mean != mean:
        return "unknown"
    spread = "" if low is None or high is None else f" ({interval(low, high, measure)})"
    return number(mean, measure) + spread
