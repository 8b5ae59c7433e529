"""Control runs on a trace: the same steps at the same times, with something else that they learn from."""

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from pytest import approx

from tests.topologies.network.traces import scheduled, steps_of, taken, traced
from topologies.combinators import each_alone, with_self_weight
from topologies.network.combinators import alone, one_teacher
from topologies.round import Edge

AGED: dict[str, Any] = {
    "clock": "free-running",
    "compute": {"kind": "lognormal", "seconds": 0.5, "sigma": 0.8},
    "latency": {"kind": "lognormal", "seconds": 0.6, "sigma": 1.0},
    "loss": {"kind": "bernoulli", "probability": 0.2},
}


@pytest.mark.parametrize("message", ["outputs", "checkpoint"])
def test_alone__hears_itself_on_the_batches_of_others(message: str) -> None:
    trace = traced(with_self_weight(scheduled("complete", 5), 0.2), **AGED, message=message)
    mixed = 0
    for step, own in zip(steps_of(taken(trace, 20)), steps_of(taken(alone(trace), 20)), strict=True):
        ages = Counter[int]()
        for edge in step.heard:
            ages[0 if message == "checkpoint" else edge.age] += edge.weight  # type: ignore[assignment]
        assert {edge.age: edge.weight for edge in own.heard} == approx(dict(ages))
        assert all(edge.teacher == step.peer for edge in own.heard) and len(own.heard) == len(ages)
        assert own._replace(heard=step.heard, following=step.following) == step
        assert own.following is not None and own.following.sent_to == () and not own.following.useful
        mixed += len(own.heard) > 1
    assert (mixed > 10) == (message == "outputs")
    cut, before = alone(trace).cut_at(9), trace.cut_at(9)
    assert cut.live == {} and list(cut.due) == list(before.due) and cut.at == before.at
    assert all(timed.released == {} for timed in taken(alone(trace), 5))


def test_alone__of_a_plain_trace_is_the_control_of_its_schedule() -> None:
    schedule = scheduled("random-matching", 5)
    for index, timed in enumerate(taken(alone(traced(schedule)), 6)):
        expected = each_alone(schedule)(index).incoming
        assert {step.peer: step.heard for step in steps_of([timed])} == {
            peer: edges for peer, edges in enumerate(expected) if edges
        }


def test_one_teacher__is_one_of_those_heard_drawn_by_weight() -> None:
    trace = traced(with_self_weight(scheduled("star", 4), 0.25), **AGED)
    single = one_teacher(trace, np.random.SeedSequence(1))
    steps = list(zip(steps_of(taken(trace, 400)), steps_of(taken(single, 400)), strict=True))
    hub = Counter[int]()
    for step, other in steps:
        taught = [edge for edge in step.heard if edge.teacher != step.peer]
        chosen = [edge for edge in other.heard if edge.teacher != step.peer]
        assert len(chosen) == min(len(taught), 1)
        assert sum(edge.weight for edge in other.heard) == approx(1 if step.heard else 0)
        assert {(edge.teacher, edge.age) for edge in chosen} <= {(edge.teacher, edge.age) for edge in taught}
        assert Edge(step.peer, 0.25) in other.heard or not step.heard
        if step.peer == 0 and len(taught) == 3:
            hub[chosen[0].teacher] += 1
    assert min(hub.values()) > 0.25 * hub.total() and len(hub) == 3
    again = one_teacher(trace, np.random.SeedSequence(1))
    assert taken(again, 3, 30) == taken(single, 33)[30:]
    assert replace(again, rounds_from=trace.rounds_from, cut_at=trace.cut_at) == trace
