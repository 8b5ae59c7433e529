"""A run's checkpoints when it starts, and when it is taken up again: where they are, and what the newest one says."""

import warnings
from dataclasses import dataclass
from pathlib import Path

from coordinator.checkpoints.identity import check_config
from coordinator.checkpoints.snapshots import Checkpoint, Checkpoints, url_of
from coordinator.experiment.config import ConfigError, RunConfig
from coordinator.experiment.redaction import without_secrets
from coordinator.measures.gains import Condition
from coordinator.measures.probe_table import ProbeTable
from coordinator.pools.base import Pool
from coordinator.records.events import RoundsChanged
from coordinator.records.run_state import RunState
from coordinator.scheduling.scheduler import Phase
from peers.base.storage import Folder
from peers.learning.snapshot import DamagedCheckpoint


@dataclass(frozen=True)
class Recalled:
    """What the coordinator knew at the newest whole checkpoint; `found` is None where a run starts from nothing."""

    found: Checkpoint | None
    state: RunState
    probes: ProbeTable

    @classmethod
    def nothing(cls, config: RunConfig) -> "Recalled":
        return cls(None, RunState(), ProbeTable(config.evaluation.probes))


def open_checkpoints(config: RunConfig, run: Path, pool: Pool) -> tuple[RunConfig, Checkpoints]:
    """Where a run's checkpoints are, and its config: without any, if nobody asked for them and not all nodes reach it.

    Raises: ConfigError, if somebody did ask for them.
    """
    url, every = url_of(config.checkpoint.path, run), config.checkpoint.every
    try:
        checkpoints = Checkpoints(url, config.checkpoint.keep)
        if every:
            _check_reached(url, pool)
    except (OSError, ValueError) as error:
        why = (error.strerror if isinstance(error, OSError) else None) or str(error)
        line = without_secrets(f"checkpoint.path: '{url}' cannot be used by all nodes ({why})")
        if "every" in config.checkpoint.model_fields_set or config.checkpoint.path:
            raise ConfigError(
                f"{line}: name a folder that every node reaches, or a URL, or set checkpoint.every to 0"
            ) from None
        warnings.warn(f"{line}: there are no checkpoints; name a folder that every node reaches", stacklevel=2)
        off = config.checkpoint.model_copy(update={"every": 0})
        return config.model_copy(update={"checkpoint": off}), Checkpoints(str(run / "checkpoints"), 1)
    return config, checkpoints


def reopen_checkpoints(config: RunConfig, run: Path) -> Checkpoints:
    """The checkpoints of a run that is taken up again, without those that were never completed. Raises: ConfigError."""
    url = url_of(config.checkpoint.path, run)
    try:
        checkpoints = Checkpoints(url, config.checkpoint.keep)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"checkpoint.path: '{without_secrets(url)}' cannot be read ({without_secrets(str(error))}): bring it "
            "back, or install what its file system needs"
        ) from None
    checkpoints.discard_incomplete()
    return checkpoints


def recall(config: RunConfig, checkpoints: Checkpoints) -> tuple[Recalled, list[str]]:
    """The coordinator's part of a run's newest whole checkpoint, and what was found damaged.

    A checkpoint from when the run was to have another number of rounds does not tell what hangs on that number.
    Raises: ConfigError, if the checkpoint is of another experiment.
    """

    def take(found: Checkpoint) -> Recalled | None:
        if found.phase is Phase.ALONE and found.planned_rounds != config.run.rounds:
            return None
        try:
            probes = ProbeTable.from_bytes(found.arrays(), config.evaluation.probes)
            return Recalled(found, RunState.from_json(found.state["run_state"]), probes)
        except (ValueError, KeyError) as error:
            raise DamagedCheckpoint(str(error)) from None

    damaged: list[str] = []
    for phase in (Phase.ALONE, Phase.ROUNDS):
        recalled, more = checkpoints.newest_whole(phase, take)
        damaged += more
        if recalled is None or recalled.found is None:
            continue
        check_config(config, recalled.found.state)
        if recalled.found.planned_rounds != config.run.rounds:
            recalled.state.apply(RoundsChanged())
            recalled.probes.keep((Condition.RAW_PIXELS, Condition.UNTRAINED))
        return recalled, damaged
    return Recalled.nothing(config), damaged


def _check_reached(url: str, pool: Pool) -> None:
    """Have one host of every node write a file, and read it here. Raises: OSError."""
    folder = Folder(url)
    for hosts in pool.nodes:
        name = f".reached-{hosts[0]}"
        pool.get([pool.hosts[hosts[0]].touch(url, name)])
        try:
            folder.read(name)
        except FileNotFoundError:
            raise FileNotFoundError(f"what peer {pool.hosts[hosts[0]].peers[0]} writes is not seen here") from None
        folder.remove(name)
