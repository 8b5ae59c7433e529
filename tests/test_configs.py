"""Every file in configs/ loads, survives its own resolved form, and can be prepared on images of its data's shape."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from coordinator.ablations.grids.grid import data_key, load_ablation
from coordinator.experiment.config import ConfigError, RunConfig, load_config, to_table, to_toml
from coordinator.planning.plan import load_data, prepare
from peers.base import memory
from peers.data.config import DataConfig
from peers.data.datasets import Dataset

CONFIGS = Path(__file__).parents[1] / "configs"
FILES = sorted(CONFIGS.rglob("*.toml"))
ABLATIONS = [path for path in FILES if {"grid", "zip", "seeds"} & tomllib.loads(path.read_text()).keys()]
EXPERIMENTS = [path for path in FILES if path not in ABLATIONS]
SHAPES = {"fashion-mnist": (1, 28, 28), "parquet": (3, 32, 32)}


@pytest.fixture(autouse=True)
def root(monkeypatch: pytest.MonkeyPatch) -> None:
    """Imports are looked for in the current folder."""
    monkeypatch.chdir(CONFIGS.parent)
    monkeypatch.syspath_prepend(CONFIGS.parent)


@pytest.fixture(autouse=True)
def large_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """The paper's experiments need more memory than a machine that runs tests may have."""
    monkeypatch.setattr(memory, "available", lambda: 2**50)


def name(path: Path) -> str:
    return str(path.relative_to(CONFIGS))


def with_images(config: RunConfig) -> dict[str, Any]:
    """The experiment on random images of the right shape, where its own may be absent."""
    table = to_table(config)
    if config.data.kind in ("digits", "import"):
        return table
    table["data"] = synthetic(config.data) | {
        key: value for key, value in table["data"].items() if key in ("partition", "public", "private_batch_size")
    }
    return table | {
        section: synthetic(data)
        for section, data in (("public", config.public), ("irrelevant", config.irrelevant))
        if data is not None
    }


def synthetic(data: DataConfig) -> dict[str, Any]:
    """A section of random images, of the shape of the section's own."""
    channels, *sides = SHAPES[data.kind]
    size = getattr(data, "image_size", 0)
    return {
        "kind": "synthetic",
        "batch_size": data.batch_size,
        "num_train": 600 if data.partition is None else 6000,
        "num_test": 60,
        "num_classes": 10,
        "shape": (channels, *([size] * 2 if size else sides)),
    }


def test_configs__the_presets_are_there_each_with_a_small_variant() -> None:
    names = {name(path) for path in FILES}
    full = {"topologies.toml", "random-teachers.toml", "mutual-learning.toml", "paper/main.toml"}
    full |= {f"paper/{kind}.toml" for kind in ("learning-rate", "peers", "teachers", "architecture", "loss")}
    assert names >= {"quickstart.toml"} | full | {each.replace(".toml", "-small.toml") for each in full}


# in sensors-base.toml chroma teaches, too, and grey images have none: its control irrelevant is about luminance alone
BLIND = pytest.mark.filterwarnings(
    "ignore:evaluation.controls. in irrelevant, networks .* of group 'chroma' learn nothing"
)


@pytest.mark.parametrize("path", EXPERIMENTS, ids=name)
def test_experiment__loads_and_resolves_to_itself(path: Path, tmp_path: Path) -> None:
    config = load_config(path)
    resolved = tmp_path / "config.toml"
    resolved.write_text(to_toml(config))
    assert load_config(resolved) == config


@pytest.mark.parametrize("path", EXPERIMENTS, ids=name)
@BLIND
def test_experiment__can_be_prepared(path: Path) -> None:
    config = load_config(path)
    plan = prepare(load_config(with_images(config)))
    assert plan.schedule.num_peers == config.peers.count
    assert plan.message_bytes % config.data.batch_size == 0


@pytest.mark.parametrize("path", EXPERIMENTS, ids=name)
def test_experiment__says_where_it_looked_for_absent_images(path: Path, tmp_path: Path) -> None:
    place = {"fashion-mnist": "root", "parquet": "path"}.get(load_config(path).data.kind)
    if place:
        with pytest.raises(ConfigError, match=rf"\Adata\.{place}: .*nowhere.*\Z"):
            prepare(load_config(path, [f"data.{place}={tmp_path / 'nowhere'}"]))


@pytest.mark.parametrize("path", ABLATIONS, ids=name)
def test_ablation__loads_and_resolves_to_itself(path: Path, tmp_path: Path) -> None:
    ablation = load_ablation(path)
    resolved = tmp_path / "ablation.toml"
    resolved.write_text(tomli_w.dumps(ablation.table))
    again = load_ablation(resolved)
    assert [(cell.key, cell.label) for cell in again.cells] == [(cell.key, cell.label) for cell in ablation.cells]
    assert (again.seeds, again.reference.key, again.measures) == (
        ablation.seeds,
        ablation.reference.key,
        ablation.measures,
    )


@pytest.mark.parametrize(
    "path",
    [pytest.param(path, marks=pytest.mark.slow) if path.stem == "liars-sparse" else path for path in ABLATIONS],
    ids=name,  # that one has 60 cells of two topologies; liars.toml has the same rules and attacks
)
@BLIND
def test_ablation__every_cell_can_be_prepared(path: Path) -> None:
    """All cells, so all pairs of levels of any two axes, too: cells of one data set share it, as in an ablation."""
    cells = load_ablation(path).cells
    assert len({cell.key for cell in cells}) == len(cells) > 0
    datasets = dict[str, Dataset]()
    for cell in cells:
        config = load_config(with_images(cell.config))
        key = repr(data_key(config))
        dataset = datasets.get(key) or datasets.setdefault(key, load_data(config))
        assert prepare(config, dataset).schedule.num_peers == cell.config.peers.count
