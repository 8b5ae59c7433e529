"""Pictures of an ablation, from run folders written by hand: what they draw, and what they leave out."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from matplotlib.axes import Axes
from matplotlib.image import imread

from coordinator.ablations import figures, maps
from coordinator.ablations.comparison import compare
from coordinator.ablations.figures import save_ablation_figures
from coordinator.experiment.config import load_config, to_toml
from coordinator.measures import declared
from coordinator.records.run_folder import to_arrow
from coordinator.reports.figures import GAINS

MEASURES = ["probes.knn.gain", "consensus.relative_distance.last"]
GAPS = {"ring": 0.5, "complete": 1.0}
KINDS = tuple(GAPS)
MARKERS = {*figures.MARKERS}


def run(path: Path, kind: str, distances: list[float], gain: float) -> Path:
    (path / "metrics").mkdir(parents=True)
    table = {"data": {"kind": "digits"}, "peers": {"count": 3}, "topology": {"kind": kind}}
    (path / "config.toml").write_text(to_toml(load_config(table)))
    probes = {"knn": {"peers": {"peer": [0, 2], "gain": [gain, -gain]}}}
    (path / "summary.json").write_text(json.dumps({"probes": probes}))
    rounds = [
        {"round": t, "relative_distance": each, "agreement": 1 - each, "bytes_so_far": 100 * t or None}
        for t, each in enumerate(distances)
    ]
    pairs = [
        {"round": 2, "peer": i, "other": j, "total_variation": distances[-1] * (i + j), "cka": 1 - distances[-1]}
        for i, j in ((0, 1), (0, 2), (1, 2))
    ]
    for name, rows in (("rounds", rounds), ("pairs", pairs)):
        pq.write_table(to_arrow(rows), path / "metrics" / f"{name}.parquet")
    return path


@pytest.fixture
def runs(tmp_path: Path) -> dict[str, list[Path]]:
    """Two cells with two seeds each."""
    return {
        kind: [
            run(tmp_path / f"{kind}{seed}", kind, [0.85, 0.4, 0.1 + 0.02 * seed], 0.1 + seed / 10) for seed in (0, 1)
        ]
        for kind in KINDS
    }


def rows_of(gains: dict[str, list[float]], gaps: dict[str, Any] = GAPS) -> list[dict[str, Any]]:
    return [
        {
            "cell": cell,
            "seed": seed,
            "status": "finished",
            "probes.knn.gain": gain,
            "consensus.relative_distance.last": 0.1,
            "topology.pooling_connectivity": gaps.get(cell),
        }
        for cell, each in gains.items()
        for seed, gain in enumerate(each)
    ]


ROWS = rows_of({"ring": [0.01, 0.03], "complete": [0.02, 0.02]})
COMPARISON = compare(ROWS, KINDS, "ring", MEASURES)


def points(axis: Axes) -> list[tuple[float, float]]:
    """Of the lines that mark one point: neither bars nor their caps."""
    return [tuple(line.get_xydata()[0]) for line in axis.lines if line.get_marker() in MARKERS]


def test_save_ablation_figures__writes_all_and_names_them_in_order(tmp_path: Path, runs: dict[str, list[Path]]) -> None:
    names = save_ablation_figures(ROWS, runs, COMPARISON, tmp_path / "out")
    assert names == [
        f"{name}.png"
        for name in ("estimates", "consensus", "connectivity", "bytes", "total_variation", "cka", "topologies")
    ]
    for name in names:
        assert imread(tmp_path / "out" / "figures" / name).shape[1] == 630  # 4.2 inches at 150 dots


def test_save_ablation_figures__without_finished_runs_removes_older_pictures(
    tmp_path: Path,
) -> None:
    stopped: dict[str, list[Path]] = {"ring": [], "complete": []}
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "cka.png").write_bytes(b"old")
    assert save_ablation_figures(ROWS, stopped, COMPARISON, tmp_path) == ["estimates.png", "connectivity.png"]
    assert not (tmp_path / "figures" / "cka.png").exists()


def test_save_ablation_figures__what_cannot_be_drawn_is_left_out_and_told(
    tmp_path: Path, runs: dict[str, list[Path]]
) -> None:
    """Pairs that are no table, a file of links that has gone, rounds that are no table."""
    damaged = runs["complete"][0]
    (damaged / "metrics" / "pairs.parquet").write_bytes(b"garbage")
    links = tmp_path / "links.csv"
    links.write_text("0,1\n1,2\n2,0\n")
    table = {"data": {"kind": "digits"}, "peers": {"count": 3}, "topology": {"kind": "file", "path": str(links)}}
    (damaged / "config.toml").write_text(to_toml(load_config(table)))
    links.unlink()
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "cka.png").write_bytes(b"old")
    said: list[str] = []
    drawn = save_ablation_figures(ROWS, runs, COMPARISON, tmp_path, said.append)
    assert drawn == ["estimates.png", "consensus.png", "connectivity.png", "bytes.png", "topologies.png"]
    assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == sorted(drawn)
    starts = (
        "figures/total_variation.png is left out: ",
        "figures/cka.png is left out: ",
        "figures/topologies.png is ",
    )
    assert len(said) == 3 and all(line.startswith(start) for line, start in zip(said, starts, strict=True))
    assert "without 'complete': " in said[2]
    figure = maps.draw_topologies(runs)
    assert figure is not None and [axis.get_title() for axis in figure.axes if axis.get_title()] == ["ring"]


def test_draw_estimates__so_many_and_says_so() -> None:
    cells, measures = [f"cell {i}" for i in range(41)], [f"m{i}" for i in range(9)]
    figure = figures.draw_estimates(compare(rows_of({cell: [0.1] for cell in cells}), cells, "cell 0", measures))
    assert figure is not None and len(figure.axes) == 8
    assert {len(axis.get_yticks()) for axis in figure.axes} == {40}
    assert figure.get_suptitle() == "the first 40 of 41 cells\nthe first 8 of 9 measures"
    few = figures.draw_estimates(COMPARISON)
    assert few is not None and few.get_suptitle() == ""


def test_draw_estimates__means_in_points_with_intervals_and_the_zero() -> None:
    figure = figures.draw_estimates(COMPARISON)
    assert figure is not None
    gain, distance = figure.axes
    assert np.allclose(points(gain), [(2.0, 0), (2.0, 1)])
    assert np.allclose(points(distance), [(0.1, 0), (0.1, 1)])
    low, high = gain.lines[0].get_xdata()
    known = COMPARISON.estimates["ring", "probes.knn.gain"]
    assert known.low is not None and known.high is not None
    assert (low, high) == pytest.approx((100 * known.low, 100 * known.high))
    assert [label.get_text() for label in gain.get_yticklabels()] == ["ring (reference)", "complete"]
    vertical = [line for line in gain.lines if list(line.get_xdata()) == [0, 0]]
    assert len(vertical) == 1 and not [line for line in distance.lines if list(line.get_xdata()) == [0, 0]]


def test_draw_estimates__one_seed_has_points_and_no_bars() -> None:
    figure = figures.draw_estimates(compare(rows_of({"ring": [0.01]}), ["ring"], "ring", MEASURES[:1]))
    assert figure is not None
    point, zero = figure.axes[0].lines
    assert list(point.get_xdata()) == [1.0] and list(zero.get_xdata()) == [0, 0]


def test_draw_consensus__means_bands_and_a_logarithmic_scale_where_it_helps(runs: dict[str, list[Path]]) -> None:
    figure = figures.draw_consensus({"ring": runs["ring"]}, KINDS)
    assert figure is not None
    distance, agreement = figure.axes
    assert np.allclose(distance.lines[0].get_xydata(), [[0, 0.85], [1, 0.4], [2, 0.11]])
    assert np.allclose(agreement.lines[0].get_ydata(), [0.15, 0.6, 0.89])
    assert (distance.get_yscale(), agreement.get_yscale()) == ("linear", "linear")  # 0.85 / 0.11 is below the ratio
    assert len(distance.collections) == 1 and distance.get_title().endswith("95% bands over seeds")
    alone = figures.draw_consensus({"ring": runs["ring"][:1]}, KINDS)
    assert alone is not None and alone.axes[0].get_yscale() == "log"  # 0.85 / 0.1
    assert not alone.axes[0].collections and "band" not in alone.axes[0].get_title()


def test_draw_bytes__leaves_out_cells_that_exchange_nothing(tmp_path: Path, runs: dict[str, list[Path]]) -> None:
    quiet = run(tmp_path / "quiet", "self", [0.8], 0.0)
    figure = figures.draw_bytes({**runs, "self": [quiet]}, [*KINDS, "self"])
    assert figure is not None
    (axis,) = figure.axes
    assert [line.get_label() for line in axis.lines] == list(KINDS) and axis.get_xscale() == "log"
    assert np.allclose(axis.lines[0].get_xydata(), [[100, 0.4], [200, 0.11]])
    assert figures.draw_bytes({"self": [quiet]}, ["self"]) is None


def test_draw_connectivity__mean_gain_at_the_connectivity() -> None:
    figure = figures.draw_connectivity(ROWS, KINDS)
    assert figure is not None
    assert np.allclose(points(figure.axes[0]), [(0.5, 2.0), (1.0, 2.0)])


@pytest.mark.parametrize("gaps", [{}, {"ring": 0.5}, {"ring": 0.5, "complete": 0.5}, {"ring": None, "complete": None}])
def test_draw_connectivity__nothing_to_tell_cells_apart(gaps: dict[str, Any]) -> None:
    rows = rows_of({"ring": [0.01], "complete": [0.02]}, gaps)
    assert figures.draw_connectivity(rows, KINDS) is None


def test_draw_connectivity__cells_of_one_value_are_drawn_apart() -> None:
    rows = rows_of({"a": [0.01], "b": [0.02], "c": [0.03]}, {"a": 0.5, "b": 0.5, "c": 1.0})
    figure = figures.draw_connectivity(rows, ["a", "b", "c"])
    assert figure is not None
    places = [x for x, _ in points(figure.axes[0])]
    assert len(set(places)) == 3 and max(places[0], places[1]) < 0.52


def test_draw_pairs__means_over_seeds_on_one_scale(runs: dict[str, list[Path]]) -> None:
    assert np.allclose(
        maps.pair_matrix(runs["ring"], "total_variation"),
        [[np.nan, 0.11, 0.22], [0.11, np.nan, 0.33], [0.22, 0.33, np.nan]],
        equal_nan=True,
    )
    figure = maps.draw_pairs(runs, declared.TOTAL_VARIATION)
    assert figure is not None
    images = [axis.images[0] for axis in figure.axes[:2]]
    assert np.allclose([image.get_clim() for image in images], (0.0, 0.33))
    assert maps.pair_matrix([], "cka") is None and maps.draw_pairs({}, declared.CKA) is None


def test_draw_pairs__so_many_and_says_so(runs: dict[str, list[Path]]) -> None:
    figure = maps.draw_pairs({f"a cell with a long name, {i}": runs["ring"] for i in range(13)}, declared.CKA)
    assert figure is not None and len(figure.axes) == 12 + 1  # and the scale
    assert "the first 12 of 13 cells" in figure.get_suptitle()


def test_draw_topologies__links_and_mean_gains(runs: dict[str, list[Path]]) -> None:
    assert maps.mean_gains(runs["ring"]) == ("kNN", {0: pytest.approx(0.15), 2: pytest.approx(-0.15)})
    figure = maps.draw_topologies(runs)
    assert figure is not None and len(figure.axes) == 3
    nodes = next(each for each in figure.axes[0].collections if len(each.get_offsets()) == 3)
    assert np.allclose(np.asarray(nodes.get_facecolor())[[0, 2]], [GAINS(1.0), GAINS(0.0)])
    assert "kNN gain" in figure.axes[2].get_xlabel()
