"""Networks of the user's own, and weights from files: who starts with which weights, and what is refused."""

import pickle
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from coordinator import ConfigError, RunConfig, load_config
from coordinator.planning.brought import Objects
from coordinator.planning.plan import Plan, prepare, settings_of
from peers.base.seeds import torch_seed
from peers.learning.settings import initial_network, stranger_network
from peers.networks import drawing
from peers.networks.network import Network

PIXELS = 64


def config(*overrides: str) -> RunConfig:
    table = {
        "run": {"rounds": 8, "seed": 3},
        "data": {"kind": "synthetic", "num_train": 60, "num_test": 30, "batch_size": 10},
        "peers": {"count": 3, "model": {"kind": "mlp", "hidden": [8]}, "head": {"kind": "linear", "dim": 6}},
        "topology": {"kind": "ring"},
        "evaluation": {"probes": ["knn"], "probe_batch": 20},
        "hosting": {"pool": "in-process"},
        "tracking": {"enabled": False},
    }
    return load_config(table, overrides)


def plan(*overrides: str, **objects: Any) -> Plan:
    return prepare(Objects(**objects).take(config(*overrides)))


def line_of(*overrides: str, **objects: Any) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(ConfigError) as error:
            plan(*overrides, **objects)
    (line,) = str(error.value).split("\n")
    return line


def networks(of_plan: Plan) -> list[Network]:
    return [initial_network(settings, of_plan.dataset.shape) for settings in settings_of(of_plan)]


def strangers(of_plan: Plan) -> list[Network]:
    return [stranger_network(settings, of_plan.dataset.shape) for settings in settings_of(of_plan)]


def same(one: nn.Module, other: nn.Module) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(first, second) for first, second in pairs)


class Net(nn.Module):
    def __init__(self, shape: tuple[int, ...] = (1, 8, 8), width: int = 8) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(PIXELS, width), nn.BatchNorm1d(width))

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images)


def built(seed: int = 0, **options: Any) -> Net:
    return drawing.seeded(lambda: Net(**options), seed)


# ---- who starts with which weights ----


def test_drawn__each_peer_by_the_runs_seed_as_torch_would() -> None:
    found = networks(plan(network=Net))
    for peer, network in enumerate(found):
        torch.manual_seed(torch_seed(3, "weights", peer))
        assert same(network.encoder, Net())
    others = networks(plan("run.seed=4", network=Net))
    assert not same(found[0], found[1]) and not same(found[0], others[0])


def test_drawn__a_module_that_was_built_is_drawn_anew_as_if_it_were_built() -> None:
    module = built()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    assert all(
        same(one, other) for one, other in zip(networks(plan(network=module)), networks(plan(network=Net)), strict=True)
    )
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())


def test_given__all_start_as_they_are_and_strangers_do_not() -> None:
    module = built()
    with torch.no_grad():
        module.layers[2].running_mean += 1
    of_plan = plan("peers.initial=given", network=module)
    assert all(same(network.encoder, module) for network in networks(of_plan))
    heads = [network.head.weight for network in networks(of_plan)]
    assert not torch.equal(heads[0], heads[1])  # ours are drawn
    for peer, network in enumerate(strangers(of_plan)):
        torch.manual_seed(torch_seed(3, "stranger", peer))
        assert same(network.encoder, Net())


def test_given__one_for_each_peer() -> None:
    modules = [built(seed) for seed in range(3)]
    of_plan = plan("peers.initial=given", network=modules)
    assert all(same(network.encoder, module) for network, module in zip(networks(of_plan), modules, strict=True))
    by_index = plan("peers.initial=given", network=lambda shape, peer: modules[peer])
    assert all(same(network.encoder, module) for network, module in zip(networks(by_index), modules, strict=True))


def test_given__peers_share_no_tensor_with_each_other_or_the_module() -> None:
    module = built()
    for network in (module, lambda shape: module):
        found = networks(plan("peers.initial=given", network=network))
        pointers = {each.encoder.layers[1].weight.data_ptr() for each in found} | {module.layers[1].weight.data_ptr()}
        assert len(pointers) == 4


def test_head__a_module_is_drawn_anew_for_each_peer_or_as_given() -> None:
    head = nn.Linear(8, 5)
    drawn = networks(plan(head=head))
    assert not torch.equal(drawn[0].head.weight, drawn[1].head.weight) and drawn[0].output_dim == 5
    given = networks(plan("peers.initial=given", network=Net, head=head))
    assert all(torch.equal(network.head.weight, head.weight) for network in given)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda shape: Net(shape), [8, 8, 8]),
        (lambda shape, peer: Net(shape, 8 + peer), [8, 9, 10]),
        (lambda: Net(), [8, 8, 8]),
        (Net, [8, 8, 8]),  # its second argument has a default, and is not the peer's
        (lambda shape, peer=2: Net(shape, 8 + peer), [8, 9, 10]),  # but by its name
        (lambda *anything: Net(*anything), [8, 8, 8]),
    ],
)
def test_build__is_called_with_what_it_takes(make: Callable[..., Any], expected: list[int]) -> None:
    assert [network.feature_dim for network in networks(plan(network=make))] == expected


def test_plan__says_what_was_brought() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = plan(network=lambda shape, peer: Net(shape, 8 + peer % 2))
    assert [(group.count, group.norm, group.feature_dim) for group in found.groups] == [(2, "own", 8), (1, "own", 9)]
    assert (
        found.config.peers.model.digest
        == Objects(network=lambda shape, peer: Net(shape, 8 + peer % 2)).take(config()).peers.model.digest
    )


# ---- weights from a file ----


def saved(path: Path, state: dict[str, Tensor]) -> Path:
    safetensors.torch.save_file(state, path) if path.suffix == ".safetensors" else torch.save(state, path)
    return path


@pytest.mark.parametrize("name", ["net.safetensors", "net.pt", "net.pth"])
@pytest.mark.parametrize("brought", [True, False])
def test_weights__are_the_encoders_of_every_peer(name: str, brought: bool, tmp_path: Path) -> None:
    objects = {"network": Net} if brought else {}
    source = networks(plan("run.seed=9", **objects))[0].encoder
    path = saved(tmp_path / name, source.state_dict())
    of_plan = plan(f"peers.weights='{path}'", **objects)
    found = networks(of_plan)
    assert all(same(network.encoder, source) for network in found)
    assert not torch.equal(found[0].head.weight, found[1].head.weight)
    assert not any(
        torch.equal(s.encoder.state_dict()[k], v)
        for s in strangers(of_plan)
        for k, v in source.named_parameters()
        if v.std() > 0
    )
    assert len(of_plan.config.peers.weights_digest) == 64


def test_weights__of_some_layers(tmp_path: Path) -> None:
    """Patterns name what the file may lack, and what it may have besides."""
    source = built(5)
    state = {name: tensor for name, tensor in source.state_dict().items() if not name.startswith("layers.2")}
    path = saved(tmp_path / "net.pt", state | {"fc.weight": torch.ones(2), "fc.bias": torch.ones(2)})
    weights, drawn = f"peers.weights='{path}'", networks(plan(network=Net))
    assert line_of(weights, network=Net).startswith(
        "peers.weights: the file has no 'layers.2.bias' and 4 more: name them in peers.weights_except, where * stands"
    )
    line = line_of(weights, "peers.weights_except=['layers.2.*']", network=Net)
    assert line.startswith("peers.weights: the file has weights that the network lacks: 'fc.bias' and 1 more")
    found = networks(plan(weights, "peers.weights_except=['layers.2.*', 'fc.*']", network=Net))
    for network, other in zip(found, drawn, strict=True):
        assert torch.equal(network.encoder.layers[1].weight, source.layers[1].weight)
        assert same(network.encoder.layers[2], other.encoder.layers[2])


def test_weights__mistakes_are_a_line(tmp_path: Path) -> None:
    def line(path: Path) -> str:
        return line_of(f"peers.weights='{path}'", network=Net)

    narrow = saved(tmp_path / "narrow.pt", built(width=7).state_dict())
    assert line(narrow).startswith(
        "peers.weights: 'layers.1.weight' must be of shape (8, 64), got (7, 64): take the file"
    )
    assert line(tmp_path / "none.pt") == (f"peers.weights: '{tmp_path}/none.pt' does not exist: name a file of weights")
    assert "does not exist" in line(tmp_path / "none.safetensors")
    for name in ("text.pt", "text.safetensors", "empty.pt", "empty.safetensors"):
        (tmp_path / name).write_text("weights" if name.startswith("text") else "")
        assert line(tmp_path / name).startswith(f"peers.weights: '{tmp_path}/{name}' has no weights that can be read (")
    torch.save([torch.ones(2)], tmp_path / "list.pt")
    torch.save({"epoch": 3, "model": built().state_dict()}, tmp_path / "checkpoint.pt")
    for name in ("list.pt", "checkpoint.pt"):
        assert line(tmp_path / name).startswith(f"peers.weights: '{tmp_path}/{name}' must hold a state_dict")
    assert line(tmp_path).startswith(f"peers.weights: '{tmp_path}' has no weights that can be read (")


class Harmful:
    def __reduce__(self) -> tuple[Any, ...]:
        return (open, ("harmed", "w"))


def test_weights__pickled_code_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(built(), tmp_path / "module.pt")
    torch.save({"layers.1.weight": Harmful()}, tmp_path / "harmful.pt")
    (tmp_path / "plain.pt").write_bytes(pickle.dumps(Harmful()))
    for name in ("module.pt", "harmful.pt", "plain.pt"):
        line = line_of(f"peers.weights='{tmp_path}/{name}'", network=Net)
        assert line.startswith(f"peers.weights: '{tmp_path}/{name}' has no weights that can be read (")
    assert not (tmp_path / "harmed").exists()


def test_weights__a_file_that_has_changed_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "net.pt", built(1).state_dict())
    digest = plan(f"peers.weights='{path}'", network=Net).config.peers.weights_digest
    both = (f"peers.weights='{path}'", f"peers.weights_digest='{digest}'")
    plan(*both, network=Net)
    saved(path, built(2).state_dict())
    line = line_of(*both, network=Net)
    assert line.startswith(
        f"peers.weights: '{path}' has changed since the run was started (SHA-256 {digest[:12]}, now "
    )
    assert line.endswith("put it back, or leave peers.weights_digest out")


def test_weights__locality_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "net.pt", built(1).state_dict())
    with pytest.raises(ConfigError, match=r"^peers.locality is 0.5, but initial weights are given"):
        config(f"peers.weights='{path}'", "peers.locality=0.5")
    assert not same(*networks(plan("peers.locality=0.5", network=Net))[:2])
    near = networks(plan("peers.locality=0.0", network=Net))
    assert same(near[0], near[2])
