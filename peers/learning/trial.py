"""Tries out the networks and heads that users bring, before a run starts, on random data."""

import copy
import random
import sys
import textwrap
import warnings
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from peers.base.brought_errors import BroughtError, of_peer
from peers.data.formats.shapes import Shape
from peers.networks import drawing
from peers.networks.config import PeerKind, Start
from peers.networks.network import Network, OwnHead

BATCH = 4


class NotVectorised(BroughtError):
    """What works for one peer at a time only."""


def check_network(kind: PeerKind, peers: Sequence[int], shape: Shape) -> None:
    """Check the network of some peers of one kind: it must train, leave its input alone, and repeat itself.

    Warns of random draws, and of weights that do not differ or do not train. Raises: BroughtError.
    """
    network = built(kind, peers[0], shape)
    with of_peer(peers[0]):
        again = built(kind, peers[0], shape)
        _check_start(network, again)
        _check_pass(network, shape)
        _check_again(network, again, shape)
    if network.noise is not None:
        warnings.warn(
            f"{network.origin}: draws random numbers in its forward passes, as Dropout does: they depend on the run's "
            "seed, the round and the peer, so results repeat; measures of the outputs include them",
            stacklevel=2,
        )
    if not trained(network.encoder):
        warnings.warn(
            f"{network.origin}: no weight of the features is trained (requires_grad is False), so they stay as they "
            "are: probes of them will show no gain",
            stacklevel=2,
        )
    elif len(peers) > 1 and not kind.starts_as_given:
        other = built(kind, peers[1], shape, seed=2)
        pairs = zip(network.encoder.parameters(), other.encoder.parameters(), strict=False)
        if all(torch.equal(own, its) for own, its in pairs):
            warnings.warn(
                f"{network.origin}: peers {peers[0]} and {peers[1]} start with equal weights, whatever the seed: draw "
                "them with torch, or set peers.initial to given",
                stacklevel=2,
            )


def check_stranger(kind: PeerKind, peer: int, shape: Shape) -> None:
    """Check that a stranger's weights are others than the peer's. Raises: BroughtError."""
    own, stranger = built(kind, peer, shape), built(kind, peer, shape, seed=2, start="stranger")
    pairs = zip(own.encoder.parameters(), stranger.encoder.parameters(), strict=False)
    if all(torch.equal(one, other) for one, other in pairs):
        raise BroughtError(
            f"{own.origin}: a stranger of the control run would have the peer's own weights, which no seed changes: "
            "say so by peers.initial = 'given', with which strangers are drawn layer by layer, or leave stranger out"
        )


def check_vectorised(kind: PeerKind, peers: Sequence[int], shape: Shape) -> None:
    """Check that `vmap` gives the network's own outputs and gradients. Raises: NotVectorised."""
    network = built(kind, peers[0], shape)
    with of_peer(peers[0]):
        if network.noise is not None:
            raise NotVectorised(f"{network.origin}: draws random numbers, which cannot be vectorised")
        if len(trained(network)) < len(list(network.parameters())):
            raise NotVectorised(f"{network.origin}: has parameters that are not trained")
        state = {name: tensor.detach() for name, tensor in (*network.named_parameters(), *network.named_buffers())}
        images, names = _images(shape), [name for name, _ in network.named_parameters()]

        def loss(weights: dict[str, Tensor], buffers: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
            outputs: Tensor = functional_call(network, (weights, buffers), (images,))[1]
            return outputs.square().sum(), outputs

        weights = {name: state.pop(name) for name in names}
        stacked, buffers = ({k: torch.stack([v, v]) for k, v in of.items()} for of in (weights, state))
        alone = loss(weights, {name: buffer.clone() for name, buffer in state.items()})[1]
        try:
            together = vmap(grad(loss, has_aux=True))(stacked, buffers)[1]
        except Exception as error:  # vmap raises many types
            raise NotVectorised(f"{network.origin}: cannot be vectorised ({reason(error)})") from None
        if (together[0] - alone).norm() > 0.01 * alone.norm():
            raise NotVectorised(f"{network.origin}: vectorised, it gives other outputs")


def built(kind: PeerKind, peer: int, shape: Shape, seed: int = 1, start: Start = "initial") -> Network:
    """A network like the peer's, with its weights drawn by another seed. Raises: BroughtError."""
    with of_peer(peer):
        return drawing.seeded(lambda: kind.build_network(shape, peer, start), seed)


def _check_start(network: Network, again: Network) -> None:
    if not list(network.encoder.parameters()):
        raise BroughtError(f"{network.origin}: has no parameters to train: its features could not be learned")
    if not trained(network):
        raise BroughtError(f"{network.origin}: none of its parameters is trained: nothing could be learned")
    state, same = network.state_dict(), again.state_dict()
    differing = [name for name in state if name not in same or not _equal(state[name], same[name])]
    if differing or len(state) != len(same):
        name = differing[0] if differing else "some"
        raise BroughtError(
            f"{network.origin}: built twice with one seed, it has other weights ('{_own_name(name)}'): "
            "draw them with torch's own functions, which the run seeds, not with NumPy's or Python's"
        )


def _check_pass(network: Network, shape: Shape) -> None:
    origin, images = network.origin, _images(shape)
    given, before_draws = images.clone(), _generators()
    first, second = _pass(network, images), _pass(network, images)
    if not torch.equal(images, given):
        raise BroughtError(
            f"{origin}: must not change its input in place, since all peers share it: start with x = x.clone(), or "
            "use inplace=False"
        )
    for before, after in zip(first, second, strict=True):
        _check_values(origin, before, after)
    reached = first if isinstance(network.head, OwnHead) or not trained(network.encoder) else first[:1]
    if not any(part.requires_grad for part in reached):
        raise BroughtError(f"{origin}: its outputs must depend on its parameters, through torch operations")
    _check_copy(network)
    with torch.no_grad():
        in_eval = network.eval().features(images)  # as probes see it
    if _generators() != before_draws:
        raise BroughtError(
            f"{origin}: draws from a generator that the run does not seed, NumPy's or Python's: draw with torch's own "
            "functions"
        )
    if in_eval.shape != first[0].shape:
        raise BroughtError(
            f"{origin}: must return as many features in eval mode as in train mode, got shape {tuple(in_eval.shape)} "
            f"and {tuple(first[0].shape)}"
        )
    network.train()


def _generators() -> tuple[object, ...]:
    """The states of the global generators."""
    name, keys, *rest = np.random.get_state()  # noqa: NPY002 (what a user's code draws from)
    python = () if "beartype" in sys.modules else random.getstate()  # which that draws from whenever it checks a type
    return python, name, bytes(np.asarray(keys)), *rest, bytes(torch.random.get_rng_state().numpy())


def _check_again(network: Network, again: Network, shape: Shape) -> None:
    """What is drawn at the start need not be a weight: a number that a module keeps is in no checkpoint."""
    images = _images(shape)
    if not all(map(_equal, _pass(network, images), _pass(again, images))):
        raise BroughtError(
            f"{network.origin}: built twice with one seed, it gives other outputs from equal weights: draw what it "
            "keeps with torch's own functions, which the run seeds, not with NumPy's or Python's"
        )


def _check_copy(network: Network) -> None:
    """Peers are copied, to be calibrated or to teach, also after a pass."""
    try:
        copy.deepcopy(network)
    except Exception as error:  # an attribute may raise anything
        raise BroughtError(
            f"{network.origin}: cannot be copied after a pass ({reason(error)}): keep none of its tensors as "
            "attributes, or detach() them"
        ) from None


def _check_values(origin: str, before: Tensor, after: Tensor) -> None:
    if before.ndim != 2 or before.shape[0] != BATCH:
        raise BroughtError(
            f"{origin}: must return a row for each image, got shape {tuple(before.shape)} for a batch of {BATCH}"
        )
    if not torch.isfinite(before).all():
        raise BroughtError(f"{origin}: must give finite numbers for random images, got NaN or infinite ones")
    if not torch.equal(before, after):
        raise BroughtError(
            f"{origin}: two equal passes give different outputs: draw with torch's own functions, which the run seeds, "
            "not with NumPy's or Python's, and keep no state but parameters and buffers"
        )


def _pass(network: Network, images: Tensor) -> tuple[Tensor, Tensor]:
    """Features and outputs. Raises: BroughtError, if that changes what a checkpoint does not hold."""
    buffers = {name: buffer.clone() for name, buffer in network.named_buffers()}
    unsaved = {name: buffer.clone() for name, buffer in buffers.items() if name not in network.state_dict()}
    features, outputs = functional_call(network, buffers, (images,))
    for name, before in unsaved.items():
        if not _equal(buffers[name], before):
            raise BroughtError(
                f"{network.origin}: changes its buffer '{_own_name(name)}', which is not saved (persistent=False), so "
                "that a resumed run would go on with another one: register it with persistent=True"
            )
    return features, outputs


def _images(shape: Shape) -> Tensor:
    return torch.randn(BATCH, *shape, generator=torch.Generator().manual_seed(0))


def trained(module: nn.Module) -> list[Tensor]:
    """The parameters that are trained."""
    return [parameter for parameter in module.parameters() if parameter.requires_grad]


def _own_name(name: str) -> str:
    """A tensor's name in the user's module."""
    return name.removeprefix("encoder.").removeprefix("head.")


def _equal(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and torch.equal(one.nan_to_num(), other.nan_to_num())


def reason(error: Exception) -> str:
    """The first line of what was raised, for a parenthesis."""
    cause = error.__cause__ if isinstance(error, BroughtError) and error.__cause__ else error
    line = (str(cause).strip().splitlines() or [type(cause).__name__])[0]
    return textwrap.shorten(line, 160, placeholder=" ...")
