"""A run's checkpoints: written while it goes on, and read to bring its peers back."""

import warnings
from collections.abc import Sequence
from pathlib import Path

from coordinator.checkpoints import snapshots
from coordinator.checkpoints.snapshots import Checkpoint, Checkpoints, Phase, told
from coordinator.checkpoints.state import from_arrays, from_state, to_arrays, to_state
from coordinator.experiment.config import ConfigError, RunConfig, to_table
from coordinator.experiment.plan import Plan
from coordinator.experiment.redaction import without_secrets
from coordinator.measures.gains import Condition
from coordinator.measures.probe_table import ProbeTable
from coordinator.pools.base import Pool, ask
from coordinator.records.recorder import Recorder, Totals
from coordinator.records.run_folder import way_on
from coordinator.records.summary import flatten, versions
from peers.base.storage import Folder

DECIDING = ("run", "data", "peers", "topology", "exchange", "evaluation")  # sections that decide the numbers
FREE = (
    "run.rounds",
    "run.name",
    "data.name",
    "data.root",
    "data.path",
    "data.on_each_node",
    "topology.path",
)  # but for these


class Keeper:
    """Writes checkpoints for later, and takes the peers back to the newest that is whole."""

    def __init__(
        self, plan: Plan, pool: Pool, recorder: Recorder, probes: ProbeTable, checkpoints: Checkpoints
    ) -> None:
        self.plan = plan
        self.config = plan.config
        self.pool = pool
        self.recorder = recorder
        self.probes = probes
        self.checkpoints = checkpoints
        self.every = plan.config.checkpoint.every
        self.seconds = plan.config.checkpoint.seconds

    def keep(self, phase: Phase, completed: int, saved: Sequence[str] | OSError) -> None:
        """Complete what the peers have written; where that fails the run goes on, and says so."""
        totals = self.recorder.totals
        before = totals.last_checkpoint
        try:
            if isinstance(saved, OSError):
                raise saved
            if phase == "round":
                totals.last_checkpoint = completed  # part of what is written
            self.recorder.save_rows()  # first: whoever has the checkpoint has the rows until then
            state = {
                "totals": to_state(totals),
                "config": deciding(self.config),
                "rounds": self.config.run.rounds,
                "shape": self.plan.dataset.shape,
                "inputs": inputs(self.plan),
                "versions": versions(),
            }
            self.checkpoints.complete(phase, completed, saved, state, to_arrays(self.probes))
        except OSError as error:
            totals.last_checkpoint = before
            why = without_secrets(error.strerror or str(error))
            last = next((told(phase, each) for each in self.checkpoints.completed(phase)), "")
            left = f"that of {last} is the last" if last else "there is none yet"
            self.recorder.fault(
                f"no checkpoint of {told(phase, completed)} could be written ({why}); {left}", lost=False
            )

    def last(self) -> str:
        """Which checkpoint is the last, in words."""
        last = self.recorder.totals.last_checkpoint
        if last:
            return f"the last good checkpoint is of round {last}"
        return "there is no checkpoint yet" if self.every else "there is no checkpoint (snapshots.every = 0)"

    def way_on(self) -> str:
        """How the run can be gone on with; empty where it would start again, as in an ablation."""
        return f"; {way_on(self.recorder.folder.path)}" if self.every else ""

    def bring_back(self, phase: Phase) -> int:
        """Restore all peers from the newest checkpoint that is whole; returns the rounds it had completed.

        Without one they are the untrained peers again, before round 0.
        """
        completed, damaged = self.checkpoints.newest_whole(phase, self._restore)
        for each in damaged:
            self.recorder.fault(each, lost=False)
        if completed is None:
            ask(self.pool, "restart")
        return completed or 0

    def _restore(self, found: Checkpoint) -> int:
        found.arrays()  # whole means all of it: the totals that were taken up are of the same one
        ask(self.pool, "restore", found.arguments(self.config.peers.count))
        return found.completed


def open_checkpoints(config: RunConfig, run: Path, pool: Pool) -> tuple[RunConfig, Checkpoints]:
    """Where a run's checkpoints are, and its config: without any, if nobody asked for them and not all nodes reach it.

    Raises: ConfigError, if somebody did ask for them.
    """
    url, every = snapshots.url_of(config.checkpoint.path, run), config.checkpoint.every
    try:
        checkpoints = Checkpoints(url, config.checkpoint.keep)
        if every:
            _check_reached(url, pool)
    except (OSError, ValueError) as error:
        why = (error.strerror if isinstance(error, OSError) else None) or str(error)
        line = without_secrets(f"checkpoint.path: '{url}' cannot be used by all nodes ({why})")
        if "every" in config.checkpoint.model_fields_set or config.checkpoint.path:
            raise ConfigError(
                f"{line}: name a folder that every node reaches, or a URL, or set snapshots.every to 0"
            ) from None
        warnings.warn(f"{line}: there are no checkpoints; name a folder that every node reaches", stacklevel=2)
        off = config.checkpoint.model_copy(update={"every": 0})
        return config.model_copy(update={"checkpoint": off}), Checkpoints(str(run / "checkpoints"), 1)
    return config, checkpoints


def _check_reached(url: str, pool: Pool) -> None:
    """Have one host of every node write a file, and read it here. Raises: OSError."""
    folder = Folder(url)
    for hosts in pool.nodes:
        name = f".reached-{hosts[0]}"
        pool.get([pool.submit(hosts[0], "touch", url, name)])
        try:
            folder.read(name)
        except FileNotFoundError:
            raise FileNotFoundError(f"what peer {pool.hosts[hosts[0]][0]} writes is not seen here") from None
        folder.remove(name)


def recall(config: RunConfig, checkpoints: Checkpoints) -> tuple[Checkpoint | None, Totals, ProbeTable, list[str]]:
    """The coordinator's part of a run's newest whole checkpoint, or of a run that has none; and what was damaged.

    A checkpoint from when the run was to have another number of rounds does not tell what hangs on that number.
    Raises: ConfigError, if the checkpoint is of another experiment.
    """

    def take(found: Checkpoint) -> tuple[Checkpoint, ProbeTable] | None:
        if found.phase == "alone" and rounds_of(found, config) != config.run.rounds:
            return None
        return found, from_arrays(found.arrays(), config.evaluation.probes)

    damaged: list[str] = []
    phases: tuple[Phase, ...] = ("alone", "round")
    for phase in phases:
        taken, more = checkpoints.newest_whole(phase, take)
        damaged += more
        if taken is None:
            continue
        found, probes = taken
        _check_same(config, found)
        totals = from_state(found.state["totals"])
        if rounds_of(found, config) != config.run.rounds:
            totals.digests, totals.failed_alone = [], set()
            for key in [key for key in probes.correct if key[1] not in (Condition.RAW_PIXELS, Condition.UNTRAINED)]:
                del probes.correct[key]
        return found, totals, probes, damaged
    return None, Totals(), ProbeTable(config.evaluation.probes), damaged


def rounds_of(found: Checkpoint, config: RunConfig) -> int:
    """The rounds that the run was to have when a checkpoint was written; older ones do not tell."""
    return int(found.state.get("rounds", config.run.rounds))


def deciding(config: RunConfig) -> dict[str, object]:
    """The settings that decide a run's numbers, by dotted name."""
    table = to_table(config)
    flat = flatten({section: table[section] for section in DECIDING})
    return {name: value for name, value in flat.items() if name not in FREE}


def inputs(plan: Plan) -> dict[str, str]:
    """SHA-256 of what a run reads beside its config, as far as it reads any."""
    found = {"data": plan.data_digest, "links": plan.links_digest}
    return {name: digest for name, digest in found.items() if digest}


def _check_same(config: RunConfig, found: Checkpoint) -> None:
    now, then = deciding(config), found.state["config"]
    differing = sorted(name for name in {*now, *then} if now.get(name) != then.get(name))
    if differing:
        name = differing[0]
        raise ConfigError(
            f"{name}: the checkpoint was made with {then.get(name)!r}, but config.toml has {now.get(name)!r}: put it "
            "back, or start a new run"
        )
