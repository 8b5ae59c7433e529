"""What peers send in the controls `stranger`, `shuffled` and `irrelevant` instead of their own outputs."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from peers.data.formats.shapes import Shape
from peers.exchange.config import ExchangeConfig
from peers.learning.control import Control, shuffled_order
from peers.learning.settings import PeerSettings, stranger_network
from peers.learning.teacher import Teacher
from peers.learning.twin import Twin
from peers.networks.network import Network

FROZEN = ExchangeConfig(refresh_every=0)


@dataclass(frozen=True)
class Replacement:
    """Replaces the outputs of one peer: by those of a `stranger`, of a `twin`, or else by its own, permuted.

    A stranger is calibrated like any teacher: its BatchNorm uses the batch's own statistics.
    """

    settings: PeerSettings
    stranger: Teacher | None
    twin: Twin | None = None

    @classmethod
    def of(cls, settings: PeerSettings, shape: Shape, twin: Twin | None = None) -> "Replacement | None":
        """The replacement in the control run of these settings; None if peers send their own outputs."""
        if settings.control is None or not settings.control.replaces_messages:
            return None
        is_stranger = settings.control is Control.STRANGER
        return cls(settings, Teacher(stranger_network(settings, shape), FROZEN) if is_stranger else None, twin)

    @property
    def teaching(self) -> Network | None:
        """The network that sends in the peer's place; None: the peer's own does."""
        if self.twin is not None:
            return self.twin.teaching
        return None if self.stranger is None else self.stranger.network

    def exchanged(
        self, own: Float[Tensor, "batch dim"], images: Float[Tensor, "batch *shape"], round_index: int, batch_index: int
    ) -> Float[Tensor, "batch dim"]:
        """What is sent in place of the `own` exchanged outputs on a batch, as the message of a round."""
        if self.twin is not None:
            return self.settings.exchange.exchanged(*self.twin.outputs(images, round_index))
        if self.stranger is None:
            return permuted(own, self.settings, batch_index)
        return self.settings.exchange.exchanged(*self.stranger.outputs(images, self.settings, round_index))


def permuted(
    outputs: Float[Tensor, "*peers batch dim"], settings: PeerSettings, batch_index: int
) -> Float[Tensor, "*peers batch dim"]:
    """The outputs with each sample's in the place of another one, as in the control `shuffled`."""
    order = shuffled_order(settings.seed, batch_index, outputs.shape[-2], settings.exchange.num_views)
    return outputs.index_select(-2, order.to(outputs.device))
