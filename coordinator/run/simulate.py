"""Run an experiment from config to verdict, or resume one: controls, rounds, probes, and the folder of results."""

import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Thread
from typing import Unpack

import torch

from coordinator.checkpoints.identity import identity_of
from coordinator.checkpoints.manager import CheckpointManager
from coordinator.checkpoints.opening import Recalled, open_checkpoints
from coordinator.checkpoints.snapshots import Checkpoints
from coordinator.experiment.config import ConfigError, RunConfig, to_toml
from coordinator.measures.holdings import ClassImages
from coordinator.measures.stop_rule import check_stop
from coordinator.planning.brought import Keywords, Objects, note_for_file
from coordinator.planning.plan import Plan, identified, prepare, settings_of
from coordinator.pools.base import Pool, Tell
from coordinator.pools.opening import loading_pool
from coordinator.pools.side_pools import side_pools
from coordinator.records.events import FaultKind, Note, Remaining, RunStarted, Stage, StageEntered
from coordinator.records.files.holdings_files import class_images
from coordinator.records.files.progress import Progress
from coordinator.records.files.result import Result
from coordinator.records.files.run_folder import MLFLOW_RUN, RunFolder, check_output, way_on
from coordinator.records.files.tables import Tables
from coordinator.records.observer import Observers, Observing
from coordinator.records.recorder import ProbeBatch, Recorder
from coordinator.records.stop import Stop, with_rule
from coordinator.records.tracking.mlflow import Tracker
from coordinator.records.tracking.mlflow_observer import MlflowObserver
from coordinator.reports.endings import out_of_memory
from coordinator.run.early_end import holds
from coordinator.run.end import EndOfRun
from coordinator.run.finish import Finish
from coordinator.run.peer_group import START, PeerGroup, schedulers_of
from coordinator.run.resume import Resumed, reopen
from coordinator.run.signals import Interrupts
from coordinator.run.stages import Simulation
from peers.base.brought_errors import BroughtError
from peers.data.datasets import Dataset
from peers.learning.settings import PeerSettings
from peers.probing.measuring import probe_images

PATIENCE = 1.0  # seconds to wait for the data before Ray is started in parallel
LOADING = "loading"  # name of the thread that loads the data


def simulate(
    config: RunConfig,
    output: str | Path = "runs",
    observers: Sequence[Observing | Stop] = (),
    *,
    interrupts: Interrupts | None = None,
    **objects: Unpack[Keywords],
) -> Result:
    """Run an experiment and write its results to a new folder in `output`.

    observers: functions f(event), or objects with a method observe(event), that receive every event of the run, in
    order; the last one is `RunEnded`, even if an error is raised. One of them may be a `Stop`: the rule `run.stop`.
    One that raises `StopRun` ends the run cleanly.
    objects: `network`, `head`, `loss`, `target`, `topology` and `data` take the place of what the config names; see
    `Objects`. The run's config then records the name and digest of each; the run cannot be repeated from that file
    alone, and `resume` requires the same objects.

    A run that is interrupted (Ctrl-C) or stopped (values that are not finite, hosts lost too often) still writes its
    results so far; the status of the result says how it ended.

    Raises: ConfigError, before anything is written, if the input is invalid. An exception from an observer is raised
    after the rounds in flight have finished and all numbers and a checkpoint are written.
    """
    fan_out = Observers(observers)
    with EndOfRun(fan_out) as end:
        check_output(output)
        config = Objects.of(objects).take(with_rule(config, fan_out.rule))
        context = _Context(fan_out, None, interrupts or Interrupts())
        end.result = result = _run(config, Path(output), None, context)
    fan_out.reraise()
    return result


def simulate_loaded(config: RunConfig, output: str | Path, dataset: Dataset) -> Result:
    """Run an experiment on a data set that is already loaded; it must be the one that the config names."""
    with EndOfRun(observers := Observers()) as end:
        end.result = result = _run(config, Path(output), None, _Context(observers, dataset, Interrupts()))
    return result


def resume(
    run: str | Path,
    rounds: int | None = None,
    overrides: Sequence[str] = (),
    observers: Sequence[Observing | Stop] = (),
    *,
    interrupts: Interrupts | None = None,
    **objects: Unpack[Keywords],
) -> Result:
    """Continue a run that was killed, interrupted or stopped, or extend a finished run to more `rounds`.

    The run continues from its newest intact checkpoint, in the same tables and the same MLflow run, and produces the
    same numbers as an uninterrupted run. overrides: settings of hosting, tracking and checkpoint only. objects:
    those from Python that the run was started with, as in `simulate`; they are required, and compared by their digests.
    A run that has ended early goes on if `rounds` says how far: without the rule that has held, or by a new `Stop`
    among the observers, which counts from there.

    Raises: ConfigError, if the folder has no run, is in use by another process, or has nothing left to do. Exceptions
    from observers are raised as in `simulate`.
    """
    fan_out = Observers(observers)
    with EndOfRun(fan_out) as end, reopen(Path(run), rounds, overrides, fan_out) as resumed:
        resumed = replace(resumed, config=Objects.of(objects).take_again(resumed.config))
        context = _Context(fan_out, None, interrupts or Interrupts())
        if resumed.remaining is Remaining.REPORT:
            end.result = result = _complete(resumed, context)
        else:
            end.result = result = _run(resumed.config, resumed.folder.path.parent, resumed, context)
    fan_out.reraise()
    return result


class RunInterrupted(KeyboardInterrupt):
    """A signal ended a run before it could write its summary; `folder` has the results written until then."""

    def __init__(self, folder: Path) -> None:
        super().__init__(str(folder))
        self.folder = folder


@dataclass(frozen=True)
class _Context:
    """The inputs of a run besides its config. dataset: the config's data set if it is already loaded."""

    observers: Observers
    dataset: Dataset | None
    interrupts: Interrupts


def _run(config: RunConfig, output: Path, resumed: Resumed | None, context: _Context) -> Result:
    observers = context.observers
    check_stop(config)
    observers.observe(StageEntered(Stage.LOADING, config))
    loading = in_background(lambda: identified(prepare(config, context.dataset)))
    wait([loading], timeout=PATIENCE)
    observers.observe(StageEntered(Stage.START, config))
    observers.reraise()
    if loading.done():
        loading.result()  # report a mistake in the config before anything starts

    def loaded() -> tuple[Sequence[PeerSettings], Dataset]:
        plan = loading.result()
        return settings_of(plan), plan.dataset

    try:
        opening = loading_pool(config.peers.count, config.hosting, loaded, _tell(observers))
        return _run_on(loading, opening, output, resumed, context)
    except BroughtError as error:  # in a process of peers, which has other code than this one
        raise ConfigError(str(error)) from None
    except torch.OutOfMemoryError as error:  # before the first stage: later ones write the results so far
        raise ConfigError(out_of_memory(loading.result(), error)) from None


def _tell(observers: Observers) -> Tell:
    return lambda text: observers.observe(Note(text))


def _run_on(
    loading: "Future[Plan]",
    opening: AbstractContextManager[Pool],
    output: Path,
    resumed: Resumed | None,
    context: _Context,
) -> Result:
    result, folder = None, resumed.folder if resumed else None
    try:
        with opening as pool:
            plan = loading.result()
            config = plan.config.model_copy(update={"hosting": pool.hosting})
            plan = replace(plan, config=config)
            if resumed:
                resumed.check_inputs(plan)
            with side_pools(pool, plan, _tell(context.observers)) as beside:
                new = folder or RunFolder(output, config.run.name)
                with nullcontext() if resumed else new.locked():
                    try:
                        simulation, checkpoints = _compose(plan, pool, beside, new, resumed, context)
                    except BaseException:
                        if not resumed:
                            shutil.rmtree(new.path, ignore_errors=True)  # nothing was run, so leave no folder behind
                        raise
                    folder = new
                    resumable = config.checkpoint.every > 0
                    pool.advise(way_on(folder.path) if resumable else "start it again")
                    result = simulation.run()
                    pool.advise("")
        checkpoints.discard_incomplete()  # no peer writes to them any more
    except KeyboardInterrupt:
        if result is None and folder is not None:
            raise RunInterrupted(folder.path) from None
        if result is None:
            raise
    return result


def _compose(
    plan: Plan,
    pool: Pool,
    beside: Sequence[Pool],
    folder: RunFolder,
    resumed: Resumed | None,
    context: _Context,
) -> tuple[Simulation, Checkpoints]:
    """Assemble the parts of a run; a resumed run gets its recorded state back."""
    config, checkpoints = open_checkpoints(plan.config, folder.path, pool)
    plan = replace(plan, config=config)
    folder.write_text("config.toml", note_for_file(config) + to_toml(config))
    if resumed and resumed.recalled.ended is not None:
        (folder.path / "summary.json").unlink(missing_ok=True)  # of the end that does not hold any more
    finish = _records(config, folder, resumed, context.observers, _probe_batch(plan), class_images(plan))
    recorder, tables = finish.recorder, finish.tables
    probed = recorder.probes.begin(plan.probed)
    manager = CheckpointManager(checkpoints, identity_of(plan), recorder, tables)

    observers, interrupts = context.observers, context.interrupts
    held = holds(config, observers)
    scheduler = schedulers_of(plan)
    start = None if resumed else START
    group = PeerGroup(plan, pool, scheduler, manager, start, held, observers.want_outputs, probed)
    others = [PeerGroup(plan, other, scheduler, manager, holds=held) for other in beside]
    simulation = Simulation(plan, group, others, recorder, manager, observers, interrupts, tables, finish.conclude)
    return simulation, checkpoints


def _probe_batch(plan: Plan) -> ProbeBatch:
    """The places of the probe batch among the test images, and its labels."""
    places = probe_images(plan.dataset, plan.config.evaluation, plan.config.run.seed).batch
    return places, plan.dataset.test_labels[places]


def _records(
    config: RunConfig,
    folder: RunFolder,
    resumed: Resumed | None,
    observers: Observers,
    probe_batch: ProbeBatch | None = None,
    classes: ClassImages | None = None,
) -> Finish:
    """The recorder, tables and MLflow tracker of a run; a resumed run gets its recorded numbers back."""
    tables = Tables(folder, classes)
    tracker = _tracker(config, folder, continued=resumed is not None)
    observers.attach(tables, mlflow := MlflowObserver(tracker, config))
    recalled = resumed.recalled if resumed else Recalled.nothing(config)
    temperature = config.exchange.student_temperature
    recorder = Recorder(recalled.state, recalled.probes, observers, temperature, tables.compare_later, probe_batch)
    observers.attach(Progress(folder, recalled.state, recalled.probes, config, observers.observe))
    if resumed:
        if resumed.remaining is not Remaining.REPORT:
            tracker.log_tags({"resumed_from_round": str(recalled.state.completed)})
        mlflow.send_again(folder, {peer: each.completed for peer, each in recalled.state.dropped.items()})
        for damaged in resumed.damaged_checkpoints:
            recorder.fault(FaultKind.CHECKPOINT_DAMAGED, damaged)
        if resumed.tables_damaged:
            recorder.fault(FaultKind.TABLES_DAMAGED, "the tables in metrics/ are damaged or incomplete")
    return Finish(recorder, tables, tracker)


def _tracker(config: RunConfig, folder: RunFolder, continued: bool) -> Tracker:
    """The run in MLflow; continued: whether to continue the MLflow run whose id is in the folder."""

    def note(run_id: str) -> None:
        if folder.path.is_dir():  # otherwise the run was abandoned before it began
            folder.write_text(MLFLOW_RUN, run_id)

    return Tracker(config.tracking, folder.path.parent, folder.path.name, folder.mlflow_run if continued else "", note)


def _complete(resumed: Resumed, context: _Context) -> Result:
    """Produce figures, page and MLflow run of a run whose numbers are complete."""
    with context.interrupts:
        finish = _records(resumed.config, resumed.folder, resumed, context.observers)
        finish.recorder.publish(RunStarted(resumed.config, resumed.folder.path))
        return finish.complete(resumed.config)


def in_background(compute: Callable[[], Plan]) -> "Future[Plan]":
    """Start a computation in a non-daemon thread: exiting while torch runs in a daemon thread crashes Python."""
    future: Future[Plan] = Future()

    def run() -> None:
        try:
            future.set_result(compute())
        except BaseException as error:
            future.set_exception(error)

    Thread(target=run, name=LOADING).start()
    return future
