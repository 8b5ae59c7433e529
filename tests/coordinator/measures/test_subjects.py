"""Whom means are about."""

from typing import Any

import pytest

from coordinator import load_config
from coordinator.measures.subjects import Scope, group_scopes, honest, left_out

GROUPS = [{"name": "good", "count": 2}, {"count": 3}]
LIAR = [{"peers": [3], "attack": {"kind": "sign-flip"}}]


def test_honest__all_but_liars_in_their_order() -> None:
    assert honest([4, 0, 3], {3, 1}) == [4, 0]
    assert honest([3], {3}) == []  # a mean of liars would stand under the name of honest peers


def test_group_scopes__names_or_numbers_and_honest_members(small: dict[str, Any]) -> None:
    small["peers"] = {"model": {"kind": "mlp"}, "groups": GROUPS, "adversaries": LIAR}
    peers = load_config(small).peers
    assert group_scopes(peers) == [Scope("good", (0, 1)), Scope("1", (2, 4))]
    assert peers.members == {"good": range(2), "1": range(2, 5)}
    small["peers"] = {"count": 5}
    assert group_scopes(load_config(small).peers) == []


@pytest.mark.parametrize(
    ("names", "line"),
    [
        (("a", "a"), "peers.groups must have different names, got 'a' twice"),
        (("1", ""), "peers.groups must have different names, got '1' twice"),
        (("a.b", "c"), "peers.groups[0].name"),
    ],
)
def test_groups__names_that_tables_cannot_use(small: dict[str, Any], names: tuple[str, str], line: str) -> None:
    small["peers"] = {"groups": [{"name": name, "count": 2} for name in names]}
    with pytest.raises(ValueError, match=r"peers\.groups") as caught:
        load_config(small)
    assert str(caught.value).startswith(line) and "\n" not in str(caught.value)


def test_left_out__dropped_peers_and_liars() -> None:
    assert left_out({"not_finite": {"2": {"round": 3}}, "liars": [5]}) == {2, 5}
    assert left_out({}) == set()  # of an older version
