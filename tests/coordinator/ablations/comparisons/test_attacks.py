"""Pairs of cells with and without liars: the same peers are compared, seed by seed."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from matplotlib.figure import Figure

from coordinator import load_ablation
from coordinator.ablations.attack_tables import attack_tables
from coordinator.ablations.comparisons.attack_words import attack_lines
from coordinator.ablations.comparisons.attacks import AttackRow, attack_rows, attacked
from coordinator.ablations.figures.attack_report import draw_attacks
from coordinator.ablations.grids.grid import Cell
from coordinator.measures.gains import Gain, GainMeasure
from coordinator.measures.statistics import estimate

LIARS = [[], [{"peers": [0], "attack": {"kind": "lma"}}], [{"peers": [0, 2], "attack": {"kind": "lma"}}]]
RULES = [{"kind": "mean"}, {"kind": "krum", "f": 1}]
MEASURE = "probes.knn.gain"
Legible = Callable[[Figure], list[str]]


def cells_of(**grid: Any) -> tuple[Cell, ...]:
    table = {
        "name": "liars",
        "seeds": [0, 1],
        "run": {"rounds": 3},
        "data": {"kind": "synthetic", "num_train": 64, "num_test": 32, "batch_size": 16},
        "peers": {"count": 6, "model": {"kind": "mlp", "hidden": [8]}, "head": {"kind": "linear", "dim": 4}},
        "topology": {"kind": "complete"},
        "exchange": {"what": "probabilities"},
        "grid": {"exchange.aggregation": RULES, "peers.adversaries": LIARS, **grid},
    }
    return load_ablation(table).cells


def summary(cell: Cell, seed: int) -> dict[str, Any]:
    """Peer i gains i points by the mean and one less by Krum; each liar takes 2 points, and seed 1 another half."""
    honest = [peer for peer in range(6) if peer not in cell.config.peers.liars]
    lost = 2 * len(cell.config.peers.liars) + 0.5 * seed * bool(cell.config.peers.liars)
    rule = 1 if cell.config.exchange.aggregation.kind == "krum" else 0
    return {"probes": {"knn": {"peers": {"peer": honest, "gain": [(peer - lost - rule) / 100 for peer in honest]}}}}


@pytest.mark.figures
@pytest.mark.parametrize("narrow", [False, True])
def test_draw_attacks__all_of_a_probe_or_nothing_of_it(narrow: bool, legible: Legible) -> None:
    """Seven attacks and two probes: the panels of the second probe are left out as a whole, and told."""
    kinds = ("lma", "cpa", "hips", "alie", "ipm", "sign-flip", "random")
    attacks = [[], *([{"peers": [0], "attack": {"kind": kind}}] for kind in kinds)]
    rows = rows_of(cells_of(**{"peers.adversaries": attacks}))
    knn, linear = (GainMeasure(probe, Gain.OVER_CALIBRATED) for probe in ("knn", "linear"))
    figure = draw_attacks([replace(row, measure=of) for of in (knn, linear) for row in rows], narrow)
    assert figure is not None and len(figure.axes) == 7
    assert all("kNN" in axis.get_title(loc="left") for axis in figure.axes)
    said = " ".join(" ".join(legible(figure)).split())
    assert "7 more panels not drawn, of linear: the tables of the page have all" in said
    whole = draw_attacks(rows, narrow)
    assert whole is not None and not whole.get_suptitle()


def rows_of(cells: tuple[Cell, ...]) -> list[AttackRow]:
    return attack_rows(cells, {(cell.label, seed): summary(cell, seed) for cell in cells for seed in (0, 1)}, [MEASURE])


def test_labels__rules_and_liars_are_legible() -> None:
    labels = [cell.label for cell in cells_of()]
    assert labels[:3] == [f"aggregation=mean, adversaries={text}" for text in ("none", "lma x 1", "lma x 2")]
    late = [{"peers": [0], "attack": {"kind": "lma"}, "from_round": 5, "share": 0.5}]
    views = [[{"name": "good", "count": 2}, {"count": 4, "view": ["flip", "chroma"]}], [{"count": 6}]]
    made = cells_of(**{"peers.adversaries": [[], late], "peers.groups": views})
    assert made[2].label.endswith("adversaries=lma x 1 from 5 at 0.5, groups=2 good + 4 flip-chroma")


def test_labels__liars_that_differ_by_who_they_are_have_their_numbers() -> None:
    both = [[{"peers": [peer], "attack": {"kind": "lma"}}] for peer in (0, 1)]
    labels = [cell.label for cell in cells_of(**{"peers.adversaries": both})]
    assert len({*labels}) == len(labels) == 4 and "peers=1" in labels[1]


def test_attacked__what_else_differs_is_kept_apart() -> None:
    found = attacked(cells_of(topology=[{"kind": "complete"}, {"kind": "random", "teachers": 3}]))
    assert {(each.rule, each.attack, each.liars) for each in found} == {
        (rule, "lma" if liars else "none", liars) for rule in ("mean", "krum(f=1)") for liars in (0, 1, 2)
    }
    assert {each.others for each in found} == {"complete", "random"} and len({each.rest for each in found}) == 2


def test_attack_rows__the_same_peers_with_and_without_lies() -> None:
    rows = {(row.cell.rule, row.cell.liars): row for row in rows_of(cells_of())}
    assert list(rows) == [(rule, liars) for liars in (0, 1, 2) for rule in ("mean", "krum(f=1)")]
    # honest peers 1 to 5, then 1, 3, 4 and 5: they gain more than all six, but each has lost 2 and 4 points, and 1/2
    for rule in ("mean", "krum(f=1)"):
        for liars, mean in ((1, 3.0), (2, 3.25)):
            row = rows[rule, liars]
            assert row.lost is not None and row.lost.mean == pytest.approx((2 * liars + 0.25) / 100)
            assert row.gain.mean == pytest.approx((mean - 2 * liars - 0.25 - (rule != "mean")) / 100)
            assert row.cost is None
    cost = rows["krum(f=1)", 0].cost
    assert cost is not None and cost.mean == pytest.approx(0.01)
    assert rows["mean", 0].cost is None and rows["mean", 0].lost is None


def test_attack_rows__none_where_liars_do_not_vary() -> None:
    assert rows_of(cells_of(**{"peers.adversaries": [LIARS[1]]})) == []
    assert attack_rows(cells_of(), {}, ["consensus.js.last"]) == []


def test_attack_lines__name_what_is_told_from_zero() -> None:
    """Losses of 2 and 2.5, 4 and 4.5 points: t-tests of 2 seeds with p 0.07 and 0.037, which four tests do not bear;
    of 2, 2.001 and 2.002 points by each rule one does, and a cost that is equal with every seed has no test.
    """
    found = attack_lines(rows_of(cells_of()))
    assert found == [
        "Lost to the lies (the same honest peers with and without liars): means of +2.2 to +4.2 points; none told from "
        "0 in 4 tests after Holm's correction."
    ]
    sure = [
        replace(row, lost=estimate([0.02, 0.02001, 0.02002]), cost=estimate([0.01, -0.01, 0.001]))
        for row in rows_of(cells_of())
        if row.cell.liars == 2
    ]
    lost, cost = attack_lines(sure)
    assert "+2.0 by kNN for mean against lma x 2 and +2.0 by kNN for krum(f=1) against lma x 2, told from 0 in" in lost
    assert cost.endswith("means of +0.03 to +0.03 points; none told from 0 in 2 tests after Holm's correction.")
    assert attack_lines([]) == []


@pytest.mark.figures
@pytest.mark.parametrize("narrow", [False, True])
def test_report__table_and_figure(narrow: bool, legible: Legible) -> None:
    rows = rows_of(cells_of(topology=[{"kind": "complete"}, {"kind": "random", "teachers": 3}]))
    (table,) = attack_tables(rows)
    assert table.names[0] == "settings" and len(table.rows) == 12
    assert table.rows[2][:5] == ["complete", "lma", "1", "mean", "+0.8 (-2.4 to +3.9)"]
    assert all(len(row) == len(table.names) for row in table.rows)
    figure = draw_attacks(rows, narrow)
    assert figure is not None and len(figure.axes) == 2
    legible(figure)
    line = next(line for line in figure.axes[0].get_lines() if line.get_label() == "mean")
    assert line.get_ydata() == pytest.approx([2.5, 0.75, -1.0])
