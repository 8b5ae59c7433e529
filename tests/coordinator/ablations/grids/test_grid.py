"""From an ablation file to its cells, and every mistake in one line."""

import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w

from coordinator import ConfigError, RunConfig, load_ablation, load_config
from coordinator.ablations.grids.grid import Ablation, check_cells
from coordinator.experiment.config import to_table
from coordinator.planning.plan import load_data
from coordinator.planning.schedules import build_schedule

BASE: dict[str, Any] = {
    "run": {"rounds": 3},
    "data": {"kind": "synthetic", "num_train": 64, "num_test": 32, "batch_size": 16},
    "peers": {"count": 4, "model": {"kind": "mlp", "hidden": [8]}, "head": {"kind": "linear", "dim": 4}},
    "topology": {"kind": "ring"},
    "evaluation": {"probes": ["knn"]},
    "tracking": {"enabled": False},
}
KINDS = [{"kind": "ring"}, {"kind": "complete"}, {"kind": "self"}]


def ablation(*overrides: str, **parts: Any) -> Ablation:
    return load_ablation({**BASE, "grid": {"topology": KINDS}, "seeds": [0, 1], **parts}, overrides)


def labels(**parts: Any) -> list[str]:
    return [cell.label for cell in ablation(**parts).cells]


def mistakes(*overrides: str, **parts: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        check_cells(ablation(*overrides, **parts).cells)
    return str(caught.value).splitlines()


# ---- cells ----


def test_load_ablation__cells_are_all_combinations_with_the_last_axis_fastest() -> None:
    loaded = ablation(grid={"topology": KINDS[:2], "peers.count": [3, 4]}, zip={"run.rounds": [5, 6]})
    seen = [(c.config.topology.kind, c.config.peers.count, c.config.run.rounds) for c in loaded.cells]
    assert seen == [(kind, count, rounds) for kind in ("ring", "complete") for count in (3, 4) for rounds in (5, 6)]
    assert loaded.cells[1].settings == {"topology": {"kind": "ring"}, "peers.count": 3, "run.rounds": 6}
    assert all(cell.config.run.seed == 0 for cell in loaded.cells) and loaded.cells[0].at(1).run.seed == 1


def test_load_ablation__zipped_axes_vary_together() -> None:
    loaded = ablation(grid={}, zip={"peers": {"count": [2, 4, 8]}, "data": {"batch_size": [32, 16, 8]}})
    assert [(c.config.peers.count, c.config.data.batch_size) for c in loaded.cells] == [(2, 32), (4, 16), (8, 8)]


def test_load_ablation__nested_tables_and_dotted_keys_mean_the_same() -> None:
    nested = ablation(grid={"exchange": {"target": {"kind": ["none", "standardise"]}}})
    dotted = ablation(grid={"exchange.target.kind": ["none", "standardise"]})
    assert nested.cells == dotted.cells


def test_load_ablation__a_kind_drops_the_keys_that_it_lacks_and_a_table_replaces() -> None:
    base = {"kind": "random-regular", "degree": 3}
    by_kind = ablation(topology=base, grid={"topology.kind": ["ring", "random-regular"]})
    assert [getattr(c.config.topology, "degree", None) for c in by_kind.cells] == [None, 3]
    by_table = ablation(grid={"exchange.loss": [{"kind": "kl"}]}, exchange={"loss": {"kind": "kl", "temperature": 0.3}})
    assert by_table.cells[0].config.exchange == load_config({**BASE, "exchange": {"loss": {"kind": "kl"}}}).exchange


def test_load_ablation__the_order_of_a_table_and_what_is_in_it_does_not_matter() -> None:
    axes = {"topology.degree": [3], "topology": [{"kind": "random-regular", "degree": 4}]}
    assert [cell.config.topology.degree for cell in ablation(grid=axes).cells] == [3]  # type: ignore[union-attr]


def test_load_ablation__base_file_is_beside_the_ablation_and_its_sections_are_merged(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "base.toml").write_text(tomli_w.dumps(BASE))
    path = tmp_path / "deep" / "mine.toml"
    path.write_text("base = '../base.toml'\n[grid]\npeers.count = [2, 3]\n[run]\nrounds = 7\n[data]\nbatch_size = 8\n")
    loaded = load_ablation(path, ["evaluation.every=5", "seeds=[4,5]"])
    config = loaded.cells[1].config
    assert (loaded.name, loaded.seeds, config.run.rounds, config.data.batch_size) == ("mine", (4, 5), 7, 8)
    assert (config.evaluation.every, config.peers.count, config.data.kind) == (5, 3, "synthetic")


def test_load_ablation__its_table_is_the_same_ablation_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = f"{'e' * 100}.csv"  # a table that TOML's writer takes out of its line
    (tmp_path / long).write_text("teacher,student\n0,1\n1,2\n2,3\n3,0\n")
    monkeypatch.chdir(tmp_path)
    first = ablation(
        grid={"topology": [{"kind": "file", "path": long}, *KINDS], "run.rounds": [3, 4]},
        exclude=[{"topology": {"path": long}, "run": {"rounds": 4}}],
        reference={"topology.kind": "complete", "run.rounds": 4},
        measures=["probes.knn.gain"],
        seeds=[3, 5],
    )
    assert first.reference.label == "complete, rounds=4" and len(first.cells) == 7
    (tmp_path / "ablation.toml").write_text(tomli_w.dumps(first.table))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert load_ablation("../ablation.toml") == first


def test_load_ablation__python_values_are_toml_values() -> None:
    axes = {"peers.model.hidden": [(8,), (8, 4)], "peers.optimizer.lr": list(np.array([1e-3, 1e-2]))}
    loaded = ablation(grid=axes, peers={**BASE["peers"], "optimizer": {"kind": "sgd"}})
    assert len(loaded.cells) == 4 and tomllib.loads(tomli_w.dumps(loaded.table))["seeds"] == [0, 1]


def test_load_ablation__key_is_of_what_makes_a_difference() -> None:
    first = ablation().cells
    again = ablation(hosting={"threads": 2}, name="other", seeds=[7], run={"rounds": 3}).cells
    other = ablation(run={"rounds": 4}).cells
    assert [c.key for c in first] == [c.key for c in again]
    assert not {c.key for c in first} & {c.key for c in other}
    assert all(len(cell.key) == 12 for cell in first)


# ---- labels ----


@pytest.mark.parametrize(
    ("axes", "expected"),
    [
        ({"topology": KINDS}, ["ring", "complete", "self"]),
        ({"peers.count": [4, 8]}, ["4", "8"]),
        ({"topology.kind": ["ring", "self"], "peers.count": [8]}, ["ring", "self"]),
        (
            {"topology": KINDS[:2], "peers.count": [3, 8]},
            [f"{k}, count={n}" for k in ("ring", "complete") for n in (3, 8)],
        ),
        ({"exchange.target.kind": ["none"], "exchange.loss.kind": ["kl"]}, ["target=none, loss=kl"]),
        ({"data.batch_size": [16], "peers.locality": [1.0, 0.25]}, ["1", "0.25"]),
        (
            {"topology": [{"kind": "random-regular", "degree": 3}, {"kind": "random-regular", "degree": 4}, KINDS[0]]},
            ["random-regular(degree=3)", "random-regular(degree=4)", "ring"],
        ),
        ({"peers.model.hidden": [[8], [16, 8]]}, ["8", "16-8"]),
    ],
)
def test_label__says_what_varies(axes: dict[str, Any], expected: list[str]) -> None:
    assert labels(grid=axes) == expected


def test_label__keys_that_end_alike_stay_whole() -> None:
    axes = {"exchange.loss.temperature": [0.1, 0.2], "exchange.target.temperature": [0.5, 1.0]}
    found = labels(grid=axes, exchange={"loss": {"kind": "kl"}, "target": {"kind": "standardise"}})
    assert found[0] == "exchange.loss.temperature=0.1, exchange.target.temperature=0.5"


def test_label__is_the_name_where_names_tell_cells_apart() -> None:
    axes = {"run.name": ["slow", "fast"], "peers.optimizer.lr": [0.001, 0.1]}
    found = ablation(grid={}, zip=axes, peers={"optimizer": {"kind": "sgd"}})
    assert [cell.label for cell in found.cells] == ["slow", "fast"]
    assert [cell.config.run.name for cell in found.cells] == ["slow", "fast"]
    unnamed = ablation(grid={"peers.optimizer.lr": [0.001, 0.1]}, peers={"optimizer": {"kind": "sgd"}})
    assert [cell.key for cell in unnamed.cells] == [cell.key for cell in found.cells]


# ---- reference, exclude, measures ----


def test_reference__is_the_cell_alone_or_the_first_or_what_is_asked() -> None:
    assert ablation().reference.label == "self"
    assert ablation(grid={"topology": KINDS[:2]}).reference.label == "ring"
    assert ablation(grid={"topology": KINDS, "run.rounds": [3, 4]}).reference.label == "ring, rounds=3"
    assert ablation(reference={"topology": {"kind": "complete"}}).reference.label == "complete"


def test_exclude__leaves_out_what_matches_all_settings_even_what_is_no_experiment() -> None:
    axes = {"topology": KINDS, "peers.count": [1, 4]}
    assert labels(grid=axes, exclude=[{"peers.count": 1}]) == ["ring", "complete", "self"]
    some = [{"topology": {"kind": kind}, "peers": {"count": 1}} for kind in ("ring", "complete", "self")]
    assert labels(grid=axes, exclude=some) == ["ring", "complete", "self"]


def test_measures__by_default_the_gains_and_the_disagreement() -> None:
    last = "consensus.relative_distance.last"
    assert ablation().measures == ("probes.knn.gain", last)
    asked = ["stranger", "supervised", "alone"]
    several = ablation(evaluation={"probes": ["knn", "linear", "sgd"], "controls": asked})
    ends = ("gain", "over_alone.mean", "over_stranger.mean", "over_supervised.mean")
    assert several.measures == (*(f"probes.{name}.{end}" for end in ends for name in ("knn", "linear")), last)


# ---- mistakes ----


@pytest.mark.parametrize(
    ("parts", "line"),
    [
        ({"grid": {}}, "grid: no axis; add one, such as topology = [{ kind = 'ring' }, { kind = 'complete' }]"),
        ({"grid": {"peers.count": []}}, "grid.peers.count: must have at least one value, got an empty list"),
        ({"grid": {"peers": {"count": 4}}}, "grid.peers.count: must be a list of values, got 4"),
        ({"grid": {"peers.cuont": [4]}}, "grid.peers.cuont: no such key; did you mean 'count'?"),
        ({"grid": {"peers.count.x": [4]}}, "grid.peers.count.x: no such key; peers.count is a value"),
        ({"grid": {"rounds": [4]}}, "grid.rounds: no such key; did you mean 'run.rounds'?"),
        (
            {"grid": {"run.seed": [1]}},
            "grid.run.seed: seeds repeat every cell and are no axis: write seeds = [0, 1, 2]",
        ),
        (
            {"zip": {"run.rounds": [1, 2], "peers.count": [2, 3, 4]}},
            "zip: axes must be equally long, got run.rounds: 2, peers.count: 3",
        ),
        ({"zip": {"topology": KINDS}}, "topology: an axis twice, in [grid] or [zip]: keep one"),
        (
            {"grid": {"run.rounds": list(range(1, 20_000))}},
            "grid: must span at most 10,000 cells, got 19,999: shorten an axis",
        ),
        ({"grdi": {}}, "grdi: no such key; did you mean 'grid'?"),
        ({"grid": [1]}, "grid: must be a table, got [1]"),
        ({"run": 3}, "run: must be a table, got 3"),
        ({"name": "a/b"}, "name: must be up to 100 letters, digits, '-', '_' and '.' (not first), got 'a/b'"),
        ({"name": ".."}, "name: must be up to 100 letters, digits, '-', '_' and '.' (not first), got '..'"),
        ({"name": "mlartifacts"}, "name: 'mlartifacts' is what MLflow's store is called: choose another"),
        (
            {"grid": {"run": [{"seed": 2, "rounds": 2}, {"seed": 3, "rounds": 3}]}},
            "grid.run: seeds repeat every cell and are no axis: write seeds = [0, 1, 2]",
        ),
        (
            {"grid": {"tracking.uri": ["http://a", "http://b"]}},
            "grid.tracking.uri: an ablation has one MLflow run for all cells: set it in [tracking]",
        ),
        ({"seeds": []}, "seeds: must be a list of at least one whole number, got []"),
        ({"seeds": [0, -1]}, "seeds: must be whole numbers from 0, got -1"),
        ({"seeds": [0, True]}, "seeds: must be whole numbers from 0, got True"),
        ({"seeds": [2, 2]}, "seeds: must differ, got 2 twice: remove one"),
        (
            {"measures": ["probes.knn.gian"]},
            "measures: 'probes.knn.gian' is not in a run's summary; did you mean 'probes.knn.gain'?",
        ),
        (
            {"measures": ["probes.knn.over_alone.mean"]},
            "measures: 'probes.knn.over_alone.mean' needs the control alone: set evaluation.controls = [\"alone\"]",
        ),
        (
            {"reference": {"topology.kind": "star"}},
            'reference: matches no cell, got {"topology.kind":"star"}: give settings of topology',
        ),
        (
            {"reference": {"run.rounds": 3}},
            "reference: must pick one cell, got 'ring', 'complete', 'self': add settings",
        ),
        (
            {"exclude": [{"topology.kind": "star"}]},
            'exclude[0]: matches no cell, got {"topology.kind":"star"}: correct or remove it',
        ),
        ({"exclude": [{"run.rounds": 3}]}, "exclude: leaves no cell: remove an entry"),
        (
            {"exclude": {"run.rounds": 3}},
            "exclude: must be a list of tables, written as [[exclude]], got {'run.rounds': 3}",
        ),
        (
            {"grid": {"topology": [*KINDS[:2], KINDS[0]]}},
            "grid: cells 'ring' and 'ring' are the same experiment (names, tracking and hosting make no difference): "
            "remove one",
        ),
        (
            {"grid": {"topology": KINDS[:2], "peers.count": [1, 2]}},
            "cells 'ring, count=1', 'complete, count=1': peers.count must be at least 2, got 1: one peer has nobody to "
            "learn from",
        ),
        (
            {"grid": {"peers.count": [1, 2]}},
            "cell '1': peers.count must be at least 2, got 1: one peer has nobody to learn from",
        ),
        (
            {"grid": {"data.batch_size": [16, 65]}},
            "cell '65': data.batch_size must be at most the 64 training images, got 65: lower it",
        ),
        (
            {"checkpoint": {"every": 2}},
            "checkpoint.every must be 0 in an ablation, got 2: a cell that was interrupted is run again",
        ),
        *(
            (
                {"hosting": {key: "auto"}},
                f"hosting.{key}: must not be 'auto' where runs are compared: each would time for itself what is "
                "fastest, so that seeds could be computed differently; name one, as config.toml of a single run does",
            )
            for key in ("execution", "layout", "precision")
        ),
    ],
)
def test_load_ablation__a_mistake_is_one_line(parts: dict[str, Any], line: str) -> None:
    assert mistakes(**parts) == [line]


def test_load_ablation__all_mistakes_at_once() -> None:
    lines = mistakes(
        grid={"run.rounsd": [1], "peers.count": [], "topology": "ring"}, zip={"run.rounds": [1, 2], "topology": KINDS}
    )
    assert len(lines) == 5
    assert len(mistakes(grid={"peers.count": [1, 2], "data.batch_size": [0, 16]}, topology={"kind": "rign"})) == 3


def test_load_ablation__what_only_a_plan_finds_names_the_cell() -> None:
    (line,) = mistakes(grid={"topology": [{"kind": "ring"}, {"kind": "torus"}]}, peers={**BASE["peers"], "count": 7})
    assert line.startswith("cell 'torus': ") and "7" in line


def test_check_cells__draws_the_topology_with_every_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    def draw(config: RunConfig) -> Any:
        if config.run.seed == 1 and config.topology.kind == "ring":
            raise ValueError("topology: no luck")
        return build_schedule(config)

    monkeypatch.setattr("coordinator.ablations.grids.grid.build_schedule", draw)
    loaded = ablation()
    assert set(check_cells(loaded.cells)) == {cell.key for cell in loaded.cells}
    with pytest.raises(ConfigError) as caught:
        check_cells(loaded.cells, loaded.seeds)
    assert str(caught.value) == "cell 'ring': with seed 1, topology: no luck"


def test_check_cells__loads_each_data_section_once_and_tells_mistakes_in_the_order_of_cells(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sizes = []

    def load(config: RunConfig) -> Any:
        sizes.append(config.data.num_train)  # type: ignore[union-attr]
        return load_data(config)

    monkeypatch.setattr("coordinator.ablations.grids.grid.load_data", load)
    loaded = ablation(grid={"peers.count": [3, 4], "data.num_train": [64, 48], "data.batch_size": [16, 32]})
    memory = check_cells(loaded.cells, loaded.seeds)
    assert sizes == [64, 48] and len(memory) == 8 and min(memory.values()) > 0
    lines = mistakes(grid={"peers.count": [3, 4], "data.num_train": [64, 48], "data.batch_size": [50, 70]})
    assert [line.split(":")[0] for line in lines] == [
        "cells 'count=3, num_train=64, batch_size=70', 'count=4, num_train=64, batch_size=70'",
        "cells 'count=3, num_train=48, batch_size=50', 'count=4, num_train=48, batch_size=50'",
        "cells 'count=3, num_train=48, batch_size=70', 'count=4, num_train=48, batch_size=70'",
    ]


def test_load_ablation__overrides_that_would_do_nothing() -> None:
    assert mistakes("topology.kind=ring") == [
        "override 'topology.kind=ring': topology is an axis and has no other values: change the file"
    ]
    assert mistakes("run.seed=3") == ["override 'run.seed=3': write seeds=[0,1,2], which repeat every cell"]
    assert mistakes("run.name=x") == ["override 'run.name=x': write name=..., which names the folder"]
    assert mistakes("grid={}") == [
        "override 'grid={}': sets neither the experiment nor name, seeds, measures: change the file"
    ]
    assert mistakes("run.x.y=1", run={"x": 1}) == ["override 'run.x.y=1': 'run.x' is not a table but 1"]


def test_load_ablation__an_experiment_is_none_and_the_other_way_round(tmp_path: Path) -> None:
    (tmp_path / "one.toml").write_text(tomli_w.dumps(BASE))
    with pytest.raises(ConfigError, match=r"\Aconfig: '.*one.toml' has no \[grid\] and is one experiment: use "):
        load_ablation(tmp_path / "one.toml")
    (tmp_path / "many.toml").write_text(tomli_w.dumps({**BASE, "grid": {"topology": KINDS}}))
    with pytest.raises(
        ConfigError, match=r"\Aconfig: '.*many.toml' is an ablation, with axes or seeds: use .* ablate\Z"
    ):
        load_config(tmp_path / "many.toml")


def test_cell__config_is_the_experiment_that_the_settings_describe() -> None:
    cell = ablation().cells[1]
    alone = load_config({**BASE, "topology": {"kind": "complete"}, "run": {"rounds": 3, "seed": 1}})
    assert to_table(cell.at(1)) | {"run": {}} == to_table(alone) | {"run": {}}
    assert cell.at(1).run.name == "ablation-complete-seed-1"


def test_load_ablation__the_bases_seed_is_the_one_where_none_are_given() -> None:
    given = load_ablation({**BASE, "run": {"rounds": 3, "seed": 7}, "grid": {"topology": KINDS}})
    assert given.seeds == (7,) and given.cells[0].at(7).run.seed == 7


def test_cell__another_graph_in_the_same_file_is_another_experiment(tmp_path: Path) -> None:
    path = tmp_path / "links.csv"
    keys = []
    for links in ("1,0\n2,0\n3,0\n", "1,0\n2,1\n3,2\n", "1,0\n2,0\n3,0\n"):
        path.write_text(f"student,teacher\n{links}")
        keys.append(ablation(grid={"topology": [{"kind": "file", "path": str(path)}]}).cells[0].key)
    assert keys[0] == keys[2] != keys[1]
