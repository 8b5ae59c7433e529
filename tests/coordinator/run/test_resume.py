"""Checkpoints: a run that ended anywhere and is resumed has the numbers of one that did not, bit for bit."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from mlflow import MlflowClient

from coordinator import ConfigError, Result, load_config, resume, simulate
from coordinator.checkpoints.snapshots import Checkpoints
from coordinator.pools.in_process import InProcessHost
from coordinator.records.events import (
    Fault,
    FaultKind,
    PeersRestored,
    Phase,
    Remaining,
    RoundCompleted,
    RunEvent,
    RunReopened,
)
from coordinator.records.files.run_folder import KEYS
from coordinator.records.tracking.mlflow import Tracker
from coordinator.run.finish import Finish
from coordinator.run.signals import Interrupts
from peers.base.storage import Folder
from peers.hosting.host import PeerHost
from peers.learning.peer import Peer

METRICS = (
    "rounds",
    "bytes_exchanged",
    "probes",
    "flags",
    "consensus",
    "relative_weight_change",
    "digest",
    "not_finite",
)
ROOT = Path(__file__).parents[3]


def table(**sections: Any) -> dict[str, Any]:
    """Three small CNNs with BatchNorm, 12 rounds, every control; checkpoints every 4 rounds."""
    base: dict[str, Any] = {
        "run": {"rounds": 12, "seed": 2},
        "data": {"kind": "synthetic", "num_train": 96, "num_test": 48, "batch_size": 24},
        "peers": {
            "count": 3,
            "model": {"kind": "small-cnn", "channels": [4, 8]},
            "head": {"kind": "linear", "dim": 6},
            "optimizer": {"kind": "adam", "lr": 1e-3},
        },
        "topology": {"kind": "random-pair"},
        "exchange": {"target": {"kind": "centre", "temperature": 0.5}, "teacher_ema": 0.9},
        "evaluation": {
            "every": 3,
            "probe_every": 4,
            "probe_batch": 24,
            "probes": ["knn"],
            "controls": ["alone"],
            "reset": True,
        },
        "hosting": {"pool": "in-process"},
        "tracking": {"enabled": False},
        "checkpoint": {"every": 4, "seconds": 0},
    }
    for name, values in sections.items():
        base[name] = {**base.get(name, {}), **values} if name != "topology" else values
    return base


def run(output: Path, *observers: Any, **sections: Any) -> Result:
    return simulate(load_config(table(**sections)), output, observers)


def assert_same(result: Result, straight: Result) -> None:
    """Every number of the summary and every row of the tables."""
    for name in METRICS:
        assert result.summary[name] == straight.summary[name], name
    for name, keys in KEYS.items():
        tables = [pq.read_table(each.folder / "metrics" / f"{name}.parquet") for each in (result, straight)]
        order = [(key, "ascending") for key in keys]
        left, right = (each.select(sorted(each.column_names)).sort_by(order) for each in tables)
        assert left.equals(right), name


class KilledError(Exception):
    """Stands for the end of the process: nothing of the run is closed or written."""


class Events:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.events = list[RunEvent]()

    def observe(self, event: RunEvent) -> None:
        self.events.append(event)

    @property
    def run(self) -> list[int]:
        """Which rounds were run."""
        return [each.completed for each in self.events if isinstance(each, RoundCompleted)]

    @property
    def damaged(self) -> list[str]:
        """Why checkpoints could not be used."""
        faults = [each for each in self.events if isinstance(each, Fault)]
        return [each.what for each in faults if each.kind is FaultKind.CHECKPOINT_DAMAGED]


@contextmanager
def killed_before(monkeypatch: pytest.MonkeyPatch, method: str, nth: int) -> Iterator[None]:
    """The coordinator ends before its nth call of that method of a host, and writes nothing any more."""
    call, seen = getattr(InProcessHost, method), [0]

    def dying(self: InProcessHost, *arguments: Any) -> Any:
        seen[0] += 1
        if seen[0] == nth:
            raise KilledError
        return call(self, *arguments)

    def nothing(*_: Any) -> None:
        raise KilledError

    with monkeypatch.context() as patched, pytest.raises(KilledError):
        patched.setattr(InProcessHost, method, dying)
        patched.setattr(Finish, "conclude", nothing)
        yield


@pytest.mark.parametrize(
    ("method", "nth", "back_to"),
    [
        ("advance", 3, 0),  # before any checkpoint
        ("advance", 11, 8),
        ("save", 2, 4),  # while one is being written
        ("digest", 1, 12),  # in the final probes
        ("restart", 1, 12),  # before the control alone
        ("advance", 19, 12),  # in it: from its own checkpoint of round 4
    ],
)
def test_resume__after_the_coordinator_was_killed_nothing_differs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, nth: int, back_to: int
):
    straight = run(tmp_path / "straight")
    with killed_before(monkeypatch, method, nth):
        run(tmp_path / "killed")
    (folder,) = (tmp_path / "killed").iterdir()
    assert not (folder / "summary.json").exists()
    listener = Events()
    resumed = resume(folder, observers=[listener])
    assert resumed.status == "finished" and resumed.folder == folder
    assert_same(resumed, straight)
    remaining = Remaining.ROUNDS if back_to else Remaining.EVERYTHING
    assert listener.events[0] == RunReopened(folder, back_to, 12, remaining)
    assert not list((folder / "checkpoints").glob(".*")) and not (folder / "metrics" / ".parts").exists()


@pytest.mark.parametrize("execution", ["loop", "vectorised"])
def test_resume__interrupted_saves_where_it_stands(tmp_path: Path, execution: str):
    """The first signal lets the rounds in flight end; the run goes on from there, not from the last multiple."""

    class Interrupting:
        def observe(self, event: RunEvent) -> None:
            if isinstance(event, RoundCompleted) and event.completed == 6:
                os.kill(os.getpid(), signal.SIGTERM)

    hosting = {"execution": execution}
    config = load_config(table(hosting=hosting, topology={"kind": "ring"}))
    first = simulate(config, tmp_path / "a", [Interrupting()], interrupts=Interrupts(handled=True))
    assert first.status == first.summary["status"] == "interrupted"
    assert first.message.endswith(f"go on with: peer-consensus resume {first.folder}")
    completed = first.summary["rounds"]
    assert 6 <= completed < 12 and (first.folder / "checkpoints" / f"round-{completed:06d}").is_dir()
    resumed = resume(first.folder)
    assert_same(resumed, run(tmp_path / "b", hosting=hosting, topology={"kind": "ring"}))


def test_interrupts__a_second_signal_ends_at_once(tmp_path: Path):
    class Impatient:
        def observe(self, event: RunEvent) -> None:
            if isinstance(event, RoundCompleted) and event.completed == 6:
                os.kill(os.getpid(), signal.SIGINT)
                os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    result = simulate(load_config(table()), tmp_path, [Impatient()], interrupts=Interrupts(handled=True))
    assert (result.status, result.summary["rounds"]) == ("interrupted", 6)
    assert signal.getsignal(signal.SIGTERM) == before and signal.getsignal(signal.SIGINT) == signal.default_int_handler
    assert_same(resume(result.folder), run(tmp_path / "straight"))


def test_resume__more_rounds_for_a_finished_run_are_those_of_a_longer_one(tmp_path: Path):
    result = run(tmp_path / "short", evaluation={"every": 4})
    with pytest.raises(ConfigError, match=r"has finished its 12 rounds: give --rounds to add some"):
        resume(result.folder)
    with pytest.raises(ConfigError, match=r"--rounds must be at least the 12 that are done, got 3"):
        resume(result.folder, rounds=3)
    longer = resume(result.folder, rounds=20)
    assert longer.summary["rounds"] == 20 and longer.summary["config"]["run"]["rounds"] == 20
    assert_same(longer, run(tmp_path / "long", run={"rounds": 20}, evaluation={"every": 4}))


def test_resume__more_rounds_go_on_from_the_last_checkpoint(tmp_path: Path):
    """The control that is probed anew takes the peers to their start; their rounds must not begin there again."""
    light = {"evaluation": {"controls": [], "reset": False}}
    result = run(tmp_path / "short", **light)
    rounds = Events()
    longer = resume(result.folder, 20, observers=[rounds])
    assert rounds.run == list(range(13, 21)) and PeersRestored(Phase.ROUNDS, 12) in rounds.events
    assert_same(longer, run(tmp_path / "long", run={"rounds": 20}, **light))


def test_resume__more_rounds_look_at_the_checkpoint(tmp_path: Path):
    light = {"evaluation": {"controls": [], "reset": False}}
    result = run(tmp_path / "short", **light)
    damage_flip(result.folder / "checkpoints" / "round-000012" / "peer-0001.safetensors")
    rounds = Events()
    longer = resume(result.folder, 20, observers=[rounds])
    assert rounds.damaged[0].startswith("the checkpoint of round 12 is damaged: peer-0001")
    assert rounds.run == list(range(9, 21))
    assert_same(longer, run(tmp_path / "long", run={"rounds": 20}, **light))


@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize(("method", "nth"), [("advance", 1), ("advance", 5)])
def test_resume__more_rounds_that_were_cut_go_on_as_more_rounds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, alone: bool, method: str, nth: int
):
    """Killed before and after their first checkpoint: what was measured at the earlier end stays void."""
    evaluation = {"controls": ["alone"] if alone else [], "reset": False, "every": 4}
    parts = {"evaluation": evaluation, "checkpoint": {"every": 2, "seconds": 0}}
    straight = run(tmp_path / "long", run={"rounds": 12}, **parts)
    result = run(tmp_path / "short", run={"rounds": 4}, **parts)
    with killed_before(monkeypatch, method, nth):
        resume(result.folder, rounds=12)
    again = resume(result.folder)
    assert again.summary["rounds"] == 12
    assert_same(again, straight)


def test_resume__a_cosine_that_is_stretched_is_told(tmp_path: Path):
    cosine = {"optimizer": {"kind": "adam", "lr": 1e-3, "schedule": "cosine"}}
    result = run(tmp_path, peers=cosine, evaluation={"controls": []})
    with pytest.warns(UserWarning, match=r"the learning rate's cosine was laid out for 12 rounds and follows 16"):
        resume(result.folder, rounds=16)


def damage_truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def damage_flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(bytes(content))


@pytest.mark.parametrize("damage", [damage_truncate, damage_flip, Path.unlink], ids=["truncated", "flipped", "missing"])
@pytest.mark.parametrize("name", ["peer-0001.safetensors", "coordinator.safetensors", "manifest.json"])
def test_resume__a_damaged_checkpoint_is_told_and_the_one_before_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: Callable[[Path], None], name: str
):
    light = {"evaluation": {"controls": [], "reset": False}}
    straight = run(tmp_path / "straight", **light)
    with killed_before(monkeypatch, "advance", 11):
        run(tmp_path / "killed", **light)
    (folder,) = (tmp_path / "killed").iterdir()
    damage(folder / "checkpoints" / "round-000008" / name)
    resumed = resume(folder)
    assert_same(resumed, straight)
    (fault,) = resumed.summary["faults"]
    assert fault["what"].startswith(f"the checkpoint of round 8 is damaged: {name}"), fault
    assert "Traceback" not in fault["what"] and "\n" not in fault["what"]


def test_resume__damaged_tables_start_the_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    light = {"evaluation": {"controls": [], "reset": False}}
    straight = run(tmp_path / "straight", **light)
    with killed_before(monkeypatch, "advance", 11):
        run(tmp_path / "killed", **light)
    (folder,) = (tmp_path / "killed").iterdir()
    damage_truncate(folder / "metrics" / ".parts" / "peers-000000.parquet")
    resumed = resume(folder)
    assert_same(resumed, straight)
    assert resumed.summary["faults"][0]["what"].startswith("the tables in metrics/ are damaged")


def test_resume__refuses_another_experiment_and_what_is_no_run(tmp_path: Path):
    result = run(tmp_path / "a", evaluation={"controls": [], "reset": False})
    with pytest.raises(ConfigError, match=r"is no run's folder: it has no config.toml"):
        resume(tmp_path)
    with pytest.raises(ConfigError, match=r"override 'peers.count=4': a run that is resumed keeps its experiment"):
        resume(result.folder, overrides=["peers.count=4"])
    with pytest.raises(ConfigError, match=r"override 'checkpoint.path=x': a run that is resumed keeps its checkpoints"):
        resume(result.folder, overrides=["checkpoint.path=x"])
    config = result.folder / "config.toml"
    config.write_text(config.read_text().replace("seed = 2", "seed = 3"))
    with pytest.raises(ConfigError, match=r"run.seed: the checkpoint was made with 2, but config.toml has 3: put it"):
        resume(result.folder, rounds=16)


def test_resume__one_process_at_a_time(tmp_path: Path):
    told: list[str] = []

    class Second:
        def observe(self, event: RunEvent) -> None:
            if isinstance(event, RoundCompleted) and event.completed == 5:
                (folder,) = tmp_path.iterdir()
                with pytest.raises(ConfigError, match="is being written by another process") as caught:
                    resume(folder)
                told.append(str(caught.value))

    assert run(tmp_path, Second(), evaluation={"controls": []}).status == "finished" and told


def test_resume__in_the_same_mlflow_run_without_duplicates(tmp_path: Path, runs: Path, monkeypatch: pytest.MonkeyPatch):
    """The killed one has sent what it had, one round beyond its last checkpoint."""
    trackers: list[Tracker] = []

    class Noted(Tracker):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            trackers.append(self)

    with killed_before(monkeypatch, "advance", 12), monkeypatch.context() as patched:
        patched.setattr(sys.modules["coordinator.run.simulate"], "Tracker", Noted)
        run(runs, tracking={"enabled": True})
    trackers[0].flush()
    assert trackers[0].active
    (folder,) = (path for path in runs.iterdir() if (path / "config.toml").is_file())
    identity = (folder / "mlflow_run").read_text().strip()
    client = MlflowClient(f"sqlite:///{runs / 'mlflow.db'}")
    assert [each.step for each in client.get_metric_history(identity, "learning/loss")] == list(range(1, 10))
    assert resume(folder).status == "finished"
    (only,) = client.search_runs([client.get_experiment_by_name("peer-consensus").experiment_id])
    assert only.info.run_id == identity and only.info.status == "FINISHED"
    assert only.data.tags["resumed_from_round"] == "8"
    history = [each.step for each in client.get_metric_history(identity, "learning/loss")]
    assert history == sorted(set(history)) == list(range(1, 13))


def test_resume__of_a_run_in_an_older_versions_store(tmp_path: Path, runs: Path, monkeypatch: pytest.MonkeyPatch):
    """Its names had no groups: the history is there by the present names, whole; what was there stays as it was."""
    with killed_before(monkeypatch, "advance", 12):
        run(runs, tracking={"enabled": False})
    (folder,) = (path for path in runs.iterdir() if (path / "config.toml").is_file())
    client = MlflowClient(f"sqlite:///{runs / 'mlflow.db'}")
    identity = client.create_run(client.create_experiment("peer-consensus")).info.run_id
    older = [("loss", step, step / 10) for step in range(1, 10)] + [("agreement", step, 0.5) for step in (0, 4, 8)]
    for name, step, value in older:
        client.log_metric(identity, name, value, step=step)
    (folder / "mlflow_run").write_text(identity)
    result = resume(folder, overrides=["tracking.enabled=true"])
    rounds = pq.read_table(result.folder / "metrics" / "rounds.parquet").to_pylist()
    for name, column in (("learning/loss", "loss"), ("consensus/agreement", "agreement")):
        history = [(each.step, each.value) for each in client.get_metric_history(identity, name)]
        assert history == [(row["round"], row[column]) for row in rounds if row[column] is not None]
    assert len(client.get_metric_history(identity, "learning/loss")) == 12
    kept = [
        (name, each.step, each.value)
        for name in ("loss", "agreement")
        for each in client.get_metric_history(identity, name)
    ]
    data = client.get_run(identity).data
    assert kept == older and data.tags["metrics_without_group"] and "probes/knn/gain" in data.metrics
    assert {name for name in data.metrics if "/" not in name} == {"loss", "agreement"}


# ---- where they are ----


def test_checkpoints__the_last_of_each_phase_are_kept(tmp_path: Path):
    result = run(tmp_path, checkpoint={"every": 2, "keep": 3, "seconds": 0})
    names = sorted(path.name for path in (result.folder / "checkpoints").iterdir())
    assert names == [f"{phase}-{completed:06d}" for phase in ("alone", "round") for completed in (8, 10, 12)]


@pytest.mark.parametrize("path", ["memory://anywhere", "file://{}/elsewhere", "{}/plain"])
def test_checkpoints__in_a_folder_or_at_a_url(tmp_path: Path, path: str):
    light = {"controls": [], "reset": False}
    where = path.format(tmp_path)
    result = run(tmp_path / "runs", checkpoint={"every": 4, "path": where}, evaluation=light)
    assert not (result.folder / "checkpoints").exists()
    assert Folder(f"{where}/{result.folder.name}").names() == ["round-000008", "round-000012"]
    longer = resume(result.folder, rounds=16)
    assert longer.summary["digest"] == run(tmp_path / "b", run={"rounds": 16}, evaluation=light).summary["digest"]


def test_checkpoints__a_folder_that_cannot_be_written(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"checkpoint.path: '.*' cannot be used by all nodes \(.*\): name a folder"):
        run(tmp_path / "runs", checkpoint={"every": 4, "path": str(tmp_path / "file")})
    assert not list((tmp_path / "runs").iterdir())
    with pytest.raises(ConfigError, match=r"checkpoint.path: .*nowhere:"):
        run(tmp_path / "runs", checkpoint={"every": 4, "path": "nowhere://bucket"})


def test_checkpoints__a_folder_that_other_nodes_do_not_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Whoever asked for checkpoints is refused; the default goes without, and says so."""
    monkeypatch.setattr(PeerHost, "touch", lambda *_: None)  # written on a disk of its own
    with pytest.raises(
        ConfigError, match=r"cannot be used by all nodes \(what peer 0 writes is not seen here\): name a"
    ):
        run(tmp_path / "asked")
    light = table(evaluation={"controls": [], "reset": False})
    del light["checkpoint"]
    with pytest.warns(
        UserWarning, match=r"is not seen here\): there are no checkpoints; name a folder that every node"
    ):
        result = simulate(load_config(light), tmp_path / "default")
    assert result.status == "finished" and not (result.folder / "checkpoints").exists()
    assert result.summary["config"]["checkpoint"]["every"] == 0


def test_checkpoints__one_that_fails_is_told_and_the_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """As on a full disk: peer 1 cannot write in round 8."""
    content = Peer.content

    def full(self: Peer, completed: int, *kept: Any) -> bytes:
        if (self.index, completed) == (1, 8):
            raise OSError(28, "No space left on device")
        return content(self, completed, *kept)

    straight = run(tmp_path / "straight")
    monkeypatch.setattr(Peer, "content", full)
    result = run(tmp_path / "full")
    assert_same(result, straight)
    told = [fault["what"] for fault in result.summary["faults"]]
    line = "no checkpoint of round 8 could be written (No space left on device); that of round 4 is the last"
    assert told == [line, re.sub(r"(round \d+)", r"\1 of the control alone", line)]
    names = sorted(path.name for path in (result.folder / "checkpoints").glob("round-*"))
    assert names == ["round-000004", "round-000012"]


FULL_DISK = """
mount -t tmpfs -o size=400k tmpfs "$1" || exit 77
exec "$2" -m coordinator run "$3" checkpoint.path="$1" checkpoint.every=1 checkpoint.keep=50 --output "$4"
"""


def test_checkpoints__a_disk_that_is_really_full(tiny: Path):
    """A file system of 400 KiB; the numbers go elsewhere. The run ends as if nothing had been."""
    small = tiny.parent / "small"
    small.mkdir()
    command = ["unshare", "--mount", "--map-root-user", "sh", "-c", FULL_DISK, "sh"]
    arguments = [str(small), sys.executable, str(tiny), str(tiny.parent / "runs")]
    if shutil.which("unshare") is None:
        pytest.skip("no unshare here, to mount a small file system with")
    tiny.write_text(tiny.read_text().replace("rounds = 2", "rounds = 40"))
    done = subprocess.run(
        [*command, *arguments], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    if done.returncode in (1, 77) and "coordinator" not in done.stderr and "rounds" not in done.stdout:
        pytest.skip(f"file systems cannot be mounted here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    assert "could be written (No space left on device)" in done.stdout and "Traceback" not in done.stderr
    (folder,) = (path for path in (tiny.parent / "runs").iterdir() if path.is_dir())
    digest = json.loads((folder / "summary.json").read_text())["digest"]
    config = load_config(tiny, ["checkpoint.every=0"])
    assert digest == simulate(config, tiny.parent / "again").summary["digest"]


def test_checkpoints__newest_whole_tells_what_is_damaged(tmp_path: Path):
    checkpoints = Checkpoints(str(tmp_path), keep=5)
    for completed in (5, 10):
        Folder(checkpoints.aside(Phase.ROUNDS, completed)).write("peer-0000.safetensors", b"x")
        checkpoints.complete(Phase.ROUNDS, completed, ["sum"], {"n": float("nan")}, b"arrays")
    newest, damaged = checkpoints.newest_whole(Phase.ROUNDS, lambda found: found)
    assert newest is not None and newest.completed == 10 and newest.arrays() == b"arrays" and damaged == []
    manifest = tmp_path / "round-000010" / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"completed": 10', '"completed": 11'))
    older, damaged = checkpoints.newest_whole(Phase.ROUNDS, lambda found: found)
    assert older is not None and older.completed == 5 and older.arrays() == b"arrays"
    (line,) = damaged
    assert line.startswith("the checkpoint of round 10 is damaged: manifest.json is not what was written")
    assert checkpoints.newest_whole(Phase.ALONE, lambda found: found) == (None, [])
    with pytest.raises(FileNotFoundError, match=r"peer-0000.safetensors is not in .*: name a folder that all nodes"):
        checkpoints.complete(Phase.ROUNDS, 15, ["sum"], {}, b"")
    (tmp_path / ".round-000015.part").mkdir()
    checkpoints.discard_incomplete()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["round-000005", "round-000010"]


# ---- however it is reached, whatever lies in it ----


def test_resume__a_run_named_by_another_way_is_the_same(tmp_path: Path, runs: Path, monkeypatch: pytest.MonkeyPatch):
    """Through a link, and from a folder in it: the same checkpoints and the same MLflow store."""
    parts = {"evaluation": {"controls": [], "reset": False}, "tracking": {"enabled": True}}
    result = run(runs, checkpoint={"every": 4, "seconds": 0, "path": str(tmp_path / "kept")}, **parts)
    link = tmp_path / "link"
    link.symlink_to(result.folder)
    rounds = Events()
    assert resume(link, 14, observers=[rounds]).folder == result.folder and rounds.run == [13, 14]
    monkeypatch.chdir(result.folder / "metrics")
    rounds = Events()
    assert resume("..", 16, observers=[rounds]).folder == result.folder and rounds.run == [15, 16]
    assert [path.name for path in (tmp_path / "kept").iterdir()] == [result.folder.name]
    assert not list(result.folder.rglob("mlflow.db"))
    renamed = result.folder.rename(runs / "renamed")
    with pytest.warns(UserWarning, match=r"checkpoint.path: nothing is saved there of a run named 'renamed'"):
        resume(renamed, 18)


def test_resume__fewer_rounds_than_planned_but_no_fewer_than_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A number that was mistyped is taken back."""
    light = {"evaluation": {"controls": [], "reset": False, "every": 4}}
    with killed_before(monkeypatch, "advance", 7):
        run(tmp_path / "cut", run={"rounds": 1000}, **light)
    (folder,) = (tmp_path / "cut").iterdir()
    with pytest.raises(ConfigError, match=r"--rounds must be at least the 4 that are done, got 3"):
        resume(folder, 3)
    assert_same(resume(folder, 8), run(tmp_path / "straight", run={"rounds": 8}, **light))


@pytest.mark.parametrize("name", ["coordinator.safetensors", "peer-0001.safetensors", "manifest.json"])
def test_resume__a_pipe_in_place_of_a_file_is_not_waited_for(tmp_path: Path, name: str):
    light = {"evaluation": {"controls": [], "reset": False}}
    result = run(tmp_path / "a", **light)
    path = result.folder / "checkpoints" / "round-000012" / name
    path.unlink()
    os.mkfifo(path)
    part = result.folder / "checkpoints" / ".round-000016.part"
    part.mkdir()
    os.mkfifo(part / "peer-0000.safetensors")
    (result.folder / "summary.json").unlink()
    os.mkfifo(result.folder / "summary.json")
    rounds = Events()
    assert resume(result.folder, 16, observers=[rounds]).summary["rounds"] == 16
    assert rounds.run == list(range(9, 17))
    assert any("the checkpoint of round 12 is damaged" in each for each in rounds.damaged)
