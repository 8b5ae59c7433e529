"""Rounds by hand, and the distribution of random ones."""

from itertools import combinations

import networkx as nx
import numpy as np
import pytest
from numpy.random import SeedSequence
from pytest import approx
from scipy import stats

from topologies import mixing, schedule
from topologies.combinators import one_student, without_students
from topologies.round import Edge, Round
from topologies.schedule import Schedule

RING = Round.from_mixing(np.array([[2, 1, 0, 1], [1, 2, 1, 0], [0, 1, 2, 1], [1, 0, 1, 2]]) / 4)


def teachers_of(round_: Round) -> list[tuple[int, ...]]:
    """Each peer's teachers."""
    return [tuple(edge.teacher for edge in edges) for edges in round_.incoming]


def averaged(rounds: Schedule, num_rounds: int) -> np.ndarray:
    product = np.eye(rounds.num_peers)
    for t in range(num_rounds):
        product = rounds(t).mixing @ product
    return product


def test_static__returns_one_round() -> None:
    fixed = schedule.static(RING)
    assert fixed.period == 1 and fixed.num_peers == 4
    assert fixed(0) is fixed(999)


def test_digest__of_all_rounds_of_a_period_or_of_the_first() -> None:
    assert schedule.static(RING).digest() == RING.digest()
    first, second = schedule.self_taught(4)(0), RING
    orders = [(RING,), (first, second), (second, first), (first, second, second)]
    assert len({schedule.periodic(order).digest() for order in orders}) == len(orders)
    drawn = [schedule.random_matching(4, SeedSequence(seed)).digest() for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_self_taught__is_its_own_teacher() -> None:
    alone = schedule.self_taught(3)
    assert alone(5).incoming == tuple((Edge(peer, 1.0),) for peer in range(3))
    assert np.array_equal(alone(5).mixing.toarray(), np.eye(3))


def test_random_teachers__are_distinct_others_equally_often() -> None:
    rounds = schedule.random_teachers(5, 2, SeedSequence(0))
    counts = np.zeros((5, 5))
    for t in range(600):
        for student, teachers in enumerate(teachers_of(rounds(t))):
            assert len(set(teachers)) == 2 and student not in teachers
            counts[student, list(teachers)] += 1
    for student in range(5):
        # sampling without replacement varies less than chi-square assumes: the test errs on the lenient side
        assert stats.chisquare(np.delete(counts[student], student)).pvalue > 1e-3
    assert rounds(3).mixing[0, 0] == approx(1 / 3)


def test_random_teachers__all_others() -> None:
    assert teachers_of(schedule.random_teachers(4, 3, SeedSequence(0))(0))[1] == (0, 2, 3)


@pytest.mark.parametrize("num_peers", [6, 9])
def test_random_matching__pairs_everyone_but_an_odd_one(num_peers: int) -> None:
    rounds = schedule.random_matching(num_peers, SeedSequence(0))
    seen = set()
    for t in range(200):
        teachers = teachers_of(rounds(t))
        idle = [i for i, row in enumerate(teachers) if not row]
        assert len(idle) == num_peers % 2
        assert all(teachers[row[0]] == (i,) for i, row in enumerate(teachers) if row)
        seen |= {frozenset((i, *row)) for i, row in enumerate(teachers) if row}
    assert seen == {frozenset(pair) for pair in combinations(range(num_peers), 2)}


@pytest.mark.parametrize(("num_peers", "factor"), [(6, 4 / 10), (16, 14 / 30), (7, 1 / 2)])
def test_random_matching__expected_contraction(num_peers: int, factor: float) -> None:
    """(n - 2) / (2 (n - 1)) of the squared deviation is left if n is even, half if odd."""
    rounds = schedule.random_matching(num_peers, SeedSequence(1))
    opinions = np.linspace(-1, 1, num_peers)
    left = [np.sum((rounds(t).mixing @ opinions) ** 2) / np.sum(opinions**2) for t in range(1500)]
    assert abs(np.mean(left) - factor) < 4 * stats.sem(left)


def test_random_pair__one_student_and_its_teachers() -> None:
    rounds = schedule.random_pair(5, 2, SeedSequence(0))
    students = []
    for t in range(500):
        (student,) = rounds(t).students
        students.append(student)
        assert rounds(t).links == tuple((edge.teacher, student) for edge in rounds(t).incoming[student])
        assert len(rounds(t).links) == 2 and rounds(t).mixing[student, student] == approx(1 / 3)
    assert stats.chisquare(np.bincount(students, minlength=5)).pvalue > 1e-3


def test_random_pair__expected_variance() -> None:
    """E[V'] = V (1 - (2 c / n) (n / (n - 1) - c)) where the student moves by c = 1/2 towards its teacher."""
    num_peers, c = 6, 0.5
    rounds = schedule.random_pair(num_peers, 1, SeedSequence(2))
    opinions = np.linspace(-1, 1, num_peers) ** 3
    left = [np.var(rounds(t).mixing @ opinions) / np.var(opinions) for t in range(1500)]
    expected = 1 - 2 * c / num_peers * (num_peers / (num_peers - 1) - c)
    assert abs(np.mean(left) - expected) < 4 * stats.sem(left)


@pytest.mark.parametrize("num_rounds", [1, 2, 3, 4])
def test_one_peer_exponential__averages_a_power_of_two_exactly(num_rounds: int) -> None:
    rounds = schedule.one_peer_exponential(2**num_rounds)
    assert rounds.period == num_rounds
    np.testing.assert_allclose(averaged(rounds, num_rounds), 1 / 2**num_rounds, atol=1e-15)


def test_one_peer_exponential__twelve_peers_keep_a_residual() -> None:
    rounds = schedule.one_peer_exponential(12)
    assert [teachers_of(rounds(t))[0] for t in range(5)] == [(1,), (2,), (4,), (8,), (1,)]
    product = averaged(rounds, 4)
    assert np.linalg.norm(product - 1 / 12, 2) == approx(0.209, abs=5e-4)


def test_base__repeats_an_exact_average() -> None:
    rounds = schedule.base(6, 1)
    assert rounds.period == 4
    np.testing.assert_allclose(averaged(rounds, 4), 1 / 6, atol=1e-15)
    assert rounds(5) == rounds(1)


def test_complete__is_what_its_graph_gives() -> None:
    for num_peers in (2, 3, 9, 130):
        everybody = Round.from_mixing(mixing.metropolis_hastings(nx.complete_graph(num_peers)))
        made = schedule.complete(num_peers)
        assert made(0) == everybody and made(0) is made(5)
        assert len({id(edge) for edges in made(0).incoming for edge in edges}) == num_peers  # thousands of peers fit
        np.testing.assert_allclose(made(0).mixing.toarray(), 1 / num_peers)
        assert one_student(made, SeedSequence(0)).facts is None


def test_schedules__refuse_what_cannot_be_drawn() -> None:
    with pytest.raises(ValueError, match=r"^topology.teachers: must be from 1 to peers.count - 1 = 3, got 4; "):
        schedule.random_teachers(4, 4, SeedSequence(0))
    with pytest.raises(ValueError, match=r"^topology.teachers: .* got 0; "):
        schedule.random_pair(4, 0, SeedSequence(0))
    with pytest.raises(ValueError, match=r"^topology.max_degree: must be at least 1, got 0; "):
        schedule.base(4, 0)
    with pytest.raises(ValueError, match=r"^peers.frozen: must name peers from 0 to 3, got 4; remove it"):
        without_students(schedule.static(RING), frozenset({4}))
    with pytest.raises(AssertionError):
        schedule.static(RING)(-1)


@pytest.mark.parametrize(("rounds", "looked_at"), [(None, [0, 1, 2]), (2, [0, 1]), (9, [0, 1, 2])])
def test_telling__is_a_period_or_what_a_run_has_of_it(rounds: int | None, looked_at: list[int]) -> None:
    three = tuple(Round.from_mixing(np.roll(np.eye(3), turn, axis=1)) for turn in range(3))
    assert list(schedule.periodic(three).telling(rounds)) == [three[index] for index in looked_at]


def test_telling__of_rounds_that_do_not_repeat_is_the_first_ones() -> None:
    endless = Schedule(4, None, lambda index: RING)
    assert len(list(endless.telling())) == schedule.SAMPLED and len(list(endless.telling(5))) == 5
