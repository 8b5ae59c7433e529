"""Networks, data, losses and graphs of the user's own: the same digests in every pool, and never the wrong ones."""

import functools
import importlib
import json
import os
import shutil
import signal
import sys
import textwrap
import warnings
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from coordinator import ConfigError, Result, load_config, resume, simulate
from coordinator.experiment.config import to_toml
from coordinator.pools.in_process import InProcessHost
from coordinator.pools.ray_pool import RayPool
from coordinator.records.events import RoundCompleted, RunEvent
from coordinator.run.finish import Finish
from peers.data.datasets import Dataset

METRICS = ("rounds", "bytes_exchanged", "probes", "consensus", "relative_weight_change", "digest")
ROUNDS = 8
ROOT = Path(__file__).parents[3]
CONSOLE = str(Path(sys.executable).parent / "peer-consensus")


# ---- what a user might bring ----


class TinyViT(nn.Module):
    """Patches of a quarter of the image, one block of attention, mean over the patches."""

    def __init__(self, shape: tuple[int, ...], dim: int = 8) -> None:
        super().__init__()
        channels, height, _ = shape
        self.patches = nn.Conv2d(channels, dim, height // 4, stride=height // 4)
        self.places = nn.Parameter(torch.randn(1, 16, dim) * 0.02)
        self.block = nn.TransformerEncoderLayer(dim, 2, 2 * dim, dropout=0.0, batch_first=True)

    def forward(self, images: Tensor) -> Tensor:
        return self.block(self.patches(images).flatten(2).transpose(1, 2) + self.places).mean(1)


class Convolution(nn.Module):
    """Along time, with BatchNorm; features, and outputs of a head of its own."""

    def __init__(self, shape: tuple[int, ...], channels: int = 6) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv1d(shape[0], channels, 5, padding=2), nn.BatchNorm1d(channels), nn.ReLU())
        self.head = nn.Linear(channels, 5)

    def forward(self, series: Tensor) -> tuple[Tensor, Tensor]:
        features = self.layers(series).mean(2)
        return features, self.head(features)


def by_peer(shape: tuple[int, ...], peer: int) -> nn.Module:
    """Two architectures with as many features."""
    return TinyViT(shape) if peer % 2 else nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.BatchNorm1d(8))


class Dropping(nn.Module):
    """With Dropout before a BatchNorm, whose running statistics then depend on what was drawn."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        layers = [nn.Flatten(), nn.Linear(64, 12), nn.Dropout(0.3), nn.BatchNorm1d(12), nn.ReLU(), nn.Dropout(0.1)]
        self.layers = nn.Sequential(*layers)

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images)


def huber(student: Tensor, target: Tensor, delta: float = 0.5) -> Tensor:
    return F.huber_loss(student, target, delta=delta)


def sines() -> Dataset:
    """Two channels of noisy sines of three frequencies."""
    draw, labels = np.random.default_rng(0), np.arange(120) % 3
    time = np.linspace(0, 6, 24) * (1 + labels[:, None])
    phase = draw.uniform(0, 6, (120, 1))
    series = np.stack([np.sin(time + phase), np.cos(time + phase)], 1) + draw.normal(0, 0.1, (120, 2, 24))
    return Dataset.from_arrays(series, labels, name="sines")


def kleinberg() -> nx.DiGraph:
    grid = nx.navigable_small_world_graph(2, p=1, q=1, seed=1)
    return nx.convert_node_labels_to_integers(grid)


IMAGES: dict[str, Any] = {"network": TinyViT, "loss": functools.partial(huber, delta=0.25), "topology": kleinberg()}
SERIES: dict[str, Any] = {"network": Convolution, "loss": huber, "data": sines(), "topology": kleinberg()}


def config(*overrides: str) -> Any:
    table = {
        "run": {"rounds": ROUNDS, "seed": 3},
        "data": {"kind": "digits", "batch_size": 16, "train_limit": 96, "test_limit": 48},
        "peers": {"count": 4, "head": {"kind": "linear", "dim": 6}},
        "topology": {"kind": "ring"},
        "evaluation": {"every": 4, "probe_every": 4, "probe_batch": 24, "probes": ["knn"], "recalibrated": True},
        "hosting": {"pool": "in-process", "execution": "loop"},
        "tracking": {"enabled": False},
        "checkpoint": {"every": 2, "seconds": 0},
    }
    return load_config(table, overrides)


RAY = ("hosting.pool=ray", "hosting.peers_per_host=2")
DRAWING = ("exchange.teacher_ema=0.5", "evaluation.reset=true", "evaluation.controls=['stranger']")
SMALL = ("data.train_limit=0", "data.test_limit=0")


def run(output: Path, objects: dict[str, Any], *overrides: str, observers: Any = ()) -> Result:
    limits = SMALL if "data" in objects else ()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "peers.head")
        return simulate(config(*limits, *overrides), output, observers, **objects)


def assert_same(result: Result, other: Result) -> None:
    assert result.status == other.status == "finished", result.message
    for name in METRICS:
        assert result.summary[name] == other.summary[name], name


MINE = """
    import networkx as nx
    import numpy as np
    import torch
    import torch.nn.functional as F
    from torch import nn
    from mine_too import width

    class Net(nn.Module):
        def __init__(self, shape, features=8):
            super().__init__()
            self.layers = nn.Sequential(nn.Flatten(), nn.Linear(shape[0] * shape[1], width()), nn.BatchNorm1d(features))

        def forward(self, x):
            return self.layers(x)

    def loss(student, target, delta=0.5):
        return F.huber_loss(student, target, delta=delta)

    def graph(num_peers):
        return nx.path_graph(num_peers)

    def data(seed):
        from peers.data.datasets import Dataset
        labels = np.arange(90) % 3
        values = np.random.default_rng(7).normal(size=(90, 2, 6)) + labels[:, None, None]
        return Dataset.from_arrays(values, labels, name="mine", seed=3)
    """
IMPORTS = (
    "peers.model={ kind = 'import', target = 'mine:Net' }",
    "exchange.loss={ kind = 'import', target = 'mine:loss', args = { delta = 0.25 } }",
    "topology={ kind = 'import', target = 'mine:graph' }",
    "data={ kind = 'import', target = 'mine:data', batch_size = 16 }",
)


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with modules of the user's, in which this process is."""
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "mine.py").write_text(textwrap.dedent(MINE))
    (folder / "mine_too.py").write_text("def width():\n    return 8\n")
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", [*sys.path])
    for name in ("mine", "mine_too"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    yield folder
    for name in ("mine", "mine_too"):
        sys.modules.pop(name, None)


class KilledError(Exception):
    """Stands for the end of the process: nothing of the run is closed or written."""


def killed(output: Path, monkeypatch: pytest.MonkeyPatch, objects: dict[str, Any], *overrides: str) -> Path:
    """The folder of a run that was killed in its fourth round; its last checkpoint is that of the second."""
    call, seen = InProcessHost.advance, [0]

    def dying(self: InProcessHost, *arguments: Any) -> Any:
        seen[0] += 1
        if seen[0] == 4:
            raise KilledError
        return call(self, *arguments)

    def nothing(*_: Any) -> None:
        raise KilledError

    with monkeypatch.context() as patched, pytest.raises(KilledError):
        patched.setattr(InProcessHost, "advance", dying)
        patched.setattr(Finish, "conclude", nothing)
        run(output, objects, *overrides)
    (folder,) = output.glob("run-*")
    return folder


# ---- every pool ----


@pytest.mark.parametrize(
    "objects",
    [
        pytest.param(IMAGES, id="images"),
        pytest.param(SERIES, id="series"),
        pytest.param(IMAGES | {"network": by_peer}, id="two", marks=pytest.mark.slow),
    ],
)
def test_simulate__has_the_same_digests_in_this_process_and_in_two_others(
    objects: dict[str, Any], cluster: Any, tmp_path: Path
) -> None:
    here, there = run(tmp_path / "here", objects), run(tmp_path / "there", objects, *RAY)
    assert_same(here, there)
    assert here.summary["relative_weight_change"] > 0


def test_simulate__objects_and_their_import_have_the_same_digests(tmp_path: Path, own: Path) -> None:
    """As in a config: `kind = "import"`."""
    from_config = run(tmp_path / "config", {}, *IMPORTS)
    objects = sys.modules["mine"]
    given = {"network": objects.Net, "loss": functools.partial(objects.loss, delta=0.25), "topology": objects.graph(4)}
    assert_same(from_config, run(tmp_path / "python", given | {"data": objects.data(7)}))


def test_simulate__what_draws_has_the_same_digests_everywhere(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dropout, in this process, in two others, and after a resumption."""
    with pytest.warns(UserWarning, match="draws random numbers"):
        here = run(tmp_path / "here", {"network": Dropping}, "evaluation.every=1", *DRAWING)
        there = run(tmp_path / "there", {"network": Dropping}, "evaluation.every=1", *DRAWING, *RAY)
        again = killed(tmp_path / "again", monkeypatch, {"network": Dropping}, "evaluation.every=1", *DRAWING)
        assert_same(here, there)
        assert_same(here, resume(again, network=Dropping))
        other = run(tmp_path / "other", {"network": Dropping}, "evaluation.every=1", "run.seed=4")
    assert other.summary["digest"] != here.summary["digest"]


@pytest.mark.filterwarnings("ignore:There is a performance drop")  # of attention in vmap
@pytest.mark.parametrize(
    "network",
    [
        pytest.param(TinyViT, id="features", marks=pytest.mark.slow),
        pytest.param(Convolution, id="pair"),
        pytest.param(by_peer, id="two"),
    ],
)
def test_simulate__vectorised_agrees_with_the_loop(network: Any, tmp_path: Path) -> None:
    objects = {"network": network, "loss": huber} | ({"data": sines()} if network is Convolution else {})
    loop, vectorised, auto = (
        run(tmp_path / execution, objects, f"hosting.execution={execution}")
        for execution in ("loop", "vectorised", "auto")
    )
    for other in (vectorised, auto):
        for name, values in loop.summary["consensus"].items():
            assert other.summary["consensus"][name]["last"] == pytest.approx(values["last"], rel=1e-3, abs=1e-5), name
    assert auto.config.hosting.execution in ("loop", "vectorised")


CONTROLS = 'evaluation.controls=["alone", "stranger", "shuffled", "supervised", "single-teacher"]'


@pytest.mark.parametrize("given", [False, True], ids=["drawn", "given"])
def test_simulate__every_control_of_a_network_of_the_users(given: bool, tmp_path: Path) -> None:
    network: Any = TinyViT((1, 8, 8)) if given else TinyViT
    if given:
        network.places = nn.Parameter(torch.zeros(1, 16, 8), requires_grad=False)
        network = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.BatchNorm1d(8))
    initial = ("peers.initial=given",) if given else ()
    result = run(tmp_path, {"network": network}, CONTROLS, *initial)
    assert result.status == "finished"
    assert set(result.summary["probes"]["knn"]) >= {"alone", "stranger", "shuffled", "supervised", "single_teacher"}


# ---- never the wrong thing ----


def other(name: str) -> Any:
    """Something else than `SERIES` has, of the same kind."""
    if name == "data":
        found = sines()
        found.train_labels[0] = (found.train_labels[0] + 1) % 3
        return found
    if name == "topology":
        links = kleinberg()
        links.add_edge(*next(nx.non_edges(links)))
        return links
    return {"network": functools.partial(Convolution, channels=7), "loss": functools.partial(huber, delta=0.3)}[name]


FIELDS = {"network": "peers.model", "loss": "exchange.loss", "data": "data", "topology": "topology"}


def line_of(call: Any) -> str:
    """The one line of what is refused."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "peers.head")
        with pytest.raises(ConfigError) as error:
            call()
    (line,) = str(error.value).split("\n")
    return line


def test_resume__needs_the_same_objects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = killed(tmp_path, monkeypatch, SERIES)
    names = {"network": "Convolution", "loss": "huber", "data": "sines", "topology": "DiGraph"}
    for argument, field in FIELDS.items():
        without = {name: value for name, value in SERIES.items() if name != argument}
        line = line_of(lambda given=without: resume(folder, **given))
        assert line.startswith(f"{field}.kind: 'given' means an object from Python ('{names[argument]}', SHA-256 ")
        assert f"which no file holds: give it again as {argument}=... to resume(RUN)" in line
        changed = without | {argument: other(argument)}
        line = line_of(lambda given=changed: resume(folder, **given))
        assert line.startswith(f"{argument}: must be what the run was given ('{names[argument]}', SHA-256 ")
        assert "give the same code and data" in line and line.endswith("or start a new run")
    line = line_of(lambda: resume(folder, **SERIES, head=nn.Linear(8, 6)))
    assert line == (
        "head: the run was started with what its config names (peers.head 'linear') and goes on with that: leave it out"
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "peers.head")
        again = resume(folder, **SERIES | {"data": sines(), "topology": kleinberg()})
    assert_same(again, run(tmp_path / "straight", SERIES))


def test_config_file__of_objects_starts_the_run_again_only_with_them(tmp_path: Path) -> None:
    first = run(tmp_path / "first", SERIES)
    path = first.folder / "config.toml"
    first_line = path.read_text().split("\n")[0]
    assert first_line.startswith("# ") and "its network, loss, topology and data were given from Python" in first_line
    line = line_of(lambda: simulate(load_config(path), tmp_path / "none"))
    assert " 'given' means an object from Python (" in line and not (tmp_path / "none").exists()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "peers.head")
        assert_same(first, simulate(load_config(path), tmp_path / "again", **SERIES))
    table = first.summary["config"]
    assert table["peers"]["model"]["name"] == "Convolution" and len(table["peers"]["model"]["digest"]) == 64
    assert table["data"]["digest"] != table["exchange"]["loss"]["digest"]


CHANGES = {
    "the class": ("mine", "nn.BatchNorm1d(features)", "nn.LayerNorm(features)", "peers.model 'mine:Net'"),
    "what it calls": ("mine_too", "return 8", "return 4 + 4", ""),
    "what it calls, in effect": ("mine_too", "return 8", "return int('8')", "peers.model 'mine:Net'"),
    "the loss": ("mine", "F.huber_loss(student, target", "F.huber_loss(target, student", "exchange.loss 'mine:loss'"),
    "the graph": ("mine", "nx.path_graph", "nx.star_graph", "topology 'mine:graph'"),
    "the data": ("mine", "default_rng(7)", "default_rng(8)", "data 'mine:data'"),
    "a comment": ("mine", "return self.layers(x)", "return self.layers(x)  # as it is", ""),
}


def imported(folder: Path) -> Any:
    """The user's module, in this process."""
    sys.path.insert(0, str(folder))  # the fixture takes it away
    return importlib.import_module("mine")


def change(folder: Path, module: str, old: str, new: str) -> None:
    """Edit a module of the user's; what is imported from then on is the new one."""
    path = folder / f"{module}.py"
    assert path.read_text().count(old) == 1
    path.write_text(path.read_text().replace(old, new))
    shutil.rmtree(folder / "__pycache__", ignore_errors=True)
    importlib.invalidate_caches()
    for name in ("mine", "mine_too"):
        sys.modules.pop(name, None)


def test_resume__refuses_imported_code_that_has_changed(
    tmp_path: Path, own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = killed(tmp_path / "killed", monkeypatch, {}, *IMPORTS)
    for what, (module, old, new, origin) in CHANGES.items():
        change(own, module, old, new)
        if origin:
            for go_on in (
                lambda: resume(folder),
                lambda: simulate(load_config(folder / "config.toml"), tmp_path / "no"),
            ):
                line = line_of(go_on)
                assert line.startswith(f"{origin}: is not the code that the run was started with (SHA-256 "), what
                assert line.endswith(f"leave {origin.partition(' ')[0]}.digest out to take it as it is"), what
        change(own, module, new, old)
    change(own, *CHANGES["a comment"][:3])
    straight = run(tmp_path / "straight", {}, *IMPORTS)
    assert_same(resume(folder), straight)
    assert_same(simulate(load_config(straight.folder / "config.toml"), tmp_path / "again"), straight)


# ---- other processes ----

SCRIPT = """
    import sys
    from coordinator import load_config, resume, simulate
    from coordinator.records.events import RoundCompleted
    {source}
    def tell(event):
        if isinstance(event, RoundCompleted):
            print("round", event.completed, flush=True)

    if __name__ == "__main__":
        import networkx as nx
        objects = dict(network=Net, loss=loss, topology=graph(4), data=data(7))
        if sys.argv[1] == "run":
            simulate(load_config(sys.argv[2]), sys.argv[3], [tell], **objects)
        else:
            resume(sys.argv[2], observers=[tell], **objects)
    """


@pytest.mark.slow
@pytest.mark.parametrize("pool", ["in-process", "ray"])
def test_simulate__killed_and_resumed_in_another_process(pool: str, tmp_path: Path, own: Path, started: Any) -> None:
    """Of a script's own classes, which have no module that other processes could import."""
    source = textwrap.dedent(MINE)
    (own / "script.py").write_text(textwrap.dedent(SCRIPT).replace("{source}", source))
    overrides = ("run.rounds=60", "data.batch_size=16")
    hosting = RAY if pool == "ray" else ()
    (own / "config.toml").write_text(to_toml(config(*overrides, *SMALL, *hosting)))
    command = [sys.executable, "script.py"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with started([*command, "run", "config.toml", str(tmp_path / "killed")], cwd=own, env=env) as process:
        told = []
        for text in process.stdout:
            told.append(text)
            if text.startswith("round 31"):
                break
        else:
            raise AssertionError("".join(told))
        process.end(signal.SIGKILL)
        process.wait(timeout=30)
    (folder,) = (tmp_path / "killed").glob("run-*")
    assert not (folder / "summary.json").exists()
    with started([*command, "resume", str(folder)], cwd=own, env=env) as process:
        told, _ = process.communicate(timeout=300)
    assert process.returncode == 0, told
    assert "round 60" in told and "round 29" not in told
    mine = imported(own)
    given = {"network": mine.Net, "loss": mine.loss, "topology": mine.graph(4), "data": mine.data(7)}
    straight = simulate(load_config(own / "config.toml", ["hosting.pool=in-process"]), tmp_path / "straight", **given)
    summary = json.loads((folder / "summary.json").read_text())
    for name in METRICS:
        assert summary[name] == straight.summary[name], name


@pytest.mark.slow
@pytest.mark.parametrize("hosting", [(), RAY], ids=["in-process", "ray"])
@pytest.mark.parametrize("command", [[sys.executable, "-m", "coordinator"], [CONSOLE]], ids=["module", "console"])
def test_command__imports_from_the_current_folder(
    command: list[str], hosting: tuple[str, ...], tmp_path: Path, own: Path, started: Any
) -> None:
    (own / "config.toml").write_text(to_toml(config(*SMALL, *IMPORTS, *hosting)))
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with started([*command, "run", "config.toml", "--output", str(tmp_path / "runs")], cwd=own, env=env) as process:
        told, _ = process.communicate(timeout=300)
    assert process.returncode == 0, told
    (folder,) = (tmp_path / "runs").glob("run-*")
    mine = imported(own)
    loss = functools.partial(mine.loss, delta=0.25)
    given = {"network": mine.Net, "loss": loss, "topology": mine.graph(4), "data": mine.data(7)}
    summary, straight = json.loads((folder / "summary.json").read_text()), run(tmp_path / "python", given)
    for name in METRICS:
        assert summary[name] == straight.summary[name], name


@pytest.mark.slow
def test_simulate__a_lost_host_costs_no_number(cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers: list[int] = []
    opened = RayPool._open

    def noting(self: RayPool, hosts: Any, evaluators: Any) -> None:
        opened(self, hosts, evaluators)
        numbers[:] = cluster.get([process.actor.ready.remote() for process in self.hosts])

    monkeypatch.setattr(RayPool, "_open", noting)
    sent: list[int] = []

    def kill(event: RunEvent) -> None:
        if isinstance(event, RoundCompleted) and event.completed == 25 and not sent:
            sent.append(numbers[1])
            os.kill(numbers[1], signal.SIGKILL)

    rounds = ("run.rounds=60", "checkpoint.every=10", "evaluation.every=20", "evaluation.probe_every=20")
    result = run(tmp_path / "faulty", SERIES, *rounds, *RAY, observers=[kill])
    assert sent and len(result.summary["faults"]) == 1
    assert_same(result, run(tmp_path / "straight", SERIES, *rounds))


# ---- errors in the middle of a run ----


class Late(nn.Module):
    """Fails for the third peer once its weights have moved for some rounds, or once it has seen so many batches."""

    def __init__(self, shape: tuple[int, ...], peer: int, moved: float = 0.0035, seen: int = 1000) -> None:
        super().__init__()
        self.layer, self.peer, self.most = nn.Linear(64, 8), peer, (moved, seen)
        self.register_buffer("start", self.layer.weight.detach().clone())
        self.register_buffer("calls", torch.zeros(1))

    def forward(self, images: Tensor) -> Tensor:
        self.calls += self.training
        moved = (self.layer.weight - self.start).abs().max()
        if self.peer == 2 and (moved > self.most[0] or self.calls > self.most[1]):
            raise RuntimeError("it is too late")
        return self.layer(images.flatten(1))


@pytest.mark.parametrize(
    ("network", "where"),
    [(Late, "in the rounds"), (functools.partial(Late, seen=4), "in the controls")],
    ids=["in a round", "in a probe"],
)
@pytest.mark.parametrize("hosting", [(), RAY], ids=["in-process", "ray"])
def test_simulate__what_the_users_code_raises_ends_the_run_in_order(
    network: Any, where: str, hosting: tuple[str, ...], cluster: Any, tmp_path: Path
) -> None:
    result = run(tmp_path, {"network": network}, "peers.optimizer={ kind = 'adam', lr = 1e-3 }", *hosting)
    assert result.status == "stopped"
    first, line = result.message.split("\n")[:2]
    assert "peers.model 'Late': raised RuntimeError: it is too late (peer 2); " in first, result.message
    assert where in first
    assert "test_brought.py:" in line and 'raise RuntimeError("it is too late")' in line
    assert json.loads((result.folder / "summary.json").read_text())["status"] == "stopped"
    assert (1 <= result.summary["rounds"] <= 6) == (network is Late)


@pytest.mark.slow
def test_simulate__a_file_that_has_changed_since_its_import_is_refused(tmp_path: Path, own: Path, started: Any) -> None:
    """In other processes, which would import the new one; this process goes on with the old one."""
    (own / "script.py").write_text(
        textwrap.dedent("""
        from pathlib import Path
        import mine
        from coordinator import ConfigError, load_config, simulate
        if __name__ == "__main__":
            path = Path("mine.py")
            path.write_text(path.read_text().replace("nn.BatchNorm1d(features)", "nn.LayerNorm(features)"))
            objects = dict(network=mine.Net, loss=mine.loss, topology=mine.graph(4), data=mine.data(7))
            for overrides in (["hosting.pool=in-process", "hosting.peers_per_host=1"], []):
                try:
                    print("ended:", simulate(load_config("config.toml", overrides), "runs", **objects).status)
                except ConfigError as error:
                    print("refused:", error)
        """)
    )
    (own / "config.toml").write_text(to_toml(config(*SMALL, *RAY)))
    with started([sys.executable, "script.py"], cwd=own) as process:
        told, _ = process.communicate(timeout=300)
    assert "ended: finished" in told, told
    assert "refused: peers.model 'Net': the processes of peers import other code than this one" in told
    assert "start Python anew, or set hosting.pool to in-process (peer " in told
