"""The simulated network in a config and a plan: what contradicts it, its trace and sizes, what peers have seen."""

from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from coordinator.checkpoints.identity import deciding
from coordinator.experiment.config import ConfigError, RunConfig, load_config, to_table, to_toml
from coordinator.planning.network import files_digest, last_batches, rewired, trace_of_control
from coordinator.planning.plan import peer_settings, prepare
from peers.learning.control import Control
from peers.learning.settings import initial_network
from topologies.combinators import among
from topologies.config import RandomPair, Ring
from topologies.participation import last_rounds

LOST = {"kind": "bernoulli", "probability": 0.3}
AWAY = {"kind": "exponential", "up": 6.0, "down": 3.0}


def config_of(small: dict[str, Any], *overrides: str, **sections: Any) -> RunConfig:
    merged = {name: {**small.get(name, {}), **sections.get(name, {})} for name in {**small, **sections}}
    return load_config(merged, overrides)


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (
            ["exchange.delivery=shared-sum", "topology.kind=complete", "network.loss.probability=0.1"],
            "exchange.delivery 'shared-sum' needs every message of a round to reach everybody, but network.loss loses",
        ),
        (
            ["exchange.delivery=shared-sum", "topology.kind=complete", "network.clock=free-running"],
            "exchange.delivery 'shared-sum' needs every message of a round to reach everybody, but network.clock is",
        ),
        (["exchange.roles=one-student", "network.clock=gossip"], "exchange.roles 'one-student' draws a student"),
        (
            ["exchange.aggregation.kind=median", "network.clock=gossip"],
            "exchange.aggregation 'median' compares messages about the same images, but with network.clock 'gossip'",
        ),
        (["exchange.memory=expguard", "network.clock=gossip"], "exchange.memory 'expguard' compares messages about"),
        (
            ["exchange.what=probabilities", "exchange.top_k=2", "network.message=checkpoint"],
            "exchange.top_k is 2, which shortens outputs",
        ),
        (
            ["evaluation.controls=['alone-matched']", "network.clock=free-running"],
            "evaluation.controls: alone-matched takes the gradient norm of each peer and round from the run",
        ),
        (["network.rewire=true", "topology.kind=self"], "network.rewire builds the topology anew"),
        (["network.rewire=true", "topology.kind=hypercube", "peers.count=8"], "network.rewire builds the topology"),
    ],
)
def test_config__what_contradicts_the_network_is_refused_in_a_line(
    small: dict[str, Any], overrides: list[str], line: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        config_of(small, *overrides)
    assert str(caught.value).startswith(line) and "\n" not in str(caught.value)


def test_config__the_section_is_written_whole_and_read_again(small: dict[str, Any]) -> None:
    config = config_of(small, "network.preset=home", "network.clock=gossip")
    table = to_table(config)
    assert table["network"]["latency"]["table"] == "home"
    assert load_config(table) == config and "[network.churn]" in to_toml(config)
    assert "network" not in to_table(config_of(small))
    assert deciding(config)["network.clock"] == "gossip"
    assert not [name for name in deciding(config_of(small)) if name.startswith("network")]


def test_plan__a_file_of_the_network_is_read_by_its_whole_path_and_known_by_its_content(
    small: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("links.csv").write_text("from,to,ms\na,b,100\nb,a,140\na,a,10\nb,b,10\n")
    config = config_of(small, "network.latency.kind=file", "network.latency.path=links.csv")
    assert config.network is not None and config.network.latency.path == tmp_path / "links.csv"  # type: ignore[union-attr]
    before = files_digest(config)
    with pytest.warns(UserWarning):  # it is asymmetric
        assert prepare(config).trace is not None
    Path("links.csv").write_text("from,to,ms\na,b,100\nb,a,100\na,a,10\nb,b,10\n")
    assert files_digest(config) != before != "" == files_digest(config_of(small))


def test_plan__a_checkpoint_has_the_bytes_of_the_weights_that_travel(small: dict[str, Any]) -> None:
    outputs = prepare(config_of(small, "network.clock=neighbours"))
    assert outputs.sizes == (outputs.message_bytes,) * 3
    config = config_of(small, "network.message=checkpoint")
    plan = prepare(config)
    settings = peer_settings(config, plan.dataset)
    networks = [initial_network(each, plan.dataset.shape) for each in settings]
    assert plan.sizes == tuple(
        sum(tensor.nbytes for tensor in (*network.parameters(), *network.buffers())) for network in networks
    )
    assert settings[0].message == "checkpoint"
    assert plan.round_bytes == plan.facts.messages_per_round * plan.sizes[0]


def test_among__a_ring_closes_over_the_absent_peers() -> None:
    ring = among(Ring().build(3, np.random.SeedSequence(0)), [1, 3, 6], 7)(5)
    linked = {student: {edge.teacher for edge in edges} for student, edges in enumerate(ring.incoming) if edges}
    assert linked == {1: {3, 6}, 3: {1, 6}, 6: {1, 3}}
    assert ring.kept[0] == 1.0 and ring.num_peers == 7


def test_among__draws_are_those_of_so_many_peers() -> None:
    few = RandomPair(teachers=1).build(3, np.random.SeedSequence(7))
    placed, names = among(few, [0, 2, 5], 6), [0, 2, 5]
    for index in range(20):
        assert placed(index).links == tuple((names[a], names[b]) for a, b in few(index).links)


def test_rewired__fewer_peers_than_the_topology_takes_have_no_links(small: dict[str, Any]) -> None:
    present = rewired(config_of(small, "network.rewire=true"))
    assert present([1])(3).links == () and present([0, 2])(0).links == ((2, 0), (0, 2))
    assert present([0, 1, 2])(4) == prepare(config_of(small)).schedule(4)


def test_last_batches__without_ages_they_are_the_rounds_of_the_schedule(small: dict[str, Any]) -> None:
    plan = prepare(config_of(small, "topology.kind=random-pair", "network.clock=free-running"))
    assert plan.trace is not None and not plan.trace.plain
    assert last_batches(plan.trace, 8, 3) == last_rounds(plan.schedule, 8, 3)


def test_last_batches__are_all_that_a_step_studies_and_none_of_weights_that_are_gone(small: dict[str, Any]) -> None:
    network = {
        "clock": "free-running",
        "compute": {"kind": "lognormal", "seconds": 1.0, "sigma": 0.8},
        "latency": {"kind": "constant", "seconds": 1.5},
        "churn": {**AWAY, "on_return": "fresh"},
    }
    plan = prepare(config_of(small, network=network))
    assert plan.trace is not None
    expected: dict[int, list[int]] = {0: [], 1: [], 2: []}
    several = 0
    for timed in islice(plan.trace.rounds(), 20):
        for wave in timed.waves:
            for publication in wave.returns:
                if publication.back is not None:
                    expected[publication.peer] = []
            for step in wave.steps:
                older = {step.version - edge.age for edge in step.heard} - {step.version}
                expected[step.peer] += [step.version, *sorted(older)]
                several += bool(older)
    assert several and last_batches(plan.trace, 20, 10**6) == [expected[peer] for peer in range(3)]


@pytest.mark.parametrize("control", [Control.ALONE, Control.SINGLE_TEACHER, Control.STRANGER, Control.SUPERVISED])
def test_trace_of_control__keeps_times_steps_and_batches(small: dict[str, Any], control: Control) -> None:
    network = {"clock": "free-running", "latency": {"kind": "constant", "seconds": 0.7}, "loss": LOST, "churn": AWAY}
    trace = prepare(config_of(small, network=network)).trace
    changed = trace_of_control(trace, control, 0)
    assert trace is not None and changed is not None
    heard = 0
    for before, after in zip(islice(trace.rounds(), 20), islice(changed.rounds(), 20), strict=True):
        assert (before.end, before.presence, before.deliveries) == (after.end, after.presence, after.deliveries)
        for wave, other in zip(before.waves, after.waves, strict=True):
            for step, again in zip(wave.steps, other.steps, strict=True):
                assert step[:3] == again[:3] and step[4:7] == again[4:7] and bool(step.heard) == bool(again.heard)
                teachers = {edge.teacher for edge in again.heard}
                heard += len(teachers - {step.peer})
                if control is Control.SINGLE_TEACHER:
                    assert teachers <= {edge.teacher for edge in step.heard} and len(teachers) <= 1
                elif control is Control.STRANGER:
                    assert again.heard == step.heard
    assert (heard == 0) == (not control.exchanges)
