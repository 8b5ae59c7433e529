"""`peers.head_shared`: one random head, or its last layer, that all peers have and nobody trains."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from peers.base.brought_errors import of_peer
from peers.base.seeds import torch_seed
from peers.networks import drawing
from peers.networks.brought import BroughtHead
from peers.networks.config import PeerKind, PeersConfig
from peers.networks.network import Network, OwnHead


def share_head(peers: PeersConfig, peer: int, network: Network, seed: int) -> None:
    """Give a peer's network the weights that all share, a function of the run's seed alone, and fix them, in place.

    The head's buffers, if it has any, start alike too, and then follow each peer's own batches.
    """
    kind = peers.kind_of(peer)
    last = peers.head_shared == "last-layer"
    with of_peer(peer):
        head = drawing.seeded(lambda: kind.build_head(network.feature_dim, last), torch_seed(seed, "head"))
    shared = head.state_dict()
    names = _shared(network, kind, last)
    with torch.no_grad():
        for name, tensor in network.head.state_dict(keep_vars=True).items():
            if f"head.{name}" in names or not last:
                tensor.copy_(shared[name])
    for name in names:
        network.get_parameter(name).requires_grad_(False)
    network.fixed = frozenset(names)


def check_shared_heads(peers: PeersConfig, networks: Sequence[tuple[int, Network]]) -> None:
    """Refuse heads that cannot be shared. networks: one of each make, with its first peer. Raises: ValueError."""
    if not peers.head_shared:
        return
    last = peers.head_shared == "last-layer"
    found: list[tuple[int, Mapping[str, Tensor]]] = []
    for peer, network in networks:
        kind = peers.kind_of(peer)
        if isinstance(network.head, OwnHead):
            raise ValueError(
                f"peers.head_shared: {network.origin} returns features and outputs, so its head cannot be told from "
                "the rest: let it return features alone, or leave peers.head_shared out"
            )
        if last and isinstance(kind.head, BroughtHead):
            raise ValueError(
                f"peers.head_shared is 'last-layer', but which layer of {kind.head.origin} is the last is not known: "
                "set it to true, or take a head by its kind"
            )
        found.append((peer, _shared(network, kind, last)))
    (first, expected), *others = found
    for peer, tensors in others:
        differing = _difference(expected, tensors)
        if differing:
            raise ValueError(
                f"peers.head_shared: peers {first} and {peer} cannot have one {'last layer' if last else 'head'}, "
                f"since {differing}: give peers.groups encoders of one width and heads of one kind"
                + ("" if last else ", or share a bottleneck's last layer only (last-layer)")
            )


def _shared(network: Network, kind: PeerKind, last: bool) -> dict[str, Tensor]:
    """The parameters of a network that are shared, by name."""
    parameters: dict[str, Tensor] = {f"head.{name}": tensor for name, tensor in network.head.named_parameters()}
    if not last:
        return parameters
    assert not isinstance(kind.head, BroughtHead), "the plan refuses it"
    return {name: parameters[name] for name in (f"head.{part}" for part in kind.head.last_layer)}


def _difference(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> str:
    """How the shapes of two heads differ; empty if they do not."""
    for name in sorted(one.keys() | other.keys()):
        if name not in one or name not in other:
            return f"only one of them has '{name}'"
        if one[name].shape != other[name].shape:
            sizes = ("x".join(map(str, each[name].shape)) for each in (one, other))
            return f"'{name}' is {' and '.join(sizes)}"
    return ""
