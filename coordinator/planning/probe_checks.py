"""Checks of the probes' settings against the data and the schedule, when a run is planned."""

import warnings
from collections.abc import Iterable

from torch import nn

from coordinator.experiment.config import ConfigError, RunConfig
from peers.probing.config import ProbeConfig
from peers.probing.probes import SELECTION_FOLDS, has_batchnorm
from topologies.participation import last_rounds
from topologies.schedule import Schedule

SETTLED_PASSES = 50  # BatchNorm's usual momentum leaves 0.9^50 = 0.5% of the initial buffers


def check_probes(evaluation: ProbeConfig, num_train: int) -> None:
    """Refuse settings with which a probe would fail in the middle of the run. Raises: ConfigError."""
    seen = min(evaluation.probe_train, num_train)
    if "knn" in evaluation.probes and evaluation.knn.k > seen:
        raise ConfigError(
            f"evaluation.knn.k must be at most the {seen} training examples that are probed, got {evaluation.knn.k}: "
            "lower it"
        )
    if "linear" in evaluation.probes and seen < SELECTION_FOLDS:
        raise ConfigError(
            f"evaluation.probes: linear needs at least {SELECTION_FOLDS} training examples, got {seen}: leave it out"
        )


def warn_of_idle_controls(config: RunConfig) -> None:
    """Warn if there are control runs, and no probe that compares the peers with theirs."""
    controls = config.evaluation.controls
    if controls and not config.probe_names:
        warnings.warn(
            f"evaluation.probes is empty, so that nothing is compared with the control runs ({', '.join(controls)}): "
            "name a probe, or set evaluation.controls to []",
            stacklevel=3,
        )


def warn_of_few_passes(config: RunConfig, schedule: Schedule, networks: Iterable[nn.Module]) -> None:
    """Warn if the calibrated control would keep much more of BatchNorm's initial buffers than the trained peers.

    A gain or loss over it might then be one of the buffers rather than of the weights.
    """
    passes = config.evaluation.calibration_passes
    if passes >= min(config.run.rounds, SETTLED_PASSES):
        return
    if not any(map(has_batchnorm, networks)):
        return
    needed = max(len(rounds) for rounds in last_rounds(schedule, config.run.rounds, SETTLED_PASSES))
    if passes < needed:
        warnings.warn(
            f"evaluation.calibration_passes is {passes}, which leaves much of BatchNorm's initial buffers in the "
            f"calibrated control, though not in the trained peers: set it to {needed} or more",
            stacklevel=3,
        )
