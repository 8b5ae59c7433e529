"""The state of a run: whatever it holds is in its checkpoints, and events change what they say."""

from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from coordinator import load_config
from coordinator.checkpoints.identity import identity_of
from coordinator.checkpoints.manager import CheckpointManager
from coordinator.checkpoints.opening import open_checkpoints, recall
from coordinator.measures.measure import Measures
from coordinator.measures.probe_table import ProbeTable
from coordinator.planning.plan import identified, peer_settings, prepare
from coordinator.pools.in_process import InProcessPool
from coordinator.records.events import (
    CheckpointWritten,
    EndedEarly,
    Fault,
    FaultKind,
    FaultsRecovered,
    Measured,
    PeerDropped,
    Phase,
    RoundCompleted,
    RoundsChanged,
    RunEvent,
    Stage,
    StageTimes,
    WeightsMeasured,
)
from coordinator.records.files.run_folder import RunFolder
from coordinator.records.files.tables import Tables
from coordinator.records.observer import Observers
from coordinator.records.recorder import Recorder
from coordinator.records.run_state import RunState, SurvivedFault, Training
from coordinator.scheduling.dropouts import Dropout
from coordinator.scheduling.scheduler import RoundRecord
from coordinator.scheduling.synchronous import SynchronousScheduler
from peers.exchange.assignment import Stats
from topologies.schedule import self_taught


def full() -> RunState:
    """A state of which no field has its default value, with what JSON does not have: infinities, bytes, sets."""
    return RunState(
        bytes_exchanged=2**40,
        seconds=0.1 + 0.2,
        peer_seconds=1e-300,
        evaluation_seconds=2.5,
        last_checkpoint=3,  # as the checkpoint that it is written to says
        first=Measures({"js": float("inf"), "agreement": 0.1}, {0: {"rankme": 1 / 3}, 11: {"rankme": 2.0}}, {}),
        last=Measures({"js": -0.0}, {2: {}}, {}),
        measured_at=2,
        trainings={
            Phase.ROUNDS: Training(3, {0: 3, 11: 2, 2: 1}, {0: 0.5, 11: 1e-300, 2: 2.0}),
            Phase.STRANGER: Training(2, {0: 2}, {0: float("inf")}, {5}, {0: 0.25}),
        },
        dropped={11: Dropout(11, 2, "the loss is nan"), 2: Dropout(2, 3, 'an "odd" one')},
        digests=[bytes(range(250, 256)), b""],
        probed={1, 2},
        checkpoints=5,
        stop_values={2: 0.1 + 0.2, 10: float("-inf")},
        ended=EndedEarly(3, "run.stop", "loss is below 0.3", 1 / 3),
        times=StageTimes({Stage.START: 0.1 + 0.2, Stage.ROUNDS: 1e-300}, {Stage.CONTROLS, Stage.CONTROL_RUNS}),
        faults=[SurvivedFault(1, "a host was lost", None), SurvivedFault(2, "é", 0.25)],
        liars=frozenset({2}),
        workers={"forked": 3, "spawned": 1},
    )


def test_run_state__every_field_survives_a_checkpoint(small: dict[str, Any], tmp_path: Path):
    """Through the files of a real one: a field that is added must have a value here, and come back."""
    config = load_config({**small, "run": {"rounds": 4}, "checkpoint": {"every": 1}})
    plan, state = identified(prepare(config)), full()
    for each in fields(RunState):
        assert getattr(state, each.name) != getattr(RunState(), each.name), f"{each.name} has its default value"
    folder = RunFolder(tmp_path, "run")
    pool = InProcessPool(peer_settings(config, plan.dataset), plan.dataset, config.hosting)
    _, store = open_checkpoints(config, folder.path, pool)
    recorder = Recorder(state, ProbeTable(("knn",)), Observers(), 1.0)
    manager = CheckpointManager(store, identity_of(plan), recorder, Tables(folder))
    manager.complete(Phase.ROUNDS, 3, SynchronousScheduler(pool).save(store.aside(Phase.ROUNDS, 3), 3))
    pool.close()
    written = full().with_checkpoint(CheckpointWritten(Phase.ROUNDS, 3, full().times))
    recalled, damaged = recall(config, store)
    assert damaged == [] and recalled.found is not None and recalled.state is not state
    for each in fields(RunState):
        assert getattr(recalled.state, each.name) == getattr(written, each.name), each.name
        assert type(getattr(recalled.state, each.name)) is type(getattr(full(), each.name)), each.name


def test_run_state__not_a_number_survives_too():
    measures = Measures({"cka": float("nan")}, {0: {"rankme": float("-inf")}}, {})
    found = RunState.from_json(RunState(first=measures).to_json()).first
    assert found is not None and np.isnan(found.scalars["cka"]) and found.peers == measures.peers


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda table: table.pop("probed"), "the run's state has no probed"),
        (lambda table: table.update(mine=1), "the run's state has a wrong mine: "),
        (lambda table: table.update(completed="x"), "the run's state has a wrong completed: "),
    ],
)
def test_from_json__refuses_another_state(change: Any, line: str):
    table = full().to_json()
    change(table)
    with pytest.raises(ValueError, match=line) as refused:
        RunState.from_json(table)
    assert "\n" not in str(refused.value)


def test_from_json__checkpoints_of_older_versions_have_no_times():
    table = full().to_json()
    del table["times"]
    found = RunState.from_json(table)
    assert found.times == StageTimes() and found.faults == full().faults


# ---- events ----


def test_apply__replayed_rounds_cost_time_and_count_once():
    state = RunState()
    stats = {0: Stats(loss=1.0, gradient_norm=3.0), 1: Stats()}
    state.apply(RoundCompleted(Phase.ROUNDS, 1, stats, 10, 10, seconds=1.0, peer_seconds=2.0))
    state.apply(RoundCompleted(Phase.ROUNDS, 1, stats, 10, 10, seconds=0.5, peer_seconds=1.0, replayed=True))
    state.apply(RoundCompleted(Phase.ROUNDS, 2, {0: Stats(0.5, 1.0), 1: Stats(0.5, 2.0)}, 5, 15, seconds=1.0))
    assert (state.completed, state.bytes_exchanged, state.seconds, state.peer_seconds) == (2, 15, 2.5, 3.0)
    assert state.trainings == {Phase.ROUNDS: Training(2, {0: 2, 1: 1}, {0: 3.0, 1: 2.0})} and state.students == [0, 1]


def test_recorder__bytes_so_far_is_the_running_total():
    """It neither falls nor counts a round twice when rounds are replayed, and stays as it is in the control alone."""
    told = list[RoundCompleted]()

    class Keeping:
        def observe(self, event: RunEvent) -> None:
            told.append(event)  # type: ignore[arg-type]

    recorder, round_ = Recorder(RunState(), ProbeTable(("knn",)), Observers([Keeping()]), 1.0), self_taught(2)(0)
    for completed in (1, 2, 1, 2, 3):
        recorder.round(RoundRecord(completed, round_, {}, 10 * completed), 0.0)
    recorder.control_round(Phase.ALONE, RoundRecord(1, round_, {}, 0))
    assert [(each.num_bytes, each.bytes_so_far, each.replayed) for each in told] == [
        *((10, 10, False), (20, 30, False), (10, 30, True), (20, 30, True), (30, 60, False), (0, 60, False))
    ]


def test_apply__rounds_of_a_control_change_its_training_only():
    state = RunState()
    failed = {0: Stats(loss=1.0, gradient_norm=0.5), 3: Stats(failure="the loss is nan")}
    state.apply(RoundCompleted(Phase.ALONE, 7, failed, 9, 9))
    state.apply(WeightsMeasured(Phase.ALONE, {0: 0.25}))
    assert state == RunState(trainings={Phase.ALONE: Training(7, {0: 1}, {0: 0.5}, {3}, {0: 0.25})})
    state.apply(RoundsChanged())
    assert state == RunState(trainings={Phase.ROUNDS: Training()})


def test_apply__faults_are_closed_with_the_time_they_cost():
    """A fault that cost no rounds stays at 0 seconds; one that was closed keeps its own."""
    state = RunState()
    for number, kind in enumerate((FaultKind.HOST_LOST, FaultKind.CHECKPOINT_NOT_WRITTEN), start=1):
        state.apply(Fault(kind, kind.value, 4, number))
    assert [each.seconds for each in state.faults] == [None, 0.0]
    state.apply(FaultsRecovered(2.5))
    state.apply(Fault(FaultKind.HOST_LOST, "again", 5, 3))
    state.apply(FaultsRecovered(1.0))
    assert [each.seconds for each in state.faults] == [2.5, 0.0, 1.0]


def test_apply__first_measures_stay_and_a_peer_drops_once():
    state = RunState()
    for completed in (0, 4):
        state.apply(Measured(completed, Measures({"js": float(completed)}, {}, {(0, 1): {"weight": 1.0}}), 0.5))
        state.apply(PeerDropped(Dropout(2, completed, "first" if not completed else "second"), run_goes_on=True))
    assert state.first == Measures({"js": 0.0}, {}, {}) and state.last == Measures({"js": 4.0}, {}, {})
    assert (state.measured_at, state.evaluation_seconds) == (4, 1.0)
    assert state.dropped == {2: Dropout(2, 0, "first")} and state.students == []
