"""What holds for every trace: what is used has arrived, in order, once; rounds can be begun anywhere; limits."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice, pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pytest import approx

from tests.topologies.network.traces import acts_of, scheduled, steps_of, taken, traced
from topologies.combinators import with_self_weight
from topologies.config import KINDS
from topologies.network.simulation import trace_of
from topologies.network.trace import SECOND, Delivery, Fate, Publication, Step, Trace, Weights
from topologies.network.waiting import Waiting
from topologies.participation import participants
from topologies.schedule import Schedule
from topologies.worlds.config import NetworkConfig
from topologies.worlds.world import World

LOCK_STEP = [{"clock": "synchronous"}, {"clock": "neighbours"}]
CLOCKS = [
    *LOCK_STEP,
    {"clock": "deadline", "deadline": 0.6},
    {"clock": "deadline", "deadline": 0.3, "late": "use", "max_age": 3},
    {"clock": "free-running", "max_age": 3},
    {"clock": "gossip", "wake_every": 1.5},
    {"clock": "free-running", "round_seconds": 0.8},
]
UNEVEN = {
    "compute": {"kind": "lognormal", "seconds": 0.5, "sigma": 0.8},
    "latency": {"kind": "lognormal", "seconds": 0.3, "sigma": 1.0},
}
HARD = UNEVEN | {
    "loss": {"kind": "bernoulli", "probability": 0.2},
    "churn": {"kind": "exponential", "up": 6, "down": 2, "on_return": "neighbour", "leave": "crash"},
}
NARROW = HARD | {"bandwidth": {"kind": "caps", "up": 2500, "down": 4000}}


def kinds(num_peers: int) -> Iterator[str]:
    return (kind for kind, variant in KINDS.items() if kind != "file" and variant.example(num_peers).takes(num_peers))


@pytest.mark.parametrize("kind", sorted(kinds(8)))
@pytest.mark.parametrize(
    "clock",
    [*LOCK_STEP, {"clock": "deadline", "deadline": 3.0}, {"clock": "free-running"}],
    ids=lambda each: each["clock"],
)
@pytest.mark.parametrize("num_peers", [pytest.param(7, marks=pytest.mark.slow), 8])
def test_trace__without_delays_is_the_schedule(kind: str, clock: dict[str, Any], num_peers: int) -> None:
    if not KINDS[kind].example(num_peers).takes(num_peers):
        pytest.skip("not for this number of peers")
    schedule = scheduled(kind, num_peers)
    check_is_schedule(traced(schedule, **clock), schedule, times=clock["clock"] in ("deadline", "free-running"))


@pytest.mark.parametrize("kind", ["ring", "random-matching", "random-pair", "one-peer-exponential", "star"])
@pytest.mark.parametrize("clock", LOCK_STEP, ids=lambda each: each["clock"])
@pytest.mark.parametrize("limited", [False, True])
def test_trace__in_lock_step_delays_change_nothing_but_times(kind: str, clock: dict[str, Any], limited: bool) -> None:
    schedule = scheduled(kind, 8)
    bandwidth = {"bandwidth": NARROW["bandwidth"]} if limited else {}
    check_is_schedule(traced(schedule, **clock, **UNEVEN, **bandwidth), schedule, times=False)


def check_is_schedule(trace: Trace, schedule: Schedule, times: bool) -> None:
    for index, timed in enumerate(taken(trace, 12)):
        steps = {step.peer: step for step in steps_of([timed])}
        assert sorted(steps) == participants(schedule(index))
        assert {peer: step.heard for peer, step in steps.items()} == {
            peer: schedule(index).incoming[peer] for peer in steps
        }
        assert all(step.version == step.batch == index for step in steps.values())
        if times:
            assert timed.end == (index + 1) * SECOND


@pytest.mark.parametrize("kind", ["ring", "random-matching", "one-peer-exponential", "random-pair"])
@pytest.mark.parametrize("barrier", [False, True])
def test_lock_step__by_rounds_is_as_by_events(kind: str, barrier: bool) -> None:
    schedule = scheduled(kind, 7)
    network = NetworkConfig(clock="synchronous" if barrier else "neighbours", **UNEVEN, loss=HARD["loss"])
    world = World.of(network, 7, 3, 1000)
    events = Waiting(world, schedule, None, barrier)
    for timed in islice(trace_of(network, world, schedule).rounds(), 30):
        other = events.next_round()
        assert other is not None and replace(other, deliveries=()) == replace(timed, deliveries=())
        assert sorted(other.deliveries) == sorted(timed.deliveries)


class Watch:
    """Follows a trace and checks every act against what has happened before."""

    def __init__(self, trace: Trace, schedule: Schedule, network: NetworkConfig, world: World) -> None:
        self.network, self.world, self.schedule = network, world, schedule
        cut = trace.cut_at(0)
        self.published = {(message.peer, message.version): message for message in cut.due.values()}
        self.due = dict(cut.due)
        self.fates: dict[tuple[int, int, int], Delivery] = {}
        self.released: set[tuple[int, int]] = set()
        self.used: set[tuple[int, int, int]] = set()
        self.needed: list[dict[tuple[int, int], None]] = []  # by round, what it uses of earlier rounds

    def follow(self, trace: Trace, num_rounds: int) -> None:
        rounds = taken(trace, num_rounds)
        self.fates = {(each.sender, each.receiver, each.version): each for timed in rounds for each in timed.deliveries}
        for timed in rounds:
            cut = trace.cut_at(timed.index)
            assert cut.due == self.due and not set(cut.live) & self.released
            known = {*cut.live, *((peer, message.version) for peer, message in cut.due.items())}
            self.needed.append({})
            for wave in timed.waves:
                peers = [step.peer for step in wave.steps]
                assert len(set(peers)) == len(peers)
                before = set(self.published)
                for act in (*wave.returns, *wave.steps):
                    self.act(act, before)
            for step in steps_of([timed]):
                for edge in step.heard:
                    self.needed[-1][edge.teacher, step.version - edge.age] = None
            fresh = {(act.peer, act.version) for act in acts_of(timed) if isinstance(act, Publication)}
            fresh |= {(each.peer, each.following.version) for each in steps_of([timed]) if each.following is not None}
            assert set(self.needed[-1]) <= known | fresh
            for peer, version in timed.abandoned:
                if peer in self.due and self.due[peer].version == version:
                    del self.due[peer]
            for sender, versions in timed.released.items():
                assert not {(sender, version) for version in versions} & self.released
                self.released |= {(sender, version) for version in versions}

    def act(self, act: Publication | Step, there: set[tuple[int, int]]) -> None:
        if isinstance(act, Publication):
            self.publish(act)
            return
        assert act.published <= act.start <= act.finish
        assert self.due.pop(act.peer).version == act.version
        if act.heard:
            assert sum(edge.weight for edge in act.heard) == approx(1)
            assert [edge.teacher for edge in act.heard] == sorted({edge.teacher for edge in act.heard})
        for edge in act.heard:
            if edge.teacher != act.peer:
                self.hear(act, edge.teacher, act.version - edge.age, there)
        assert self.is_online(act.peer, act.start, act.finish)
        if act.following is not None:
            self.publish(act.following)

    def publish(self, message: Publication) -> None:
        assert self.is_online(message.peer, message.at, message.at)
        assert (message.peer, message.version) not in self.published
        self.published[message.peer, message.version] = self.due[message.peer] = message

    def hear(self, step: Step, teacher: int, version: int, there: set[tuple[int, int]]) -> None:
        assert (teacher, version) in there and (teacher, version) not in self.released
        message, delivery = self.published[teacher, version], self.fates[teacher, step.peer, version]
        assert message.useful and step.peer in message.sent_to
        assert delivery.fate is Fate.ARRIVED and message.at == delivery.sent <= delivery.arrived <= step.start
        assert self.is_online(step.peer, delivery.arrived, step.finish)
        if self.network.rewire:
            pass  # its links are among those who were online
        elif self.network.clock == "gossip":
            assert step.peer in self.schedule(step.batch).incoming[teacher] or teacher in [
                edge.teacher for edge in self.schedule(step.batch).incoming[step.peer]
            ]
        else:
            assert teacher in [edge.teacher for edge in self.schedule(version).incoming[step.peer]]
        if self.network.clock not in ("gossip", "free-running"):
            assert version == step.version or self.network.late == "use"
        if self.network.clock != "gossip":
            assert 0 <= step.version - version <= self.network.max_age
        if self.network.clock != "free-running":
            assert (teacher, step.peer, version) not in self.used
        self.used.add((teacher, step.peer, version))

    def is_online(self, peer: int, first: int, last: int) -> bool:
        """Throughout; it may leave at the very end of a step only if the step came first."""
        change = self.world.change_after(peer, first)
        return self.world.is_online(peer, first) and (change is None or change[0] > last)


def present(kind: str, num_peers: int, peers: tuple[int, ...]) -> Schedule:
    """The links of a topology for these peers alone."""
    small = scheduled(kind, len(peers))

    def round_at(index: int) -> Any:
        full, inner = scheduled(kind, num_peers)(index), small(index)
        incoming: list[Any] = [()] * num_peers
        for place, edges in enumerate(inner.incoming):
            incoming[peers[place]] = tuple(edge._replace(teacher=peers[edge.teacher]) for edge in edges)
        return replace(full, incoming=tuple(incoming), kept=tuple(1.0 for _ in incoming))

    return Schedule(num_peers, small.period, round_at)


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from(CLOCKS),
    st.sampled_from([UNEVEN, HARD, NARROW]),
    st.sampled_from(["ring", "complete", "random-matching", "star", "ring+", "rewired"]),
    st.integers(3, 7),
    st.integers(0, 2**20),
)
def test_trace__nothing_is_used_before_it_arrives(
    clock: dict[str, Any], world: dict[str, Any], kind: str, num_peers: int, seed: int
) -> None:
    """Nor by a peer that is offline, across no link, after its release, or twice; and what will be used is kept."""
    base = "ring" if kind in ("ring+", "rewired") else kind
    schedule = scheduled(base, num_peers, seed)
    if kind == "ring+":
        schedule = with_self_weight(schedule, 0.3)
    network = NetworkConfig(**clock, **world, rewire=kind == "rewired")
    known = World.of(network, num_peers, seed, 1000)
    rewired = (lambda peers: present(base, num_peers, peers)) if network.rewire else None
    trace = trace_of(network, known, schedule, rewired)
    watch = Watch(trace, schedule, network, known)
    watch.follow(trace, 10)
    ends = [timed.end for timed in taken(trace, 10)]
    assert all(first <= second for first, second in pairwise(ends))


@pytest.mark.parametrize("clock", CLOCKS, ids=lambda each: each["clock"])
@pytest.mark.parametrize("world", [HARD, pytest.param(NARROW, marks=pytest.mark.slow)], ids=["links", "bandwidth"])
def test_trace__begins_anywhere(clock: dict[str, Any], world: dict[str, Any]) -> None:
    schedule = scheduled("random-matching", 6)
    through = traced(schedule, seed=1, **clock, **world)
    rounds, cuts = taken(through, 40), [through.cut_at(start) for start in range(40)]
    fresh = traced(schedule, seed=1, **clock, **world)
    for start in (37, 3, 16, 30):
        assert taken(fresh, 3, start) == rounds[start : start + 3]
        assert fresh.cut_at(start) == cuts[start]
    first, second = fresh.rounds(10), fresh.rounds(10)
    assert [next(first), next(second), next(first), next(second)] == [rounds[10], rounds[10], rounds[11], rounds[11]]


@pytest.mark.parametrize("clock", CLOCKS, ids=lambda each: each["clock"])
def test_trace__keeps_few_messages_alive(clock: dict[str, Any]) -> None:
    """Of each link at most what is under way, and what a step has heard: not more with the rounds."""
    trace = traced(scheduled("ring", 6), **clock, **HARD)
    assert max(len(trace.cut_at(start).live) for start in range(20, 60)) <= 30


@pytest.mark.parametrize(
    "clock", [each for each in CLOCKS if each["clock"] != "gossip"], ids=lambda each: each["clock"]
)
def test_trace__late_joiners_first_appear_by_a_return(clock: dict[str, Any], tmp_path: Any) -> None:
    path = tmp_path / "online.csv"
    path.write_text("peer,start,end\n1,4.2,1000\n")
    trace = traced(scheduled("ring", 4), **clock, churn={"kind": "trace", "path": path, "on_return": "neighbour"})
    rounds = taken(trace, 12)
    assert 1 not in trace.cut_at(0).due and rounds[0].presence[0] == (1, 0, False)
    publications = [act for timed in rounds for act in acts_of(timed) if isinstance(act, Publication)]
    returns = [act for act in publications if act.back is not None]
    assert [(act.peer, act.at, act.back.count) for act in returns if act.back] == [(1, round(4.2 * SECOND), 1)]
    assert returns[0].back is not None and returns[0].back.source in (0, 2)
    assert returns[0].version >= (2 if clock["clock"] == "deadline" else 4)  # where its links are
    assert not any(step.peer == 1 and step.published < 4.2 * SECOND for step in steps_of(rounds))
    assert any(edge.teacher == 1 for step in steps_of(rounds) for edge in step.heard)


def test_waiting__plans_each_start_once_as_all_publish_at_second_0() -> None:
    """Not anew with each message: at a barrier of 1,024 peers these would be a million events."""
    network = NetworkConfig(clock="synchronous", latency={"seconds": 0.5}, churn=HARD["churn"])
    state = Waiting(World.of(network, 100, 0, 1000), scheduled("random-pair", 100), None, barrier=True)
    assert len(state.heap) <= 2 * 100  # a finish and a change of each


@pytest.mark.parametrize("clock", CLOCKS, ids=lambda each: each["clock"])
def test_trace__of_rewired_links_lets_peers_come_back_where_the_others_are(clock: dict[str, Any]) -> None:
    """The round that the others are in has no link with a peer that was offline as it began; its copy is of a peer."""
    churn = {"kind": "exponential", "up": 40.0, "down": 40.0, "on_return": "neighbour"}
    network = NetworkConfig(**clock, churn=churn, rewire=True)
    known = World.of(network, 8, 1, 1000)
    trace = trace_of(network, known, scheduled("ring", 8), lambda peers: present("ring", 8, peers))
    last: dict[int, int] = {}
    lags, copied = [], []
    for timed in taken(trace, 120):
        for act in acts_of(timed):
            if isinstance(act, Publication) and act.back is not None and last:
                lags.append(max(last.values()) - act.version)
                copied.append(act.back.weights is Weights.NEIGHBOUR)
            last[act.peer] = act.version
    assert len(copied) > 10 and sum(copied) > 0.8 * len(copied)
    assert clock["clock"] == "gossip" or max(lags) <= 3


def test_trace__of_all_offline_for_ever_ends(tmp_path: Any) -> None:
    path = tmp_path / "online.csv"
    path.write_text("".join(f"{peer},0,5.5\n" for peer in range(4)))
    path.write_text("peer,start,end\n" + path.read_text())
    for clock in CLOCKS[:3]:
        trace = traced(scheduled("ring", 4), **clock, churn={"kind": "trace", "path": path})
        assert len(taken(trace, 100)) < 12
        with pytest.raises(ValueError, match=r"network\.churn: must leave somebody online"):
            trace.cut_at(100)


def test_gossip__transfers_do_not_pile_up_on_slow_links() -> None:
    """Peers wake far more often than their links carry: of the pushes that wait for a link, only the newest is left."""
    narrow = {"bandwidth": {"up": 1000, "down": 1000}, "compute": {"seconds": 0.01}}  # a message takes a second
    trace = traced(scheduled("ring", 4), clock="gossip", wake_every=0.05, **narrow)
    assert max(len(trace.cut_at(start).live) for start in range(5, 15)) <= 4 * 8
    fates = {each.fate for timed in taken(trace, 15) for each in timed.deliveries}
    assert fates == {Fate.ARRIVED, Fate.REPLACED}
