"""Fair sharing: its defining property, closed forms, and the transfers against a plain simulation."""

import copy
import math
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from topologies.worlds.bandwidth import SECOND, Flows, rates

PEERS = 6
peer = st.integers(0, PEERS - 1)
caps = st.lists(st.one_of(st.floats(1e3, 1e7), st.just(math.inf)), min_size=PEERS, max_size=PEERS)
links = st.lists(st.tuples(peer, peer), min_size=1, max_size=20)


@given(links, caps, caps)
@settings(max_examples=300, deadline=None)
def test_rates__every_flow_has_a_full_link_on_which_none_is_faster(
    ends: list[tuple[int, int]], up: list[float], down: list[float]
) -> None:
    flows = dict(enumerate(ends))
    found = rates(flows, up, down)
    for limits, side in ((up, 0), (down, 1)):
        for which in range(PEERS):
            assert sum(found[flow] for flow in flows if flows[flow][side] == which) <= limits[which] * (1 + 1e-9)
    for flow, (sender, receiver) in flows.items():
        on_links = [
            (up[sender], [found[other] for other in flows if flows[other][0] == sender]),
            (down[receiver], [found[other] for other in flows if flows[other][1] == receiver]),
        ]
        limited = [(limit, others) for limit, others in on_links if limit < math.inf]
        assert (found[flow] == math.inf) == (not limited)
        if limited:
            assert any(
                sum(others) >= limit * (1 - 1e-9) and found[flow] >= max(others) * (1 - 1e-9)
                for limit, others in limited
            )


@given(links, caps, caps, st.floats(1e-2, 1e2))
@settings(max_examples=100, deadline=None)
def test_rates__scale_with_the_limits(
    ends: list[tuple[int, int]], up: list[float], down: list[float], factor: float
) -> None:
    flows = dict(enumerate(ends))
    found = rates(flows, up, down)
    scaled = rates(flows, [limit * factor for limit in up], [limit * factor for limit in down])
    assert scaled == pytest.approx({flow: rate * factor for flow, rate in found.items()})


def test_rates__the_textbooks_chain() -> None:
    """Two flows share a link of 1; one of them shares another of 10, of which the third flow takes the rest."""
    found = rates({"a": (0, 2), "b": (0, 3), "c": (1, 3)}, np.array([1e3, 1e9, 0, 0]), np.array([0, 0, 1e9, 1e4]))
    assert found == pytest.approx({"a": 500, "b": 500, "c": 9500})


@pytest.mark.parametrize("count", [1, 3, 7])
def test_flows__equal_messages_over_one_uplink_all_end_after_all_have_passed(count: int) -> None:
    """Oracle: k messages of m bytes over an uplink B: all at k m / B."""
    flows: Flows[int] = Flows([1e6, *[math.inf] * count], [math.inf] * (count + 1))
    for receiver in range(1, count + 1):
        flows.start(receiver, 0, receiver, 250_000, 0)
    for receiver in range(1, count + 1):
        assert flows.next_finish() == (count * SECOND // 4, receiver)
        flows.finish(receiver, count * SECOND // 4)
    assert flows.next_finish() is None and len(flows) == 0


def test_flows__one_by_one_when_each_starts_as_the_last_ends() -> None:
    """Oracle: first in, first out: the j-th message of m bytes ends at j m / B."""
    flows: Flows[int] = Flows([1e6, math.inf], [math.inf] * 2)
    at = 0
    for number in range(1, 6):
        flows.start(number, 0, 1, 250_000, at)
        found = flows.next_finish()
        assert found == (number * SECOND // 4, number)
        at = found[0]
        flows.finish(number, at)


def test_flows__a_late_flow_halves_the_rate_and_a_cancelled_one_gives_it_back() -> None:
    flows: Flows[str] = Flows([1000.0, 1e9], [1e9, 1e9])
    flows.start("first", 0, 1, 3000, 0)
    flows.start("second", 0, 1, 3000, SECOND)
    assert flows.rates() == {"first": 500, "second": 500} and flows.next_finish() == (5 * SECOND, "first")
    flows.cancel("second", 3 * SECOND)
    assert flows.next_finish() == (4 * SECOND, "first")


def test_flows__without_limits_end_at_once() -> None:
    flows: Flows[str] = Flows([math.inf] * 2, [math.inf] * 2)
    flows.start("free", 0, 1, 10**9, 7)
    assert flows.next_finish() == (7, "free")


def test_flows__refuse_a_name_twice_and_time_backwards() -> None:
    flows: Flows[str] = Flows([1e3] * 2, [1e3] * 2)
    flows.start("a", 0, 1, 10, 5)
    with pytest.raises(ValueError, match="under way already"):
        flows.start("a", 0, 1, 10, 6)
    with pytest.raises(ValueError, match="must not be before 5"):
        flows.start("b", 0, 1, 10, 4)


def slowly(starts: list[tuple[int, int, int, int]], up: list[float], down: list[float]) -> dict[int, float]:
    """When each flow ends, in seconds: all rates made anew at every start and end."""
    left: dict[int, float] = {}
    ends: dict[int, float] = {}
    waiting, now = sorted(enumerate(starts), key=lambda item: (item[1][3], item[0])), 0.0
    while waiting or left:
        at_rate = rates({flow: starts[flow][:2] for flow in left}, up, down)
        finish, flow = min(((now + left[flow] / at_rate[flow], flow) for flow in left), default=(math.inf, -1))
        start = waiting[0][1][3] / SECOND if waiting else math.inf
        until = min(finish, start)
        for other in left:
            left[other] -= at_rate[other] * (until - now)
        now = until
        if finish <= start:
            ends[flow] = finish
            del left[flow]
        else:
            number, (_, _, size, _) = waiting.pop(0)
            left[number] = size
    return ends


transfer = st.tuples(peer, peer, st.integers(1, 10**6), st.integers(0, 5 * SECOND))


@given(st.lists(transfer, min_size=1, max_size=15), caps, caps, st.integers(0, 14))
@settings(max_examples=60, deadline=None)
def test_flows__as_simulated_with_all_rates_made_anew(
    starts: list[tuple[int, int, int, int]], up: list[float], down: list[float], copied: int
) -> None:
    """Also when the state is copied, deep-copied or pickled on the way, and asked in between."""
    flows: Flows[int] = Flows(up, down)
    waiting = sorted(enumerate(starts), key=lambda item: (item[1][3], item[0]))
    ends: dict[int, float] = {}
    while waiting or len(flows):
        upcoming = flows.next_finish()
        if upcoming is not None and (not waiting or upcoming[0] <= waiting[0][1][3]):
            flows.finish(upcoming[1], upcoming[0])
            ends[upcoming[1]] = upcoming[0] / SECOND
        else:
            number, (sender, receiver, size, at) = waiting.pop(0)
            flows.start(number, sender, receiver, size, at)
        if len(ends) == copied:
            flows = [
                flows.copy,
                lambda old=flows: copy.deepcopy(old),
                lambda old=flows: pickle.loads(pickle.dumps(old)),
            ][copied % 3]()
    assert ends == pytest.approx(slowly(starts, up, down), abs=1e-6)
