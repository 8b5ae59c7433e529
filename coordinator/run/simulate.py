"""One run from config to verdict, or on from where it ended: controls, rounds, probes, and a folder with all of it."""

import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Thread

import torch

from coordinator.checkpoints.identity import identity_of
from coordinator.checkpoints.manager import CheckpointManager
from coordinator.checkpoints.opening import Recalled, open_checkpoints
from coordinator.checkpoints.snapshots import Checkpoints
from coordinator.experiment import given_data
from coordinator.experiment.config import ConfigError, RunConfig, to_toml, with_execution
from coordinator.experiment.plan import Plan, identified, peer_settings, prepare
from coordinator.pools.base import Pool
from coordinator.pools.opening import loading_pool
from coordinator.records.events import FaultKind, Note, Remaining, RunStarted, Stage, StageEntered
from coordinator.records.mlflow import Tracker
from coordinator.records.mlflow_observer import MlflowObserver
from coordinator.records.observer import Observers, RunObserver
from coordinator.records.recorder import Recorder
from coordinator.records.result import Result
from coordinator.records.run_folder import MLFLOW_RUN, RunFolder, check_output, way_on
from coordinator.records.tables import Tables
from coordinator.reports.endings import out_of_memory
from coordinator.run.finish import Finish
from coordinator.run.resume import Resumed, reopen
from coordinator.run.signals import Interrupts
from coordinator.run.stages import Simulation
from coordinator.scheduling.scheduler import Phase
from coordinator.scheduling.synchronous import SynchronousScheduler
from peers.data.datasets import Dataset
from peers.learning.settings import PeerSettings

PATIENCE = 1.0  # seconds that data may take before Ray is started beside it
LOADING = "loading"  # name of the thread


def simulate(
    config: RunConfig,
    output: str | Path = "runs",
    observers: Sequence[RunObserver] = (),
    dataset: Dataset | None = None,
    interrupts: Interrupts | None = None,
) -> Result:
    """Run an experiment; its folder is made in `output`.

    observers: told of every event of the run, in order.
    dataset: images and labels instead of those that the config names. The run's config then says so, with their digest:
    it cannot be started again from its file alone, and `resume` wants the same.
    A run that is interrupted (Ctrl-C) or stopped (values that are not finite, hosts lost too often) still writes what
    it has, and says so in the result's status.

    Raises: ConfigError, before anything is written, on input that cannot be run; and whatever an observer raises, once
    the rounds in flight have ended and all numbers and a checkpoint are written.
    """
    check_output(output)
    if dataset is not None:
        config, dataset = given_data.take(config, dataset)
    fan_out = Observers(observers)
    result = _run(config, Path(output), None, _Around(fan_out, dataset, interrupts or Interrupts()))
    fan_out.reraise()
    return result


def simulate_loaded(config: RunConfig, output: str | Path, dataset: Dataset) -> Result:
    """Run an experiment on the data that its config names, already loaded: several runs share it."""
    return _run(config, Path(output), None, _Around(Observers(), dataset, Interrupts()))


def resume(
    run: str | Path,
    rounds: int | None = None,
    overrides: Sequence[str] = (),
    observers: Sequence[RunObserver] = (),
    dataset: Dataset | None = None,
    interrupts: Interrupts | None = None,
) -> Result:
    """Go on with a run that was killed, interrupted or stopped, or with one that has finished for more `rounds`.

    It continues from its newest whole checkpoint, in the same tables and the same MLflow run, with the numbers that it
    would have had. overrides: of hosting, tracking and checkpoint. dataset: what the run was given, if it was.

    Raises: ConfigError, on a folder that is no run's, that another process writes to, or that has nothing left to do;
    and whatever an observer raises, as `simulate` does.
    """
    fan_out = Observers(observers)
    with reopen(Path(run), rounds, overrides, fan_out) as resumed:
        if dataset is not None:
            dataset = given_data.take_again(resumed.config, dataset)
        around = _Around(fan_out, dataset, interrupts or Interrupts())
        if resumed.remaining is Remaining.REPORT:
            result = _complete(resumed, around)
        else:
            result = _run(resumed.config, resumed.folder.path.parent, resumed, around)
    fan_out.reraise()
    return result


class RunInterrupted(KeyboardInterrupt):
    """A signal has ended a run before it could say how it stands; its folder has what was written until then."""

    def __init__(self, folder: Path) -> None:
        super().__init__(str(folder))
        self.folder = folder


@dataclass(frozen=True)
class _Around:
    """What a run is given beside its config; dataset: what the config's section loads, where that is done already."""

    observers: Observers
    dataset: Dataset | None
    interrupts: Interrupts


def _run(config: RunConfig, output: Path, resumed: Resumed | None, around: _Around) -> Result:
    observers = around.observers
    observers.observe(StageEntered(Stage.LOADING, config))
    loading = in_background(lambda: identified(prepare(config, around.dataset)))
    wait([loading], timeout=PATIENCE)
    observers.observe(StageEntered(Stage.START, config))
    observers.reraise()
    if loading.done():
        loading.result()  # a mistake in the config is told before anything starts

    def loaded() -> tuple[Sequence[PeerSettings], Dataset]:
        data = loading.result().dataset
        return peer_settings(config, data), data

    def tell(text: str) -> None:
        observers.observe(Note(text))

    try:
        opening = loading_pool(config.peers.count, config.hosting, loaded, tell)
        return _run_on(loading, opening, output, resumed, around)
    except torch.OutOfMemoryError as error:  # before the first stage, which would write what there is
        raise ConfigError(out_of_memory(loading.result(), error)) from None


def _run_on(
    loading: "Future[Plan]",
    opening: AbstractContextManager[Pool],
    output: Path,
    resumed: Resumed | None,
    around: _Around,
) -> Result:
    result, folder = None, resumed.folder if resumed else None
    try:
        with opening as pool:
            plan = loading.result()
            config = with_execution(plan.config, pool.execution)
            plan = replace(plan, config=config)
            if resumed:
                resumed.check_inputs(plan)
            new = folder or RunFolder(output, config.run.name)
            with nullcontext() if resumed else new.locked():
                try:
                    simulation, checkpoints = _compose(plan, pool, new, resumed, around)
                except BaseException:
                    if not resumed:
                        shutil.rmtree(new.path, ignore_errors=True)  # nothing was run: leave nothing
                    raise
                folder = new
                resumable = config.checkpoint.every > 0
                pool.advise(way_on(folder.path) if resumable else "start it again")
                result = simulation.run()
                pool.advise("")
        checkpoints.discard_incomplete()  # now that no peer writes any more
    except KeyboardInterrupt:
        if result is None and folder is not None:
            raise RunInterrupted(folder.path) from None
        if result is None:
            raise
    return result


def _compose(
    plan: Plan, pool: Pool, folder: RunFolder, resumed: Resumed | None, around: _Around
) -> tuple[Simulation, Checkpoints]:
    """What a run consists of, with what it had when it ended, if it has been there before."""
    config, checkpoints = open_checkpoints(plan.config, folder.path, pool)
    plan = replace(plan, config=config)
    folder.write_text(
        "config.toml", (given_data.NOT_FROM_FILE if config.data.kind == "given" else "") + to_toml(config)
    )
    finish = _records(config, folder, resumed, around.observers)
    recorder, tables = finish.recorder, finish.tables
    schedulers = {
        Phase.ROUNDS: SynchronousScheduler(pool, config.exchange.delivery == "shared-sum"),
        Phase.ALONE: SynchronousScheduler(pool),
    }
    manager = CheckpointManager(checkpoints, identity_of(plan), pool, recorder, tables)
    observers, interrupts = around.observers, around.interrupts
    simulation = Simulation(
        plan,
        pool,
        schedulers,
        recorder,
        manager,
        observers,
        interrupts,
        finish.conclude,
        folder.path,
        resumed is not None,
    )
    return simulation, checkpoints


def _records(config: RunConfig, folder: RunFolder, resumed: Resumed | None, observers: Observers) -> Finish:
    """Where the run's numbers go, with those that it has already."""
    tables = Tables(folder)
    tracker = _tracker(config, folder, known=resumed is not None)
    mlflow = MlflowObserver(tracker)
    observers.attach(tables, mlflow)
    recalled = resumed.recalled if resumed else Recalled.nothing(config)
    recorder = Recorder(recalled.state, recalled.probes, observers, config.exchange.student_temperature)
    if resumed:
        if resumed.remaining is not Remaining.REPORT:
            tracker.log_tags({"resumed_from_round": str(recalled.state.completed)})
        mlflow.send_again(folder)
        for damaged in resumed.damaged_checkpoints:
            recorder.fault(FaultKind.CHECKPOINT_DAMAGED, damaged)
        if resumed.tables_damaged:
            recorder.fault(FaultKind.TABLES_DAMAGED, "the tables in metrics/ are damaged or incomplete")
    return Finish(recorder, tables, tracker)


def _tracker(config: RunConfig, folder: RunFolder, known: bool) -> Tracker:
    """The run in MLflow; known: the one that the folder names is continued."""

    def note(run_id: str) -> None:
        if folder.path.is_dir():  # else the run has not begun after all
            folder.write_text(MLFLOW_RUN, run_id)

    return Tracker(config.tracking, folder.path.parent, folder.path.name, folder.mlflow_run if known else "", note)


def _complete(resumed: Resumed, around: _Around) -> Result:
    """Figures, page and MLflow run of a run whose numbers are all there."""
    with around.interrupts:
        finish = _records(resumed.config, resumed.folder, resumed, around.observers)
        finish.recorder.publish(RunStarted(resumed.config, resumed.folder.path))
        return finish.complete(resumed.config)


def in_background(compute: Callable[[], Plan]) -> "Future[Plan]":
    """Start a computation in a thread. The interpreter waits for it at its end, where it would crash under torch."""
    future: Future[Plan] = Future()

    def run() -> None:
        try:
            future.set_result(compute())
        except BaseException as error:
            future.set_exception(error)

    Thread(target=run, name=LOADING).start()
    return future
