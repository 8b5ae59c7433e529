import tomllib
import warnings
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from coordinator.experiment.config import (
    ConfigError,
    RunConfig,
    config_from,
    load_config,
    parse_assignment,
    to_table,
    to_toml,
)
from peers.base.section import examples
from peers.exchange.losses import LossConfig

MINIMAL: dict[str, Any] = {"data": {"kind": "digits"}, "topology": {"kind": "ring"}}


def mistakes(*overrides: str, table: dict[str, Any] = MINIMAL) -> list[str]:
    with pytest.raises(ConfigError) as error:
        load_config(table, overrides)
    return str(error.value).splitlines()


# ---- reading ----


def test_config_from__defaults_of_a_minimal_table() -> None:
    config = config_from(MINIMAL)
    assert (config.run.name, config.run.seed, config.run.rounds) == ("run", 0, 100)
    assert (config.peers.count, config.hosting.pool, config.tracking.uri) == (4, "ray", "")


def test_run_config__is_frozen() -> None:
    config = config_from(MINIMAL)
    with pytest.raises(ValidationError, match="frozen"):
        config.run.seed = 1  # type: ignore[misc]


def test_load_config__reads_utf8_and_applies_overrides_in_order(tmp_path: Path) -> None:
    path = tmp_path / "e.toml"
    path.write_bytes('[data]\nkind = "parquet"\npath = "/größe"\n[topology]\nkind = "ring"\n'.encode())
    config = load_config(path, ["run.rounds=3", "run.rounds=4"])
    assert config.data.path == "/größe" and config.run.rounds == 4  # type: ignore[union-attr]


def test_load_config__leaves_the_table_it_was_given() -> None:
    table: dict[str, Any] = {**MINIMAL, "peers": {"model": {"kind": "mlp", "hidden": [4]}}}
    load_config(table, ["peers.model.hidden=[8]", "run.seed=3"])
    assert table == {**MINIMAL, "peers": {"model": {"kind": "mlp", "hidden": [4]}}}


def test_load_config__relative_paths_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    table = {"data": {"kind": "mnist", "root": "here"}, "topology": {"kind": "file", "path": "edges.csv"}}
    config = load_config(table)
    assert config.data.root == str(tmp_path / "here")  # type: ignore[union-attr]
    assert config.topology.path == tmp_path / "edges.csv"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "table",
    [
        MINIMAL,
        {"data": {"kind": "mnist"}, "topology": {"kind": "file", "path": "edges.csv"}},
        {"data": {"kind": "parquet", "path": "p"}, "topology": {"kind": "erdos-renyi", "p": 0.3}},
        {**MINIMAL, "hosting": {"gpus_per_peer": 0.25}, "run": {"name": "a.b-c_1"}},
        {**MINIMAL, "peers": {"groups": [{"count": 2, "head": {"kind": "none"}}, {"count": 3, "norm": "layer"}]}},
    ],
)
def test_to_toml__loads_back_to_an_equal_config(table: dict[str, Any], tmp_path: Path) -> None:
    config = config_from(table)
    path = tmp_path / "config.toml"
    path.write_text(to_toml(config))
    again = load_config(path)
    assert again == config and to_toml(again) == to_toml(config)


LOSSES = {each.kind: each.model_dump() for each in examples(LossConfig)}


@given(
    st.integers(0, 2**63 - 1),
    st.floats(1e-12, 1e6),
    st.sampled_from(sorted(LOSSES)),
    st.lists(st.integers(1, 64), min_size=1, max_size=4),
)
def test_to_toml__round_trip_of_drawn_values(seed: int, lr: float, loss: str, hidden: list[int]) -> None:
    table = {
        **MINIMAL,
        "run": {"seed": seed},
        "peers": {"model": {"kind": "mlp", "hidden": hidden}, "optimizer": {"kind": "sgd", "lr": lr}},
        "exchange": {"loss": LOSSES[loss], "target": {"kind": "none"}},
    }
    config = config_from(table)
    assert config_from(tomllib.loads(to_toml(config))) == config


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("run.rounds=true", "run.rounds: must be a whole number, got True"),
        ('peers.optimizer={kind="adam", betas=[1.0, 2.0]}', "peers.optimizer.betas[0]: must be less than 1, got 1.0"),
        (
            'peers.optimizer={kind="sgd", lr=1e200}',
            f"peers.optimizer.lr: must be less than or equal to {10**38}, got 1e+200",
        ),
        ("peers.count=100000", "peers.count: must be less than or equal to 65536, got 100000"),
        ('tracking.experiment=""', "tracking.experiment: must have at least 1 character, got ''"),
    ],
)
def test_load_config__bounds_that_were_once_a_traceback(override: str, line: str) -> None:
    with pytest.raises(ConfigError) as error:
        load_config(MINIMAL, [override])
    assert str(error.value).splitlines()[0] == line


def test_to_table__holds_plain_values() -> None:
    table = to_table(config_from({**MINIMAL, "topology": {"kind": "file", "path": "/e.csv"}}))
    assert table["topology"] == {"kind": "file", "path": "/e.csv", "allow_disconnected": False}
    assert table["peers"]["model"] == {"kind": "small-cnn", "channels": [16, 32, 64]}


# ---- overrides ----


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("run.rounds=10", ("run.rounds", 10)),
        ("topology.kind=ring", ("topology.kind", "ring")),
        ('topology.kind="ring"', ("topology.kind", "ring")),
        ("peers.optimizer.lr = 1e-3", ("peers.optimizer.lr", 1e-3)),
        ("data.flip=true", ("data.flip", True)),
        ("peers.model={kind='mlp',hidden=[3]}", ("peers.model", {"kind": "mlp", "hidden": [3]})),
        ("data.path=/a=b", ("data.path", "/a=b")),
    ],
)
def test_parse_assignment__values_are_toml_or_strings(text: str, expected: tuple[str, Any]) -> None:
    assert parse_assignment(text) == expected


@pytest.mark.parametrize("text", ["run.rounds", "=3", "run..rounds=3", ".rounds=3", "run.=3", ""])
def test_parse_assignment__refuses_other_shapes(text: str) -> None:
    with pytest.raises(ConfigError, match=r"is not section\.key=value, such as run\.rounds=10"):
        parse_assignment(text)


def test_override__kind_keeps_shared_keys_and_notes_the_dropped() -> None:
    table = {**MINIMAL, "topology": {"kind": "watts-strogatz", "degree": 6, "rewire": 0.5, "weights": "uniform"}}
    with pytest.warns(UserWarning) as notes:
        config = load_config(table, ["topology.kind=random-regular"])
    assert config.topology.model_dump() == {
        "kind": "random-regular",
        "degree": 6,
        "weights": "uniform",
        "allow_disconnected": False,
        "self_weight": None,
    }
    assert [str(note.message) for note in notes] == [
        "topology.kind=random-regular drops topology.rewire, which 'random-regular' does not have"
    ]


def test_override__same_or_unknown_kind_drops_nothing() -> None:
    table = {**MINIMAL, "topology": {"kind": "random-regular", "degree": 3}}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load_config(table, ["topology.kind=random-regular"]).topology.degree == 3  # type: ignore[union-attr]
        assert mistakes("topology.kind=random-regula", table=table) == [
            "topology.kind: 'random-regula' is not a kind; did you mean 'random-regular'?"
        ]


def test_override__through_a_value_that_is_no_table() -> None:
    table = {**MINIMAL, "run": {"seed": 3}}
    assert mistakes("run.seed.x=1", table=table) == ["override 'run.seed.x=1': 'run.seed' is not a table but 3"]


def test_override__builds_tables_that_are_not_there() -> None:
    assert load_config(MINIMAL, ["evaluation.knn.k=3"]).evaluation.knn.k == 3


# ---- explanations ----


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("run.roundss=3", "run.roundss: no such key; did you mean 'rounds'?"),
        ("rounds=3", "rounds: no such key; did you mean 'run.rounds'?"),
        ("pears.count=3", "pears: no such key; did you mean 'peers'?"),
        ("topology.degree=3", "topology.degree: no such key; one of kind, self_weight, weights"),
        ("peers.model.kind=mpl", "peers.model.kind: 'mpl' is not a kind; did you mean 'mlp'?"),
        ("exchange.target.kind=sinkhron", "exchange.target.kind: 'sinkhron' is not a kind; did you mean 'sinkhorn'?"),
        ("exchange.loss.kind=zzz", "exchange.loss.kind: 'zzz' is not a kind; one of mse, salient, cosine, "),
        ("topology.kind=3", "topology.kind: '3' is not a kind; one of ring, complete, "),
        ("data={batch_size=8}", "data.kind: missing; one of digits, cifar10, "),
        ("topology.kind=random-regular", "topology.degree: missing, and it has no default"),
        ("topology=star", "topology: must be a table, got 'star'; did you mean topology.kind = 'star'?"),
        ("run=3", "run: must be a table, got 3"),
        ("run.rounds=ten", "run.rounds: must be a whole number, got 'ten'"),
        ("run.rounds=2.5", "run.rounds: must be a whole number, got 2.5"),
        ("run.rounds=0", "run.rounds: must be greater than or equal to 1, got 0"),
        ("run.name='a b'", "run.name: must match pattern '^[A-Za-z0-9._-]+$', got 'a b'"),
        ("run.name=[3]", "run.name: must be a string, got [3]"),
        ("data.flip=maybe", "data.flip: must be true or false, got 'maybe'"),
        ("data.batch_size=1", "data.batch_size: must be greater than or equal to 2, got 1"),
        ("peers.locality=nan", "peers.locality: must be"),
        ("peers.optimizer={kind='sgd',lr=nan}", "peers.optimizer.lr: must be"),
        ("hosting.gpus_per_peer=many", "hosting.gpus_per_peer: must be a number or 'auto', got 'many'"),
        ("hosting.gpus_per_peer=-1", "hosting.gpus_per_peer: must be greater than or equal to 0 or 'auto', got -1"),
        ("evaluation.knn.vote=simlarity", "evaluation.knn.vote: must be 'similarity' or 'uniform', got 'simlarity'; "),
        ("evaluation.probes=['knnn']", "evaluation.probes[0]: must be 'knn', 'linear' or 'sgd', got 'knnn'; did you"),
        ("evaluation.probes=['top1']", "evaluation.probes[0]: must be 'knn', 'linear' or 'sgd', got 'top1'"),
        ("evaluation.probes=3", "evaluation.probes: must be a list, got 3"),
        ("peers.groups=[{count=2,model={kind='mpl'}}]", "peers.groups[0].model.kind: 'mpl' is not a kind; did you "),
        ("peers.groups=[{count=2,model={kind='mlp',hiden=[3]}}]", "peers.groups[0].model.hiden: no such key; did you"),
        ("peers.groups=[{count=2},{count=2,nrom='none'}]", "peers.groups[1].nrom: no such key; did you mean 'norm'?"),
        ("peers.groups=[{}]", "peers.groups[0].count: missing, and it has no default"),
        ("peers.count=1", "peers.count must be at least 2, got 1: one peer has nobody to learn from"),
        ("peers.frozen=[4]", "peers.frozen must name peers 0 to 3, got 4: name one of these"),
    ],
)
def test_explain__one_line_with_field_rule_value(override: str, line: str) -> None:
    found = mistakes(override)
    assert len(found) == 1 and found[0].startswith(line)


def test_explain__one_line_for_each_mistake() -> None:
    assert mistakes("run.rounds=0", "topology.kind=rign", "peers.nrom='none'") == [
        "run.rounds: must be greater than or equal to 1, got 0",
        "peers.nrom: no such key; did you mean 'norm'?",
        "topology.kind: 'rign' is not a kind; did you mean 'ring'?",
    ]


def test_explain__sections_that_are_missing_list_their_kinds() -> None:
    data, topology = mistakes(table={})
    assert data.startswith("data.kind: missing; one of digits, cifar10, ")
    assert topology.startswith("topology.kind: missing; one of ring, complete, ")


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("peers.norm=btach", "peers.norm: must be 'batch', 'group', 'layer' or 'none', got 'btach'; did you mean "),
        ("peers.model={kind='mlp',hiden=[3]}", "peers.model.hiden: no such key; did you mean 'hidden'?"),
    ],
)
def test_explain__what_groups_inherit_is_told_once(override: str, line: str) -> None:
    found = mistakes("peers.groups=[{count=2},{count=2}]", override)
    assert len(found) == 1 and found[0].startswith(line)


# ---- files ----


def test_load_config__missing_file_names_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "quickstart.toml").write_text("")
    with pytest.raises(ConfigError) as error:
        load_config(tmp_path / "quikstart.toml")
    assert str(error.value) == (
        f"config: no file '{tmp_path / 'quikstart.toml'}'; did you mean '{tmp_path / 'quickstart.toml'}'?"
    )


@pytest.mark.parametrize(
    ("content", "rule"),
    [(b"[run\nseed = 1", r"is not TOML: .*line 1"), (b"\xff\xfe\x00", "is not text in UTF-8")],
)
def test_load_config__file_that_is_not_toml(content: bytes, rule: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=rule):
        load_config(path)


def test_load_config__folder_instead_of_a_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        load_config(tmp_path)
    assert str(error.value) == f"config: cannot read '{tmp_path}': Is a directory"


def test_sections__know_no_more_than_the_design_names() -> None:
    assert list(RunConfig.model_fields) == [
        "run",
        "data",
        "public",
        "irrelevant",
        "peers",
        "topology",
        "exchange",
        "evaluation",
        "hosting",
        "tracking",
        "checkpoint",
        "network",
    ]
