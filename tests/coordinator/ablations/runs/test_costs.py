"""What a run paid until a target, from tables written by hand; runs that did not reach it; their comparison."""

import io
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from coordinator.ablations.comparisons.comparison import compare, to_table
from coordinator.ablations.comparisons.estimates import Comparison
from coordinator.ablations.quiet import verdicts
from coordinator.ablations.runs.costs import costs
from coordinator.ablations.runs.curves import curve, gain_curve
from coordinator.ablations.tables import print_comparison
from coordinator.measures.statistics import estimate, paired_difference
from coordinator.measures.targets import NOT_REACHED
from coordinator.records.files.run_folder import to_arrow
from coordinator.records.plain_text import PlainConsole

TIME, ROUNDS, SENT = (f"{paid}.relative_distance.0.5" for paid in ("time_to", "rounds_to", "bytes_to"))
GAIN = "time_to.linear_gain.0.02"
SUMMARY: dict[str, Any] = {"probes": {"linear": {"calibrated": 0.5}}, "not_finite": {"2": {"round": 1, "reason": "x"}}}
inf, unknown = NOT_REACHED, None


def run(folder: Path, timed: bool = True, accuracies: tuple[float, ...] = (0.5, 0.53)) -> Path:
    """Four rounds of 2 s and 100 bytes, measured after 0, 2 and 4; probes after 2 and 4, of peers 0 to 2."""
    distances = {0: 0.8, 2: 0.6, 4: 0.2}
    rounds = [{"round": 0, "relative_distance": 0.8, "bytes_so_far": None, "virtual_seconds": None}]
    rounds += [
        {"round": t, "relative_distance": distances.get(t), "bytes_so_far": 100 * t, "virtual_seconds": 2.0 * t}
        for t in range(1, 5)
    ]
    if not timed:
        rounds = [{name: value for name, value in row.items() if name != "virtual_seconds"} for row in rounds]
    peers = [
        {"round": t, "peer": peer, "loss": 0.1, "linear_accuracy": accuracy if peer < 2 else 0.0}
        for t, accuracy in zip((2, 4), accuracies, strict=True)
        for peer in range(3)
    ]
    (folder / "metrics").mkdir(parents=True)
    (folder / "summary.json").write_text(json.dumps(SUMMARY))
    for name, rows in (("rounds", rounds), ("peers", peers)):
        pq.write_table(to_arrow(rows), folder / "metrics" / f"{name}.parquet")
    return folder


def test_costs__between_measurements_on_a_line_and_of_probes_at_them(tmp_path: Path) -> None:
    """0.4 lies half way between 0.6 and 0.2, so after 3 rounds; the gain of 3 points is seen after 4."""
    found = costs(run(tmp_path), SUMMARY, [TIME, "rounds", ROUNDS, SENT, GAIN])
    assert found == pytest.approx({TIME: 6.0, ROUNDS: 3.0, SENT: 300.0, GAIN: 8.0})


def test_costs__not_reached_is_infinite_and_not_measured_unknown(tmp_path: Path) -> None:
    folder = run(tmp_path)
    asked = ["time_to.relative_distance.0.2", "time_to.linear_gain.0.04", "time_to.js.0.5", "time_to.knn_gain.0.02"]
    assert list(costs(folder, SUMMARY, asked).values()) == [inf, inf, unknown, unknown]


def test_costs__a_run_without_virtual_time(tmp_path: Path) -> None:
    folder = run(tmp_path, timed=False)
    assert costs(folder, SUMMARY, [TIME, ROUNDS, GAIN]) == {TIME: unknown, ROUNDS: pytest.approx(3.0), GAIN: unknown}


def test_curves__against_virtual_time(tmp_path: Path) -> None:
    folders = [run(tmp_path / "a"), run(tmp_path / "b", accuracies=(0.51, 0.54))]
    distance, gain = curve(folders, "virtual_seconds", "relative_distance"), gain_curve(folders, "round", "linear")
    assert distance is not None and gain is not None
    assert distance.x.tolist() == [0, 4, 8] and distance.mean.tolist() == [0.8, 0.6, 0.2]
    assert gain.x.tolist() == [2, 4] and gain.mean.tolist() == pytest.approx([0.005, 0.035])


def compared(**cells: list[float | None]) -> Comparison:
    rows = [
        {"cell": cell, "seed": seed, "status": "finished", TIME: value}
        for cell, values in cells.items()
        for seed, value in enumerate(values)
    ]
    return compare(rows, list(cells), next(iter(cells)), [TIME])


def test_compare__a_cell_with_a_run_that_did_not_reach_it_has_no_mean() -> None:
    """The mean over the seeds that did would be that of the fast ones."""
    ours = compared(ring=[4.0, 5.0, 6.0], star=[3.0, inf, 9.0], full=[1.0, 2.0, 3.5], few=[inf, inf, inf])
    assert ours.estimates["ring", TIME] == estimate([4.0, 5.0, 6.0])
    assert ours.estimates["star", TIME].n == ours.estimates["few", TIME].n == 0
    missed = ours.missed["star", TIME]
    assert (missed.seeds, missed.of, missed.low, missed.high) == (1, 3, 3.0, 9.0) and ours.missed[
        "few", TIME
    ].seeds == 3
    (difference,) = ours.differences
    assert difference.cell == "full" and difference.estimate == paired_difference([1.0, 2.0, 3.5], [4.0, 5.0, 6.0])
    assert not any("Not tested" in line for line in ours.words)
    (line,) = (line for line in ours.words if line.startswith("No mean and no difference"))
    assert line.endswith(": virtual time to 50% of the initial disagreement in 2 of 4 cells.")


def test_compare__a_reference_that_did_not_reach_it_has_no_differences() -> None:
    assert compared(ring=[4.0, inf], full=[1.0, 2.0]).differences == ()


def test_compare__a_run_without_the_number_is_not_one_that_missed_it() -> None:
    ours = compared(ring=[4.0, unknown, 6.0])
    assert not ours.missed and ours.estimates["ring", TIME].n == 2


def test_to_table__counts_who_reached_it() -> None:
    ours = compared(ring=[4.0, 5.0], star=[inf, 7.0], few=[inf, inf])
    keys = ("reached", "not_reached", "mean", "reached_low", "reached_high")
    found = {row["cell"]: [row.get(key) for key in keys] for row in to_table(ours)["estimates"]}
    assert found == {"ring": [2, 0, 4.5, None, None], "star": [1, 1, None, 7.0, 7.0], "few": [0, 2, None, None, None]}
    json.dumps(to_table(ours), allow_nan=False)


def test_compare__a_seed_in_which_nothing_arrived_leaves_no_mean() -> None:
    """The round of arrival is no target, but as with one the mean over the other seeds would be too good."""
    name = "groups.poor.hops.2.arrival.knn.over_alone"
    rows = [{"cell": "ring", "seed": seed, name: value} for seed, value in enumerate((100.0, inf, 200.0))]
    ours = compare(rows, ["ring"], "ring", [name])
    assert ours.missed["ring", name].seeds == 1 and ours.estimates["ring", name].n == 0
    assert list(verdicts(ours)) == [
        "round of arrival of kNN over alone (poor, 2 links away): nothing arrived in 1 of 3 seeds, the others: 100 to "
        "200"
    ]
    assert next(verdicts(compare(rows[::2], ["ring"], "ring", [name]))).startswith(
        "round of arrival of kNN over alone (poor, 2 links away): 150 ("
    )


def test_print__not_reached_is_said() -> None:
    ours = compared(ring=[4.0, 5.0, 6.0], star=[3.0, inf, 9.0], few=[inf, inf, inf], one=[inf, inf, 2.5])
    made = PlainConsole(file=io.StringIO(), width=160, color_system=None)
    print_comparison(ours, made)
    assert isinstance(made.file, io.StringIO)
    lines = {line.split()[0]: line.split() for line in made.file.getvalue().splitlines() if line.strip()}
    assert " ".join(lines["star"]) == "star not reached in 1 of 3 seeds the others: 3 to 9"
    assert " ".join(lines["few"]) == "few not reached in 3 of 3 seeds"
    assert " ".join(lines["one"]) == "one not reached in 2 of 3 seeds the other: 2.5"
    assert list(verdicts(ours))[:2] == [
        "ring: virtual time to 50% of the initial disagreement: 5 s (2.52 to 7.48)",
        "star: virtual time to 50% of the initial disagreement: not reached in 1 of 3 seeds, the others: 3 to 9",
    ]
