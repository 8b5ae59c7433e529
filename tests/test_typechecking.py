"""While tests run, the packages' annotations are checked."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from jaxtyping import Float, TypeCheckError
from torch import Tensor

import coordinator  # noqa: F401
import topologies  # noqa: F401
from peers.base.means import weighted_mean
from peers.probing.measuring import ClassProbabilities
from tests.typechecking import CHECKED, check_types, checked


@checked
def rows(
    count: int, of: "Float[Tensor, 'rows columns']", like: Float[Tensor, "rows columns"]
) -> Float[Tensor, " rows"]:
    return of[:count].sum(dim=1)


@checked
def counted(upto: int) -> Iterator[int]:
    yield from range(upto)


@checked
@dataclass(frozen=True)
class Pair:
    left: Float[np.ndarray, " same"]
    right: Float[np.ndarray, " same"]


def test_checked__arguments_results_and_names_of_axes():
    assert rows(2, torch.ones(2, 3), like=torch.ones(2, 3)).tolist() == [3, 3]
    for count, of, like in [
        ("2", torch.ones(2, 3), torch.ones(2, 3)),
        (2, torch.ones(2, 3, dtype=torch.int64), torch.ones(2, 3)),  # another type of numbers
        (2, torch.ones(2, 3), torch.ones(2, 4)),  # arguments that disagree
        (1, torch.ones(2, 3), torch.ones(2, 3)),  # a result that disagrees with them
    ]:
        with pytest.raises(TypeCheckError):
            rows(count, of, like)
    assert rows(3, torch.ones(3, 1), torch.ones(3, 1)).tolist() == [1, 1, 1]  # each call has lengths of its own


def test_checked__functions_within_functions_keep_what_they_close_over():
    def maker(more: int) -> Any:
        @checked
        def added(to: Float[Tensor, " n"], scale: int = more) -> Float[Tensor, " n"]:
            return to * scale + more

        return added

    functions = [maker(more) for more in (1, 2)]
    assert [function(torch.ones(1)).item() for function in functions] == [2, 4]
    for function in functions:
        with pytest.raises(TypeCheckError):
            function(torch.ones(1, 2))
    assert functions[1].__closure__ is not None and functions[1].__wrapped__.__defaults__ == (2,)


def test_checked__functions_within_functions_have_the_types_of_their_own_call():
    def maker(kind: Any) -> Any:
        @checked
        def same(value: kind) -> kind:
            return value

        return same

    assert [maker(int)(1), maker(str)("a"), maker(int)(2)] == [1, "a", 2]
    for kind, value in ((int, "a"), (str, 1)):
        with pytest.raises(TypeCheckError):
            maker(kind)(value)


def test_checked__generators_and_dataclasses():
    assert list(counted(2)) == [0, 1]
    with pytest.raises(TypeCheckError):
        counted("2")
    assert Pair(np.ones(2), np.ones(2)).right.sum() == 2
    for right in (np.ones(3), [1.0, 1.0]):
        with pytest.raises(TypeCheckError):
            Pair(np.ones(2), right)


def test_check_types__the_packages_are_checked():
    assert all(
        hasattr(sys.modules[name], CHECKED) for name in ("peers", "peers.base.means", "topologies", "coordinator")
    )
    wrong: Any = [1, 2]
    with pytest.raises(TypeCheckError):
        weighted_mean(wrong, wrong)
    with pytest.raises(TypeCheckError):
        ClassProbabilities(np.ones((2, 3), dtype=np.float32), np.ones(2, dtype=np.float32))
    with pytest.raises(RuntimeError, match="imported before its types could be checked: peers"):
        check_types("peers")
