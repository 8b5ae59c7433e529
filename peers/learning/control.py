"""The control runs: the experiment's own training with one thing changed."""

from enum import StrEnum


class Control(StrEnum):
    """What a control run changes; peers, rounds, batches, steps and optimiser stay those of the run."""

    ALONE = "alone"  # every student is its own only teacher
    STRANGER = "stranger"  # teachers' messages come from random networks that nobody trains
    SHUFFLED = "shuffled"  # teachers' messages are permuted over the samples of the batch
    SUPERVISED = "supervised"  # labels instead of teachers
    ALONE_MATCHED = "alone-matched"  # as alone, with each gradient scaled to the norm that it has in the run
    SINGLE_TEACHER = "single-teacher"  # one of the student's teachers in each round, instead of their average
