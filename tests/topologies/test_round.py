"""A round's links in all their forms, by hand."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
from pytest import approx

from topologies.round import Edge, Round, edges_from

# 1 -> 0 and 2 -> 0, 0 -> 2 and 1 -> 2; peer 1 only teaches
DIRECTED = Round((edges_from((1, 2), (0.25, 0.75)), (), edges_from((0, 1), (0.5, 0.5))), kept=(0.5, 1.0, 0.0))


def test_round__every_link_runs_from_teacher_to_student() -> None:
    assert DIRECTED.links == ((1, 0), (2, 0), (0, 2), (1, 2))
    assert DIRECTED.students == (0, 2) and DIRECTED.teaching == {0, 1, 2}
    teachers, students, weights = DIRECTED.arrays()
    assert list(zip(teachers.tolist(), students.tolist(), strict=True)) == list(DIRECTED.links)
    assert weights.tolist() == [0.25, 0.75, 0.5, 0.5]


def test_mixing__rows_are_students() -> None:
    expected = [[0.5, 0.125, 0.375], [0, 1, 0], [0.5, 0.5, 0]]
    assert np.array_equal(DIRECTED.mixing.toarray(), expected)
    assert DIRECTED.mixing.nnz == 6  # what is zero is not kept
    with pytest.raises(ValueError, match="read-only"):
        DIRECTED.mixing[0, 0] = 0
    nobody = Round(((), ()), kept=(1.0, 1.0))
    assert np.array_equal(nobody.mixing.toarray(), np.eye(2)) and nobody.links == ()


def test_digest__is_that_of_teachers_and_weights() -> None:
    """Runs are compared with earlier ones by it."""
    text = "(((1, 2), (), (0, 1)), ((0.25, 0.75), (), (0.5, 0.5)))"
    assert DIRECTED.digest() == hashlib.sha256(text.encode()).hexdigest()


def test_round__an_older_message_is_another_round() -> None:
    older = replace(DIRECTED, incoming=((), (Edge(0, 1.0, age=2),), ()))
    fresh = replace(DIRECTED, incoming=((), (Edge(0, 1.0),), ()))
    assert older != fresh and older.digest() != fresh.digest()
    assert older.links == fresh.links


def test_from_mixing__pools_off_diagonal_weights() -> None:
    round_ = Round.from_mixing(np.array([[0.4, 0.2, 0.4], [0.0, 1.0, 0.0], [0.5, 0.5, 0.0]]))
    assert round_.links == ((1, 0), (2, 0), (0, 2), (1, 2)) and round_.kept == (0.4, 1.0, 0.0)
    assert [edge.weight for edge in round_.incoming[0]] == approx([1 / 3, 2 / 3])
    assert round_.incoming[1:] == ((), (Edge(0, 0.5), Edge(1, 0.5)))


def test_from_mixing__leaves_its_argument_alone() -> None:
    mixing = np.full((2, 2), 0.5)
    round_ = Round.from_mixing(mixing)
    mixing[0, 0] = 1
    assert round_.mixing[0, 0] == 0.5
