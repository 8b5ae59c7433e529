"""torchvision's classifiers by name: their own features, for any number of channels; each of them builds and runs."""

import warnings
from typing import Any

import pytest
import torch
import torchvision
from torch import nn

from coordinator import ConfigError, load_config
from coordinator.planning.plan import Plan, prepare
from peers.data.formats.shapes import Shape
from peers.networks import drawing
from peers.networks.config import PeerKind
from peers.networks.network import Network
from peers.networks.torchvision_models import encoder

NAMES = torchvision.models.list_models(module=torchvision.models)
LAST = {
    "resnet34": "fc",
    "convnext_tiny": "classifier.2",
    "mnasnet0_5": "classifier.1",
    "mobilenet_v3_small": "classifier.3",  # its BatchNorm has another eps
    "squeezenet1_1": "classifier.1",
    "vit_b_32": "heads.head",
}
SIZES = {"alexnet": 64, "inception_v3": 80, "maxvit_t": 224}  # the others take 32x32
ARGS = {"vit": {"image_size": 32}, "vit_h_14": {"image_size": 28}}
FEW = 12_000_000  # parameters of a model that is small enough to be trained in a test


def kind(name: str, **parts: Any) -> PeerKind:
    return PeerKind.model_validate(
        {"model": {"kind": "torchvision", "name": name, "args": parts.pop("args", {})}} | parts
    )


def network(name: str, shape: Shape, seed: int = 0, **parts: Any) -> Network:
    return drawing.seeded(lambda: kind(name, **parts).build_network(shape), seed)


def plan(*overrides: str, shape: str = "[3, 32, 32]") -> Plan:
    table = {
        "run": {"rounds": 8},
        "data": {"kind": "synthetic", "num_train": 60, "num_test": 30, "batch_size": 10},
        "peers": {"count": 2, "model": {"kind": "torchvision", "name": "shufflenet_v2_x0_5"}},
        "topology": {"kind": "ring"},
        "evaluation": {"probes": ["knn"], "probe_batch": 20},
        "hosting": {"pool": "in-process"},
        "tracking": {"enabled": False},
    }
    return prepare(load_config(table, [f"data.shape={shape}", *overrides]))


def args_of(name: str) -> dict[str, Any]:
    return ARGS.get(name, ARGS["vit"] if name.startswith("vit") else {})


SLOW = {"vit_b_32": pytest.mark.slow, "convnext_tiny": pytest.mark.slow}


@pytest.mark.parametrize("name", [pytest.param(name, marks=SLOW.get(name, ())) for name in LAST])
def test_encoder__features_are_torchvisions_own_before_its_last_layer(name: str) -> None:
    args = {"image_size": 64} if name.startswith("vit") else {}
    found = drawing.seeded(lambda: encoder(name, args, (3, 64, 64), "batch"), 0).eval()
    reference = torchvision.models.get_model(name, weights=None, **args).eval()
    missing, over = reference.load_state_dict(found.state_dict(), strict=False)
    assert sorted(missing) == [f"{LAST[name]}.bias", f"{LAST[name]}.weight"] and not over
    reference.set_submodule(LAST[name], nn.Identity())
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    assert torch.equal(found(images), reference(images)) and found(images).std() > 0


def test_encoder__grey_images_have_a_first_layer_of_their_own() -> None:
    found = network("resnet34", (1, 32, 32))
    first = found.encoder.conv1
    assert (first.in_channels, first.out_channels, first.kernel_size, first.stride) == (1, 64, (7, 7), (2, 2))
    features, outputs = found(torch.randn(3, 1, 32, 32))
    assert features.shape == (3, 512) and outputs.shape == (3, 64)


def test_encoder__args_are_torchvisions() -> None:
    wide = network("resnet18", (3, 32, 32), args={"width_per_group": 64, "zero_init_residual": True})
    assert wide.encoder.layer1[0].bn2.weight.abs().sum() == 0
    assert not any(
        isinstance(each, nn.BatchNorm2d) for each in network("resnet18", (3, 32, 32), norm="group").modules()
    )


def test_network__its_dropout_draws_by_the_seed_alone() -> None:
    found, images = network("squeezenet1_1", (3, 32, 32)), torch.randn(4, 3, 32, 32)
    assert found.noise is not None and network("shufflenet_v2_x0_5", (3, 32, 32)).noise is None
    before = torch.get_rng_state()
    found.draw_from(5)
    first, second = found(images)[1], found(images)[1]
    found.draw_from(6)
    assert torch.equal(first, second) and not torch.equal(first, found(images)[1])
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(found.eval()(images)[1], found(images)[1])


def test_network__the_same_seed_gives_the_same_weights() -> None:
    for name in ("shufflenet_v2_x0_5", "squeezenet1_1", "regnet_y_400mf"):
        first, second, other = (network(name, (3, 32, 32), seed).state_dict() for seed in (0, 0, 1))
        assert all(torch.equal(first[key], second[key]) for key in first)
        assert any(not torch.equal(first[key], other[key]) for key in first)


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (
            ["peers.model.name=resnet43"],
            "peers.model.name: torchvision has no classifier 'resnet43': did you mean resnet34, ",
        ),
        (
            ["peers.model.name=zzz"],
            "peers.model.name: torchvision has no classifier 'zzz': it has alexnet, convnext_base",
        ),
        (
            ["peers.model.args={ wide = 3 }"],
            "peers.model.args: shufflenet_v2_x0_5 does not take {'wide': 3} (ShuffleNetV2.__init__() got an unexpected",
        ),
        (["peers.model.args={ num_classes = 10 }"], "peers.model.args: shufflenet_v2_x0_5 must keep its 1000 classes"),
        (
            ["peers.model.name=vit_b_16"],
            "peers.model 'vit_b_16': raised AssertionError: Wrong image height! Expected 224",
        ),
        (
            ["peers.model={ kind = 'torchvision', name = 'vit_b_16', args = { image_size = 33 } }"],
            "peers.model.args: vit_b_16 does not take {'image_size': 33} (Input shape indivisible by patch size!)",
        ),
        (["peers.model.name=alexnet"], "peers.model 'alexnet': raised RuntimeError: Given input size: (256x1x1)"),
        (["data.shape=[12]"], "peers.model: shufflenet_v2_x0_5 needs images"),
    ],
)
def test_plan__mistakes_are_a_line(overrides: list[str], line: str) -> None:
    with pytest.raises(ConfigError) as error:
        plan(*overrides)
    assert str(error.value).startswith(line) and "\n" not in str(error.value)


def test_plan__what_draws_is_told_and_not_vectorised() -> None:
    with pytest.warns(UserWarning, match="peers.model 'squeezenet1_1': draws random numbers in its forward passes"):
        plan("peers.model.name=squeezenet1_1")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(ConfigError, match=r"which cannot be vectorised \(peer 0\): set hosting.execution to loop$"):
            plan("peers.model.name=squeezenet1_1", "hosting.execution=vectorised")
        assert plan("peers.model.name=squeezenet1_1", "hosting.execution=auto").config.hosting.execution == "loop"


def test_plan__models_that_read_their_weights_when_built() -> None:
    assert plan("peers.model.name=regnet_y_400mf").groups[0].model == "regnet_y_400mf"


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_encoder__every_model_builds_and_those_that_are_small_train(name: str) -> None:
    size, args = SIZES.get(name, args_of(name).get("image_size", 32)), args_of(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with torch.device("meta"):
                found = encoder(name, args, (1, size, size), "batch")
            assert found(torch.empty(2, 1, size, size, device="meta")).ndim == 2
            if sum(parameter.numel() for parameter in found.parameters()) > FEW:
                return
        except ValueError:
            assert name.startswith("regnet")
        if name in ("regnet_y_128gf", "regnet_y_32gf", "regnet_x_32gf", "regnet_y_16gf", "regnet_x_16gf"):
            return
        built = network(name, (1, size, size), args=args)
    features, outputs = built(torch.randn(2, 1, size, size))
    outputs.square().sum().backward()
    trained = [parameter.grad is not None for parameter in built.parameters()]
    assert all(trained) and features.shape == (2, built.feature_dim)
