"""The schedule of a run and of its control runs: who learns from whom in each round."""

from collections.abc import Collection
from dataclasses import replace

from coordinator.experiment.config import ConfigError, RunConfig
from peers.base.seeds import stream
from peers.learning.control import Control
from topologies.combinators import (
    each_alone,
    one_student,
    one_teacher,
    self_taught,
    with_self_weight,
    without_students,
)
from topologies.schedule import Round, Schedule


def links_of(config: RunConfig) -> Schedule:
    """The schedule of the topology alone, before roles, frozen peers and self-weights change it. Raises: ValueError."""
    schedule = config.topology.build(config.peers.count, stream(config.run.seed, "topology"))
    if schedule.period is not None:
        return schedule

    def round_at(round_index: int) -> Round:
        try:
            return schedule(round_index)
        except ValueError as error:  # of a user's own function, at any time of the run
            raise ConfigError(str(error)) from error

    return replace(schedule, round_at=round_at)


def build_schedule(config: RunConfig, control: Control | None = None) -> Schedule:
    """The schedule of who learns from whom, in the run or in one of its control runs.

    A control keeps the roles, so that every peer is a student in as many rounds as in the run.
    Raises: ValueError.
    """
    seed = config.run.seed
    schedule = with_own_terms(config, links_of(config))
    if control is Control.SINGLE_TEACHER:
        return one_teacher(schedule, stream(seed, "single-teacher"))
    return schedule if control is None or control.exchanges else each_alone(schedule)


def with_own_terms(config: RunConfig, schedule: Schedule, present: Collection[int] | None = None) -> Schedule:
    """`with_roles`, where peers that nobody teaches learn their own terms, if these need nobody: from themselves.

    present: the peers that are there; None: all. Labels alone are such a term where a peer has private data; else a
    supervised run leaves peers without teachers as they are.
    """
    learns_alone = config.exchange.self_loss > 0 or (config.data.partition is not None and config.exchange.uses_labels)
    return with_roles(config, self_taught(schedule, present) if learns_alone else schedule)


def with_roles(config: RunConfig, schedule: Schedule) -> Schedule:
    """The links of a topology with self-weights, and without those peers as students that do not learn.

    Raises: ValueError.
    """
    seed, peers = config.run.seed, config.peers
    if config.topology.self_weight is not None:
        if config.topology.kind == "self":
            raise ValueError(
                f"topology.self_weight is {config.topology.self_weight:g}, but peers that teach themselves have nobody "
                "to share with: leave it out"
            )
        schedule = with_self_weight(schedule, config.topology.self_weight)
    if peers.frozen:
        schedule = without_students(schedule, frozenset(peers.frozen))
    if config.exchange.roles == "one-student":
        schedule = one_student(schedule, stream(seed, "roles"))
    return schedule
