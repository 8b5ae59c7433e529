"""Rules between the sections of private data, other data sets, and what of them a plan refuses: one line each."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from coordinator.ablations.grids.grid import data_key
from coordinator.commands.shipping import needed_by
from coordinator.experiment.config import ConfigError, RunConfig, load_config, to_table
from coordinator.planning.plan import identified, prepare
from peers.data.dataset_check import digest_of

TABLE: dict[str, Any] = {
    "data": {"kind": "synthetic", "batch_size": 16},
    "peers": {"model": {"kind": "mlp", "hidden": [8]}, "head": {"kind": "linear", "dim": 4}, "norm": "none"},
    "topology": {"kind": "ring"},
    "exchange": {"what": "logits", "target": {"kind": "standardise"}, "loss": {"kind": "kl"}, "supervised": 1.0},
    "hosting": {"pool": "in-process"},
}
SPLIT = "data.partition={kind='dirichlet',alpha=1.0}"
PUBLIC = "data.public={kind='share'}"


def config(*overrides: str) -> RunConfig:
    return load_config(TABLE, overrides)


def refused(*overrides: str) -> str:
    with pytest.raises(ConfigError) as error:
        prepare(config(*overrides))
    assert "\n" not in str(error.value)
    return str(error.value)


def test_config__a_partition_makes_a_tenth_public_and_the_resolved_config_says_so() -> None:
    data = to_table(config(SPLIT))["data"]
    assert data["public"] == {"kind": "share", "share": 0.1}
    assert load_config(to_table(config(SPLIT))) == config(SPLIT)
    assert config("data.partition={kind='file',path='/lists.json'}").data.public is not None
    assert to_table(config("data.partition={kind='file',path='/lists.json'}"))["data"]["public"] == {"kind": "rest"}
    assert config(SPLIT, "public.kind=synthetic").data.public is None
    assert config().data.public is None and "public" not in to_table(config())["data"]


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        ([SPLIT, "exchange.supervised=0"], "data.partition is 'dirichlet', but exchange.supervised and"),
        ([SPLIT, PUBLIC, "public.kind=synthetic"], "data.public is 'share', but the section [public] names another"),
        ([SPLIT, "data.public.kind=rest"], "data.public.kind is 'rest', which does not go with data.partition.kind"),
        (["data.partition={kind='file',path='/x'}", PUBLIC], "data.public.kind is 'share', which does not go with"),
        ([PUBLIC], "data.public: public images are set apart from private ones, but all peers hold all"),
        (["public.kind=synthetic"], "public: public images are set apart from private ones, but all peers hold all"),
        (["data.private_batch_size=8"], "data.private_batch_size is 8, but no data are private: set data.partition"),
        ([SPLIT, "data.private_batch_size=1"], "data.private_batch_size: must be at least 2, or 0 for"),
        ([SPLIT, "data.public={kind='share',share=0}"], "data.public.share: must be greater than 0, got 0"),
        ([SPLIT, "data.public={kind='classes',classes=[]}"], "data.public.classes: "),
        ([SPLIT, "data.public={kind='share',share=0.01}"], "data.batch_size: must be at most the 5 public examples"),
        ([SPLIT, "data.public={kind='classes',classes=[4]}"], "data.public.classes: there are no training examples of"),
        ([SPLIT, "public={kind='synthetic',num_train=8}"], "data.batch_size: must be at most the 8 public examples"),
        (["data.partition={kind='iid',per_class=3}"], "data.partition: peer 0 holds 12 private examples, fewer than"),
        (["data.partition={kind='file',path='/nowhere'}"], "data.partition.path: '/nowhere' does not exist"),
        (["irrelevant={kind='synthetic',batch_size=3}"], "irrelevant.batch_size: is of no use in this section"),
        (["irrelevant={kind='synthetic',partition={kind='iid'}}"], "irrelevant.partition: is of no use in this"),
        (["irrelevant={kind='synthetic',shape=[1,9,9]}"], "irrelevant: its images must be of 1x8x8 like those of data"),
        (["irrelevant={kind='npz',path='/nowhere.npz'}"], "irrelevant.path: no file or folder '/nowhere.npz'"),
        (["irrelevant={kind='given',name='x',digest='%s'}" % ("0" * 64)], "irrelevant.kind: 'given' is for data"),
    ],
)
def test_prepare__refused_in_a_line(overrides: list[str], line: str) -> None:
    assert refused(*overrides).startswith(line)


def test_prepare__holdings_are_of_the_training_examples_that_are_left() -> None:
    small = ("data.train_limit=200", "data.batch_size=8")
    plan = prepare(config(SPLIT, *small, "data.public={kind='classes',classes=[1]}"))
    found = plan.holdings
    assert found is not None
    assert sorted([*found.public.tolist(), *found.pooled.tolist()]) == list(range(200))
    assert set(plan.dataset.train_labels[found.public].tolist()) == {1}
    assert prepare(config()).holdings is None


def test_plan__another_data_set_belongs_to_the_digest_of_the_data() -> None:
    def digest(*overrides: str) -> str:
        return identified(prepare(config(*overrides))).data_digest

    assert digest() == digest(SPLIT) == digest_of(config().data.load(0)).hex()  # who holds what is in the config
    with_digits = digest("irrelevant.kind=digits")
    assert len({digest(), with_digits, digest("irrelevant={kind='digits',train_limit=100}")}) == 3
    others = prepare(config("irrelevant.kind=digits", SPLIT, "public={kind='synthetic',num_train=64}")).dataset.others
    assert {name: len(other.train_labels) for name, other in others.items()} == {"irrelevant": 1297, "public": 64}


def test_data_key__runs_that_differ_in_other_data_do_not_share_it() -> None:
    key = data_key(config())
    assert data_key(config(SPLIT)) == data_key(config(SPLIT, "data.private_batch_size=4")) == key
    assert len({key, data_key(config("irrelevant.kind=digits")), data_key(config(SPLIT, "public.kind=digits"))}) == 3


def test_paths__of_lists_and_of_other_data_sets_become_absolute_and_are_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    np.savez("other.npz", x_train=np.zeros((40, 1, 8, 8), np.uint8), y_train=np.arange(40) % 4)
    Path("lists.json").write_text(json.dumps([list(range(first, first + 20)) for first in (0, 20, 40, 60)]))
    overrides = ["data.partition={kind='file',path='lists.json'}", "irrelevant={kind='npz',path='other.npz'}"]
    made = config(*overrides)
    table = to_table(made)
    assert table["data"]["partition"]["path"] == str(tmp_path / "lists.json")
    assert table["irrelevant"]["path"] == str(tmp_path / "other.npz")
    plan = prepare(made)
    Path("lists.json").unlink()  # what was read counts
    assert plan.holdings is not None and len(plan.holdings.pooled) == 80 and len(plan.holdings.public) == 432
    assert plan.config.data.partition is not None and len(to_table(plan.config)["data"]["partition"]["digest"]) == 64
    written = {"data": {"partition": {"kind": "file", "path": "lists.json"}}, "irrelevant": {"path": "other.npz"}}
    needed = needed_by(made, written, Path("sub"))
    assert needed == {"data.partition.path": Path("sub/lists.json"), "irrelevant.path": Path("sub/other.npz")}
