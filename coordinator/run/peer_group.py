"""The peers on one pool: which training they are in, and how they are brought into another one."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from coordinator.checkpoints.manager import CheckpointManager
from coordinator.planning.network import trace_of_control
from coordinator.planning.plan import Plan, settings_of
from coordinator.planning.schedules import build_schedule
from coordinator.pools.base import Pool
from coordinator.records.run_state import RunState
from coordinator.run.controls import probed_as
from coordinator.scheduling.choice import scheduler_of
from coordinator.scheduling.scheduler import Cadence, Phase, RoundRecord, Scheduler

MakeScheduler = Callable[[Pool, Phase], Scheduler]


@dataclass(frozen=True)
class Position:
    """The state that all peers are in: after `completed` rounds of a phase."""

    phase: Phase
    completed: int


START = Position(Phase.ROUNDS, 0)


class PeerGroup:
    """The peers of the run, or of a control run that goes on beside it, on a pool of their own.

    scheduler: makes the scheduler of a phase. position: None if it is unknown, so that the peers have to be restored.
    holds: rounds after which the run may end early, so that no further one is submitted before that is known. keeps:
    rounds after which the features and outputs of the run's peers are wanted. probed: the peers that are probed in the
    rounds; None: all.
    """

    def __init__(
        self,
        plan: Plan,
        pool: Pool,
        scheduler: MakeScheduler,
        checkpoints: CheckpointManager,
        position: Position | None = None,
        holds: Callable[[int], bool] = lambda completed: False,
        keeps: Callable[[int], bool] = lambda completed: False,
        probed: Sequence[int] | None = None,
    ) -> None:
        self.pool, self.position = pool, position
        self.holds, self._keeps, self._probed = holds, keeps, probed
        self._plan, self._scheduler, self._checkpoints = plan, scheduler, checkpoints

    def bring(self, phase: Phase) -> int:
        """Bring the peers to a state of `phase`; returns the number of its rounds that they have completed."""
        if self.position is None or self.position.phase is not phase:
            settings = settings_of(self._plan, phase.control)
            self.position = Position(phase, self._checkpoints.restore(phase, self.pool, settings))
        return self.position.completed

    def untrained(self) -> None:
        """Bring the peers to the state before the first round."""
        if self.position != START:
            self.pool.restart(settings_of(self._plan))
            self.position = START

    def records(
        self,
        phase: Phase,
        start: int,
        state: RunState,
        stop: Callable[[], bool],
        gradient_norm: Callable[[int, int], float | None] | None = None,
    ) -> Iterator[RoundRecord]:
        """The records of the remaining rounds of a phase; the peers' position is unknown until the last one is read."""
        config, is_run = self._plan.config, phase is Phase.ROUNDS
        cadence = Cadence(
            state.last_round(config.run.rounds),
            config.hosting.lookahead,
            config.evaluation.every if is_run else 0,
            config.evaluation.probe_every if is_run else 0,
            config.checkpoint.every,
            config.checkpoint.seconds,
            lambda completed: self._checkpoints.aside(phase, completed),
            recorded_until=state.training(phase).completed,
            probed=frozenset(state.probed),
            gradient_norm=gradient_norm,
            holds=self.holds,
            limit=lambda: state.last_round(config.run.rounds),
            keeps=self._keeps,
            probed_as=lambda: probed_as(self._plan, state),
            probed_peers=self._probed,
        )
        schedule = self._plan.schedule if is_run else build_schedule(config, phase.control)
        self.position, completed = None, start
        for record in self._scheduler(self.pool, phase).records(schedule, cadence, start, stop):
            completed = record.completed
            yield record
        self.position = Position(phase, completed)

    def save_last(self, phase: Phase, completed: int, saved: int) -> None:
        """Save a checkpoint of the peers, unless checkpoints are disabled or this round is already `saved`."""
        if self._plan.config.checkpoint.every and completed not in (0, saved):
            outcome = self._scheduler(self.pool, phase).save(self._checkpoints.aside(phase, completed), completed)
            self._checkpoints.complete(phase, completed, outcome)


def schedulers_of(plan: Plan) -> MakeScheduler:
    """Makes the scheduler of a phase: of the run, or of a control run, in the same simulated network."""
    config = plan.config
    in_rounds = config.network is None or config.network.clock != "gossip"

    def scheduler(pool: Pool, phase: Phase) -> Scheduler:
        exchanges = phase.control is None or phase.control.exchanges
        shared_sum = exchanges and config.exchange.delivery == "shared-sum"
        trace = trace_of_control(plan.trace, phase.control, config.run.seed)
        return scheduler_of(pool, trace, shared_sum, config.peers.frozen, in_rounds)

    return scheduler
