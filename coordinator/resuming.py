"""A run's folder opened again: what it was, how far it came, and what is left to do."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from coordinator.checkpoint import Checkpoints, url_of
from coordinator.config import ConfigError, RunConfig, load_config, parse_assignment
from coordinator.keeper import recall
from coordinator.learned import ProbeTable
from coordinator.progress import Monitor
from coordinator.reading import from_json
from coordinator.recorder import Totals
from coordinator.store import RunFolder, check_run

CHANGEABLE = ("hosting", "tracking", "checkpoint")


@dataclass(frozen=True)
class Resumed:
    """A run to go on with; notes: what was found damaged."""

    config: RunConfig
    folder: RunFolder
    totals: Totals
    probes: ProbeTable
    notes: list[str]


@contextmanager
def reopen(run: Path, rounds: int | None, overrides: Sequence[str], monitor: Monitor) -> Iterator[Resumed]:
    """The run in a folder, with its rows and totals as of its newest whole checkpoint. Raises: ConfigError."""
    check_run("resume", run)
    config, before = _config_of(run, rounds, overrides)
    folder = RunFolder.reopened(run)
    with folder.locked():
        extended = config.run.rounds > before
        checkpoints = Checkpoints(url_of(config.checkpoint.path, folder.path), config.checkpoint.keep)
        found, totals, probes, notes = recall(config, checkpoints, extended)
        _check_left(run, config.run.rounds)
        if found is not None and not folder.load_tables(totals.completed):
            notes.append("the tables in metrics/ are damaged or incomplete")
            found, totals, probes = None, Totals(), ProbeTable(config.evaluation.probes)
        if found is None:
            folder.load_tables(-1)
        if extended and _follows_rounds(config):
            warnings.warn(
                f"the learning rate's cosine was laid out for {before} rounds and follows {config.run.rounds} from "
                "here: not the numbers of one run of as many",
                stacklevel=2,
            )
        done = f"{totals.completed} of {config.run.rounds} rounds are done"
        monitor.phase(f"{run}: {done if found else 'there is no whole checkpoint: again from round 0'}")
        yield Resumed(config, folder, totals, probes, notes)


def _config_of(run: Path, rounds: int | None, overrides: Sequence[str]) -> tuple[RunConfig, int]:
    """The run's config with what is to change, and the rounds that it had before."""
    for override in overrides:
        key = parse_assignment(override)[0]
        if key == "checkpoint.path":
            raise ConfigError(f"override '{override}': a run that is resumed keeps its checkpoints where they are")
        if key.partition(".")[0] not in CHANGEABLE:
            raise ConfigError(
                f"override '{override}': a run that is resumed keeps its experiment; only {', '.join(CHANGEABLE)} may "
                "change, and the rounds by --rounds"
            )
    config = load_config(run / "config.toml", overrides)
    before = config.run.rounds
    if rounds is None:
        return config, before
    if rounds < before:
        raise ConfigError(f"--rounds must be at least the run's {before}, got {rounds}")
    return load_config(run / "config.toml", [*overrides, f"run.rounds={rounds}"]), before


def _check_left(run: Path, rounds: int) -> None:
    """Raises: ConfigError, if the run has finished."""
    try:
        summary = from_json((run / "summary.json").read_bytes())
    except (OSError, ValueError):
        return
    if isinstance(summary, dict) and summary.get("status") == "finished" and summary.get("rounds") == rounds:
        raise ConfigError(f"resume: '{run}' has finished its {rounds} rounds: give --rounds to add some")


def _follows_rounds(config: RunConfig) -> bool:
    kinds = config.peers.groups or [config.peers]
    return any(kind.optimizer.schedule != "constant" for kind in kinds)
