"""The network that teaches in a peer's place in the control `irrelevant`: it learns by itself, from other data."""

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol, TypeVar, runtime_checkable
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Float
from torch import Tensor

from peers.data.datasets import Dataset
from peers.exchange.assignment import Assignment, Links, Stats
from peers.exchange.messages import Message
from peers.learning.control import Control
from peers.learning.lies import Liar
from peers.learning.listening import Ear
from peers.learning.settings import PeerSettings
from peers.learning.sight import Sight
from peers.learning.teacher import Teacher
from peers.networks.network import Network
from peers.networks.optimizers import OptimizerState

IRRELEVANT = "irrelevant"  # the name of the other data set among `Dataset.others`
P = TypeVar("P", bound="Alone")


@runtime_checkable
class Alone(Protocol):
    """What is used of a peer that is its own only teacher."""

    index: int
    settings: PeerSettings
    device: torch.device
    network: Network
    teacher: Teacher | None
    centre: Tensor
    optimizer: OptimizerState
    failure: str
    failure_round: int
    liar: Liar | None
    ear: Ear | None

    def restart(self) -> None: ...

    def renew_teacher(self, round_index: int) -> None: ...

    def forward(
        self, buffers: dict[str, Tensor], images: Tensor, round_index: int
    ) -> tuple[Float[Tensor, "batch features"], Float[Tensor, "batch outputs"]]: ...

    def publish(self, assignment: Assignment) -> tuple[Message | None, Stats]: ...

    def advance(
        self, assignment: Assignment, following: Assignment | None, *messages: Message
    ) -> tuple[Message | None, Stats]: ...


class Twin:
    """A peer of its own, whose start is a stranger's. It does what a peer does in the control `alone`, on other data.

    It takes as many steps as the peer in whose place it teaches: so it has learned as much, though nothing of the run's
    images; and nothing, where that peer never learns.
    """

    def __init__(self, peer: Alone) -> None:
        self.peer = peer

    @property
    def teaching(self) -> Network:
        """The network whose outputs students learn from."""
        return self.peer.network if self.peer.teacher is None else self.peer.teacher.network

    def renew(self, round_index: int) -> None:
        """To be called before its message of a round, as of every teacher."""
        self.peer.renew_teacher(round_index)

    @torch.no_grad()
    def outputs(
        self, images: Float[Tensor, "batch *shape"], round_index: int
    ) -> tuple[Float[Tensor, "batch features"], Float[Tensor, "batch outputs"]]:
        """Features and outputs on the run's images, with the batch's own BatchNorm statistics; nothing is changed."""
        if self.peer.teacher is not None:
            return self.peer.teacher.outputs(images, self.peer.settings, round_index)
        return self.peer.forward(self.peer.network.copied_buffers(), images, round_index)

    def learn(self, assignment: Assignment) -> str:
        """One step, on the other data's batch of this number; returns why it has failed, if it has.

        assignment: that of the step that the peer has taken in whose place it teaches.
        """
        own = Links((self.peer.index,), (1.0,))
        alone = Assignment(assignment.round_index, assignment.batch_index, own, True, step_round=assignment.step_round)
        message, _ = self.peer.publish(alone)
        assert message is not None, "it teaches"
        self.peer.advance(alone, None, message)
        return self.peer.failure


def twin_of(
    settings: PeerSettings, dataset: Dataset, sight: Sight, peer: Callable[[PeerSettings, Dataset, Sight], P]
) -> Twin | None:
    """The twin of a peer in this control run; None in the run and in all others. peer: makes a peer of its settings."""
    if settings.control is not Control.IRRELEVANT:
        return None
    other = dataset.others[IRRELEVANT]
    own = replace(
        settings,
        control=Control.ALONE,
        starts_as="stranger",
        message="outputs",
        peers=settings.peers.model_copy(update={"adversaries": ()}),
        data=settings.data.model_copy(update={"partition": None, "public": None}),
        normalisation=settings.other_normalisation or settings.normalisation,
        recompute=False,
    )
    return Twin(peer(own, other, _sight_of(own, other, sight)))


_OTHERS: WeakKeyDictionary[Sight, Sight] = WeakKeyDictionary()


def _sight_of(settings: PeerSettings, other: Dataset, sight: Sight) -> Sight:
    """What a twin sees of the other data, which is held once for all peers of a host, who share `sight`."""
    known = _OTHERS.get(sight)
    found = Sight([settings], other, like=known)
    if known is None:
        _OTHERS[sight] = found
    return found
