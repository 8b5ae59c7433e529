"""A run that ends early is the run of so many rounds, bit for bit: by its rule or by an observer, killed or not."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from torch.func import functional_call

from coordinator import ConfigError, Result, Stop, StopRun, load_config, resume, simulate
from coordinator.planning.plan import identified, prepare, settings_of
from coordinator.pools.in_process import InProcessHost
from coordinator.records.events import (
    EndedEarly,
    Measured,
    OutputsMeasured,
    Phase,
    RoundCompleted,
    RunEnded,
    RunEvent,
    Stage,
    StageEntered,
    StopChecked,
)
from coordinator.records.files.result import Status
from peers.data import datasets
from peers.learning.peer import Peer
from peers.learning.peer_files import PeerFiles
from tests.coordinator.run.test_resume import METRICS, Events, assert_same, killed_before, run, table

NEVER_BETTER = {"measure": "probes.knn.gain", "patience": 1, "min_delta": 1.0}  # accuracies differ by less: ends at 8


@pytest.fixture(scope="module")
def distances(tmp_path_factory: pytest.TempPathFactory) -> dict[int, float]:
    """The disagreement at each measured round of the run that does not end early."""
    rows = pq.read_table(run(tmp_path_factory.mktemp("whole")).folder / "metrics" / "rounds.parquet").to_pylist()
    return {row["round"]: row["relative_distance"] for row in rows if row.get("relative_distance") is not None}


def of_rounds(output: Path, rounds: int, **sections: Any) -> Result:
    """The run that is planned with so many rounds, and has no rule."""
    return run(output, **{**sections, "run": {**sections.get("run", {}), "rounds": rounds}})


def assert_same_summary(result: Result, straight: Result) -> None:
    """For a run that goes on: it was measured where it had ended, too, so its tables have more."""
    for name in METRICS:
        assert result.summary[name] == straight.summary[name], name


def ends_at(distances: dict[int, float], limit: float) -> int:
    return next(completed for completed, value in sorted(distances.items()) if completed and value < limit)


def test_simulate__a_run_ended_by_its_rule_is_that_of_so_many_rounds(tmp_path: Path, distances: dict[int, float]):
    limit = (max(distances[3], distances[6]) + min(distances[3], distances[6])) / 2
    expected, events = ends_at(distances, limit), Events()
    result = run(tmp_path / "stopped", events, run={"stop": {"below": limit}})
    assert_same(result, of_rounds(tmp_path / "planned", expected))
    ended = result.summary["ended"]
    assert (ended["by"], ended["round"], ended["value"]) == ("run.stop", expected, distances[expected])
    assert ended["rule"] == f"consensus.relative_distance is below {limit:g}" and ended["rule"] in result.message
    assert result.status == "finished" and result.summary["message"] == result.message
    assert result.message in (result.folder / "report.html").read_text().replace("&#x27;", "'")
    checked = [each for each in events.events if isinstance(each, StopChecked)]
    assert checked == [StopChecked(at, distances[at]) for at in range(3, expected + 1, 3)]
    assert [type(each) for each in events.events].count(EndedEarly) == 1
    assert run(tmp_path / "never", run={"stop": {"below": -1.0}}).summary["ended"] is None


@pytest.mark.parametrize(
    ("stop", "rounds"),
    [
        pytest.param(NEVER_BETTER, 8, id="gain"),
        pytest.param({"measure": "probes.knn.trained", "above": -1.0}, 4, id="trained", marks=pytest.mark.slow),
        pytest.param({"measure": "loss", "patience": 2, "min_delta": 1e6}, 9, id="patience", marks=pytest.mark.slow),
        pytest.param({"measure": "loss", "above": -1.0}, 3, id="loss", marks=pytest.mark.slow),
    ],
)
def test_simulate__on_any_measure(tmp_path: Path, stop: dict[str, Any], rounds: int):
    evaluation = {"controls": ["alone", "alone-matched"], "recalibrated": True}
    result = run(tmp_path / "stopped", run={"stop": stop}, evaluation=evaluation)
    assert_same(result, of_rounds(tmp_path / "planned", rounds, evaluation=evaluation))
    assert {each["rounds"] for each in result.summary["controls"].values()} == {rounds}


@pytest.mark.slow
def test_simulate__lookahead_changes_nothing(tmp_path: Path):
    results = [run(tmp_path / str(n), run={"stop": NEVER_BETTER}, hosting={"lookahead": n}) for n in (1, 7)]
    assert_same(*results)


@pytest.mark.slow
def test_simulate__the_learning_rate_follows_the_planned_rounds(tmp_path: Path):
    """So a run that ends early is the beginning of the one that does not."""
    peers = {"optimizer": {"kind": "adam", "lr": 1e-3, "schedule": "cosine"}}
    result = run(tmp_path / "stopped", run={"stop": NEVER_BETTER}, peers=peers)
    losses = [
        [row["loss"] for row in pq.read_table(each.folder / "metrics" / "rounds.parquet").to_pylist()[:9]]
        for each in (result, run(tmp_path / "whole", peers=peers), of_rounds(tmp_path / "8", 8, peers=peers))
    ]
    assert losses[0] == losses[1] != losses[2]


@pytest.mark.parametrize(
    ("method", "nth"),
    [
        pytest.param("advance", 3, id="before", marks=pytest.mark.slow),
        pytest.param("observe", 3, id="the last measurement"),
        pytest.param("save", 2, id="the last save", marks=pytest.mark.slow),
        pytest.param("digest", 1, id="final probes", marks=pytest.mark.slow),
        pytest.param("probe", 7, id="calibrated anew", marks=pytest.mark.slow),
        pytest.param("advance", 9, id="control"),
    ],
)
def test_resume__after_a_kill_anywhere_it_ends_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, nth: int
):
    stop = {"measure": "consensus.js", "patience": 1, "min_delta": 1e6}  # ends at 6; the last checkpoint before is of 4
    straight = run(tmp_path / "straight", run={"stop": stop})
    assert straight.summary["ended"]["round"] == 6
    with killed_before(monkeypatch, method, nth):
        run(tmp_path / "killed", run={"stop": stop})
    (folder,) = (tmp_path / "killed").iterdir()
    resumed = resume(folder)
    assert_same(resumed, straight)
    assert resumed.summary["ended"] == straight.summary["ended"]
    assert resumed.summary["controls"] == straight.summary["controls"]


def test_resume__nothing_is_left_to_do_unless_rounds_are_added(tmp_path: Path):
    stopped = run(tmp_path, run={"stop": NEVER_BETTER})
    with pytest.raises(ConfigError, match=r"has ended after round 8 of 12 \(run.stop: .*\): give --rounds to go on$"):
        resume(stopped.folder)
    with pytest.raises(ConfigError, match=r"give --rounds to go on$"):
        resume(stopped.folder, rounds=8)
    with pytest.raises(ConfigError, match=r"--rounds must be at least the 8 that are done, got 7"):
        resume(stopped.folder, rounds=7)
    with pytest.warns(UserWarning, match="run.stop has held: the run goes on to round 12 without it"):
        longer = resume(stopped.folder, rounds=12)
    assert_same_summary(longer, run(tmp_path / "whole"))
    assert longer.summary["ended"] is None and "stop" not in longer.summary["config"]["run"]


@pytest.mark.slow
def test_resume__by_a_new_rule_which_counts_from_there(tmp_path: Path):
    """The old one held at 8. With patience 1, a rule that remembered the values before would end at 12."""
    stopped = run(tmp_path, run={"stop": NEVER_BETTER})
    rule = Stop(measure="probes.knn.gain", patience=1, min_delta=1.0, mode="max")
    longer = resume(stopped.folder, rounds=24, observers=[rule])
    assert_same_summary(longer, of_rounds(tmp_path / "planned", 16))


@pytest.mark.slow
def test_resume__killed_after_it_went_on_it_still_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    stopped = run(tmp_path / "a", run={"stop": NEVER_BETTER})
    with pytest.warns(UserWarning, match="without it"), killed_before(monkeypatch, "advance", 1):
        resume(stopped.folder, rounds=12)
    assert_same_summary(resume(stopped.folder), run(tmp_path / "whole"))


@pytest.mark.slow
def test_resume__only_the_report_of_a_run_that_ended_early(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("coordinator.pages.run_page.render", interrupt)
        assert run(tmp_path, run={"stop": NEVER_BETTER}).status == "interrupted"
    (folder,) = tmp_path.iterdir()
    again = resume(folder)
    assert again.status == "finished" and again.message.startswith("after round 8 of 12 (run.stop: ")
    assert (folder / "report.html").is_file()


@pytest.mark.slow
def test_resume__keeps_a_rule_that_has_not_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with killed_before(monkeypatch, "advance", 6):
        run(tmp_path / "killed", run={"rounds": 9, "stop": NEVER_BETTER})
    (folder,) = (tmp_path / "killed").iterdir()
    with pytest.raises(ConfigError, match=r"^observers: Stop is not the rule that the run was started with"):
        resume(folder, observers=[Stop(below=0.5)])
    longer = resume(folder, rounds=20, observers=[Stop(**NEVER_BETTER)])
    assert_same(longer, of_rounds(tmp_path / "planned", 8))


@pytest.mark.slow
def test_simulate__stop_among_the_observers_is_the_rule(tmp_path: Path):
    config = load_config(table())
    by_object = simulate(config, tmp_path / "object", [Stop(**NEVER_BETTER)])
    assert_same(by_object, run(tmp_path / "config", run={"stop": NEVER_BETTER}))
    again = simulate(load_config(by_object.folder / "config.toml"), tmp_path / "again")
    assert again.summary["digest"] == by_object.summary["digest"] and again.summary["ended"]["round"] == 8
    with pytest.raises(ConfigError, match=r"^observers: Stop is another rule than the config's run.stop: leave one"):
        simulate(load_config(table(run={"stop": {"below": 0.1}})), tmp_path / "two", [Stop(patience=1)])
    with pytest.raises(ConfigError, match=r"^run.stop.measure: 'nothing' is not measured during a run"):
        simulate(config, tmp_path / "two", [Stop(measure="nothing", below=1.0)])
    assert not (tmp_path / "two").exists()


# ---- observers ----


class Ending:
    """Raises `StopRun` at the first event of a kind after a round, and keeps what it is told."""

    def __init__(self, kind: type, completed: int, holds_rounds: bool) -> None:
        self.kind, self.completed, self.holds_rounds = kind, completed, holds_rounds
        self.told = list[RunEvent]()

    def observe(self, event: RunEvent) -> None:
        self.told.append(event)
        if isinstance(event, self.kind) and event.completed == self.completed:  # type: ignore[attr-defined]
            raise StopRun("enough of it")


@pytest.mark.parametrize(
    ("kind", "completed", "holds_rounds", "rounds"),
    [
        pytest.param(Measured, 6, True, 6, marks=pytest.mark.slow),
        pytest.param(RoundCompleted, 4, True, 4),  # probed, but not measured
        pytest.param(RoundCompleted, 4, False, 6, marks=pytest.mark.slow),  # and the two in flight
        pytest.param(Measured, 0, False, 3, marks=pytest.mark.slow),
    ],
)
def test_simulate__an_observer_ends_the_run_cleanly(
    tmp_path: Path, kind: type, completed: int, holds_rounds: bool, rounds: int
):
    observer = Ending(kind, completed, holds_rounds)
    result = run(tmp_path / "stopped", observer)
    assert_same(result, of_rounds(tmp_path / "planned", rounds))
    assert result.summary["ended"] == {"by": "observer", "rule": "enough of it", "round": rounds, "value": None}
    assert result.message == f"after round {rounds} of 12 (an observer ended it: enough of it)"
    assert observer.told[-1] == RunEnded(Status.FINISHED, result.message, result.folder)
    (entered,) = [each for each in observer.told if isinstance(each, StageEntered) and each.stage is Stage.CONTROL_RUNS]
    assert entered.config.run.rounds == rounds
    with pytest.raises(ConfigError, match="an observer ended it: enough of it"):
        resume(result.folder)
    assert_same_summary(resume(result.folder, rounds=12), run(tmp_path / "whole"))


def test_simulate__after_the_last_round_there_is_nothing_to_end(tmp_path: Path):
    def late(event: RunEvent) -> None:
        if isinstance(event, StageEntered) and event.stage is Stage.FINAL_PROBES:
            raise StopRun

    result = run(tmp_path, late)
    assert (result.status, result.message, result.summary["ended"]) == ("finished", "", None)
    assert result.summary["rounds"] == 12


@pytest.mark.slow
def test_simulate__an_error_counts_more_than_an_end(tmp_path: Path):
    def failing(event: RunEvent) -> None:
        if isinstance(event, RoundCompleted) and event.completed == 5:
            raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        run(tmp_path, Ending(RoundCompleted, 5, False), failing)
    (folder,) = tmp_path.iterdir()
    assert json.loads((folder / "summary.json").read_text())["status"] == "stopped"
    assert resume(folder).summary["rounds"] == 7


def test_simulate__a_function_is_an_observer(tmp_path: Path):
    told = list[RunEvent]()
    result = run(tmp_path, told.append)
    assert told[-1] == RunEnded(Status.FINISHED, "", result.folder)
    rounds = [each.completed for each in told if isinstance(each, RoundCompleted) and each.phase is Phase.ROUNDS]
    assert rounds == list(range(1, 13))


class Watching:
    """Wants the outputs of some rounds."""

    def __init__(self, *rounds: int) -> None:
        self.rounds, self.seen = rounds, list[OutputsMeasured]()

    def wants_outputs(self, completed: int) -> bool:
        return completed in self.rounds

    def observe(self, event: RunEvent) -> None:
        self.seen += [event] if isinstance(event, OutputsMeasured) else []


def own_forward(peer: Peer, places: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Features and outputs of a network on test images, with the batch's own statistics of BatchNorm."""
    images = datasets.images_to_tensor(peer.dataset.test_images[places], *peer.settings.normalisation)
    with torch.no_grad():
        features = peer.network.train().encoder(images)
        return features.numpy(), peer.network.head(features).numpy()


@pytest.mark.parametrize("what", ["logits", pytest.param("features", marks=pytest.mark.slow)])
def test_simulate__outputs_are_those_of_the_networks_and_change_no_number(tmp_path: Path, what: str):
    """Before training, and at the end as restored from the checkpoint; 7 is no measured round."""
    exchange = {"what": what} | ({} if what == "logits" else {"target": {"kind": "none"}, "loss": {"kind": "mse"}})
    first, second, third = Watching(0, 3, 7, 12), Watching(3), Events()
    result = run(tmp_path / "watched", first, second, third, exchange=exchange)
    assert_same(result, run(tmp_path / "plain", exchange=exchange))
    assert [each.completed for each in first.seen] == [0, 3, 12] and [each.completed for each in second.seen] == [3]
    assert not any(isinstance(each, OutputsMeasured) for each in third.events)
    plan = identified(prepare(load_config(table(exchange=exchange))))
    for settings in settings_of(plan):
        peer = Peer(settings, plan.dataset)
        for seen, completed in ((first.seen[0], 0), (first.seen[-1], 12)):
            if completed:
                peer.restore(PeerFiles(str(result.folder / "checkpoints" / "round-000012")).content(peer.index))
            assert (seen.labels == plan.dataset.test_labels[seen.examples]).all() and len(seen.labels) == 24
            buffers = {name: buffer.clone() for name, buffer in peer.network.named_buffers()}
            features, outputs = own_forward(peer, seen.examples)
            assert np.array_equal(seen.features[peer.index], features), completed
            assert np.array_equal(seen.outputs[peer.index], outputs), completed
            functional_call(peer.network, buffers, (torch.zeros(2, *plan.dataset.shape),))
    with pytest.raises(ValueError, match="read-only"):
        first.seen[0].outputs[0][:] = 0.0


@pytest.mark.slow
def test_simulate__nothing_is_kept_where_nobody_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    kept, call = list[bool](), InProcessHost.observe

    def noting(self: InProcessHost, grams: bool, keep: bool = False) -> Any:
        kept.append(keep)
        return call(self, grams, keep)

    monkeypatch.setattr(InProcessHost, "observe", noting)
    run(tmp_path / "a", Events())
    assert kept and not any(kept)
    kept.clear()
    run(tmp_path / "b", Watching(6))
    assert kept.count(True) == 1


def test_simulate__an_observer_that_cannot_say_what_it_wants_ends_the_run(tmp_path: Path):
    def wanting(event: RunEvent) -> None: ...

    def fail(completed: int) -> bool:
        raise ValueError(f"mine at {completed}")

    wanting.wants_outputs = fail  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="mine at 0"):
        run(tmp_path, wanting)
