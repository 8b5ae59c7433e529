"""Every kind through its config: valid rounds, seekability, and refusals that name the field."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.random import SeedSequence
from pydantic import TypeAdapter, ValidationError

from topologies.config import TopologyConfig
from topologies.schedule import Round, Schedule

CONFIG: TypeAdapter[TopologyConfig] = TypeAdapter(TopologyConfig)
EDGES = "teacher,student,weight\n0,1,1\n1,2,0.25\n0,2,0.75\n2,3,1\n"
ANY_COUNT: list[dict[str, object]] = [
    {"kind": "ring"},
    {"kind": "ring", "weights": "uniform"},
    {"kind": "complete"},
    {"kind": "self"},
    {"kind": "star"},
    {"kind": "star", "weights": "uniform"},
    {"kind": "path"},
    {"kind": "exponential"},
    {"kind": "erdos-renyi", "p": 0.3, "allow_disconnected": True},
    {"kind": "random-regular", "degree": 2, "allow_disconnected": True},
    {"kind": "watts-strogatz", "degree": 2, "allow_disconnected": True},
    {"kind": "random"},
    {"kind": "random", "teachers": 2},
    {"kind": "random-matching"},
    {"kind": "random-pair"},
    {"kind": "random-pair", "teachers": 2},
    {"kind": "one-peer-exponential"},
    {"kind": "base"},
    {"kind": "base", "max_degree": 3},
]
EIGHT_PEERS: list[dict[str, object]] = [
    *ANY_COUNT,
    {"kind": "torus"},
    {"kind": "hypercube"},
    {"kind": "random-regular", "degree": 3},
    {"kind": "erdos-renyi", "p": 0.5, "weights": "uniform"},
    {"kind": "watts-strogatz"},
]


def build(section: dict[str, object], num_peers: int, seed: int = 0) -> Schedule:
    return CONFIG.validate_python(section).build(num_peers, SeedSequence(seed))


def check(round_: Round, num_peers: int, alone: bool) -> None:
    mixing = round_.mixing.toarray()
    assert mixing.shape == (num_peers, num_peers) and (mixing >= 0).all()
    np.testing.assert_allclose(mixing.sum(axis=1), 1)
    assert len(round_.teachers) == len(round_.weights) == num_peers
    for student, (teachers, weights) in enumerate(zip(round_.teachers, round_.weights, strict=True)):
        assert list(teachers) == sorted(set(teachers)) and set(teachers) <= set(range(num_peers))
        assert len(weights) == len(teachers) and all(weight > 0 for weight in weights)
        if alone:
            assert teachers == (student,) and weights == (1.0,)
            continue
        assert tuple(np.flatnonzero(mixing[student] * (np.arange(num_peers) != student))) == teachers
        if teachers:
            assert sum(weights) == pytest.approx(1)
            off_diagonal = mixing[student, list(teachers)]
            np.testing.assert_allclose(weights, off_diagonal / off_diagonal.sum())


@settings(max_examples=80, deadline=None, database=None)
@given(
    section=st.sampled_from(ANY_COUNT),
    num_peers=st.integers(3, 20),
    seed=st.integers(0, 2**32),
    round_index=st.integers(0, 10**6),
)
def test_build__every_round_is_valid(section: dict[str, object], num_peers: int, seed: int, round_index: int) -> None:
    rounds = build(section, num_peers, seed)
    assert rounds.num_peers == num_peers
    check(rounds(round_index), num_peers, section["kind"] == "self")


@pytest.mark.parametrize("section", EIGHT_PEERS, ids=str)
def test_build__is_seekable_and_repeatable(section: dict[str, object]) -> None:
    jumped = build(section, 8)(1000)
    check(jumped, 8, section["kind"] == "self")
    walked = build(section, 8)
    *_, last = (walked(t) for t in range(1001))
    assert last == jumped and np.array_equal(last.mixing.toarray(), jumped.mixing.toarray())
    if walked.period is not None:
        assert walked(0) == walked(walked.period)


@pytest.mark.parametrize("kind", ["random", "random-matching", "random-pair"])
def test_build__random_kinds_vary_with_round_and_seed(kind: str) -> None:
    rounds = [build({"kind": kind}, 8)(t) for t in range(100)]
    assert len(set(rounds)) > 30
    assert [build({"kind": kind}, 8, seed=1)(t) for t in range(100)] != rounds


def test_build__leaves_the_seed_as_it_was() -> None:
    seed = SeedSequence(5)
    first = CONFIG.validate_python({"kind": "random"}).build(8, seed)
    second = CONFIG.validate_python({"kind": "random"}).build(8, seed)
    assert seed.n_children_spawned == 0
    assert [first(t) for t in range(5)] == [second(t) for t in range(5)]


@pytest.mark.parametrize(
    "section", [{"kind": "random-regular", "degree": 3}, {"kind": "erdos-renyi", "p": 0.4}], ids=str
)
def test_build__random_static_graphs_follow_the_seed(section: dict[str, object]) -> None:
    assert build(section, 16, 1)(0) == build(section, 16, 1)(0) != build(section, 16, 2)(0)


def test_build__weights_choose_the_mixing_matrix() -> None:
    assert build({"kind": "star"}, 4)(0).mixing[1, 0] == pytest.approx(1 / 4)
    assert build({"kind": "star", "weights": "uniform"}, 4)(0).mixing[1, 0] == pytest.approx(1 / 2)


def test_build__file_keeps_its_weights(tmp_path: Path) -> None:
    path = tmp_path / "edges.csv"
    path.write_text(EDGES)
    round_ = build({"kind": "file", "path": str(path)}, 4)(0)
    assert round_.teachers == ((), (0,), (0, 1), (2,))
    assert round_.weights[2] == pytest.approx((0.75, 0.25))
    np.testing.assert_allclose(round_.mixing.toarray()[2], [0.5, 1 / 6, 1 / 3, 0])
    check(round_, 4, alone=False)


def test_config__round_trips_through_json(tmp_path: Path) -> None:
    sections: list[dict[str, object]] = [*EIGHT_PEERS, {"kind": "file", "path": str(tmp_path / "edges.csv")}]
    for section in sections:
        config = CONFIG.validate_python(section)
        assert CONFIG.validate_json(CONFIG.dump_json(config)) == config
        assert section.items() <= CONFIG.dump_python(config, mode="json").items()


@pytest.mark.parametrize(
    ("section", "location", "message"),
    [
        ({"kind": "rinng"}, (), "'ring', 'complete', 'self'"),
        ({}, (), "Unable to extract tag"),
        ({"kind": "ring", "degree": 3}, ("ring", "degree"), "Extra inputs are not permitted"),
        ({"kind": "random-regular"}, ("random-regular", "degree"), "Field required"),
        ({"kind": "random-regular", "degree": 0}, ("random-regular", "degree"), "greater than or equal to 1"),
        ({"kind": "erdos-renyi", "p": 1.5}, ("erdos-renyi", "p"), "less than or equal to 1"),
        ({"kind": "random", "teachers": 0}, ("random", "teachers"), "greater than or equal to 1"),
        ({"kind": "base", "max_degree": 0}, ("base", "max_degree"), "greater than or equal to 1"),
        ({"kind": "ring", "weights": "equal"}, ("ring", "weights"), "'metropolis-hastings' or 'uniform'"),
    ],
)
def test_config__refuses_at_the_field(section: dict[str, object], location: tuple[str, ...], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        CONFIG.validate_python(section)
    (error,) = caught.value.errors()
    assert error["loc"] == location and message in error["msg"]


@pytest.mark.parametrize(
    ("section", "num_peers", "message"),
    [
        *((section, 1, "peers.count: a topology needs at least 2 peers, got 1") for section in EIGHT_PEERS),
        ({"kind": "torus"}, 7, "topology.kind: torus needs a peer count that is a product"),
        ({"kind": "hypercube"}, 6, "topology.kind: hypercube needs a power of two of peers, got 6"),
        ({"kind": "random-regular", "degree": 8}, 8, "topology.degree: must be from 1 to peers.count - 1 = 7, got 8"),
        ({"kind": "random-regular", "degree": 3}, 5, "topology.degree: peers.count * topology.degree must be even"),
        ({"kind": "random-regular", "degree": 1}, 8, "topology.degree: 8 peers of degree 1 must give a connected"),
        ({"kind": "watts-strogatz"}, 4, "topology.degree: must be from 1 to peers.count - 1 = 3, got 4"),
        ({"kind": "erdos-renyi", "p": 0}, 8, "topology.p: 8 peers linked with p = 0.0 must give a connected graph"),
        ({"kind": "random", "teachers": 4}, 4, "topology.teachers: must be from 1 to peers.count - 1 = 3, got 4"),
        ({"kind": "random-pair", "teachers": 4}, 4, "topology.teachers: must be from 1 to peers.count - 1 = 3, got 4"),
        ({"kind": "file", "path": "absent.csv"}, 4, "topology.path: cannot read absent.csv: No such file or directory"),
    ],
)
def test_build__refuses_in_one_line(section: dict[str, object], num_peers: int, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        build(section, num_peers)
    assert str(caught.value).startswith(message) and "\n" not in str(caught.value)
