"""Every kind through its config: valid rounds, seekability, and refusals that name the field."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.random import SeedSequence
from pydantic import TypeAdapter, ValidationError

from topologies.config import KINDS, TopologyConfig
from topologies.round import Edge, Round
from topologies.schedule import Schedule
from topologies.topology import Topology

CONFIG: TypeAdapter[TopologyConfig] = TypeAdapter(TopologyConfig)
EDGES = "teacher,student,weight\n0,1,1\n1,2,0.25\n0,2,0.75\n2,3,1\n"
Example = Callable[[type[Topology], int], Topology]
# beside each kind's example
VARIATIONS: list[dict[str, object]] = [
    *({"kind": kind, "weights": "uniform"} for kind in ("ring", "star", "path", "torus")),
    {"kind": "erdos-renyi", "p": 0.3, "allow_disconnected": True},
    {"kind": "erdos-renyi", "p": 0.5, "weights": "uniform", "allow_disconnected": True},
    {"kind": "random-regular", "degree": 2, "allow_disconnected": True},
    {"kind": "random-regular", "degree": 3},
    {"kind": "watts-strogatz", "degree": 2, "allow_disconnected": True},
    {"kind": "random", "teachers": 2},
    {"kind": "random-pair", "teachers": 2},
    {"kind": "base", "max_degree": 3},
]
SECTIONS = [*({"kind": kind} for kind in KINDS), *VARIATIONS]


def build(section: dict[str, object], num_peers: int, seed: int = 0) -> Schedule:
    return CONFIG.validate_python(section).build(num_peers, SeedSequence(seed))


@pytest.fixture(scope="module")
def config_of(topology_example: Example) -> Callable[[dict[str, object], int], Topology]:
    """A section's settings; the example of its kind where the section names nothing but that."""

    def config_of(section: dict[str, object], num_peers: int) -> Topology:
        if len(section) > 1:
            return CONFIG.validate_python(section)
        return topology_example(KINDS[str(section["kind"])], num_peers)

    return config_of


def check(round_: Round, num_peers: int, alone: bool) -> None:
    mixing = round_.mixing.toarray()
    assert mixing.shape == (num_peers, num_peers) and (mixing >= 0).all()
    np.testing.assert_allclose(mixing.sum(axis=1), 1)
    assert round_.num_peers == len(round_.incoming) == num_peers
    for student, edges in enumerate(round_.incoming):
        teachers = [edge.teacher for edge in edges]
        weights = [edge.weight for edge in edges]
        assert teachers == sorted(set(teachers)) and set(teachers) <= set(range(num_peers))
        assert all(edge.weight > 0 and edge.age == 0 for edge in edges)
        if alone:
            assert edges == (Edge(student, 1.0),)
            continue
        assert np.flatnonzero(mixing[student] * (np.arange(num_peers) != student)).tolist() == teachers
        if teachers:
            assert sum(weights) == pytest.approx(1)
            off_diagonal = mixing[student, teachers]
            np.testing.assert_allclose(weights, off_diagonal / off_diagonal.sum())


@settings(max_examples=120, deadline=None, database=None)
@given(
    section=st.sampled_from(SECTIONS),
    num_peers=st.integers(2, 20),
    seed=st.integers(0, 2**32),
    round_index=st.integers(0, 10**6),
)
def test_build__every_round_is_valid(
    config_of: Callable[[dict[str, object], int], Topology],
    section: dict[str, object],
    num_peers: int,
    seed: int,
    round_index: int,
) -> None:
    config = config_of(section, num_peers)
    assume(config.takes(num_peers))
    rounds = config.build(num_peers, SeedSequence(seed))
    assert rounds.num_peers == num_peers
    check(rounds(round_index), num_peers, section["kind"] == "self")


@pytest.mark.parametrize("section", SECTIONS, ids=str)
def test_build__is_seekable_and_repeatable(
    config_of: Callable[[dict[str, object], int], Topology], section: dict[str, object]
) -> None:
    config = config_of(section, 8)
    jumped = config.build(8, SeedSequence(0))(1000)
    check(jumped, 8, section["kind"] == "self")
    walked = config.build(8, SeedSequence(0))
    *_, last = (walked(t) for t in range(1001))
    assert last == jumped and np.array_equal(last.mixing.toarray(), jumped.mixing.toarray())
    if walked.period is not None:
        assert walked(0) == walked(walked.period)


@pytest.mark.parametrize("kind", KINDS)
def test_takes__exactly_the_counts_that_can_be_built(topology_example: Example, kind: str) -> None:
    assert KINDS[kind].example().takes(8) and KINDS[kind].example(16).takes(16)
    for num_peers in range(-1, 34):
        config = topology_example(KINDS[kind], 8 if kind != "file" else max(num_peers, 2))
        try:
            assert config.build(num_peers, SeedSequence(num_peers + 1)).num_peers == num_peers
            built = True
        except ValueError:
            built = False
        assert config.takes(num_peers) == built, num_peers


@pytest.mark.parametrize(
    ("section", "counts"),
    [
        ({"kind": "ring"}, range(2, 20)),
        ({"kind": "torus"}, [4, 6, 8, 9, 10, 12, 14, 15, 16, 18]),
        ({"kind": "hypercube"}, [2, 4, 8, 16]),
        ({"kind": "random-regular", "degree": 3}, range(4, 20, 2)),
        ({"kind": "watts-strogatz", "degree": 4}, range(5, 20)),
        ({"kind": "random", "teachers": 3}, range(4, 20)),
        ({"kind": "random-pair", "teachers": 2}, range(3, 20)),
    ],
    ids=str,
)
def test_takes__by_hand(section: dict[str, object], counts: Sequence[int]) -> None:
    config = CONFIG.validate_python(section)
    assert [num_peers for num_peers in range(20) if config.takes(num_peers)] == list(counts)


@pytest.mark.parametrize("kind", KINDS)
def test_example__is_of_its_kind_and_valid(kind: str) -> None:
    for num_peers in (1, 2, 3, 4, 5, 100, 8192):
        example = KINDS[kind].example(num_peers)
        assert example == CONFIG.validate_python({"kind": kind, **example.model_dump(exclude_unset=True)})


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
    assert round_.links == ((0, 1), (0, 2), (1, 2), (2, 3))
    assert [edge.weight for edge in round_.incoming[2]] == pytest.approx([0.75, 0.25])
    np.testing.assert_allclose(round_.mixing.toarray()[2], [0.5, 1 / 6, 1 / 3, 0])
    check(round_, 4, alone=False)


def test_config__round_trips_through_json() -> None:
    for config in (*(kind.example() for kind in KINDS.values()), *map(CONFIG.validate_python, VARIATIONS)):
        assert CONFIG.validate_json(CONFIG.dump_json(config)) == config
    for section in VARIATIONS:
        assert section.items() <= CONFIG.dump_python(CONFIG.validate_python(section), mode="json").items()


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
        *((section, 1, "peers.count: a topology needs at least 2 peers, got 1") for section in VARIATIONS),
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


@pytest.mark.parametrize("kind", KINDS)
def test_build__refuses_a_lone_peer(kind: str) -> None:
    with pytest.raises(ValueError, match=r"^peers.count: a topology needs at least 2 peers, got 1; [^\n]*$"):
        KINDS[kind].example().build(1, SeedSequence(0))
