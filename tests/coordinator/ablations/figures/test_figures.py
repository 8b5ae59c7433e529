"""Pictures of an ablation, from run folders written by hand: what they draw, and what they leave out."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.markers import CARETLEFT, CARETRIGHT

from coordinator.ablations.comparisons.comparison import compare
from coordinator.ablations.figures import forest, lines, maps
from coordinator.ablations.figures.saving import save_ablation_figures
from coordinator.ablations.figures.styles import styles_of
from coordinator.experiment.config import load_config, to_toml
from coordinator.figures.style import GAINS, MARKERS
from coordinator.measures import declared
from coordinator.records.files.run_folder import to_arrow

MEASURES = ["probes.knn.gain", "consensus.relative_distance.last"]
GAPS = {"ring": 0.5, "complete": 1.0}
KINDS = tuple(GAPS)


TWICE = [f"{name}{form}" for name in ("estimates", "consensus", "connectivity", "bytes") for form in ("", "-narrow")]
Legible = Callable[[Figure], list[str]]


def run(path: Path, kind: str, distances: list[float], gain: float, seconds: float = 0.0) -> Path:
    """A run of two rounds. seconds: of virtual time that each takes; 0: it has no simulated network."""
    (path / "metrics").mkdir(parents=True)
    table = {"data": {"kind": "digits"}, "peers": {"count": 3}, "topology": {"kind": kind}}
    (path / "config.toml").write_text(to_toml(load_config(table)))
    probes = {"knn": {"peers": {"peer": [0, 2], "gain": [gain, -gain]}}}
    (path / "summary.json").write_text(json.dumps({"probes": probes}))
    rounds = [
        {"round": t, "relative_distance": each, "agreement": 1 - each, "bytes_so_far": 100 * t or None}
        for t, each in enumerate(distances)
    ]
    if seconds:
        rounds = [row | {"virtual_seconds": seconds * row["round"] or None} for row in rounds]
    pairs = [
        {"round": 2, "peer": i, "other": j, "total_variation": distances[-1] * (i + j), "cka": 1 - distances[-1]}
        for i, j in ((0, 1), (0, 2), (1, 2))
    ]
    for name, rows in (("rounds", rounds), ("pairs", pairs)):
        pq.write_table(to_arrow(rows), path / "metrics" / f"{name}.parquet")
    return path


@pytest.fixture
def timed(tmp_path: Path) -> dict[str, list[Path]]:
    """The same on simulated networks, one thirty times as slow; a linear probe after each round."""
    found = {}
    for kind, seconds in (("ring", 1.0), ("complete", 30.0)):
        found[kind] = [run(tmp_path / f"timed-{kind}{seed}", kind, [0.8, 0.4, 0.2], 0.1, seconds) for seed in (0, 1)]
        for seed, path in enumerate(found[kind]):
            peers = [
                {"round": t, "peer": peer, "loss": 0.1, "linear_accuracy": 0.5 + 0.01 * t * (1 + seed)}
                for t in (1, 2)
                for peer in range(3)
            ]
            pq.write_table(to_arrow(peers), path / "metrics" / "peers.parquet")
            probes = {"probes": {"linear": {"calibrated": 0.5}, "knn": {"peers": {"peer": [], "gain": []}}}}
            (path / "summary.json").write_text(json.dumps(probes))
    return found


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
STYLES = styles_of(ROWS, KINDS)


def points(axis: Axes) -> list[tuple[float, float]]:
    """Of the lines that mark one point: neither bars nor their caps."""
    return [tuple(line.get_xydata()[0]) for line in axis.lines if line.get_marker() in MARKERS]


def test_save_ablation_figures__writes_all_and_names_them_in_order(tmp_path: Path, runs: dict[str, list[Path]]) -> None:
    names = save_ablation_figures(ROWS, runs, COMPARISON, tmp_path / "out")
    assert names == [f"{name}.png" for name in (*TWICE, "total_variation", "cka", "topologies")]
    for name in names:
        width = imread(tmp_path / "out" / "figures" / name).shape[1]
        assert width == 792 if "-narrow" in name else width >= 670  # 3.6 inches at 220 dots; see WIDE


def test_save_ablation_figures__without_finished_runs_removes_older_pictures(
    tmp_path: Path,
) -> None:
    stopped: dict[str, list[Path]] = {"ring": [], "complete": []}
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "cka.png").write_bytes(b"old")
    names = [f"{name}{form}.png" for name in ("estimates", "connectivity") for form in ("", "-narrow")]
    assert save_ablation_figures(ROWS, stopped, COMPARISON, tmp_path) == names
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
    assert drawn == [f"{name}.png" for name in (*TWICE, "topologies")]
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
    figure = forest.draw_estimates(
        compare(rows_of({cell: [0.1] for cell in cells}), cells, "cell 0", measures), styles_of([], cells)
    )
    assert figure is not None and len(figure.axes) == 8
    assert {len(axis.get_yticks()) for axis in figure.axes} == {40}
    assert figure.get_suptitle() == "the first 40 of 41 cells\nthe first 8 of 9 measures"
    few = forest.draw_estimates(COMPARISON, STYLES)
    assert few is not None and few.get_suptitle() == ""


@pytest.mark.parametrize("narrow", [False, True])
def test_draw_estimates__long_titles_stay_on_the_canvas(narrow: bool, legible: Legible) -> None:
    cells, targets = ["ring, clock=neighbours", "complete, clock=free-running"], ["time_to", "bytes_to"]
    measures = [f"{target}.relative_distance.0.5" for target in targets]
    rows = rows_of({cell: [0.1] for cell in cells})
    figure = forest.draw_estimates(compare(rows, cells, cells[0], measures), styles_of([], cells), narrow)
    assert figure is not None
    texts = [" ".join(text.split()) for text in legible(figure)]
    assert {"virtual time to 50% of the initial disagreement (s)"} <= set(texts)


def test_draw_estimates__means_in_points_with_intervals_and_the_zero() -> None:
    figure = forest.draw_estimates(COMPARISON, STYLES)
    assert figure is not None
    gain, distance = figure.axes
    assert np.allclose(points(gain), [(2.0, 0), (2.0, 1)])
    assert np.allclose(points(distance), [(0.1, 0), (0.1, 1)])
    bar = next(line for line in gain.lines if line.get_linewidth() == 2)
    low, high = bar.get_xdata()
    known = COMPARISON.estimates["ring", "probes.knn.gain"]
    assert known.low is not None and known.high is not None
    assert (low, high) == pytest.approx((100 * known.low, 100 * known.high))
    assert [label.get_text() for label in gain.get_yticklabels()] == ["ring (reference)", "complete"]
    vertical = [[line.get_xdata()[0] for line in axis.lines if line.get_linewidth() == 0.9] for axis in figure.axes]
    assert vertical == [[0, pytest.approx(2.0)], [pytest.approx(0.1)]]  # no gain, and the reference's mean
    assert (gain.get_xlabel(), distance.get_xlabel()) == ("percentage points", "relative distance (0 to 1)")


def test_draw_estimates__gains_that_are_told_from_0_are_filled() -> None:
    """As in the figures of one run, and of one experiment over seeds."""
    rows = rows_of({"ring": [0.01, 0.03], "complete": [0.0201, 0.0199, 0.02]})
    comparison = compare(rows, KINDS, "ring", MEASURES)
    assert [comparison.p_holm[cell, "probes.knn.gain"] < 0.05 for cell in KINDS] == [False, True]
    figure = forest.draw_estimates(comparison, STYLES)
    assert figure is not None
    faces = [
        [line.get_markerfacecolor() == "white" for line in axis.lines if line.get_marker() in MARKERS]
        for axis in figure.axes
    ]
    assert faces == [[True, False], [False, False]]  # the disagreement is not tested against 0


def test_draw_estimates__one_seed_has_points_and_no_bars() -> None:
    cells = ["ring", "complete"]
    single = compare(rows_of({cell: [0.01] for cell in cells}), cells, "ring", MEASURES[:1])
    figure = forest.draw_estimates(single, styles_of([], cells))
    assert figure is not None
    zero, reference, *marks = figure.axes[0].lines
    assert [list(mark.get_xdata()) for mark in marks] == [[1.0], [1.0]]
    assert reference.get_xdata()[0] == 1.0 and list(zero.get_xdata()) == [0, 0]


@pytest.mark.parametrize("narrow", [False, True])
def test_draw_estimates__a_single_cell_has_one_panel_with_a_line_for_each_gain(narrow: bool, legible: Legible) -> None:
    rows = [
        {"cell": "all", "seed": seed, "probes.knn.gain": gain, "probes.knn.over_alone.mean": over, MEASURES[1]: 0.1}
        for seed, (gain, over) in enumerate([(0.03, -0.01), (0.031, 0.012), (0.029, 0.0)])
    ]
    measures = ["probes.knn.gain", "probes.knn.over_alone.mean", MEASURES[1]]
    known = compare(rows, ["all"], "all", measures)
    figure = forest.draw_estimates(known, styles_of([], ["all"]), narrow)
    assert figure is not None
    (axis,) = figure.axes
    assert [label.get_text() for label in axis.get_yticklabels()] == ["kNN gain", "kNN over alone"]
    marks = [line for line in axis.lines if line.get_marker() in MARKERS]
    assert [mark.get_xdata()[0] for mark in marks] == pytest.approx([3.0, 200 / 3000])
    p_values = [known.p_holm["all", measure] for measure in measures[:2]]
    assert [mark.get_markerfacecolor() == "white" for mark in marks] == [p >= 0.05 for p in p_values] == [False, True]
    texts = legible(figure)
    assert narrow or any(text.startswith("+3.0 (") for text in texts)


def test_draw_consensus__means_bands_and_a_logarithmic_scale_where_it_helps(runs: dict[str, list[Path]]) -> None:
    figure = lines.draw_consensus({"ring": runs["ring"]}, STYLES)
    assert figure is not None
    distance, agreement = figure.axes
    assert np.allclose(distance.lines[0].get_xydata(), [[0, 0.85], [1, 0.4], [2, 0.11]])
    assert np.allclose(agreement.lines[0].get_ydata(), [15, 60, 89])  # percent
    assert (distance.get_yscale(), agreement.get_yscale()) == ("linear", "linear")  # 0.85 / 0.11 is below the ratio
    assert len(distance.collections) == 1 and distance.get_title(loc="left") == "disagreement, 95% bands"
    alone = lines.draw_consensus({"ring": runs["ring"][:1]}, STYLES)
    assert alone is not None and alone.axes[0].get_yscale() == "log"  # 0.85 / 0.1
    assert not alone.axes[0].collections and "band" not in alone.axes[0].get_title(loc="left")


def test_draw_bytes__leaves_out_cells_that_exchange_nothing(tmp_path: Path, runs: dict[str, list[Path]]) -> None:
    quiet = run(tmp_path / "quiet", "self", [0.8], 0.0)
    figure = lines.draw_bytes({**runs, "self": [quiet]}, styles_of([], [*KINDS, "self"]))
    assert figure is not None
    (axis,) = figure.axes
    assert [line.get_label() for line in axis.lines] == list(KINDS) and axis.get_xscale() == "log"
    assert np.allclose(axis.lines[0].get_xydata(), [[100 / 2**20, 0.4], [200 / 2**20, 0.11]])
    assert lines.draw_bytes({"self": [quiet]}, styles_of([], ["self"])) is None


def test_draw_connectivity__mean_gain_at_the_connectivity() -> None:
    figure = lines.draw_connectivity(ROWS, KINDS, STYLES)
    assert figure is not None
    assert np.allclose(points(figure.axes[0]), [(0.5, 2.0), (1.0, 2.0)])


@pytest.mark.parametrize("gaps", [{}, {"ring": 0.5}, {"ring": 0.5, "complete": 0.5}, {"ring": None, "complete": None}])
def test_draw_connectivity__nothing_to_tell_cells_apart(gaps: dict[str, Any]) -> None:
    rows = rows_of({"ring": [0.01], "complete": [0.02]}, gaps)
    assert lines.draw_connectivity(rows, KINDS, STYLES) is None


def test_draw_connectivity__cells_of_one_value_are_drawn_apart() -> None:
    rows = rows_of({"a": [0.01], "b": [0.02], "c": [0.03]}, {"a": 0.5, "b": 0.5, "c": 1.0})
    figure = lines.draw_connectivity(rows, ["a", "b", "c"], styles_of([], ["a", "b", "c"]))
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


def test_draw_consensus__bands_stay_in_the_possible_range(tmp_path: Path) -> None:
    """Of two seeds far apart the t-interval of the agreement is from below 0 to above 100%."""
    pair = [run(tmp_path / f"far{seed}", "ring", [each, each], 0.1) for seed, each in enumerate((0.05, 0.95))]
    figure = lines.draw_consensus({"ring": pair}, STYLES)
    assert figure is not None
    for axis, most in zip(figure.axes, (1.0, 100.0), strict=True):
        (band,) = axis.collections
        heights = band.get_paths()[0].vertices[:, 1]
        assert (heights.min(), heights.max()) == (0.0, most)
        assert axis.get_ylim() == pytest.approx((0.0, 1.02 * most))


def test_draw_estimates__an_interval_many_times_as_wide_does_not_flatten_the_others() -> None:
    gains = {f"cell {i}": [0.01 * i, 0.01 * i + 0.001, 0.01 * i - 0.001] for i in range(6)}
    few = compare(rows_of({**gains, "wide": [0.9, -0.9, 0.0]}), [*gains, "wide"], "cell 0", MEASURES[:1])
    figure = forest.draw_estimates(few, styles_of([], few.cells))
    assert figure is not None
    low, high = figure.axes[0].get_xlim()
    assert high - low < 10 and (low < 0 and high > 5)
    arrows = [line for line in figure.axes[0].lines if line.get_marker() in (CARETLEFT, CARETRIGHT)]
    assert [line.get_xdata()[0] for line in arrows] == [low, high]  # of the wide one


@pytest.mark.parametrize(
    ("measure", "expected"),
    [
        ("probes.knn.gain", (-1, 1)),
        ("probes.knn.over_alone.mean", (-1, 1)),
        ("probes.knn.trained", (0, 1)),
        ("consensus.agreement.last", (0, 1)),
        ("consensus.js.last", (0, None)),
        ("consensus.fleiss_kappa.first", (-1, 1)),
        ("bytes_exchanged", (0, None)),
        ("topology.spectral_gap", (None, None)),
    ],
)
def test_range_of__a_measure_by_its_dotted_name(measure: str, expected: tuple[Any, Any]) -> None:
    found = forest.range_of(measure)
    assert (found.low, found.high) == expected


@pytest.mark.parametrize("narrow", [False, True])
def test_figures__names_of_any_kind(
    narrow: bool, hostile: tuple[str, ...], runs: dict[str, list[Path]], legible: Legible
) -> None:
    """Every text is on the canvas, and none on another; every chart says what its axes are."""
    cells = [*hostile, "ring"]
    rows = rows_of({cell: [0.01, 0.03] for cell in cells}, {cell: place / 9 for place, cell in enumerate(cells)})
    measures = [*MEASURES, "consensus.agreement.last", "probes.knn.over_alone.mean"]
    known, styles = compare(rows, cells, hostile[0], measures), styles_of(rows, cells)
    finished = {cell: runs["ring"] for cell in cells}
    made = [
        forest.draw_estimates(known, styles, narrow),
        lines.draw_consensus(finished, styles, narrow),
        lines.draw_bytes(finished, styles, narrow),
        lines.draw_connectivity(rows, cells, styles, narrow),
    ]
    for figure in made:
        assert figure is not None
        assert all(axis.get_xlabel() for axis in figure.axes)
        assert figure is made[0] or all(axis.get_ylabel() for axis in figure.axes)
        legible(figure)


def test_maps__names_of_any_kind(hostile: tuple[str, ...], runs: dict[str, list[Path]], legible: Legible) -> None:
    finished = {cell: runs["ring"] for cell in hostile}
    for figure in (maps.draw_topologies(finished), *(maps.draw_pairs(finished, each) for each in declared.PAIRS)):
        assert figure is not None
        legible(figure)


@pytest.mark.parametrize("narrow", [False, True])
def test_draw_seconds__disagreement_and_gain_at_their_virtual_time(
    timed: dict[str, list[Path]], narrow: bool, legible: Legible
) -> None:
    figure = lines.draw_seconds(timed, STYLES, narrow)
    assert figure is not None and legible(figure)
    distance, gain = figure.axes
    assert {axis.get_xlabel() for axis in figure.axes} == {"virtual time (s)"}
    assert {axis.get_xscale() for axis in figure.axes} == {"log"}  # 2 s beside 60 s
    curves = {line.get_label(): line for line in distance.lines}
    assert curves["ring"].get_xdata().tolist() == [0, 1, 2] and curves["complete"].get_xdata().tolist() == [0, 30, 60]
    assert curves["ring"].get_ydata().tolist() == pytest.approx([0.8, 0.4, 0.2])
    of_ring = next(line for line in gain.lines if line.get_label() == "ring")
    assert of_ring.get_ydata().tolist() == pytest.approx([1.5, 3.0])  # points, mean of two seeds
    assert gain.get_title("left").startswith("linear gain in virtual time")


def test_draw_seconds__without_virtual_time_there_is_none(runs: dict[str, list[Path]]) -> None:
    for paths in runs.values():
        for path in paths:
            pq.write_table(to_arrow([{"round": 0, "peer": 0}]), path / "metrics" / "peers.parquet")
    assert lines.draw_seconds(runs, STYLES) is None


def test_draw_estimates__a_target_that_was_not_reached_is_told(legible: Legible) -> None:
    time = "time_to.relative_distance.0.1"
    costs = {"ring": [4.0, 5.0], "complete": [1.0, float("inf")]}
    rows = [{"cell": cell, "seed": seed, time: cost} for cell, each in costs.items() for seed, cost in enumerate(each)]
    figure = forest.draw_estimates(compare(rows, KINDS, "ring", [time]), STYLES)
    assert figure is not None and legible(figure)
    (axis,) = figure.axes
    assert np.allclose(points(axis), [(4.5, 0)]) and axis.get_xlabel() == "s"
    assert [(text.get_text(), text.get_position()[1]) for text in axis.texts] == [("not reached in 1/2", 1)]
    nobody = [row | {time: float("inf")} for row in rows]
    figure = forest.draw_estimates(compare(nobody, KINDS, "ring", [time]), STYLES)
    assert figure is not None and legible(figure) and not len(figure.axes[0].get_xticks())
