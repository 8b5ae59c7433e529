"""A run's folder opened again: what it was, how far it came, and what is left to do."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from coordinator.checkpoints.manager import inputs, recall, rounds_of
from coordinator.checkpoints.snapshots import Checkpoints, url_of
from coordinator.experiment.config import ConfigError, RunConfig, load_config, parse_assignment
from coordinator.experiment.plan import Plan
from coordinator.experiment.reading import from_json
from coordinator.experiment.redaction import without_secrets
from coordinator.measures.probe_table import ProbeTable
from coordinator.records.recorder import Totals
from coordinator.records.run_folder import RunFolder, check_run
from coordinator.records.terminal import Monitor

CHANGEABLE = ("hosting", "tracking", "checkpoint")


@dataclass(frozen=True)
class Resumed:
    """A run to go on with; notes: what was found damaged; inputs: SHA-256 of what its rounds until now have read.

    lacks_report_only: all its numbers are written, but not its figures, its page or all of its MLflow run.
    """

    config: RunConfig
    folder: RunFolder
    totals: Totals
    probes: ProbeTable
    notes: list[str]
    inputs: Mapping[str, str] = field(default_factory=dict)
    lacks_report_only: bool = False

    def check_inputs(self, plan: Plan) -> None:
        """Raises: ConfigError, if data or links are not those that the rounds until now were run with."""
        names = {"data": "data: the images or labels", "links": "topology.path: the links"}
        for name, digest in inputs(plan).items():
            before = self.inputs.get(name, digest)  # older checkpoints do not tell
            if digest != before:
                raise ConfigError(
                    f"{names[name]} have changed since the run was started (SHA-256 {before[:12]}, now {digest[:12]}): "
                    "put them back, or start a new run"
                )


@contextmanager
def reopen(run: Path, rounds: int | None, overrides: Sequence[str], monitor: Monitor) -> Iterator[Resumed]:
    """The run in a folder, with its rows and totals as of its newest whole checkpoint. Raises: ConfigError."""
    check_run("resume", run)
    run = run.resolve()
    config, before = _config_of(run, rounds, overrides)
    folder = RunFolder.reopened(run)
    with folder.locked():
        checkpoints = _checkpoints(config, folder.path)
        checkpoints.discard_incomplete()  # of a run that was killed
        found, totals, probes, notes = recall(config, checkpoints)
        if rounds is not None and rounds < totals.completed:
            raise ConfigError(f"--rounds must be at least the {totals.completed} that are done, got {rounds}")
        if found is None and config.checkpoint.path and config.checkpoint.every and (run / "metrics").is_dir():
            warnings.warn(
                f"checkpoint.path: nothing is saved there of a run named '{folder.path.name}', which starts again: if "
                "its folder has been renamed, end this and rename it back",
                stacklevel=2,
            )
        if _has_finished(run, config.run.rounds):
            if not folder.unreported:
                raise ConfigError(f"resume: '{run}' has finished its {before} rounds: give --rounds to add some")
            if folder.load_tables(config.run.rounds):
                monitor.phase(f"{run}: all rounds are done; what is made of their numbers is not")
                yield Resumed(config, folder, totals, probes, [], lacks_report_only=True)
                return
        if found is not None and not folder.load_tables(totals.completed):
            notes.append("the tables in metrics/ are damaged or incomplete")
            found, totals, probes = None, Totals(), ProbeTable(config.evaluation.probes)
        if found is None:
            folder.load_tables(-1)
        planned = rounds_of(found, config) if found else config.run.rounds
        if planned != config.run.rounds and _follows_rounds(config):
            warnings.warn(
                f"the learning rate's cosine was laid out for {planned} rounds and follows {config.run.rounds} from "
                "here: not the numbers of one run of as many",
                stacklevel=2,
            )
        done = f"{totals.completed} of {config.run.rounds} rounds are done"
        monitor.phase(f"{run}: {done if found else 'there is no whole checkpoint: again from round 0'}")
        yield Resumed(config, folder, totals, probes, notes, found.state.get("inputs", {}) if found else {})


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
    return load_config(run / "config.toml", [*overrides, f"run.rounds={rounds}"]), before


def _checkpoints(config: RunConfig, run: Path) -> Checkpoints:
    url = url_of(config.checkpoint.path, run)
    try:
        return Checkpoints(url, config.checkpoint.keep)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"checkpoint.path: '{without_secrets(url)}' cannot be read ({without_secrets(str(error))}): bring it "
            "back, or install what its file system needs"
        ) from None


def _has_finished(run: Path, rounds: int) -> bool:
    """Whether a summary of so many rounds is written."""
    try:
        summary = from_json((run / "summary.json").read_bytes()) if (run / "summary.json").is_file() else None
    except (OSError, ValueError):
        return False
    return isinstance(summary, dict) and summary.get("status") == "finished" and summary.get("rounds") == rounds


def _follows_rounds(config: RunConfig) -> bool:
    kinds = config.peers.groups or [config.peers]
    return any(kind.optimizer.schedule != "constant" for kind in kinds)
