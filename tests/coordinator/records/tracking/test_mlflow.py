import json
import os
import signal
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, suppress
from pathlib import Path
from threading import Event
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.experiment.config import TrackingConfig
from coordinator.experiment.redaction import without_secrets
from coordinator.records.tracking.mlflow import OLDER_NAMES, SECONDS, Tracker, _is_away
from coordinator.records.tracking.mlflow_store import EXPERIMENT_TAGS, KIND, VIEW_TAG, store_uri
from coordinator.records.tracking.retry_queue import RetryQueue
from coordinator.reports.markdown import run_note

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # MLflow's own
Cli = Callable[..., tuple[Any, str, str]]


def client(output: Path) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(store_uri(output))


def curve(output: Path, tracker: Tracker, key: str) -> list[tuple[int, float]]:
    return [(each.step, each.value) for each in client(output).get_metric_history(tracker.run_id, key)]


class Recording:
    """Stands in for MLflow's client and remembers the size of every batch."""

    def __init__(self) -> None:
        self.batches: list[tuple[str, int]] = []

    def log_batch(self, run_id: str, **rows: list[Any]) -> None:
        self.batches += [(what, len(values)) for what, values in rows.items()]

    def set_terminated(self, run_id: str, status: str) -> None:
        self.batches.append((status, 0))


def recording(tmp_path: Path) -> tuple[Tracker, Recording]:
    tracker, client = Tracker(TrackingConfig(enabled=False), tmp_path, "run"), Recording()
    tracker._queue, tracker._client = RetryQueue("mlflow", _is_away), client
    return tracker, client


# ---- what arrives ----


def test_tracker__metrics_arrive_with_steps_and_values(runs: Path) -> None:
    tracker = Tracker(TrackingConfig(), runs, "a-run")
    for step in range(4):
        tracker.log_metrics({"loss": 1.0 / (step + 1), "bytes": 100 * step}, step)
    tracker.close("FINISHED")
    assert curve(runs, tracker, "loss") == [(0, 1.0), (1, 0.5), (2, 1 / 3), (3, 0.25)]
    assert curve(runs, tracker, "bytes") == [(0, 0.0), (1, 100.0), (2, 200.0), (3, 300.0)]


def test_tracker__params_tags_status_and_artifacts_arrive(runs: Path) -> None:
    folder = runs / "a-run"
    for name in ("summary.json", "metrics/rounds.parquet", "checkpoints/round-1/0.bin"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    tracker = Tracker(TrackingConfig(experiment="mine"), runs, "a-run")
    tracker.log_params({"run.seed": 3, "peers.model.hidden": [8, 4], "long": "x" * 7000})
    tracker.log_tags({"verdict": "knn: learned"})
    tracker.log_folder(folder)
    tracker.close("KILLED")
    run = client(runs).get_run(tracker.run_id)
    assert run.data.params == {"run.seed": "3", "peers.model.hidden": "[8, 4]", "long": "x" * 6000}
    assert run.data.tags["verdict"] == "knn: learned"
    assert (run.info.run_name, run.info.status) == ("a-run", "KILLED")
    assert client(runs).get_experiment(run.info.experiment_id).name == "mine"
    assert sorted(each.path for each in client(runs).list_artifacts(tracker.run_id)) == ["metrics", "summary.json"]
    stored = runs / "mlartifacts" / tracker.run_id / "artifacts" / "metrics" / "rounds.parquet"
    assert stored.read_text() == "metrics/rounds.parquet"


def test_log_folder__toml_goes_without_secrets_and_stays_as_it_is(runs: Path) -> None:
    folder = runs / "a-run"
    folder.mkdir()
    text = '[tracking]\nuri = "https://me:word@host:5000"\n'
    (folder / "config.toml").write_text(text)
    tracker = Tracker(TrackingConfig(), runs, "a-run")
    tracker.log_folder(folder)
    tracker.close("FINISHED")
    stored = runs / "mlartifacts" / tracker.run_id / "artifacts" / "config.toml"
    assert stored.read_text() == '[tracking]\nuri = "https://***@host:5000"\n'
    assert (folder / "config.toml").read_text() == text


def test_tracker__runs_of_a_folder_share_an_experiment(runs: Path) -> None:
    trackers = [Tracker(TrackingConfig(), runs, name) for name in ("one", "two")]
    experiments = {client(runs).get_run(each.run_id).info.experiment_id for each in trackers}
    assert len(experiments) == 1 and trackers[0].run_id != trackers[1].run_id


def test_log_metrics__skips_what_is_not_a_finite_number(runs: Path) -> None:
    tracker = Tracker(TrackingConfig(), runs, "run")
    tracker.log_metrics({"nan": float("nan"), "inf": float("-inf"), "none": None, "word": "x", "good": 1.5}, 7)
    tracker.close("FINISHED")
    assert client(runs).get_run(tracker.run_id).data.metrics == {"good": 1.5}
    assert curve(runs, tracker, "good") == [(7, 1.5)]


# ---- batches ----


def test_log_metrics__are_sent_in_batches(tmp_path: Path) -> None:
    tracker, client = recording(tmp_path)
    for step in range(400):
        tracker.log_metrics({f"m{index}": float(step) for index in range(10)}, step)
    tracker.log_metrics({"last": 1.0}, 400)
    tracker.close("FINISHED")
    assert client.batches == [("metrics", 500)] * 8 + [("metrics", 1), ("FINISHED", 0)]


def test_log_metrics__are_sent_after_some_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tracker, client = recording(tmp_path)
    tracker.log_metrics({"a": 1.0}, 0)
    assert client.batches == []
    start = time.monotonic()
    monkeypatch.setattr("coordinator.records.tracking.mlflow.time.monotonic", lambda: start + SECONDS + 1)
    tracker.log_metrics({"a": 2.0}, 1)
    tracker.wait()
    assert client.batches == [("metrics", 2)]


def test_flush__sends_nothing_where_there_is_nothing(tmp_path: Path) -> None:
    tracker, client = recording(tmp_path)
    tracker.flush()
    tracker.log_params({})
    tracker.wait()
    assert client.batches == []


def test_tracker__no_call_waits_for_a_store_that_is_slow(tmp_path: Path) -> None:
    """A thousand rounds are logged while the first request still hangs; then all arrives, in order, by `close`."""
    tracker, client = recording(tmp_path)
    reached, answer, sent = Event(), Event(), list[tuple[int, float]]()

    def slow(run_id: str, metrics: list[Any]) -> None:
        reached.set()
        assert answer.wait(60)
        sent.extend((each.step, each.value) for each in metrics)

    client.log_batch = slow  # type: ignore[method-assign]
    for step in range(1000):
        tracker.log_metrics({"a": step / 7}, step)
    assert reached.wait(60) and sent == []
    tracker.log_metrics({"a": 1000 / 7}, 1000)
    answer.set()
    tracker.close("FINISHED")
    assert sent == [(step, step / 7) for step in range(1001)] and client.batches == [("FINISHED", 0)]


# ---- a store that is away, or not wanted ----


def test_tracker__disabled_touches_nothing(tmp_path: Path) -> None:
    tracker = Tracker(TrackingConfig(enabled=False), tmp_path, "run")
    tracker.log_params({"a": 1})
    tracker.log_metrics({"a": 1.0}, 0)
    (tmp_path / "folder").mkdir()
    tracker.log_folder(tmp_path)
    tracker.close("FINISHED")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_tracker__store_that_dies_on_the_way_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tracker, client = recording(tmp_path)

    def refuse(run_id: str, **rows: list[Any]) -> None:
        raise ConnectionError("connection reset\nand much more")

    client.log_batch = refuse  # type: ignore[method-assign]
    (tmp_path / "metrics").mkdir()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for step in range(1200):
            tracker.log_metrics({"a": 1.0}, step)
        tracker.log_params({"a": 1})
        tracker.log_folder(tmp_path)
        tracker.close("FINISHED")
    where = f"MLflow at '{store_uri(tmp_path)}'"
    assert [str(each.message) for each in told] == [
        f"tracking.uri: {where} does not answer (connection reset); the run goes on and keeps its numbers in its "
        "folder, and sends them when it is back",
        f"tracking.uri: {where} did not come back: 6 requests were not delivered; the numbers are in the folder",
    ]
    assert client.batches == []


def test_tracker__what_a_store_misses_arrives_in_order_when_it_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("coordinator.records.tracking.retry_queue.PAUSE", 0.0)
    tracker, client = recording(tmp_path)
    away, arrived = [True], list[int]()

    def flaky(run_id: str, metrics: list[Any]) -> None:
        if away[0]:
            raise ConnectionRefusedError(111, "Connection refused")
        arrived.extend(each.step for each in metrics)

    client.log_batch = flaky  # type: ignore[method-assign]
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for step in range(1600):
            if step == 1200:
                tracker.wait()
                assert arrived == []
                away[0] = False
            tracker.log_metrics({"a": 1.0}, step)
        tracker.close("FINISHED")
    assert arrived == list(range(1600)) and client.batches == [("FINISHED", 0)]
    assert [str(each.message).rpartition("'")[2].split(" (")[0].strip() for each in told] == [
        "does not answer",
        "answers again and has got what waited",
    ]


def test_tracker__what_a_store_refuses_does_not_hold_up_the_rest(tmp_path: Path) -> None:
    from mlflow import MlflowException

    tracker, client = recording(tmp_path)

    def refuse(run_id: str, **rows: list[Any]) -> None:
        raise MlflowException("no such parameter", error_code=3)  # INVALID_PARAMETER_VALUE

    log_batch, client.log_batch = client.log_batch, refuse  # type: ignore[method-assign]
    with pytest.warns(UserWarning, match=r"refused a request \(no such parameter\); the run goes on") as told:
        tracker.log_params({"a": 1})
        tracker.log_tags({"b": "2"})
        tracker.wait()
        client.log_batch = log_batch  # type: ignore[method-assign]
        tracker.log_params({"c": 1})
        tracker.close("FINISHED")
    assert len(told) == 1 and client.batches == [("params", 1), ("FINISHED", 0)]


def test_tracker__one_bad_name_costs_nothing(runs: Path) -> None:
    """Names that MLflow does not take are told, and get a near one; the rest of their batch is as it was."""
    tracker = Tracker(TrackingConfig(), runs, "run")
    with pytest.warns(UserWarning, match=r"^MLflow does not take every name: there 'gpu\+x' is 'gpu_x\.2'$") as told:
        tracker.log_params({"gpu+x": 1, "gpu_x": 2, "run.seed": 3})
    with pytest.warns(UserWarning, match=r"'l\*ss' is 'l_ss'"):
        tracker.log_metrics({"l*ss": 1.0, "loss": 2.0}, 0)
        tracker.flush()
    tracker.log_metrics({"l*ss": 3.0}, 1)
    with pytest.warns(UserWarning, match=r"'a\?' is 'a_'"):
        tracker.log_tags({"a?": "x" * 9000, "b": "y"})
    tracker.close("FINISHED")
    data = client(runs).get_run(tracker.run_id).data
    assert len(told) == 1 and data.params == {"gpu_x.2": "1", "gpu_x": "2", "run.seed": "3"}
    assert data.metrics == {"l_ss": 3.0, "loss": 2.0} and curve(runs, tracker, "l_ss") == [(0, 1.0), (1, 3.0)]
    assert data.tags["a_"] == "x" * 5000 and data.tags["b"] == "y"


def test_tracker__one_row_that_is_refused_costs_no_other(runs: Path) -> None:
    """A parameter that the run has with another value: MLflow never changes one, and refuses the whole batch."""
    tracker = Tracker(TrackingConfig(), runs, "run")
    tracker.log_params({"b": 1})
    with pytest.warns(UserWarning, match=r"refused a request \(left out 'b': .*the run goes on"):
        tracker.log_params({"a": 1, "b": 2, "c": 3})
        tracker.close("FINISHED")
    assert client(runs).get_run(tracker.run_id).data.params == {"a": "1", "b": "1", "c": "3"}


def test_tracker__a_run_that_is_continued_has_nothing_twice(runs: Path) -> None:
    seen: list[str] = []
    first = Tracker(TrackingConfig(), runs, "run", on_start=seen.append)
    first.log_params({"a": 1, "b": 2})
    for step in range(6):
        first.log_metrics({"loss": float(step), "x": 1.0} if step < 4 else {"loss": float(step)}, step)
    first.close("KILLED")
    again = Tracker(TrackingConfig(), runs, "run", run_id=seen[0])
    again.log_params({"a": 1, "b": 3, "c": 4})  # MLflow would refuse another b, and the c with it
    for step in range(3, 9):
        again.log_metrics({"loss": float(step), "x": 1.0}, step)
    again.close("FINISHED")
    assert again.run_id == seen[0]
    assert curve(runs, again, "loss") == [(step, float(step)) for step in range(9)]
    assert [step for step, _ in curve(runs, again, "x")] == [0, 1, 2, 3, 4, 5, 6, 7, 8]
    run = client(runs).get_run(seen[0])
    assert run.data.params == {"a": "1", "b": "2", "c": "4"} and run.info.status == "FINISHED"


def test_log_final__takes_the_place_of_an_earlier_end(runs: Path) -> None:
    """At step 0, so that MLflow draws a bar; nothing twice if it is the same."""
    first = Tracker(TrackingConfig(), runs, "run")
    first.log_metrics({"loss": 4.0}, 3)
    first.log_final({"probes/knn/gain": 5.0, "probes/knn/trained": 0.5, "no": float("nan")})
    first.close("KILLED")
    again = Tracker(TrackingConfig(), runs, "run", run_id=first.run_id)
    again.log_final({"probes/knn/gain": 2.0, "probes/knn/trained": 0.5})
    again.close("FINISHED")
    assert curve(runs, again, "probes/knn/gain") == [(0, 5.0), (0, 2.0)]
    assert curve(runs, again, "probes/knn/trained") == [(0, 0.5)]
    data = client(runs).get_run(first.run_id).data
    assert data.metrics == {"loss": 4.0, "probes/knn/gain": 2.0, "probes/knn/trained": 0.5}


def test_tracker__a_run_of_an_older_version_is_told_by_a_tag(runs: Path) -> None:
    older, newer = (Tracker(TrackingConfig(), runs, name) for name in ("older", "newer"))
    older.log_metrics({"loss": 1.0, "probes.knn.gain": 0.5}, 4)
    newer.log_metrics({"learning/loss": 1.0}, 4)
    for tracker in (older, newer):
        tracker.close("KILLED")
        Tracker(TrackingConfig(), runs, "again", run_id=tracker.run_id).close("FINISHED")
    tags = [client(runs).get_run(each.run_id).data.tags for each in (older, newer)]
    assert tags[0]["metrics_without_group"] == OLDER_NAMES and "metrics_without_group" not in tags[1]


def test_tracker__its_experiment_is_one_of_training(runs: Path) -> None:
    """Whether this run makes it, or it is there without a kind; a kind that somebody chose stays."""
    store = client(runs)
    store.create_experiment("plain")
    store.create_experiment("chosen", tags={KIND: "genai_development"})
    kinds = {}
    for name in ("new", "plain", "chosen"):
        Tracker(TrackingConfig(experiment=name), runs, "run").close("FINISHED")
        tags = store.get_experiment_by_name(name).tags
        kinds[name] = tags[KIND]
        assert tags[VIEW_TAG] == EXPERIMENT_TAGS[VIEW_TAG]
    training = "custom_model_development"
    assert kinds == {"new": training, "plain": training, "chosen": "genai_development"}


def test_tracker__what_a_continued_run_has_takes_one_request(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many metrics it has, as with `tracking.per_peer`."""
    from mlflow import MlflowClient

    first = Tracker(TrackingConfig(), runs, "run")
    for step in range(3):
        first.log_metrics({f"peers/{peer}/loss": float(step) for peer in range(40)}, step)
    first.close("KILLED")
    asked = []
    get_run = MlflowClient.get_run
    monkeypatch.setattr(MlflowClient, "get_metric_history", lambda *_: asked.append("history"))
    monkeypatch.setattr(MlflowClient, "get_run", lambda *them: asked.append("run") or get_run(*them))
    again = Tracker(TrackingConfig(), runs, "run", run_id=first.run_id)
    for step in range(4):
        again.log_metrics({f"peers/{peer}/loss": float(step) for peer in range(40)}, step)
    again.close("FINISHED")
    monkeypatch.undo()
    assert asked == ["run", "run"]  # whether it is there, and what it has
    assert [curve(runs, again, f"peers/{peer}/loss") for peer in (0, 39)] == [[(n, float(n)) for n in range(4)]] * 2


@pytest.mark.slow
def test_tracker__a_server_that_is_stopped_and_started_again(
    started: Callable[..., AbstractContextManager[Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real one, on loopback, ended with its process group in the middle of a run's logging."""
    monkeypatch.setattr("coordinator.records.tracking.retry_queue.PAUSE", 1.0)
    monkeypatch.setattr("coordinator.records.tracking.retry_queue.PATIENCE", 120.0)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def start() -> Any:
        command = ["mlflow", "server", "--backend-store-uri", store_uri(tmp_path), "--host", "127.0.0.1"]
        environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
        command = [sys.executable, "-m", *command, "--port", str(port), "--workers", "1"]
        server = stack.enter_context(started(command, env=environment, stdout=subprocess.DEVNULL))
        until = time.monotonic() + 120
        while time.monotonic() < until:
            with suppress(OSError):
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return server
            time.sleep(0.5)
        raise AssertionError("the server did not start")

    with ExitStack() as stack:
        server = start()
        tracker = Tracker(TrackingConfig(uri=f"http://127.0.0.1:{port}"), tmp_path, "run")
        with pytest.warns(UserWarning) as told:
            for step in range(3000):
                if step == 1000:
                    assert tracker.active
                    os.killpg(server.pid, signal.SIGKILL)
                    server.wait()
                if step == 2000:
                    tracker.wait()
                    server = start()
                tracker.log_metrics({"a": step / 7}, step)
            tracker.close("FINISHED")
        assert [
            word for each in told for word in ("does not answer", "answers again") if word in str(each.message)
        ] == [
            "does not answer",
            "answers again",
        ]
        assert curve(tmp_path, tracker, "a") == [(step, step / 7) for step in range(3000)]
        assert client(tmp_path).get_run(tracker.run_id).info.status == "FINISHED"


def test_run__goes_on_without_its_store(cli: Cli, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coordinator.records.tracking.retry_queue.PATIENCE", 1.0)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    arguments = ["tracking.enabled=true", "tracking.uri=http://127.0.0.1:9", "--output", "out", "--json"]
    code, out, err = cli("run", "tiny.toml", *arguments)
    notes = [line for line in err.splitlines() if line.startswith("note: ")]
    assert code == 0 and len(notes) == 2 and "Traceback" not in err
    assert "did not come back: " in notes[1]
    assert notes[0].startswith("note: tracking.uri: MLflow at 'http://127.0.0.1:9' does not answer (")
    (folder,) = Path("out").iterdir()
    assert json.loads(out)["status"] == "finished"
    rows = {
        name: pq.read_table(folder / "metrics" / f"{name}.parquet").num_rows for name in ("rounds", "peers", "edges")
    }
    assert rows == {"rounds": 3, "peers": 3 * 4, "edges": 2 * 8}  # links are measured before and after


@pytest.mark.figures
def test_run__its_curves_and_config_are_in_the_store(cli: Cli, tiny: Path, runs: Path) -> None:
    arguments = ["tracking.enabled=true", "run.rounds=3", "evaluation.every=1", "--output", str(runs), "--json"]
    code, out, err = cli("run", "tiny.toml", *arguments)
    curve_names = {
        "agreement": "consensus/agreement",
        "relative_distance": "consensus/relative_distance",
        "rankme": "peers/rankme",
        "loss": "learning/loss",
        "bytes_so_far": "system/bytes_exchanged",
    }
    (run,) = [each for each in client(runs).search_runs(["1", "2"]) if each.info.run_name.startswith("tiny-")]
    table = pq.read_table(next(runs.glob("tiny-*")) / "metrics/rounds.parquet")
    assert code == 0 and f"browse   peer-consensus ui {runs.name}" in err
    assert run.info.status == "FINISHED" and run.data.tags["status"] == "finished"
    assert run.data.params["data.kind"] == "synthetic" and run.data.params["run.rounds"] == "3"
    for key, name in curve_names.items():
        history = [(each.step, each.value) for each in client(runs).get_metric_history(run.info.run_id, name)]
        rows = [
            (step, value)
            for step, value in zip(table["round"].to_pylist(), table[key].to_pylist(), strict=True)
            if value is not None
        ]
        assert history == rows
    summary = json.loads(out)
    assert run.data.metrics["probes/knn/trained"] == summary["probes"]["knn"]["trained"]
    assert run.data.metrics["probes/knn/gain"] == pytest.approx(100 * summary["probes"]["knn"]["gain"])
    assert run.data.tags["verdict.knn"] == summary["probes"]["knn"]["verdict"]
    assert run.data.tags["mlflow.note.content"] == run_note(summary)
    names = {each.path for each in client(runs).list_artifacts(run.info.run_id)}
    assert names >= {"config.toml", "summary.json", "metrics", "figures"}


def test_run__secrets_are_where_they_were_given_and_nowhere_else(
    cli: Cli, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A password in the URI is in `config.toml`, which nobody else may read; one in the environment in no file."""
    monkeypatch.setattr("coordinator.records.tracking.retry_queue.PATIENCE", 1.0)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "me")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "sesame-of-the-environment")
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "sesame-too")
    uri = "tracking.uri=http://me:sesame-of-the-uri@127.0.0.1:9"
    code, out, err = cli("run", "tiny.toml", "tracking.enabled=true", uri, "--output", "out")
    files = [path for path in Path("out").rglob("*") if path.is_file()]
    holding = [path for path in files if b"sesame" in path.read_bytes()]
    assert code == 0 and "sesame" not in out + err and "***" in err
    assert [path.name for path in holding] == ["config.toml"] and holding[0].stat().st_mode & 0o777 == 0o600
    assert b"of-the-uri" in holding[0].read_bytes() and b"environment" not in holding[0].read_bytes()


def test_run__that_was_moved_is_resumed_with_its_artifacts(
    cli: Cli, tiny: Path, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a process of its own, as `resume` is: MLflow remembers where a run's artifacts are."""
    code, _, err = cli("run", "tiny.toml", "tracking.enabled=true", "--output", str(runs))
    assert code == 0, err
    moved = runs.with_name("moved runs")
    runs.rename(moved)
    (run,) = moved.glob("tiny-*")
    command = [sys.executable, "-m", "coordinator", "resume", str(run), "--rounds", "4"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    run_id = (run / "mlflow_run").read_text()
    assert not runs.exists() and [path.name for path in (moved / "mlartifacts").iterdir()] == [run_id]
    stored = moved / "mlartifacts" / run_id / "artifacts" / "summary.json"
    assert json.loads(stored.read_text())["rounds"] == 4
    assert "summary.json" in {each.path for each in client(moved).list_artifacts(run_id)}


def test_without_secrets__a_pictures_letters_are_none() -> None:
    """As they come by chance: such a page would be readable by its user only."""
    picture = '<img src="data:image/png;base64,iVBORw0KGgoPwdAAAkeyBB/tokenCC==">'
    assert without_secrets(picture) == picture
    assert "letters" not in without_secrets('<a href="http://here/?base=64&amp;token=letters">')


def test_without_secrets__hides_user_and_password() -> None:
    assert without_secrets("at https://me:word@host:5000/x or") == "at https://***@host:5000/x or"
    assert without_secrets("sqlite:////a@b/mlflow.db") == "sqlite:////a@b/mlflow.db"
    assert without_secrets("https://host:5000/a/b@c") == "https://host:5000/a/b@c"
    assert (
        without_secrets("s3://bucket/x?token=abc&region=eu;sig_key=9")
        == "s3://bucket/x?token=***&region=eu;sig_key=***"
    )


@given(st.text(st.characters(codec="ascii", exclude_characters="'\"", categories=("L", "N", "P", "S")), min_size=1))
def test_without_secrets__whatever_the_password_is(password: str) -> None:
    hidden = without_secrets(f"postgresql://me:x{password}y@host:5432/db is away")
    assert hidden == "postgresql://***@host:5432/db is away"
