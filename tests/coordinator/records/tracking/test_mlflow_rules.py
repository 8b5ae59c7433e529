from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.records.tracking.mlflow_rules import LeftOutError, Names, deliver, valid_name


def is_taken(name: str) -> bool:
    """What MLflow itself says of a name."""
    from mlflow import MlflowException
    from mlflow.utils.validation import MAX_ENTITY_KEY_LENGTH, _validate_metric_name

    try:
        _validate_metric_name(name)
    except MlflowException:
        return False
    return len(name) <= MAX_ENTITY_KEY_LENGTH


@settings(deadline=None)  # the first imports MLflow's parts
@given(st.one_of(st.text(max_size=300), st.text("./ :-_a+", max_size=12)))
def test_valid_name__is_one_for_mlflow_and_the_same_where_it_was(key: str) -> None:
    assert is_taken(valid_name(key))
    assert (valid_name(key) == key) == is_taken(key)


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("hosting.resources.gpu+x", "hosting.resources.gpu_x"),
        ("a//b", "_a__b"),
        ("../x", "_.._x"),
        ("", "_"),
        ("loss/train: 1", "loss/train: 1"),
    ],
)
def test_valid_name__replaces_as_little_as_needed(key: str, name: str) -> None:
    assert valid_name(key) == name


def test_names__two_that_would_be_one_stay_two() -> None:
    names = Names()
    renamed = names.add(["gpu+x", "gpu*x", "gpu_x"])
    assert renamed == {"gpu+x": "gpu_x.2", "gpu*x": "gpu_x.3"} and names["gpu_x"] == "gpu_x"
    assert names.add(["gpu+x", "other"]) == {} and names["gpu+x"] == "gpu_x.2"


@given(st.lists(st.text("a+*_", max_size=3)))
def test_names__none_is_used_twice(keys: list[str]) -> None:
    names = Names()
    for key in keys:
        names.add([key])
    assert len({names[key] for key in keys}) == len(set(keys)) and all(is_taken(names[key]) for key in keys)


class Refused(Exception):
    error_code = "INVALID_PARAMETER_VALUE"


class Store:
    """Takes rows, all of a batch or none, but for those with a bad key."""

    def __init__(self, bad: set[str]) -> None:
        self.bad, self.taken, self.requests = bad, list[str](), 0

    def send(self, batch: Sequence[Any]) -> None:
        self.requests += 1
        if found := self.bad & {row.key for row in batch}:
            raise Refused(f"cannot take {min(found)}\nand more")
        self.taken += [row.key for row in batch]


def rows(count: int) -> list[Any]:
    return [SimpleNamespace(key=str(number)) for number in range(count)]


@given(st.sets(st.integers(0, 99), min_size=1, max_size=8))
def test_deliver__all_but_the_bad_arrive(bad: set[int]) -> None:
    store = Store({str(number) for number in bad})
    with pytest.raises(LeftOutError) as told:
        deliver(rows(100), store.send)
    assert store.taken == [str(number) for number in range(100) if number not in bad]
    assert all(f"'{number}'" in str(told.value) for number in sorted(bad)[:3])


def test_deliver__one_request_where_all_is_well_and_few_where_nothing_is() -> None:
    good = Store(set())
    deliver(rows(500), good.send)
    assert good.requests == 1 and len(good.taken) == 500
    none = Store({str(number) for number in range(500)})
    with pytest.raises(Refused, match="cannot take"):
        deliver(rows(500), none.send)
    assert none.requests < 30


def test_deliver__a_store_that_is_away_is_not_asked_again() -> None:
    requests = []

    def away(batch: Sequence[Any]) -> None:
        requests.append(len(batch))
        raise ConnectionError("nobody there")

    with pytest.raises(ConnectionError):
        deliver(rows(10), away)
    assert requests == [10]
