import copy
import functools
import math
import threading
from collections.abc import Callable
from typing import get_args

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.func import functional_call, vmap

from peers.base.section import examples
from peers.networks import drawing, heads, models
from peers.networks.models import Norm
from peers.networks.network import Network, Shape, feature_dim
from peers.networks.variants import ModelConfig

SHAPE = (3, 32, 32)
NORMS: tuple[Norm, ...] = get_args(Norm)
ENCODERS: dict[str, Callable[[Shape, Norm], nn.Module]] = {each.kind: each.build for each in examples(ModelConfig)}
SLOW = {"densenet121": pytest.mark.slow}
FEATURES = {"paper-cnn": 16384, "small-cnn": 64, "mlp": 128, "resnet18": 512, "vgg11": 512, "densenet121": 1024}


def images(batch_size: int, shape: Shape, seed: int = 0) -> Tensor:
    return torch.randn(batch_size, *shape, generator=torch.Generator().manual_seed(seed))


def tensors(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def small_network(seed: int, norm: Norm = "batch") -> Network:
    return drawing.seeded(
        lambda: Network(models.small_cnn((1, 8, 8), (8, 16), norm), heads.linear(16, 5), (1, 8, 8)), seed
    )


def test_paper_cnn__parameter_count_of_the_paper() -> None:
    network = models.paper_cnn(SHAPE, "batch")
    assert models.num_parameters(network) == 962_304
    assert sum(tensor.nbytes for tensor in network.state_dict().values()) / 1e6 == pytest.approx(3.855, abs=5e-4)


def test_paper_cnn__equals_the_layers_written_out() -> None:
    network = drawing.seeded(lambda: models.paper_cnn(SHAPE, "none"), 1)
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    values = images(2, SHAPE)
    for index, convolution in enumerate(convolutions):
        values = nn.functional.conv2d(values, convolution.weight, convolution.bias, padding=1)
        values = torch.maximum(values, 0.01 * values)
        if index in (1, 3):
            side = values.shape[2] // 2
            values = values.view(2, -1, side, 2, side, 2).amax(dim=(3, 5))
    torch.testing.assert_close(network(images(2, SHAPE)), values.flatten(1))


def test_small_cnn__pools_between_blocks_then_averages() -> None:
    network = drawing.seeded(lambda: models.small_cnn((1, 8, 8), (4, 6), "none"), 1)
    first, second = (module for module in network.modules() if isinstance(module, nn.Conv2d))
    values = nn.functional.conv2d(images(3, (1, 8, 8)), first.weight, first.bias, padding=1).relu()
    values = nn.functional.max_pool2d(values, 2)
    values = nn.functional.conv2d(values, second.weight, second.bias, padding=1).relu()
    assert values.shape[2:] == (4, 4)
    torch.testing.assert_close(network(images(3, (1, 8, 8))), values.mean(dim=(2, 3)))


def test_mlp__by_hand() -> None:
    network = models.mlp((1, 2, 2), (2,), "none")
    linear = next(module for module in network.modules() if isinstance(module, nn.Linear))
    with torch.no_grad():
        linear.weight.copy_(torch.tensor([[1.0, 2.0, 3.0, 4.0], [-1.0, 0.0, 0.0, 0.0]]))
        linear.bias.copy_(torch.tensor([0.5, 0.0]))
    assert network(torch.tensor([[[[1.0, 0.0], [2.0, 1.0]]]])).tolist() == [[11.5, 0.0]]


@pytest.mark.parametrize("kind", [kind for kind in ENCODERS if kind not in ("import", "given")])  # have their own
@pytest.mark.parametrize("norm", NORMS)
def test_encoders__every_norm_trains_every_parameter(kind: str, norm: Norm) -> None:
    shape = (2, 32, 32)
    encoder = drawing.seeded(lambda: ENCODERS[kind](shape, norm), 0)
    assert any(isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) for module in encoder.modules()) == (norm == "batch")
    assert any(isinstance(module, nn.GroupNorm) for module in encoder.modules()) == (norm in ("group", "layer"))
    features = encoder(images(2, shape))
    assert feature_dim(encoder, shape) == features.shape[1]
    features.square().mean().backward()
    assert all(parameter.grad is not None for parameter in encoder.parameters())


@pytest.mark.parametrize("kind", FEATURES)
def test_encoders__number_of_features_by_hand(kind: str) -> None:
    assert feature_dim(ENCODERS[kind](SHAPE, "batch"), SHAPE) == FEATURES[kind]


def test_resnet18__torchvision_weights_give_torchvision_features() -> None:
    reference = torchvision.models.resnet18(weights=None).eval()
    encoder = models.resnet18(SHAPE, "batch").eval()
    with torch.no_grad():
        for name, tensor in encoder.state_dict().items():
            if name != "conv1.weight":
                tensor.copy_(reference.state_dict()[name])
    reference.conv1, reference.maxpool, reference.fc = encoder.conv1, nn.Identity(), nn.Identity()
    torch.testing.assert_close(encoder(images(2, SHAPE)), reference(images(2, SHAPE)))


def test_vgg11__torchvision_counts() -> None:
    assert models.num_parameters(models.vgg11(SHAPE, "none")) == 9_220_480  # torchvision's features, 3 channels


def test_densenet121__torchvision_counts() -> None:
    stem = 64 * 3 * (49 - 9)
    assert models.num_parameters(models.densenet121(SHAPE, "batch")) == 6_953_856 - stem


@pytest.mark.parametrize("norm", NORMS)
def test_norm__weights_are_those_of_every_other_norm(norm: Norm) -> None:
    batch = drawing.seeded(lambda: models.resnet18((1, 8, 8), "batch"), 3).state_dict()
    other = drawing.seeded(lambda: models.resnet18((1, 8, 8), norm), 3).state_dict()
    weights = [name for name in batch if "conv" in name]
    assert len(weights) == 17
    assert all(torch.equal(batch[name], other[name]) for name in weights)


def test_norm_layer__group_of_eight_channels_by_hand() -> None:
    values = images(2, (16, 3, 3))
    grouped = values.view(2, 2, 8 * 9)
    mean, variance = grouped.mean(dim=2, keepdim=True), grouped.var(dim=2, unbiased=False, keepdim=True)
    expected = ((grouped - mean) / (variance + 1e-5).sqrt()).view_as(values)
    torch.testing.assert_close(models.norm_layer("group", 16)(values), expected)


@pytest.mark.parametrize(("channels", "groups"), [(5, 1), (8, 1), (16, 2), (24, 3), (64, 8), (100, 10), (512, 32)])
def test_norm_layer__groups_divide_and_hold_eight(channels: int, groups: int) -> None:
    layer = models.norm_layer("group", channels)
    assert isinstance(layer, nn.GroupNorm)
    assert layer.num_groups == groups


def test_norm_layer__layer_is_torch_layer_norm_on_vectors() -> None:
    values = torch.randn(4, 32, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(models.norm_layer("layer", 32, spatial=False)(values), nn.LayerNorm(32)(values))


def in_turn(network: nn.Module) -> nn.Sequential:
    """The layers of a small-cnn in the order in which they are written, with torch's own mean."""
    return nn.Sequential(*copy.deepcopy(list(network.children())[:-2]), nn.AdaptiveAvgPool2d(1), nn.Flatten())


@pytest.mark.parametrize("shape", [SHAPE, (1, 28, 28)], ids=str)
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_small_cnn__has_the_bits_of_its_layers_in_turn(
    memory_format: torch.memory_format, precision: torch.dtype, shape: Shape
) -> None:
    """Outputs, gradients and buffers; a last map of 7x7, too, whose mean is no division by a power of two."""
    network = drawing.seeded(lambda: models.small_cnn(shape, (8, 16, 24), "batch"), 1)
    by_hand, order = in_turn(network), []
    for layer in network.children():
        layer.register_forward_hook(lambda layer, *_: order.append(type(layer).__name__))
    found = []
    for each in (network, by_hand):
        each.to(memory_format=memory_format)
        values = images(16, shape).contiguous(memory_format=memory_format).requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16):
            outputs = each(values)
        assert outputs.dtype == precision
        outputs.backward(images(16, (24,), 2).to(precision))
        found.append([outputs, values.grad, *(parameter.grad for parameter in each.parameters()), *each.buffers()])
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))
    late = memory_format == torch.channels_last
    assert order[2:4] == (["MaxPool2d", "ReLU"] if late else ["ReLU", "MaxPool2d"])
    assert str(network[-2]) == str(by_hand[-2])


@pytest.mark.parametrize("shape", [SHAPE, (1, 8, 8)], ids=str)
def test_small_cnn__has_the_bits_of_its_layers_in_turn_under_vmap(shape: Shape) -> None:
    network = drawing.seeded(lambda: models.small_cnn(shape, (8, 16, 24), "batch"), 1)
    found = []
    for each in (network, in_turn(network)):
        state = {
            name: torch.stack([tensor.detach(), tensor.detach() * 0.5]) for name, tensor in each.named_parameters()
        }
        for tensor in state.values():
            tensor.requires_grad_()
        buffers = {name: torch.stack([tensor, tensor]) for name, tensor in each.named_buffers()}
        call = vmap(functools.partial(functional_call, each), in_dims=(0, None))
        outputs = call({**state, **buffers}, images(16, shape))
        outputs.backward(images(2, (16, 24), 2))
        found.append([outputs, *(tensor.grad for tensor in state.values()), *buffers.values()])
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


@pytest.mark.parametrize(("kind", "smallest"), [("vgg11", 32), ("paper-cnn", 4), ("small-cnn", 4), ("densenet121", 8)])
def test_encoders__too_small_an_image(kind: str, smallest: int) -> None:
    with pytest.raises(
        ValueError, match=rf"^peers\.model: {kind} needs .* {smallest}x{smallest}, got 40x{smallest - 1};"
    ):
        ENCODERS[kind]((3, 40, smallest - 1), "batch")
    shape = (3, smallest, smallest)
    assert feature_dim(ENCODERS[kind](shape, "batch"), shape) > 0


def test_seeded__same_seed_same_weights_and_global_generator_untouched() -> None:
    before = torch.random.get_rng_state()
    first, second, third = (small_network(seed) for seed in (4, 4, 5))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert same(tensors(first), tensors(second))
    assert not same(tensors(first), tensors(third))


def test_feature_dim__touches_nothing() -> None:
    encoder = models.paper_cnn((1, 8, 8), "batch")
    before, state = tensors(encoder), torch.random.get_rng_state()
    assert feature_dim(encoder, (1, 8, 8)) == 256 * 2 * 2
    assert same(before, tensors(encoder))
    assert torch.equal(torch.random.get_rng_state(), state)


def test_network__gives_features_and_outputs() -> None:
    network = small_network(0)
    assert (network.feature_dim, network.output_dim) == (16, 5)
    features, outputs = network.eval()(images(3, (1, 8, 8)))
    assert torch.equal(features, network.encoder(images(3, (1, 8, 8))))
    assert torch.equal(outputs, network.head(features))


def test_network__functional_call_on_cloned_buffers_leaves_its_own() -> None:
    network = small_network(0)
    buffers = {name: buffer.clone() for name, buffer in network.named_buffers()}
    before = tensors(network)
    functional_call(network, buffers, (images(4, (1, 8, 8)),))
    assert same(before, tensors(network))
    network(images(4, (1, 8, 8)))
    assert same(buffers, dict(network.named_buffers()))


def test_interpolate_locality__formula_and_limits() -> None:
    own, reference = small_network(1), small_network(2)
    for alpha in (0.0, 0.3, 1.0):
        moved = copy.deepcopy(own)
        models.interpolate_locality(moved, reference, alpha)
        for name, weight in moved.named_parameters():
            mine, theirs = own.get_parameter(name), reference.get_parameter(name)
            expected: Tensor = mine
            if not torch.equal(mine, theirs):
                expected = ((1 - alpha) * theirs + alpha * mine) / math.sqrt(alpha**2 + (1 - alpha) ** 2)
            torch.testing.assert_close(weight, expected)
            if alpha in (0.0, 1.0):
                assert torch.equal(weight, mine if alpha else theirs)


def test_interpolate_locality__keeps_the_variance_and_batchnorm_gains() -> None:
    own, reference = (drawing.seeded(lambda: models.paper_cnn((1, 8, 8), "batch"), seed) for seed in (1, 2))
    std = own.get_parameter("8.weight").std().item()
    models.interpolate_locality(own, reference, 0.5)
    assert own.get_parameter("8.weight").std().item() == pytest.approx(std, rel=0.01)
    assert torch.equal(own.get_parameter("1.weight"), torch.ones(64))


def test_interpolate_locality__copies_and_never_aliases() -> None:
    own, reference = small_network(1), small_network(2)
    before = tensors(reference)
    models.interpolate_locality(own, reference, 0.0)
    with torch.no_grad():
        for parameter in own.parameters():
            parameter.add_(1)
    assert same(before, tensors(reference))


def test_interpolate_locality__refuses_other_architectures_and_alphas() -> None:
    with pytest.raises(ValueError, match=r"^peers\.locality: the two networks differ at '0\.bias'"):
        models.interpolate_locality(
            models.small_cnn((1, 8, 8), (8,), "none"), models.small_cnn((1, 8, 8), (9,), "none"), 0.5
        )
    with pytest.raises(ValueError, match=r"^peers\.locality: the two networks differ at 'encoder\.1\.bias'"):
        models.interpolate_locality(small_network(1, "none"), small_network(1), 0.5)
    with pytest.raises(ValueError, match=r"^peers\.locality: alpha must be in 0\.\.1, got 1\.5"):
        models.interpolate_locality(small_network(1), small_network(2), 1.5)


def test_activation_bytes__mlp_by_hand() -> None:
    network = Network(models.mlp((1, 4, 4), (32, 8), "none"), heads.linear(8, 3), (1, 4, 4))
    values = 16 + 32 + 8  # the images, and each ReLU's result, which the next layer shares
    assert models.activation_bytes(network, (1, 4, 4), 10) == 10 * values * 4


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("kind", [pytest.param(kind, marks=SLOW.get(kind, ())) for kind in ENCODERS])
def test_activation_bytes__equals_a_real_forward(kind: str, norm: Norm) -> None:
    shape = (3, 32, 32)
    encoder = ENCODERS[kind](shape, norm)
    network = Network(encoder, heads.BottleneckHead(feature_dim(encoder, shape), 64, 32, 16), shape)
    before, kept = tensors(network), {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    predicted = models.activation_bytes(network, shape, 2)
    assert same(before, tensors(network))
    own = {tensor.untyped_storage().data_ptr() for tensor in (*network.parameters(), *network.buffers())}
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        _, outputs = network(images(2, shape))
    assert outputs.requires_grad
    assert predicted == sum(t.untyped_storage().nbytes() for pointer, t in kept.items() if pointer not in own)


def test_num_parameters__by_hand() -> None:
    assert models.num_parameters(nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))) == 3 * 4 + 4 + 2 * 4


def draws() -> list[Tensor]:
    """Draws of every sort: by a module, by operations that take a generator, by some that do not."""
    layer = nn.Sequential(nn.Linear(4, 3), nn.Conv2d(3, 2, 3), nn.Embedding(3, 2))
    drawn = [torch.randn(3), torch.rand(2), torch.randperm(7), torch.randint(0, 99, (3,)), torch.ones(9).exponential_()]
    drawn += [nn.init.orthogonal_(torch.empty(3, 3)), nn.init.trunc_normal_(torch.empty(4))]
    drawn += [
        nn.functional.dropout(torch.ones(9)),
        torch.randn_like(torch.ones(2)),
        torch.bernoulli(torch.full((9,), 0.5)),
    ]
    return [*layer.state_dict().values(), *drawn]


def test_seeded__draws_what_the_global_generator_would() -> None:
    before = torch.random.get_rng_state()
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(11)
        expected = draws()
    drawn = drawing.seeded(draws, 11)
    assert all(torch.equal(one, other) for one, other in zip(drawn, expected, strict=True))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_seeded__other_threads_change_nothing() -> None:
    """Another thread draws, and seeds the global generator, between any two draws of this one."""
    ours, theirs = threading.Semaphore(0), threading.Semaphore(0)
    last = 5

    def build() -> list[Tensor]:
        drawn = []
        for _ in range(last):
            drawn += draws()
            theirs.release()
            assert ours.acquire(timeout=60)
        return drawn

    def disturb() -> None:
        for seed in range(last):
            assert theirs.acquire(timeout=60)
            torch.manual_seed(seed)
            torch.randn(seed + 1)
            ours.release()

    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(3)
        expected = [tensor for _ in range(last) for tensor in draws()]
        other = threading.Thread(target=disturb)
        other.start()
        drawn = drawing.seeded(build, 3)
        other.join()
    assert all(torch.equal(one, other) for one, other in zip(drawn, expected, strict=True))


@pytest.mark.parametrize("shape", [(13,), (2, 30), (1, 4, 5, 6)])
@pytest.mark.parametrize("kind", FEATURES)
def test_build__what_needs_images_says_so_and_mlp_takes_any_shape(kind: str, shape: Shape) -> None:
    if kind == "mlp":
        network, values = ENCODERS[kind](shape, "batch"), images(4, shape)
        flat = drawing.seeded(lambda: models.mlp((math.prod(shape),), (128, 128), "batch"), 1)
        flat.load_state_dict(network.state_dict())
        assert torch.equal(network(values), flat(values.flatten(1)))
        return
    told = {1: "vectors of 13 values", 2: "series of 2x30", 4: "volumes of 1x4x5x6"}[len(shape)]
    line = f"peers.model: {kind} needs images (channel x height x width), got {told}; choose mlp, or bring a network of"
    with pytest.raises(ValueError) as caught:
        ENCODERS[kind](shape, "batch")
    assert str(caught.value).startswith(line) and "\n" not in str(caught.value)
