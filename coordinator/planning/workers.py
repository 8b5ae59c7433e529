"""Whether a run's worker processes are forked from one that has imported all they need: `hosting.workers`."""

import os
import sys

import torch

from coordinator.experiment.reading import ConfigError
from coordinator.experiment.sections import HostingConfig
from coordinator.planning.ray_release import untested

JOB = "RAY_JOB_CONFIG_JSON_ENV_VAR"  # set by Ray in the environment of a job's command


def forks(hosting: HostingConfig, as_task: bool = False) -> bool:
    """Whether the workers of a run's Ray are to be forked. as_task: also one in which the run itself is a task.

    Raises: ConfigError, if they must be and cannot be.
    """
    if hosting.workers == "spawned" or not (hosting.pool == "ray" or as_task):
        return False
    why = why_not_forked(hosting)
    if why and hosting.workers == "forked":
        raise ConfigError(f"hosting.workers is 'forked', but {why}: set it to auto or spawned")
    return not why


def why_not_forked(hosting: HostingConfig) -> str:
    """Why workers cannot be forked, as the end of a sentence; empty if they can be."""
    if sys.platform != "linux":
        return "this system is not Linux"
    if hosting.address not in ("", "local"):
        return f"the run joins the Ray cluster at hosting.address '{hosting.address}'"
    if JOB in os.environ:
        return "this is a job of a Ray cluster, which the run joins"
    if untested():
        return untested()
    if hosting.device == "cuda" or hosting.gpus_per_peer not in ("auto", 0):
        return "hosts have GPUs"
    if hosting.device == "auto" and hosting.gpus_per_peer == "auto" and torch.cuda.device_count():
        return "this machine has GPUs for hosts; hosting.device 'cpu' does without them"
    return ""
