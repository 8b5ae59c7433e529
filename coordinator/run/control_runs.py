"""The control runs: the same peers trained once more with one thing changed, beside the run or after it."""

from collections.abc import Callable, Generator, Iterator, Sequence

from coordinator.checkpoints.manager import CheckpointManager
from coordinator.measures.gains import Condition
from coordinator.planning.plan import Plan
from coordinator.pools.base import Pool
from coordinator.records.events import ControlVoid, WeightsMeasured
from coordinator.records.recorder import Recorder
from coordinator.run.controls import probed_as
from coordinator.run.peer_group import PeerGroup
from coordinator.scheduling.probing import observe, probe
from coordinator.scheduling.scheduler import Phase
from peers.learning.control import Control

Norms = Callable[[int, int], float | None]


class ControlRuns:
    """Trains and probes the controls that have not been recorded yet.

    beside: groups of peers on pools of their own, for control runs that go on while the run does. stop: whether the
    rounds in flight are the last ones. norms: the run's gradient norms by index of the round and peer, once it is done.
    """

    def __init__(
        self,
        plan: Plan,
        beside: Sequence[PeerGroup],
        recorder: Recorder,
        checkpoints: CheckpointManager,
        stop: Callable[[], bool],
        norms: Callable[[], Norms],
    ) -> None:
        self._plan, self._beside = plan, list(beside)
        self._recorder, self._checkpoints, self._stop, self._norms = recorder, checkpoints, stop, norms
        self._active: dict[Control, tuple[PeerGroup, Iterator[None]]] = {}

    @property
    def missing(self) -> list[Control]:
        """The controls without a result, in the order of the config."""
        return [control for control in self._plan.config.evaluation.controls if not self._is_done(control)]

    def step(self) -> None:
        """Advance the control runs beside the run by a round each."""
        if self._beside:
            # the norms of the run are known only afterwards
            self._start(self._beside, [control for control in self.missing if control is not Control.ALONE_MATCHED])
            self._advance()

    def finish(self, group: PeerGroup) -> None:
        """Run all that is left, also on the group of the run itself; the rounds end early if `stop` says so."""
        while not self._stop() and (self._active or self.missing):
            self._start([group, *self._beside], self.missing)
            self._advance()
        self.drain()

    def drain(self) -> None:
        """End the rounds in flight, once `stop` is true, and save them."""
        while self._active:
            self._advance()

    def give_up(self) -> list[Pool]:
        """Give up the control runs under way, after a loss of hosts; they go on later from their last checkpoints.

        Returns the pools beside the run, to be closed: what is left of a cluster may be too small for them.
        """
        pools, self._active, self._beside = [group.pool for group in self._beside], {}, []
        return pools

    def _num_rounds(self) -> int:
        """As many as the run has, which may end early while its control runs go on beside it."""
        return self._recorder.state.last_round(self._plan.config.run.rounds)

    def _is_done(self, control: Control) -> bool:
        training = self._recorder.state.training(Phase(control.value))
        if training.completed < self._num_rounds():
            return False
        measured = bool(training.weight_change) and self._recorder.probes.has(Condition.of(control))
        return measured or bool(training.failed)

    def _start(self, groups: Sequence[PeerGroup], controls: Sequence[Control]) -> None:
        """Give every group that is free one of the controls that are not under way."""
        busy = [group for group, _ in self._active.values()]
        free = [group for group in groups if group not in busy]
        waiting = [control for control in controls if control not in self._active]
        for group, control in zip(free, waiting, strict=False):
            self._active[control] = (group, self._train(control, group))

    def _advance(self) -> None:
        for control, (_, training) in list(self._active.items()):
            if next(training, self) is self:
                del self._active[control]

    def _rounds(self, phase: Phase, group: PeerGroup, norms: Norms | None) -> Generator[None, None, int]:
        """Run the remaining rounds of a control, and save it where none was planned; returns how many rounds it has."""
        while True:
            start = completed = saved = group.bring(phase)
            beyond = False  # whether rounds were in flight when the run ended before them: the peers then go back
            for record in group.records(phase, start, self._recorder.state, self._stop, norms):
                beyond = record.completed > self._num_rounds()
                if beyond:
                    continue
                completed = record.completed
                self._recorder.control_round(phase, record)
                if record.saved:
                    self._checkpoints.complete(phase, completed, record.saved)
                    saved = completed
                yield
            if not beyond:
                if completed < self._plan.config.run.rounds:
                    group.save_last(phase, completed, saved)
                return completed
            group.position = None

    def _train(self, control: Control, group: PeerGroup) -> Iterator[None]:
        """Run the remaining rounds of a control, yielding after each, then probe its peers."""
        phase, recorder = Phase(control.value), self._recorder
        completed = yield from self._rounds(phase, group, self._norms() if control is Control.ALONE_MATCHED else None)
        if completed < self._num_rounds():
            return
        failed = recorder.state.training(phase).failed
        if failed:  # fewer or half-trained peers are no valid control
            recorder.publish(ControlVoid(phase, tuple(sorted(failed))))
            return
        observed = observe(group.pool).get().peers
        changes = {peer: seen.weight_change for peer, seen in observed.items()}
        recorder.publish(WeightsMeasured(phase, changes))
        probing = probe(group.pool, *probed_as(self._plan, recorder.state), peers=recorder.probes.peers)
        recorder.probed(probing.get(), condition=Condition.of(control))
