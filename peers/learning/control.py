"""The control runs: the experiment's own training with one thing changed."""

from enum import StrEnum

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from peers.base.seeds import stream
from peers.exchange.config import ExchangeConfig
from peers.networks.config import PeersConfig
from peers.networks.variants import LinearHead

SMALLEST = 1e-30  # a gradient's norm below which it is not scaled: float32 would overflow, or lose its direction


class Control(StrEnum):
    """What a control run changes; peers, rounds, batches, steps and optimiser stay those of the run."""

    ALONE = "alone"  # every student is its own only teacher
    STRANGER = "stranger"  # teachers' messages come from random networks that nobody trains
    SHUFFLED = "shuffled"  # teachers' messages are permuted over the samples of the batch
    SUPERVISED = "supervised"  # labels instead of teachers
    ALONE_MATCHED = "alone-matched"  # as alone, with each gradient scaled to the norm that it has in the run
    IRRELEVANT = "irrelevant"  # teachers' messages come from networks that learn on their own, from other data
    PRIVATE_ONLY = "private-only"  # own terms on private data, without exchange
    POOLED = "pooled"  # as private-only, on the private data of all peers together
    TRUTHFUL = "truthful"  # nobody lies
    SINGLE_TEACHER = "single-teacher"  # one of the student's teachers in each round, instead of their average

    @property
    def replaces_messages(self) -> bool:
        """Whether peers send something else than their own outputs; what a student takes of itself stays its own."""
        return self in (Control.STRANGER, Control.SHUFFLED, Control.IRRELEVANT)

    @property
    def exchanges(self) -> bool:
        """Whether messages go from peer to peer."""
        return self.replaces_messages or self in (Control.SINGLE_TEACHER, Control.TRUTHFUL)


def with_labels_only(
    peers: PeersConfig, exchange: ExchangeConfig, num_classes: int
) -> tuple[PeersConfig, ExchangeConfig]:
    """The sections of the control `supervised`: heads of one output per class, unless the run has label outputs.

    These heads are learned, each peer's own, also where those of the run are shared and fixed.
    """
    if exchange.supervised:
        return peers, exchange
    head = {"head": LinearHead(dim=num_classes)}
    groups = tuple(group.model_copy(update=head) for group in peers.groups)
    changed = peers.model_copy(update={**head, "groups": groups, "head_shared": False})
    return changed, ExchangeConfig(supervised=1.0, views=exchange.num_views)


def loss_on_labels(outputs: Float[Tensor, "samples outputs"], labels: Int64[Tensor, " samples"]) -> Float[Tensor, ""]:
    """The loss of the control `supervised`: cross-entropy on labels."""
    return F.cross_entropy(outputs, labels)


def shuffled_order(seed: int, batch_index: int, size: int, num_views: int = 1) -> Int64[Tensor, " samples"]:
    """The samples whose outputs take the places of samples 0..size-1 in the control `shuffled`.

    A random single cycle of the images, so that none keeps its place; each view of a batch by the same one. It is the
    same for all messages about a batch: the average of several teachers is permuted, too, and keeps its marginals,
    balance and sharpness.
    """
    images = size // num_views
    places = np.random.default_rng(stream(seed, "shuffled", batch_index)).permutation(images)
    order = np.empty(images, dtype=np.int64)
    order[places] = np.roll(places, 1)
    return torch.from_numpy(np.concatenate([order + view * images for view in range(num_views)]))


def matching_factor(norm: float, wanted: float, most: float) -> float:
    """The factor for a gradient of this norm, clipped at `most`, to become one of the `wanted` norm, also clipped.

    1 if the gradient is 0, or so small that it has no direction.
    """
    return min(wanted, most) / min(norm, most) if norm > SMALLEST else 1.0
