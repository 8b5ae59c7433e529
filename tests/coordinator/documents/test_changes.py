import copy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from coordinator.documents.changes import applied, changes

number = st.none() | st.integers(0, 3) | st.sampled_from([0.5, 1.0])
numbers = st.lists(number, max_size=4)
rows = st.lists(numbers, max_size=3)
names = st.lists(st.sampled_from(["loss", "gain", "x"]), unique=True, max_size=2)


def entries(**columns: Any) -> Any:
    return names.flatmap(
        lambda chosen: st.tuples(*(st.fixed_dictionaries({"name": st.just(name), **columns}) for name in chosen)).map(
            list
        )
    )


scale = st.lists(number, min_size=2, max_size=2)
documents = st.fixed_dictionaries(
    {
        "status": st.sampled_from(["running", "finished"]),
        "frames": numbers,
        "nodes": entries(scale=scale, frames=numbers, values=rows),
        "links": st.fixed_dictionaries({"list": rows, "scale": scale, "values": rows, "messages": st.none() | rows}),
        "curves": entries(x=numbers, y=numbers, low=st.none() | numbers, levels=rows),
        "peer_curves": entries(x=numbers, y=rows),
    }
)


@given(documents, documents)
def test_changes__take_any_document_to_any_other(old: Any, new: Any) -> None:
    kept = copy.deepcopy(old)
    assert applied(old, changes(old, new)) == new
    assert old == kept  # nothing is changed in place: others still read it


@given(documents)
def test_changes__none_between_equal_ones(document: Any) -> None:
    assert changes(document, copy.deepcopy(document)) == {}


@given(documents, numbers, rows)
def test_changes__what_is_added_is_all_that_is_sent(old: Any, more: list[Any], further: list[Any]) -> None:
    new = copy.deepcopy(old)
    new["frames"] += more
    new["links"]["values"] += further
    for entry in new["peer_curves"]:
        entry["x"] += more
    tails = {entry["name"]: {"x": more} for entry in new["peer_curves"]} if more else {}
    expected = {"frames": more} if more else {}
    expected |= {"links": {"values": further}} if further else {}
    expected |= {"peer_curves": tails} if tails else {}
    assert changes(old, new) == ({"append": expected} if expected else {})


def test_changes__one_and_one_point_zero_are_written_differently() -> None:
    assert changes({"frames": [1]}, {"frames": [1.0]}) == {"set": {"frames": [1.0]}}
