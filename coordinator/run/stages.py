"""The stages of a run: controls, rounds, final probes, control runs. Each stage skips its completed part.

A run that is resumed or has lost hosts therefore goes through all stages again, from the newest checkpoint.
"""

import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace

import torch

from coordinator.checkpoints.manager import CheckpointManager
from coordinator.experiment.config import ConfigError
from coordinator.measures.gains import Condition
from coordinator.planning.plan import Plan
from coordinator.pools.base import HostLost, ask
from coordinator.records.events import Digested, Note, PeerDropped, RunStarted, Stage, StageEntered, StageLeft
from coordinator.records.files.result import Ending, Result, Status
from coordinator.records.files.tables import Tables, thinned
from coordinator.records.observer import ObserverRaised, Observers
from coordinator.records.recorder import Recorder
from coordinator.reports import endings
from coordinator.reports.wording import probed_in_words
from coordinator.run.control_runs import ControlRuns
from coordinator.run.controls import Controls, calibration_rounds, probed_as
from coordinator.run.early_end import EarlyEnd
from coordinator.run.lost_hosts import LostHosts
from coordinator.run.peer_group import PeerGroup
from coordinator.run.signals import Interrupts
from coordinator.scheduling.dropouts import Stop, StopReason, dropouts_of
from coordinator.scheduling.probing import OUTSTANDING, Probing, observe, probe
from coordinator.scheduling.scheduler import Phase, RoundRecord
from peers.base.brought_errors import BroughtError
from peers.hosting.origin import Origin
from peers.probing.measuring import ProbeSubject


class Simulation:
    """Runs the stages in order and passes their results to the recorder; it holds no parameters and no messages.

    group: the run's peers; its position is None if they have to be restored from a checkpoint first. beside: groups for
    control runs that go on beside the run. conclude: writes the results of the run.
    """

    def __init__(
        self,
        plan: Plan,
        group: PeerGroup,
        beside: Sequence[PeerGroup],
        recorder: Recorder,
        checkpoints: CheckpointManager,
        observers: Observers,
        interrupts: Interrupts,
        tables: Tables,
        conclude: Callable[[Plan, Ending], Result],
    ) -> None:
        self.plan, self.config, self.group, self.pool = plan, plan.config, group, group.pool
        self.pools = [group.pool, *(other.pool for other in beside)]
        self.recorder, self.state, self.checkpoints = recorder, recorder.state, checkpoints
        self.observers, self.interrupts = observers, interrupts
        self.conclude, self.folder = conclude, tables.folder.path
        self.controls = Controls(plan, self.pool, recorder)
        self.early_end = EarlyEnd(plan, recorder, observers, self.controls, checkpoints)
        self.control_runs = ControlRuns(plan, beside, recorder, checkpoints, self._is_stopped, tables.gradient_norms)
        self._stage = Stage.START

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
        for pool in self.pools:
            pool.concluding()
        return self.conclude(self.plan, ending)

    def _run_until_stopped(self) -> Ending:
        try:
            workers = sum((Counter(pool.workers) for pool in self.pools), Counter[Origin]())
            self.recorder.publish(RunStarted(self.config, self.folder, workers))
            self._tell_of_samples()
            return self._survive()
        except KeyboardInterrupt:
            with suppress(HostLost):
                self.controls.read(patient=False)
            return self._ending(Status.INTERRUPTED, self._where(), self._resumed_by())
        except ObserverRaised as error:
            return self._ending(Status.STOPPED, str(error), self._where(), self._resumed_by())
        except HostLost as error:
            return self._ending(Status.STOPPED, str(error), self._where(), self._last_good(), self._resumed_by())
        except (BroughtError, ConfigError) as error:  # what the user has brought, such as a function of the round
            first, *rest = str(error).split("\n")
            ending = self._ending(Status.STOPPED, first, self._where(), self._last_good(), self._resumed_by())
            return replace(ending, message="\n".join([ending.message, *rest]))
        except torch.OutOfMemoryError as error:
            message = endings.out_of_memory(self.plan, error)
            return self._ending(Status.STOPPED, message, self._where(), self._last_good())

    def _tell_of_samples(self) -> None:
        """Say what is told of some of many peers, or in some rounds only."""
        probed, of = self.recorder.probes.peers, self.config.peers.count
        of_probes = "" if probed is None else probed_in_words(len(probed), of)
        for text in filter(None, (of_probes, thinned(self.config))):
            self.recorder.publish(Note(text))

    def _survive(self) -> Ending:
        """Run all stages, restarting lost hosts. Raises: HostLost, after too many losses."""
        losses = LostHosts(self.pools, self.recorder, self.config.hosting.max_failures)
        while True:
            try:
                losses.revive()
                return self._stages()
            except HostLost as error:
                if self.interrupts.stop_requested:
                    raise KeyboardInterrupt from None
                losses.note(error)
                self.group.position = None
                self.controls.forget()
                for pool in self.control_runs.give_up():
                    self.pools.remove(pool)
                    pool.close()

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
        self._probe_controls()  # those that an early end has made void
        self.controls.read()
        self._control_runs()
        self.recorder.recovered()
        return Ending(Status.FINISHED, endings.ended_early(self.state, self.config.run.rounds))

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
        rounds = self.state.last_round(self.config.run.rounds)
        run = self.config.run.model_copy(update={"rounds": rounds})
        self.recorder.publish(StageEntered(stage, self.config.model_copy(update={"run": run})))

    def _probe_controls(self) -> None:
        """Probe the controls: on evaluators while the rounds run, or, without evaluators, before the first round."""
        if self.controls.missing():
            self._enter(Stage.CONTROLS)
            if not self.pool.evaluators:
                self.group.untrained()
            self.controls.ask()
            if not self.pool.evaluators:
                self.controls.read()
        if self.state.first is None:
            self.group.untrained()
            observations = observe(self.pool, self.observers.want_outputs(0)).get()
            self.recorder.measured(0, observations, self.plan.schedule(0))
        if self.state.completed:
            # the controls may have reset the peers, so restore them from the checkpoint
            self.group.position = None

    def _rounds(self) -> Stop | None:
        """Run the remaining rounds; returns the reason if they stop early. Raises: KeyboardInterrupt."""
        if self.state.digests:
            return None  # the final probes are done, and so are all rounds
        self._stage, stop = Stage.ROUNDS, None
        start = completed = self.group.bring(Phase.ROUNDS)
        self.early_end.begin(start)
        self._enter(Stage.ROUNDS)
        late = deque[tuple[int, Probing]]()  # (round, probes) whose results have not been read: evaluators lag behind
        since = time.perf_counter()
        self.interrupts.gentle = self.config.checkpoint.every > 0
        try:
            for record in self.group.records(Phase.ROUNDS, start, self.state, self._is_to_end):
                completed, previous, since = record.completed, since, time.perf_counter()
                stop = self._record(record, late, since - previous)
                if stop is not None:
                    break
                self.early_end.after(record)
                if record.saved:
                    self.checkpoints.complete(Phase.ROUNDS, completed, record.saved)
                self.control_runs.step()
            self._read_late(late, 0)
            if stop is None:
                stop = self._conclude_rounds(completed)
            if self._is_stopped() and stop is None:
                self.control_runs.drain()
                self.observers.check()
                raise KeyboardInterrupt
        finally:
            self.interrupts.gentle = False
            self.recorder.publish(StageLeft(Stage.ROUNDS))
        return stop

    def _record(self, record: RoundRecord, late: deque[tuple[int, Probing]], seconds: float) -> Stop | None:
        """Record a round and what is known of late probes; returns the reason if the run has to stop."""
        completed = record.completed
        self.recorder.round(record, seconds)
        if record.probes is not None:
            late.append((completed, record.probes))
        self.early_end.prepare(completed)
        # everything up to a checkpoint, or on which the end of the run depends, must be recorded before it goes on
        at_once = record.saved or not self.pool.evaluators or self.group.holds(completed)
        self._read_late(late, 0 if at_once else OUTSTANDING)
        return self._note_failures(record)

    def _conclude_rounds(self, completed: int) -> Stop | None:
        """After the last round: end the run early if it is to, and save the peers if this round was not planned so."""
        last = self.early_end.conclude(self.pool)
        stop = self._note_failures(last) if last is not None else None
        if stop is None and (self._is_stopped() or self.state.ended is not None):
            self.group.save_last(Phase.ROUNDS, completed, saved=self.state.last_checkpoint)
        return stop

    def _control_runs(self) -> None:
        """Run the control runs that are left, each on the pool of the run or beside it."""
        if not self.control_runs.missing:
            return
        self._enter(Stage.CONTROL_RUNS)
        self.interrupts.gentle = self.config.checkpoint.every > 0
        try:
            self.control_runs.finish(self.group)
        finally:
            self.interrupts.gentle = False
            self.recorder.publish(StageLeft(Stage.CONTROL_RUNS))
        self.observers.check()
        if self.interrupts.stop_requested:
            raise KeyboardInterrupt

    def _is_stopped(self) -> bool:
        """Whether the rounds in flight are the last for now: after a signal, or an observer's error."""
        return self.interrupts.stop_requested or self.observers.raised is not None

    def _is_to_end(self) -> bool:
        """Whether the rounds in flight are the last ones, also because an observer ends the run."""
        return self._is_stopped() or self.early_end.is_asked

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
        peers, evaluation = self.recorder.probes.probed(range(self.config.peers.count)), self.config.evaluation
        tell = self.recorder.counting(len(peers) * (1 + evaluation.reset + evaluation.recalibrated))
        trained = probe(self.pool, *probed_as(self.plan, self.state), peers=peers, tell=tell)
        self.recorder.probed(trained.get(), self.state.completed, Condition.TRAINED)
        if evaluation.reset:
            reset = probe(self.pool, ProbeSubject.RESET, peers=peers, tell=tell)
            self.recorder.probed(reset.get(), condition=Condition.RESET)
        if evaluation.recalibrated:
            rounds = calibration_rounds(self.plan, self.state)
            again = probe(self.pool, ProbeSubject.RECALIBRATED, rounds, peers=peers, tell=tell)
            self.recorder.probed(again.get(), condition=Condition.RECALIBRATED)
        self.recorder.publish(Digested(ask(self.pool, lambda host: host.digest())))
