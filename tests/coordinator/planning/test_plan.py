import re
import warnings
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pytest
import torch
from numpy.random import SeedSequence

from coordinator.experiment.config import ConfigError, RunConfig, config_from
from coordinator.planning.hosts import ACTOR_BYTES, FORKED_BYTES, ZYGOTE_BYTES
from coordinator.planning.plan import (
    COORDINATOR_BYTES,
    FLOAT,
    RAY_BYTES,
    Plan,
    build_schedule,
    peer_settings,
    prepare,
)
from peers.base import memory
from peers.base.section import examples
from peers.data import loading
from peers.learning.control import Control
from peers.networks.optimizers import SGD, OptimizerConfig, OptimizerState
from peers.probing.memory import probing_bytes
from topologies.given import schedule_of
from topologies.participation import participants
from topologies.round import Edge
from topologies.schedule import Schedule
from topologies.topology import Topology

TABLE: dict[str, Any] = {
    "data": {"kind": "synthetic", "batch_size": 16, "num_train": 64, "num_test": 32},
    "peers": {"model": {"kind": "mlp", "hidden": [8]}, "head": {"kind": "linear", "dim": 4}, "norm": "none"},
    "topology": {"kind": "ring"},
    "hosting": {"pool": "in-process"},
}
PARAMETERS = 64 * 8 + 8 + 8 * 4 + 4


def config(**sections: dict[str, Any]) -> RunConfig:
    return config_from({**TABLE, **{name: TABLE.get(name, {}) | values for name, values in sections.items()}})


def plan(**sections: dict[str, Any]) -> Plan:
    return prepare(config(**sections))


# ---- sizes ----


@pytest.mark.parametrize("optimizer", [SGD(), *examples(OptimizerConfig)], ids=lambda each: each.kind)
def test_prepare__bytes_of_a_peer(optimizer: OptimizerConfig) -> None:
    (group,) = plan(peers={"optimizer": optimizer.model_dump()}).groups
    state = OptimizerState(optimizer, [torch.zeros(1)])
    state.allocate()
    moments = len(state.tensors()) - 1  # what it keeps beside the number of steps
    assert (group.num_parameters, group.feature_dim, group.output_dim) == (PARAMETERS, 8, 4)
    assert group.state_bytes == PARAMETERS * 4 * (3 + moments)  # weights, their start, gradients, moments
    assert group.probe_bytes == (64 + 32) * 8 * 4
    assert group.peer_bytes == group.state_bytes + group.activation_bytes + group.probe_bytes
    assert group.activation_bytes >= 16 * (64 + 8) * FLOAT  # the images, and what the ReLU keeps


def test_prepare__batch_norm_adds_parameters_and_buffers() -> None:
    (group,) = plan(peers={"norm": "batch", "optimizer": {"kind": "sgd"}}).groups
    assert group.num_parameters == PARAMETERS + 16
    assert group.state_bytes == (PARAMETERS + 16) * 12 + 2 * (8 * 4 * 2 + 8)  # mean, variance, an int64 count


@pytest.mark.parametrize(
    ("exchange", "num_bytes"),
    [
        ({"what": "logits"}, 16 * 4 * 4),
        ({"what": "features"}, 16 * 8 * 4),
        ({"what": "logits", "dtype": "float16"}, 16 * 4 * 2),
        ({"what": "probabilities", "dtype": "bfloat16"}, 16 * 4 * 2),
    ],
)
def test_prepare__bytes_of_a_message(exchange: dict[str, Any], num_bytes: int) -> None:
    assert plan(exchange=exchange).message_bytes == num_bytes


@pytest.mark.parametrize(
    ("topology", "messages"),
    [
        ({"kind": "ring"}, 8),
        ({"kind": "complete"}, 12),
        ({"kind": "star"}, 6),
        ({"kind": "random-pair", "teachers": 2}, 2),
        ({"kind": "one-peer-exponential"}, 4),
        ({"kind": "self"}, 0),
    ],
)
def test_plan__bytes_of_a_round(topology: dict[str, Any], messages: int) -> None:
    made = prepare(config_from({**TABLE, "topology": topology}))
    assert made.round_bytes == pytest.approx(messages * 256)


@pytest.mark.parametrize(
    ("workers", "actors"), [("spawned", 3 * ACTOR_BYTES), ("forked", ZYGOTE_BYTES + 3 * FORKED_BYTES)]
)
def test_plan__memory_counts_hosts_peers_and_data(workers: str, actors: int) -> None:
    made = plan(hosting={"pool": "ray", "workers": workers, "device": "cpu", "peers_per_host": 2}, peers={"count": 5})
    assert made.num_hosts == 3
    assert made.data_bytes == (64 + 32) * 64
    processes = actors + COORDINATOR_BYTES + RAY_BYTES
    messages = 5 * (2 + 4) * made.message_bytes  # two teachers on a ring, their stack and temporaries
    probe_outputs = 4 * 5 * 256 * 4 * 4  # 256 images, 4 outputs
    seen = made.config.evaluation, 64, 32
    on_features, on_pixels = (probing_bytes(*seen, dim, 4) for dim in (8, 64))
    probes = 3 * on_features + on_pixels + (64 + 32) * 64 * 4 - on_features  # each host one; pixels: the first, once
    answers = 5 * (4 + 4) * 32 * 3  # in four conditions, and the last ones of host and evaluator; of three probes
    assert made.memory_bytes == (
        5 * made.groups[0].peer_bytes + processes + messages + probe_outputs + probes + answers + made.data_bytes
    )
    assert plan(peers={"count": 5}).num_hosts == 0


def test_prepare__a_group_for_each_kind_of_peer() -> None:
    groups = [{"count": 2, "model": {"kind": "mlp", "hidden": [16]}}, {"count": 3, "optimizer": {"kind": "sgd"}}]
    made = plan(peers={"groups": groups})
    assert [(group.count, group.feature_dim, group.optimizer) for group in made.groups] == [
        (2, 16, "adamw 0.001"),
        (3, 8, "sgd 0.001"),
    ]
    assert made.config.peers.count == made.schedule.num_peers == 5


# ---- schedules and peers ----


def test_build_schedule__frozen_peers_teach_and_never_study() -> None:
    schedule = build_schedule(config(peers={"frozen": [1]}))
    assert schedule(0).links == ((1, 0), (3, 0), (1, 2), (3, 2), (0, 3), (2, 3))


def test_build_schedule__one_student_and_its_control_share_the_roles() -> None:
    made = config(exchange={"roles": "one-student"})
    schedule, alone = build_schedule(made), build_schedule(made, Control.ALONE)
    for round_index in range(20):
        (student,) = schedule(round_index).students
        assert alone(round_index).students == (student,)
        assert alone(round_index).incoming[student] == (Edge(student, 1.0),)


@pytest.mark.parametrize("kind", [{"kind": "star"}, {"kind": "random"}, {"kind": "ring", "self_weight": 0.5}])
@pytest.mark.parametrize("roles", ["every-peer", "one-student"])
@pytest.mark.parametrize("frozen", [[], [0, 2]])
def test_build_schedule__the_same_peers_look_at_a_batch_alone(
    kind: dict[str, Any], roles: str, frozen: list[int]
) -> None:
    made = config_from({**TABLE, "topology": kind, "exchange": {"roles": roles}, "peers": {"count": 5}})
    made = made.model_copy(update={"peers": made.peers.model_copy(update={"frozen": tuple(frozen)})})
    schedule, alone = build_schedule(made), build_schedule(made, Control.ALONE)
    for round_index in range(20):
        assert participants(alone(round_index)) == participants(schedule(round_index))


def test_build_schedule__is_a_function_of_the_seed() -> None:
    def links(seed: int) -> list[tuple[tuple[int, int], ...]]:
        schedule = build_schedule(config_from({**TABLE, "run": {"seed": seed}, "topology": {"kind": "random"}}))
        return [schedule(index).links for index in range(10)]

    assert links(3) == links(3) != links(4)


class ByFunction(Topology):
    """A function of the round that fails late, as a user's own may."""

    kind: Literal["by-function"] = "by-function"
    rounds: int

    def build(self, num_peers: int, seed: SeedSequence) -> Schedule:
        listed = [[(0, 1)], [(1, 0)]] * (self.rounds // 2)
        return schedule_of(lambda t: listed[t], num_peers)


def test_prepare__a_function_of_the_round_that_fails_is_told_in_one_line() -> None:
    """Before the run where the facts or the run's first rounds need it, else in the round."""
    with_function = config().model_copy(update={"topology": ByFunction(rounds=50)})
    with pytest.raises(ConfigError, match=r"^topology: round 50: the function raised IndexError [^\n]*$"):
        prepare(with_function)
    schedule = build_schedule(config().model_copy(update={"topology": ByFunction(rounds=2_000)}))
    assert schedule(1999).links == ((1, 0),)
    with pytest.raises(ConfigError, match=r"^topology: round 2000: the function raised IndexError [^\n]*$"):
        schedule(2000)


def test_prepare__same_seed_same_data() -> None:
    first, again, other = plan(), plan(), plan(run={"seed": 1})
    assert np.array_equal(first.dataset.train_images, again.dataset.train_images)
    assert not np.array_equal(first.dataset.train_images, other.dataset.train_images)


def test_peer_settings__one_for_each_with_the_statistics_of_the_data() -> None:
    made = plan(run={"seed": 5, "rounds": 7}, hosting={"recompute": True})
    settings = peer_settings(made.config, made.dataset)
    assert [each.index for each in settings] == [0, 1, 2, 3]
    assert {(each.seed, each.num_rounds, each.recompute) for each in settings} == {(5, 7, True)}
    pixels = made.dataset.train_images / 255
    mean, std = settings[0].normalisation
    assert mean == pytest.approx(pixels.mean(axis=(0, 2, 3))) and std == pytest.approx(pixels.std(axis=(0, 2, 3)))


# ---- refusals ----


@pytest.mark.parametrize(
    ("sections", "line"),
    [
        ({"data": {"batch_size": 65}}, "data.batch_size must be at most the 64 training images, got 65: lower it"),
        (
            {"data": {"batch_size": 65, "shape": [2, 9]}},
            "data.batch_size must be at most the 64 training series, got 65: lower it",
        ),
        (
            {"data": {"flip": True, "shape": [13]}},
            "data.flip: mirrors images (channel x height x width), got vectors of 13 values; set it to false",
        ),
        (
            {"hosting": {"layout": "channels-last"}, "data": {"shape": [1, 3, 4, 5]}},
            "hosting.layout: channels-last lays out images (channel x height x width), got volumes of 1x3x4x5; leave "
            "it out",
        ),
        (
            {"peers": {"model": {"kind": "small-cnn"}}, "data": {"shape": [13]}},
            "peers.model: small-cnn needs images (channel x height x width), got vectors of 13 values; choose mlp, or "
            "bring a network of your own",
        ),
        (
            {"peers": {"groups": [{"count": 1, "head": {"kind": "linear", "dim": 5}}, {"count": 1}]}},
            "peers.groups: all must exchange vectors of one width, got 4, 5: give them heads of one dim",
        ),
        (
            {"exchange": {"supervised": 0.5}, "data": {"num_classes": 9}},
            "exchange.supervised needs an output per class: 9 classes, got 4 outputs; set peers.head.dim",
        ),
        (
            {"evaluation": {"probe_train": 12}},
            "evaluation.knn.k must be at most the 12 training examples that are probed, got 20: lower it",
        ),
        (
            {"data": {"train_limit": 4, "batch_size": 4}, "evaluation": {"knn": {"k": 1}}},
            "evaluation.probes: linear needs at least 5 training examples, got 4: leave it out",
        ),
        (
            {"topology": {"kind": "self", "self_weight": 0.5}},
            "topology.self_weight is 0.5, but peers that teach themselves have nobody to share with: leave it out",
        ),
    ],
)
def test_prepare__refuses_what_does_not_fit(sections: dict[str, Any], line: str) -> None:
    with pytest.raises(ConfigError) as error:
        plan(**sections)
    assert str(error.value) == line


@pytest.mark.parametrize(
    "sections",
    [
        {"data": {"batch_size": 64}},
        {"exchange": {"supervised": 0.5}},
        {"evaluation": {"probe_train": 20}},
        {"data": {"train_limit": 16}, "evaluation": {"probes": ["linear"]}},
    ],
)
def test_prepare__takes_what_just_fits(sections: dict[str, Any]) -> None:
    assert plan(**sections).schedule.num_peers == 4


def test_prepare__validation_hides_the_test_images() -> None:
    whole, search = plan().dataset, plan(data={"validation": 10}).dataset
    tested = {image.tobytes() for image in whole.test_images}
    assert len(search.test_labels) == 10 and len(search.train_labels) == len(whole.train_labels) - 10
    assert not tested & {image.tobytes() for image in search.test_images}


def test_prepare__a_teacher_of_its_own_is_a_fourth_copy_of_the_weights() -> None:
    itself, snapshot = plan().groups[0], plan(exchange={"refresh_every": 5}).groups[0]
    assert snapshot.state_bytes - itself.state_bytes == 4 * itself.num_parameters


# ---- memory ----


def test_plan__memory_knows_the_number_of_classes() -> None:
    few, many = (plan(data={"num_classes": classes}, evaluation={"probes": ["knn"]}) for classes in (4, 40_000))
    seen = few.config.evaluation, 64, 32, 64  # the images themselves have more dimensions than the features
    assert many.memory_bytes - few.memory_bytes == probing_bytes(*seen, 40_000) - probing_bytes(*seen, 4)
    assert many.memory_bytes - few.memory_bytes > 64 * (4 + 8) * 39_000  # one-hot labels as integers, then as floats


def test_prepare__refuses_probes_that_the_memory_does_not_hold() -> None:
    made = loading.load_synthetic(64, 32, 4, (1, 8, 8), SeedSequence(0))
    many = replace(made, num_classes=10**9)
    with pytest.raises(ConfigError) as error:
        prepare(config(), many)
    assert re.fullmatch(
        r"evaluation\.probes: 96 images of 64 values in 1,000,000,000 classes need [\d,.]+ GiB of memory, and [\d,.]+ "
        r"GiB are left; lower evaluation\.probe_train and evaluation\.probe_test, or name labels with fewer classes",
        str(error.value),
    )
    assert prepare(config(hosting={"pool": "ray", "address": "auto"}), many).dataset is many  # another machine's


def test_prepare__refuses_a_dataset_whose_labels_are_no_classes() -> None:
    made = loading.load_synthetic(64, 32, 4, (1, 8, 8), SeedSequence(0))
    with pytest.raises(ConfigError, match=r"^dataset: labels must be in 0\.\.3 for num_classes = 4, got 0 to 700;"):
        prepare(config(), replace(made, train_labels=np.where(made.train_labels == 3, 700, made.train_labels)))


def test_prepare__synthetic_images_larger_than_the_memory() -> None:
    with pytest.raises(ConfigError, match=r"^data: 96 images and 4 classes of 3x65536x65536 need .* of memory, and"):
        plan(data={"shape": [3, 65536, 65536]})


def test_prepare__tells_of_a_run_that_the_memory_may_not_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    needed = plan().memory_bytes - plan().data_bytes
    monkeypatch.setattr(memory, "available", lambda: needed)
    plan()
    monkeypatch.setattr(memory, "available", lambda: needed - 1)
    with pytest.warns(
        UserWarning, match=r"^the run will need about [\d.]+ MiB of memory beside its data, and [\d.]+ MiB"
    ):
        plan()
    plan(hosting={"pool": "ray", "address": "auto"})  # another machine's memory: no warning, which would be an error


# ---- warnings ----

SHORT = {"run": {"rounds": 60}, "evaluation": {"calibration_passes": 20}}


@pytest.mark.parametrize(
    ("changes", "needed"),
    [
        ({}, 50),
        ({"run": {"rounds": 30}}, 30),
        ({"topology": {"kind": "random-pair"}, "run": {"rounds": 200}}, 50),
        ({"peers": {"norm": "none"}}, None),
        ({"peers": {"norm": "layer"}}, None),
        ({"run": {"rounds": 20}}, None),
        ({"evaluation": {"calibration_passes": 50}}, None),
        ({"topology": {"kind": "random-pair"}, "run": {"rounds": 21}}, None),  # nobody takes part in 20 of them
    ],
)
def test_prepare__few_calibration_passes_of_networks_with_batchnorm(
    changes: dict[str, Any], needed: int | None, recwarn: pytest.WarningsRecorder
) -> None:
    plan(**{**SHORT, "peers": {"norm": "batch"}, **changes})
    message = (
        "evaluation.calibration_passes is 20, which leaves much of BatchNorm's initial buffers in the calibrated "
        f"control, though not in the trained peers: set it to {needed} or more"
    )
    assert [str(each.message) for each in recwarn] == ([message] if needed else [])


def test_plan__memory_of_the_probes_of_peers_with_labels() -> None:
    """A byte for each answer, and four for each of four outputs, in four conditions and the control runs."""
    count, labels = config().peers.count, {"exchange": {"supervised": 1.0}}
    without, with_labels, controlled = (
        plan(**sections).memory_bytes
        for sections in ({}, labels, {**labels, "evaluation": {"recalibrated": True, "controls": ["alone"]}})
    )
    assert with_labels - without == (4 + 4) * count * 32 * (1 + 4 * FLOAT)
    assert controlled - with_labels == 2 * count * 32 * (3 + 1 + 4 * FLOAT)


def test_prepare__warns_of_control_runs_that_nothing_is_compared_with() -> None:
    with pytest.warns(UserWarning, match=r"evaluation.probes is empty, so .* \(alone\): name a probe, or"):
        plan(evaluation={"probes": [], "controls": ["alone"]})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plan(evaluation={"probes": [], "controls": []})
        plan(evaluation={"probes": [], "controls": ["alone"]}, exchange={"supervised": 1.0})  # by top-1
