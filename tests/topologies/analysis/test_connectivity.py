"""The pooling matrix, with which students average, against closed forms and against students that move a little."""

import math

import numpy as np
import pytest
from numpy.random import SeedSequence
from pytest import approx

from topologies import combinators, graphs, mixing, schedule
from topologies.analysis import connectivity
from topologies.analysis.measures import describe
from topologies.config import KINDS, Base, ErdosRenyi, File, Path, RandomRegular, Star, WattsStrogatz
from topologies.facts import TopologyFacts
from topologies.schedule import Round, Schedule
from topologies.topology import Topology


def fixed(graph: graphs.Graph) -> Schedule:
    return schedule.static(Round.from_mixing(mixing.metropolis_hastings(graph)))


def pooling(facts: TopologyFacts) -> tuple[float | None, float | None, int | None]:
    """The connectivity, gap and rounds to agreement of P."""
    return facts.pooling_connectivity, facts.pooling_gap, facts.pooling_rounds_to


def rounds_at(modulus: float) -> int:
    return math.ceil(math.log(1e-3) / math.log(modulus))


@pytest.mark.parametrize("num_peers", [4, 5, 8, 9, 16, 1023, 1024])
def test_pooling__ring(num_peers: int) -> None:
    """Eigenvalues cos(2 pi k / n), down to -1 if n is even and to -cos(pi / n) if it is odd."""
    facts = describe(fixed(graphs.ring(num_peers)))
    odd = num_peers % 2
    assert facts.pooling_connectivity == approx(1 - math.cos(2 * math.pi / num_peers), rel=1e-6)
    assert facts.pooling_gap == approx(1 - math.cos(math.pi / num_peers) if odd else 0, abs=1e-12)
    assert facts.pooling_rounds_to == (rounds_at(math.cos(math.pi / num_peers)) if odd else None)
    assert facts.spectral_gap == approx(2 / 3 * (1 - math.cos(2 * math.pi / num_peers)), rel=1e-6)  # of W, as ever


@pytest.mark.parametrize("num_peers", [2, 3, 5, 11, 16])
def test_pooling__complete_known_and_computed(num_peers: int) -> None:
    """Eigenvalues 1 and -1 / (n - 1): agreement below a thousandth after the third round with eleven peers."""
    known = describe(schedule.complete(num_peers))
    found = describe(schedule.static(schedule.complete(num_peers)(0)))
    for facts in (known, found):
        assert facts.pooling_connectivity == approx(num_peers / (num_peers - 1))
        assert facts.pooling_gap == approx(1 - 1 / (num_peers - 1), abs=1e-12)
    assert known.pooling_rounds_to == found.pooling_rounds_to == {2: None, 3: 10, 5: 5, 11: 3, 16: 3}[num_peers]
    assert (known.spectral_gap, known.rounds_to) == (1, 1)


@pytest.mark.parametrize("num_peers", [4, 9, 600])
def test_pooling__star_and_path_swap_for_ever(num_peers: int) -> None:
    """Star: eigenvalues 1, 0 and -1. Path: a random walk that turns at its ends, cos(pi k / (n - 1))."""
    assert pooling(describe(fixed(graphs.star(num_peers)))) == (approx(1), 0, None)
    assert pooling(describe(fixed(graphs.path(num_peers)))) == (
        approx(1 - math.cos(math.pi / (num_peers - 1)), rel=1e-6),
        0,
        None,
    )
    assert describe(fixed(graphs.star(num_peers))).spectral_gap == approx(1 / num_peers)


@pytest.mark.parametrize("dimension", [2, 4, 6])
def test_pooling__hypercube(dimension: int) -> None:
    """Eigenvalues 1 - 2 k / d, down to -1."""
    facts = describe(fixed(graphs.hypercube(2**dimension)))
    assert pooling(facts) == (approx(2 / dimension), approx(0, abs=1e-12), None)
    assert facts.spectral_gap == approx(2 / (1 + dimension))


def test_pooling__odd_torus() -> None:
    """Eigenvalues (cos a + cos b) / 2 over multiples of 2 pi / 5: the largest modulus is that of the most negative."""
    facts = describe(fixed(graphs.torus(25)))
    assert facts.pooling_connectivity == approx((1 - math.cos(2 * math.pi / 5)) / 2)
    assert facts.pooling_gap == approx(1 + math.cos(4 * math.pi / 5))


def test_pooling__own_outputs_lift_the_negative_eigenvalues() -> None:
    """(1 - w) P + w I: with w = 1/3, the ring's pooling matrix is the gossip matrix of Metropolis-Hastings."""
    ring = describe(fixed(graphs.ring(8)))
    facts = describe(combinators.with_self_weight(fixed(graphs.ring(8)), 1 / 3))
    assert facts.pooling_gap == facts.spectral_gap == approx(ring.spectral_gap)
    assert facts.pooling_rounds_to == facts.rounds_to == ring.rounds_to
    assert facts.pooling_connectivity == approx(2 / 3 * (1 - math.cos(math.pi / 4)))


def test_pooling__apart() -> None:
    two_frozen = combinators.without_students(fixed(graphs.ring(6)), frozenset({0, 3}))
    for never in (two_frozen, schedule.self_taught(6)):
        assert pooling(describe(never)) == (0, 0, None)


TOPOLOGIES: list[Topology] = [
    *(
        kind.example(16)
        for kind in KINDS.values()
        if kind is not File and kind.example(16).build(16, SeedSequence(0)).period is not None
    ),
    Star(weights="uniform"),
    Path(weights="uniform"),
    ErdosRenyi(p=0.4, weights="uniform"),
    Base(max_degree=3),
]


@pytest.mark.parametrize("change", ["", "frozen", "self-weight"])
@pytest.mark.parametrize("topology", TOPOLOGIES, ids=repr)
def test_connectivity__is_the_rate_of_students_that_move_a_little(topology: Topology, change: str) -> None:
    rounds, step = topology.build(16, SeedSequence(1)), 1e-4
    if change == "frozen":
        rounds = combinators.without_students(rounds, frozenset({1}))
    if change == "self-weight":
        rounds = combinators.with_self_weight(rounds, 0.3)
    state = np.eye(16)
    for t in range(rounds.period or 0):
        state = state - step * (state - rounds(t).as_pooled().mixing @ state)
    modulus = np.sort(np.abs(np.linalg.eigvals(state)))[-2] ** (1 / (rounds.period or 1))
    assert describe(rounds).pooling_connectivity == approx((1 - modulus) / step, rel=1e-3, abs=1e-8)


@pytest.mark.parametrize("topology", [RandomRegular(degree=4), ErdosRenyi(p=0.2), WattsStrogatz(), Path()], ids=repr)
def test_connectivity__many_peers_are_computed_alike(topology: Topology, monkeypatch: pytest.MonkeyPatch) -> None:
    rounds = topology.build(200, SeedSequence(0))
    dense = describe(rounds).pooling_connectivity
    monkeypatch.setattr(connectivity, "DENSE_PEERS", 0)
    assert describe(rounds).pooling_connectivity == approx(dense, rel=1e-6)


@pytest.mark.parametrize("kind", ["random", "random-matching", "random-pair"])
@pytest.mark.parametrize("change", ["", "self-weight", "one student"])
def test_connectivity__drawn_alike_for_all_is_what_is_expected(kind: str, change: str) -> None:
    """A student has each other peer as teacher equally often: the complete graph's, times the share that studies."""
    rounds = KINDS[kind].example(6).build(6, SeedSequence(2))
    if change == "self-weight":
        rounds = combinators.with_self_weight(rounds, 0.25)
    if change == "one student":
        rounds = combinators.one_student(rounds, SeedSequence(3))
    assert rounds.exchangeable and describe(rounds, rounds=30).pooling_gap is None
    students = 1 if kind == "random-pair" or change == "one student" else 6
    expected = students / 6 * 6 / 5 * (0.75 if change == "self-weight" else 1)
    assert describe(rounds, rounds=30).pooling_connectivity == approx(expected)


def test_connectivity__drawn_unlike_is_that_of_the_rounds_looked_at() -> None:
    """One student of a ring in each round: the expected matrix is (1 - 1/n) I + P / n."""
    rounds = combinators.one_student(fixed(graphs.ring(6)), SeedSequence(0))
    frozen = combinators.without_students(schedule.random_matching(6, SeedSequence(0)), frozenset({0}))
    assert not rounds.exchangeable and not frozen.exchangeable
    found = describe(rounds, rounds=1500).pooling_connectivity
    assert found == approx((1 - math.cos(math.pi / 3)) / 6, rel=0.15)
