"""An exported peer, loaded by the printed lines without this package, gives what the run's own network gives."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from coordinator import ConfigError, load_config, load_result, simulate
from coordinator.checkpoints.export_formats import Exported, as_onnx, as_state_dict, as_torchscript
from peers.networks import drawing
from peers.networks.config import PeerKind, PeersConfig
from peers.networks.trained import InputFormat, TrainedPeer
from peers.networks.variants import HeadConfig, ModelConfig

pytestmark = pytest.mark.filterwarnings(r"ignore:`torch\.jit\..*:FutureWarning")
Cli = Callable[..., tuple[Any, str, str]]
ALONE = """\
import sys, importlib.abc
class Blocked(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in {blocked!r}:
            raise ModuleNotFoundError(f'no {{name}} here')
sys.meta_path.insert(0, Blocked())
{code}
assert not {blocked!r} & set(sys.modules)
torch.save(peer(torch.load('images.pt')), 'found.pt')
"""
BLOCKED = {"peers", "coordinator", "topologies", "safetensors", "torchvision", "numpy", "pydantic", "jaxtyping"}
SIZE = {"vgg11": 32}  # the smallest image of a model, in pixels
PLAIN = {"paper-cnn", "small-cnn", "mlp", "vgg11", "import"}  # models of torch's own layers, one after the other


@pytest.fixture
def run(tiny: Path, cli: Cli) -> Path:
    """The folder of a tiny run with two checkpoints."""
    assert cli("run", str(tiny), "checkpoint.every=1")[0] == 0
    (folder,) = (path for path in Path("runs").iterdir() if path.is_dir())
    return folder


def alone(code: str, images: torch.Tensor, folder: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """What the code's `peer` makes of images, in a process that has torch and no other package of ours."""
    torch.save(images, folder / "images.pt")
    script = ALONE.format(blocked=BLOCKED, code=code)
    command = [sys.executable, "-W", "ignore", "-I", "-c", script]
    subprocess.run(command, cwd=folder, check=True, env={"PATH": os.environ["PATH"]}, timeout=120)
    features, outputs = torch.load(folder / "found.pt")
    return features, outputs


@pytest.mark.parametrize("form", ["state_dict", "torchscript"])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_export__the_printed_lines_run_with_torch_alone(form: str, dtype: torch.dtype, run: Path, cli: Cli) -> None:
    code, out, err = cli("export", str(run), "--peer", "2", "--format", form, "--output", "mine.file")
    assert (code, err) == (0, "")
    assert out.splitlines()[0].startswith("# mine.file: peer 2 after round 2; pixels / 255 are normalised (mean [0.")
    assert out.splitlines()[1] == "# to load it (needs torch):"
    pixels = np.random.default_rng(1).integers(0, 256, (7, 1, 8, 8), dtype=np.uint8)
    features, outputs = alone(out, torch.from_numpy(pixels).to(dtype), Path.cwd())
    result = load_result(run)
    assert np.abs(outputs.numpy() - result.outputs(pixels, 2)).max() <= 1e-6
    assert np.abs(features.numpy() - result.features(pixels, 2)).max() <= 1e-6
    assert np.abs(outputs.numpy() - result.outputs(pixels, 1)).max() > 1e-2  # another peer's are not those


def test_export__a_state_dict_with_what_it_needs_beside_it(run: Path, cli: Cli) -> None:
    assert cli("export", str(run), "--peer", "2")[0] == 0
    saved = load_file(run / "checkpoints" / "round-000002" / "peer-0002.safetensors")
    state = load_file("peer-2.safetensors")
    assert {f"network.{name}" for name in state} == {name for name in saved if name.startswith("network.")}
    assert all(torch.equal(saved[f"network.{name}"], tensor) for name, tensor in state.items())
    with safe_open("peer-2.safetensors", "pt") as file:
        about = file.metadata()
    assert (about["peer"], about["round"], about["run"]) == ("2", "2", run.name)
    inputs = InputFormat.from_json(json.loads(about["inputs"]))
    wanted = load_result(run).normalisation
    assert all(np.array_equal(a, b) for a, b in zip(inputs.normalisation, wanted, strict=True))


def test_export__a_damaged_checkpoint_is_told_and_the_one_before_it_used(run: Path, cli: Cli) -> None:
    assert cli("export", str(run), "--peer", "9") == (2, "", "error: peer: must be 0 to 3, got 9\n")
    save_file({"network.x": torch.zeros(1)}, run / "checkpoints" / "round-000002" / "peer-0002.safetensors")
    lines = cli("export", str(run), "--peer", "2", "--to", "old.safetensors")[1].splitlines()
    assert lines[0].startswith("# the checkpoint of round 2 is damaged: peer-0002.safetensors is not what was written")
    assert lines[1].startswith("# old.safetensors: peer 2 after round 1; ")
    shutil.rmtree(run / "checkpoints")
    code, _, err = cli("export", str(run), "--peer", "2")
    assert code == 2 and err.startswith(f"error: '{run}' has no whole checkpoint: run it with checkpoint.every above 0")


def test_export__of_a_run_with_control_runs_is_the_runs_peer(tiny: Path, cli: Cli, tmp_path: Path) -> None:
    config = load_config(tiny, ["checkpoint.every=1", 'evaluation.controls=["stranger"]'])
    folder = simulate(config, tmp_path / "out").folder
    assert (folder / "checkpoints" / "stranger-000002").is_dir()
    assert cli("export", str(folder), "--peer", "0")[0] == 0
    saved = load_file(folder / "checkpoints" / "round-000002" / "peer-0000.safetensors")
    assert all(
        torch.equal(saved[f"network.{name}"], tensor) for name, tensor in load_file("peer-0.safetensors").items()
    )


@pytest.mark.parametrize("form", ["state_dict", "torchscript"])
def test_export__to_a_place_that_is_not_there(form: str, run: Path, cli: Cli) -> None:
    code, _, err = cli("export", str(run), "--peer", "0", "--format", form, "--output", "none/peer")
    assert (code, err) == (2, "error: output: cannot write 'none/peer': No such file or directory\n")


# ---- every model and head ----


def kinds(union: Any) -> list[Any]:
    """An example of each, but for `given`, which no table can name."""
    examples = [variant.example() for variant in get_args(get_args(union)[0])]
    return [each for each in examples if each.kind != "given"]


OTHER_NORMS = [(kinds(HeadConfig)[0], norm) for norm in ("group", "layer", "none")]


def peer_of(**parts: Any) -> TrainedPeer:
    """A peer whose BatchNorm has seen a batch, for images of three channels."""
    kind = PeerKind.model_validate(parts)
    size = SIZE.get(kind.model.kind, 8)
    network = drawing.seeded(lambda: kind.build_network((3, size, size)), 3)
    with torch.no_grad():
        network.train()(torch.randn(8, 3, size, size))
    statistics = np.array([0.2, 0.3, 0.4], np.float32), np.array([0.5, 0.25, 1.0], np.float32)
    return TrainedPeer(network.eval(), InputFormat((3, size, size), "uint8", statistics), 1)


def assert_gives_the_same(exported: Exported, trained: TrainedPeer, path: Path) -> None:
    path.write_bytes(exported.content)
    names: dict[str, Any] = {}
    exec(exported.code, names)
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (5, *trained.inputs.shape), dtype=np.uint8))
    for found, wanted in zip(names["peer"](images), (trained.features(images), trained.outputs(images)), strict=True):
        assert np.allclose(found.numpy(), wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("export", [as_state_dict, as_torchscript])
@pytest.mark.parametrize("model", kinds(ModelConfig), ids=lambda model: model.kind)
def test_formats__of_every_model(model: Any, export: Callable[..., Exported], tmp_path: Path) -> None:
    spec = {"model": model.model_dump(mode="json"), "norm": "batch", "head": {"kind": "linear", "dim": 6}}
    trained, path = peer_of(**spec), tmp_path / "peer"
    exported = export(trained, spec, {"inputs": json.dumps(trained.inputs.to_json())}, path)
    assert_gives_the_same(exported, trained, path)
    assert (exported.needs == "torch") is (export is as_torchscript or model.kind in PLAIN)


@pytest.mark.parametrize("export", [as_state_dict, as_torchscript])
@pytest.mark.parametrize(("head", "norm"), [*((head, "batch") for head in kinds(HeadConfig)), *OTHER_NORMS])
def test_formats__of_every_head_and_norm(head: Any, norm: str, export: Callable[..., Exported], tmp_path: Path) -> None:
    spec = {"model": {"kind": "mlp", "hidden": [16]}, "norm": norm, "head": head.model_dump()}
    trained, path = peer_of(**spec), tmp_path / "peer"
    exported = export(trained, spec, {"inputs": json.dumps(trained.inputs.to_json())}, path)
    assert_gives_the_same(exported, trained, path)
    assert exported.needs == "torch"


# ---- with the sensors of a view ----


def seeing(*steps: str) -> tuple[TrainedPeer, dict[str, Any]]:
    """A peer with this view, and what its network is built of."""
    spec = {"model": {"kind": "mlp", "hidden": [16]}, "norm": "batch", "head": {"kind": "linear", "dim": 6}}
    trained = peer_of(**spec)
    view = PeersConfig(count=3, view=steps).view_of(2, 7)
    return replace(trained, inputs=replace(trained.inputs, view=view, peer=2)), spec


@pytest.mark.parametrize("export", [as_state_dict, as_torchscript])
@pytest.mark.parametrize("steps", [("flip", "luminance"), ("chroma", "left"), ("blurred", "odd-rows")], ids=str)
def test_formats__see_what_the_peers_sensors_do(
    steps: tuple[str, ...], export: Callable[..., Exported], tmp_path: Path
) -> None:
    (trained, spec), path = seeing(*steps), tmp_path / "peer"
    exported = export(trained, spec, {"inputs": json.dumps(trained.inputs.to_json())}, path)
    assert_gives_the_same(exported, trained, path)
    alone = "torch" if export is as_torchscript else "torch and peer-consensus, for the view; format torchscript: torch"
    assert exported.needs.startswith(alone)
    blind = replace(trained, inputs=replace(trained.inputs, view=None))
    images = np.random.default_rng(0).integers(0, 256, (5, 3, 8, 8), dtype=np.uint8)
    assert np.abs(blind.features(images) - trained.features(images)).max() > 1e-2


def test_formats__noise_is_in_the_state_dict_and_in_no_graph(tmp_path: Path) -> None:
    (trained, spec), path = seeing("noisy"), tmp_path / "peer"
    about = {"inputs": json.dumps(trained.inputs.to_json())}
    assert_gives_the_same(as_state_dict(trained, spec, about, path), trained, path)
    for export in (as_torchscript, as_onnx):
        with pytest.raises(ConfigError, match=r"the peer's sensor 'noisy' draws anew for each image, .* state_dict\Z"):
            export(trained, spec, about, path)


# ---- networks of the user's own ----


class Paired(nn.Module):
    """Features, and outputs of a head of its own."""

    def __init__(self, shape: tuple[int, ...], width: int = 6) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(int(np.prod(shape)), width), nn.BatchNorm1d(width))
        self.last = nn.Linear(width, 3)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features = self.layers(images).relu()
        return features, self.last(features)


class Tied(nn.Module):
    """Two layers with the same weights, and a bias that is a part of a longer one."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(int(np.prod(shape)), 8), nn.Linear(8, 8)
        self.third = nn.Linear(8, 8)
        self.third.weight = self.second.weight
        whole = torch.linspace(-1, 1, 9)
        self.second.bias, self.third.bias = nn.Parameter(whole[:8]), nn.Parameter(whole[1:])

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.third(self.second(self.first(images.flatten(1))).tanh())


def wider(shape: tuple[int, ...], peer: int) -> nn.Module:
    """Another architecture for each peer, with as many outputs."""
    return Paired(shape, 4 + peer)


def exported_of(trained: TrainedPeer, form: str, spec: dict[str, Any], path: Path) -> Exported:
    about = {"inputs": json.dumps(trained.inputs.to_json())}
    return {"state_dict": as_state_dict, "torchscript": as_torchscript}[form](trained, spec, about, path)


@pytest.mark.parametrize("form", ["state_dict", "torchscript"])
@pytest.mark.parametrize("name", ["Paired", "Tied"])
def test_formats__of_an_imported_network(name: str, form: str, tmp_path: Path) -> None:
    model = {"kind": "import", "target": f"{__name__}:{name}"}
    spec = {"model": model, "norm": "batch", "head": {"kind": "linear", "dim": 6}}
    trained, path = peer_of(**spec), tmp_path / "peer"
    assert_gives_the_same(exported_of(trained, form, spec, path), trained, path)


def given_run(tiny: Path, out: Path, network: Any, *overrides: str) -> Any:
    return simulate(
        load_config(tiny, ["checkpoint.every=1", "peers.head={kind='none'}", *overrides]), out, network=network
    )


def assert_lines_give_the_same(lines: list[str], names: dict[str, Any], result: Any, peer: int) -> None:
    code = "\n".join(lines)
    exec(code, names)
    pixels = np.random.default_rng(1).integers(0, 256, (7, 1, 8, 8), dtype=np.uint8)
    wanted = result.features(pixels, peer), result.outputs(pixels, peer)
    for found, each in zip(names["peer"](torch.from_numpy(pixels)), wanted, strict=True):
        assert np.allclose(found.detach().numpy(), each, rtol=1e-5, atol=1e-6)


class Scale(nn.Module):
    """A weight without a method that draws it anew."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(64))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.flatten(1) * self.scale


@pytest.mark.parametrize("form", ["state_dict", "torchscript"])
@pytest.mark.parametrize(
    ("network", "initial"), [(wider, "drawn"), (Tied, "drawn"), (Scale(), "given")], ids=["by-peer", "tied", "built"]
)
def test_result_export__of_a_network_given_from_python(
    network: Any, initial: str, form: Any, tiny: Path, tmp_path: Path
) -> None:
    result = given_run(tiny, tmp_path / "out", network, f"peers.initial={initial}")
    for each in (result, load_result(result.folder, network=network)):
        lines = each.export(2, tmp_path / "mine.file", form)
        assert lines[0].startswith(f"# {tmp_path / 'mine.file'}: peer 2 after round 2; ")
        assert_lines_give_the_same(lines, {"given_network": network}, result, 2)


def test_export__of_a_network_built_by_peer_that_is_imported(tiny: Path, cli: Cli, tmp_path: Path) -> None:
    model = f'peers.model={{kind="import", target="{__name__}:wider"}}'
    result = simulate(load_config(tiny, ["checkpoint.every=1", "peers.head={kind='none'}", model]), tmp_path / "out")
    code, out, err = cli("export", str(result.folder), "--peer", "3")
    assert (code, err) == (0, "")
    assert_lines_give_the_same(out.splitlines(), {}, result, 3)


def test_export__of_a_network_given_from_python_says_how_it_is_done_there(tiny: Path, cli: Cli, tmp_path: Path) -> None:
    folder = given_run(tiny, tmp_path / "out", Paired).folder
    line = (
        "error: export: the run was given its network 'Paired' from Python, which no file holds: from Python: "
        f"load_result('{folder}', network=...).export(1, 'peer-1.pt', 'torchscript')\n"
    )
    assert cli("export", str(folder), "--peer", "1", "--format", "torchscript") == (2, "", line)
    assert cli("export", str(folder), "--peer", "7") == (2, "", "error: peer: must be 0 to 3, got 7\n")


def test_result_export__another_form(run: Path) -> None:
    with pytest.raises(ConfigError, match=r"\Aform: must be one of state_dict, torchscript, onnx, got 'pickle'\Z"):
        load_result(run).exported(0, Path("peer"), "pickle")


# ---- what cannot be ----


class Branching(nn.Module):
    """A head that does something else for a single example, which a trace does not see."""

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return features if len(features) > 1 else -features - 1


def test_torchscript__a_network_that_branches_on_its_inputs_is_refused(tmp_path: Path) -> None:
    trained = peer_of(model={"kind": "mlp", "hidden": [4]}, head={"kind": "none"})
    trained.network.head = Branching()
    with pytest.raises(ConfigError, match=r"\Aformat torchscript: torch cannot export this network \(the traced n"):
        as_torchscript(trained, {}, {}, tmp_path / "peer.pt")


def test_onnx__without_its_packages_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coordinator.checkpoints.export_formats.find_spec", lambda name: None)
    line = (
        "format onnx needs onnx and onnxscript, which torch.onnx builds on: pip install onnx onnxscript, or use "
        "format torchscript"
    )
    with pytest.raises(ConfigError) as refused:
        as_onnx(peer_of(model={"kind": "mlp"}), {}, {}, tmp_path / "peer.onnx")
    assert str(refused.value) == line


@pytest.mark.parametrize("head", kinds(HeadConfig), ids=lambda head: head.kind)
def test_onnx__where_its_packages_are(head: Any, tmp_path: Path) -> None:
    for name in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(name)
    trained, path = peer_of(model={"kind": "small-cnn"}, head=head.model_dump()), tmp_path / "peer.onnx"
    exported = as_onnx(trained, {}, {"round": "1"}, path)
    path.write_bytes(exported.content)
    names: dict[str, Any] = {}
    exec(exported.code, names)
    images = np.random.default_rng(0).integers(0, 256, (5, *trained.inputs.shape), dtype=np.uint8)
    features, outputs = names["peer"](images)
    assert np.allclose(features, trained.features(images), rtol=1e-5, atol=1e-6)
    assert np.allclose(outputs, trained.outputs(images), rtol=1e-5, atol=1e-6)
    assert names["session"].get_modelmeta().custom_metadata_map == {"round": "1"}
