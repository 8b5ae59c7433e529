"""One run from config to verdict: controls, rounds, probes, and a folder that holds all of it."""

import shutil
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Thread
from typing import Any, Literal

from coordinator import checkpoint, page
from coordinator.config import RunConfig, to_toml, with_execution
from coordinator.learned import Condition, ProbeTable
from coordinator.plan import Plan, build_schedule, peer_settings, prepare
from coordinator.pool import HostLost, Pool, ask, in_order, loading_pool, submit_observations
from coordinator.probing import OUTSTANDING, Probing, probe
from coordinator.progress import Monitor, Silent
from coordinator.recorder import Recorder
from coordinator.report import in_words
from coordinator.rounds import Cadence, RoundLoop, RoundRecord
from coordinator.routes import last_rounds
from coordinator.store import RunFolder, check_output, to_json
from coordinator.summary import final_metrics, flatten, shown_config, summarise, verdict_line
from coordinator.tracking import Tracker, without_secrets
from peers.data import Dataset
from peers.measuring import ProbeOutcome
from peers.settings import PeerSettings

Status = Literal["finished", "interrupted", "stopped"]
PATIENCE = 1.0  # seconds that data may take before Ray is started beside it
MLFLOW_STATUS: dict[Status, str] = {"finished": "FINISHED", "interrupted": "KILLED", "stopped": "FAILED"}


@dataclass(frozen=True)
class Result:
    """What a run left: `summary` is what `summary.json` holds, `message` says why it ended early."""

    status: Status
    summary: dict[str, Any]
    folder: Path
    message: str = ""


def simulate(
    config: RunConfig, output: str | Path = "runs", monitor: Monitor | None = None, dataset: Dataset | None = None
) -> Result:
    """Run an experiment; its folder is made in `output`. Its data is loaded, unless given.

    A run that is interrupted (Ctrl-C) or stopped (values that are not finite, a lost host) still writes what it has,
    and says so in the result's status.

    Raises: ConfigError, before anything is written, on input that cannot be run.
    """
    monitor = monitor or Silent()
    check_output(output)
    monitor.phase(f"loading {config.data.kind}")
    loading = in_background(lambda: prepare(config, dataset))
    wait([loading], timeout=PATIENCE)
    monitor.phase(f"starting {config.peers.count} peers ({config.hosting.pool})")
    if loading.done():
        loading.result()  # a mistake in the config is told before anything starts

    def loaded() -> tuple[Sequence[PeerSettings], Dataset]:
        data = loading.result().dataset
        return peer_settings(config, data), data

    with loading_pool(config.peers.count, config.hosting, loaded) as pool:
        config = with_execution(config, pool.execution)
        plan = replace(loading.result(), config=config)
        folder = RunFolder(output, config.run.name)
        folder.write_text("config.toml", to_toml(config))
        try:
            tracker = Tracker(config.tracking, Path(output), folder.path.name)
        except KeyboardInterrupt:
            shutil.rmtree(folder.path)  # nothing was run: leave nothing
            raise
        recorder = Recorder(folder, tracker, monitor, config.exchange.student_temperature)
        result = Simulation(plan, pool, recorder).run()
    checkpoint.discard_incomplete(result.folder / "checkpoints")  # now that no peer writes any more
    return result


def in_background(compute: Callable[[], Plan]) -> "Future[Plan]":
    """Start a computation in a thread that does not keep an interrupted program alive."""
    future: Future[Plan] = Future()

    def run() -> None:
        try:
            future.set_result(compute())
        except BaseException as error:
            future.set_exception(error)

    Thread(target=run, daemon=True).start()
    return future


class Simulation:
    """Calls the peers in order and hands what they say to the recorder; holds no parameters and no messages."""

    def __init__(self, plan: Plan, pool: Pool, recorder: Recorder) -> None:
        self.plan = plan
        self.config = plan.config
        self.pool = pool
        self.recorder = recorder
        self.probes = ProbeTable(plan.config.evaluation.probes)
        self._peers = range(plan.config.peers.count)
        self._phase = "the start"
        self._asked: dict[Condition, Probing] = {}  # controls on their way

    def run(self) -> Result:
        try:
            status, message = self._run_until_stopped()
        except Exception as error:  # a defect: keep the numbers, then let it be seen
            self._finish("stopped", f"in {self._phase}: {type(error).__name__}: {error}")
            raise
        return self._finish(status, message)

    def _run_until_stopped(self) -> tuple[Status, str]:
        try:
            self.recorder.tracker.log_params(flatten(shown_config(self.plan)))
            self._controls()
            message = self._rounds()
            self._read_controls()
            if message:
                return "stopped", message
            self._final_probes()
            if self.config.evaluation.alone:
                self._alone()
        except KeyboardInterrupt:
            with suppress(HostLost):
                self._read_controls(patient=False)
            return "interrupted", self._where()
        except HostLost as error:
            return "stopped", f"{error}; {self._where()}; {self._last_checkpoint()}"
        return "finished", ""

    def _where(self) -> str:
        return f"in {self._phase}, with round {self.recorder.totals.completed} of {self.config.run.rounds} completed"

    def _last_checkpoint(self) -> str:
        last = self.recorder.totals.last_checkpoint
        if last:
            return f"the last good checkpoint is of round {last}"
        return (
            "there is no checkpoint yet"
            if self.config.checkpoint.every
            else "there is no checkpoint (checkpoint.every = 0)"
        )

    def _enter(self, phase: str, shown: str = "") -> None:
        self._phase = phase
        self.recorder.monitor.phase(shown or phase)

    def _finish(self, status: Status, message: str) -> Result:
        """Write the numbers first, then what may take a while or fail."""
        recorder, tracker, folder = self.recorder, self.recorder.tracker, self.recorder.folder
        summary = summarise(self.plan, recorder.totals, self.probes, status, message)
        recorder.write_tables()
        folder.write_text("summary.json", to_json(summary))
        try:
            recorder.monitor.phase("drawing figures, closing MLflow")
            from coordinator import figures  # here: matplotlib would hold up the start

            figures.save(self.plan.schedule, folder, summary)
            config = (folder.path / "config.toml").read_text(encoding="utf-8")
            folder.write_text(
                "report.html", page.render(summary, in_words(summary), without_secrets(config), folder.path)
            )
            tracker.log_metrics(final_metrics(summary), recorder.totals.completed)
            tracker.log_tags({"status": status, "verdict": verdict_line(summary)})
            tracker.log_folder(folder.path)
        except KeyboardInterrupt:
            recorder.monitor.phase("interrupted: figures or MLflow's files may be missing, the numbers are written")
        finally:
            tracker.close(MLFLOW_STATUS[status])
        return Result(status, summary, folder.path, message)

    def _timed(self, outcomes: list[ProbeOutcome]) -> list[ProbeOutcome]:
        self.recorder.totals.evaluation_seconds += sum(each.seconds for each in outcomes)
        return outcomes

    def _controls(self) -> None:
        """Raw pixels, untrained, untrained and calibrated; evaluators do it while the rounds run, else before them."""
        self._enter("the controls", "probing the controls: raw pixels, untrained, calibrated")
        rounds = last_rounds(self.plan.schedule, self.config.run.rounds, self.config.evaluation.calibration_passes)
        self._asked = {
            "raw_pixels": probe(self.pool, "pixels", untrained=True, peers=(0,)),
            "untrained": probe(self.pool, "as-is", untrained=True),
            "calibrated": probe(self.pool, "calibrated", dict(enumerate(rounds)), untrained=True),
        }
        if not self.pool.evaluators:
            self._read_controls()
        seen = in_order(self.pool, self.pool.get(submit_observations(self.pool)))
        self.recorder.start(seen, self.plan.schedule(0))

    def _read_controls(self, patient: bool = True) -> None:
        """Take the controls that were asked for; without patience only those that are there."""
        for name, asked in list(self._asked.items()):
            if patient or asked.done():
                outcomes = self._timed(asked.get())
                self.probes.add(name, outcomes * len(self._peers) if name == "raw_pixels" else outcomes)
                del self._asked[name]

    def _rounds(self) -> str:
        """Run all rounds; returns why it stopped early, if it did."""
        config, totals = self.config, self.recorder.totals
        self._phase = "the rounds"
        cadence = Cadence(
            config.run.rounds,
            config.hosting.lookahead,
            config.evaluation.every,
            config.evaluation.probe_every,
            config.checkpoint.every,
            self.recorder.folder.path / "checkpoints",
            keep_failed=config.run.on_nonfinite == "drop-peer",
        )
        loop = RoundLoop(self.pool, self.plan.schedule, cadence, config.exchange.pooling == "shared-sum")
        late: deque[tuple[int, Probing]] = deque()  # evaluators lag behind
        message = ""
        self.recorder.monitor.begin(config.run.rounds, "rounds")
        start = time.perf_counter()
        try:
            for record in loop:
                self.recorder.round(record)
                if record.probes is not None:
                    late.append((record.completed, record.probes))
                while len(late) > (OUTSTANDING if self.pool.evaluators else 0):
                    self._read_probes(*late.popleft())
                totals.seconds, totals.peer_seconds = time.perf_counter() - start, loop.peer_seconds
                message = self._note_failures(record)
                if message:
                    break
        finally:
            self.recorder.monitor.end()
        for each in late:
            self._read_probes(*each)
        return message

    def _read_probes(self, completed: int, asked: Probing) -> None:
        self.recorder.probes(completed, asked.get())

    def _note_failures(self, record: RoundRecord) -> str:
        """Remember the peers that dropped out; returns the line to stop with, if the run is to stop."""
        totals = self.recorder.totals
        failures = {peer: (each.failure_round + 1, each.failure) for peer, each in record.stats.items() if each.failure}
        for peer, seen in enumerate(record.observations or ()):
            if seen.failed:
                failures.setdefault(peer, (record.completed, "outputs on the probe batch are not finite"))
        for peer, (at, reason) in sorted(failures.items()):
            if peer in totals.dropped:
                continue
            totals.dropped[peer] = (at, reason)
            line = f"round {at}, peer {peer}: {reason}"
            if self.config.run.on_nonfinite == "stop":
                advice = "lower peers.optimizer.lr, check the temperatures, or set run.on_nonfinite = 'drop-peer'"
                return f"{line}; {self._last_checkpoint()}; {advice}"
            self.recorder.monitor.phase(f"{line}; the others go on without it")
        return "every peer has dropped out" if len(totals.dropped) == len(self._peers) else ""

    def _final_probes(self) -> None:
        self._enter("the final probes", "probing the trained peers")
        totals = self.recorder.totals
        outcomes = probe(self.pool, "as-is").get()
        self.probes.add("trained", outcomes)
        self.recorder.probes(totals.completed, outcomes)
        if self.config.evaluation.reset:
            self.probes.add("reset", self._timed(probe(self.pool, "reset").get()))
        totals.digests = ask(self.pool, "digest")

    def _alone(self) -> None:
        """The fourth control: the same peers in the same rounds, but every student is its own teacher."""
        self._phase = "the control alone"
        rounds, monitor, totals = self.config.run.rounds, self.recorder.monitor, self.recorder.totals
        ask(self.pool, "restart")
        schedule = build_schedule(self.config, alone=True)
        monitor.begin(rounds, "alone")
        try:
            for record in RoundLoop(self.pool, schedule, Cadence(rounds, self.config.hosting.lookahead)):
                monitor.round({"round": record.completed})
                totals.failed_alone |= {peer for peer, each in record.stats.items() if each.failure}
        finally:
            monitor.end()
        if totals.failed_alone:  # a control of fewer or half-trained peers would be no control
            peers = ", ".join(map(str, sorted(totals.failed_alone)))
            monitor.phase(f"values that are not finite in peer {peers} alone: no verdict on the exchange")
        else:
            self.probes.add("alone", self._timed(probe(self.pool, "as-is").get()))
