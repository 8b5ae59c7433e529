"""Reopen the folder of a run: its config, its newest checkpoint, and the work that remains."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from coordinator.checkpoints.identity import check_inputs
from coordinator.checkpoints.opening import Recalled, recall, reopen_checkpoints
from coordinator.experiment.config import ConfigError, RunConfig, load_config, parse_assignment, to_table
from coordinator.experiment.reading import from_json
from coordinator.experiment.sections import StopRule
from coordinator.planning.plan import Plan
from coordinator.records.events import Remaining, RunReopened
from coordinator.records.files.result import Status
from coordinator.records.files.run_folder import RunFolder, check_run
from coordinator.records.observer import Observers
from coordinator.records.stop import with_rule, without_rule

CHANGEABLE = ("hosting", "tracking", "checkpoint")


@dataclass(frozen=True)
class Resumed:
    """A run that can be continued.

    remaining: `Remaining.REPORT` if all numbers are written, but figures, page or MLflow run are incomplete.
    damaged_checkpoints: for each unusable checkpoint the reason, newest first.
    """

    config: RunConfig
    folder: RunFolder
    recalled: Recalled
    remaining: Remaining
    damaged_checkpoints: Sequence[str] = ()
    tables_damaged: bool = False

    def check_inputs(self, plan: Plan) -> None:
        """Raises: ConfigError, if the data or the links differ from those of the completed rounds."""
        if self.recalled.found is not None:
            check_inputs(plan, self.recalled.found.state)


@contextmanager
def reopen(run: Path, rounds: int | None, overrides: Sequence[str], observers: Observers) -> Iterator[Resumed]:
    """Open the run in a folder, with its rows and state as of its newest intact checkpoint. Raises: ConfigError."""
    check_run("resume", run)
    run = run.resolve()
    config = _config_of(run, rounds, overrides)
    folder = RunFolder.reopened(run)
    with folder.locked():
        finished = Finished.read(run)
        resumed = _recalled(config, folder, rounds)
        if finished is not None and finished.is_whole(config, rounds):
            if not folder.unreported:
                raise ConfigError(f"resume: '{run}' {finished.in_words}")
            if folder.load_tables(finished.rounds):
                resumed = Resumed(config, folder, resumed.recalled, Remaining.REPORT)
        completed = finished.rounds if finished is not None else 0
        if resumed.remaining is not Remaining.REPORT:
            resumed = _with_rule(resumed, finished, rounds, observers.rule)
            resumed = _with_tables(resumed)
            _warn_of_cosine(resumed)
            completed = resumed.recalled.state.completed
        observers.observe(RunReopened(run, completed, config.run.rounds, resumed.remaining))
        yield resumed


@dataclass(frozen=True)
class Finished:
    """The summary of a finished run: its rounds, those that were planned, its rule, and how it ended early, if so."""

    rounds: int
    planned: int
    stop: dict[str, Any] | None
    ended: dict[str, Any] | None
    message: str

    @classmethod
    def read(cls, run: Path) -> "Finished | None":
        """The finished run in a folder; None if there is none."""
        try:
            summary = from_json((run / "summary.json").read_bytes()) if (run / "summary.json").is_file() else None
        except (OSError, ValueError):
            return None
        if not isinstance(summary, dict) or summary.get("status") != Status.FINISHED or "rounds" not in summary:
            return None
        rounds, planned = summary["rounds"], summary.get("config", {}).get("run", {})
        message = str(summary.get("message", ""))
        return cls(rounds, planned.get("rounds", rounds), planned.get("stop"), summary.get("ended"), message)

    def is_whole(self, config: RunConfig, rounds: int | None) -> bool:
        """Whether no round is left of a run with this config, or of one that is to have so many `rounds`."""
        if self.rounds == config.run.rounds:
            return True
        same = (self.planned, self.stop) == (config.run.rounds, to_table(config)["run"].get("stop"))
        return self.ended is not None and same and rounds is None

    @property
    def in_words(self) -> str:
        if self.ended is None:
            return f"has finished its {self.rounds} rounds: give --rounds to add some"
        return f"has ended {self.message}: give --rounds to go on"


def _with_rule(resumed: Resumed, finished: Finished | None, rounds: int | None, given: StopRule | None) -> Resumed:
    """Drop a rule that has held if the run is to go on, or replace it by that of a `Stop` among the observers.

    Raises: ConfigError, if a run that has not ended by its rule is given another one.
    """
    config, ended = resumed.config, resumed.recalled.ended
    by = ended.by if ended is not None else (finished.ended or {}).get("by") if finished is not None else None
    if rounds is not None and by == "run.stop":
        if given is None:
            warnings.warn(f"run.stop has held: the run goes on to round {rounds} without it", stacklevel=4)
        return replace(resumed, config=with_rule(without_rule(config), given))
    if given not in (None, config.run.stop):
        raise ConfigError(
            "observers: Stop is not the rule that the run was started with (run.stop in its config.toml): leave it out"
        )
    return resumed


def _recalled(config: RunConfig, folder: RunFolder, rounds: int | None) -> Resumed:
    """Load the newest intact checkpoint; `rounds` is the new total number of rounds. Raises: ConfigError."""
    recalled, damaged = recall(config, reopen_checkpoints(config, folder.path), going_on=rounds is not None)
    if rounds is not None and rounds < recalled.state.completed:
        raise ConfigError(f"--rounds must be at least the {recalled.state.completed} that are done, got {rounds}")
    remaining = Remaining.ROUNDS if recalled.found else Remaining.EVERYTHING
    has_tables = (folder.path / "metrics").is_dir()
    if recalled.found is None and config.checkpoint.path and config.checkpoint.every and has_tables:
        warnings.warn(
            f"checkpoint.path: nothing is saved there of a run named '{folder.path.name}', which starts again: if "
            "its folder has been renamed, end this and rename it back",
            stacklevel=3,
        )
    return Resumed(config, folder, recalled, remaining, damaged)


def _with_tables(resumed: Resumed) -> Resumed:
    """Load the tables of the completed rounds; if they cannot be loaded, the run starts again at round 0."""
    config, folder, recalled = resumed.config, resumed.folder, resumed.recalled
    if recalled.found is not None and folder.load_tables(recalled.state.completed):
        return resumed
    folder.load_tables(-1)
    untrained, lost = Recalled.nothing(config), recalled.found is not None
    return replace(resumed, recalled=untrained, remaining=Remaining.EVERYTHING, tables_damaged=lost)


def _warn_of_cosine(resumed: Resumed) -> None:
    """Warn that a cosine schedule laid out for another number of rounds gives other numbers than one longer run."""
    found, config = resumed.recalled.found, resumed.config
    if found is not None and found.planned_rounds != config.run.rounds and _follows_rounds(config):
        warnings.warn(
            f"the learning rate's cosine was laid out for {found.planned_rounds} rounds and follows "
            f"{config.run.rounds} from here: not the numbers of one run of as many"
            + (", which its control runs will be" if config.evaluation.controls else ""),
            stacklevel=3,
        )


def _config_of(run: Path, rounds: int | None, overrides: Sequence[str]) -> RunConfig:
    """The run's config with `overrides` and `rounds` applied."""
    for override in overrides:
        key = parse_assignment(override)[0]
        if key == "checkpoint.path":
            raise ConfigError(f"override '{override}': a run that is resumed keeps its checkpoints where they are")
        if key.partition(".")[0] not in CHANGEABLE:
            raise ConfigError(
                f"override '{override}': a run that is resumed keeps its experiment; only {', '.join(CHANGEABLE)} may "
                "change, and the rounds by --rounds"
            )
    return load_config(run / "config.toml", [*overrides, *([] if rounds is None else [f"run.rounds={rounds}"])])


def _follows_rounds(config: RunConfig) -> bool:
    """Whether the learning rate of some peers depends on the total number of rounds."""
    kinds = config.peers.groups or [config.peers]
    return any(kind.optimizer.schedule != "constant" for kind in kinds)
