"""The stages of a run: controls, rounds, final probes, the control alone. Each stage skips its completed part.

A run that is resumed or has lost hosts therefore goes through all stages again, from the newest checkpoint.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch

from coordinator.checkpoints.manager import CheckpointManager
from coordinator.experiment.plan import Plan, build_schedule
from coordinator.measures.gains import Condition
from coordinator.pools.base import HostLost, Pool, ask
from coordinator.records.events import (
    ControlVoid,
    Digested,
    PeerDropped,
    RunStarted,
    Stage,
    StageEntered,
    StageLeft,
)
from coordinator.records.observer import ObserverRaised, Observers
from coordinator.records.recorder import Recorder
from coordinator.records.result import Ending, Result, Status
from coordinator.reports import endings
from coordinator.run.controls import Controls, calibration_rounds
from coordinator.run.lost_hosts import LostHosts
from coordinator.run.signals import Interrupts
from coordinator.scheduling.dropouts import Stop, StopReason, dropouts_of
from coordinator.scheduling.probing import OUTSTANDING, Probing, observe, probe
from coordinator.scheduling.scheduler import Cadence, Phase, RoundRecord, Scheduler
from peers.learning.control import Control
from peers.probing.measuring import ProbeSubject


@dataclass(frozen=True)
class Position:
    """The state that all peers are in: after `completed` rounds of a phase."""

    phase: Phase
    completed: int


START = Position(Phase.ROUNDS, 0)


class Simulation:
    """Runs the stages in order and passes their results to the recorder; it holds no parameters and no messages.

    schedulers: one for each phase. conclude: writes the results of the run. resumed: whether the peers have to be
    restored from a checkpoint first.
    """

    def __init__(
        self,
        plan: Plan,
        pool: Pool,
        schedulers: Mapping[Phase, Scheduler],
        recorder: Recorder,
        checkpoints: CheckpointManager,
        observers: Observers,
        interrupts: Interrupts,
        conclude: Callable[[Plan, Ending], Result],
        folder: Path,
        resumed: bool = False,
    ) -> None:
        self.plan, self.config, self.pool, self.schedulers = plan, plan.config, pool, schedulers
        self.recorder, self.state, self.checkpoints = recorder, recorder.state, checkpoints
        self.observers, self.interrupts = observers, interrupts
        self.conclude, self.folder = conclude, folder
        self.controls = Controls(plan, pool, recorder)
        self._stage = Stage.START
        self._position = None if resumed else START  # None: unknown, so the peers are restored from a checkpoint

    def run(self) -> Result:
        with self.interrupts:
            try:
                ending = self._run_until_stopped()
            except Exception as error:  # a bug: save the numbers, then raise it
                message = f"in {endings.STAGES[self._stage]}: {type(error).__name__}: {error}"
                self._end(Ending(Status.STOPPED, message))
                raise
            return self._end(ending)

    def _end(self, ending: Ending) -> Result:
        self.pool.concluding()
        return self.conclude(self.plan, ending)

    def _run_until_stopped(self) -> Ending:
        try:
            self.recorder.publish(RunStarted(self.config, self.folder))
            return self._survive()
        except KeyboardInterrupt:
            with suppress(HostLost):
                self.controls.read(patient=False)
            return self._ending(Status.INTERRUPTED, self._where(), self._resumed_by())
        except ObserverRaised as error:
            return self._ending(Status.STOPPED, str(error), self._where(), self._resumed_by())
        except HostLost as error:
            return self._ending(Status.STOPPED, str(error), self._where(), self._last_good(), self._resumed_by())
        except torch.OutOfMemoryError as error:
            message = endings.out_of_memory(self.plan, error)
            return self._ending(Status.STOPPED, message, self._where(), self._last_good())

    def _survive(self) -> Ending:
        """Run all stages, restarting lost hosts. Raises: HostLost, after too many losses."""
        losses = LostHosts(self.pool, self.recorder, self.config.hosting.max_failures)
        while True:
            try:
                losses.revive()
                return self._stages()
            except HostLost as error:
                if self.interrupts.stop_requested:
                    raise KeyboardInterrupt from None
                losses.note(error)
                self._position = None
                self.controls.forget()

    def _stages(self) -> Ending:
        self._probe_controls()
        self.observers.check()
        stop = self._rounds()
        self.controls.read()
        if stop is not None:
            return Ending(Status.STOPPED, endings.stopped(stop, self.state, self.config.checkpoint.every))
        self.observers.check()
        self._final_probes()
        self.observers.check()
        if Control.ALONE in self.config.evaluation.controls:
            self._alone()
        self.recorder.recovered()
        return Ending(Status.FINISHED)

    # ---- messages for a run that ends early ----

    def _ending(self, status: Status, *parts: str) -> Ending:
        return Ending(status, "; ".join(filter(None, parts)))

    def _where(self) -> str:
        return endings.where(self._stage, self.state, self.config.run.rounds)

    def _last_good(self) -> str:
        return endings.last_checkpoint(self.state, self.config.checkpoint.every)

    def _resumed_by(self) -> str:
        return endings.resumed_by(self.folder, self.config.checkpoint.every)

    # ---- stages ----

    def _enter(self, stage: Stage) -> None:
        self._stage = stage
        self.recorder.publish(StageEntered(stage, self.config))

    def _bring(self, phase: Phase) -> int:
        """Bring the peers to a state of `phase`; returns the number of its rounds that they have completed."""
        if self._position is None or self._position.phase is not phase:
            self._position = Position(phase, self.checkpoints.restore(phase))
        return self._position.completed

    def _untrained(self) -> None:
        if self._position != START:
            self.pool.get([host.restart() for host in self.pool.hosts])
            self._position = START

    def _probe_controls(self) -> None:
        """Probe the controls: on evaluators while the rounds run, or, without evaluators, before the first round."""
        if self.controls.missing():
            self._enter(Stage.CONTROLS)
            if not self.pool.evaluators:
                self._untrained()
            self.controls.ask()
            if not self.pool.evaluators:
                self.controls.read()
        if self.state.first is None:
            self._untrained()
            self.recorder.start(observe(self.pool).get(), self.plan.schedule(0))
        if self.state.completed:
            # the controls may have reset the peers, so restore them from the checkpoint
            self._position = None

    def _rounds(self) -> Stop | None:
        """Run the remaining rounds; returns the reason if they stop early. Raises: KeyboardInterrupt."""
        if self.state.digests:
            return None  # the final probes are done, and so are all rounds
        self._stage, stop = Stage.ROUNDS, None
        start = completed = self._bring(Phase.ROUNDS)
        self._enter(Stage.ROUNDS)
        late = deque[tuple[int, Probing]]()  # (round, probes) whose results have not been read: evaluators lag behind
        self._position = None  # unknown until the rounds have ended
        since = time.perf_counter()
        self.interrupts.gentle = self.config.checkpoint.every > 0
        try:
            for record in self._records(Phase.ROUNDS, start):
                completed, previous, since = record.completed, since, time.perf_counter()
                self.recorder.round(record, since - previous)
                if record.probes is not None:
                    late.append((completed, record.probes))
                # everything up to a checkpoint must be recorded before it is completed
                self._read_late(late, OUTSTANDING if self.pool.evaluators and not record.saved else 0)
                stop = self._note_failures(record)
                if stop is not None:
                    break
                if record.saved:
                    self.checkpoints.complete(Phase.ROUNDS, completed, record.saved)
            self._read_late(late, 0)
            self._position = Position(Phase.ROUNDS, completed)
            if self._is_to_end() and stop is None:
                self._save_last(Phase.ROUNDS, completed, saved=self.state.last_checkpoint)
                self.observers.check()
                raise KeyboardInterrupt
        finally:
            self.interrupts.gentle = False
            self.recorder.publish(StageLeft(Stage.ROUNDS))
        return stop

    def _alone(self) -> None:
        """The fourth control: the same peers in the same rounds, but every student is its own teacher."""
        self._stage = Stage.ALONE
        start = completed = saved = self._bring(Phase.ALONE)
        self._position = None
        self._enter(Stage.ALONE)
        self.interrupts.gentle = self.config.checkpoint.every > 0
        try:
            for record in self._records(Phase.ALONE, start):
                completed = record.completed
                self.recorder.round_alone(record)
                if record.saved:
                    self.checkpoints.complete(Phase.ALONE, completed, record.saved)
                    saved = completed
            if self._is_to_end():
                self._save_last(Phase.ALONE, completed, saved)
        finally:
            self.interrupts.gentle = False
            self.recorder.publish(StageLeft(Stage.ALONE))
        self.observers.check()
        if self.interrupts.stop_requested:
            raise KeyboardInterrupt
        if self.state.failed_alone:  # fewer or half-trained peers are no valid control
            self.recorder.publish(ControlVoid(tuple(sorted(self.state.failed_alone))))
        else:
            self.recorder.probed(probe(self.pool, ProbeSubject.AS_IS).get(), condition=Condition.ALONE)

    def _records(self, phase: Phase, start: int) -> Iterator[RoundRecord]:
        """The records of the remaining rounds of a phase."""
        config, is_main = self.config, phase is Phase.ROUNDS
        cadence = Cadence(
            config.run.rounds,
            config.hosting.lookahead,
            config.evaluation.every if is_main else 0,
            config.evaluation.probe_every if is_main else 0,
            config.checkpoint.every,
            config.checkpoint.seconds,
            lambda completed: self.checkpoints.aside(phase, completed),
            recorded_until=self.state.completed,
            probed=frozenset(self.state.probed),
        )
        schedule = self.plan.schedule if is_main else build_schedule(config, alone=True)
        return self.schedulers[phase].records(schedule, cadence, start, self._is_to_end)

    def _is_to_end(self) -> bool:
        """Whether the rounds in flight are the last ones: after a signal, or after an observer has raised an error."""
        return self.interrupts.stop_requested or self.observers.raised is not None

    def _save_last(self, phase: Phase, completed: int, saved: int) -> None:
        """Save a checkpoint of the peers, unless checkpoints are disabled or this round is already `saved`."""
        if self.config.checkpoint.every and completed not in (0, saved):
            outcome = self.schedulers[phase].save(self.checkpoints.aside(phase, completed), completed)
            self.checkpoints.complete(phase, completed, outcome)

    def _read_late(self, late: deque[tuple[int, Probing]], max_pending: int) -> None:
        """Record pending probes, oldest first, until at most `max_pending` are left."""
        while len(late) > max_pending:
            completed, probing = late.popleft()
            self.recorder.probed(probing.get(), completed)

    def _note_failures(self, record: RoundRecord) -> Stop | None:
        """Publish the peers that dropped out; returns the reason if the run has to stop."""
        continues = self.config.run.on_nonfinite == "drop-peer"
        dropouts = dropouts_of(record)
        for dropout in dropouts:
            if dropout.peer not in self.state.dropped:
                self.recorder.publish(PeerDropped(dropout, continues))
        if dropouts and not continues:  # also if the dropout was already published before hosts were lost
            return Stop(StopReason.NOT_FINITE, dropouts[0])
        all_dropped = len(self.state.dropped) == self.config.peers.count
        return Stop(StopReason.NO_PEER_LEFT) if all_dropped else None

    def _final_probes(self) -> None:
        if self.state.digests:
            return
        self._enter(Stage.FINAL_PROBES)
        self.recorder.probed(probe(self.pool, ProbeSubject.AS_IS).get(), self.state.completed, Condition.TRAINED)
        if self.config.evaluation.reset:
            self.recorder.probed(probe(self.pool, ProbeSubject.RESET).get(), condition=Condition.RESET)
        if self.config.evaluation.recalibrated:
            again = probe(self.pool, ProbeSubject.RECALIBRATED, calibration_rounds(self.plan))
            self.recorder.probed(again.get(), condition=Condition.RECALIBRATED)
        self.recorder.publish(Digested(ask(self.pool, lambda host: host.digest())))
