"""Tries out what users bring, before a run starts: a network, a head, a loss or a target transform, on random data."""

import warnings
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import functional_call, grad, vmap

from peers.base.brought import Brought, BroughtError, explained, of_peer
from peers.data.shapes import Shape
from peers.exchange.config import ExchangeConfig
from peers.networks import drawing
from peers.networks.config import PeerKind
from peers.networks.network import Network

BATCH = 4
LOOP = "set hosting.execution to loop"


def check_network(kind: PeerKind, peers: Sequence[int], shape: Shape, vectorised: bool) -> None:
    """Check the network of some peers of one kind: it must train, leave its input alone, and repeat itself.

    Warns of random draws, and of peers that start with equal weights. Raises: BroughtError.
    """
    with of_peer(peers[0]):
        network = drawing.seeded(lambda: kind.build_network(shape, peers[0]), 1)
        _check_parameters(network)
        _check_pass(network, shape)
        if vectorised:
            _check_vectorised(network, shape)
    if network.noise is not None:
        warnings.warn(
            f"{network.origin}: draws random numbers in its forward passes, as Dropout does: they depend on the run's "
            "seed, the round and the peer, so results repeat; measures of the outputs include them",
            stacklevel=2,
        )
    if len(peers) > 1 and not kind.starts_as_given:
        other = drawing.seeded(lambda: kind.build_network(shape, peers[1]), 2)
        pairs = zip(network.encoder.parameters(), other.encoder.parameters(), strict=False)
        if all(torch.equal(own, its) for own, its in pairs):
            warnings.warn(
                f"{network.origin}: peers {peers[0]} and {peers[1]} start with equal weights, whatever the seed: draw "
                "them with torch, or set peers.initial to given",
                stacklevel=2,
            )


def check_loss(exchange: ExchangeConfig, dim: int, vectorised: bool) -> None:
    """Check loss and target transform: a finite number with a gradient, equal if repeated. Raises: BroughtError."""
    part = exchange.loss if isinstance(exchange.loss, Brought) else exchange.target
    assert isinstance(part, Brought), "only what was brought is tried out"
    generator = torch.Generator().manual_seed(0)
    student, teacher = (torch.randn(BATCH, dim, generator=generator) for _ in range(2))
    received = exchange.sent(teacher)

    def loss(student: Float[Tensor, "batch dim"]) -> Float[Tensor, ""]:
        return exchange.distillation_loss(student, received[None], torch.ones(1), torch.zeros(dim))

    leaf, kept = student.clone().requires_grad_(), received.clone()
    first, second = loss(leaf), loss(student.clone())
    if not torch.isfinite(first):
        raise BroughtError(f"{part.origin}: must give a finite number for random outputs, got {first.item()}")
    if not torch.equal(first, second):
        raise BroughtError(f"{part.origin}: must give equal numbers for equal outputs: draw nothing, and keep no state")
    if not torch.equal(kept, received) or not torch.equal(leaf, student):
        raise BroughtError(f"{part.origin}: must not change its arguments in place: write x - y, not x.sub_(y)")
    if not first.requires_grad:
        raise BroughtError(f"{part.origin}: must depend on the student's outputs, through torch operations")
    if vectorised:
        try:
            vmap(grad(loss))(torch.stack([student, student]))
        except Exception as error:  # vmap raises many types
            raise BroughtError(f"{part.origin}: cannot be vectorised ({_first_line(error)}): {LOOP}") from None


def _check_parameters(network: Network) -> None:
    parameters = dict(network.named_parameters())
    if not any(parameter.requires_grad for parameter in parameters.values()):
        raise BroughtError(f"{network.origin}: has no parameters to train: nothing could be learned")
    for name, tensor in network.state_dict(keep_vars=True).items():
        if not isinstance(tensor, Tensor):
            raise BroughtError(f"{network.origin}: keeps '{name}', which is no tensor, in its state: leave it out")
        if tensor.device.type != "cpu":
            raise BroughtError(
                f"{network.origin}: '{name}' is on the device {tensor.device}: build it on the CPU; the run moves it"
            )
    other = [str(p.dtype).removeprefix("torch.") for p in parameters.values() if p.dtype != torch.float32]
    if other:
        raise BroughtError(
            f"{network.origin}: weights must be float32, got {other[0]}: use hosting.precision for faster arithmetic"
        )


def _check_pass(network: Network, shape: Shape) -> None:
    images = torch.randn(BATCH, *shape, generator=torch.Generator().manual_seed(0))
    given = images.clone()
    first, second = _pass(network, images), _pass(network, images)
    if not torch.equal(images, given):
        raise BroughtError(
            f"{network.origin}: must not change its input in place, since all peers share it: start with "
            "x = x.clone(), or use inplace=False"
        )
    for before, after in zip(first, second, strict=True):
        if before.shape[0] != BATCH or before.dtype != torch.float32:
            raise BroughtError(
                f"{network.origin}: must return float32 of shape [batch, ...], got {before.dtype} of shape "
                f"{tuple(before.shape)} for a batch of {BATCH}"
            )
        if not torch.equal(before, after):
            raise BroughtError(
                f"{network.origin}: two equal passes give different outputs: draw with torch's own functions, which "
                "the run seeds, not with NumPy's or Python's, and keep no state but parameters and buffers"
            )
    if not first[1].requires_grad:
        raise BroughtError(f"{network.origin}: its outputs must depend on its parameters, through torch operations")


def _pass(network: Network, images: Tensor) -> tuple[Tensor, Tensor]:
    buffers = {name: buffer.clone() for name, buffer in network.train().named_buffers()}
    features, outputs = functional_call(network, buffers, (images,))
    return features, outputs


def _check_vectorised(network: Network, shape: Shape) -> None:
    if network.noise is not None:
        raise BroughtError(f"{network.origin}: draws random numbers, which cannot be vectorised: {LOOP}")
    if not all(parameter.requires_grad for parameter in network.parameters()):
        raise BroughtError(f"{network.origin}: has parameters that are not trained: {LOOP}")
    state = {**dict(network.named_parameters()), **dict(network.named_buffers())}
    stacked = {name: torch.stack([tensor.detach(), tensor.detach()]) for name, tensor in state.items()}
    images = torch.randn(BATCH, *shape, generator=torch.Generator().manual_seed(0))

    def outputs(state: dict[str, Tensor]) -> Tensor:
        found: Tensor = functional_call(network, state, (images,))[1]
        return found

    try:
        together = vmap(outputs)(stacked)
        with explained(network.origin):
            alone = outputs({name: tensor[0].clone() for name, tensor in stacked.items()})
        if not torch.allclose(together[0], alone, rtol=1e-3, atol=1e-4):
            raise BroughtError("vectorised, it gives other outputs")
    except Exception as error:  # vmap raises many types
        raise BroughtError(f"{network.origin}: cannot be vectorised ({_first_line(error)}): {LOOP}") from None


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
