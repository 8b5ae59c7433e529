"""When peers are online: closed forms of the laws, patterns against their intervals, and files of intervals."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from topologies.network.trace import Weights
from topologies.worlds.churn import TraceChurn
from topologies.worlds.config import NetworkConfig
from topologies.worlds.presence import Pattern, Presence
from topologies.worlds.table_file import presence as read_presence
from topologies.worlds.world import World

Told = Callable[..., str]
SECOND = 10**9
REGIONS = {"kind": "regions", "table": "home", "regions": ["japan", "europe"]}


def world(num_peers: int, seed: int = 0, **network: object) -> World:
    return World.of(NetworkConfig.model_validate(network), num_peers, seed, 1)


def changes(presence: Presence, until: int) -> list[tuple[int, bool]]:
    """All changes after second 0, up to a nanosecond."""
    found, at = [], 0
    while (change := presence.change_after(at)) is not None and change[0] <= until:
        found.append(change)
        at = change[0]
    return found


def check(presence: Presence, until: int) -> None:
    """A change is the only thing that changes, between and at changes alike."""
    state, at = presence.is_online(0), 0
    for time, online in changes(presence, until):
        assert online is not state and time > at
        assert presence.is_online(time - 1) is state and presence.is_online(time) is online
        assert presence.change_after(time - 1) == (time, online)
        state, at = online, time


def test_exponential__availability_and_binomial_number_online() -> None:
    """Oracle: u / (u + d) of the peers are online, binomially, at second 0 as at any later time."""
    found = world(400, churn={"up": 600, "down": 200})
    assert found.has_churn and found.availability == (0.75,) * 400
    for second in (0, 100_000):
        online = sum(found.is_online(peer, second * SECOND) for peer in range(400))
        assert stats.binomtest(online, 400, 0.75).pvalue > 0.01
    many = world(3000, churn={"up": 600, "down": 200})
    counts = [sum(many.is_online(10 * run + peer, 10**12) for peer in range(10)) for run in range(300)]
    observed = np.bincount(counts, minlength=11)
    expected = 300 * stats.binom(10, 0.75).pmf(np.arange(11))
    few = expected < 5
    pooled = [np.append(each[~few], each[few].sum()) for each in (observed, expected)]
    assert stats.chisquare(*pooled).pvalue > 0.01


def test_exponential__forgets_with_rate_1_over_up_plus_1_over_down() -> None:
    """Oracle: the correlation over t seconds is exp(-t (1/u + 1/d))."""
    found = world(1500, churn={"up": 30, "down": 10})
    start = np.array([found.is_online(peer, 50 * SECOND) for peer in range(1500)])
    for wait in (2, 5, 10):
        later = np.array([found.is_online(peer, (50 + wait) * SECOND) for peer in range(1500)])
        expected = np.exp(-wait * (1 / 30 + 1 / 10))
        assert np.corrcoef(start, later)[0, 1] == pytest.approx(expected, abs=4 / 1500**0.5)


def test_exponential__times_between_changes_have_their_means() -> None:
    presence = world(1, churn={"up": 30, "down": 10}).presence[0]
    assert presence is not None
    found = changes(presence, 40_000 * SECOND)
    times = np.diff([time for time, _ in found]) / SECOND
    online = np.array([state for _, state in found[:-1]])
    assert stats.kstest(times[online], stats.expon(scale=30).cdf).pvalue > 0.01
    assert stats.kstest(times[~online], stats.expon(scale=10).cdf).pvalue > 0.01
    check(presence, 4000 * SECOND)


def test_exponential__all_online_at_the_start_if_asked() -> None:
    found = world(50, churn={"up": 30, "down": 10, "start": "online"})
    assert all(found.is_online(peer, 0) for peer in range(50))


def test_exponential__any_order_of_questions() -> None:
    network = {"churn": {"up": 3, "down": 1}}
    times = [second * SECOND for second in (5000, 3, 900, 0, 5000, 1, 899)]
    inquired, fresh = world(2, **network), [world(2, **network) for _ in times]
    for time, other in zip(times, fresh, strict=True):
        assert inquired.change_after(1, time) == other.change_after(1, time)
        assert inquired.is_online(1, time) == other.is_online(1, time)


def test_diurnal__shares_are_uniform_and_phases_are_random() -> None:
    found = world(1000, churn={"kind": "diurnal", "period": 100, "low": 0.1, "high": 0.8})
    shares = np.array([share for share in found.availability if share is not None])
    assert stats.kstest(shares, stats.uniform(0.1, 0.7).cdf).pvalue > 0.01
    for second in (0, 30, 1234):
        online = sum(found.is_online(peer, second * SECOND) for peer in range(1000))
        assert online == pytest.approx(shares.sum(), abs=4 * 1000**0.5 / 2)
    for presence in found.presence[:20]:
        assert presence is not None
        check(presence, 1000 * SECOND)
        assert [presence.is_online(at) for at in range(0, 10**11, 10**10)] == [
            presence.is_online(at + 7 * 10**11) for at in range(0, 10**11, 10**10)
        ]


def test_outage__of_one_region_once_or_again_and_again() -> None:
    churn = {"kind": "outage", "region": "europe", "start": 5, "seconds": 2}
    once = world(4, latency=REGIONS, churn=churn)
    assert [once.presence[peer] is None for peer in range(4)] == [True, False, True, False]
    assert once.change_after(1, 0) == (5 * SECOND, False) and once.change_after(1, 5 * SECOND) == (7 * SECOND, True)
    assert once.change_after(1, 7 * SECOND) is None and once.availability == (1.0, None, 1.0, None)
    again = world(4, latency=REGIONS, churn=churn | {"every": 3})
    expected = [(5, False), (7, True), (8, False), (10, True), (11, False)]
    presence = again.presence[3]
    assert presence is not None and presence.is_online(0)
    assert changes(presence, 11 * SECOND) == [(second * SECOND, state) for second, state in expected]
    assert again.availability[3] == pytest.approx(1 / 3)


def test_outage__of_a_region_where_nobody_is(told: Told) -> None:
    network = NetworkConfig.model_validate(
        {"latency": REGIONS, "churn": {"kind": "outage", "region": "australia", "start": 5, "seconds": 2}}
    )
    assert "must be a region that peers are in, got 'australia'; one of europe, japan" in told(
        World.of, network, 4, 0, 1
    )


@given(
    st.lists(st.integers(0, 99), min_size=1, max_size=8, unique=True),
    st.booleans(),
    st.sampled_from([None, 100]),
    st.integers(0, 30),
)
@settings(max_examples=200, deadline=None)
def test_pattern__is_its_changes(times: list[int], first: bool, period: int | None, start: int) -> None:
    times = sorted(times)[: len(times) // 2 * 2 or 1]
    if period is not None and len(times) == 1:
        return
    if period is not None and start:
        times = [time - times[0] for time in times]
    states = [first ^ bool(place % 2) for place in range(len(times))]
    pattern = Pattern(times, states, before=not first, period=period, start=start)
    state = not first
    if period is not None and not start:
        state = states[-1]
    by_time = dict(zip(times, states, strict=True))
    expected = []
    for at in range(400):
        after = at - start
        if after >= 0:
            state = by_time.get(after if period is None else after % period, state)
        expected.append(state)
    assert [pattern.is_online(at) for at in range(400)] == expected
    for at in range(250):
        later = [time for time in range(at + 1, 400) if expected[time] != expected[time - 1]]
        assert pattern.change_after(at) == ((later[0], expected[later[0]]) if later else None)


def test_trace__intervals_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "presence.csv"
    path.write_text("peer,start,end\n2,10,20\n0,0,5\n2,1,3\n0,5,8\n")
    found = world(4, churn={"kind": "trace", "path": str(path), "on_return": "fresh", "leave": "crash"})
    seconds = range(25)
    online = [[found.is_online(peer, second * SECOND) for second in seconds] for peer in range(4)]
    expected = [{2: {*range(1, 3), *range(10, 20)}, 0: {*range(8)}}.get(peer, {*seconds}) for peer in range(4)]
    assert online == [[second in known for second in seconds] for known in expected]
    assert found.on_return == (Weights.FRESH,) * 4 and all(found.crashes)
    assert found.availability == (None, 1.0, None, 1.0)


def test_trace__repeats_after_its_period_and_joins_over_its_end(tmp_path: Path) -> None:
    path = tmp_path / "presence.csv"
    path.write_text("peer,start,end\n0,0,5\n0,8,10\n1,0,10\n2,3,10\n")
    found = world(3, churn={"kind": "trace", "path": str(path), "period": 10})
    assert found.change_after(0, 0) == (5 * SECOND, False) and found.change_after(0, 5 * SECOND) == (8 * SECOND, True)
    assert found.change_after(0, 8 * SECOND) == (15 * SECOND, False)
    assert found.change_after(1, 0) is None and found.is_online(1, 10**15)
    assert found.change_after(2, 3 * SECOND) == (10 * SECOND, False)
    assert found.availability == pytest.approx((0.7, 1.0, 0.7))


def test_trace__fedscales_rows_as_lists_or_one_by_one(tmp_path: Path) -> None:
    listed = pa.table({"client_id": [0, 1, 9], "active": [[2], [4, 8], [1]], "inactive": [[1, 6], [5, 9], [2]]})
    pq.write_table(listed, tmp_path / "listed.parquet")
    (tmp_path / "single.csv").write_text("client_id,active,inactive\n0,0,1\n0,2,6\n1,4,5\n1,8,9\n9,1,2\n")
    expected = {0: ((0.0, 1.0), (2.0, 6.0)), 1: ((4.0, 5.0), (8.0, 9.0))}
    assert read_presence(tmp_path / "listed.parquet", 4, None) == expected
    assert read_presence(tmp_path / "single.csv", 4, None) == expected


@pytest.mark.parametrize(
    ("text", "period", "expected"),
    [
        ("peer,start,end\n0,5,2\n", None, "row 1: start must be before end = 2, got 5; correct the interval"),
        ("peer,start,end\n0,-5,2\n", None, "row 1: start must be at least 0, got -5"),
        (
            "peer,start,end\n0,1,5\n0,4,6\n",
            None,
            "row 2: must begin after the peer's interval before it ends at 5, got 4",
        ),
        ("peer,start,end\n7,1,5\n", None, "row 1: peer must be from 0 to peers.count - 1 = 3, got 7"),
        ("peer,start,end\n0.5,1,5\n", None, "row 1: peer must be from 0"),
        ("peer,start,end\n0,1,5\n", 4.0, "row 1: end must be at most network.churn.period = 4, got 5"),
        (
            "peer,start\n0,1\n",
            None,
            "must have the column peer,start,end or client_id,active,inactive, got peer, start",
        ),
        ("peer,start,end\n0,now,5\n", None, "row 1: start must be a number, got 'now'"),
    ],
)
def test_trace__says_what_is_wrong(text: str, period: float | None, expected: str, tmp_path: Path, told: Told) -> None:
    path = tmp_path / "presence.csv"
    path.write_text(text)
    network = NetworkConfig(churn=TraceChurn(path=path, period=period))
    assert expected in told(World.of, network, 4, 0, 1)


def test_times__too_long_or_too_short_are_told(tmp_path: Path, told: Told) -> None:
    outage = {"kind": "outage", "region": "japan", "start": 0.0, "seconds": 1.0}
    for field, value, churn in (
        ("period", 1e300, {"kind": "diurnal"}),
        ("period", 1e-10, {"kind": "diurnal"}),
        ("start", 1e300, outage),
        ("seconds", 1e300, outage),
        ("seconds", 1e-12, outage),
        ("every", 1e300, outage),
    ):
        with pytest.raises(ValueError, match=rf"churn\.\S*{field}\n.*must be at (most 1e9 seconds|least a micro)"):
            NetworkConfig.model_validate({"churn": churn | {field: value}, "latency": REGIONS})
    path = tmp_path / "online.csv"
    path.write_text("peer,start,end\n0,0,1e300\n")
    assert "end must be at most 1e9 seconds" in told(read_presence, path, 2, None)


def test_presence__lists_of_fedscale_hold_numbers_only(tmp_path: Path, told: Told) -> None:
    path = tmp_path / "online.parquet"
    for odd in (["a"], [None], [[1.0]], [float("nan")]):
        pq.write_table(pa.table({"client_id": [0], "active": [odd], "inactive": [[5.0]]}), path)
        assert "row 1: active must be a number, got " in told(read_presence, path, 2, None)


def test_world__ends_if_all_peers_go_for_ever(tmp_path: Path) -> None:
    path = tmp_path / "online.csv"
    churn = {"kind": "trace", "path": path}
    path.write_text("peer,start,end\n0,0,9\n1,10,19\n")
    assert world(2, churn=churn).ends and not world(3, churn=churn).ends
    assert not world(2, churn=churn | {"period": 20}).ends
    assert not world(2, churn={"kind": "exponential", "up": 1, "down": 1}).ends and not world(2).ends
