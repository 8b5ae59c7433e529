"""The stages of a run: controls, rounds, probes, the control alone; each knows what of it is done already.

So a run that is resumed, and one that has lost hosts, both go through the stages again from the newest checkpoint.
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
from coordinator.run.controls import Controls
from coordinator.run.lost_hosts import LostHosts
from coordinator.run.signals import Interrupts
from coordinator.scheduling.dropouts import Stop, StopReason, dropouts_of
from coordinator.scheduling.probing import OUTSTANDING, Probing, observe, probe
from coordinator.scheduling.scheduler import Cadence, Phase, RoundRecord, Scheduler
from peers.probing.measuring import ProbeSubject


@dataclass(frozen=True)
class Position:
    """Where all peers stand: after so many rounds of a phase."""

    phase: Phase
    completed: int


START = Position(Phase.ROUNDS, 0)


class Simulation:
    """Calls the peers in order and hands what they say to the recorder; holds no parameters and no messages.

    schedulers: of each phase. conclude: writes what the run leaves. resumed: the peers are to be brought back to a
    checkpoint first.
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
        self._position = None if resumed else START  # None: unknown, so they are brought to a checkpoint

    def run(self) -> Result:
        with self.interrupts:
            try:
                ending = self._run_until_stopped()
            except Exception as error:  # a defect: keep the numbers, then let it be seen
                said = f"in {endings.STAGES[self._stage]}: {type(error).__name__}: {error}"
                self._end(Ending(Status.STOPPED, said))
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
            said = endings.out_of_memory(self.plan, error)
            return self._ending(Status.STOPPED, said, self._where(), self._last_good())

    def _survive(self) -> Ending:
        """All stages; where hosts are lost they are started anew. Raises: HostLost, when that has been enough."""
        losses = LostHosts(self.pool, self.recorder, self.config.hosting.max_failures)
        while True:
            try:
                losses.revive()
                return self._stages()
            except HostLost as error:
                if self.interrupts.asked:
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
        if self.config.evaluation.alone:
            self._alone()
        self.recorder.recovered()
        return Ending(Status.FINISHED)

    # ---- what to say at an early end ----

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
        """Have the peers where they can go on with a phase; returns the rounds of it that they have completed."""
        if self._position is None or self._position.phase is not phase:
            self._position = Position(phase, self.checkpoints.restore(phase))
        return self._position.completed

    def _untrained(self) -> None:
        if self._position != START:
            self.pool.get([host.restart() for host in self.pool.hosts])
            self._position = START

    def _probe_controls(self) -> None:
        """Evaluators probe the controls while the rounds run; without any it is done before them."""
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
            # a control may have taken the peers to their start, but there is a checkpoint to go on from
            self._position = None

    def _rounds(self) -> Stop | None:
        """Run all rounds that are left; returns why they stopped early, if they did. Raises: KeyboardInterrupt."""
        if self.state.digests:
            return None  # what comes after them is done, too
        self._stage, stop = Stage.ROUNDS, None
        start = completed = self._bring(Phase.ROUNDS)
        self._enter(Stage.ROUNDS)
        late = deque[tuple[int, Probing]]()  # evaluators lag behind
        self._position = None  # until the rounds have ended
        since = time.perf_counter()
        self.interrupts.gentle = self.config.checkpoint.every > 0
        try:
            for record in self._records(Phase.ROUNDS, start):
                completed, before, since = record.completed, since, time.perf_counter()
                self.recorder.round(record, since - before)
                if record.probes is not None:
                    late.append((completed, record.probes))
                # a checkpoint vouches for all that came before it
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
        if self.interrupts.asked:
            raise KeyboardInterrupt
        if self.state.failed_alone:  # a control of fewer or half-trained peers would be no control
            self.recorder.publish(ControlVoid(tuple(sorted(self.state.failed_alone))))
        else:
            self.recorder.probed(probe(self.pool, ProbeSubject.AS_IS).get(), condition=Condition.ALONE)

    def _records(self, phase: Phase, start: int) -> Iterator[RoundRecord]:
        """The rounds of a phase that are left."""
        config, own = self.config, phase is Phase.ROUNDS
        cadence = Cadence(
            config.run.rounds,
            config.hosting.lookahead,
            config.evaluation.every if own else 0,
            config.evaluation.probe_every if own else 0,
            config.checkpoint.every,
            config.checkpoint.seconds,
            lambda completed: self.checkpoints.aside(phase, completed),
            recorded_until=self.state.completed,
            probed=frozenset(self.state.probed),
        )
        schedule = self.plan.schedule if own else build_schedule(config, alone=True)
        return self.schedulers[phase].records(schedule, cadence, start, self._is_to_end)

    def _is_to_end(self) -> bool:
        """Whether the rounds in flight are to be the last: after a signal, or when an observer has raised."""
        return self.interrupts.asked or self.observers.raised is not None

    def _save_last(self, phase: Phase, completed: int, saved: int) -> None:
        """A checkpoint of where the peers stand, unless one was `saved` there, or none are wanted."""
        if self.config.checkpoint.every and completed not in (0, saved):
            outcome = self.schedulers[phase].save(self.checkpoints.aside(phase, completed), completed)
            self.checkpoints.complete(phase, completed, outcome)

    def _read_late(self, late: deque[tuple[int, Probing]], most: int) -> None:
        """Read probes until at most so many are on their way."""
        while len(late) > most:
            completed, asked = late.popleft()
            self.recorder.probed(asked.get(), completed)

    def _note_failures(self, record: RoundRecord) -> Stop | None:
        """Remember the peers that dropped out; returns why the run is to stop, if it is."""
        goes_on = self.config.run.on_nonfinite == "drop-peer"
        found = dropouts_of(record)
        for each in found:
            if each.peer not in self.state.dropped:
                self.recorder.publish(PeerDropped(each, goes_on))
        if found and not goes_on:  # also when hosts were lost on the way to it
            return Stop(StopReason.NOT_FINITE, found[0])
        everybody = len(self.state.dropped) == self.config.peers.count
        return Stop(StopReason.NO_PEER_LEFT) if everybody else None

    def _final_probes(self) -> None:
        if self.state.digests:
            return
        self._enter(Stage.FINAL_PROBES)
        self.recorder.probed(probe(self.pool, ProbeSubject.AS_IS).get(), self.state.completed, Condition.TRAINED)
        if self.config.evaluation.reset:
            self.recorder.probed(probe(self.pool, ProbeSubject.RESET).get(), condition=Condition.RESET)
        self.recorder.publish(Digested(ask(self.pool, lambda host: host.digest())))
