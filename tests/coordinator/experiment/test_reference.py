"""The reference has every key of every model, with a meaning; names are found, and a renamed key says its new name."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel

from coordinator.ablations.grids.grid import load_ablation
from coordinator.commands.config import markdown
from coordinator.experiment.config import ConfigError, RunConfig, load_config
from coordinator.experiment.errors import unknown_key
from coordinator.experiment.reference import Key, Table, find, names, tables, walk
from coordinator.experiment.renamed import RENAMED
from peers.base.section import Section

MINIMAL = {"data": {"kind": "digits"}, "topology": {"kind": "ring"}}
SECTIONS = tables(RunConfig)
KEYS = [entry for entry in walk(SECTIONS) if isinstance(entry, Key)]


def models() -> Iterator[type[BaseModel]]:
    """All models below RunConfig, found in the annotations and not by the code that is tested."""
    waiting, seen = [RunConfig], set[type[BaseModel]]()
    while waiting:
        model = waiting.pop()
        if model in seen:
            continue
        seen.add(model)
        yield model
        todo = [field.annotation for field in model.model_fields.values()]
        while todo:
            annotation = todo.pop()
            if isinstance(annotation, type) and issubclass(annotation, BaseModel):
                waiting.append(annotation)  # type: ignore[arg-type]
            todo += getattr(annotation, "__args__", ())


MODELS = sorted(models(), key=lambda model: model.__name__)


def test_models__are_all_found() -> None:
    assert len(MODELS) > 45 and all(issubclass(model, Section) or "topologies" in model.__module__ for model in MODELS)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_models__every_key_says_what_it_means(model: type[BaseModel]) -> None:
    """A `kind` is told by the docstring of the model that it stands for."""
    meanings = {
        name: (model.__doc__ if name == "kind" else field.description) for name, field in model.model_fields.items()
    }
    assert [name for name, meaning in meanings.items() if not (meaning or "").strip()] == []


def test_tables__have_every_key_of_every_model() -> None:
    found = {entry.name.rpartition(".")[2] for entry in walk(SECTIONS)}
    assert {name for model in MODELS for name in model.model_fields} - {"kind"} <= found
    assert [section.name for section in SECTIONS] == list(RunConfig.model_fields)


def test_tables__tell_apart_what_kinds_have_of_their_own() -> None:
    dims = {key.kinds: key.default for key in KEYS if key.name == "peers.head.dim"}
    assert dims == {("linear",): "64", ("prototypes",): "128", ("bottleneck",): "65536"}
    (rate,) = [key for key in KEYS if key.name == "peers.optimizer.lr"]
    assert (rate.kinds, rate.default, rate.allowed) == ((), "0.001", "number > 0, <= 1e38")
    degrees = {key.kinds: (key.default, key.allowed) for key in KEYS if key.name == "topology.degree"}
    assert degrees == {("random-regular",): ("", "whole number >= 1"), ("watts-strogatz",): ("4", "whole number >= 2")}


def test_tables__of_a_list_or_left_out_have_their_kinds() -> None:
    (view,), (partition,), (public,) = (find(SECTIONS, name) for name in ("peers.view", "data.partition", "public"))
    assert isinstance(view, Table) and ("crop",) in [variant.kinds for variant in view.variants]
    assert "peers.view[].padding" in [entry.name for entry in view.entries]
    assert isinstance(partition, Table) and partition.default == "left out"
    assert public.description.endswith("; a table like [data]")


@pytest.mark.parametrize(
    ("name", "default", "allowed"),
    [
        ("run.seed", "0", "whole number >= 0, < 2^63"),
        ("run.rounds", "100", "whole number >= 1, <= 1e9"),
        ("exchange.self_target", "left out", "table like exchange.target"),
        ("data.shape", "[1, 8, 8]", "list of any length, each whole number >= 1, <= 2^16; not empty"),
        ("data.path", "", "text"),
        ("peers.model.channels", "[16, 32, 64]", "list of any length, each whole number >= 1, <= 2^16; not empty"),
        ("topology.self_weight", "left out", "number >= 0, < 1"),
        ("exchange.average", '"outputs"', '"outputs" | "losses"'),
        ("hosting.gpus_per_peer", '"auto"', 'number >= 0, <= 2^16 or "auto"'),
        ("hosting.resources", "{}", "table of any keys, each number > 0, <= 1e12"),
        ("hosting.deterministic", "true", "true | false"),
        ("tracking.experiment", '"peer-consensus"', "text not empty, of at most 500 characters"),
        ("peers.groups.count", "", "whole number >= 1"),
    ],
)
def test_find__a_key_with_what_it_takes(name: str, default: str, allowed: str) -> None:
    (found,) = find(SECTIONS, name)
    assert isinstance(found, Key) and (found.default, found.allowed) == (default, allowed)


def test_tables__defaults_are_those_of_a_minimal_experiment() -> None:
    """What the reference says is the default is what an override that sets it leaves unchanged."""
    optional = {"run.stop": "run.stop.patience=1", "network": "network.preset=''"}  # without them, no defaults
    configs = {table: load_config(MINIMAL, [setting]) for table, setting in optional.items()}
    config = load_config(MINIMAL)
    for entry in walk(SECTIONS):
        shared = isinstance(entry, Table) or not entry.kinds
        if shared and entry.default not in ("", "left out") and "[]" not in entry.name:
            setting = f"{entry.name}={entry.default}"
            inside = next((table for table in optional if entry.name.startswith(f"{table}.")), None)
            expected = config if inside is None else configs[inside]
            assert load_config(MINIMAL, [*([] if inside is None else [optional[inside]]), setting]) == expected


def test_find__a_key_by_its_kind() -> None:
    (temperature,) = find(SECTIONS, "exchange.loss.kl.temperature")
    assert isinstance(temperature, Key) and temperature.name == "exchange.loss.temperature"
    (dim,) = find(SECTIONS, "peers.head.bottleneck.dim")
    assert isinstance(dim, Key) and dim.default == "65536"
    with pytest.raises(
        ConfigError, match=r"'exchange.loss.mse.temperature' is no key; did you mean 'exchange.loss.temp"
    ):
        find(SECTIONS, "exchange.loss.mse.temperature")


@pytest.mark.parametrize("key", ["view", "model", "optimizer"])
def test_find__what_groups_may_set(key: str) -> None:
    """A file may hold these keys, so they are keys."""
    assert find(SECTIONS, f"peers.groups[].{key}")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("peers.groups[0].count", "peers.groups[].count"),
        ("hosting.resources.tpu", "hosting.resources"),
        ("run.stop.patience", "run.stop.patience"),
    ],
)
def test_find__an_entry_of_a_list_or_of_a_table(name: str, expected: str) -> None:
    assert [entry.name for entry in find(SECTIONS, name)] == [expected]


def test_find__a_table_that_may_be_left_out_has_its_keys() -> None:
    (table,) = find(SECTIONS, "run.stop")
    assert isinstance(table, Table) and table.default == "" and not table.variants
    assert {entry.name: entry.default for entry in table.entries if isinstance(entry, Key)} == {
        "run.stop.measure": '"consensus.relative_distance"',
        "run.stop.min_delta": "0.0",
        **{f"run.stop.{name}": "left out" for name in ("below", "above", "patience", "mode")},
    }


def test_find__a_kind_has_its_own_keys_alone() -> None:
    (found,) = find(SECTIONS, "topology.watts-strogatz")
    assert isinstance(found, Table) and found.description.startswith("One small-world graph")
    assert [entry.name.removeprefix("topology.") for entry in found.entries] == [
        "self_weight",
        "weights",
        "allow_disconnected",
        "degree",
        "rewire",
    ]


def test_find__a_name_may_be_a_kind_and_a_key() -> None:
    assert [type(entry) for entry in find(SECTIONS, "topology.path")] == [Table, Key]
    assert [entry.name for entry in find(SECTIONS, "exchange.loss.kind")] == ["exchange.loss"]
    exchange = next(section for section in SECTIONS if section.name == "exchange")
    assert find(SECTIONS, "[exchange]") == find(SECTIONS, "exchange") == [exchange]


def test_find__every_name() -> None:
    known = names(SECTIONS)
    assert all(find(SECTIONS, name) for name in known) and len(known) > 150


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("lr", "config: 'lr' is no key; did you mean 'peers.optimizer.lr' or 'evaluation.sgd.lr'?"),
        ("ring", "config: 'ring' is no key; did you mean 'topology.ring'?"),
        ("exchagne.los", "config: 'exchagne.los' is no key; did you mean 'exchange.loss'?"),
        ("topology.degre", "config: 'topology.degre' is no key; did you mean 'topology.degree'?"),
        ("batchsize", "config: 'batchsize' is no key; did you mean 'data.batch_size'?"),
        ("zzz", f"config: 'zzz' is no key; the sections are {', '.join(RunConfig.model_fields)}"),
        ("exchange.pool", "exchange.pool: is called exchange.average now: write that, with the same value"),
    ],
)
def test_find__an_unknown_name_is_one_line_with_the_nearest(name: str, line: str) -> None:
    with pytest.raises(ConfigError) as refused:
        find(SECTIONS, name)
    assert str(refused.value) == line


def test_reference__the_file_is_fresh() -> None:
    path = Path(__file__).parents[3] / "configs" / "REFERENCE.md"
    assert path.read_text() == markdown(), "peer-consensus config --markdown > configs/REFERENCE.md"


def test_reference__has_a_row_for_every_key() -> None:
    rows = [line for line in markdown().splitlines() if line.startswith("| `")]
    kinds = sum(len(entry.variants) for entry in walk(SECTIONS) if isinstance(entry, Table))
    assert len(rows) == len(KEYS) + kinds
    assert {row.replace("\\|", "").count("|") for row in rows} == {3, 5}  # no cell is cut by what is in it


# ---- renamed keys ----


@pytest.mark.parametrize(("old", "advice"), RENAMED.items())
def test_renamed__an_old_key_names_the_new_one_wherever_it_is_written(old: str, advice: str) -> None:
    line = f"{old}: {advice}"
    section, _, key = old.partition(".")
    new = max((name for name in names(SECTIONS) if name in advice), key=len)
    assert unknown_key(RunConfig, old) == line and unknown_key(RunConfig, new) == ""
    for table, overrides in (({**MINIMAL, section: {key: "x"}}, []), (MINIMAL, [f"{old}=x"])):
        with pytest.raises(ConfigError) as refused:
            load_config(table, overrides)
        assert str(refused.value) == line
    with pytest.raises(ConfigError) as refused:
        load_ablation({**MINIMAL, "grid": {old: ["x", "y"]}})
    assert str(refused.value) == f"grid.{line}"
