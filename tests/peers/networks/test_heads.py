import copy

import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics.pairwise import cosine_similarity
from torch import Tensor, nn

from peers.base.section import examples
from peers.networks import heads
from peers.networks.drawing import seeded
from peers.networks.models import num_parameters
from peers.networks.variants import HeadConfig


def features(batch_size: int = 12, dim: int = 6) -> Tensor:
    return torch.randn(batch_size, dim, generator=torch.Generator().manual_seed(0)) + 3


@pytest.mark.parametrize("config", examples(HeadConfig), ids=lambda config: config.kind)
def test_heads__every_kind_gives_a_row_for_each_image_and_trains_all_its_weights(config: HeadConfig) -> None:
    head = seeded(lambda: config.build(6), 1)
    outputs = head(features().requires_grad_())
    assert outputs.shape[0] == 12 and outputs.dim() == 2 and outputs.isfinite().all()
    outputs.square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in head.parameters())
    again = seeded(lambda: config.build(6), 1)
    assert all(torch.equal(*pair) for pair in zip(head.parameters(), again.parameters(), strict=True))


def test_identity__outputs_are_the_features() -> None:
    values = features()
    assert heads.identity()(values) is values


def test_linear__is_affine() -> None:
    head = heads.linear(6, 4)
    weight, bias = head.get_parameter("weight"), head.get_parameter("bias")
    torch.testing.assert_close(head(features()), features() @ weight.T + bias)


def test_prototype_head__scikit_learn_cosines_of_centred_features() -> None:
    head = seeded(lambda: heads.PrototypeHead(6, 9), 1)
    centred = features() - features().mean(dim=0)
    expected = cosine_similarity(centred.numpy(), head.prototypes.detach().numpy())
    torch.testing.assert_close(head(features()), torch.from_numpy(expected))


def test_prototype_head__ignores_shift_and_scale() -> None:
    head = heads.PrototypeHead(6, 9)
    shifted = 5 * features() + torch.arange(6)
    torch.testing.assert_close(head(shifted), head(features()), atol=1e-5, rtol=1e-5)


def test_prototype_head__one_image_is_its_own_centre() -> None:
    head = heads.PrototypeHead(6, 9)
    outputs = head(features(1).requires_grad_())
    assert torch.equal(outputs, torch.zeros(1, 9))
    outputs.sum().backward()
    assert head.prototypes.grad is not None
    assert torch.isfinite(head.prototypes.grad).all()


def test_bottleneck_head__equals_the_layers_written_out() -> None:
    head = seeded(lambda: heads.BottleneckHead(6, 9, hidden=16, bottleneck=5), 1)
    first, second, third = (module for module in head.modules() if isinstance(module, nn.Linear))
    hidden = F.gelu(features() @ first.weight.T + first.bias)
    hidden = F.gelu(hidden @ second.weight.T + second.bias)
    expected = cosine_similarity(
        (hidden @ third.weight.T + third.bias).detach().numpy(), head.directions.detach().numpy()
    )
    torch.testing.assert_close(head(features()).detach(), torch.from_numpy(expected))


def test_bottleneck_head__equals_torch_weight_norm_with_unit_gains() -> None:
    head = seeded(lambda: heads.BottleneckHead(6, 9, hidden=16, bottleneck=5), 1)
    reference = nn.utils.parametrizations.weight_norm(nn.Linear(5, 9, bias=False))
    with torch.no_grad():
        reference.parametrizations.weight.original0.fill_(1)
        reference.parametrizations.weight.original1.copy_(head.directions)
    torch.testing.assert_close(head(features()), reference(F.normalize(head.mlp(features()), dim=1)))


def test_bottleneck_head__length_of_directions_has_no_effect() -> None:
    head = heads.BottleneckHead(6, 9, hidden=16, bottleneck=5)
    longer = copy.deepcopy(head)
    with torch.no_grad():
        longer.directions.mul_(torch.arange(1, 10)[:, None])
    torch.testing.assert_close(longer(features()), head(features()))


def test_bottleneck_head__size_and_initialisation() -> None:
    head = seeded(lambda: heads.BottleneckHead(64, 300, hidden=256, bottleneck=32), 1)
    assert num_parameters(head) == (64 + 1) * 256 + (256 + 1) * 256 + (256 + 1) * 32 + 300 * 32
    for name, parameter in head.named_parameters():
        if name.endswith("bias"):
            assert torch.equal(parameter, torch.zeros_like(parameter))
        else:
            assert parameter.std().item() == pytest.approx(0.02, rel=0.05)
            assert abs(parameter.mean().item()) < 5 * 0.02 / parameter.numel() ** 0.5
