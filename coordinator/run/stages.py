"""The stages of a run: controls, rounds, probes, the control alone; each knows what of it is done already.

So a run that is resumed, and one that has lost hosts, both go through the stages again from the newest checkpoint.
"""

import time
from collections import deque
from contextlib import suppress

import torch

from coordinator.checkpoints.manager import Keeper
from coordinator.checkpoints.snapshots import Phase
from coordinator.experiment.plan import build_schedule
from coordinator.measures.probe_table import Condition
from coordinator.pools.base import HostLost, ask, in_order, submit_observations
from coordinator.records.observer import Guarded, MonitorRaised
from coordinator.records.result import Result, Status
from coordinator.records.summary import flatten, shown_config
from coordinator.run.finish import conclude, out_of_memory
from coordinator.run.signals import Interrupts
from coordinator.scheduling import dropouts
from coordinator.scheduling.assignments import last_rounds
from coordinator.scheduling.probing import OUTSTANDING, Probing, probe
from coordinator.scheduling.synchronous import Cadence, RoundLoop, RoundRecord
from peers.probing.measuring import ProbeOutcome
from topologies.schedule import Schedule

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0  # seconds before lost hosts are started anew, doubled each time


class Simulation:
    """Calls the peers in order and hands what they say to the recorder; holds no parameters and no messages.

    resumed: the peers are to be brought back to a checkpoint first.
    """

    def __init__(self, keeper: Keeper, monitor: Guarded, interrupts: Interrupts, resumed: bool = False) -> None:
        self.keeper, self.monitor, self.interrupts = keeper, monitor, interrupts
        self.plan, self.config, self.pool = keeper.plan, keeper.config, keeper.pool
        self.recorder, self.probes = keeper.recorder, keeper.probes
        self._peers = range(self.config.peers.count)
        self._stage = "the start"
        self._asked: dict[Condition, Probing] = {}  # controls on their way
        self._at: tuple[Phase, int] | None = None if resumed else ("round", 0)  # where the peers are, if that is known

    def run(self) -> Result:
        with self.interrupts:
            try:
                status, message = self._run_until_stopped()
            except Exception as error:  # a defect: keep the numbers, then let it be seen
                self._end("stopped", f"in {self._stage}: {type(error).__name__}: {error}")
                raise
            return self._end(status, message)

    def _end(self, status: Status, message: str) -> Result:
        self.pool.concluding()
        return conclude(self.plan, self.recorder, self.probes, status, message)

    def _run_until_stopped(self) -> tuple[Status, str]:
        try:
            self.recorder.tracker.log_params(flatten(shown_config(self.config)))
            return self._survive()
        except KeyboardInterrupt:
            with suppress(HostLost):
                self._read_controls(patient=False)
            return "interrupted", f"{self._where()}{self.keeper.way_on()}"
        except MonitorRaised as error:
            return "stopped", f"{error}; {self._where()}{self.keeper.way_on()}"
        except HostLost as error:
            return "stopped", f"{error}; {self._where()}; {self.keeper.last()}{self.keeper.way_on()}"
        except torch.OutOfMemoryError as error:
            return "stopped", f"{out_of_memory(self.plan, error)}; {self._where()}; {self.keeper.last()}"

    def _survive(self) -> tuple[Status, str]:
        """All stages; where hosts are lost they are started anew. Raises: HostLost, when that has been enough."""
        failures, lost = 0, False
        while True:
            try:
                if lost:
                    time.sleep(min(FIRST_PAUSE * 2 ** (failures - 1), LONGEST_PAUSE))
                    self.pool.revive()
                    lost = False
                return self._stages()
            except HostLost as error:
                if self.interrupts.asked:
                    raise KeyboardInterrupt from None
                most = self.config.hosting.max_failures
                failures, lost = failures + (not error.again), True
                if error.final:
                    raise
                if failures > most:
                    raise HostLost(f"{error}; hosting.max_failures is {most}") from None
                self._at, self._asked = None, {}
                if error.again:
                    self.recorder.monitor.phase(f"{error}; part of the same loss")
                else:
                    self.recorder.fault(f"{error}; started anew, {failures} of at most {most} times")

    def _stages(self) -> tuple[Status, str]:
        self._controls()
        self.monitor.check()
        message = self._rounds()
        self._read_controls()
        if message:
            return "stopped", message
        self.monitor.check()
        self._final_probes()
        self.monitor.check()
        if self.config.evaluation.alone:
            self._alone()
        self.recorder.made_good()
        return "finished", ""

    # ---- what to say ----

    def _where(self) -> str:
        return f"in {self._stage}, with round {self.recorder.totals.completed} of {self.config.run.rounds} completed"

    def _enter(self, stage: str, shown: str = "") -> None:
        self._stage = stage
        self.recorder.monitor.phase(shown or stage)

    # ---- stages ----

    def _timed(self, outcomes: list[ProbeOutcome]) -> list[ProbeOutcome]:
        self.recorder.totals.evaluation_seconds += sum(each.seconds for each in outcomes)
        return outcomes

    def _bring(self, phase: Phase) -> int:
        """Have the peers where they can go on with a phase; returns the rounds of it that they have completed."""
        if self._at is None or self._at[0] != phase:
            completed = self.keeper.bring_back(phase)
            if completed:
                self.recorder.monitor.phase(f"from the checkpoint of round {completed}")
            self._at = (phase, completed)
        return self._at[1]

    def _untrained(self) -> None:
        if self._at != ("round", 0):
            ask(self.pool, "restart")
            self._at = ("round", 0)

    def _controls(self) -> None:
        """Raw pixels, untrained, untrained and calibrated; evaluators do it while the rounds run, else before them."""
        conditions: tuple[Condition, ...] = ("raw_pixels", "untrained", "calibrated")
        missing = [each for each in conditions if not self.probes.has(each)]
        if missing:
            self._enter("the controls", "probing the controls: raw pixels, untrained, calibrated")
            if not self.pool.evaluators:
                self._untrained()
            self._asked = {condition: self._control(condition) for condition in missing}
            if not self.pool.evaluators:
                self._read_controls()
        if self.recorder.totals.first is None:
            self._untrained()
            seen = in_order(self.pool, self.pool.get(submit_observations(self.pool)))
            self.recorder.start(seen, self.plan.schedule(0))
        if self.recorder.totals.completed:
            # a control may have taken the peers to their start, but there is a checkpoint to go on from
            self._at = None

    def _control(self, condition: Condition) -> Probing:
        if condition == "raw_pixels":
            return probe(self.pool, "pixels", untrained=True, peers=(0,))
        if condition == "untrained":
            return probe(self.pool, "as-is", untrained=True)
        rounds = last_rounds(self.plan.schedule, self.config.run.rounds, self.config.evaluation.calibration_passes)
        return probe(self.pool, "calibrated", dict(enumerate(rounds)), untrained=True)

    def _read_controls(self, patient: bool = True) -> None:
        """Take the controls that were asked for; without patience only those that are there."""
        for name, asked in list(self._asked.items()):
            if patient or asked.done():
                outcomes = self._timed(asked.get())
                self.probes.add(name, outcomes * len(self._peers) if name == "raw_pixels" else outcomes)
                del self._asked[name]

    def _rounds(self) -> str:
        """Run all rounds that are left; returns why it stopped early, if it did. Raises: KeyboardInterrupt."""
        if self.recorder.totals.digests:
            return ""  # what comes after them is done, too
        self._stage = "the rounds"
        loop, message = self._loop("round", self.plan.schedule), ""
        totals, late = self.recorder.totals, deque[tuple[int, Probing]]()  # evaluators lag behind
        self.recorder.monitor.begin(self.config.run.rounds, "rounds")
        start, before, busy = time.perf_counter(), totals.seconds, totals.peer_seconds
        self.interrupts.gentle = self.keeper.every > 0
        completed = loop.start
        try:
            for record in loop:
                completed = record.completed
                self.recorder.round(record)
                if record.probes is not None:
                    late.append((completed, record.probes))
                # a checkpoint vouches for all that came before it
                self._read_late(late, OUTSTANDING if self.pool.evaluators and not record.saved else 0)
                totals.seconds, totals.peer_seconds = before + time.perf_counter() - start, busy + loop.peer_seconds
                message = self._note_failures(record)
                if message:
                    break
                if record.saved:
                    self.keeper.keep("round", completed, record.saved)
            self._read_late(late, 0)
            self._at = ("round", completed)
            if self._is_to_end() and not message:
                if self.keeper.every and completed not in (0, totals.last_checkpoint):
                    self.keeper.keep("round", completed, loop.save(completed))
                self.monitor.check()
                raise KeyboardInterrupt
        finally:
            self.interrupts.gentle = False
            self.recorder.monitor.end()
        return message

    def _loop(self, phase: Phase, schedule: Schedule) -> RoundLoop:
        """The rounds of a phase from where the peers can go on."""
        config, totals, start = self.config, self.recorder.totals, self._bring(phase)
        self._at = None  # until the rounds have ended
        own = phase == "round"
        cadence = Cadence(
            config.run.rounds,
            config.hosting.lookahead,
            config.evaluation.every if own else 0,
            config.evaluation.probe_every if own else 0,
            self.keeper.every,
            self.keeper.seconds,
            lambda completed: self.keeper.checkpoints.aside(phase, completed),
            known=totals.completed,
            probed=frozenset(totals.probed),
        )
        shared_sum = own and config.exchange.delivery == "shared-sum"
        return RoundLoop(self.pool, schedule, cadence, shared_sum, start, self._is_to_end)

    def _is_to_end(self) -> bool:
        """Whether the rounds in flight are to be the last: after a signal, or when the monitor has raised."""
        return self.interrupts.asked or self.monitor.raised is not None

    def _read_late(self, late: deque[tuple[int, Probing]], most: int) -> None:
        """Read probes until at most so many are on their way."""
        while len(late) > most:
            completed, asked = late.popleft()
            self.recorder.probes(completed, asked.get())

    def _note_failures(self, record: RoundRecord) -> str:
        """Remember the peers that dropped out; returns the line to stop with, if the run is to stop."""
        totals = self.recorder.totals
        for each in dropouts.note(record, totals.dropped):
            if self.config.run.on_nonfinite == "stop":  # also when hosts were lost on the way to it
                advice = "lower peers.optimizer.lr, check the temperatures, or set run.on_nonfinite = 'drop-peer'"
                return f"{each}; {self.keeper.last()}; {advice}"
            if not each.known:
                self.recorder.monitor.phase(f"{each}; the others go on without it")
        return "every peer has dropped out" if len(totals.dropped) == len(self._peers) else ""

    def _final_probes(self) -> None:
        totals = self.recorder.totals
        if totals.digests:
            return
        self._enter("the final probes", "probing the trained peers")
        outcomes = probe(self.pool, "as-is").get()
        self.probes.add("trained", outcomes)
        self.recorder.probes(totals.completed, outcomes)
        if self.config.evaluation.reset:
            self.probes.add("reset", self._timed(probe(self.pool, "reset").get()))
        totals.digests = ask(self.pool, "digest")

    def _alone(self) -> None:
        """The fourth control: the same peers in the same rounds, but every student is its own teacher."""
        self._stage = "the control alone"
        monitor, totals = self.recorder.monitor, self.recorder.totals
        loop = self._loop("alone", build_schedule(self.config, alone=True))
        monitor.begin(self.config.run.rounds, "alone")
        self.interrupts.gentle, completed, saved = self.keeper.every > 0, loop.start, loop.start
        try:
            for record in loop:
                completed = record.completed
                monitor.round({"round": record.completed})
                totals.failed_alone |= {peer for peer, each in record.stats.items() if each.failure}
                if record.saved:
                    self.keeper.keep("alone", completed, record.saved)
                    saved = completed
            if self._is_to_end() and self.keeper.every and completed != saved:
                self.keeper.keep("alone", completed, loop.save(completed))
        finally:
            self.interrupts.gentle = False
            monitor.end()
        self.monitor.check()
        if self.interrupts.asked:
            raise KeyboardInterrupt
        if totals.failed_alone:  # a control of fewer or half-trained peers would be no control
            peers = ", ".join(map(str, sorted(totals.failed_alone)))
            monitor.phase(f"values that are not finite in peer {peers} alone: no verdict on the exchange")
        else:
            self.probes.add("alone", self._timed(probe(self.pool, "as-is").get()))
