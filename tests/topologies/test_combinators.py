"""What is changed in a schedule's rounds, and that nothing else is."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import permutations

import numpy as np
import pytest
from numpy.random import SeedSequence
from scipy import stats

from topologies import graphs, mixing, schedule
from topologies.combinators import (
    each_alone,
    one_student,
    one_teacher,
    self_taught,
    with_self_weight,
    without_students,
)
from topologies.round import Edge, Round
from topologies.schedule import Schedule

RING = Round.from_mixing(np.array([[2, 1, 0, 1], [1, 2, 1, 0], [0, 1, 2, 1], [1, 0, 1, 2]]) / 4)


def test_one_student__keeps_one_row_drawn_uniformly() -> None:
    rounds = one_student(schedule.static(RING), SeedSequence(0))
    assert rounds.period is None
    chosen = []
    for t in range(400):
        round_ = rounds(t)
        (student,) = round_.students
        assert round_.incoming[student] == RING.incoming[student]
        expected = np.eye(4)
        expected[student] = RING.mixing.toarray()[student]
        assert np.array_equal(round_.mixing.toarray(), expected)
        chosen.append(student)
    assert stats.chisquare(np.bincount(chosen, minlength=4)).pvalue > 1e-3


def test_one_student__passes_over_idle_peers() -> None:
    hub_only = without_students(schedule.static(RING), frozenset({1, 2, 3}))
    rounds = one_student(hub_only, SeedSequence(0))
    assert all(rounds(t).links == ((1, 0), (3, 0)) for t in range(20))
    nobody = without_students(hub_only, frozenset({0}))
    assert one_student(nobody, SeedSequence(0))(0).links == ()


def test_one_student__is_independent_of_a_schedule_with_the_same_seed() -> None:
    seed = SeedSequence(0)
    rounds = one_student(schedule.random_teachers(3, 1, seed), seed)
    pairs = [rounds(t).links[0] for t in range(600)]
    counts = [pairs.count((i, j)) for i in range(3) for j in range(3) if i != j]
    assert stats.chisquare(counts).pvalue > 1e-3


def test_without_students__frozen_peers_only_teach() -> None:
    fixed = without_students(schedule.static(RING), frozenset({1}))
    assert fixed.period == 1 and fixed(0) is fixed(7)
    assert fixed(0).links == ((1, 0), (3, 0), (1, 2), (3, 2), (0, 3), (2, 3)) and fixed(0).incoming[1] == ()
    assert np.array_equal(fixed(0).mixing.toarray()[1], [0, 1, 0, 0])
    averaged = np.linalg.matrix_power(fixed(0).mixing.toarray(), 300)
    np.testing.assert_allclose(averaged, np.tile([0, 1, 0, 0], (4, 1)), atol=1e-6)
    drawn = without_students(schedule.random_matching(4, SeedSequence(0)), frozenset({1}))
    assert drawn.period is None and all(not drawn(t).incoming[1] for t in range(20))


def test_with_self_weight__is_the_matrix_that_is_pooled_with() -> None:
    plan = with_self_weight(schedule.static(Round.from_mixing(mixing.metropolis_hastings(graphs.ring(5)))), 0.4)(3)
    assert [edge.teacher for edge in plan.incoming[0]] == [0, 1, 4]
    assert [edge.weight for edge in plan.incoming[0]] == pytest.approx([0.4, 0.3, 0.3])
    expected = 0.4 * np.eye(5) + 0.3 * (np.roll(np.eye(5), 1, axis=1) + np.roll(np.eye(5), -1, axis=1))
    np.testing.assert_allclose(plan.mixing.toarray(), expected)


def test_with_self_weight__leaves_idle_peers_and_those_that_teach_themselves() -> None:
    pair = with_self_weight(schedule.random_pair(4, 2, np.random.SeedSequence(0)), 0.5)(7)
    (student,) = pair.students
    assert {edge.teacher: edge.weight for edge in pair.incoming[student]}[student] == pytest.approx(0.5)
    np.testing.assert_allclose(pair.mixing.sum(axis=1), 1)
    assert with_self_weight(schedule.self_taught(3), 0.5)(0) == schedule.self_taught(3)(0)
    only_teachers = with_self_weight(schedule.random_matching(4, np.random.SeedSequence(1)), 0.0)(2)
    assert only_teachers == schedule.random_matching(4, np.random.SeedSequence(1))(2)
    assert only_teachers.mixing.diagonal().tolist() == [0, 0, 0, 0]


@dataclass(frozen=True)
class Marked(Round):
    """A round with a field more, as some later version may have."""

    mark: str = ""


CHANGES: dict[str, Callable[[Schedule], Schedule]] = {
    "without_students": lambda rounds: without_students(rounds, frozenset({2})),
    "one_student": lambda rounds: one_student(rounds, SeedSequence(0)),
    "with_self_weight": lambda rounds: with_self_weight(rounds, 0.25),
    "each_alone": each_alone,
}


@pytest.mark.parametrize("names", [permuted for count in range(1, 5) for permuted in permutations(CHANGES, count)])
@pytest.mark.parametrize("period", [1, None])
def test_combinators__keep_what_they_do_not_change(names: tuple[str, ...], period: int | None) -> None:
    marked = Marked(RING.incoming, RING.kept, unheard=frozenset({3}), mark="kept")
    changed = Schedule(4, period, lambda _: marked)
    for name in names:
        changed = CHANGES[name](changed)
    for t in range(5):
        round_ = changed(t)
        assert isinstance(round_, Marked) and round_.mark == "kept" and 3 in round_.unheard
        np.testing.assert_allclose(round_.mixing.sum(axis=1), 1)


AGED = Round(((Edge(1, 0.25), Edge(2, 0.75, age=3)), (), (Edge(0, 1.0, age=1),)), kept=(0.5, 1.0, 0.5))


def test_combinators__messages_keep_their_age() -> None:
    fixed = schedule.static(AGED)
    mixed = with_self_weight(fixed, 0.5)(0)
    assert mixed.incoming[0] == (Edge(0, 0.5), Edge(1, 0.125), Edge(2, 0.375, age=3))
    assert mixed.incoming[2] == (Edge(0, 0.5, age=1), Edge(2, 0.5))
    assert without_students(fixed, frozenset({2}))(0).incoming == (AGED.incoming[0], (), ())
    assert one_student(without_students(fixed, frozenset({0})), SeedSequence(0))(0).incoming[2] == AGED.incoming[2]
    assert each_alone(fixed)(0).incoming == ((Edge(0, 1.0),), (), (Edge(2, 1.0),))


def test_with_self_weight__students_go_on_sharing_their_edges() -> None:
    mixed = with_self_weight(schedule.complete(64), 0.5)(0)
    assert len({id(edge) for edges in mixed.incoming for edge in edges}) == 2 * 64


def test_without_students__those_who_only_look_still_do() -> None:
    """A frozen peer of the control learns nothing, and its batches still move everybody's BatchNorm buffers."""
    alone = without_students(each_alone(schedule.static(RING)), frozenset({1}))
    assert alone(0).links == ((0, 0), (2, 2), (3, 3)) and alone(0).unheard == {0, 1, 2, 3}
    assert one_student(each_alone(schedule.static(RING)), SeedSequence(0))(0).unheard == {0, 1, 2, 3}


# ---- one teacher ----


def test_one_teacher__each_student_hears_one_other_with_the_weight_of_all() -> None:
    seed = SeedSequence(4)
    full = with_self_weight(schedule.complete(5), 0.2)
    single, drawn = one_teacher(full, seed), np.zeros((5, 5))
    for round_index in range(2000):
        round_ = single(round_index)
        assert round_.students == (0, 1, 2, 3, 4) and round_.unheard == frozenset(range(5))
        for student, edges in enumerate(round_.incoming):
            by_teacher = {edge.teacher: edge.weight for edge in edges}
            assert by_teacher.pop(student) == pytest.approx(0.2)
            ((teacher, weight),) = by_teacher.items()
            assert weight == pytest.approx(0.8)
            drawn[student, teacher] += 1
    assert single(7) == one_teacher(full, seed)(7)
    others = drawn[~np.eye(5, dtype=bool)]
    assert np.abs(others / 2000 - 0.25).max() < 4 * np.sqrt(0.25 * 0.75 / 2000)  # four standard errors


def test_self_taught__peers_without_teachers_are_their_own_and_all_else_stays() -> None:
    hub = Round(((), (Edge(0, 1.0),), (Edge(0, 0.5), Edge(1, 0.5)), ()), (1.0, 0.0, 0.0, 1.0), frozenset({3}))
    found = self_taught(schedule.static(hub))
    assert found.period == 1 and found(0) is found(5)
    assert found(0).incoming == ((Edge(0, 1.0),), *hub.incoming[1:3], (Edge(3, 1.0),))
    assert (found(0).kept, found(0).unheard) == (hub.kept, hub.unheard)
    assert np.array_equal(found(0).mixing.toarray(), hub.mixing.toarray())
    assert self_taught(schedule.static(RING))(0).incoming == RING.incoming
    assert self_taught(schedule.static(hub), [0])(0).incoming[3] == ()  # where peer 3 is away
    drawn = self_taught(schedule.random_matching(5, SeedSequence(0)))
    for t in range(20):
        plain = schedule.random_matching(5, SeedSequence(0))(t)
        assert set(drawn(t).students) == set(range(5)) and set(plain.links) <= set(drawn(t).links)
        assert all(teacher == student for teacher, student in set(drawn(t).links) - set(plain.links))


def test_self_taught__frozen_peers_still_never_learn() -> None:
    hub = Round(((), (Edge(0, 1.0),), (Edge(0, 1.0),)), (1.0, 0.0, 0.0))
    assert without_students(self_taught(schedule.static(hub)), frozenset({0}))(0).incoming == hub.incoming
