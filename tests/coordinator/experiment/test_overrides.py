import tomllib
import warnings
from pathlib import Path
from typing import Any

import pytest

from coordinator.ablations.grids.grid import load_ablation
from coordinator.experiment.config import ConfigError, RunConfig, load_config, parse_setting, to_table
from coordinator.experiment.errors import Model, variant
from coordinator.experiment.reference import Table, tables, walk
from coordinator.planning.plan import prepare
from peers.exchange.config import ExchangeConfig
from peers.exchange.losses import MSE, VECTOR_LOSSES
from peers.networks.config import PeersConfig
from topologies.worlds.presets import PRESETS as WORLDS

ROOT = Path(__file__).parents[3]
ALONE_VECTORISED = ["hosting.execution=vectorised", "hosting.peers_per_host=1"]
MINIMAL: dict[str, Any] = {"data": {"kind": "digits"}, "topology": {"kind": "ring"}}
SMALL: dict[str, Any] = {  # quick to prepare
    "data": {"kind": "synthetic", "num_train": 64, "num_test": 32, "batch_size": 16},
    "topology": {"kind": "ring"},
    "peers": {"model": {"kind": "mlp", "hidden": [8]}},
}


def at(config: RunConfig, key: str) -> Any:
    value: Any = to_table(config)
    for name in key.split("."):
        value = value[name]
    return value


# ---- what is left out has its default ----


@pytest.mark.parametrize(
    ("override", "key", "table"),
    [
        ("peers.optimizer.lr=0.5", "peers.optimizer", {"kind": "adamw", "lr": 0.5}),
        ("peers.head.dim=8", "peers.head", {"kind": "linear", "dim": 8}),
        ("peers.model.channels=[3]", "peers.model", {"kind": "small-cnn", "channels": [3]}),
        ("exchange.target.temperature=2", "exchange.target", {"kind": "standardise", "temperature": 2.0}),
        ("exchange.loss.temperature=2", "exchange.loss", {"kind": "kl", "temperature": 2.0}),
    ],
)
def test_override__below_a_union_that_is_left_out(override: str, key: str, table: dict[str, Any]) -> None:
    assert at(load_config(MINIMAL, [override]), key).items() >= table.items()
    section, _, name = key.partition(".")
    written = {**MINIMAL, section: {name: {each: value for each, value in table.items() if each != "kind"}}}
    assert load_config(written) == load_config(MINIMAL, [override])


def test_override__what_a_table_without_kind_leaves_out_is_the_default() -> None:
    left_out = to_table(load_config(MINIMAL))["exchange"]["target"]
    assert load_config({**MINIMAL, "exchange": {"target": {}, "loss": {}}}) == load_config(MINIMAL)
    assert left_out == {"kind": "standardise", "temperature": 0.5}
    named = load_config({**MINIMAL, "exchange": {"target": {"kind": "standardise"}}})
    assert at(named, "exchange.target.temperature") == 1.0  # a kind that is written brings its own


def test_override__the_advice_of_an_error_message_on_the_config_of_a_thousand() -> None:
    config = load_config(ROOT / "configs" / "thousand.toml", ["peers.optimizer.lr=1e-3"])
    assert at(config, "peers.optimizer.lr") == 1e-3


def test_override__later_kinds_keep_what_they_have() -> None:
    with pytest.warns(UserWarning, match=r"drops peers\.optimizer\.betas, which 'sgd' does not have"):
        config = load_config(
            MINIMAL, ["peers.optimizer.lr=0.5", "peers.optimizer.betas=[0.5,0.5]", "peers.optimizer.kind=sgd"]
        )
    assert at(config, "peers.optimizer") == {
        **at(load_config({**MINIMAL, "peers": {"optimizer": {"kind": "sgd"}}}), "peers.optimizer"),
        "lr": 0.5,
    }


def test_groups__tables_without_kind_are_the_section_s() -> None:
    groups = [{"count": 2, "optimizer": {"lr": 0.5}}, {"count": 2, "optimizer": {"kind": "adam"}}, {"count": 1}]
    first, second, third = PeersConfig.model_validate(
        {"optimizer": {"kind": "sgd", "momentum": 0.75}, "groups": groups}
    ).groups
    assert (first.optimizer.kind, first.optimizer.lr, first.optimizer.momentum) == ("sgd", 0.5, 0.75)  # type: ignore[union-attr]
    assert (second.optimizer.kind, third.optimizer.momentum) == ("adam", 0.75)  # type: ignore[union-attr]
    config = load_config(MINIMAL, ["peers.groups=[{count=2,head={dim=8}},{count=2}]"])
    assert [group.head.model_dump() for group in config.peers.groups] == [
        {"kind": "linear", "dim": 8},
        {"kind": "linear", "dim": 64},
    ]


def test_mistakes__in_a_table_without_kind_are_told_where_they_are() -> None:
    with pytest.raises(ConfigError) as error:
        load_config(MINIMAL, ["peers.optimizer.lr=fast", "peers.head.dmi=3", "topology={kind='path',path='x'}"])
    assert str(error.value).splitlines() == [
        "peers.head.dmi: no such key; did you mean 'dim'?",
        "peers.optimizer.lr: must be a number, got 'fast'",
        "topology.path: no such key; one of kind, self_weight, weights",
    ]


def test_axes__go_below_unions_that_the_base_leaves_out() -> None:
    grid = {"peers.optimizer.lr": [0.5, 0.25], "exchange.loss.kind": ["kl", "mse"]}
    found = load_ablation({**MINIMAL, "grid": grid, "reference": {"peers.optimizer.kind": "adamw", **first(grid)}})
    rates = [cell.config.peers.optimizer.lr for cell in found.cells]
    assert rates == [0.5, 0.5, 0.25, 0.25] and found.reference is found.cells[0]
    assert [cell.config.exchange.target.temperature for cell in found.cells] == [0.5, 1.0, 0.5, 1.0]


def first(grid: dict[str, list[Any]]) -> dict[str, Any]:
    return {key: values[0] for key, values in grid.items()}


@pytest.mark.parametrize("kind", VECTOR_LOSSES)
def test_exchange__the_target_that_is_left_out_fits_the_loss(kind: str) -> None:
    for what, target in (("logits", "standardise"), ("features", "standardise"), ("probabilities", "none")):
        config = load_config(MINIMAL, [f"exchange.what={what}", f"exchange.loss.kind={kind}"])
        assert (config.exchange.target.kind, config.exchange.target.temperature) == (target, 1.0)
    assert ExchangeConfig(loss=MSE()).target.temperature == 1.0


# ---- advice ----


@pytest.mark.filterwarnings("ignore:.* drops ")
@pytest.mark.parametrize(
    ("overrides", "advice", "follow"),
    [
        (["exchange.target.temperature=0.5", "exchange.loss.kind=mse"], "set exchange.target.temperature to 1", ["=1"]),
        (["exchange.target.kind=centre", "exchange.loss.kind=mse"], "set exchange.target.temperature to 1", ["=1"]),
        (
            ["exchange.what=probabilities", "exchange.loss.kind=mse", "exchange.target.kind=standardise"],
            "set exchange.target to { kind = 'none' }",
            ["exchange.target={ kind = 'none' }"],
        ),
        (["exchange.target.kind=sinkhorn", "exchange.loss.kind=mse"], "use kl", ["exchange.loss.kind=kl"]),
        (["exchange.top_k=3"], "set it to probabilities", ["exchange.what=probabilities"]),
        (["exchange.top_k=3"], "or exchange.top_k to 0", ["exchange.top_k=0"]),
        (["exchange.top_k=64", "exchange.what=probabilities"], "or set it to 0", ["exchange.top_k=0"]),
        (["exchange.delivery=shared-sum"], "use per-edge", ["exchange.delivery=per-edge"]),
        (
            ["exchange.delivery=shared-sum", "exchange.average=losses", "topology.kind=complete"],
            "set exchange.average to outputs",
            ["exchange.average=outputs"],
        ),
        (["exchange.supervised=1", "exchange.what=features"], "set exchange.what to logits", ["exchange.what=logits"]),
        (["exchange.supervised=1", "peers.head.dim=2"], "set peers.head.dim", ["peers.head.dim=4"]),
        (["exchange.teacher_ema=0.5", "exchange.refresh_every=2"], "leave one", ["exchange.refresh_every=1"]),
        (["hosting.execution=vectorised", "hosting.peers_per_host=1"], "raise it", ["hosting.peers_per_host=2"]),
        (
            ["hosting.execution=vectorised", "hosting.peers_per_host=1"],
            "set hosting.execution to loop",
            ["hosting.execution=loop"],
        ),
        (["hosting.evaluators=1", "hosting.pool=in-process"], "set hosting.pool to ray", ["hosting.pool=ray"]),
        (["hosting.workers=forked", "hosting.pool=in-process"], "set hosting.pool to ray", ["hosting.pool=ray"]),
        (["hosting.gpus_per_peer=1", "hosting.device=cpu"], "leave one", ["hosting.gpus_per_peer=auto"]),
        (["peers.groups=[{count=3},{count=2}]", "peers.count=4"], "or set it to 5", ["peers.count=5"]),
        (
            ["peers.groups=[{count=2,head={dim=5}},{count=2}]"],
            "give them heads of one dim",
            ["peers.groups=[{count=2,head={dim=5}},{count=2,head={dim=5}}]"],
        ),
        (["topology.kind=hypercube", "peers.count=6"], "set peers.count to 4 or 8", ["peers.count=8"]),
        (["topology={kind='erdos-renyi',p=0.0}"], "or set topology.allow_disconnected = true", ["=true"]),
        (["data.batch_size=65"], "lower it", ["data.batch_size=64"]),
        (["evaluation.knn.k=65"], "lower it", ["evaluation.knn.k=64"]),
    ],
)
def test_messages__following_their_advice_works(overrides: list[str], advice: str, follow: list[str]) -> None:
    with pytest.raises(ConfigError) as error:
        prepare(load_config(SMALL, overrides))
    assert advice in str(error.value) and "\n" not in str(error.value)
    keys = {"=1": "exchange.target.temperature=1", "=true": "topology.allow_disconnected=true"}
    prepare(load_config(SMALL, [*overrides, *(keys.get(each, each) for each in follow)]))


# ---- text where text is meant ----


@pytest.mark.parametrize("text", ["2024-05-01", "1e3", "true", "7", "12:30:00", "0x10"])
def test_override__text_is_taken_as_it_is_written(text: str, tmp_path: Path) -> None:
    config = load_config(MINIMAL, [f"tracking.experiment={text}", "data.kind=parquet", f"data.path={tmp_path}/{text}"])
    assert config.tracking.experiment == text
    assert load_config(MINIMAL, [f"tracking.uri= {text} "]).tracking.uri == text
    assert load_ablation({**MINIMAL, "grid": {"peers.norm": ["batch", "none"]}}, ["name=7"]).name == "7"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("run.name=2024-05-01", "2024-05-01"),
        ("topology.path=2024", "2024"),
        ("hosting.precision=32", "32"),
        ("hosting.gpus_per_peer=1", 1),
        ("evaluation.probes=3", 3),
        ("run.rounds=2024-05-01", tomllib.loads("x = 2024-05-01")["x"]),
        ("run.name='7'", "7"),
        ("run.name=[7]", [7]),
        ("data.flip=true", True),
    ],
)
def test_parse_setting__only_where_text_is_meant(text: str, expected: Any) -> None:
    assert parse_setting(text)[1] == expected


@pytest.mark.parametrize(
    ("value", "got"), [("2024-05-01", "2024-05-01"), ("1e3", "1000.0"), ("true", "True"), ("7", "7")]
)
def test_file__text_without_quotes_gets_advice(value: str, got: str) -> None:
    with pytest.raises(ConfigError) as error:
        load_config({**MINIMAL, "run": tomllib.loads(f"name = {value}")})
    assert str(error.value) == f"run.name: must be a string, got {got}: put it in quotes"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("run.rounds=" + "[" * 990, "override 'run.rounds=[[[[[[[[[[[[[[[[[[[[[[[[[[[[...: nested more than 32 levels"),
        ("run.rounds=" + "[" * 99 + "]" * 99, "override 'run.rounds=[[[[[[[[[[[[[[[[[[[[[[[[[[[[...: nested more than"),
        ("run.seed=" + "9" * 5000, "override 'run.seed=999999999999999999999999999999...: a number in it has too many"),
        ("a." * 20_000 + "b=1", "config: nested more than 32 levels deep"),
        ("data.kind=digits\nrun.rounds=3", "data.kind: 'digits\\nrun.rounds=3' is not a kind; "),
    ],
    ids=["open", "lists", "digits", "dots", "lines"],
)
def test_override__what_is_no_setting_is_one_line(text: str, line: str) -> None:
    with pytest.raises(ConfigError) as error:
        load_config(MINIMAL, [text])
    assert str(error.value).startswith(line) and "\n" not in str(error.value)


def test_load_config__a_vector_loss_drops_the_targets_temperature() -> None:
    """The quickstart's target has one, which mse does not use."""
    quickstart = Path(__file__).parents[3] / "configs" / "quickstart.toml"
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        exchange = load_config(quickstart, ["exchange.loss.kind=mse"]).exchange
    assert [str(each.message) for each in told] == [
        "exchange.loss.kind=mse drops exchange.loss.temperature, exchange.target.temperature, which do not go with it"
    ]
    assert (exchange.loss.kind, exchange.target.kind, exchange.target.temperature) == ("mse", "standardise", 1.0)


# ---- every kind, from every preset ----

PRESETS = [
    path
    for path in sorted((ROOT / "configs").rglob("*.toml"))
    if not {"grid", "zip", "seeds"} & tomllib.loads(path.read_text()).keys()
]
IN_LISTS = ("peers.view", "peers.adversaries[].attack")  # which overrides set as a whole
KINDS = [
    (table.name, kind)
    for table in walk(tables(RunConfig))
    if isinstance(table, Table) and table.name not in IN_LISTS
    for variant in table.variants
    for kind in variant.kinds
]
BROUGHT = (
    *("data", "peers.model", "peers.head", "topology"),
    *("exchange.loss", "exchange.target", "exchange.aggregation"),
)
REQUIRED = {  # of kinds that cannot do without
    **{f"data.{kind}": ["data.path=p"] for kind in ("parquet", "huggingface", "image-folder", "npz")},
    **{f"{part}.given": [f"{part}.name=n", f"{part}.digest={'0' * 64}"] for part in BROUGHT},
    **{f"{part}.import": [f"{part}.target=m:n"] for part in BROUGHT},
    "data.partition.file": ["data.partition.path=p.json"],
    "data.public.classes": ["data.public.classes=[0]"],
    "peers.model.torchvision": ["peers.model.name=resnet34"],
    "topology.random-regular": ["topology.degree=3"],
    "topology.erdos-renyi": ["topology.p=0.5"],
    "topology.file": ["topology.path=e.csv"],
    "network.compute.trace": ["network.compute.path=d.csv"],
    "network.latency.regions": ["network.latency.regions=['us-east-1']"],
    "network.latency.file": ["network.latency.path=l.csv"],
    "network.bandwidth.caps": ["network.bandwidth.up=1e6", "network.bandwidth.down=1e6"],
    "network.bandwidth.file": ["network.bandwidth.path=d.csv"],
    "network.loss.bernoulli": ["network.loss.probability=0.1"],
    "network.loss.gilbert-elliott": ["network.loss.p=0.1", "network.loss.r=0.5"],
    "network.churn.exponential": ["network.churn.up=9", "network.churn.down=1"],
    "network.churn.trace": ["network.churn.path=c.csv"],
    "network.churn.outage": ["network.churn.region=r", "network.churn.start=1", "network.churn.seconds=1"],
}
OWN_TERMS = ["exchange.supervised=1.0", "exchange.what=logits", "exchange.top_k=0"]
BESIDE = {  # what a table of any kind needs
    "data.partition": OWN_TERMS,
    "data.public": [*OWN_TERMS, "data.partition.kind=iid"],
}
ALSO = {
    "data.partition.file": ["data.public.kind=rest"],
    "exchange.aggregation.import": ["exchange.average=outputs", "exchange.confident_share=1"],
    "exchange.aggregation.given": ["exchange.average=outputs", "exchange.confident_share=1"],
    "exchange.loss.import": ["exchange.target.kind=none"],
    "exchange.loss.given": ["exchange.target.kind=none"],
    "network.churn.outage": ["network.latency.kind=regions", "network.latency.regions=['us-east-1']"],
}
REFUSALS = (  # of kinds that go with few others
    *("set exchange.target", "use kl", "set network.latency.kind", "set it to share or classes"),
    *("set exchange.average to outputs", "or exchange.confident_share to 1", "take another clock, or network.message"),
)
UNUSED = {"exchange.target.temperature"}  # by losses between vectors: dropped for them, and refused where it is not 1


def model_of(name: str, kind: str) -> Model:
    model = variant(RunConfig, name.split("."), kind)
    assert model is not None
    return model


def written(table: dict[str, Any], name: str) -> dict[str, Any]:
    """What a preset says of a table."""
    for key in name.split("."):
        table = table.get(key, {})
    return table


def of_world(table: dict[str, Any], name: str, kind: str) -> dict[str, Any]:
    """What the world that a preset names says of a table of `network`, if it is of this kind."""
    section, _, key = name.partition(".")
    world = WORLDS.get(table.get("network", {}).get("preset"), {}) if section == "network" else {}
    found = world[key].model_dump() if key in world else {}
    return found if found.get("kind") == kind else {}


def test_kinds__are_all_of_them() -> None:
    assert {name for name, _ in KINDS} == {
        "data",
        "peers.model",
        "peers.head",
        "peers.optimizer",
        "topology",
        "exchange.target",
        "exchange.loss",
        "exchange.aggregation",
        "exchange.trust",
        "data.partition",
        "data.public",
        *(f"network.{part}" for part in ("compute", "latency", "bandwidth", "loss", "churn")),
    }
    assert len(KINDS) >= 72 and set(REQUIRED) <= {f"{name}.{kind}" for name, kind in KINDS}


@pytest.mark.filterwarnings("ignore:.* (drops|keeps) ")
@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)
def test_override__a_kind_keeps_what_is_written_and_has_its_own_defaults(path: Path) -> None:
    """From every preset to every kind: a config, or the one line that says what is to be set."""
    preset = tomllib.loads(path.read_text())
    for name, kind in KINDS:
        there = of_world(preset, name, kind) | written(preset, name)
        try:
            config = load_config(path, [*BESIDE.get(name, []), f"{name}.kind={kind}"])
        except ConfigError as error:
            assert "\n" not in str(error), (name, kind)
            follow = REQUIRED.get(f"{name}.{kind}")
            if follow is None:
                assert any(advice in str(error) for advice in REFUSALS), (name, kind, str(error))
                continue
            keys = [each.partition("=")[0] for each in follow]
            assert str(error).startswith(f"{', '.join(keys)}: missing"), (name, kind, str(error))
            also = [*BESIDE.get(name, []), *ALSO.get(f"{name}.{kind}", [])]
            config = load_config(path, [f"{name}.kind={kind}", *follow, *also])
            there = {**there, **{key.rpartition(".")[2]: at(config, key) for key in keys}}
        model = model_of(name, kind)
        expected = {key: field.default for key, field in model.model_fields.items()} | {"kind": kind}
        expected |= {key: value for key, value in there.items() if key in model.model_fields and key != "kind"}
        found = config
        for key in name.split("."):
            found = getattr(found, key)
        told = {key: value for key, value in to_plain(found).items() if f"{name}.{key}" not in UNUSED}
        paths = {"root", "path"}  # absolute in a config
        wanted = {
            key: to_plain_value(value)
            for key, value in expected.items()
            if key not in paths and f"{name}.{key}" not in UNUSED
        }
        for key, value in wanted.items():
            if isinstance(value, dict):  # a table within, whose other keys have their defaults
                told[key] = {each: told[key][each] for each in value}
        assert {key: value for key, value in told.items() if key not in paths} == wanted, (name, kind)


def to_plain(model: Any) -> dict[str, Any]:
    return {key: to_plain_value(value) for key, value in model.model_dump().items()}


def to_plain_value(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: to_plain_value(each) for key, each in value.items()}
    return list(value) if isinstance(value, tuple) else value


def test_override__what_a_kind_needs_is_named_in_one_line_with_its_meaning() -> None:
    with pytest.raises(ConfigError) as refused, pytest.warns(UserWarning, match="which 'given' does not have"):
        load_config(SMALL, ["data.kind=given"])
    assert str(refused.value) == (
        "data.name, data.digest: missing, and they have no default (name of the data set; SHA-256 of its examples "
        "and labels)"
    )
    with pytest.raises(ConfigError) as refused:
        load_config(SMALL, ["topology.kind=erdos-renyi"])
    assert str(refused.value) == (
        "topology.p: missing, and it has no default (probability of each pair of peers to be linked)"
    )


def test_override__tells_which_values_it_keeps_against_the_new_kind_s_default() -> None:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        config = load_config(ROOT / "configs" / "quickstart.toml", ["exchange.target.kind=centre", "peers.norm=none"])
        load_config(ROOT / "configs" / "quickstart.toml", ["peers.optimizer.kind=sgd"])  # lr has one default in both
        load_config(MINIMAL, ["exchange.target.kind=centre"])  # nothing is written that could be kept
    assert config.exchange.target.temperature == 0.5
    assert [str(note.message) for note in told] == [
        "exchange.target.kind=centre keeps exchange.target.temperature = 0.5; the default of 'centre' is 0.04"
    ]


def test_override__a_key_may_come_before_the_kind_that_has_it() -> None:
    """Whatever the order, the same experiment."""
    settings = ["data.num_train=64", "data.kind=synthetic"]
    found = [load_config(MINIMAL, order) for order in (settings, settings[::-1])]
    assert found[0] == found[1]
    assert at(found[0], "data.num_train") == 64


def test_override__a_clock_drops_the_keys_of_another_and_keeps_the_world() -> None:
    network = {"clock": "deadline", "deadline": 0.2, "late": "use", "max_age": 3, "latency": {"seconds": 0.1}}
    table = MINIMAL | {"network": network | {"round_seconds": 5.0}}
    with pytest.warns(UserWarning, match=r"drops network\.deadline, network\.late, which do not go with it"):
        free = load_config(table, ["network.clock=free-running"]).network
    assert free is not None and (free.max_age, free.round_seconds, free.deadline) == (3, 5.0, None)
    with pytest.warns(
        UserWarning, match="drops network.deadline, network.late, network.max_age, network.round_seconds"
    ):
        waiting = load_config(table, ["network.clock=neighbours"]).network
    assert waiting is not None and at(
        load_config({**table, "network": {"latency": {"seconds": 0.1}}}), "network"
    ) == at(load_config({**table, "network": waiting.model_dump(exclude_none=True)}), "network")
