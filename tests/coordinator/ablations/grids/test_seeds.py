"""`run --seeds`: one experiment over several seeds, as an ablation without axes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from coordinator import ConfigError, ablate, load_ablation, load_config, over_seeds, simulate
from coordinator.ablations.grids.seeds import read_seeds

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # MLflow's own
Cli = Callable[..., tuple[Any, str, str]]


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without figures, which take longest."""
    monkeypatch.setattr("coordinator.ablations.figures.saving.save_ablation_figures", lambda *_: [])


@pytest.mark.parametrize(
    ("text", "first", "seeds"),
    [("3", 0, (0, 1, 2)), ("2", 7, (7, 8)), ("1,2,5", 7, (1, 2, 5)), (" 5 , 0 ", 0, (5, 0))],
)
def test_read_seeds__a_number_or_a_list(text: str, first: int, seeds: tuple[int, ...]) -> None:
    assert read_seeds(text, first) == seeds


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("three", "must be a number of seeds such as 3, or seeds such as 1,2,5; got 'three'"),
        ("-3", "must be a number of seeds such as 3, or seeds such as 1,2,5; got '-3'"),
        ("1,,2", "must be a number of seeds such as 3, or seeds such as 1,2,5; got '1,,2'"),
        ("1", "must be from 2 to 1,000 seeds, got 1: leave --seeds out for one run"),
        ("0", "must be from 2 to 1,000 seeds, got 0: leave --seeds out for one run"),
        ("1001", "must be from 2 to 1,000 seeds, got 1001: fewer will do"),
        ("4,1,4", "must differ, got 4 twice: remove one"),
    ],
)
def test_run__bad_seeds_are_one_line(text: str, line: str, cli: Cli, tiny: Path) -> None:
    code, out, err = cli("run", "tiny.toml", f"--seeds={text}", "--output", "out")
    assert (code, out, err) == (2, "", f"error: --seeds: {line}\n") and not Path("out").exists()


def test_over_seeds__is_an_ablation_of_one_cell_that_repeats_itself(tiny: Path) -> None:
    config = load_config(tiny, ["run.name=mine", "checkpoint.every=1", "evaluation.controls=['alone']"])
    with pytest.warns(UserWarning, match="checkpoint.every is ignored over several seeds"):
        ours = over_seeds(config, [1, 2])
    (cell,) = ours.cells
    assert (ours.name, cell.label, cell.settings, ours.seeds) == ("mine", "mine", {}, (1, 2))
    assert [cell.at(seed).run.name for seed in ours.seeds] == ["mine-seed-1", "mine-seed-2"]
    assert (cell.config.checkpoint.every, cell.config.hosting.pool) == (0, config.hosting.pool)
    again = load_ablation(ours.table)  # as ablation.toml in its folder
    assert (again.cells[0].key, again.measures, again.seeds) == (cell.key, ours.measures, ours.seeds)


@pytest.mark.parametrize(
    ("hosting", "pool"),
    [({}, "in-process"), ({"pool": "ray"}, "ray"), ({"address": "auto"}, "ray"), ({"threads": 1}, "in-process")],
)
def test_over_seeds__peers_share_a_process_unless_asked(hosting: dict[str, Any], pool: str) -> None:
    config = load_config({"data": {"kind": "digits"}, "topology": {"kind": "ring"}, "hosting": hosting})
    assert over_seeds(config, [0, 1]).cells[0].config.hosting.pool == pool


def test_run__seeds_have_the_numbers_of_single_runs_and_one_verdict(
    cluster: None, undrawn: None, cli: Cli, tiny: Path
) -> None:
    arguments = ["run", "tiny.toml", "run.seed=4", "evaluation.controls=['alone']"]
    code, out, err = cli(*arguments, "--seeds", "2", "--output", "out")
    assert (code, err) == (0, "") and "2 seeds\n" in out and "2 runs to go" in out
    folder = Path("out") / load_config(tiny).run.name
    rows = pq.read_table(folder / "results.parquet").to_pylist()
    assert [row["seed"] for row in rows] == [4, 5]
    single = simulate(load_config(tiny, ["run.seed=5", *arguments[3:]]), "single").summary
    assert rows[1]["digest"] == single["digest"]
    (row,) = [line for line in out.splitlines() if line.startswith("kNN over alone (points)")]
    assert "this run" not in out and row.split()[4].startswith(("+", "-"))
    assert out.endswith(f"report   {folder}/report.html\n")
    code, out, err = cli(*arguments, "--seeds", "4,5", "--output", "out", "--json")
    assert code == 0 and json.loads(out) == json.loads((folder / "summary.json").read_text())
    assert "2 of 2 runs done before" in err
    result = ablate(load_ablation(folder / "ablation.toml"), "out")  # what the page tells to type
    assert result.status == "finished" and result.folder == folder.absolute()


def test_run__seeds_dry_run_shows_the_plan_and_starts_nothing(cli: Cli, tiny: Path) -> None:
    code, out, _ = cli("run", "tiny.toml", "--seeds", "3", "--dry-run", "--output", "out")
    assert code == 0 and not Path("out").exists()
    assert "\ntopology  ring: " in out and "\n3 runs: seeds 0, 1, 2\n" in out and out.count("nothing was started") == 1


def test_run__seeds_refuses_what_a_run_refuses(cli: Cli, tiny: Path) -> None:
    code, _, err = cli("run", "tiny.toml", "peers.count=1", "--seeds", "3", "--output", "out")
    assert code == 2 and err.startswith("error: peers.count must be at least 2") and not Path("out").exists()


def test_load_ablation__seeds_suffice_and_one_experiment_does_not(tiny: Path) -> None:
    Path("many.toml").write_text(f"seeds = [0, 1]\n{tiny.read_text()}")
    assert [cell.label for cell in load_ablation("many.toml").cells] == ["many"]
    with pytest.raises(ConfigError, match="is an ablation, with axes or seeds: use peer-consensus ablate"):
        load_config("many.toml")
    with pytest.raises(ConfigError, match=r"has no \[grid\] and is one experiment"):
        load_ablation(tiny)
