"""Rounds by hand, the distribution of random ones, and the wrappers."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations, permutations

import networkx as nx
import numpy as np
import pytest
from numpy.random import SeedSequence
from pytest import approx
from scipy import stats

from topologies import graphs, mixing, schedule
from topologies.schedule import Round, Schedule

RING = Round.from_mixing(np.array([[2, 1, 0, 1], [1, 2, 1, 0], [0, 1, 2, 1], [1, 0, 1, 2]]) / 4)


def averaged(rounds: Schedule, num_rounds: int) -> np.ndarray:
    product = np.eye(rounds.num_peers)
    for t in range(num_rounds):
        product = rounds(t).mixing @ product
    return product


def test_from_mixing__pools_off_diagonal_weights() -> None:
    round_ = Round.from_mixing(np.array([[0.4, 0.2, 0.4], [0.0, 1.0, 0.0], [0.5, 0.5, 0.0]]))
    assert round_.teachers == ((1, 2), (), (0, 1))
    assert round_.weights[0] == approx((1 / 3, 2 / 3)) and round_.weights[1:] == ((), (0.5, 0.5))
    assert round_.edges == ((0, 1), (0, 2), (2, 0), (2, 1))
    with pytest.raises(ValueError, match="read-only"):
        round_.mixing[0, 0] = 0


def test_from_mixing__leaves_its_argument_alone() -> None:
    mixing = np.full((2, 2), 0.5)
    round_ = Round.from_mixing(mixing)
    mixing[0, 0] = 1
    assert round_.mixing[0, 0] == 0.5


def test_static__returns_one_round() -> None:
    fixed = schedule.static(RING)
    assert fixed.period == 1 and fixed.num_peers == 4
    assert fixed(0) is fixed(999)


def test_self_taught__is_its_own_teacher() -> None:
    alone = schedule.self_taught(3)
    assert alone(5).teachers == ((0,), (1,), (2,)) and alone(5).weights == ((1.0,),) * 3
    assert np.array_equal(alone(5).mixing.toarray(), np.eye(3))


def test_random_teachers__are_distinct_others_equally_often() -> None:
    rounds = schedule.random_teachers(5, 2, SeedSequence(0))
    counts = np.zeros((5, 5))
    for t in range(600):
        for student, teachers in enumerate(rounds(t).teachers):
            assert len(set(teachers)) == 2 and student not in teachers
            counts[student, list(teachers)] += 1
    for student in range(5):
        # sampling without replacement varies less than chi-square assumes: the test errs on the lenient side
        assert stats.chisquare(np.delete(counts[student], student)).pvalue > 1e-3
    assert rounds(3).mixing[0, 0] == approx(1 / 3)


def test_random_teachers__all_others() -> None:
    assert schedule.random_teachers(4, 3, SeedSequence(0))(0).teachers[1] == (0, 2, 3)


@pytest.mark.parametrize("num_peers", [6, 9])
def test_random_matching__pairs_everyone_but_an_odd_one(num_peers: int) -> None:
    rounds = schedule.random_matching(num_peers, SeedSequence(0))
    seen = set()
    for t in range(200):
        teachers = rounds(t).teachers
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
        studying = [i for i, row in enumerate(rounds(t).teachers) if row]
        students += studying
        assert len(studying) == 1 and len(rounds(t).edges) == 2
        assert rounds(t).mixing[studying[0], studying[0]] == approx(1 / 3)
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
    assert [rounds(t).teachers[0] for t in range(5)] == [(1,), (2,), (4,), (8,), (1,)]
    product = averaged(rounds, 4)
    assert np.linalg.norm(product - 1 / 12, 2) == approx(0.209, abs=5e-4)


def test_base__repeats_an_exact_average() -> None:
    rounds = schedule.base(6, 1)
    assert rounds.period == 4
    np.testing.assert_allclose(averaged(rounds, 4), 1 / 6, atol=1e-15)
    assert rounds(5) == rounds(1)


def test_one_student__keeps_one_row_drawn_uniformly() -> None:
    rounds = schedule.one_student(schedule.static(RING), SeedSequence(0))
    assert rounds.period is None
    chosen = []
    for t in range(400):
        round_ = rounds(t)
        (student,) = [i for i, row in enumerate(round_.teachers) if row]
        assert round_.teachers[student] == RING.teachers[student]
        assert round_.weights[student] == RING.weights[student]
        expected = np.eye(4)
        expected[student] = RING.mixing.toarray()[student]
        assert np.array_equal(round_.mixing.toarray(), expected)
        chosen.append(student)
    assert stats.chisquare(np.bincount(chosen, minlength=4)).pvalue > 1e-3


def test_one_student__passes_over_idle_peers() -> None:
    hub_only = schedule.without_students(schedule.static(RING), frozenset({1, 2, 3}))
    rounds = schedule.one_student(hub_only, SeedSequence(0))
    assert all(rounds(t).teachers == ((1, 3), (), (), ()) for t in range(20))
    nobody = schedule.without_students(hub_only, frozenset({0}))
    assert schedule.one_student(nobody, SeedSequence(0))(0).edges == ()


def test_one_student__is_independent_of_a_schedule_with_the_same_seed() -> None:
    seed = SeedSequence(0)
    rounds = schedule.one_student(schedule.random_teachers(3, 1, seed), seed)
    pairs = [rounds(t).edges[0] for t in range(600)]
    counts = [pairs.count((i, j)) for i in range(3) for j in range(3) if i != j]
    assert stats.chisquare(counts).pvalue > 1e-3


def test_without_students__frozen_peers_only_teach() -> None:
    fixed = schedule.without_students(schedule.static(RING), frozenset({1}))
    assert fixed.period == 1 and fixed(0) is fixed(7)
    assert fixed(0).teachers == ((1, 3), (), (1, 3), (0, 2)) and fixed(0).weights[1] == ()
    assert np.array_equal(fixed(0).mixing.toarray()[1], [0, 1, 0, 0])
    np.testing.assert_allclose(averaged(fixed, 300), np.tile([0, 1, 0, 0], (4, 1)), atol=1e-6)
    drawn = schedule.without_students(schedule.random_matching(4, SeedSequence(0)), frozenset({1}))
    assert drawn.period is None and all(not drawn(t).teachers[1] for t in range(20))


def test_with_self_weight__is_the_matrix_that_is_pooled_with() -> None:
    plan = schedule.with_self_weight(
        schedule.static(Round.from_mixing(mixing.metropolis_hastings(graphs.ring(5)))), 0.4
    )(3)
    assert plan.teachers[0] == (0, 1, 4) and plan.weights[0] == pytest.approx((0.4, 0.3, 0.3))
    expected = 0.4 * np.eye(5) + 0.3 * (np.roll(np.eye(5), 1, axis=1) + np.roll(np.eye(5), -1, axis=1))
    np.testing.assert_allclose(plan.mixing.toarray(), expected)


def test_with_self_weight__leaves_idle_peers_and_those_that_teach_themselves() -> None:
    pair = schedule.with_self_weight(schedule.random_pair(4, 2, np.random.SeedSequence(0)), 0.5)(7)
    student = next(i for i, row in enumerate(pair.teachers) if row)
    assert [bool(row) for row in pair.teachers].count(True) == 1 and student in pair.teachers[student]
    assert dict(zip(pair.teachers[student], pair.weights[student], strict=True))[student] == pytest.approx(0.5)
    np.testing.assert_allclose(pair.mixing.sum(axis=1), 1)
    assert schedule.with_self_weight(schedule.self_taught(3), 0.5)(0) == schedule.self_taught(3)(0)
    only_teachers = schedule.with_self_weight(schedule.random_matching(4, np.random.SeedSequence(1)), 0.0)(2)
    assert only_teachers == schedule.random_matching(4, np.random.SeedSequence(1))(2)
    assert only_teachers.mixing.diagonal().tolist() == [0, 0, 0, 0]


@dataclass(frozen=True)
class Marked(Round):
    """A round with a field more, as some later version may have."""

    mark: str = ""


CHANGES: dict[str, Callable[[Schedule], Schedule]] = {
    "without_students": lambda each: schedule.without_students(each, frozenset({2})),
    "one_student": lambda each: schedule.one_student(each, SeedSequence(0)),
    "with_self_weight": lambda each: schedule.with_self_weight(each, 0.25),
    "each_alone": schedule.each_alone,
}


@pytest.mark.parametrize("names", [*permutations(CHANGES, 1), *permutations(CHANGES, 2), *permutations(CHANGES, 3)])
@pytest.mark.parametrize("period", [1, None])
def test_combinators__keep_what_they_do_not_change(names: tuple[str, ...], period: int | None) -> None:
    fields = {"teachers": RING.teachers, "weights": RING.weights, "kept": RING.kept, "unheard": frozenset({3})}
    marked = Marked(**fields, mark="kept")
    changed = Schedule(4, period, lambda _: marked)
    for name in names:
        changed = CHANGES[name](changed)
    for t in range(5):
        round_ = changed(t)
        assert isinstance(round_, Marked) and round_.mark == "kept" and 3 in round_.unheard
        np.testing.assert_allclose(round_.mixing.sum(axis=1), 1)


def test_without_students__those_who_only_look_still_do() -> None:
    """A frozen peer of the control learns nothing, and its batches still move everybody's BatchNorm buffers."""
    alone = schedule.without_students(schedule.each_alone(schedule.static(RING)), frozenset({1}))
    assert alone(0).teachers == ((0,), (), (2,), (3,)) and alone(0).unheard == {0, 1, 2, 3}
    assert schedule.one_student(schedule.each_alone(schedule.static(RING)), SeedSequence(0))(0).unheard == {0, 1, 2, 3}


def test_complete__is_what_its_graph_gives() -> None:
    for num_peers in (2, 3, 9, 130):
        everybody = Round.from_mixing(mixing.metropolis_hastings(nx.complete_graph(num_peers)))
        made = schedule.complete(num_peers)
        assert made(0) == everybody and made(0) is made(5)
        np.testing.assert_allclose(made(0).mixing.toarray(), 1 / num_peers)
        assert schedule.one_student(made, SeedSequence(0)).facts is None


def test_schedules__refuse_what_cannot_be_drawn() -> None:
    with pytest.raises(ValueError, match=r"^topology.teachers: must be from 1 to peers.count - 1 = 3, got 4; "):
        schedule.random_teachers(4, 4, SeedSequence(0))
    with pytest.raises(ValueError, match=r"^topology.teachers: .* got 0; "):
        schedule.random_pair(4, 0, SeedSequence(0))
    with pytest.raises(ValueError, match=r"^topology.max_degree: must be at least 1, got 0; "):
        schedule.base(4, 0)
    with pytest.raises(ValueError, match=r"^peers.frozen: must name peers from 0 to 3, got 4; remove it"):
        schedule.without_students(schedule.static(RING), frozenset({4}))
    with pytest.raises(AssertionError):
        schedule.static(RING)(-1)
