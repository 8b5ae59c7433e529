"""The files of an ablation's figures: which there are, and what happens if one cannot be drawn."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from coordinator.ablations.comparisons.attacks import AttackRow
from coordinator.ablations.comparisons.estimates import Comparison
from coordinator.ablations.figures.attack_report import draw_attacks
from coordinator.ablations.figures.distances import draw_distances
from coordinator.ablations.figures.forest import draw_estimates
from coordinator.ablations.figures.lines import draw_bytes, draw_connectivity, draw_consensus, draw_seconds
from coordinator.ablations.figures.maps import draw_pairs, draw_topologies
from coordinator.ablations.figures.styles import styles_of
from coordinator.experiment.redaction import first_line
from coordinator.figures.style import DPI_NARROW, DPI_WIDE, write
from coordinator.measures import declared

NARROW_FORM = "-narrow"  # after the name of a figure with a form for narrow screens


def save_ablation_figures(
    rows: list[dict[str, Any]],
    runs: dict[str, list[Path]],
    comparison: Comparison,
    folder: Path,
    tell: Callable[[str], None] = lambda line: None,
    attacks: Sequence[AttackRow] = (),
) -> list[str]:
    """Draw the figures into `figures` of `folder`; returns the names of the files, in the order of the page.

    rows: those of the results table. runs: by cell label, the folders of its finished runs in seed order.
    A figure without data is not drawn, and an older file of its name is removed. A figure that fails, for example
    because of a damaged file, is skipped with a line to `tell`; the page is written without it. Curves and estimates
    have a second form for narrow screens. attacks: of cells in which liars vary.
    """
    target = folder / "figures"
    target.mkdir(parents=True, exist_ok=True)
    finished = {cell: paths for cell, paths in runs.items() if paths}
    cells, styles = comparison.cells, styles_of(rows, comparison.cells)
    in_two_forms: dict[str, Callable[..., Figure | None]] = {
        "estimates": partial(draw_estimates, comparison, styles),
        "consensus": partial(draw_consensus, finished, styles),
        "seconds": partial(draw_seconds, finished, styles),
        "connectivity": partial(draw_connectivity, rows, cells, styles),
        "bytes": partial(draw_bytes, finished, styles),
        "attacks": partial(draw_attacks, attacks),
        "distances": partial(draw_distances, rows, cells, styles),
    }
    pictures: dict[str, tuple[Callable[[], Figure | None], int]] = {}
    for name, draw in in_two_forms.items():
        pictures[name] = (draw, DPI_WIDE)
        pictures[name + NARROW_FORM] = (partial(draw, narrow=True), DPI_NARROW)
    for measure in declared.PAIRS:
        pictures[measure.name] = (partial(draw_pairs, finished, measure), DPI_NARROW)
    pictures["topologies"] = (partial(draw_topologies, finished, tell), DPI_NARROW)
    return [f"{name}.png" for name, (draw, dpi) in pictures.items() if _drawn(target / f"{name}.png", draw, dpi, tell)]


def _drawn(path: Path, draw: Callable[[], Figure | None], dpi: int, tell: Callable[[str], None]) -> bool:
    """Whether a figure could be drawn into its file."""
    path.unlink(missing_ok=True)
    try:
        figure = draw()
        if figure is None:
            return False
        write(figure, path, dpi)
    except Exception as error:  # any error: the numbers and sentences do not depend on the figure
        path.unlink(missing_ok=True)
        if not path.stem.endswith(NARROW_FORM):  # told of the wide form
            tell(f"figures/{path.name} is left out: {type(error).__name__}: {first_line(error)}")
        return False
    return True
