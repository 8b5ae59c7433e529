from typing import Any

import pytest

from coordinator import load_config
from coordinator.experiment.config import to_table
from coordinator.reports import settings
from coordinator.reports.settings import _private, network, rule, variant
from peers.exchange.config import ExchangeConfig


@pytest.mark.parametrize(
    ("of_network", "words"),
    [
        ({}, "clock neighbours; messages: outputs; compute constant (seconds 1); latency constant (seconds 0)"),
        (
            {
                "clock": "gossip",
                "message": "checkpoint",
                "latency": {"kind": "regions", "regions": ["us-east-1:2", "eu-west-1:1"], "jitter": 0.1},
                "stragglers": {"share": 0.1},
                "groups": [{"peers": [0], "slowdown": 2.0}],
            },
            "clock gossip (wakes every 1 s on average); messages: checkpoint; compute constant (seconds 1); latency "
            "regions (table aws, regions us-east-1:2 eu-west-1:1, jitter 0.1); 10% stragglers, 10 times slower; 1 "
            "group with settings of its own",
        ),
        (
            {
                "clock": "deadline",
                "deadline": 2.5,
                "late": "use",
                "max_age": 3,
                "compute": {"kind": "lognormal", "seconds": 0.05, "sigma": 0.5},
                "loss": {"kind": "bernoulli", "probability": 0.01},
                "rewire": True,
            },
            "clock deadline (2.5 s, late messages used, messages of at most 3 rounds of age); messages: outputs; "
            "compute lognormal (seconds 0.05, sigma 0.5); latency constant (seconds 0); loss bernoulli (retry after 1, "
            "probability 0.01); links rewired to those online",
        ),
    ],
)
def test_network__what_was_asked_for(small: dict[str, Any], of_network: dict[str, Any], words: str) -> None:
    section = to_table(load_config({**small, "network": of_network}))["network"]
    assert "; ".join(network(section)) == words


def test_private__partition_public_examples_and_batch_are_named(small: dict[str, Any]) -> None:
    dealt = {"partition": {"kind": "classes", "k": 2}, "private_batch_size": 8}
    small["data"] |= dealt
    small["exchange"] = {**small.get("exchange", {}), "supervised": 1.0}
    section = to_table(load_config(small))
    assert _private(section) == "partition classes (k 2); public: share (share 0.1); private batches of 8"
    del small["data"]["partition"], small["data"]["private_batch_size"], small["exchange"]
    assert _private(to_table(load_config(small))) == ""


@pytest.mark.parametrize(
    ("exchange", "words"),
    [
        ({}, ""),
        ({"aggregation": {"kind": "trimmed-mean", "b": 2}}, "trimmed-mean (b 2)"),
        ({"memory": "expguard"}, "mean, memory expguard"),
        (
            {"aggregation": {"kind": "median"}, "trust": {"kind": "self-agreement", "sharpness": 5.0}},
            "median, trust self-agreement (sharpness 5.0)",
        ),
        ({"confident_share": 0.5}, "mean, of the 50% of the samples that each teacher is surest of"),
    ],
)
def test_rule__is_named_unless_it_is_the_plain_mean(exchange: dict[str, Any], words: str) -> None:
    section = ExchangeConfig.model_validate(exchange).model_dump(mode="json")
    assert rule(section) == words
    assert (f"pooled by {words}" in settings.exchange(section)) is bool(words)


def test_variant__of_ones_own_has_its_name_and_a_short_digest() -> None:
    own = {"kind": "import", "target": "mine:lie", "args": {"factor": 3.0}, "digest": "0123456789abcdef" * 4}
    assert variant(own) == "'mine:lie' (digest 0123456789ab, factor 3.0)"
