"""What control runs, shared heads and recalibrated buffers need: a line for each that is missing."""

from typing import Any

import pytest

from coordinator.experiment.config import ConfigError, load_config
from coordinator.planning.plan import peer_settings, prepare
from peers.learning.control import Control

OTHER = "irrelevant={kind='synthetic', num_train=30, num_test=10}"
LIES = "peers.adversaries=[{peers=[1], attack={kind='sign-flip'}}]"
OWN = "exchange.self_loss=0.5"


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (
            ["evaluation.controls=['private-only']"],
            "evaluation.controls: private-only trains on private data, but data.partition is left out: set it, or "
            "leave private-only out",
        ),
        (
            ["evaluation.controls=['pooled']"],
            "evaluation.controls: pooled trains on private data, but data.partition is left out: set it, or leave "
            "pooled out",
        ),
        (
            ["evaluation.controls=['truthful']"],
            "evaluation.controls: truthful is the run without lies, but peers.adversaries names nobody who lies: name "
            "some, or leave truthful out",
        ),
        (
            ["evaluation.controls=['irrelevant']", OWN],
            "evaluation.controls: irrelevant has teachers that learn from another data set, but the section "
            "[irrelevant] is left out: add one, such as kind = 'digits', or leave irrelevant out",
        ),
        (
            ["evaluation.controls=['irrelevant']", OTHER],
            "evaluation.controls: irrelevant has teachers that learn by themselves, but peers have nothing to learn by "
            "themselves from: set exchange.self_loss, exchange.supervised or exchange.views = 2, or leave irrelevant "
            "out",
        ),
        (
            ["evaluation.buffers=recalibrated", "evaluation.recalibrated=true"],
            "evaluation.recalibrated probes the trained peers again with the buffers that evaluation.buffers "
            "'recalibrated' gives them in any case: leave evaluation.recalibrated out",
        ),
        (
            ["peers.head_shared=true", "exchange.what=features", "exchange.target.temperature=1"],
            "peers.head_shared fixes the head, but exchange.what is 'features', which no head changes: set "
            "exchange.what to logits or probabilities, or leave peers.head_shared out",
        ),
        (
            ["peers.groups=[{count=2, norm='none'}, {count=1}]", "peers.locality=0.5"],
            "peers.locality below 1 needs equal networks, but peers.groups differ in model, norm or head: make these "
            "alike, or leave peers.locality out",
        ),
    ],
)
def test_config__one_line_where_something_is_missing(small: dict[str, Any], overrides: list[str], line: str):
    with pytest.raises(ConfigError) as refused:
        load_config(small, overrides)
    assert str(refused.value).splitlines() == [line]


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (
            [OTHER, OWN, "irrelevant.num_train=8"],
            "irrelevant: must have at least the 10 training images of a batch, got 8: raise irrelevant.train_limit, or "
            "lower data.batch_size",
        ),
        (
            [OTHER, "exchange.supervised=1.0", "peers.head.dim=10", "irrelevant.num_classes=12"],
            "irrelevant: exchange.supervised needs an output per class: 12 classes, got 10 outputs; raise "
            "peers.head.dim, or name a data set with fewer classes",
        ),
        (
            [OTHER, "data.shape=[3, 9, 9]", OWN],
            "irrelevant: its images must be of 3x9x9 like those of data, got 3x8x8: ",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:exchange.self_loss compares two views")
def test_prepare__the_other_data_set_must_suit_the_run(small: dict[str, Any], overrides: list[str], line: str):
    with pytest.raises(ConfigError) as refused:
        prepare(load_config(small, ["evaluation.controls=['irrelevant']", *overrides]))
    assert str(refused.value).startswith(line) and len(str(refused.value).splitlines()) == 1


def test_prepare__heads_of_different_width_are_refused(small: dict[str, Any]):
    groups = "peers.groups=[{count=2}, {count=1, model={kind='mlp', hidden=[9]}}]"
    with pytest.raises(ConfigError, match=r"^peers.head_shared: peers 0 and 2 cannot have one head, since"):
        prepare(load_config(small, [groups, "peers.head_shared=true"]))


def test_locality__groups_of_one_network_may_start_alike(small: dict[str, Any]):
    groups = "peers.groups=[{count=2, optimizer={kind='sgd'}}, {count=1}]"
    assert load_config(small, [groups, "peers.locality=0.0"]).peers.locality == 0


def test_peer_settings__in_truthful_nobody_lies(small: dict[str, Any]):
    config = load_config(small, [LIES, "evaluation.controls=['truthful']"])
    plan = prepare(config)
    assert peer_settings(config, plan.dataset)[1].peers.liars == {1}
    assert peer_settings(config, plan.dataset, Control.TRUTHFUL)[1].peers.liars == frozenset()
