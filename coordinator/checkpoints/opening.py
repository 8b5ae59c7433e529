"""Opens the checkpoints of a new or resumed run, and reads the coordinator's part of the newest one."""

import warnings
from dataclasses import dataclass
from pathlib import Path

from coordinator.checkpoints.identity import check_config, has_rule_of
from coordinator.checkpoints.snapshots import Checkpoint, Checkpoints, url_of
from coordinator.experiment.config import ConfigError, RunConfig
from coordinator.experiment.redaction import without_secrets
from coordinator.measures.gains import Condition
from coordinator.measures.probe_table import ProbeTable
from coordinator.pools.base import Pool
from coordinator.records.events import EndedEarly, RoundsChanged
from coordinator.records.run_state import RunState
from coordinator.scheduling.scheduler import Phase
from peers.base.storage import Folder
from peers.learning.peer_files import DamagedCheckpoint


@dataclass(frozen=True)
class Recalled:
    """The coordinator's part of the newest intact checkpoint. found: None if the run starts from the beginning.

    ended: how the run had ended early, if it goes on nevertheless.
    """

    found: Checkpoint | None
    state: RunState
    probes: ProbeTable
    ended: EndedEarly | None = None

    @classmethod
    def nothing(cls, config: RunConfig) -> "Recalled":
        return cls(None, RunState(), ProbeTable(config.probe_names))


def open_checkpoints(config: RunConfig, run: Path, pool: Pool) -> tuple[RunConfig, Checkpoints]:
    """Open the checkpoints of a new run; returns them with the config, in which they may be switched off.

    They are switched off, with a warning, if the default folder cannot be reached by all nodes. Raises: ConfigError, if
    the config requests checkpoints explicitly and that is so.
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
    """Open the checkpoints of a resumed run and discard incomplete ones. Raises: ConfigError."""
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


def recall(config: RunConfig, checkpoints: Checkpoints, going_on: bool = False) -> tuple[Recalled, list[str]]:
    """Read the coordinator's part of the newest intact checkpoint; also returns a message for each damaged one.

    If the checkpoint was written for a different number of rounds, results that depend on that number are dropped, and
    so are the checkpoints of control runs. The same if the run has ended early and goes on: `going_on`, or if its
    config no longer has the rule by which it ended.
    Raises: ConfigError, if the checkpoint belongs to another experiment.
    """
    newest, damaged = _newest(config, checkpoints, going_on)
    if newest is None or newest.found is None:
        return Recalled.nothing(config), damaged
    check_config(config, newest.found.state, newest.ended is not None)
    if newest.found.planned_rounds != config.run.rounds or newest.ended is not None:
        newest.state.apply(RoundsChanged())
        for phase in Phase:
            if phase.control:
                checkpoints.discard(phase)
        newest.probes.keep((Condition.RAW_PIXELS, Condition.UNTRAINED))
    return newest, damaged


def _newest(config: RunConfig, checkpoints: Checkpoints, going_on: bool) -> tuple[Recalled | None, list[str]]:
    """The newest intact checkpoint that a run with this config can use, and a message for each damaged one."""

    def take(found: Checkpoint) -> Recalled | None:
        if found.phase is not Phase.ROUNDS and found.planned_rounds != config.run.rounds:
            return None
        try:
            probes = ProbeTable.from_bytes(found.arrays(), config.probe_names)
            state = RunState.from_json(found.state["run_state"])
        except (ValueError, KeyError) as error:
            raise DamagedCheckpoint(str(error)) from None
        ended = state.ended
        if ended is not None and not going_on and (ended.by == "observer" or has_rule_of(config, found.state)):
            ended = None
        if found.phase is not Phase.ROUNDS and ended is not None:
            return None
        return Recalled(found, state, probes, ended)

    damaged: list[str] = []
    newest: Recalled | None = None
    for phase in Phase:
        recalled, more = checkpoints.newest_whole(phase, take)
        damaged += more
        if recalled is not None and (newest is None or recalled.state.checkpoints > newest.state.checkpoints):
            newest = recalled
    return newest, damaged


def _check_reached(url: str, pool: Pool) -> None:
    """Check that files written by one host on every node can be read here. Raises: OSError."""
    folder = Folder(url)
    for hosts in pool.nodes:
        name = f".reached-{hosts[0]}"
        pool.get([pool.hosts[hosts[0]].touch(url, name)])
        try:
            folder.read(name)
        except FileNotFoundError:
            raise FileNotFoundError(f"what peer {pool.hosts[hosts[0]].peers[0]} writes is not seen here") from None
        folder.remove(name)
