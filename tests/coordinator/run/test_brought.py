"""Networks, data, losses and graphs of the user's own: the same digests in every pool, and never the wrong ones."""

import functools
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

from coordinator import Result, load_config, resume, simulate
from coordinator.pools.in_process import InProcessHost
from coordinator.run.finish import Finish
from peers.data.datasets import Dataset

METRICS = ("rounds", "bytes_exchanged", "probes", "consensus", "relative_weight_change", "digest")
ROUNDS = 8


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


@pytest.mark.parametrize("objects", [IMAGES, SERIES, IMAGES | {"network": by_peer}], ids=["images", "series", "two"])
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
@pytest.mark.parametrize("network", [TinyViT, Convolution, by_peer], ids=["features", "pair", "two"])
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
